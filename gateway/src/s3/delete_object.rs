//! DeleteObject: 204 whether or not the key was there. Conditions are `If-Match` with an ETag or `*`.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>

use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::get_object::wanted_version;
use crate::s3::{Service, conditions};
use common::ObjectKey;
use http::HeaderMap;
use s3s::dto::{DeleteObjectInput, DeleteObjectOutput};
use s3s::{S3Request, S3Response};
use storage::DeleteRequest;

pub async fn delete_object(
    service: &Service,
    request: S3Request<DeleteObjectInput>,
) -> Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    refuse_unsupported(&request.headers)?;
    let version = wanted_version(input.version_id.as_deref())?;
    let delete = DeleteRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        version,
        precondition: conditions::precondition(&request.headers),
    };
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    target.delete(delete).await?;
    let version_id = version.map(|version| version.to_string());
    Ok(S3Response::new(DeleteObjectOutput { version_id, ..Default::default() }))
}

/// Conditions of directory buckets: a delete that ignored one would delete what its client wanted to keep.
fn refuse_unsupported(headers: &HeaderMap) -> Result<()> {
    for name in ["x-amz-if-match-last-modified-time", "x-amz-if-match-size", "x-amz-mfa"] {
        if headers.contains_key(name) {
            return Err(Error::NotImplemented(format!("The header {name}")));
        }
    }
    Ok(())
}
