//! GetObject and HeadObject: from the key to verified bytes.

mod bytes;
mod decrypt;

use super::info_of;
use crate::disk::File;
use crate::disk::read::{ChunkList, DataError, open_data};
use crate::files::Pin;
use crate::format::name::FileId;
use crate::format::record::{ObjectRecord, Operation, Record};
use crate::index::rows::{Row, RowKey, RowKind};
use crate::limits::LOOKUPS_MAX;
use crate::log::{InlinePayload, ReadError};
use crate::store::DiskStore;
use crate::target::{Target, blocking};
use crate::types::ObjectInfo;
use crate::{Error, Result};
use ::bytes::Bytes;
use bytes::{FileBytes, Of};
use common::{BucketId, ObjectKey, SecretKey, Stamp, VersionId};
use futures::stream::{self, BoxStream, StreamExt};
use std::ops::Range;
use std::sync::Arc;

impl Target {
    /// `None` is the current version.
    pub async fn head(&self, bucket: BucketId, key: &ObjectKey, version: Option<VersionId>) -> Result<ObjectInfo> {
        let store = self.home(bucket, key);
        if let Some(found) = find_at_once(store, bucket, key, version) {
            let Found { record, .. } = found?;
            // The sizes of parts stand in the chunk list, which may be a file.
            if let Operation::Put(object) = &record.operation
                && object.etag.parts == 0
            {
                return Ok(info_of(record.stamp, object, Vec::new()));
            }
        }
        Ok(self.get(bucket, key, version).await?.info)
    }

    /// Opens a version for reading, `None` for the current one. The bytes stay readable until the reader is dropped.
    pub async fn get(&self, bucket: BucketId, key: &ObjectKey, version: Option<VersionId>) -> Result<ObjectReader> {
        let store = self.home(bucket, key);
        let mut found = find_at_once(store, bucket, key, version).transpose()?;
        if let Some(inline) = found.take_if(|found| matches!(found.row.kind, RowKind::Inline(_))) {
            return ObjectReader::of_inline(Arc::clone(store), bucket, key, inline);
        }
        let (store, key) = (Arc::clone(store), key.clone());
        blocking(move || {
            let index = Arc::clone(&store);
            index
                .index
                .patiently(|| ObjectReader::open_found(Arc::clone(&store), bucket, key.clone(), version, found.take()))
        })
        .await
    }
}

/// An object's record, found and verified.
pub(super) struct Found {
    pub row: Row,
    pub record: Record,
    pub inline: InlinePayload,
}

/// The row of the version asked for, if it has content.
fn lookup(store: &DiskStore, object: &RowKey, version: Option<VersionId>) -> Result<Row> {
    let row = match version {
        None => store.index.lookup(object)?.filter(Row::is_live).ok_or(Error::NoSuchKey)?,
        Some(version) => store.index.version(object, version)?.ok_or(Error::NoSuchVersion)?,
    };
    match row.kind {
        RowKind::DeleteMarker { version: marker, modified_ms } => {
            Err(Error::IsDeleteMarker { version: marker, modified_ms, was_named: version.is_some() })
        }
        _ => Ok(row),
    }
}

/// Looks a version up and reads its record. Compaction may move the record in between: then it is looked up again.
pub(super) fn find(store: &DiskStore, bucket: BucketId, key: &ObjectKey, version: Option<VersionId>) -> Result<Found> {
    let row_key = RowKey::object(bucket, key.as_str());
    for _ in 0..LOOKUPS_MAX {
        let row = lookup(store, &row_key, version)?;
        if row.damaged {
            return Err(Error::Damaged(format!("{key}, stamp {}", row.stamp)));
        }
        let is_member = matches!(row.kind, RowKind::Inline(_));
        let identity = || row_key.identity_of(row.version());
        match store.segments.record(row.location, is_member) {
            Ok((record, inline)) => {
                let is_ours = record.stamp == row.stamp && record.bucket == bucket && record.key == key.as_str();
                if is_ours && matches!(record.operation, Operation::Put(_)) {
                    return Ok(Found { row, record, inline });
                }
                return Err(damaged(store, &identity(), row.stamp, "the index names another record"));
            }
            Err(ReadError::Moved) => {}
            Err(ReadError::Malformed(error)) => return Err(damaged(store, &identity(), row.stamp, &error.to_string())),
            Err(ReadError::Io(source)) => return Err(Error::Io { what: "read the log".into(), source }),
        }
    }
    Err(Error::Damaged(format!("{key}: its segment is gone")))
}

