//! GetBucketLifecycleConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::put_bucket_lifecycle_configuration::minimum_object_size;
use crate::s3::{Service, document};
use s3s::dto::{
    BucketLifecycleConfiguration, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_lifecycle_configuration(
    service: &Service,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let found: Option<BucketLifecycleConfiguration> = document::read(&bucket, documents::LIFECYCLE)?;
    let BucketLifecycleConfiguration { rules } =
        found.ok_or(Error::NoSuchDocument("NoSuchLifecycleConfiguration", "lifecycle"))?;
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(rules),
        transition_default_minimum_object_size: Some(minimum_object_size(&bucket)),
    }))
}
