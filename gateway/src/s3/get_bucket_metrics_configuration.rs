//! GetBucketMetricsConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketMetricsConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{GetBucketMetricsConfigurationInput, GetBucketMetricsConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_metrics_configuration(
    service: &Service,
    request: S3Request<GetBucketMetricsConfigurationInput>,
) -> Result<S3Response<GetBucketMetricsConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let metrics_configuration = Some(listed::get(&bucket, documents::METRICS, &request.input.id)?);
    Ok(S3Response::new(GetBucketMetricsConfigurationOutput { metrics_configuration }))
}
