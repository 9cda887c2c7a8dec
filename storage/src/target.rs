//! The target's public operations.

use crate::error::{Error, Result};
use crate::types::*;
use bytes::Bytes;
use common::{BucketId, Clock, Digests, Epoch, ObjectKey, Random, Term, UploadId};
use futures::stream::{self, BoxStream};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Gives terms from the control store: each greater than `above` and than every one given before (engine rule A6).
/// Called from the engine's own threads; may block.
pub trait TermSource: Send + Sync {
    fn next_term(&self, above: Term) -> std::result::Result<Term, String>;
}

#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// One directory per disk.
    pub disks: Vec<PathBuf>,
    /// Payloads up to this length live in the log; longer ones are files.
    pub inline_bytes_max: u64,
    pub segment_bytes: u64,
}

pub struct Target {}

impl Target {
    /// Locks, recovers and opens the disks. Blocking; call it on a blocking thread.
    pub fn open(
        _config: TargetConfig,
        _clock: Arc<dyn Clock>,
        _random: Arc<dyn Random>,
        _terms: Arc<dyn TermSource>,
    ) -> Result<Arc<Self>> {
        Err(Error::Stopping)
    }

    /// Commits what is waiting, makes a checkpoint and seals the log. Later calls fail with `Stopping`.
    pub async fn shutdown(&self) -> Result<()> {
        Err(Error::Stopping)
    }

    /// The epoch that this target is at.
    pub fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    /// Makes the disks know a bucket, or a newer state of it. When this returns, every later mutation is decided by it and
    /// every earlier one is applied (engine rule A13).
    pub async fn apply_bucket(&self, _bucket: BucketView) -> Result<()> {
        Err(Error::Stopping)
    }

    /// Whether no object, version or upload of the bucket is left. Call it after `apply_bucket` with `Deleting`.
    pub async fn is_bucket_empty(&self, _bucket: BucketId) -> Result<bool> {
        Err(Error::Stopping)
    }

    /// Forgets a bucket that the control store says was removed.
    pub async fn remove_bucket(&self, _bucket: BucketId) -> Result<()> {
        Err(Error::Stopping)
    }

    /// Starts a PUT: write the body, `finish`, compare the digests, `commit`. Dropping writer or staged object at any time
    /// leaves nothing behind.
    pub async fn put(&self, _request: PutRequest) -> Result<ObjectWriter> {
        Err(Error::Stopping)
    }

    pub async fn put_part(&self, _request: PutPartRequest) -> Result<ObjectWriter> {
        Err(Error::Stopping)
    }

    pub async fn head(&self, _bucket: BucketId, _key: &ObjectKey) -> Result<ObjectInfo> {
        Err(Error::Stopping)
    }

    /// Opens the current object for reading. The bytes stay readable until the reader is dropped.
    pub async fn get(&self, _bucket: BucketId, _key: &ObjectKey) -> Result<ObjectReader> {
        Err(Error::Stopping)
    }

    pub async fn delete(&self, _request: DeleteRequest) -> Result<DeleteOutcome> {
        Err(Error::Stopping)
    }

    pub async fn copy(&self, _request: CopyRequest) -> Result<PutOutcome> {
        Err(Error::Stopping)
    }

    pub async fn list(&self, _request: ListRequest) -> Result<ListPage> {
        Err(Error::Stopping)
    }

    pub async fn create_upload(&self, _request: CreateUploadRequest) -> Result<UploadInfo> {
        Err(Error::Stopping)
    }

    pub async fn list_parts(&self, _request: ListPartsRequest) -> Result<PartsPage> {
        Err(Error::Stopping)
    }

    pub async fn list_uploads(&self, _request: ListUploadsRequest) -> Result<UploadsPage> {
        Err(Error::Stopping)
    }

    pub async fn complete_upload(&self, _request: CompleteUploadRequest) -> Result<PutOutcome> {
        Err(Error::Stopping)
    }

    pub async fn abort_upload(
        &self,
        _epoch: Epoch,
        _bucket: BucketId,
        _key: ObjectKey,
        _upload: UploadId,
    ) -> Result<()> {
        Err(Error::Stopping)
    }
}

/// A body on its way to the disk.
pub struct ObjectWriter {}

impl ObjectWriter {
    pub async fn write(&mut self, _bytes: Bytes) -> Result<()> {
        Err(Error::Stopping)
    }

    /// Ends the body: its bytes are on the disk (large) or in memory (small), not yet visible.
    pub async fn finish(self) -> Result<Staged> {
        Err(Error::Stopping)
    }
}

/// A whole body, hashed, waiting for the commit.
pub struct Staged {}

impl Staged {
    pub fn digests(&self) -> &Digests {
        unreachable!("no staged object can exist yet")
    }

    /// Durable and visible when this returns.
    pub async fn commit(self) -> Result<PutOutcome> {
        Err(Error::Stopping)
    }
}

pub struct ObjectReader {}

impl ObjectReader {
    pub fn info(&self) -> &ObjectInfo {
        unreachable!("no reader can exist yet")
    }

    /// Verified bytes of the range, in order. An error ends the stream: the connection must be broken, not completed.
    pub fn stream(self, _range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        Box::pin(stream::empty())
    }
}
