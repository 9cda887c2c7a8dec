//! DeleteObject: a delete marker where versions are kept, the end of a version that is named, and 204 whether or not it was
//! there. Conditions are `If-Match` with an ETag or `*`, and those of directory buckets on time and size, which here every
//! bucket has.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>

use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::named::wanted_version;
use crate::s3::{Service, conditions, dates, lock};
use common::ObjectKey;
use http::HeaderMap;
use s3s::dto::{DeleteObjectInput, DeleteObjectOutput};
use s3s::{S3Request, S3Response};
use storage::{DeleteRequest, Precondition};

pub async fn delete_object(
    service: &Service,
    request: S3Request<DeleteObjectInput>,
) -> Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    refuse_mfa(&request.headers)?;
    let precondition = Precondition {
        modified_s: input.if_match_last_modified_time.as_ref().map(dates::seconds),
        size: input.if_match_size.map(wanted_size).transpose()?,
        ..conditions::precondition(&request.headers)
    };
    let version = wanted_version(input.version_id.as_deref())?;
    let delete = DeleteRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        version,
        seen: None,
        precondition,
        bypass_governance: lock::bypasses(&request.headers, &request.extensions),
    };
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let outcome = target.delete(delete).await?;
    Ok(S3Response::new(DeleteObjectOutput {
        version_id: outcome.version.or(version).map(|version| version.to_string()),
        delete_marker: outcome.is_marker.then_some(true),
        ..Default::default()
    }))
}

/// No bucket asks for a second factor, so nobody is to believe that one was checked.
pub fn refuse_mfa(headers: &HeaderMap) -> Result<()> {
    if headers.contains_key("x-amz-mfa") {
        Err(Error::NotImplemented("The header x-amz-mfa".to_owned()))
    } else {
        Ok(())
    }
}

/// The size in a condition.
pub fn wanted_size(size: i64) -> Result<u64> {
    u64::try_from(size).map_err(|_| Error::InvalidArgument("the size of a condition is negative".to_owned()))
}
