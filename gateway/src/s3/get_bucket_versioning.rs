//! GetBucketVersioning: empty for a bucket that never had it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html>

use crate::documents;
use crate::error::Result;
use crate::s3::Service;
use s3s::dto::{BucketVersioningStatus, GetBucketVersioningInput, GetBucketVersioningOutput};
use s3s::{S3Request, S3Response};
use storage::Versioning;

pub async fn get_bucket_versioning(
    service: &Service,
    request: S3Request<GetBucketVersioningInput>,
) -> Result<S3Response<GetBucketVersioningOutput>> {
    let status = match documents::versioning(&*service.bucket(&request.input.bucket)?) {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(S3Response::new(GetBucketVersioningOutput { mfa_delete: None, status }))
}