/// `find` without waiting for the disk, where it most likely does not have to: a quarter of what a GET of a small object costs is
/// the way to another thread and back. `None` says nothing: whatever is not as usual is `find`'s to judge.
fn find_at_once(
    store: &DiskStore,
    bucket: BucketId,
    key: &ObjectKey,
    version: Option<VersionId>,
) -> Option<Result<Found>> {
    if !store.index.expects_no_wait() {
        return None;
    }
    let row = match lookup(store, &RowKey::object(bucket, key.as_str()), version) {
        Ok(row) => row,
        Err(error @ (Error::NoSuchKey | Error::NoSuchVersion | Error::IsDeleteMarker { .. })) => {
            return Some(Err(error));
        }
        Err(_) => return None,
    };
    if row.damaged {
        return None;
    }
    let is_member = matches!(row.kind, RowKind::Inline(_));
    let (record, inline) = store.segments.record_at_once(row.location, is_member)?;
    let is_ours = record.stamp == row.stamp && record.bucket == bucket && record.key == key.as_str();
    (is_ours && matches!(record.operation, Operation::Put(_))).then_some(Ok(Found { row, record, inline }))
}

fn damaged(store: &DiskStore, key: &RowKey, stamp: Stamp, what: &str) -> Error {
    store.mark_damaged(key, stamp, what);
    Error::Damaged(format!("stamp {stamp}: {what}"))
}

pub struct ObjectReader {
    info: ObjectInfo,
    store: Arc<DiskStore>,
    /// The version's identity.
    key: RowKey,
    source: Source,
    /// Of an encrypted object, once it was given.
    data_key: Option<SecretKey>,
}

enum Source {
    Inline(Bytes),
    Files { chunks: Arc<ChunkList>, first: Option<Arc<dyn File>>, pin: Pin },
}

/// What a file's absence means depends on whether the index still names it.
enum Attempt {
    Opened(ChunkList, Option<Arc<dyn File>>, Pin),
    Gone(FileId),
}

