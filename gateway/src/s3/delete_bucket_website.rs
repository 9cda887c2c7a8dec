//! DeleteBucketWebsite. Taking away what is not there succeeds.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketWebsite.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_website(
    service: &Service,
    request: S3Request<DeleteBucketWebsiteInput>,
) -> Result<S3Response<DeleteBucketWebsiteOutput>> {
    document::set(service, &request.input.bucket, documents::WEBSITE, None).await?;
    Ok(S3Response::new(DeleteBucketWebsiteOutput::default()))
}
