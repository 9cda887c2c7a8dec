//! Session tokens: everything about a session, sealed, carried by the client. Whoever has the sealing key can open one, and
//! nothing about sessions is kept anywhere.
//!
//! ```text
//! token = base64url( 1 | number of the sealing key, u32 little-endian | wrapped postcard of `Sealed` )
//! ```
//!
//! What stands before the wrapped part, and the access key id that the token was given with, are what the wrapping is bound
//! to (`common/src/cipher.rs`: a random salt of 192 bits, and a key of its own for each token). So the token of one access
//! key opens for no other, and the secret in it is always that of its access key.

use crate::generate;
use crate::kms::{self, KmsError};
use crate::limits;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use common::{AccessKeyId, OwnerId, Random, SecretKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroize;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;

/// What the named keys are called that seal tokens, with their number behind it. They are keys of the key service like any
/// other, random and sealed by the root key, but nobody can encrypt objects with them.
pub const SEALING_KEYS: &str = "weir/sessions";

/// What a session is: everything in it was decided when it was given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The account.
    pub owner: OwnerId,
    pub of: GrantedTo,
    pub issued_ms: u64,
    pub expires_ms: u64,
    /// The text of the policy that the session was asked for with.
    pub policy: Option<String>,
    /// ARNs of managed policies, likewise.
    pub policy_arns: Vec<String>,
    pub tags: BTreeMap<String, String>,
    /// Of the web identity, as condition keys.
    pub claims: BTreeMap<String, Vec<String>>,
    /// The issuer of the web identity.
    pub issuer: Option<String>,
    /// Whether the session was given to a session.
    pub chained: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantedTo {
    /// The account's root; `admin` as the key that asked.
    Root {
        admin: bool,
    },
    /// The id guards against another user of the same name.
    User {
        name: String,
        id: String,
    },
    Role {
        name: String,
        id: String,
        session: String,
    },
}

/// A session and what it signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub access_key: AccessKeyId,
    pub secret: Secret,
    pub grant: Grant,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    secret: String,
    grant: Grant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none, or not this access key's, or sealed elsewhere.
    #[error("the session token is not one of this access key, or was not sealed here")]
    Foreign,
    #[error("the session has ended")]
    Expired,
    /// Of the parts that the client chose.
    #[error("the session's policies, tags and claims make a token of {0} bytes, and it may have {max}", max = limits::TOKEN_BYTES_MAX)]
    TooLarge(usize),
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("owner", &self.owner).field("of", &self.of).finish_non_exhaustive()
    }
}

/// `ASIA` and sixteen characters. No other access key has such an id.
pub fn is_session_id(access_key: &str) -> bool {
    access_key.strip_prefix(generate::SESSION_PREFIX).is_some_and(|rest| rest.len() == limits::SESSION_ID_CHARACTERS)
}

/// The key that seals tokens, out of its kept form.
pub fn sealing_key(root: &SecretKey, number: u32, sealed: &[u8]) -> Result<SecretKey, KmsError> {
    kms::open_version(root, &sealing_key_name(number), 1, sealed)
}

pub fn sealing_key_name(number: u32) -> String {
    format!("{SEALING_KEYS}/{number}")
}

/// The number in such a name.
pub fn sealing_key_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(SEALING_KEYS)?.strip_prefix('/')?;
    digits.parse().ok().filter(|number| sealing_key_name(*number) == name)
}

/// Which sealing key a token names. That it is sealed by it is yet to be seen.
pub fn key_number(token: &str) -> Result<u32, TokenError> {
    decode(token).map(|(number, _)| number)
}

fn decode(token: &str) -> Result<(u32, Vec<u8>), TokenError> {
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(TokenError::Foreign);
    }
    // Refuses what is not canonical: one token has one text.
    let bytes = BASE64.decode(token).map_err(|_| TokenError::Foreign)?;
    match bytes.split_first_chunk::<HEAD_BYTES>() {
        Some(([VERSION, number @ ..], _)) => Ok((u32::from_le_bytes(*number), bytes)),
        _ => Err(TokenError::Foreign),
    }
}

fn context(head: &[u8], access_key: &str) -> Vec<u8> {
    [b"weir session\0", head, access_key.as_bytes()].concat()
}

/// A new session: its access key, its secret and its token.
pub fn seal(
    (number, key): (u32, &SecretKey),
    random: &dyn Random,
    grant: Grant,
) -> Result<(Opened, String), TokenError> {
    let opened = Opened { access_key: generate::session_key_id(random), secret: generate::secret_key(random), grant };
    let sealed = Sealed { secret: opened.secret.expose().to_owned(), grant: opened.grant.clone() };
    let mut plain = postcard::to_allocvec(&sealed).expect("plain data of this size has a postcard form");
    let mut bytes = [&[VERSION][..], &number.to_le_bytes()].concat();
    let wrapped = key.wrap(random, &context(&bytes, &opened.access_key.0), &plain);
    plain.zeroize();
    let Sealed { mut secret, .. } = sealed;
    secret.zeroize();
    bytes.extend(wrapped);
    let token = BASE64.encode(bytes);
    if token.len() > limits::TOKEN_BYTES_MAX { Err(TokenError::TooLarge(token.len())) } else { Ok((opened, token)) }
}

