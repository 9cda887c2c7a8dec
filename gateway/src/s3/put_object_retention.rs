//! PutObjectRetention. Whether a retention may be shortened or taken away is decided where the change is committed.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectRetention.html>

use crate::error::Result;
use crate::s3::named::Named;
use crate::s3::{Service, document, lock};
use s3s::dto::{PutObjectRetentionInput, PutObjectRetentionOutput};
use s3s::{S3Request, S3Response};
use storage::Update;

pub async fn put_object_retention(
    service: &Service,
    request: S3Request<PutObjectRetentionInput>,
) -> Result<S3Response<PutObjectRetentionOutput>> {
    document::verify(&request)?;
    let bypass_governance = lock::bypasses(&request.headers, &request.extensions);
    let S3Request { input, extensions, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    lock::expect_locks(&named.bucket)?;
    let retention = lock::retention_of(input.retention, service.parts.clock.now_ms())?;
    named.update_seen(service, &extensions, Update::Retention { retention, bypass_governance }).await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}
