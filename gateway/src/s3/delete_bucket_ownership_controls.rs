//! DeleteBucketOwnershipControls. In S3 lists count again after it; here they do not: a bucket that says nothing is closed.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketOwnershipControls.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_ownership_controls(
    service: &Service,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    document::set(service, &request.input.bucket, documents::OWNERSHIP, None).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
}
