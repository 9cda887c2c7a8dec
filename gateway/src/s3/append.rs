//! PutObject with `x-amz-write-offset-bytes`: the body goes behind what the key has, as in directory buckets. The offset must be
//! the object's size. In a bucket that never kept versions only: every append would be a version of all bytes.
//!
//! Source: "Appending data to objects in directory buckets", Amazon S3 User Guide.

use crate::documents;
use crate::error::{Error, Result};
use cluster::Bucket;
use http::HeaderMap;
use storage::{Attributes, Versioning};

const OFFSET: &str = "x-amz-write-offset-bytes";

/// Takes the offset out of the headers, of which everybody else refuses it.
pub fn take_offset(headers: &mut HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.remove(OFFSET) else { return Ok(None) };
    let offset = value.to_str().ok().and_then(|text| text.parse().ok());
    offset.map(Some).ok_or_else(|| Error::InvalidArgument("x-amz-write-offset-bytes is a number of bytes".to_owned()))
}

/// What an append cannot have. The object that it goes to keeps its own metadata.
pub fn check(offset: u64, bucket: &Bucket, attributes: &Attributes) -> Result<()> {
    if documents::versioning(bucket) != Versioning::Off {
        return Err(Error::InvalidRequest(
            "Nothing is appended to objects of a bucket that keeps or kept versions".to_owned(),
        ));
    }
    if offset > 0 && !(attributes.user.is_empty() && attributes.tags.is_empty()) {
        return Err(Error::InvalidRequest("Metadata and tags belong to the write that makes the object".to_owned()));
    }
    Ok(())
}

/// The bytes of an encrypted object are in files that belong to their keys.
pub fn failed(error: storage::Error) -> Error {
    match error {
        storage::Error::Sealed => Error::NotImplemented("An append to an encrypted object".to_owned()),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_numbers() {
        let offset = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(OFFSET, http::HeaderValue::from_static(text));
            let offset = take_offset(&mut headers).map_err(|error| error.answer().code);
            assert!(headers.is_empty());
            offset
        };
        assert_eq!(offset("0"), Ok(Some(0)));
        assert_eq!(offset("5000000000"), Ok(Some(5_000_000_000)));
        for bad in ["", "-1", "1.5", "x", "99999999999999999999"] {
            assert_eq!(offset(bad), Err("InvalidArgument"), "{bad}");
        }
        assert_eq!(take_offset(&mut HeaderMap::new()).expect("none"), None);
    }
}
