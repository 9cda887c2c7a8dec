//! DeleteBucketMetricsConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketMetricsConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{DeleteBucketMetricsConfigurationInput, DeleteBucketMetricsConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_metrics_configuration(
    service: &Service,
    request: S3Request<DeleteBucketMetricsConfigurationInput>,
) -> Result<S3Response<DeleteBucketMetricsConfigurationOutput>> {
    listed::delete(service, &request.input.bucket, documents::METRICS, &request.input.id).await?;
    Ok(S3Response::new(DeleteBucketMetricsConfigurationOutput::default()))
}
