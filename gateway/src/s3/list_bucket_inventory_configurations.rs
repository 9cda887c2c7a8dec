//! ListBucketInventoryConfigurations, in the order of their ids.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBucketInventoryConfigurations.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{ListBucketInventoryConfigurationsInput, ListBucketInventoryConfigurationsOutput};
use s3s::{S3Request, S3Response};

pub async fn list_bucket_inventory_configurations(
    service: &Service,
    request: S3Request<ListBucketInventoryConfigurationsInput>,
) -> Result<S3Response<ListBucketInventoryConfigurationsOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let continuation_token = request.input.continuation_token;
    let listed::Page { entries, next } = listed::page(&bucket, documents::INVENTORY, continuation_token.as_deref())?;
    Ok(S3Response::new(ListBucketInventoryConfigurationsOutput {
        continuation_token,
        inventory_configuration_list: Some(entries),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
    }))
}
