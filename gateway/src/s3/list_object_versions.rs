//! ListObjectVersions: by the bytes of the keys, and of one key the newest version first. Versions and delete markers stand
//! in the document in that one order, as in S3: MinIO's clients read it so. s3s would write all versions before all markers.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>

use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::listing::{self, Encoding};
use crate::s3::named::wanted_version;
use crate::s3::written::{Document, fragment};
use crate::s3::{Service, dates};
use s3s::dto::{self, ListObjectVersionsInput, ListObjectVersionsOutput};
use s3s::{S3Request, S3Response};
use storage::{After, AfterVersion, ListVersionsRequest, ListedVersion, VersionEntry, VersionsPage};

/// What an entry with a short key takes of the document.
const ENTRY_BYTES: usize = 420;

pub async fn list_object_versions(
    service: &Service,
    request: S3Request<ListObjectVersionsInput>,
) -> Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let limit = listing::page_size(input.max_keys, "max-keys")?;
    let delimiter = listing::delimiter(input.delimiter);
    let prefix = input.prefix.unwrap_or_default();
    let key_marker = input.key_marker.unwrap_or_default();
    let version_id_marker = input.version_id_marker.unwrap_or_default();
    let after = after(&key_marker, &version_id_marker, &prefix, delimiter.as_deref())?;

    let list =
        ListVersionsRequest { bucket: bucket.id, prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = if limit == 0 {
        // A page of nothing would have no end to go on after.
        VersionsPage { entries: Vec::new(), more: false }
    } else {
        let Target::Here(target) = service.router.lister_of(bucket.id);
        target.list_versions(list).await?
    };

    let mut document = Document::new("ListVersionsResult");
    document.reserve(page.entries.len() * ENTRY_BYTES);
    document.element("Name", &input.bucket);
    document.element("Prefix", encoding.name(&prefix));
    document.element("KeyMarker", encoding.name(&key_marker));
    document.element("VersionIdMarker", &version_id_marker);
    match page.entries.last().filter(|_| page.more) {
        None => {}
        Some(VersionEntry::Version(version)) => {
            document.element("NextKeyMarker", encoding.name(&version.key));
            document.element("NextVersionIdMarker", version.version);
        }
        Some(VersionEntry::Prefix(prefix)) => document.element("NextKeyMarker", encoding.name(prefix)),
    }
    document.element("MaxKeys", limit);
    document.optional("Delimiter", delimiter.map(|delimiter| encoding.name(&delimiter)));
    document.optional("EncodingType", encoding.answer().as_ref().map(dto::EncodingType::as_str));
    document.element("IsTruncated", page.more);
    let mut owners = service.owners(&bucket);
    let (mut owner, mut owner_text) = (dto::Owner::default(), String::new());
    for entry in &page.entries {
        if let VersionEntry::Version(version) = entry {
            let of_this = owners.of(version.owner.as_deref());
            if owner_text.is_empty() || owner != of_this {
                owner = of_this;
                owner_text = fragment(|document| write_owner(document, &owner));
            }
            write(&mut document, version, encoding, &owner_text);
        }
    }
    for entry in &page.entries {
        if let VersionEntry::Prefix(prefix) = entry {
            document.group("CommonPrefixes", |group| group.element("Prefix", encoding.name(prefix)));
        }
    }
    let mut answer = S3Response::new(ListObjectVersionsOutput::default());
    answer.extensions.insert(document.finish());
    Ok(answer)
}

fn write(document: &mut Document, version: &ListedVersion, encoding: Encoding, owner: &str) {
    let name = if version.is_marker { "DeleteMarker" } else { "Version" };
    document.group(name, |entry| {
        entry.element("Key", encoding.shown(&version.key));
        entry.plain("VersionId", version.version);
        entry.plain("IsLatest", version.is_latest);
        entry.plain("LastModified", dates::Iso(version.modified_ms));
        if let Some(etag) = &version.etag {
            entry.plain("ETag", format_args!("&quot;{etag}&quot;"));
            entry.plain("Size", version.size);
            entry.element("StorageClass", version.class.as_deref().unwrap_or("STANDARD"));
        }
        entry.written(owner);
    });
}

fn write_owner(document: &mut Document, owner: &dto::Owner) {
    document.group("Owner", |group| {
        group.optional("ID", owner.id.as_ref());
        group.optional("DisplayName", owner.display_name.as_ref());
    });
}

/// Where the page begins. A version is a place among the versions of a key, so it needs the key.
fn after(key: &str, version: &str, prefix: &str, delimiter: Option<&str>) -> Result<AfterVersion> {
    if key.is_empty() && !version.is_empty() {
        return Err(Error::InvalidArgument("A version-id marker cannot be specified without a key marker.".to_owned()));
    }
    let version = wanted_version(Some(version).filter(|version| !version.is_empty()))?;
    Ok(match (listing::after_marker(Some(key), prefix, delimiter), version) {
        (After::Beginning, _) => AfterVersion::Beginning,
        (After::Prefix(prefix), _) => AfterVersion::Prefix(prefix),
        (After::Key(key), Some(version)) => AfterVersion::Version(key, version),
        (After::Key(key), None) => AfterVersion::Key(key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::VersionId;

    #[test]
    fn markers_are_places() {
        let key = || "a/k".to_owned();
        assert_eq!(after("", "", "", None).expect("none"), AfterVersion::Beginning);
        assert_eq!(after("a/k", "", "", None).expect("a key"), AfterVersion::Key(key()));
        let version = AfterVersion::Version(key(), VersionId::Null);
        assert_eq!(after("a/k", "null", "", None).expect("a version"), version);
        assert_eq!(after("a/k", "null", "", Some("/")).expect("a prefix"), AfterVersion::Prefix("a/".to_owned()));
        assert_eq!(after("a/k", "null", "a/", Some("/")).expect("a version"), version);
        for (key, version) in [("", "null"), ("a/k", "no-version")] {
            assert_eq!(after(key, version, "", None).expect_err(version).answer().code, "InvalidArgument");
        }
    }
}
