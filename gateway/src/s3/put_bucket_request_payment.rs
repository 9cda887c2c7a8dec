//! PutBucketRequestPayment: kept and given back. Nobody is billed here.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketRequestPayment.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use s3s::dto::{Payer, PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_request_payment(
    service: &Service,
    request: S3Request<PutBucketRequestPaymentInput>,
) -> Result<S3Response<PutBucketRequestPaymentOutput>> {
    let configuration = &request.input.request_payment_configuration;
    let content = document::received(&request, configuration)?;
    if ![Payer::BUCKET_OWNER, Payer::REQUESTER].contains(&configuration.payer.as_str()) {
        return Err(Error::MalformedXml("Payer is BucketOwner or Requester"));
    }
    document::set(service, &request.input.bucket, documents::REQUEST_PAYMENT, Some(content)).await?;
    Ok(S3Response::new(PutBucketRequestPaymentOutput::default()))
}
