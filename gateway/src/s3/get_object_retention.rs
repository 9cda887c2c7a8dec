//! GetObjectRetention.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectRetention.html>

use crate::error::{Error, Result};
use crate::s3::named::Named;
use crate::s3::{Service, lock};
use s3s::dto::{GetObjectRetentionInput, GetObjectRetentionOutput};
use s3s::{S3Request, S3Response};

pub async fn get_object_retention(
    service: &Service,
    request: S3Request<GetObjectRetentionInput>,
) -> Result<S3Response<GetObjectRetentionOutput>> {
    let S3Request { input, extensions, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    lock::expect_locks(&named.bucket)?;
    let retention =
        named.head_seen(service, &extensions).await?.attributes.lock.retention.ok_or(Error::NoSuchObjectLock)?;
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(lock::to_document(retention)) }))
}
