//! DeletePublicAccessBlock. Taking away what is not there succeeds.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeletePublicAccessBlock.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_public_access_block(
    service: &Service,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> Result<S3Response<DeletePublicAccessBlockOutput>> {
    document::set(service, &request.input.bucket, documents::PUBLIC_ACCESS_BLOCK, None).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
}
