//! Bodies that can be verified without having been stored: each follows from the key it was first written under and a
//! number that is never used twice.

use common::Random;
use common::doors::SeededRandom;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The key of the PUT that made it; a copy keeps it.
    pub origin: String,
    pub sequence: u64,
    pub bytes: u64,
}

impl Value {
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![0; self.bytes as usize];
        SeededRandom::new(self.seed()).fill(&mut body);
        body
    }

    /// FNV-1a over everything that names the value.
    fn seed(&self) -> u64 {
        let number = self.sequence.to_le_bytes();
        let name = self.origin.bytes().chain(number).chain(self.bytes.to_le_bytes());
        name.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

/// One of the sizes, each as often as its weight says.
pub fn pick_size(sizes: &[(u64, u64)], random: u64) -> u64 {
    let total: u64 = sizes.iter().map(|(weight, _)| weight).sum();
    let mut left = random % total;
    for &(weight, bytes) in sizes {
        if left < weight {
            return bytes;
        }
        left -= weight;
    }
    unreachable!("the rest is below the sum of the weights")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(origin: &str, sequence: u64, bytes: u64) -> Value {
        Value { origin: origin.to_owned(), sequence, bytes }
    }

    #[test]
    fn a_body_follows_from_its_name_alone() {
        assert_eq!(value("a", 1, 100).body(), value("a", 1, 100).body());
        assert_eq!(value("a", 1, 100).body().len(), 100);
        for other in [value("b", 1, 100), value("a", 2, 100)] {
            assert_ne!(value("a", 1, 100).body(), other.body());
        }
        // Nor is one the beginning of the other: a truncated body must not look like a shorter value.
        assert_ne!(value("a", 1, 100).body()[..50], value("a", 1, 50).body()[..]);
    }
}
