//! ListObjectsV2 with `metadata=true`, as MinIO's clients ask for it: beside each key its system and user metadata and its
//! tags. That costs one record for each key of the page, which is why nobody gets it unasked.

use crate::route::Target;
use crate::s3::Service;
use crate::s3::listing::{Encoding, Owners};
use crate::s3::written::{Document, Written};
use crate::s3::{attributes, dates};
use cluster::Bucket;
use common::ObjectKey;
use futures::{StreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{self, ListObjectsV2Output};
use std::collections::HashMap;
use storage::{Attributes, ListEntry};

/// Records read at once for one page.
const READS_AT_ONCE: usize = 16;

/// What the page's keys keep. A key that is gone by now, or damaged, is listed without.
pub async fn read(service: &Service, bucket: &Bucket, entries: &[ListEntry]) -> HashMap<String, Attributes> {
    let keys = entries.iter().filter_map(|entry| match entry {
        ListEntry::Object(object) => ObjectKey::parse(&object.key).ok(),
        ListEntry::Prefix(_) => None,
    });
    stream::iter(keys.collect::<Vec<_>>())
        .map(|key| async move {
            let Target::Here(target) = service.router.owner_of(bucket.id, &key);
            let info = target.head(bucket.id, &key, None).await.ok()?;
            Some((String::from(key), info.attributes))
        })
        .buffer_unordered(READS_AT_ONCE)
        .filter_map(|found| async { found })
        .collect()
        .await
}

/// The page in s3s's order of elements, with what was read of its keys.
pub fn write(
    page: &ListObjectsV2Output,
    entries: &[ListEntry],
    encoding: Encoding,
    mut owners: Option<Owners<'_, '_>>,
    kept: &HashMap<String, Attributes>,
) -> Written {
    let mut document = Document::new("ListBucketResult");
    document.optional("Name", page.name.as_ref());
    document.optional("Prefix", page.prefix.as_ref());
    document.optional("Delimiter", page.delimiter.as_ref());
    document.optional("StartAfter", page.start_after.as_ref());
    document.optional("MaxKeys", page.max_keys);
    document.optional("EncodingType", page.encoding_type.as_ref().map(dto::EncodingType::as_str));
    document.optional("KeyCount", page.key_count);
    document.optional("IsTruncated", page.is_truncated);
    document.optional("ContinuationToken", page.continuation_token.as_ref());
    document.optional("NextContinuationToken", page.next_continuation_token.as_ref());
    for entry in entries {
        match entry {
            ListEntry::Prefix(prefix) => {
                document.group("CommonPrefixes", |group| group.element("Prefix", encoding.name(prefix)));
            }
            ListEntry::Object(object) => document.group("Contents", |contents| {
                contents.element("Key", encoding.name(&object.key));
                contents.element("LastModified", dates::Iso(object.modified_ms));
                contents.element("ETag", format!("\"{}\"", object.etag));
                contents.element("Size", object.size);
                if let Some(owner) = owners.as_mut().map(|owners| owners.of(object.owner.as_deref())) {
                    contents.group("Owner", |group| {
                        group.optional("ID", owner.id.as_ref());
                        group.optional("DisplayName", owner.display_name.as_ref());
                    });
                }
                contents.element("StorageClass", object.class.as_deref().unwrap_or("STANDARD"));
                if let Some(attributes) = kept.get(&object.key) {
                    write_attributes(contents, attributes);
                }
            }),
        }
    }
    document.finish()
}

fn write_attributes(contents: &mut Document, attributes: &Attributes) {
    contents.group("UserMetadata", |group| {
        let system = attributes.headers.iter().filter(|(name, _)| name != attributes::STORAGE_CLASS);
        for (name, value) in system {
            group.element(name, value);
        }
        for (name, value) in &attributes.user {
            // A name that no element can have is left out.
            if name.chars().all(is_of_a_name) {
                group.element(&format!("X-Amz-Meta-{}", canonical(name)), value);
            }
        }
    });
    if !attributes.tags.is_empty() {
        contents.element("UserTags", query(&attributes.tags));
    }
}

fn is_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.".contains(character)
}

/// As Go writes the names of headers: `a-long-name` is `A-Long-Name`.
fn canonical(name: &str) -> String {
    let mut begins = true;
    let letter = |character: char| {
        let written = if begins { character.to_ascii_uppercase() } else { character };
        begins = character == '-';
        written
    };
    name.chars().map(letter).collect()
}

fn query(tags: &[(String, String)]) -> String {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    let encode = |text| utf8_percent_encode(text, ENCODED).to_string();
    tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags_are_written_as_minio_does() {
        assert_eq!(canonical("mtime"), "Mtime");
        assert_eq!(canonical("a-long--name_x"), "A-Long--Name_x");
        let tags = [("a b".to_owned(), "ü".to_owned()), ("c".to_owned(), String::new())];
        assert_eq!(query(&tags), "a%20b=%C3%BC&c=");
        assert!(!"a!b".chars().all(is_of_a_name));
    }
}
