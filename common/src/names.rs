//! Names and numbers that are checked once, where they enter, and never again.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// Why a name was refused. The text is meant for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a bucket name has 3 to 63 letters, digits, dots and hyphens, and this has {0} bytes")]
    BucketLength(usize),
    #[error(
        "a bucket name holds only lower-case letters, digits, dots and hyphens, and begins and ends with a letter or digit"
    )]
    BucketCharacters,
    #[error(
        "a bucket name must not look like an IP address, hold two dots in a row, or use a reserved prefix or suffix"
    )]
    BucketReserved,
    #[error("an object key has 1 to 1024 bytes, and this has {0}")]
    KeyLength(usize),
    #[error("a part number lies between 1 and 10000, and this is {0}")]
    PartNumber(i64),
    #[error("not an upload id of this store")]
    UploadId,
    #[error("not a version id of this store")]
    VersionId,
}

/// A bucket's name by the rules of S3's general purpose buckets.
///
/// Source: Amazon S3 User Guide, "General purpose bucket naming rules".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

impl BucketName {
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let bytes = name.as_bytes();
        if !(3..=63).contains(&bytes.len()) {
            return Err(NameError::BucketLength(bytes.len()));
        }
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = alphanumeric(bytes[0]) && alphanumeric(bytes[bytes.len() - 1]);
        if !ends || !bytes.iter().all(|&b| alphanumeric(b) || b == b'.' || b == b'-') {
            return Err(NameError::BucketCharacters);
        }
        let reserved = name.contains("..")
            || name.parse::<Ipv4Addr>().is_ok()
            || ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
            || ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|suffix| name.ends_with(suffix));
        if reserved {
            return Err(NameError::BucketReserved);
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object's key: 1 to 1024 bytes of UTF-8, any characters, ordered by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

impl ObjectKey {
    pub const LENGTH_BYTES_MAX: usize = 1024;

    pub fn parse(key: &str) -> Result<Self, NameError> {
        if !(1..=Self::LENGTH_BYTES_MAX).contains(&key.len()) {
            return Err(NameError::KeyLength(key.len()));
        }
        Ok(Self(key.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! string_name {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
string_name!(BucketName);
string_name!(ObjectKey);

/// The number of one life of a bucket: given by the control store at creation and never again, so that it is id and
/// incarnation in one. A deleted and re-created name never meets old objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BucketId(pub u64);

/// The number of a cluster map. A write that carries an older one than the disk knows is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Who owns buckets and objects: the `ID` of S3's `Owner` element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnerId(pub String);

/// The public half of an access key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccessKeyId(pub String);

/// So that a key is found by what a request claims, without a copy of it.
impl std::borrow::Borrow<str> for AccessKeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A number that the control store gives once: greater than every one given before, to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term(pub u32);

/// The place of a mutation in its owner's order: term in the high 32 bits, counter in the low ones (engine rule A6).
/// No clock enters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    pub const ZERO: Self = Self(0);

    pub fn new(term: Term, counter: u32) -> Self {
        Self(u64::from(term.0) << 32 | u64::from(counter))
    }

    pub fn term(self) -> Term {
        Term((self.0 >> 32) as u32)
    }

    pub fn counter(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{:08x}", self.term().0, self.counter())
    }
}

/// Which version of a key: the null version, or one that encodes its stamp and random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VersionId {
    Null,
    Id(Stamp, u64),
}

impl VersionId {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let (stamp, random) = parse_two_words(text).ok_or(NameError::VersionId)?;
        Ok(Self::Id(Stamp(stamp), random))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id(stamp, random) => {
                let mut words = [0; 16];
                words[..8].copy_from_slice(&stamp.0.to_be_bytes());
                words[8..].copy_from_slice(&random.to_be_bytes());
                let mut digits = [0; 32];
                hex::encode_to_slice(words, &mut digits).expect("two digits for each byte");
                f.write_str(std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII"))
            }
        }
    }
}

/// A multipart upload: the stamp of its creation and random bits, so that it can be neither repeated nor guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UploadId(pub Stamp, pub u64);

impl UploadId {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (stamp, random) = parse_two_words(text).ok_or(NameError::UploadId)?;
        Ok(Self(Stamp(stamp), random))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0.0, self.1)
    }
}

fn parse_two_words(text: &str) -> Option<(u64, u64)> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != 32 || !text.bytes().all(lower_hex) {
        return None;
    }
    Some((u64::from_str_radix(&text[..16], 16).ok()?, u64::from_str_radix(&text[16..], 16).ok()?))
}

/// The number of a part of a multipart upload, 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartNumber(u16);

impl PartNumber {
    pub const MAX: u16 = 10_000;

    pub fn new(number: i64) -> Result<Self, NameError> {
        match u16::try_from(number) {
            Ok(n @ 1..=Self::MAX) => Ok(Self(n)),
            _ => Err(NameError::PartNumber(number)),
        }
    }

    pub fn number(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_s3() {
        for good in ["abc", "a.b-c", "0ab", "my-bucket.2", &"a".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "ab",
            "v1",
            "s3",
            "Abc",
            "-abc",
            "abc-",
            "a..b",
            "192.168.0.1",
            "xn--abc",
            "abc-s3alias",
            "a_b",
            "a/b",
            &"a".repeat(64),
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_survive_their_text() {
        let upload = UploadId(Stamp::new(Term(7), 9), 0xfeed);
        assert_eq!(UploadId::parse(&upload.to_string()), Ok(upload));
        let version = VersionId::Id(Stamp::new(Term(1), u32::MAX), 3);
        assert_eq!(VersionId::parse(&version.to_string()), Ok(version));
        assert_eq!(VersionId::parse("null"), Ok(VersionId::Null));
        for bad in ["", "x", "+123456789abcdef0123456789abcdef", "é123456789abcdef0123456789abcde", &"A".repeat(32)] {
            assert!(UploadId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stamps_order_by_term_then_counter() {
        assert!(Stamp::new(Term(2), 0) > Stamp::new(Term(1), u32::MAX));
        assert!(Stamp::new(Term(2), 2) > Stamp::new(Term(2), 1));
    }
}
