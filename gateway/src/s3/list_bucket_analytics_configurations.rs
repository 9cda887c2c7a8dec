//! ListBucketAnalyticsConfigurations, in the order of their ids.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBucketAnalyticsConfigurations.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{ListBucketAnalyticsConfigurationsInput, ListBucketAnalyticsConfigurationsOutput};
use s3s::{S3Request, S3Response};

pub async fn list_bucket_analytics_configurations(
    service: &Service,
    request: S3Request<ListBucketAnalyticsConfigurationsInput>,
) -> Result<S3Response<ListBucketAnalyticsConfigurationsOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let continuation_token = request.input.continuation_token;
    let listed::Page { entries, next } = listed::page(&bucket, documents::ANALYTICS, continuation_token.as_deref())?;
    Ok(S3Response::new(ListBucketAnalyticsConfigurationsOutput {
        continuation_token,
        analytics_configuration_list: Some(entries),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
    }))
}
