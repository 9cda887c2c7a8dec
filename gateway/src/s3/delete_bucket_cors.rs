//! DeleteBucketCors. Taking away what is not there succeeds.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketCors.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeleteBucketCorsInput, DeleteBucketCorsOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_cors(
    service: &Service,
    request: S3Request<DeleteBucketCorsInput>,
) -> Result<S3Response<DeleteBucketCorsOutput>> {
    document::set(service, &request.input.bucket, documents::CORS, None).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}
