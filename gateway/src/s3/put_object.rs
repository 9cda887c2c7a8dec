//! PutObject: `If-Match`, `If-None-Match`, Content-MD5 and all checksums in headers and trailers, tags, locks and access
//! control lists.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use crate::encryption::Seal;
use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::checksums::{self, Declared, set_checksum};
use crate::s3::named::written_version;
use crate::s3::{Service, acl_request, append, attributes, body, conditions, listing, lock, rename_object};
use bytes::Bytes;
use cluster::Bucket;
use common::ObjectKey;
use http::HeaderMap;
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response};
use storage::PutRequest;

pub async fn put_object(service: &Service, request: S3Request<PutObjectInput>) -> Result<S3Response<PutObjectOutput>> {
    if rename_object::is_asked_for(&request.uri) {
        return rename_object::rename_object(service, request).await;
    }
    let writer = acl_request::writer(&request.extensions);
    let S3Request { input, mut headers, extensions, trailing_headers, .. } = request;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    let offset = append::take_offset(&mut headers)?;
    let mut attributes = attributes::of_write(&headers, input.metadata, &bucket, service.parts.clock.now_ms())?;
    attributes.acl = service.acl_of_write(&headers, &bucket, &writer)?;
    if let Some(offset) = offset {
        append::check(offset, &bucket, &attributes)?;
    }
    let declared = Declared::parse(&headers)?;
    if lock::is_asked_for(&headers) && declared.is_empty() {
        return Err(Error::InvalidRequest(
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
                .to_owned(),
        ));
    }
    let put = PutRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        attributes,
        precondition: conditions::precondition(&headers),
        length: body::declared_length(&headers, input.content_length)?,
        algorithms: declared.algorithms(),
    };

    let (sealing, answer) = Seal::split(Seal::begin(service, &headers, &bucket, &key).await?);
    if offset.is_some() && sealing.is_some() {
        return Err(append::failed(storage::Error::Sealed));
    }
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let staged = body::receive(input.body, target.put_sealed(put, sealing).await?).await?;
    let trailers = body::trailers(trailing_headers, &extensions);
    declared.verify(staged.digests(), trailers.as_ref())?;
    let outcome = match offset {
        None => staged.commit().await?,
        Some(offset) => staged.append(offset).await.map_err(append::failed)?,
    };

    let mut output = PutObjectOutput {
        e_tag: Some(listing::etag(&outcome.etag)),
        checksum_type: checksums::full_object(),
        version_id: written_version(outcome.version),
        expiration: service.expiration_of_written(&bucket, &key).await,
        ..Default::default()
    };
    if offset.is_some() {
        // The checksum that the client knows is that of its body, and not the object's.
        output.size = Some(listing::size(outcome.size));
        output.checksum_type = None;
    } else {
        set_checksum!(output, declared.answer(&outcome.checksums));
    }
    Ok(S3Response::with_headers(output, answer))
}

/// Puts bytes of this program's own as a client's PutObject with these headers would: locked and encrypted as the bucket does
/// it by itself.
pub async fn put_bytes(
    service: &Service,
    bucket: &Bucket,
    key: ObjectKey,
    headers: &HeaderMap,
    bytes: Bytes,
) -> Result<()> {
    let put = PutRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        attributes: attributes::of_write(headers, None, bucket, service.parts.clock.now_ms())?,
        precondition: conditions::precondition(headers),
        length: Some(bytes.len() as u64),
        algorithms: Vec::new(),
    };
    let (sealing, _) = Seal::split(Seal::begin(service, headers, bucket, &key).await?);
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let mut writer = target.put_sealed(put, sealing).await?;
    writer.write(bytes).await?;
    writer.finish().await?.commit().await?;
    Ok(())
}
