//! What the five listings share: page sizes, markers, continuation tokens, URL encoding. No I/O.
//!
//! Source: "ListObjectsV2" and "ListObjects", Amazon S3 API Reference.

use crate::documents;
use crate::error::{Error, Result};
use crate::guard::Pair;
use crate::limits;
use crate::s3::{Service, dates};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster::Bucket;
use common::{ETag, OwnerId};
use s3s::dto;
use std::borrow::Cow;
use storage::{After, ListEntry};

/// The size of a page from `max-keys` and its kin: more than the maximum means the maximum.
pub fn page_size(asked: Option<i32>, name: &'static str) -> Result<usize> {
    match asked {
        None => Ok(limits::PAGE_ENTRIES_MAX),
        Some(count) => match usize::try_from(count) {
            Ok(count) => Ok(count.min(limits::PAGE_ENTRIES_MAX)),
            Err(_) => {
                Err(Error::InvalidArgument(format!("Argument {name} must be an integer between 0 and 2147483647")))
            }
        },
    }
}

/// An empty delimiter is none.
pub fn delimiter(given: Option<String>) -> Option<String> {
    given.filter(|delimiter| !delimiter.is_empty())
}

/// How names are written: as they are, or percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(bool);

impl Encoding {
    pub const URL: Self = Self(true);

    pub fn parse(asked: Option<&dto::EncodingType>) -> Result<Self> {
        match asked.map(dto::EncodingType::as_str) {
            None | Some("") => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(Error::InvalidArgument("Invalid Encoding Method specified in Request".to_owned())),
        }
    }

    pub fn answer(self) -> Option<dto::EncodingType> {
        self.0.then(|| dto::EncodingType::from_static(dto::EncodingType::URL))
    }

    /// Unreserved characters and `/` stay; a space becomes `%20`, which every client's decoder understands, unlike `+`.
    pub fn name(self, name: &str) -> String {
        self.shown(name).into_owned()
    }

    /// The same without a copy, where nothing is encoded.
    pub fn shown(self, name: &str) -> Cow<'_, str> {
        if !self.0 || name.bytes().all(is_unreserved) {
            return Cow::Borrowed(name);
        }
        let mut encoded = String::with_capacity(name.len() + 32);
        for byte in name.bytes() {
            if is_unreserved(byte) {
                encoded.push(char::from(byte));
            } else {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                encoded.push('%');
                encoded.push(char::from(HEX[usize::from(byte >> 4)]));
                encoded.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
        Cow::Owned(encoded)
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/')
}

/// Where a page after this entry begins. A common prefix was counted, so that all of its keys are skipped.
pub fn after_entry(entry: &ListEntry) -> After {
    match entry {
        ListEntry::Object(object) => After::Key(object.key.clone()),
        ListEntry::Prefix(prefix) => After::Prefix(prefix.clone()),
    }
}

/// Where a page after a marker begins: behind every entry whose name is not greater. So a marker in a common prefix of this
/// listing skips all of that prefix, be it the `NextMarker` of the page before, or a key below it.
pub fn after_marker(marker: Option<&str>, prefix: &str, delimiter: Option<&str>) -> After {
    let Some(marker) = marker.filter(|marker| !marker.is_empty()) else { return After::Beginning };
    let rest = marker.strip_prefix(prefix);
    match delimiter.and_then(|delimiter| rest?.find(delimiter).map(|at| at + delimiter.len())) {
        Some(end) => After::Prefix(marker[..prefix.len() + end].to_owned()),
        None => After::Key(marker.to_owned()),
    }
}

/// A continuation token: base64url of `k` or `p` and the name after which to go on. Opaque to clients.
pub fn token(after: &After) -> Option<String> {
    let (tag, name) = match after {
        After::Beginning => return None,
        After::Key(key) => ('k', key),
        After::Prefix(prefix) => ('p', prefix),
    };
    Some(URL_SAFE_NO_PAD.encode(format!("{tag}{name}")))
}

pub fn parse_token(token: &str) -> Result<After> {
    let wrong = || Error::InvalidArgument("The continuation token provided is incorrect".to_owned());
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let name = text.get(1..).filter(|name| (1..=common::ObjectKey::LENGTH_BYTES_MAX).contains(&name.len()));
    match (text.chars().next(), name) {
        (Some('k'), Some(name)) => Ok(After::Key(name.to_owned())),
        (Some('p'), Some(name)) => Ok(After::Prefix(name.to_owned())),
        _ => Err(wrong()),
    }
}

/// Whose the entries of a page are. Few pages have more than one owner: the last one is remembered.
pub struct Owners<'s, 'b> {
    service: &'s Service,
    bucket: &'b Bucket,
    has_lists: bool,
    last: Option<(Option<String>, dto::Owner)>,
}

impl<'s, 'b> Owners<'s, 'b> {
    pub fn new(service: &'s Service, bucket: &'b Bucket) -> Self {
        Self { service, bucket, has_lists: documents::ownership(bucket).has_lists(), last: None }
    }

    /// `None` is the bucket's. Where its owner is enforced, all are.
    pub fn of(&mut self, name: Option<&str>) -> dto::Owner {
        let name = name.filter(|_| self.has_lists);
        if let Some((last, owner)) = &self.last
            && last.as_deref() == name
        {
            return owner.clone();
        }
        let owner = match name {
            None => self.service.owner(&self.bucket.owner),
            Some(name) => self.service.owner(&OwnerId(name.to_owned())),
        };
        self.last = Some((name.map(str::to_owned), owner.clone()));
        owner
    }
}

/// The entries of a page as the two object listings write them.
pub fn contents(
    entries: Vec<ListEntry>,
    encoding: Encoding,
    mut owners: Option<Owners<'_, '_>>,
) -> (Vec<dto::Object>, Vec<dto::CommonPrefix>) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            ListEntry::Prefix(prefix) => prefixes.push(dto::CommonPrefix { prefix: Some(encoding.name(&prefix)) }),
            ListEntry::Object(object) => objects.push(dto::Object {
                key: Some(encoding.name(&object.key)),
                size: Some(size(object.size)),
                e_tag: Some(etag(&object.etag)),
                last_modified: Some(dates::timestamp(object.modified_ms)),
                storage_class: Some(
                    object.class.unwrap_or_else(|| dto::ObjectStorageClass::STANDARD.to_owned()).into(),
                ),
                owner: owners.as_mut().map(|owners| owners.of(object.owner.as_deref())),
                ..Default::default()
            }),
        }
    }
    (objects, prefixes)
}

