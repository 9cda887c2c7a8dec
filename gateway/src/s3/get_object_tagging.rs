//! GetObjectTagging. `aws s3 cp` asks before it copies.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>

use crate::error::Result;
use crate::s3::named::Named;
use crate::s3::{Service, tags};
use s3s::dto::{GetObjectTaggingInput, GetObjectTaggingOutput};
use s3s::{S3Request, S3Response};

pub async fn get_object_tagging(
    service: &Service,
    request: S3Request<GetObjectTaggingInput>,
) -> Result<S3Response<GetObjectTaggingOutput>> {
    let S3Request { input, extensions, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    let info = named.head_seen(service, &extensions).await?;
    let version_id = named.answered(info.version);
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::to_document(info.attributes.tags), version_id }))
}
