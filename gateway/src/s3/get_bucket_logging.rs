//! GetBucketLogging. Empty where access is not logged.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLogging.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{GetBucketLoggingInput, GetBucketLoggingOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_logging(
    service: &Service,
    request: S3Request<GetBucketLoggingInput>,
) -> Result<S3Response<GetBucketLoggingOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(document::read(&bucket, documents::LOGGING)?.unwrap_or_default()))
}
