//! PutBucketAcl: a canned list, grants in headers, or a document.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html>

use crate::acl::{self, Wanted};
use crate::documents;
use crate::error::{Error, Result};
use crate::s3::document::Changes;
use crate::s3::{Service, acl_request, document};
use authn::Identity;
use authn::acl::Acl;
use cluster::Bucket;
use common::OwnerId;
use s3s::dto::{PutBucketAclInput, PutBucketAclOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_acl(
    service: &Service,
    request: S3Request<PutBucketAclInput>,
) -> Result<S3Response<PutBucketAclOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let state = service.parts.control.current();
    let wanted = acl_request::of_change(&request, request.input.access_control_policy.as_ref(), &state, &bucket.owner)?;
    let writer = acl_request::writer(&request.extensions);
    document::change(service, &request.input.bucket, move |bucket| decide(bucket, &writer, &wanted)).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// By the bucket's ownership and block as they are at the moment of the change.
fn decide(bucket: &Bucket, writer: &Identity, wanted: &Wanted) -> Result<Changes> {
    if !documents::ownership(bucket).has_lists() {
        acl::check_nothing_granted(bucket, writer, Some(wanted))?;
        return Ok([(documents::ACL.to_owned(), None)].into());
    }
    let acl = expand(wanted, &bucket.owner);
    acl::check_block(bucket, &acl)?;
    Ok([(documents::ACL.to_owned(), kept(&acl)?)].into())
}

pub fn expand(wanted: &Wanted, owner: &OwnerId) -> Acl {
    match wanted {
        Wanted::Canned(canned) => canned.of_bucket(owner),
        Wanted::Grants(grants) => Acl { owner: owner.clone(), grants: grants.clone() },
    }
}

/// The document of a list; a private bucket has none.
pub fn kept(acl: &Acl) -> Result<Option<Vec<u8>>> {
    if acl.is_private() {
        return Ok(None);
    }
    acl.encode().map(Some).ok_or(Error::MalformedAcl("The list is too long"))
}
