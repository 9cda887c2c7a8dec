//! GetBucketIntelligentTieringConfiguration.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketIntelligentTieringConfiguration.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, listed};
use s3s::dto::{GetBucketIntelligentTieringConfigurationInput, GetBucketIntelligentTieringConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_intelligent_tiering_configuration(
    service: &Service,
    request: S3Request<GetBucketIntelligentTieringConfigurationInput>,
) -> Result<S3Response<GetBucketIntelligentTieringConfigurationOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let intelligent_tiering_configuration =
        Some(listed::get(&bucket, documents::INTELLIGENT_TIERING, &request.input.id)?);
    Ok(S3Response::new(GetBucketIntelligentTieringConfigurationOutput { intelligent_tiering_configuration }))
}