impl ObjectReader {
    pub(super) fn open(
        store: Arc<DiskStore>,
        bucket: BucketId,
        key: ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Self> {
        Self::open_found(store, bucket, key, version, None)
    }

    fn of_inline(store: Arc<DiskStore>, bucket: BucketId, key: &ObjectKey, found: Found) -> Result<Self> {
        let Found { row, record, inline } = found;
        let Operation::Put(object) = &record.operation else { return Err(Error::NoSuchKey) };
        let key = RowKey::identity(bucket, key.as_str(), row.version());
        let info = info_of(record.stamp, object, Vec::new());
        let payload = Bytes::from(inline.frame).slice(inline.range);
        Ok(Self { info, store, key, source: Source::Inline(payload), data_key: None })
    }

    /// Opens what was found a moment ago, or what is there now.
    fn open_found(
        store: Arc<DiskStore>,
        bucket: BucketId,
        key: ObjectKey,
        version: Option<VersionId>,
        mut known: Option<Found>,
    ) -> Result<Self> {
        let object_key = RowKey::object(bucket, key.as_str());
        let mut missing = None;
        for _ in 0..LOOKUPS_MAX {
            let found = match known.take() {
                Some(found) => found,
                None => find(&store, bucket, &key, version)?,
            };
            if matches!(found.row.kind, RowKind::Inline(_)) {
                return Self::of_inline(store, bucket, &key, found);
            }
            let Found { row, record, .. } = found;
            let Operation::Put(object) = &record.operation else { continue };
            let row_key = object_key.identity_of(row.version());
            // A missing file that the index goes on naming is damage; otherwise the object was replaced meanwhile (A1).
            match open_files(&store, &object_key, &row, object)? {
                Some(Attempt::Opened(chunks, first, pin)) => {
                    let parts = if object.etag.parts > 0 { chunks.count() } else { 0 };
                    let stored = (0..parts).map(|at| chunks.id_and_length(at).1);
                    let part_sizes = match &object.more.seal {
                        None => stored.collect(),
                        Some(_) => stored.map(decrypt::chunk_length).collect::<Result<_>>()?,
                    };
                    let info = info_of(record.stamp, object, part_sizes);
                    let source = Source::Files { chunks: Arc::new(chunks), first, pin };
                    return Ok(Self { info, store, key: row_key, source, data_key: None });
                }
                Some(Attempt::Gone(id)) if missing == Some((row.stamp, id)) => {
                    return Err(damaged(&store, &row_key, row.stamp, &format!("data file {id} is missing")));
                }
                Some(Attempt::Gone(id)) => missing = Some((row.stamp, id)),
                None => {}
            }
        }
        Err(Error::Damaged(format!("{key}: it changes faster than it can be opened")))
    }

    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The key of an encrypted object, without which it has no bytes to give.
    pub fn with_key(self, key: SecretKey) -> Self {
        Self { data_key: Some(key), ..self }
    }

    /// Verified bytes of the range, in order. An error ends the stream: the connection must be broken, not completed.
    pub fn stream(self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        assert!(range.end <= self.info.size, "the range was resolved against this object");
        if self.info.envelope.is_some() {
            return self.decrypted(range).unwrap_or_else(|error| stream::iter([Err(error)]).boxed());
        }
        match self.source {
            Source::Inline(payload) => {
                let slice = payload.slice(range.start as usize..range.end as usize);
                stream::iter((!slice.is_empty()).then_some(Ok(slice))).boxed()
            }
            Source::Files { chunks, first, pin } => {
                let of = Of { store: self.store, key: self.key, stamp: self.info.stamp, pin };
                FileBytes::new(of, chunks, first, range).boxed()
            }
        }
    }

    fn decrypted(self, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let key = self.data_key.ok_or(Error::Sealed)?;
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        match self.source {
            Source::Inline(payload) => {
                let plain = crate::sealed::open_inline(&key, &payload).map_err(decrypt::forged)?;
                Ok(stream::iter([Ok(plain.slice(range.start as usize..range.end as usize))]).boxed())
            }
            Source::Files { chunks, first, pin } => {
                let lengths = (0..chunks.count()).map(|at| chunks.id_and_length(at).1);
                let plan = decrypt::plan(lengths, &range)?;
                let buffers = Arc::clone(&self.store.read_buffers);
                let of = Of { store: self.store, key: self.key, stamp: self.info.stamp, pin };
                let stored = FileBytes::new(of, Arc::clone(&chunks), first, plan.stored.clone());
                Ok(decrypt::Decrypted::new(stored, chunks, key, plan, buffers).boxed())
            }
        }
    }

    /// The chunks of a large object, for a copy; `None` for an inline one, whose bytes come instead.
    pub(super) fn into_parts(self) -> (ObjectInfo, Result<(Arc<ChunkList>, Pin), Bytes>) {
        match self.source {
            Source::Inline(payload) => (self.info, Err(payload)),
            Source::Files { chunks, pin, .. } => (self.info, Ok((chunks, pin))),
        }
    }
}

/// Pins a large object and opens its chunk list and first file. `None`: it was replaced before the pin held.
fn open_files(store: &DiskStore, object_key: &RowKey, row: &Row, object: &ObjectRecord) -> Result<Option<Attempt>> {
    let pin = store.files.pin(row.stamp);
    // Whoever replaces the object from here on sees the pin before it frees a file.
    let still_there = store.index.version(object_key, row.version())?.is_some_and(|now| now.stamp == row.stamp);
    if !still_there {
        return Ok(None);
    }
    let failed = |error: DataError| match error {
        DataError::Missing(id) => Ok(Some(Attempt::Gone(id))),
        error => Err(data_error(store, &object_key.identity_of(row.version()), row.stamp, error)),
    };
    let chunks = match ChunkList::open(store.disk.as_ref(), &object.payload) {
        Ok(chunks) => chunks,
        Err(error) => return failed(error),
    };
    let first = match (chunks.count() > 0).then(|| open_data(store.disk.as_ref(), chunks.id_and_length(0).0)) {
        Some(Ok(file)) => Some(file),
        Some(Err(error)) => return failed(error),
        None => None,
    };
    Ok(Some(Attempt::Opened(chunks, first, pin)))
}

fn data_error(store: &DiskStore, key: &RowKey, stamp: Stamp, error: DataError) -> Error {
    match error {
        DataError::Missing(_) => damaged(store, key, stamp, &error.to_string()),
        DataError::Damaged { id, .. } => {
            store.quarantine(id);
            damaged(store, key, stamp, &error.to_string())
        }
        DataError::Io { id, source } => Error::Io { what: format!("data file {id}"), source },
    }
}
