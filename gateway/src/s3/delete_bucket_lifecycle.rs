//! DeleteBucketLifecycle. Taking away what is not there succeeds.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketLifecycle.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_bucket_lifecycle(
    service: &Service,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> Result<S3Response<DeleteBucketLifecycleOutput>> {
    let names = [documents::LIFECYCLE, documents::LIFECYCLE_MINIMUM];
    let changes: document::Changes = names.map(|name| (name.to_owned(), None)).into();
    document::change(service, &request.input.bucket, move |_| Ok(changes.clone())).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}
