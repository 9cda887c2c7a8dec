//! PutBucketPolicy: the text is kept as it came, once it was understood.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html>

use crate::admission::{BucketPolicy, Scene};
use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::document::{self, Changes};
use crate::s3::put_public_access_block::PublicAccessBlock;
use crate::s3::{Service, identity_of};
use s3s::dto::{PutBucketPolicyInput, PutBucketPolicyOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_policy(
    service: &Service,
    request: S3Request<PutBucketPolicyInput>,
) -> Result<S3Response<PutBucketPolicyOutput>> {
    document::verify(&request)?;
    let S3Request { input, headers, uri, extensions, .. } = request;
    let limit_bytes = limits::BUCKET_POLICY_BYTES_MAX;
    if input.policy.len() > limit_bytes {
        let text = format!("Normalized policy document exceeds the maximum allowed size of {limit_bytes} bytes");
        return Err(Error::MalformedPolicy(text));
    }
    let policy = BucketPolicy::parse(&input.policy, &*service.bucket(&input.bucket)?)?;
    let has_numberless = || service.parts.control.current().iam.account_of_number("").is_some();
    if policy.policy.has_role_without_account() && !has_numberless() {
        return Err(Error::MalformedPolicy("Invalid principal in policy: a role's ARN names its account".to_owned()));
    }
    let is_public = policy.is_public;
    if !input.confirm_remove_self_bucket_access.unwrap_or(false) {
        let identity = identity_of(&extensions)?;
        let place = (Some(input.bucket.as_str()), None);
        let scene = Scene::new("PutBucketPolicy", place, &headers, &uri, &extensions, &identity);
        if service.admission.would_lock_out(&scene, policy).await? {
            return Err(Error::InvalidRequest(
                "You could not change this policy any more. If you want that, say so with the header \
                 x-amz-confirm-remove-self-bucket-access: true."
                    .to_owned(),
            ));
        }
    }
    let content = input.policy.into_bytes();
    document::change(service, &input.bucket, move |bucket| {
        if is_public && PublicAccessBlock::of(bucket)?.public_policy {
            return Err(Error::AccessDenied);
        }
        Ok(Changes::from([(documents::POLICY.to_owned(), Some(content.clone()))]))
    })
    .await?;
    Ok(S3Response::new(PutBucketPolicyOutput::default()))
}
