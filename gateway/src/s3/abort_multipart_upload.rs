//! AbortMultipartUpload.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>

use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::Service;
use common::{ObjectKey, UploadId};
use s3s::dto::{AbortMultipartUploadInput, AbortMultipartUploadOutput};
use s3s::{S3Request, S3Response};

pub async fn abort_multipart_upload(
    service: &Service,
    request: S3Request<AbortMultipartUploadInput>,
) -> Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    let upload = UploadId::parse(&input.upload_id)?;
    if input.if_match_initiated_time.is_some() {
        return Err(Error::NotImplemented("The header x-amz-if-match-initiated-time".to_owned()));
    }
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    target.abort_upload(service.router.epoch(), bucket.id, key, upload).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}
