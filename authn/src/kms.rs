//! Named keys that wrap data keys: the service that a KMS offers, the names, and how the keys themselves are sealed. Where
//! they are kept is not known here.

use common::cipher::{KEY_BYTES, WRAPPING_BYTES};
use common::{Random, SecretKey};

/// What Weir's own keys begin with: nobody names one in a request.
pub const OWN_KEYS: &str = "weir/";
/// Of SSE-S3: made when it is needed first, and nobody names it.
pub const SSE_S3_KEY: &str = "weir/sse-s3";
/// Of SSE-KMS when a request names none.
pub const DEFAULT_KEY: &str = "aws/s3";

pub const NAME_BYTES_MAX: usize = 128;

/// A wrapped data key: the number of the version that wrapped it, u32 little-endian, and what it wrapped.
pub const WRAPPED_BYTES: usize = 4 + KEY_BYTES + WRAPPING_BYTES;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    #[error("Key '{0}' does not exist")]
    NotFound(String),
    #[error("a key's name has 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens, underscores and slashes")]
    Name,
    /// What was to be unwrapped is not what this key has wrapped in this context.
    #[error("the wrapped key does not belong to its key and context")]
    Forged,
    #[error("the key service failed: {0}")]
    Unavailable(String),
}

/// A data key and the form in which it may be kept.
#[derive(Debug)]
pub struct DataKey {
    pub plain: SecretKey,
    pub wrapped: Vec<u8>,
}

/// What encryption asks of a KMS: here the control store's, or one that is somewhere else.
#[async_trait::async_trait]
pub trait KeyService: Send + Sync {
    /// A new data key, wrapped by the newest version of a named key. It can be unwrapped in this context alone.
    async fn generate_data_key(&self, key: &str, context: &[u8]) -> Result<DataKey, KmsError>;

    /// The data key that any version of the named key has wrapped.
    async fn decrypt(&self, key: &str, context: &[u8], wrapped: &[u8]) -> Result<SecretKey, KmsError>;
}

/// A key's name out of what a client calls it: the name, an alias or an ARN that ends in either.
pub fn parse_name(text: &str) -> Result<&str, KmsError> {
    let local = match text.strip_prefix("arn:") {
        // arn:aws:kms:region:account:key/name
        Some(arn) => arn.splitn(5, ':').nth(4).and_then(|resource| {
            resource.strip_prefix("key/").or_else(|| resource.starts_with("alias/").then_some(resource))
        }),
        None => Some(text),
    };
    let name = local.map(|local| local.strip_prefix("alias/").unwrap_or(local)).ok_or(KmsError::Name)?;
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(sound) {
        return Err(KmsError::Name);
    }
    Ok(name)
}

/// Names that no administrator gives: Weir's own, and AWS's.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(OWN_KEYS) || name.starts_with("aws/")
}

/// A new version of a named key, in the form in which it is kept.
pub fn new_version(root: &SecretKey, random: &dyn Random, name: &str, version: u32) -> Vec<u8> {
    let key = SecretKey::random(random);
    named_keys(root).wrap(random, &of_version(name, version), key.expose())
}

/// Wraps a new data key under one version of a named key.
pub fn wrap_new(
    root: &SecretKey,
    random: &dyn Random,
    name: &str,
    (version, sealed): (u32, &[u8]),
    context: &[u8],
) -> Result<DataKey, KmsError> {
    let plain = SecretKey::random(random);
    let mut wrapped = version.to_le_bytes().to_vec();
    wrapped.extend(open_version(root, name, version, sealed)?.wrap(random, context, plain.expose()));
    Ok(DataKey { plain, wrapped })
}

/// Which version of its key has wrapped this.
pub fn version_of(wrapped: &[u8]) -> Result<u32, KmsError> {
    let version = wrapped.first_chunk().filter(|_| wrapped.len() == WRAPPED_BYTES).ok_or(KmsError::Forged)?;
    Ok(u32::from_le_bytes(*version))
}

pub fn unwrap(
    root: &SecretKey,
    name: &str,
    (version, sealed): (u32, &[u8]),
    context: &[u8],
    wrapped: &[u8],
) -> Result<SecretKey, KmsError> {
    let key = open_version(root, name, version, sealed)?;
    key.unwrap_key(context, wrapped.get(4..).unwrap_or_default()).map_err(|_| KmsError::Forged)
}

/// Whether this root key has sealed the versions of a named key: told by the newest.
pub fn is_sealed_by(root: &SecretKey, name: &str, versions: &[Vec<u8>]) -> bool {
    let number = versions.len().try_into().unwrap_or(u32::MAX);
    versions.last().is_none_or(|sealed| open_version(root, name, number, sealed).is_ok())
}

pub(crate) fn open_version(root: &SecretKey, name: &str, version: u32, sealed: &[u8]) -> Result<SecretKey, KmsError> {
    let opened = named_keys(root).unwrap_key(&of_version(name, version), sealed);
    opened.map_err(|_| {
        KmsError::Unavailable(format!("the root key is not the one that version {version} of {name} was sealed by"))
    })
}

fn named_keys(root: &SecretKey) -> SecretKey {
    root.derive(&[b"weir named key 1"])
}

fn of_version(name: &str, version: u32) -> Vec<u8> {
    [name.as_bytes(), &[0], &version.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    #[test]
    fn names_are_found_in_what_clients_write() {
        for text in
            ["key-1", "alias/key-1", "arn:aws:kms:us-east-1:123456789012:key/key-1", "arn:aws:kms:r:1:alias/key-1"]
        {
            assert_eq!(parse_name(text), Ok("key-1"), "{text}");
        }
        assert_eq!(parse_name("aws/s3"), Ok("aws/s3"));
        for text in ["", "alias/", "a b", "arn:aws:kms", "arn:aws:kms:r:1:grant/x", "a:b", &"x".repeat(129)] {
            assert_eq!(parse_name(text), Err(KmsError::Name), "{text}");
        }
        assert!(is_reserved(SSE_S3_KEY) && is_reserved(DEFAULT_KEY) && !is_reserved("key-1"));
    }

    #[test]
    fn data_keys_come_back_by_their_version_name_and_context() {
        let (random, root) = (SeededRandom::new(3), SecretKey::from_slice(&[1; 32]).expect("32 bytes"));
        let first = new_version(&root, &*random, "key-1", 1);
        let second = new_version(&root, &*random, "key-1", 2);
        let made = wrap_new(&root, &*random, "key-1", (2, &second), b"object").expect("the root's");
        assert_eq!(made.wrapped.len(), WRAPPED_BYTES);
        assert_eq!(version_of(&made.wrapped), Ok(2));
        let unwrapped = |root, name, version, context| unwrap(root, name, version, context, &made.wrapped);
        assert_eq!(unwrapped(&root, "key-1", (2, &second), b"object"), Ok(made.plain.clone()));
        assert_eq!(unwrapped(&root, "key-1", (2, &second), b"other"), Err(KmsError::Forged));
        assert_eq!(unwrapped(&root, "key-1", (1, &first), b"object"), Err(KmsError::Forged));
        let unavailable = |found: Result<SecretKey, KmsError>| matches!(found, Err(KmsError::Unavailable(_)));
        assert!(unavailable(unwrapped(&root, "key-2", (2, &second), b"object")));
        assert!(unavailable(unwrapped(&root, "key-1", (2, &first), b"object")));
        let other = SecretKey::from_slice(&[2; 32]).expect("32 bytes");
        assert!(unavailable(unwrapped(&other, "key-1", (2, &second), b"object")));
        assert_eq!(version_of(&made.wrapped[1..]), Err(KmsError::Forged));
    }
}
