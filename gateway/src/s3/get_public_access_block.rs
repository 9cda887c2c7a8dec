//! GetPublicAccessBlock: all four parts, whatever was said of them.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetPublicAccessBlock.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::Service;
use crate::s3::put_public_access_block::PublicAccessBlock;
use s3s::dto::{GetPublicAccessBlockInput, GetPublicAccessBlockOutput, PublicAccessBlockConfiguration};
use s3s::{S3Request, S3Response};

pub async fn get_public_access_block(
    service: &Service,
    request: S3Request<GetPublicAccessBlockInput>,
) -> Result<S3Response<GetPublicAccessBlockOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    if !bucket.documents.contains_key(documents::PUBLIC_ACCESS_BLOCK) {
        return Err(Error::NoSuchDocument("NoSuchPublicAccessBlockConfiguration", "public access block"));
    }
    let PublicAccessBlock { public_acls, ignores_public_acls, public_policy, restricts } =
        PublicAccessBlock::of(&bucket)?;
    Ok(S3Response::new(GetPublicAccessBlockOutput {
        public_access_block_configuration: Some(PublicAccessBlockConfiguration {
            block_public_acls: Some(public_acls),
            ignore_public_acls: Some(ignores_public_acls),
            block_public_policy: Some(public_policy),
            restrict_public_buckets: Some(restricts),
        }),
    }))
}
