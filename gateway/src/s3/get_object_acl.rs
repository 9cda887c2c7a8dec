//! GetObjectAcl: an object belongs to its bucket's owner, who has full control.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>

use crate::error::Result;
use crate::route::Target;
use crate::s3::Service;
use crate::s3::get_bucket_acl::full_control;
use crate::s3::get_object::{check_version, missing, wanted_version};
use cluster::Bucket;
use common::ObjectKey;
use s3s::dto::{GetObjectAclInput, GetObjectAclOutput};
use s3s::{S3Request, S3Response};

pub async fn get_object_acl(
    service: &Service,
    request: S3Request<GetObjectAclInput>,
) -> Result<S3Response<GetObjectAclOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    expect_object(service, &bucket, &input.key, input.version_id.as_deref()).await?;
    let owner = service.owner(&bucket.owner);
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(vec![full_control(&owner)]),
        owner: Some(owner),
        request_charged: None,
    }))
}

/// What is said of an object is said only if it is there.
pub async fn expect_object(service: &Service, bucket: &Bucket, key: &str, version: Option<&str>) -> Result<()> {
    let key = ObjectKey::parse(key)?;
    let version = wanted_version(version)?;
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let info = target.head(bucket.id, &key, version).await.map_err(|error| missing(error, version))?;
    check_version(version, &info)
}
