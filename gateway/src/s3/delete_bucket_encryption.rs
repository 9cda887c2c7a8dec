//! DeleteBucketEncryption. Taking away what is not there succeeds.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketEncryption.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_encryption(
    service: &Service,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> Result<S3Response<DeleteBucketEncryptionOutput>> {
    document::set(service, &request.input.bucket, documents::ENCRYPTION, None).await?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
}
