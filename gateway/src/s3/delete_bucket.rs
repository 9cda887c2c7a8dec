//! DeleteBucket, in the four steps of engine rule A13, since a bucket exists in the control store and is empty on the disks:
//!
//! 1. control store: the bucket is `Deleting`;
//! 2. the disks know it: no later write enters, all earlier ones are applied;
//! 3. the disks are asked whether anything is left; if nothing is they forget the bucket and its open uploads;
//! 4. control store: the bucket is gone, or `Active` again and not empty.
//!
//! Steps 2 to 4 go on without the client: a bucket must not stay `Deleting` because somebody closed a laptop. A process that
//! dies between them is `resume_bucket_deletions`'s business at the next start.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>

use crate::Parts;
use crate::error::{Error, Result};
use crate::s3::Service;
use crate::s3::create_bucket::view;
use cluster::{Applied, Bucket, BucketState, Command};
use common::BucketName;
use s3s::dto::{DeleteBucketInput, DeleteBucketOutput};
use s3s::{S3Request, S3Response};
use std::sync::Arc;

pub async fn delete_bucket(
    service: &Service,
    request: S3Request<DeleteBucketInput>,
) -> Result<S3Response<DeleteBucketOutput>> {
    let name = service.bucket(&request.input.bucket)?.name.clone();
    let parts = service.parts.clone();
    let protocol = tokio::spawn(async move { delete(&parts, name).await });
    match protocol.await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(Error::Internal("the deletion of the bucket was interrupted")),
    }
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// Ends the deletions that an earlier process began. Call it before serving. Fails only if the control store does.
pub async fn resume_bucket_deletions(parts: &Parts) -> Result<(), Error> {
    let state = parts.control.read().await?;
    let deleting = state.buckets.values().filter(|bucket| bucket.state == BucketState::Deleting);
    for bucket in deleting {
        match decide(parts, bucket.clone()).await {
            Ok(()) => tracing::info!(bucket = %bucket.name, "the deletion of a bucket was completed"),
            Err(Error::BucketNotEmpty) => {
                tracing::info!(bucket = %bucket.name, "the deletion of a bucket was taken back: it is not empty");
            }
            // One disk that cannot answer keeps neither the others nor the node from starting.
            Err(error) => tracing::error!(%error, bucket = %bucket.name, "a bucket stays in deletion"),
        }
    }
    Ok(())
}

async fn delete(parts: &Parts, name: BucketName) -> Result<()> {
    let applied = parts.control.propose(Command::BeginDeleteBucket { name }).await?;
    decide(parts, expect_bucket(applied)?).await
}

/// Steps 2 to 4 for a bucket in `Deleting`. When the disks cannot answer it stays so, and the deletion may be repeated.
async fn decide(parts: &Parts, bucket: Arc<Bucket>) -> Result<()> {
    parts.target.apply_bucket(view(&bucket)).await?;
    let (name, id, version) = (bucket.name.clone(), bucket.id, bucket.version);
    if parts.target.is_bucket_empty(id).await? {
        // Before the control store does: afterwards nothing would tell a disk that was interrupted to reclaim anything.
        parts.target.remove_bucket(id).await?;
        parts.control.propose(Command::FinishDeleteBucket { name, id, version }).await?;
        Ok(())
    } else {
        let applied = parts.control.propose(Command::CancelDeleteBucket { name, id }).await?;
        parts.target.apply_bucket(view(&*expect_bucket(applied)?)).await?;
        Err(Error::BucketNotEmpty)
    }
}

fn expect_bucket(applied: Applied) -> Result<Arc<Bucket>> {
    match applied {
        Applied::Bucket(bucket) => Ok(bucket),
        Applied::Nothing | Applied::Term(_) | Applied::PolicyVersion(_) | Applied::Limit(_) => {
            Err(Error::Internal("a bucket's command gave no bucket"))
        }
    }
}
