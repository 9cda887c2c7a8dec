//! HeadBucket. The region comes with every answer, also with 403 and 404 (`access.rs`).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>

use crate::error::Result;
use crate::s3::Service;
use s3s::dto::{HeadBucketInput, HeadBucketOutput};
use s3s::{S3Request, S3Response};

pub async fn head_bucket(
    service: &Service,
    request: S3Request<HeadBucketInput>,
) -> Result<S3Response<HeadBucketOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let output = HeadBucketOutput { bucket_region: Some(bucket.region.clone()), ..Default::default() };
    Ok(S3Response::new(output))
}
