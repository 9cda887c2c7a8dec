//! ListMultipartUploads. s3cmd pages with `KeyMarker` and `UploadIdMarker`; these are taken for `key-marker` and
//! `upload-id-marker`, or it would ask for the first page for ever.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use crate::error::{Error, Result};
use crate::guard::query_pairs;
use crate::route::Target;
use crate::s3::listing::{self, Encoding};
use crate::s3::{Service, dates};
use common::UploadId;
use s3s::dto::{self, ListMultipartUploadsInput, ListMultipartUploadsOutput};
use s3s::{S3Request, S3Response};
use storage::{After, ListUploadsRequest, UploadEntry, UploadsPage};

pub async fn list_multipart_uploads(
    service: &Service,
    request: S3Request<ListMultipartUploadsInput>,
) -> Result<S3Response<ListMultipartUploadsOutput>> {
    let pairs = query_pairs(request.uri.query().unwrap_or(""));
    let misnamed = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone().into_owned());
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let limit = listing::page_size(input.max_uploads, "max-uploads")?;
    let delimiter = listing::delimiter(input.delimiter);
    let prefix = input.prefix.unwrap_or_default();
    let key_marker = input.key_marker.or_else(|| misnamed("KeyMarker")).unwrap_or_default();
    let upload_id_marker = input.upload_id_marker.or_else(|| misnamed("UploadIdMarker")).unwrap_or_default();
    let (after, after_prefix) = start(&key_marker, &upload_id_marker, &prefix, delimiter.as_deref())?;

    let list = ListUploadsRequest {
        bucket: bucket.id,
        prefix: prefix.clone(),
        delimiter: delimiter.clone(),
        after,
        after_prefix,
        limit,
    };
    let page = page(service, list).await?;

    let (next_key_marker, next_upload_id_marker) = match page.entries.last().filter(|_| page.more) {
        None => (None, None),
        Some(UploadEntry::Upload(upload)) => (Some(encoding.name(&upload.key)), Some(upload.upload.to_string())),
        Some(UploadEntry::Prefix(prefix)) => (Some(encoding.name(prefix)), None),
    };
    let mut owners = service.owners(&bucket);
    let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            UploadEntry::Prefix(prefix) => {
                common_prefixes.push(dto::CommonPrefix { prefix: Some(encoding.name(&prefix)) });
            }
            UploadEntry::Upload(upload) => {
                let owner = owners.of(upload.owner.as_deref());
                let algorithm = upload.algorithm;
                uploads.push(dto::MultipartUpload {
                    key: Some(encoding.name(&upload.key)),
                    upload_id: Some(upload.upload.to_string()),
                    initiated: Some(dates::timestamp(upload.created_ms)),
                    initiator: Some(dto::Initiator { id: owner.id.clone(), display_name: owner.display_name.clone() }),
                    owner: Some(owner),
                    storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
                    checksum_algorithm: algorithm
                        .map(|algorithm| dto::ChecksumAlgorithm::from_static(algorithm.name())),
                    checksum_type: None,
                });
            }
        }
    }
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(encoding.name(&prefix)),
        key_marker: Some(encoding.name(&key_marker)),
        upload_id_marker: Some(upload_id_marker),
        next_key_marker,
        next_upload_id_marker,
        max_uploads: Some(listing::count(limit)),
        is_truncated: Some(page.more),
        uploads: Some(uploads),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| encoding.name(&delimiter)),
        encoding_type: encoding.answer(),
        request_charged: None,
    }))
}

async fn page(service: &Service, list: ListUploadsRequest) -> Result<UploadsPage> {
    if list.limit == 0 {
        return Ok(UploadsPage { entries: Vec::new(), more: false });
    }
    let Target::Here(target) = service.router.lister_of(list.bucket);
    Ok(target.list_uploads(list).await?)
}

type Start = (Option<(String, Option<UploadId>)>, Option<String>);

/// An upload id counts beside a key only; a key marker in a common prefix skips that prefix.
fn start(key_marker: &str, upload_id_marker: &str, prefix: &str, delimiter: Option<&str>) -> Result<Start> {
    let upload = match upload_id_marker {
        "" => None,
        id => Some(UploadId::parse(id).map_err(|_| Error::InvalidArgument("Invalid uploadId marker".to_owned()))?),
    };
    Ok(match listing::after_marker(Some(key_marker), prefix, delimiter) {
        After::Beginning => (None, None),
        After::Prefix(common) => (None, Some(common)),
        After::Key(marker) => (Some((marker, upload)), None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Stamp;

    #[test]
    fn markers_are_read() {
        let id = UploadId(Stamp(1), 2);
        let text = id.to_string();
        assert_eq!(start("", &text, "", None).expect("ignored"), (None, None));
        assert_eq!(start("a", "", "", None).expect("key"), (Some(("a".to_owned(), None)), None));
        assert_eq!(start("a", &text, "", None).expect("both"), (Some(("a".to_owned(), Some(id))), None));
        let prefix = "a/".to_owned();
        assert_eq!(start("a/", "", "", Some("/")).expect("prefix"), (None, Some(prefix.clone())));
        assert_eq!(start("a/b", &text, "", Some("/")).expect("below it"), (None, Some(prefix)));
        assert!(start("a", "nonsense", "", None).is_err());
    }
}
