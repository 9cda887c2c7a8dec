//! GetBucketInventoryConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketInventoryConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{GetBucketInventoryConfigurationInput, GetBucketInventoryConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_inventory_configuration(
    service: &Service,
    request: S3Request<GetBucketInventoryConfigurationInput>,
) -> Result<S3Response<GetBucketInventoryConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let inventory_configuration = Some(listed::get(&bucket, documents::INVENTORY, &request.input.id)?);
    Ok(S3Response::new(GetBucketInventoryConfigurationOutput { inventory_configuration }))
}
