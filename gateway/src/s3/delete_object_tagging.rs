//! DeleteObjectTagging: no object has tags yet, so there is nothing to take away.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjectTagging.html>

use crate::error::Result;
use crate::s3::Service;
use crate::s3::get_object_acl::expect_object;
use s3s::dto::{DeleteObjectTaggingInput, DeleteObjectTaggingOutput};
use s3s::{S3Request, S3Response};

pub async fn delete_object_tagging(
    service: &Service,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    expect_object(service, &bucket, &input.key, input.version_id.as_deref()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id: input.version_id }))
}
