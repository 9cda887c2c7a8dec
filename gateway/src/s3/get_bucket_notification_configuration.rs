//! GetBucketNotificationConfiguration. Empty where nobody is notified.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketNotificationConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_notification_configuration(
    service: &Service,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(document::read(&bucket, documents::NOTIFICATION)?.unwrap_or_default()))
}
