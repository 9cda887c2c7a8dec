//! What every rule remembers of everybody, in one table with a fixed bound: of each key one moment, at which all that it took will
//! have come back (the theoretical arrival time of GCRA). A key whose moment has passed is like one that was never seen, so
//! that its seat can be given to another.
//!
//! A key has seven seats to choose from, which are on one line of the cache: a request that meets four rules fetches four
//! lines, changes each by a count and an exchange, and waits for nobody, however many keys there are. Only who comes to a seat anew meets
//! a lock; where all seven are taken, the one of whoever has the least to lose is given away.

use crate::secret_hash::SecretHash;
use common::Random;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Seats that share a line with their lock.
const SEATS: usize = 7;
/// Made together, when the first key of theirs comes.
const SETS_OF_PART: usize = 512;
const PARTS: usize = 64;

/// Keys of all rules together. Where a quarter of so many are busy at once, one in 150 loses its seat to another.
pub const KEYS_MAX: usize = PARTS * SETS_OF_PART * SEATS;
/// What the table takes when it is full: 4 MiB.
pub const TABLE_BYTES_MAX: usize = PARTS * SETS_OF_PART * size_of::<Set>();

const _: () = assert!(TABLE_BYTES_MAX == 4 * 1024 * 1024);

/// Where a key of a rule is. Two keys in one place count together: with 64 bits of a secret hash nobody makes that happen.
pub type Place = u64;

/// The place of a seat while it changes hands.
const NOBODY: Place = 0;

pub struct Table {
    parts: [OnceLock<Box<[Set]>>; PARTS],
    hash: SecretHash,
}

#[derive(Default)]
#[repr(align(128))]
struct Set {
    /// Changed first by who is going to take from a seat: the line comes once, to be written, and not twice, to be read and then
    /// to be written. Who is refused fetches it so as well, for nothing.
    comes_first: AtomicU32,
    comes: Mutex<()>,
    seats: [Seat; SEATS],
}

#[derive(Default)]
struct Seat {
    place: AtomicU64,
    moment: AtomicU64,
}

impl Set {
    fn seat_of(&self, place: Place) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.place.load(Ordering::Acquire) == place)
    }
}

impl Seat {
    /// A key's moment, as long as the seat is the key's: it is nobody's before another one's moment is written.
    fn moment_of(&self, place: Place) -> Option<u64> {
        let moment = self.moment.load(Ordering::Acquire);
        (self.place.load(Ordering::Acquire) == place).then_some(moment)
    }

