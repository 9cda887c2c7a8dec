//! Numbers for names, by a secret that is made at the start: nobody outside can choose what meets in one number.
//!
//! xxh3 of bytes that were gathered on the stack. Its streaming form copies the secret and half a kilobyte of state for each
//! name, which costs many times what the hash of a short one does.

use common::Random;
use std::hash::{Hash, Hasher};
use xxhash_rust::xxh3::xxh3_64_with_secret;

const SECRET_BYTES: usize = 192;
const GATHERED_BYTES_MAX: usize = 128;

pub struct SecretHash(Box<[u8; SECRET_BYTES]>);

impl SecretHash {
    pub fn new(random: &dyn Random) -> Self {
        let mut secret = [0; SECRET_BYTES];
        random.fill(&mut secret);
        Self(Box::new(secret))
    }

    pub fn of(&self, key: impl Hash) -> u64 {
        let mut gathered = Gathered { secret: &self.0, bytes: [0; GATHERED_BYTES_MAX], length: 0 };
        key.hash(&mut gathered);
        gathered.finish()
    }
}

struct Gathered<'s> {
    secret: &'s [u8; SECRET_BYTES],
    bytes: [u8; GATHERED_BYTES_MAX],
    length: usize,
}

impl Hasher for Gathered<'_> {
    fn write(&mut self, mut bytes: &[u8]) {
        loop {
            let (now, later) = bytes.split_at(bytes.len().min(GATHERED_BYTES_MAX - self.length));
            self.bytes[self.length..][..now.len()].copy_from_slice(now);
            self.length += now.len();
            if later.is_empty() {
                return;
            }
            // It is full: its hash stands for what was in it.
            let hash = self.finish().to_ne_bytes();
            self.bytes[..hash.len()].copy_from_slice(&hash);
            (self.length, bytes) = (hash.len(), later);
        }
    }

    fn finish(&self) -> u64 {
        xxh3_64_with_secret(&self.bytes[..self.length], self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;
    use std::collections::HashSet;

    #[test]
    fn names_of_every_length_are_told_apart_by_every_byte() {
        let hash = SecretHash::new(&*SeededRandom::new(1));
        let mut seen = HashSet::new();
        for length in 0..600 {
            let mut name = vec![b'a'; length];
            assert!(seen.insert(hash.of(&name)), "{length}");
            for at in 0..length {
                name[at] = b'b';
                assert!(seen.insert(hash.of(&name)), "{at} of {length}");
                name[at] = b'a';
            }
        }
        assert_eq!(hash.of("name"), hash.of("name"));
        assert_ne!(hash.of(("a", "bc")), hash.of(("ab", "c")));
    }

    #[test]
    fn another_secret_gives_other_numbers() {
        let hashes = [1, 2].map(|seed| SecretHash::new(&*SeededRandom::new(seed)));
        for name in ["", "a", "a name", &"long".repeat(100)] {
            assert_ne!(hashes[0].of(name), hashes[1].of(name), "{name}");
        }
    }
}
