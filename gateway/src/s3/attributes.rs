//! What a client gave an object to keep: from request headers to `storage::Attributes`, and back to response headers.
//!
//! Source: "Working with object metadata", Amazon S3 User Guide.

use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{acl_request, lock, tags};
use cluster::Bucket;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::Metadata;
use storage::Attributes;

pub const STORAGE_CLASS: &str = "x-amz-storage-class";
const STANDARD: &str = "STANDARD";

const SYSTEM: [&str; 8] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
    STORAGE_CLASS,
];

/// The classes of general purpose buckets. Here they are names that an object keeps: where it lies does not depend on them.
const STORAGE_CLASSES: [&[u8]; 8] = [
    b"STANDARD",
    b"REDUCED_REDUNDANCY",
    b"STANDARD_IA",
    b"ONEZONE_IA",
    b"INTELLIGENT_TIERING",
    b"GLACIER",
    b"DEEP_ARCHIVE",
    b"GLACIER_IR",
];

/// Headers that ask for something that is not there yet. They are refused by name: an object that its owner believes
/// shared must be so.
const UNSUPPORTED: [&str; 2] = ["x-amz-write-offset-bytes", "x-amz-bucket-object-lock-enabled"];

/// What a write gives a new object to keep: its metadata, its tags, its lock. Its list is `Service::acl_of_write`.
pub fn of_write(headers: &HeaderMap, metadata: Option<Metadata>, bucket: &Bucket, now_ms: u64) -> Result<Attributes> {
    refuse_unsupported(headers)?;
    let tags = tags::of_header(headers)?;
    let lock = lock::of_write(headers, bucket, now_ms)?;
    Ok(Attributes { tags, lock, ..parse(headers, metadata)? })
}

/// What a part cannot have: it was said when the upload was created.
pub fn refuse_of_part(headers: &HeaderMap) -> Result<()> {
    refuse_unsupported(headers)?;
    if headers.contains_key(tags::HEADER) || lock::is_asked_for(headers) || acl_request::is_in(headers) {
        let text = "Tags, locks and access control lists belong to CreateMultipartUpload, not to a part";
        return Err(Error::InvalidRequest(text.to_owned()));
    }
    Ok(())
}

/// The metadata of a new object. `metadata` is what s3s read from `x-amz-meta-*`, RFC 2047 words decoded.
pub fn parse(headers: &HeaderMap, metadata: Option<Metadata>) -> Result<Attributes> {
    let mut attributes = Attributes::default();
    for name in SYSTEM {
        let Some(value) = headers.get(name) else { continue };
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Error::InvalidArgument(format!("the header {name} is not UTF-8")))?;
        let value = if name == "content-encoding" { without_aws_chunked(value) } else { value.to_owned() };
        let is_default = value.is_empty() || (name == STORAGE_CLASS && value == STANDARD);
        if !is_default {
            attributes.headers.push((name.to_owned(), value));
        }
    }
    attributes.user = metadata.unwrap_or_default().into_iter().collect();
    attributes.user.sort_unstable();
    let bytes: usize = attributes.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::USER_METADATA_BYTES_MAX {
        return Err(Error::MetadataTooLarge { limit_bytes: limits::USER_METADATA_BYTES_MAX });
    }
    if let Some((name, _)) = attributes.user.iter().find(|(_, value)| value.contains(|c: char| c.is_control())) {
        return Err(Error::InvalidArgument(format!("x-amz-meta-{name} has a control character")));
    }
    Ok(attributes)
}

/// Refuses what a write asks for and would not get.
pub fn refuse_unsupported(headers: &HeaderMap) -> Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        // Today's rclone says of every bucket that it needs no lock.
        if name == "x-amz-bucket-object-lock-enabled" && value.as_bytes().eq_ignore_ascii_case(b"false") {
            continue;
        }
        if UNSUPPORTED.contains(&name) {
            return Err(Error::NotImplemented(format!("The header {name}")));
        }
    }
    match headers.get(STORAGE_CLASS) {
        Some(class) if !STORAGE_CLASSES.contains(&class.as_bytes()) => Err(Error::InvalidStorageClass),
        Some(_) | None => Ok(()),
    }
}

pub fn storage_class(attributes: &Attributes) -> &str {
    let class = attributes.headers.iter().find(|(name, _)| name == STORAGE_CLASS);
    class.map_or(STANDARD, |(_, class)| class)
}

