//! The S3 operations, one file each, and their table. s3s parses requests and writes answers; its types stay in this
//! directory, and storage never sees them.

mod attributes;
mod body;
mod checksums;
mod conditions;
mod create_bucket;
pub mod dates;
pub mod delete_bucket;
mod delete_object;
mod delete_objects;
mod get_object;
mod head_bucket;
mod head_object;
mod list_buckets;
mod list_objects;
mod list_objects_v2;
mod listing;
mod put_object;

use crate::Parts;
use crate::access::{self, Identity};
use crate::error::{Error, Result};
use crate::route::Router;
use cluster::Bucket;
use common::OwnerId;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};
use std::sync::Arc;

/// What every operation is given.
pub struct Service {
    pub parts: Parts,
    pub region: String,
    pub router: Router,
}

impl Service {
    pub fn new(parts: Parts, region: String) -> Self {
        let router = Router::new(parts.target.clone());
        Self { parts, region, router }
    }

    /// The bucket of a request; that the caller may use it was decided before (`access.rs`).
    fn bucket(&self, name: &str) -> Result<Arc<Bucket>> {
        access::find(&*self.parts.control, name)
    }

    /// The caller. Every operation but those of anonymous readers has one, and there are none of these yet.
    fn identity<T>(&self, request: &S3Request<T>) -> Result<Identity> {
        request.extensions.get::<Identity>().cloned().ok_or(Error::AccessDenied)
    }

    /// An owner as S3's documents name one.
    fn owner(&self, id: &OwnerId) -> dto::Owner {
        let state = self.parts.control.current();
        let name = state.owners.get(id).map(|owner| owner.display_name.clone());
        dto::Owner { id: Some(id.0.clone()), display_name: name }
    }
}

/// Forwards each method of s3s's trait to the file of the same name.
macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident,)*) => {
        #[async_trait::async_trait]
        impl s3s::S3 for Service {
            $(async fn $operation(
                &self,
                request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                Ok($operation::$operation(self, request).await?)
            })*
        }
    };
}

operations! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput,
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput,
    delete_object(DeleteObjectInput) -> DeleteObjectOutput,
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput,
    get_object(GetObjectInput) -> GetObjectOutput,
    head_bucket(HeadBucketInput) -> HeadBucketOutput,
    head_object(HeadObjectInput) -> HeadObjectOutput,
    list_buckets(ListBucketsInput) -> ListBucketsOutput,
    list_objects(ListObjectsInput) -> ListObjectsOutput,
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output,
    put_object(PutObjectInput) -> PutObjectOutput,
}