pub fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag.to_string())
}

/// Sizes are below 2^63: no disk is larger.
pub fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Counts of a page are at most a thousand.
pub fn count(entries: usize) -> i32 {
    i32::try_from(entries).unwrap_or(i32::MAX)
}

/// Ceph's `allow-unordered` asks for no order, which a listing in order also is; but with a delimiter it contradicts itself.
pub fn check_unordered(query: &[Pair<'_>], delimiter: Option<&str>) -> Result<()> {
    let unordered = query.iter().any(|(key, value)| key == "allow-unordered" && value == "true");
    if unordered && delimiter.is_some() {
        return Err(Error::InvalidArgument("allow-unordered and delimiter cannot be used together".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_follow_s3() {
        assert_eq!(page_size(None, "max-keys").expect("default"), 1000);
        assert_eq!(page_size(Some(0), "max-keys").expect("zero"), 0);
        assert_eq!(page_size(Some(7), "max-keys").expect("seven"), 7);
        assert_eq!(page_size(Some(5000), "max-keys").expect("clamped"), 1000);
        assert_eq!(page_size(Some(-1), "max-keys").expect_err("refused").answer().code, "InvalidArgument");
    }

    #[test]
    fn names_are_encoded_when_asked() {
        let url = Encoding::parse(Some(&dto::EncodingType::from_static("url"))).expect("known");
        assert_eq!(url.name("a b/c+d%é~"), "a%20b/c%2Bd%25%C3%A9~");
        let plain = Encoding::parse(None).expect("none");
        assert_eq!(plain.name("a b+"), "a b+");
        assert!(Encoding::parse(Some(&dto::EncodingType::from_static("gzip"))).is_err());
    }

    #[test]
    fn tokens_survive_and_strangers_are_refused() {
        for after in [After::Key("a/b é".to_owned()), After::Prefix("a/".to_owned())] {
            assert_eq!(parse_token(&token(&after).expect("a token")).expect("ours"), after);
        }
        assert_eq!(token(&After::Beginning), None);
        let foreign = URL_SAFE_NO_PAD.encode("xabc");
        let long = URL_SAFE_NO_PAD.encode(format!("k{}", "a".repeat(1025)));
        let bare = URL_SAFE_NO_PAD.encode("k");
        let accent = URL_SAFE_NO_PAD.encode("é");
        for bad in ["", "k", "blah", "a=", "a+b", &foreign, &long, &bare, &accent] {
            assert_eq!(parse_token(bad).expect_err(bad).answer().code, "InvalidArgument");
        }
    }

    #[test]
    fn markers_that_are_prefixes_skip_them() {
        let key = |name: &str| After::Key(name.to_owned());
        let prefix = |name: &str| After::Prefix(name.to_owned());
        assert_eq!(after_marker(None, "", None), After::Beginning);
        assert_eq!(after_marker(Some(""), "", Some("/")), After::Beginning);
        assert_eq!(after_marker(Some("a/"), "", None), key("a/"));
        assert_eq!(after_marker(Some("a/"), "", Some("/")), prefix("a/"));
        assert_eq!(after_marker(Some("a/b"), "", Some("/")), prefix("a/"));
        assert_eq!(after_marker(Some("a/b/"), "", Some("/")), prefix("a/"));
        assert_eq!(after_marker(Some("b"), "a/", Some("/")), key("b"));
        assert_eq!(after_marker(Some("a/b/"), "a/", Some("/")), prefix("a/b/"));
        assert_eq!(after_marker(Some("a/"), "a/", Some("/")), key("a/"));
        assert_eq!(after_marker(Some("a--b--"), "a--", Some("--")), prefix("a--b--"));
    }
}
