//! GetObjectAcl: an object belongs to its bucket's owner, who has full control.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>

use crate::error::Result;
use crate::s3::Service;
use crate::s3::get_bucket_acl::full_control;
use crate::s3::named::Named;
use s3s::dto::{GetObjectAclInput, GetObjectAclOutput};
use s3s::{S3Request, S3Response};

pub async fn get_object_acl(
    service: &Service,
    request: S3Request<GetObjectAclInput>,
) -> Result<S3Response<GetObjectAclOutput>> {
    let input = request.input;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    // What is said of an object is said only if it is there.
    named.head(service).await?;
    let owner = service.owner(&named.bucket.owner);
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(vec![full_control(&owner)]),
        owner: Some(owner),
        request_charged: None,
    }))
}
