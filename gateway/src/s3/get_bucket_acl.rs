//! GetBucketAcl: the owner has full control, and nobody else anything.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html>

use crate::error::Result;
use crate::s3::Service;
use s3s::dto::{GetBucketAclInput, GetBucketAclOutput, Grant, Grantee, Owner, Permission, Type};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_acl(
    service: &Service,
    request: S3Request<GetBucketAclInput>,
) -> Result<S3Response<GetBucketAclOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let owner = service.owner(&bucket.owner);
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(vec![full_control(&owner)]), owner: Some(owner) }))
}

pub fn full_control(owner: &Owner) -> Grant {
    let grantee = Grantee {
        display_name: owner.display_name.clone(),
        email_address: None,
        id: owner.id.clone(),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }
}
