//! The configuration documents that no bucket has yet. Clients and Terraform read all of them in everyday use, and each
//! absence has an answer of its own. Deleting what is absent succeeds, as in S3. Writing one is refused by the guard with 501.
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
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput =
        "ReplicationConfigurationNotFoundError", "replication";
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
    delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput;
}
