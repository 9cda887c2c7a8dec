//! PutObjectAcl, of a version: a canned list, grants in headers, or a document. The version, its time and its owner stay.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html>

use crate::access::check_seen;
use crate::error::{Error, Result};
use crate::s3::named::Named;
use crate::s3::{Service, acl_request};
use crate::{acl, documents};
use common::VersionId;
use s3s::dto::{PutObjectAclInput, PutObjectAclOutput};
use s3s::{S3Request, S3Response};
use storage::Update;

/// How often it is decided anew because the version was changed in between.
const ATTEMPTS_MAX: usize = 8;

pub async fn put_object_acl(
    service: &Service,
    request: S3Request<PutObjectAclInput>,
) -> Result<S3Response<PutObjectAclOutput>> {
    let input = &request.input;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    let mut attempts = ATTEMPTS_MAX;
    let version = loop {
        attempts -= 1;
        match change(service, &request, &named).await {
            // Whose it is may be another one by now.
            Err(Error::Storage(storage::Error::ObjectChanged)) if attempts > 0 => {}
            changed => break changed?,
        }
    };
    let mut answer = S3Response::new(PutObjectAclOutput::default());
    if version != VersionId::Null
        && let Ok(version) = version.to_string().parse()
    {
        answer.headers.insert("x-amz-version-id", version);
    }
    Ok(answer)
}

/// Decides about the version as it is, and changes this one or none. The version that has the list now.
async fn change(service: &Service, request: &S3Request<PutObjectAclInput>, named: &Named) -> Result<VersionId> {
    let info = named.head(service).await?;
    check_seen(&request.extensions, info.stamp)?;
    let has_lists = documents::ownership(&named.bucket).has_lists();
    let now = acl::of_attributes(&info.attributes, &named.bucket)?;
    let owner = if has_lists { &now.owner } else { &named.bucket.owner };
    let state = service.parts.control.current();
    let wanted = acl_request::of_change(request, request.input.access_control_policy.as_ref(), &state, owner)?;
    if !has_lists {
        acl::check_nothing_granted(&named.bucket, &acl_request::writer(&request.extensions), Some(&wanted))?;
        return Ok(info.version);
    }
    let wanted = acl::expand_for_object(&wanted, owner.clone(), &named.bucket)?;
    acl::check_block(&named.bucket, &wanted)?;
    let acl = acl::kept(&wanted, &named.bucket)?;
    Ok(named.update(service, Update::Acl(acl), Some(info.stamp)).await?.version)
}
