//! DeleteBucketInventoryConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketInventoryConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{DeleteBucketInventoryConfigurationInput, DeleteBucketInventoryConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_inventory_configuration(
    service: &Service,
    request: S3Request<DeleteBucketInventoryConfigurationInput>,
) -> Result<S3Response<DeleteBucketInventoryConfigurationOutput>> {
    listed::delete(service, &request.input.bucket, documents::INVENTORY, &request.input.id).await?;
    Ok(S3Response::new(DeleteBucketInventoryConfigurationOutput::default()))
}
