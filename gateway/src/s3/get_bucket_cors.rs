//! GetBucketCors.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketCors.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use s3s::dto::{GetBucketCorsInput, GetBucketCorsOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_cors(
    service: &Service,
    request: S3Request<GetBucketCorsInput>,
) -> Result<S3Response<GetBucketCorsOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let found: Option<GetBucketCorsOutput> = document::read(&bucket, documents::CORS)?;
    Ok(S3Response::new(found.ok_or(Error::NoSuchDocument("NoSuchCORSConfiguration", "CORS"))?))
}
