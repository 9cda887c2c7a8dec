//! GetBucketAcl. Where lists do not count, the owner has full control and nobody else anything.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html>

use crate::error::Result;
use crate::s3::Service;
use crate::{acl, documents};
use authn::acl::Acl;
use s3s::dto::{GetBucketAclInput, GetBucketAclOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_acl(
    service: &Service,
    request: S3Request<GetBucketAclInput>,
) -> Result<S3Response<GetBucketAclOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let counts = documents::ownership(&bucket).has_lists();
    let acl = if counts { acl::of_bucket(&bucket)? } else { Acl::private(bucket.owner.clone()) };
    let (owner, grants) = service.written_acl(&acl);
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(grants), owner: Some(owner) }))
}