/// Opens the token of an access key with the sealing key that it names.
pub fn open(key: &SecretKey, access_key: &str, token: &str, now_ms: u64) -> Result<Opened, TokenError> {
    let (_, bytes) = decode(token)?;
    let (head, wrapped) = bytes.split_at_checked(HEAD_BYTES).ok_or(TokenError::Foreign)?;
    let mut plain = key.unwrap(&context(head, access_key), wrapped).map_err(|_| TokenError::Foreign)?;
    let sealed = postcard::from_bytes::<Sealed>(&plain);
    plain.zeroize();
    let Sealed { mut secret, grant } = sealed.map_err(|_| TokenError::Foreign)?;
    let parsed = Secret::parse(&secret).map_err(|_| TokenError::Foreign);
    secret.zeroize();
    if now_ms >= grant.expires_ms {
        return Err(TokenError::Expired);
    }
    Ok(Opened { access_key: AccessKeyId(access_key.to_owned()), secret: parsed?, grant })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    fn grant() -> Grant {
        Grant {
            owner: OwnerId("ann".into()),
            of: GrantedTo::Role { name: "reader".into(), id: "AROA1".into(), session: "s".into() },
            issued_ms: 1_000,
            expires_ms: 901_000,
            policy: Some("{}".into()),
            policy_arns: vec!["arn:aws:iam::aws:policy/x".into()],
            tags: [("a".into(), "b".into())].into(),
            claims: [("idp:sub".into(), vec!["ann".into()])].into(),
            issuer: Some("https://idp".into()),
            chained: false,
        }
    }

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).expect("32 bytes")
    }

    #[test]
    fn a_token_opens_for_its_key_until_it_ends() {
        let random = SeededRandom::new(1);
        let (made, token) = seal((7, &key(1)), &*random, grant()).expect("small");
        let id = made.access_key.0.as_str();
        assert!(is_session_id(id), "{id}");
        assert_eq!(key_number(&token), Ok(7));
        assert_eq!(open(&key(1), id, &token, 900_999), Ok(made.clone()));
        assert_eq!(open(&key(1), id, &token, 901_000), Err(TokenError::Expired));
        assert_eq!(open(&key(2), id, &token, 1_000), Err(TokenError::Foreign));
        let (other, _) = seal((7, &key(1)), &*random, grant()).expect("small");
        assert_eq!(open(&key(1), &other.access_key.0, &token, 1_000), Err(TokenError::Foreign));
        assert!(!format!("{made:?}").contains(made.secret.expose()));
    }

    #[test]
    fn no_bit_of_a_token_can_change() {
        let (made, token) = seal((1, &key(1)), &*SeededRandom::new(2), grant()).expect("small");
        let bytes = BASE64.decode(&token).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let changed = BASE64.encode(changed);
            assert_eq!(open(&key(1), &made.access_key.0, &changed, 2_000), Err(TokenError::Foreign), "{at}");
        }
        for length in 0..token.len() {
            assert_eq!(open(&key(1), &made.access_key.0, &token[..length], 2_000), Err(TokenError::Foreign));
        }
        for bad in ["", "AQ", "AQEAAAA", "ä", &format!("{token}="), &format!("{token}A"), &"A".repeat(5000)] {
            assert_eq!(open(&key(1), &made.access_key.0, bad, 2_000), Err(TokenError::Foreign), "{bad}");
        }
    }

    #[test]
    fn a_token_has_a_largest_size() {
        let with = |length| Grant { policy: Some("x".repeat(length)), ..grant() };
        assert!(seal((1, &key(1)), &*SeededRandom::new(3), with(1200)).is_ok());
        let refused = seal((1, &key(1)), &*SeededRandom::new(3), with(2048));
        assert!(matches!(refused, Err(TokenError::TooLarge(_))));
    }

    #[test]
    fn sealing_keys_are_of_the_key_service() {
        let random = SeededRandom::new(4);
        let sealed = kms::new_version(&key(9), &*random, &sealing_key_name(3), 1);
        let made = sealing_key(&key(9), 3, &sealed).expect("the root's");
        assert_ne!(made, key(9));
        assert!(sealing_key(&key(9), 4, &sealed).is_err());
        assert!(sealing_key(&key(8), 3, &sealed).is_err());
        assert_eq!(sealing_key_number("weir/sessions/12"), Some(12));
        for bad in ["weir/sessions", "weir/sessions/", "weir/sessions/01", "weir/sessions/+1", "weir/sse-s3"] {
            assert_eq!(sealing_key_number(bad), None, "{bad}");
        }
    }
}
