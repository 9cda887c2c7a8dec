//! DeleteBucketPolicy. Taking away what is not there succeeds.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketPolicy.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeleteBucketPolicyInput, DeleteBucketPolicyOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_policy(
    service: &Service,
    request: S3Request<DeleteBucketPolicyInput>,
) -> Result<S3Response<DeleteBucketPolicyOutput>> {
    document::set(service, &request.input.bucket, documents::POLICY, None).await?;
    Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
}
