//! UploadPartCopy: a range of an object becomes a part, by streaming it through.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>

use crate::access::check_seen;
use crate::encryption::{Wanted, Whose, seal_part};
use crate::error::{Error, Result};
use crate::limits;
use crate::route::Target;
use crate::s3::checksums::set_checksum;
use crate::s3::copy_object::Source;
use crate::s3::{Service, attributes, checksums, dates, listing};
use common::{ByteRange, ObjectKey, PartNumber, UploadId};
use futures::StreamExt;
use s3s::dto::{CopyPartResult, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Request, S3Response};
use std::ops::Range;
use storage::PutPartRequest;

pub async fn upload_part_copy(
    service: &Service,
    request: S3Request<UploadPartCopyInput>,
) -> Result<S3Response<UploadPartCopyOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let key = ObjectKey::parse(&request.input.key)?;
    attributes::refuse_of_part(&request.headers)?;
    let source = Source::find(service, &request.input.copy_source)?;
    let input = request.input;

    let reader = source.open(service, &request.headers).await?;
    check_seen(&request.extensions, reader.info().stamp)?;
    let source_version = source.0.answered(reader.info().version);
    let wanted = Wanted::of(&source.0, reader.info());
    let (source_key, _) = wanted.open(service, &request.headers, Whose::CopySource).await?;
    let range = source_range(input.copy_source_range.as_deref(), reader.info().size)?;

    let put = PutPartRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        upload: UploadId::parse(&input.upload_id)?,
        part: PartNumber::new(i64::from(input.part_number))?,
        length: Some(range.end - range.start),
        algorithms: Vec::new(),
    };
    let Target::Here(to) = service.router.owner_of(bucket.id, &key);
    let (envelope, _) = to.upload_envelope(bucket.id, &key, put.upload).await?;
    let (sealing, answer) = seal_part(service, &request.headers, &bucket, &key, envelope).await?;
    let mut writer = to.put_sealed_part(put, sealing).await?;
    let mut bytes = match source_key {
        Some(key) => reader.with_key(key).stream(range),
        None => reader.stream(range),
    };
    while let Some(bytes) = bytes.next().await {
        writer.write(bytes?).await?;
    }
    let outcome = writer.finish().await?.commit().await?;

    let mut result = CopyPartResult {
        e_tag: Some(listing::etag(&outcome.etag)),
        last_modified: Some(dates::timestamp(outcome.modified_ms)),
        ..Default::default()
    };
    set_checksum!(result, checksums::preferred(&outcome.checksums));
    let output = UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source_version,
        ..Default::default()
    };
    Ok(S3Response::with_headers(output, answer))
}

/// `bytes=first-last` with both ends inside of the source, else everything.
fn source_range(header: Option<&str>, size: u64) -> Result<Range<u64>> {
    let range = match header.map(ByteRange::parse) {
        None => 0..size,
        Some(Ok(ByteRange::FromTo(_, last))) if last >= size => return Err(Error::InvalidRange { size }),
        Some(Ok(ByteRange::FromTo(first, last))) => first..last + 1,
        Some(Ok(ByteRange::From(_) | ByteRange::Last(_)) | Err(_)) => {
            return Err(Error::InvalidArgument(
                "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                 zero-based offsets of the first and last bytes to copy"
                    .to_owned(),
            ));
        }
    };
    if range.end - range.start > limits::PUT_BYTES_MAX {
        return Err(Error::EntityTooLarge { limit_bytes: limits::PUT_BYTES_MAX });
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_exact() {
        let code = |header, size| source_range(header, size).expect_err("refused").answer().code;
        assert_eq!(source_range(None, 5).expect("all"), 0..5);
        assert_eq!(source_range(Some("bytes=1-4"), 5).expect("inside"), 1..5);
        assert_eq!(code(Some("bytes=0-21"), 5), "InvalidRange");
        for improper in
            ["0-2", "bytes=0", "bytes=hello-world", "bytes=0-bar", "bytes=hello-", "bytes=0-2,3-5", "bytes=1-"]
        {
            assert_eq!(code(Some(improper), 5), "InvalidArgument", "{improper}");
        }
        assert_eq!(code(None, limits::PUT_BYTES_MAX + 1), "EntityTooLarge");
    }
}
