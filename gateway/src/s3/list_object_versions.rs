//! ListObjectVersions. Each key has one version, which is its null version, so that a page goes on behind a key.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>

use crate::error::{Error, Result};
use crate::s3::list_objects_v2::page;
use crate::s3::listing::{self, Encoding};
use crate::s3::{Service, dates};
use s3s::dto::{self, ListObjectVersionsInput, ListObjectVersionsOutput};
use s3s::{S3Request, S3Response};
use storage::{ListEntry, ListRequest};

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
    if key_marker.is_empty() && !version_id_marker.is_empty() {
        return Err(Error::InvalidArgument("A version-id marker cannot be specified without a key marker.".to_owned()));
    }
    let after = listing::after_marker(Some(&key_marker), &prefix, delimiter.as_deref());

    let list = ListRequest { bucket: bucket.id, prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = page(service, list).await?;

    let (next_key_marker, next_version_id_marker) = match page.entries.last().filter(|_| page.more) {
        None => (None, None),
        Some(ListEntry::Object(object)) => (Some(encoding.name(&object.key)), Some(object.version.to_string())),
        Some(ListEntry::Prefix(prefix)) => (Some(encoding.name(prefix)), None),
    };
    let owner = service.owner(&bucket.owner);
    let (mut versions, mut common_prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            ListEntry::Prefix(prefix) => {
                common_prefixes.push(dto::CommonPrefix { prefix: Some(encoding.name(&prefix)) });
            }
            ListEntry::Object(object) => versions.push(dto::ObjectVersion {
                key: Some(encoding.name(&object.key)),
                version_id: Some(object.version.to_string()),
                is_latest: Some(true),
                size: Some(listing::size(object.size)),
                e_tag: Some(listing::etag(&object.etag)),
                last_modified: Some(dates::timestamp(object.modified_ms)),
                owner: Some(owner.clone()),
                storage_class: Some(dto::ObjectVersionStorageClass::from_static(
                    dto::ObjectVersionStorageClass::STANDARD,
                )),
                ..Default::default()
            }),
        }
    }
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.name(&prefix)),
        key_marker: Some(encoding.name(&key_marker)),
        version_id_marker: Some(version_id_marker),
        next_key_marker,
        next_version_id_marker,
        max_keys: Some(listing::count(limit)),
        is_truncated: Some(page.more),
        versions: Some(versions),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| encoding.name(&delimiter)),
        encoding_type: encoding.answer(),
        ..Default::default()
    }))
}
