//! GetBucketPolicyStatus: whether everybody gets in. A bucket without a policy is not public; S3 answers 404 for it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicyStatus.html>; "The meaning of public", Amazon S3
//! User Guide.

use crate::error::Result;
use crate::s3::Service;
use s3s::dto::{GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_policy_status(
    service: &Service,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> Result<S3Response<GetBucketPolicyStatusOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let is_public = service.admission.is_public(&bucket)?;
    Ok(S3Response::new(GetBucketPolicyStatusOutput {
        policy_status: Some(PolicyStatus { is_public: Some(is_public) }),
    }))
}
