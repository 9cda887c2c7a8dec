//! The target: its disks, and the public operations on them. Each operation's body is a file in `object/`.

use crate::commit::Message;
use crate::config::TargetConfig;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::limits::{INDEX_RESERVE_BYTES, INLINE_BYTES_LIMIT, PART_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::store::{DiskOptions, DiskStore, Doors, accept_loss};
use crate::types::{AfterVersion, BucketView, ListUploadsRequest, ListVersionsRequest, UploadEntry};
use common::{BucketId, Clock, Epoch, ObjectKey, Random, Term};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Gives terms from the control store: each greater than `above` and than every one given before (engine rule A6).
/// Called from the engine's own threads; may block.
pub trait TermSource: Send + Sync {
    fn next_term(&self, above: Term) -> std::result::Result<Term, String>;
}

/// Everything this node stores.
pub struct Target {
    /// One for now. A key's home is the disk that its slot is assigned to.
    disks: Vec<Arc<DiskStore>>,
}

pub(crate) fn open_real(path: &Path) -> Result<Arc<dyn Disk>> {
    match RealDisk::open(path) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Error::Refused(format!("{} is in use by another process: stop it first", path.display())))
        }
        Err(error) => Err(Error::Io { what: path.display().to_string(), source: error }),
    }
}

impl Target {
    /// Locks, recovers and opens the disks. Blocking; call it on a blocking thread.
    pub fn open(
        config: &TargetConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        terms: Arc<dyn TermSource>,
    ) -> Result<Arc<Self>> {
        let [path] = config.disks.as_slice() else {
            return Err(Error::Refused(format!(
                "a target has one disk for now, and {} were named",
                config.disks.len()
            )));
        };
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&config.segment_bytes) {
            return Err(Error::Refused(format!("a segment has {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes")));
        }
        if config.inline_bytes_max > INLINE_BYTES_LIMIT {
            return Err(Error::Refused(format!("at most {INLINE_BYTES_LIMIT} bytes of payload go into the log")));
        }
        let options = DiskOptions {
            segment_bytes: config.segment_bytes,
            inline_bytes_max: config.inline_bytes_max,
            part_bytes_min: PART_BYTES_MIN,
            reserve_bytes: config.segment_bytes + INDEX_RESERVE_BYTES,
            prewrite: true,
            background_work: true,
        };
        Self::open_disk(open_real(path)?, options, &Doors { clock, random, terms })
    }

    /// A target on one disk behind any door.
    pub fn open_disk(disk: Arc<dyn Disk>, options: DiskOptions, doors: &Doors) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { disks: vec![DiskStore::open(disk, options, doors)?] }))
    }

    /// Records that what the disk at `path` lost without names is accepted as lost. Gives what that is.
    pub fn accept_loss(path: &Path) -> Result<Vec<String>> {
        accept_loss(&open_real(path)?)
    }

    pub fn disks(&self) -> &[Arc<DiskStore>] {
        &self.disks
    }

    /// What happened to the objects of this target, in order.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.disks[0].feed
    }

    /// The disk that orders the writes of a key (engine rule A7).
    pub(crate) fn home(&self, _bucket: BucketId, _key: &ObjectKey) -> &Arc<DiskStore> {
        &self.disks[0]
    }

    /// Commits what is waiting, makes a checkpoint and seals the log. Later calls fail with `Stopping`.
    pub async fn shutdown(&self) -> Result<()> {
        for disk in &self.disks {
            let disk = Arc::clone(disk);
            blocking(move || disk.shutdown()).await?;
        }
        Ok(())
    }

    /// The epoch that this target is at.
    pub fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    /// Makes the disks know a bucket, or a newer state of it. When this returns, every later mutation is decided by it and
    /// every earlier one is applied (engine rule A13).
    pub async fn apply_bucket(&self, bucket: BucketView) -> Result<()> {
        for disk in &self.disks {
            disk.tell_committer(|reply| Message::ApplyBucket(bucket.clone(), reply)).await?;
        }
        Ok(())
    }

    /// Whether no object or version of the bucket is left; open uploads do not count. Call it after `apply_bucket` with
    /// `Deleting`.
    pub async fn is_bucket_empty(&self, bucket: BucketId) -> Result<bool> {
        let after = AfterVersion::Beginning;
        let request = ListVersionsRequest { bucket, prefix: String::new(), delimiter: None, after, limit: 1 };
        Ok(self.list_versions(request).await?.entries.is_empty())
    }

    /// Forgets an empty bucket whose deletion is in its last step, and ends its open uploads. Repeating it is no error;
    /// `BucketInUse` when the deletion was taken back meanwhile.
    pub async fn remove_bucket(&self, bucket: BucketId) -> Result<()> {
        loop {
            let request = ListUploadsRequest {
                bucket,
                prefix: String::new(),
                delimiter: None,
                after: None,
                after_prefix: None,
                limit: 1000,
            };
            let page = self.list_uploads(request).await?;
            for entry in page.entries {
                let UploadEntry::Upload(upload) = entry else { continue };
                let key = ObjectKey::parse(&upload.key).map_err(|error| Error::Refused(error.to_string()))?;
                match self.abort(self.epoch(), bucket, key, upload.upload, true).await {
                    Ok(()) | Err(Error::NoSuchUpload) => {}
                    Err(error) => return Err(error),
                }
            }
            if !page.more {
                break;
            }
        }
        for disk in &self.disks {
            disk.tell_committer(|reply| Message::RemoveBucket(bucket, reply)).await?;
        }
        Ok(())
    }
}

/// Runs what may wait for a disk on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Stopping),
    }
}
