//! DeleteBucketAnalyticsConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketAnalyticsConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{DeleteBucketAnalyticsConfigurationInput, DeleteBucketAnalyticsConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_analytics_configuration(
    service: &Service,
    request: S3Request<DeleteBucketAnalyticsConfigurationInput>,
) -> Result<S3Response<DeleteBucketAnalyticsConfigurationOutput>> {
    listed::delete(service, &request.input.bucket, documents::ANALYTICS, &request.input.id).await?;
    Ok(S3Response::new(DeleteBucketAnalyticsConfigurationOutput::default()))
}
