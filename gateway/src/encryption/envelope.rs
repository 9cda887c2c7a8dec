//! What is kept beside an encrypted object to find its data key by. The form is in `docs/on-disk-format.md`, section 9.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// Variants and fields are only ever added at the end, under a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Envelope {
    S3 {
        wrapped: Vec<u8>,
    },
    Kms {
        key: String,
        /// As the client gave it, Base64.
        context: Option<String>,
        bucket_key: bool,
        wrapped: Vec<u8>,
    },
    Customer {
        wrapped: Vec<u8>,
    },
}

impl Envelope {
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("plain data always encodes")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (&VERSION, rest) = bytes.split_first().ok_or(Error::Internal("an object's envelope is empty"))? else {
            return Err(Error::Internal("an object's envelope is of a newer version"));
        };
        match postcard::take_from_bytes(rest) {
            Ok((envelope, [])) => Ok(envelope),
            _ => Err(Error::Internal("an object's envelope cannot be read")),
        }
    }

    /// As S3 has it: the ETag is an MD5 where S3 itself holds the key.
    pub fn hides_md5(&self) -> bool {
        !matches!(self, Self::S3 { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_have_these_bytes() {
        let kms =
            Envelope::Kms { key: "k".into(), context: Some("e30=".into()), bucket_key: true, wrapped: vec![9; 2] };
        assert_eq!(kms.encode(), b"\x01\x01\x01k\x01\x04e30=\x01\x02\x09\x09");
        assert_eq!(Envelope::decode(&kms.encode()).expect("sound"), kms);
        assert_eq!(Envelope::S3 { wrapped: vec![7] }.encode(), [1, 0, 1, 7]);
        assert_eq!(Envelope::Customer { wrapped: vec![7] }.encode(), [1, 2, 1, 7]);
        for bad in [&[][..], &[1], &[2, 0, 1, 7], &[1, 0, 1], &[1, 0, 1, 7, 0], &[1, 3, 1, 7]] {
            assert!(Envelope::decode(bad).is_err(), "{bad:?}");
        }
    }
}
