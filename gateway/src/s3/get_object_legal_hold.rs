//! GetObjectLegalHold. A version that never had one and one from which it was taken are the same: `OFF`.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLegalHold.html>

use crate::error::Result;
use crate::s3::named::Named;
use crate::s3::{Service, lock};
use s3s::dto::{GetObjectLegalHoldInput, GetObjectLegalHoldOutput, ObjectLockLegalHold, ObjectLockLegalHoldStatus};
use s3s::{S3Request, S3Response};

pub async fn get_object_legal_hold(
    service: &Service,
    request: S3Request<GetObjectLegalHoldInput>,
) -> Result<S3Response<GetObjectLegalHoldOutput>> {
    let S3Request { input, extensions, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    lock::expect_locks(&named.bucket)?;
    let holds = named.head_seen(service, &extensions).await?.attributes.lock.legal_hold;
    let status = if holds { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF };
    let legal_hold = ObjectLockLegalHold { status: Some(ObjectLockLegalHoldStatus::from_static(status)) };
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(legal_hold) }))
}
