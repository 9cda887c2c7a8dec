//! GetBucketWebsite.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketWebsite.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use s3s::dto::{GetBucketWebsiteInput, GetBucketWebsiteOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_website(
    service: &Service,
    request: S3Request<GetBucketWebsiteInput>,
) -> Result<S3Response<GetBucketWebsiteOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let found: Option<GetBucketWebsiteOutput> = document::read(&bucket, documents::WEBSITE)?;
    Ok(S3Response::new(found.ok_or(Error::NoSuchDocument("NoSuchWebsiteConfiguration", "website"))?))
}
