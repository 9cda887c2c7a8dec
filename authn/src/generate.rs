//! New access keys, from the door for randomness.

use crate::limits;
use crate::secret::Secret;
use common::{AccessKeyId, Random};

/// `WK` and 18 characters of base32: easy to read out, and told apart from AWS's `AKIA...` at a glance.
pub fn access_key_id(random: &dyn Random) -> AccessKeyId {
    let characters = characters(random, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", limits::MADE_ID_CHARACTERS);
    AccessKeyId(format!("WK{characters}"))
}

/// The id of a user, a group, a role or a policy: four letters that say what it is, and 17 characters of base32.
pub fn unique_id(prefix: &str, random: &dyn Random) -> String {
    let characters = characters(random, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", limits::MADE_UNIQUE_CHARACTERS);
    format!("{prefix}{characters}")
}

/// What the access keys of sessions begin with, as AWS's do: SDKs and people know by it that a token belongs to it.
pub(crate) const SESSION_PREFIX: &str = "ASIA";

/// `ASIA` and 16 characters of base32: 80 bits.
pub(crate) fn session_key_id(random: &dyn Random) -> AccessKeyId {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    AccessKeyId(format!("{SESSION_PREFIX}{}", characters(random, alphabet, limits::SESSION_ID_CHARACTERS)))
}

/// 40 letters and digits: nothing in it needs quoting in a shell, a URL or a configuration file.
pub fn secret_key(random: &dyn Random) -> Secret {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let characters = characters(random, alphabet, limits::MADE_SECRET_CHARACTERS);
    Secret::parse(&characters).expect("letters and digits of a length within the limits")
}

fn characters(random: &dyn Random, alphabet: &[u8], count: usize) -> String {
    // Bytes beyond the last whole alphabet would make its first characters likelier: they are thrown away.
    let fair = 256 / alphabet.len() * alphabet.len();
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let mut bytes = [0; 64];
        random.fill(&mut bytes);
        let drawn = bytes.iter().map(|&byte| usize::from(byte)).filter(|&byte| byte < fair);
        text.extend(drawn.take(count - text.len()).map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::parse_access_key_id;
    use common::doors::SeededRandom;
    use std::collections::BTreeSet;

    #[test]
    fn made_keys_are_valid_and_differ() {
        let random = SeededRandom::new(1);
        let mut seen = BTreeSet::new();
        for _ in 0..1000 {
            let id = access_key_id(&*random);
            assert_eq!((id.0.len(), &id.0[..2]), (20, "WK"));
            assert!(id.0[2..].bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{}", id.0);
            assert_eq!(parse_access_key_id(&id.0).as_ref(), Ok(&id));
            let secret = secret_key(&*random);
            assert_eq!(secret.expose().len(), 40);
            assert!(secret.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
            assert!(seen.insert(id.0) && seen.insert(secret.expose().to_owned()));
        }
    }

    #[test]
    fn every_character_is_as_likely() {
        let random = SeededRandom::new(2);
        let mut counts = [0u32; 128];
        for _ in 0..2000 {
            secret_key(&*random).expose().bytes().for_each(|byte| counts[usize::from(byte)] += 1);
        }
        // 80,000 draws of 62: about 1,290 each, 36 of standard deviation.
        assert!(counts.iter().filter(|&&count| count > 0).all(|count| (1100..1480).contains(count)), "{counts:?}");
    }
}
