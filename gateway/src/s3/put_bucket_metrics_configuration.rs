//! PutBucketMetricsConfiguration: kept and given back (`listed.rs`).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketMetricsConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{PutBucketMetricsConfigurationInput, PutBucketMetricsConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_metrics_configuration(
    service: &Service,
    request: S3Request<PutBucketMetricsConfigurationInput>,
) -> Result<S3Response<PutBucketMetricsConfigurationOutput>> {
    let input = &request.input;
    let configuration = &input.metrics_configuration;
    let content = listed::received(&request, &input.id, &configuration.id, configuration)?;
    listed::put(service, &input.bucket, documents::METRICS, &input.id, content).await?;
    Ok(S3Response::new(PutBucketMetricsConfigurationOutput::default()))
}
