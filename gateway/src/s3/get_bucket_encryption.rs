//! GetBucketEncryption.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketEncryption.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use s3s::dto::{GetBucketEncryptionInput, GetBucketEncryptionOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_encryption(
    service: &Service,
    request: S3Request<GetBucketEncryptionInput>,
) -> Result<S3Response<GetBucketEncryptionOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let configuration = document::read(&bucket, documents::ENCRYPTION)?;
    if configuration.is_none() {
        return Err(Error::NoSuchDocument("ServerSideEncryptionConfigurationNotFoundError", "server side encryption"));
    }
    Ok(S3Response::new(GetBucketEncryptionOutput { server_side_encryption_configuration: configuration }))
}
