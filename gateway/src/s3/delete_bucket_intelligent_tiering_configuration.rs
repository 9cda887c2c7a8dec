//! DeleteBucketIntelligentTieringConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketIntelligentTieringConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{DeleteBucketIntelligentTieringConfigurationInput, DeleteBucketIntelligentTieringConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_intelligent_tiering_configuration(
    service: &Service,
    request: S3Request<DeleteBucketIntelligentTieringConfigurationInput>,
) -> Result<S3Response<DeleteBucketIntelligentTieringConfigurationOutput>> {
    listed::delete(service, &request.input.bucket, documents::INTELLIGENT_TIERING, &request.input.id).await?;
    Ok(S3Response::new(DeleteBucketIntelligentTieringConfigurationOutput::default()))
}
