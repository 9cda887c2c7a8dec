//! GetObjectTagging: no object has tags yet, and a write that asks for some is refused. `aws s3 cp` asks before it copies.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>

use crate::error::Result;
use crate::s3::Service;
use crate::s3::get_object_acl::expect_object;
use s3s::dto::{GetObjectTaggingInput, GetObjectTaggingOutput};
use s3s::{S3Request, S3Response};

pub async fn get_object_tagging(
    service: &Service,
    request: S3Request<GetObjectTaggingInput>,
) -> Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    expect_object(service, &bucket, &input.key, input.version_id.as_deref()).await?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: Vec::new(), version_id: input.version_id }))
}
