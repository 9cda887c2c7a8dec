//! GetObjectLockConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLockConfiguration.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use s3s::dto::{GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn get_object_lock_configuration(
    service: &Service,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> Result<S3Response<GetObjectLockConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let configuration = document::read(&bucket, documents::OBJECT_LOCK)?;
    if configuration.is_none() {
        return Err(Error::NoSuchDocument("ObjectLockConfigurationNotFoundError", "object lock"));
    }
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: configuration }))
}
