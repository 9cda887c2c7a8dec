//! GetBucketTagging.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketTagging.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use s3s::dto::{GetBucketTaggingInput, GetBucketTaggingOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_tagging(
    service: &Service,
    request: S3Request<GetBucketTaggingInput>,
) -> Result<S3Response<GetBucketTaggingOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let found: Option<GetBucketTaggingOutput> = document::read(&bucket, documents::TAGGING)?;
    Ok(S3Response::new(found.ok_or(Error::NoSuchDocument("NoSuchTagSet", "tagging"))?))
}
