//! PutBucketAccelerateConfiguration: kept and given back. There are no other places to go through.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAccelerateConfiguration.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use s3s::dto::{BucketAccelerateStatus, PutBucketAccelerateConfigurationInput, PutBucketAccelerateConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_accelerate_configuration(
    service: &Service,
    request: S3Request<PutBucketAccelerateConfigurationInput>,
) -> Result<S3Response<PutBucketAccelerateConfigurationOutput>> {
    let configuration = &request.input.accelerate_configuration;
    let content = document::received(&request, configuration)?;
    match configuration.status.as_ref().map(BucketAccelerateStatus::as_str) {
        Some(BucketAccelerateStatus::ENABLED | BucketAccelerateStatus::SUSPENDED) => {}
        _ => return Err(Error::MalformedXml("Status is Enabled or Suspended")),
    }
    if request.input.bucket.contains('.') {
        return Err(Error::InvalidRequest(
            "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names".to_owned(),
        ));
    }
    document::set(service, &request.input.bucket, documents::ACCELERATE, Some(content)).await?;
    Ok(S3Response::new(PutBucketAccelerateConfigurationOutput::default()))
}
