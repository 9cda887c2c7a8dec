//! PutObjectAcl: as PutBucketAcl, of an object that is there.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html>

use crate::error::Result;
use crate::s3::Service;
use crate::s3::named::Named;
use crate::s3::put_bucket_acl::check_acl;
use s3s::dto::{PutObjectAclInput, PutObjectAclOutput};
use s3s::{S3Request, S3Response};

pub async fn put_object_acl(
    service: &Service,
    request: S3Request<PutObjectAclInput>,
) -> Result<S3Response<PutObjectAclOutput>> {
    let S3Request { input, headers, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    named.head(service).await?;
    check_acl(&headers, input.access_control_policy.as_ref())?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