/// Writes the system metadata, the number of tags and the lock. An object without a type gets S3's default.
pub fn write_headers(attributes: &Attributes, headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"));
    for (name, value) in &attributes.headers {
        let name = SYSTEM.iter().find(|known| *known == name);
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if !attributes.tags.is_empty() {
        headers.insert("x-amz-tagging-count", HeaderValue::from(attributes.tags.len()));
    }
    lock::write_headers(&attributes.lock, headers);
}

/// The user metadata as s3s writes it.
pub fn metadata(attributes: &Attributes) -> Option<Metadata> {
    Some(attributes.user.iter().cloned().collect())
}

/// `aws-chunked` describes the transfer, not the object.
fn without_aws_chunked(value: &str) -> String {
    let codings = value.split(',').map(str::trim).filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked"));
    codings.filter(|coding| !coding.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn system_metadata_survives() {
        let given = headers(&[
            ("content-type", "text/plain"),
            ("content-encoding", "gzip, aws-chunked"),
            ("cache-control", "no-cache"),
            ("x-amz-storage-class", "STANDARD"),
            ("host", "localhost"),
        ]);
        let attributes = parse(&given, None).expect("accepted");
        let mut answer = HeaderMap::new();
        write_headers(&attributes, &mut answer);
        let expected =
            headers(&[("content-type", "text/plain"), ("cache-control", "no-cache"), ("content-encoding", "gzip")]);
        assert_eq!(answer, expected);
    }

    #[test]
    fn classes_and_tags_are_answered() {
        let class = headers(&[("x-amz-storage-class", "STANDARD_IA")]);
        let mut attributes = parse(&class, None).expect("accepted");
        assert_eq!((storage_class(&attributes), storage_class(&Attributes::default())), ("STANDARD_IA", "STANDARD"));
        attributes.tags = vec![("a".to_owned(), "b".to_owned())];
        let mut answer = HeaderMap::new();
        write_headers(&attributes, &mut answer);
        assert_eq!(
            (&answer["x-amz-storage-class"], &answer["x-amz-tagging-count"]),
            (&class["x-amz-storage-class"], &"1".parse().expect("a value"))
        );
    }

    #[test]
    fn only_chunked_leaves_no_encoding() {
        let attributes = parse(&headers(&[("content-encoding", "aws-chunked")]), None).expect("accepted");
        assert_eq!(attributes, Attributes::default());
    }

    #[test]
    fn user_metadata_is_bounded() {
        let with = |bytes: usize| parse(&HeaderMap::new(), Some([("k".to_owned(), "v".repeat(bytes))].into()));
        assert!(with(2047).is_ok());
        assert!(matches!(with(2048), Err(Error::MetadataTooLarge { .. })));
        assert!(parse(&HeaderMap::new(), Some([("k".to_owned(), "a\nb".to_owned())].into())).is_err());
        assert!(parse(&HeaderMap::new(), Some([("k".to_owned(), "größe".to_owned())].into())).is_ok());
    }

    #[test]
    fn promises_that_cannot_be_kept_are_refused() {
        let name = "x-amz-bucket-object-lock-enabled";
        let refused = refuse_unsupported(&headers(&[(name, "true")]));
        assert!(matches!(refused, Err(Error::NotImplemented(text)) if text.contains(name)), "{name}");
        assert!(refuse_of_part(&headers(&[("x-amz-acl", "public-read")])).is_err());
        assert!(refuse_of_part(&headers(&[("x-amz-grant-read", "id=1")])).is_err());
        assert!(refuse_of_part(&headers(&[("x-amz-acl", "private"), ("x-amz-storage-class", "STANDARD")])).is_ok());
        assert!(refuse_unsupported(&headers(&[("x-amz-storage-class", "GLACIER")])).is_ok());
        assert!(refuse_unsupported(&headers(&[("x-amz-storage-class", "glacier")])).is_err());
        assert!(refuse_of_part(&headers(&[("x-amz-tagging", "a=b")])).is_err());
        assert!(refuse_of_part(&headers(&[("x-amz-object-lock-mode", "GOVERNANCE")])).is_err());
        assert!(refuse_unsupported(&headers(&[("x-amz-bucket-object-lock-enabled", "false")])).is_ok());
    }
}
