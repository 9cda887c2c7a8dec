//! PutPublicAccessBlock: what is not said is off.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutPublicAccessBlock.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use cluster::Bucket;
use s3s::dto::{PublicAccessBlockConfiguration, PutPublicAccessBlockInput, PutPublicAccessBlockOutput};
use s3s::{S3Request, S3Response};

pub async fn put_public_access_block(
    service: &Service,
    request: S3Request<PutPublicAccessBlockInput>,
) -> Result<S3Response<PutPublicAccessBlockOutput>> {
    let content = document::received(&request, &request.input.public_access_block_configuration)?;
    document::set(service, &request.input.bucket, documents::PUBLIC_ACCESS_BLOCK, Some(content)).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

/// What a new bucket begins with.
pub fn everything() -> PublicAccessBlockConfiguration {
    PublicAccessBlockConfiguration {
        block_public_acls: Some(true),
        ignore_public_acls: Some(true),
        block_public_policy: Some(true),
        restrict_public_buckets: Some(true),
    }
}

/// What a bucket's public access block forbids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublicAccessBlock {
    /// No access control list that is public may be set.
    pub public_acls: bool,
    /// Those that are public count as if they were not there.
    pub ignores_public_acls: bool,
    /// No policy that is public may be set.
    pub public_policy: bool,
    /// Where the policy is public, only the bucket's own account gets in.
    pub restricts: bool,
}

impl PublicAccessBlock {
    pub fn of(bucket: &Bucket) -> Result<Self> {
        let found: Option<PublicAccessBlockConfiguration> = document::read(bucket, documents::PUBLIC_ACCESS_BLOCK)?;
        Ok(found.map_or_else(Self::default, |found| Self {
            public_acls: found.block_public_acls.unwrap_or(false),
            ignores_public_acls: found.ignore_public_acls.unwrap_or(false),
            public_policy: found.block_public_policy.unwrap_or(false),
            restricts: found.restrict_public_buckets.unwrap_or(false),
        }))
    }
}
