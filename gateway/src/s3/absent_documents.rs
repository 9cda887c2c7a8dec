//! The configuration documents that no bucket has yet. Clients and Terraform read all of them in everyday use, and each
//! absence has an answer of its own: a code, or a document that says "off". Deleting what is absent succeeds, as in S3.
//! Writing one is refused by the guard with 501.
//!
//! Source: "Error responses" and the page of each operation, Amazon S3 API Reference.

use crate::error::{Error, Result};
use crate::s3::Service;
use s3s::dto;
use s3s::{S3Request, S3Response};

/// Operations that answer with the code of the document's absence.
macro_rules! absent {
    ($($operation:ident($input:ident) -> $output:ident = $code:literal, $name:literal;)*) => {
        $(pub mod $operation {
            use super::*;

            pub async fn $operation(
                _service: &Service,
                _request: S3Request<dto::$input>,
            ) -> Result<S3Response<dto::$output>> {
                Err(Error::NoSuchDocument($code, $name))
            }
        })*
    };
}

absent! {
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = "NoSuchCORSConfiguration", "CORS";
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput =
        "ServerSideEncryptionConfigurationNotFoundError", "server side encryption";
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput =
        "NoSuchLifecycleConfiguration", "lifecycle";
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput =
        "OwnershipControlsNotFoundError", "ownership controls";
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = "NoSuchBucketPolicy", "policy";
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = "NoSuchBucketPolicy", "policy";
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput =
        "ReplicationConfigurationNotFoundError", "replication";
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = "NoSuchTagSet", "tagging";
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = "NoSuchWebsiteConfiguration", "website";
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput =
        "NoSuchPublicAccessBlockConfiguration", "public access block";
}

/// Operations whose document exists and is empty: the feature is off.
macro_rules! empty {
    ($($operation:ident($input:ident) -> $output:ident;)*) => {
        $(pub mod $operation {
            use super::*;

            pub async fn $operation(
                _service: &Service,
                _request: S3Request<dto::$input>,
            ) -> Result<S3Response<dto::$output>> {
                Ok(S3Response::new(dto::$output::default()))
            }
        })*
    };
}

empty! {
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput;
}

/// Operations that take a document away that is not there.
macro_rules! deleted {
    ($($operation:ident($input:ident) -> $output:ident;)*) => {
        $(pub mod $operation {
            use super::*;

            pub async fn $operation(
                _service: &Service,
                _request: S3Request<dto::$input>,
            ) -> Result<S3Response<dto::$output>> {
                Ok(S3Response::new(dto::$output::default()))
            }
        })*
    };
}

deleted! {
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput;
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput;
    delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput;
    delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput;
}

pub mod get_bucket_request_payment {
    use super::*;

    /// Nobody but the owner can pay here.
    pub async fn get_bucket_request_payment(
        _service: &Service,
        _request: S3Request<dto::GetBucketRequestPaymentInput>,
    ) -> Result<S3Response<dto::GetBucketRequestPaymentOutput>> {
        let payer = Some(dto::Payer::from_static(dto::Payer::BUCKET_OWNER));
        Ok(S3Response::new(dto::GetBucketRequestPaymentOutput { payer }))
    }
}
