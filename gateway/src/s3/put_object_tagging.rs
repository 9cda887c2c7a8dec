//! PutObjectTagging: in the place of all tags that the version has. Its ETag and date stay.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html>

use crate::error::Result;
use crate::s3::named::Named;
use crate::s3::{Service, document, tags};
use s3s::dto::{PutObjectTaggingInput, PutObjectTaggingOutput};
use s3s::{S3Request, S3Response};

pub async fn put_object_tagging(
    service: &Service,
    request: S3Request<PutObjectTaggingInput>,
) -> Result<S3Response<PutObjectTaggingOutput>> {
    document::received(&request, &request.input.tagging)?;
    let S3Request { input, extensions, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    let version_id = tags::replace(service, &named, &extensions, tags::of_document(input.tagging.tag_set)?).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}
