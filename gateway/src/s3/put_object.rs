//! PutObject: `If-Match`, `If-None-Match`, Content-MD5 and all checksums in headers and trailers. What it does not do yet
//! (encryption, locks, tags, ACLs) is refused by name.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use crate::error::Result;
use crate::route::Target;
use crate::s3::checksums::{self, Declared, set_checksum};
use crate::s3::{Service, attributes, body, conditions, listing};
use common::ObjectKey;
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response};
use storage::PutRequest;

pub async fn put_object(service: &Service, request: S3Request<PutObjectInput>) -> Result<S3Response<PutObjectOutput>> {
    let S3Request { input, headers, trailing_headers, .. } = request;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    attributes::refuse_unsupported(&headers)?;
    let declared = Declared::parse(&headers)?;
    let put = PutRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        attributes: attributes::parse(&headers, input.metadata)?,
        precondition: conditions::precondition(&headers),
        length: body::declared_length(&headers, input.content_length)?,
        algorithms: declared.algorithms(),
    };

    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let staged = body::receive(input.body, target.put(put).await?).await?;
    let trailers = trailing_headers.and_then(|trailers| trailers.take());
    declared.verify(staged.digests(), trailers.as_ref())?;
    let outcome = staged.commit().await?;

    let mut output = PutObjectOutput {
        e_tag: Some(listing::etag(&outcome.etag)),
        checksum_type: checksums::full_object(),
        ..Default::default()
    };
    set_checksum!(output, declared.answer(&outcome.checksums));
    Ok(S3Response::new(output))
}
