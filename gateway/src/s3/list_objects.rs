//! ListObjects, version 1: with `NextMarker` whenever there is more, also without a delimiter, as old clients want it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>

use crate::error::Result;
use crate::guard::query_pairs;
use crate::s3::Service;
use crate::s3::list_objects_v2::page;
use crate::s3::listing::{self, Encoding};
use s3s::dto::{ListObjectsInput, ListObjectsOutput};
use s3s::{S3Request, S3Response};
use storage::{ListEntry, ListRequest};

pub async fn list_objects(
    service: &Service,
    request: S3Request<ListObjectsInput>,
) -> Result<S3Response<ListObjectsOutput>> {
    let query = query_pairs(request.uri.query().unwrap_or(""));
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let limit = listing::page_size(input.max_keys, "max-keys")?;
    let delimiter = listing::delimiter(input.delimiter);
    listing::check_unordered(&query, delimiter.as_deref())?;
    let prefix = input.prefix.unwrap_or_default();
    let after = listing::after_marker(input.marker.as_deref(), &prefix, delimiter.as_deref());

    let list = ListRequest { bucket: bucket.id, prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = page(service, list).await?;

    let next_marker = page.entries.last().filter(|_| page.more).map(|entry| match entry {
        ListEntry::Object(object) => encoding.name(&object.key),
        ListEntry::Prefix(prefix) => encoding.name(prefix),
    });
    let (contents, common_prefixes) = listing::contents(page.entries, encoding, Some(service.owners(&bucket)));
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.name(&prefix)),
        marker: Some(encoding.name(&input.marker.unwrap_or_default())),
        max_keys: Some(listing::count(limit)),
        is_truncated: Some(page.more),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| encoding.name(&delimiter)),
        next_marker,
        encoding_type: encoding.answer(),
        request_charged: None,
    }))
}
