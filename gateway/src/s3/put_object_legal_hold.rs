//! PutObjectLegalHold.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLegalHold.html>

use crate::error::Result;
use crate::s3::named::Named;
use crate::s3::{Service, document, lock};
use s3s::dto::{PutObjectLegalHoldInput, PutObjectLegalHoldOutput};
use s3s::{S3Request, S3Response};
use storage::Update;

pub async fn put_object_legal_hold(
    service: &Service,
    request: S3Request<PutObjectLegalHoldInput>,
) -> Result<S3Response<PutObjectLegalHoldOutput>> {
    document::verify(&request)?;
    let S3Request { input, extensions, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    lock::expect_locks(&named.bucket)?;
    named.update_seen(service, &extensions, Update::LegalHold(lock::legal_hold_of(input.legal_hold)?)).await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}
