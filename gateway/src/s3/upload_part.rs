//! UploadPart: as PutObject, into an upload. A part that is sent again replaces the one before.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>

use crate::encryption::seal_part;
use crate::error::Result;
use crate::route::Target;
use crate::s3::checksums::{self, Declared, set_checksum};
use crate::s3::{Service, attributes, body, listing};
use common::{ObjectKey, PartNumber, UploadId};
use s3s::dto::{UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response};
use storage::PutPartRequest;

pub async fn upload_part(
    service: &Service,
    request: S3Request<UploadPartInput>,
) -> Result<S3Response<UploadPartOutput>> {
    let S3Request { input, headers, extensions, trailing_headers, .. } = request;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    attributes::refuse_of_part(&headers)?;
    let declared = Declared::parse(&headers)?;
    let put = PutPartRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        upload: UploadId::parse(&input.upload_id)?,
        part: PartNumber::new(i64::from(input.part_number))?,
        length: body::declared_length(&headers, input.content_length)?,
        algorithms: declared.algorithms(),
    };

    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let (envelope, _) = target.upload_envelope(bucket.id, &key, put.upload).await?;
    let (sealing, answer) = seal_part(service, &headers, &bucket, &key, envelope).await?;
    let staged = body::receive(input.body, target.put_sealed_part(put, sealing).await?).await?;
    let trailers = body::trailers(trailing_headers, &extensions);
    declared.verify(staged.digests(), trailers.as_ref())?;
    let outcome = staged.commit().await?;

    let mut output = UploadPartOutput { e_tag: Some(listing::etag(&outcome.etag)), ..Default::default() };
    // What the client sent, else what its upload asks for.
    let checksum = match declared.checksum {
        Some(_) => declared.answer(&outcome.checksums),
        None => checksums::preferred(&outcome.checksums),
    };
    set_checksum!(output, checksum);
    Ok(S3Response::with_headers(output, answer))
}
