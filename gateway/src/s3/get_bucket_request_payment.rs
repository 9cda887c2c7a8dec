//! GetBucketRequestPayment. The owner pays where nothing else was said.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketRequestPayment.html>

use crate::documents;
use crate::error::Result;
use crate::s3::{Service, document};
use s3s::dto::{GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, Payer, RequestPaymentConfiguration};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_request_payment(
    service: &Service,
    request: S3Request<GetBucketRequestPaymentInput>,
) -> Result<S3Response<GetBucketRequestPaymentOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let found: Option<RequestPaymentConfiguration> = document::read(&bucket, documents::REQUEST_PAYMENT)?;
    let payer = found.map_or(Payer::from_static(Payer::BUCKET_OWNER), |configuration| configuration.payer);
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(payer) }))
}
