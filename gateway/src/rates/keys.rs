//! What every rule remembers of everybody, in one table with a fixed bound: of each key one moment, at which all that it took will
//! have come back (the theoretical arrival time of GCRA). A key whose moment has passed is like one that was never seen, so
//! that forgetting it loses nothing; and these go first.

use common::Random;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::Xxh3Builder;

/// Of a hash, so that nobody knows what meets in one place.
const SECRET_BYTES: usize = 192;

/// Keys of all rules together.
pub const KEYS_MAX: usize = 100_000;
const SHARDS: usize = 64;
const KEYS_OF_SHARD_MAX: usize = KEYS_MAX / SHARDS;

/// A map of std has a power of two of buckets, of which seven eighths are used, each with its pair and a byte; and twice as many
/// where it was full and keys have come and gone.
const BUCKET_BYTES: usize = size_of::<(u64, u64)>() + 1;
/// What the table takes when it is full, by strangers or not: 4.3 MiB.
pub const TABLE_BYTES_MAX: usize = SHARDS * (KEYS_OF_SHARD_MAX * 8 / 7).next_power_of_two() * 2 * BUCKET_BYTES;

const _: () = assert!(TABLE_BYTES_MAX < 5 * 1024 * 1024);

/// Where a key of a rule is. Two keys in one place count together: with 64 bits of a secret hash nobody makes that happen.
pub type Place = u64;

pub struct Table {
    shards: [Mutex<Shard>; SHARDS],
    hasher: Xxh3Builder,
}

type Shard = HashMap<Place, u64, BuildHasherDefault<Hashed>>;

/// Places are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, place: u64) {
        self.0 = place;
    }
}

impl Table {
    pub fn new(random: &dyn Random) -> Self {
        let mut secret = [0; SECRET_BYTES];
        random.fill(&mut secret);
        let hasher = Xxh3Builder::new().with_secret(secret);
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher }
    }

    pub fn place(&self, key: impl Hash) -> Place {
        self.hasher.hash_one(key)
    }

    fn shard(&self, place: Place) -> MutexGuard<'_, Shard> {
        // Neither the bits by which the map finds a bucket nor those by which it tells the keys in one.
        let shard = (place >> 40) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides by a key's moment, and keeps the next one.
    pub fn update<T, E>(
        &self,
        place: Place,
        now_ns: u64,
        decide: impl FnOnce(Option<u64>) -> Result<(T, u64), E>,
    ) -> Result<T, E> {
        let mut shard = self.shard(place);
        if let Some(moment) = shard.get_mut(&place) {
            let (decided, next) = decide(Some(*moment))?;
            *moment = next;
            return Ok(decided);
        }
        let (decided, next) = decide(None)?;
        if shard.len() >= KEYS_OF_SHARD_MAX {
            make_room(&mut shard, now_ns);
        }
        shard.insert(place, next);
        Ok(decided)
    }

    /// Takes so much away from a key's moment: what it took and did not use.
    pub fn give_back(&self, place: Place, by_ns: u64) {
        if let Some(moment) = self.shard(place).get_mut(&place) {
            *moment = moment.saturating_sub(by_ns);
        }
    }

    pub fn get(&self, place: Place) -> Option<u64> {
        self.shard(place).get(&place).copied()
    }

    pub fn set(&self, place: Place, now_ns: u64, moment: u64) {
        let _ = self.update(place, now_ns, |_| Ok::<_, Infallible>(((), moment)));
    }

    /// Forgets whoever is like new, and gives memory back.
    pub fn sweep(&self, now_ns: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, moment| *moment > now_ns);
            if shard.len() * 4 < shard.capacity() {
                shard.shrink_to_fit();
            }
        }
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

/// For one more. Where all are busy, the one that has the least to lose goes.
fn make_room(shard: &mut Shard, now_ns: u64) {
    shard.retain(|_, moment| *moment > now_ns);
    if shard.len() >= KEYS_OF_SHARD_MAX
        && let Some(least) = shard.iter().min_by_key(|(_, moment)| **moment).map(|(place, _)| *place)
    {
        shard.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    #[test]
    fn strangers_find_a_table_that_does_not_grow() {
        let table = Table::new(&*SeededRandom::new(1));
        let regular = table.place("regular");
        table.set(regular, 0, u64::MAX);
        for stranger in 0..3 * KEYS_MAX {
            let place = table.place(stranger);
            table.set(place, 0, 1 + stranger as u64);
        }
        assert!(table.len() <= KEYS_MAX);
        assert_eq!(table.get(regular), Some(u64::MAX), "who took the most stays");
        let buckets: usize = table.shards.iter().map(|shard| shard.lock().unwrap().capacity()).sum();
        assert!(buckets * 8 / 7 * BUCKET_BYTES <= TABLE_BYTES_MAX, "{buckets}");
    }

    #[test]
    fn who_is_like_new_is_forgotten() {
        let table = Table::new(&*SeededRandom::new(1));
        let (idle, busy) = (table.place("idle"), table.place("busy"));
        table.set(idle, 0, 10);
        table.set(busy, 0, 20);
        table.sweep(10);
        assert_eq!((table.get(idle), table.get(busy), table.len()), (None, Some(20), 1));
        table.give_back(busy, 5);
        assert_eq!(table.get(busy), Some(15));
        table.give_back(idle, 5);
        assert_eq!(table.get(idle), None);
    }
}
