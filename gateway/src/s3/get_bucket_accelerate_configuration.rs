//! GetBucketAccelerateConfiguration. Empty where it was never set.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAccelerateConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{
    AccelerateConfiguration, GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput,
};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_accelerate_configuration(
    service: &Service,
    request: S3Request<GetBucketAccelerateConfigurationInput>,
) -> Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let found: Option<AccelerateConfiguration> = document::read(&bucket, documents::ACCELERATE)?;
    let status = found.and_then(|configuration| configuration.status);
    Ok(S3Response::new(GetBucketAccelerateConfigurationOutput { request_charged: None, status }))
}
