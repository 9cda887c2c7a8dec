//! What can go wrong in a target, grouped by whose fault it is. `gateway/src/error.rs` turns it into S3 codes.

use common::{BucketId, Epoch, PartNumber};
use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The caller's.
    #[error("no such key")]
    NoSuchKey,
    #[error("no such version")]
    NoSuchVersion,
    /// The current version, or the one asked for, says "deleted".
    #[error("the version is a delete marker")]
    IsDeleteMarker { version: common::VersionId, modified_ms: u64, was_named: bool },
    #[error("the offset of the write is not the size of the object")]
    WrongOffset,
    #[error("the object has as many chunks as it can have")]
    TooManyChunks,
    #[error("the object changed meanwhile: do it again")]
    ObjectChanged,
    #[error("the version is locked: {0}")]
    Locked(&'static str),
    #[error("the bucket's versions cannot be locked")]
    NoObjectLock,
    #[error("no such upload, or it was completed or aborted")]
    NoSuchUpload,
    #[error("the upload's parts changed meanwhile: complete or abort it again")]
    UploadChanged,
    #[error("no such bucket, or it is being deleted")]
    NoSuchBucket(BucketId),
    #[error("the bucket's deletion was taken back meanwhile")]
    BucketInUse(BucketId),
    #[error("the condition {0} does not hold")]
    PreconditionFailed(&'static str),
    #[error("part {0} was not uploaded, or has another ETag")]
    InvalidPart(u16),
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    #[error("part {} is smaller than the minimum and not the last", .0.number())]
    PartTooSmall(PartNumber),
    /// The gateway knows its key, or has to ask for it.
    #[error("the object is encrypted: its bytes need its key")]
    Sealed,
    #[error("the object is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("the cursor is older than what the change feed still has: list the bucket, and begin anew")]
    CursorExpired,
    #[error("the body has {actual} bytes where {declared} were declared")]
    WrongLength { declared: u64, actual: u64 },

    // A peer's: retry with the current map.
    #[error("the request belongs to epoch {}, this target is at {}", .asked.0, .current.0)]
    StaleEpoch { asked: Epoch, current: Epoch },

    // Ours.
    #[error("the disk is above its last watermark: only deletes and reads go on")]
    OutOfSpace,
    #[error("the stored object is damaged and no good copy is left: {0}")]
    Damaged(String),
    #[error("the disk failed: {0}")]
    DiskFailed(String),
    #[error("part of the disk's log is lost, its names with it: {0}")]
    Incomplete(String),
    #[error("the outcome of the write is unknown: {0}")]
    OutcomeUnknown(String),
    #[error("the index is being rebuilt")]
    IndexRebuilding,
    #[error("the index is broken and will be rebuilt: {0}")]
    IndexBroken(String),
    #[error("the disk is slower than its clients: slow down")]
    Busy,
    #[error("the target is stopping")]
    Stopping,
    #[error("{0}")]
    Refused(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Error {
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
