//! GetBucketAnalyticsConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAnalyticsConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{GetBucketAnalyticsConfigurationInput, GetBucketAnalyticsConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_analytics_configuration(
    service: &Service,
    request: S3Request<GetBucketAnalyticsConfigurationInput>,
) -> Result<S3Response<GetBucketAnalyticsConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let analytics_configuration = Some(listed::get(&bucket, documents::ANALYTICS, &request.input.id)?);
    Ok(S3Response::new(GetBucketAnalyticsConfigurationOutput { analytics_configuration }))
}
