//! GetObjectAcl, of a version. Where lists do not count, the bucket's owner has full control and nobody else anything.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>

use crate::access::check_seen;
use crate::error::Result;
use crate::s3::Service;
use crate::s3::named::Named;
use crate::{acl, documents};
use authn::acl::Acl;
use s3s::dto::{GetObjectAclInput, GetObjectAclOutput};
use s3s::{S3Request, S3Response};

pub async fn get_object_acl(
    service: &Service,
    request: S3Request<GetObjectAclInput>,
) -> Result<S3Response<GetObjectAclOutput>> {
    let S3Request { input, extensions, .. } = request;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    // What is said of an object is said only if it is there.
    let info = named.head(service).await?;
    check_seen(&extensions, info.stamp)?;
    let counts = documents::ownership(&named.bucket).has_lists();
    let acl = if counts {
        acl::of_attributes(&info.attributes, &named.bucket)?
    } else {
        Acl::private(named.bucket.owner.clone())
    };
    let (owner, grants) = service.written_acl(&acl);
    Ok(S3Response::new(GetObjectAclOutput { grants: Some(grants), owner: Some(owner), request_charged: None }))
}
