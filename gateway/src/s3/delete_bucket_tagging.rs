//! DeleteBucketTagging. Taking away what is not there succeeds.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketTagging.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeleteBucketTaggingInput, DeleteBucketTaggingOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_tagging(
    service: &Service,
    request: S3Request<DeleteBucketTaggingInput>,
) -> Result<S3Response<DeleteBucketTaggingOutput>> {
    document::set(service, &request.input.bucket, documents::TAGGING, None).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}
