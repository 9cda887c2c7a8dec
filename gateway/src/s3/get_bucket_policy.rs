//! GetBucketPolicy: the text as it was put.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::Service;
use http::{HeaderMap, HeaderValue, header};
use s3s::dto::{GetBucketPolicyInput, GetBucketPolicyOutput};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_policy(
    service: &Service,
    request: S3Request<GetBucketPolicyInput>,
) -> Result<S3Response<GetBucketPolicyOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let text = bucket.documents.get(documents::POLICY).ok_or(Error::NoSuchBucketPolicy)?;
    let policy = String::from_utf8(text.clone()).map_err(|_| Error::Internal("the bucket's policy cannot be read"))?;
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let headers = HeaderMap::from_iter([json]);
    Ok(S3Response::with_headers(GetBucketPolicyOutput { policy: Some(policy) }, headers))
}