    fn exchange(&self, moment: u64, next: u64) -> bool {
        self.moment.compare_exchange(moment, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl Table {
    pub fn new(random: &dyn Random) -> Self {
        Self { parts: std::array::from_fn(|_| OnceLock::new()), hash: SecretHash::new(random) }
    }

    pub fn place(&self, key: impl Hash) -> Place {
        self.hash.of(key).max(NOBODY + 1)
    }

    /// The seats that a key can have.
    fn set(&self, place: Place) -> &Set {
        let part = &self.parts[place as usize % PARTS];
        let sets = part.get_or_init(|| (0..SETS_OF_PART).map(|_| Set::default()).collect());
        &sets[(place >> 32) as usize % SETS_OF_PART]
    }

    /// Decides by a key's moment, which is 0 of one that is not known, and keeps the next one. Decides anew where the moment
    /// changes meanwhile.
    pub fn update<T, E>(&self, place: Place, decide: impl Fn(u64) -> Result<(T, u64), E>) -> Result<T, E> {
        let set = self.set(place);
        set.comes_first.fetch_add(1, Ordering::Relaxed);
        loop {
            if let Some(seat) = set.seat_of(place)
                && let Some(moment) = seat.moment_of(place)
            {
                let (decided, next) = decide(moment)?;
                if seat.exchange(moment, next) {
                    return Ok(decided);
                }
                continue;
            }
            let _alone = set.comes.lock().unwrap_or_else(PoisonError::into_inner);
            if set.seat_of(place).is_some() {
                continue;
            }
            let (decided, next) = decide(0)?;
            // Moments that have passed are the least, and those of seats that were never taken less.
            if let Some(seat) = set.seats.iter().min_by_key(|seat| seat.moment.load(Ordering::Relaxed)) {
                seat.place.store(NOBODY, Ordering::Release);
                seat.moment.store(next, Ordering::Release);
                seat.place.store(place, Ordering::Release);
            }
            return Ok(decided);
        }
    }

    /// Takes so much away from a key's moment: what it took and did not use.
    pub fn give_back(&self, place: Place, by_ns: u64) {
        let set = self.set(place);
        while let Some(seat) = set.seat_of(place)
            && let Some(moment) = seat.moment_of(place)
        {
            if seat.exchange(moment, moment.saturating_sub(by_ns)) {
                return;
            }
        }
    }

    pub fn get(&self, place: Place) -> u64 {
        self.set(place).seat_of(place).and_then(|seat| seat.moment_of(place)).unwrap_or(0)
    }

    pub fn put(&self, place: Place, moment: u64) {
        let _ = self.update(place, |_| Ok::<_, Infallible>(((), moment)));
    }

    /// How many keys are not like new.
    pub fn busy(&self, now_ns: u64) -> usize {
        let seats = self.parts.iter().filter_map(OnceLock::get).flatten().flat_map(|set| &set.seats);
        seats.filter(|seat| seat.moment.load(Ordering::Relaxed) > now_ns).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    fn table() -> Table {
        Table::new(&*SeededRandom::new(1))
    }

    #[test]
    fn strangers_find_a_table_that_does_not_grow() {
        let table = table();
        let regular = table.place("regular");
        table.put(regular, u64::MAX);
        for stranger in 0..3 * KEYS_MAX {
            let place = table.place(stranger);
            table.put(place, 1 + stranger as u64);
        }
        let kept = table.busy(0);
        assert!(kept <= KEYS_MAX && kept > KEYS_MAX / 100 * 99, "{kept}");
        assert_eq!(table.get(regular), u64::MAX, "who took the most stays");
        let sets = table.parts.iter().filter_map(OnceLock::get).flatten();
        assert_eq!(sets.count() * size_of::<Set>(), TABLE_BYTES_MAX);
    }

    #[test]
    fn hardly_anybody_loses_a_seat_where_a_quarter_is_taken() {
        let table = table();
        let places: Vec<Place> = (0..KEYS_MAX / 4).map(|key| table.place(key)).collect();
        for place in &places {
            table.put(*place, 9);
        }
        let lost = places.iter().filter(|place| table.get(**place) == 0).count();
        assert!(lost * 150 < places.len(), "{lost} of {}", places.len());
    }

    #[test]
    fn seats_go_from_whoever_has_the_least_to_lose() {
        let table = table();
        let first = table.place("somebody");
        let of_one_set: Vec<Place> = (0..8).map(|key| first ^ key << 50).collect();
        for (at, place) in of_one_set.iter().enumerate() {
            table.put(*place, 10 * (1 + at as u64));
        }
        let moments: Vec<u64> = of_one_set.iter().map(|place| table.get(*place)).collect();
        assert_eq!(moments, [0, 20, 30, 40, 50, 60, 70, 80]);
        assert_eq!((table.busy(0), table.busy(20), table.busy(80)), (7, 6, 0));
        table.give_back(of_one_set[1], 5);
        table.give_back(of_one_set[0], 5);
        assert_eq!((table.get(of_one_set[1]), table.get(of_one_set[0])), (15, 0));
    }

    #[test]
    fn a_refusal_keeps_no_seat() {
        let table = table();
        let place = table.place("somebody");
        assert_eq!(table.update(place, |_| Err::<((), u64), _>("no")), Err("no"));
        table.put(place, 5);
        assert_eq!(table.update(place, Err::<((), u64), _>), Err(5));
        assert_eq!((table.get(place), table.busy(0)), (5, 1));
    }

    /// Real threads: where nobody has to go, nothing that was taken or given back is lost.
    #[test]
    fn threads_lose_nothing_of_each_other() {
        let table = table();
        let first = table.place("somebody");
        // As many as there are seats, so that they come to one set and stay.
        let places: Vec<Place> = (0..SEATS as u64).map(|key| first ^ key << 50).collect();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for round in 0..20_000 {
                        let place = places[round % SEATS];
                        let _ = table.update(place, |moment| Ok::<_, Infallible>(((), moment + 3)));
                        table.give_back(place, 1);
                    }
                });
            }
        });
        let sum: u64 = places.iter().map(|place| table.get(*place)).sum();
        assert_eq!(sum, 4 * 20_000 * 2);
    }

    /// And where all have to go all the time, nobody has what another one took: each key's moment says whose it is.
    #[test]
    fn threads_never_take_each_others_moments_for_theirs() {
        let table = table();
        let first = table.place("somebody");
        std::thread::scope(|threads| {
            for thread in 0..4_u64 {
                let table = &table;
                threads.spawn(move || {
                    for round in 0..50_000_u64 {
                        let key = (thread * 7 + round * 5) % 16;
                        let place = first ^ key << 50;
                        let decide = |moment: u64| {
                            assert!(moment == 0 || moment % 16 == key, "{moment} of {key}");
                            let next = if moment == 0 { key + 16 } else { moment + 16 };
                            Ok::<_, Infallible>(((), next))
                        };
                        let _ = table.update(place, decide);
                    }
                });
            }
        });
    }
}
