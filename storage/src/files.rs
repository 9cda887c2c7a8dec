//! Step 4 of a large object's commit (engine rule A2): what happens to files after the record is durable. Staged files
//! are renamed into `objects/`, the view is relinked, and files that no live record names are unlinked. All of it is
//! repeated from the log after a crash, and always names ids, never paths (A1).

mod pins;
mod view;

pub use pins::Pin;

use crate::disk::read::{ChunkList, DataError, dying_path};
use crate::disk::{Disk, SyncPoint, is_out_of_space};
use crate::format::name::FileId;
use crate::format::record::{Operation, Payload, Record};
use crate::index::rows::{Row, RowKind};
use crate::log::Segments;
use crate::reserve::Reserve;
use common::{BucketId, Stamp};
use pins::Pins;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use view::View;

/// One durable record and what it replaced.
pub struct Done {
    pub record: Record,
    /// The row of the version or part that the record took the place of.
    pub replaced: Option<Row>,
    pub view: ViewChange,
    /// Files that die with an upload: those of parts that the object did not take over.
    pub frees: Vec<FileId>,
}

/// What becomes of the links that show a key's current version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewChange {
    /// What was current before.
    pub hide: Option<Row>,
    /// Whether the record itself is current now.
    pub show: bool,
    /// An older version that is current again.
    pub relink: Option<Row>,
}

pub struct Files {
    disk: Arc<dyn Disk>,
    segments: Arc<Segments>,
    reserve: Arc<Reserve>,
    view: Mutex<View>,
    pins: Arc<Pins>,
    pub bucket_names: RwLock<BTreeMap<BucketId, String>>,
    /// Directories with names that are not synced yet.
    touched: Mutex<BTreeSet<String>>,
    applied: Mutex<u64>,
    applied_changed: Condvar,
    /// A committed record's names have no room. Nothing behind it can be applied before there is some.
    waits_for_space: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Files {
    pub fn new(disk: Arc<dyn Disk>, segments: Arc<Segments>, reserve: Arc<Reserve>) -> Self {
        Self {
            view: Mutex::new(View::new(Arc::clone(&disk))),
            pins: Arc::new(Pins::new(Arc::clone(&disk))),
            disk,
            segments,
            reserve,
            waits_for_space: AtomicBool::new(false),
            bucket_names: RwLock::default(),
            touched: Mutex::default(),
            applied: Mutex::default(),
            applied_changed: Condvar::new(),
        }
    }

    /// Keeps the files of the object with this stamp readable until the pin is dropped.
    pub fn pin(&self, stamp: Stamp) -> Pin {
        self.pins.pin(stamp)
    }

    /// Does what a record asks for, with the disk's reserve if it must. Repeating it changes nothing.
    pub fn apply(&self, done: &Done) -> io::Result<()> {
        let applied = self.reserve.with_space(|| self.try_apply(done));
        let waits = applied.as_ref().is_err_and(is_out_of_space);
        self.waits_for_space.store(waits, Ordering::Release);
        applied
    }

    fn try_apply(&self, done: &Done) -> io::Result<()> {
        match &done.record.operation {
            Operation::Put(object) => {
                self.install(&object.payload)?;
                self.replace(done)?;
                if done.view.show {
                    self.show(&done.record, &object.payload);
                }
            }
            Operation::PutPart(part) => {
                self.install(&part.payload)?;
                self.replace(done)?;
            }
            Operation::Delete { .. } | Operation::PutDeleteMarker { .. } => {
                self.replace(done)?;
                self.show_again(done);
            }
            Operation::RemoveBucket => {
                let Record { bucket, key, .. } = &done.record;
                self.with_bucket(*bucket, key, |view, bucket| view.remove_bucket(bucket));
            }
            Operation::CreateUpload(_)
            | Operation::EndUpload { .. }
            | Operation::PutBucket(_)
            | Operation::PutPiece(_) => {}
        }
        self.free(None, &done.frees)
    }

    fn install(&self, payload: &Payload) -> io::Result<()> {
        for id in self.ids(payload) {
            // Missing: installed before, taken over from a part, or already dead again.
            missing_is_fine(self.disk.rename(&id.staging_path(), &id.path()))?;
            // Also when nothing was to be renamed: a process that was killed may have done it and synced nothing.
            let mut touched = lock(&self.touched);
            touched.insert("staging".to_owned());
            touched.insert(id.directory());
        }
        Ok(())
    }

    /// The ids that a payload names. A table that cannot be read names only itself: what it listed is left to fsck.
    fn ids(&self, payload: &Payload) -> Vec<FileId> {
        match ChunkList::open(self.disk.as_ref(), payload) {
            Ok(chunks) => chunks.ids(),
            Err(error) => {
                if !matches!(error, DataError::Missing(_)) {
                    tracing::error!(%error, "cannot read a chunk table: the files it lists stay where they are");
                }
                payload.chunks_in_record().iter().map(|chunk| chunk.id).collect()
            }
        }
    }

    /// The links of what was current go; then the files of the record that this one took the place of, minus those that it
    /// took over.
    fn replace(&self, done: &Done) -> io::Result<()> {
        if let Some(row) = done.view.hide.as_ref().filter(|row| matches!(row.kind, RowKind::Large(_))) {
            match self.segments.record(row.location, false) {
                Ok((Record { operation: Operation::Put(object), bucket, key, .. }, _)) => {
                    self.with_bucket(bucket, &key, |view, bucket| view.hide(bucket, &key, &object.payload));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(key = done.record.key, stamp = %row.stamp, %error, "a replaced record cannot be read: its links stay");
                }
            }
        }
        let Some(row) = &done.replaced else { return Ok(()) };
        if !matches!(row.kind, RowKind::Large(_) | RowKind::Part(_)) {
            return Ok(());
        }
        let old = match self.segments.record(row.location, false) {
            Ok((record, _)) => record,
            Err(error) => {
                tracing::error!(key = done.record.key, stamp = %row.stamp, %error, "a replaced record cannot be read: its files stay");
                return Ok(());
            }
        };
        let old_payload = match &old.operation {
            Operation::Put(object) => &object.payload,
            Operation::PutPart(part) => &part.payload,
            _ => return Ok(()),
        };
        let kept: HashSet<FileId> = match &done.record.operation {
            Operation::Put(object) => self.ids(&object.payload).into_iter().collect(),
            Operation::PutPart(part) => self.ids(&part.payload).into_iter().collect(),
            _ => HashSet::new(),
        };
        let freed: Vec<FileId> = self.ids(old_payload).into_iter().filter(|id| !kept.contains(id)).collect();
        self.free(Some(row.stamp), &freed)
    }

    /// Unlinks files. Those that a reader of `stamp` may still want wait for it, out of the way.
    fn free(&self, stamp: Option<Stamp>, ids: &[FileId]) -> io::Result<()> {
        for &id in ids {
            let pinned = stamp.is_some_and(|stamp| self.pins.defer(stamp, id));
            if pinned {
                missing_is_fine(self.disk.rename(&id.path(), &dying_path(id)))?;
                self.pins.moved(stamp.expect("pinned by a stamp"), id);
            } else {
                missing_is_fine(self.disk.unlink(&id.path()))?;
                missing_is_fine(self.disk.unlink(&id.staging_path()))?;
            }
            lock(&self.touched).insert(id.directory());
        }
        Ok(())
    }

    /// The links of an older version that is current again.
    fn show_again(&self, done: &Done) {
        let Some(row) = done.view.relink.as_ref().filter(|row| matches!(row.kind, RowKind::Large(_))) else { return };
        match self.segments.record(row.location, false) {
            Ok((record, _)) => {
                if let Operation::Put(object) = &record.operation {
                    self.show(&record, &object.payload);
                }
            }
            Err(error) => tracing::warn!(%error, key = done.record.key, "an older version has no view"),
        }
    }

    fn show(&self, record: &Record, payload: &Payload) {
        match ChunkList::open(self.disk.as_ref(), payload) {
            Ok(chunks) => {
                self.with_bucket(record.bucket, &record.key, |view, bucket| view.show(bucket, &record.key, &chunks));
            }
            Err(error) => tracing::debug!(%error, key = record.key, "an object without its table has no view"),
        }
    }

    /// The view is derived and for people: what goes wrong in it is told and harms nothing.
    fn with_bucket(&self, bucket: BucketId, key: &str, run: impl FnOnce(&mut View, &str) -> io::Result<()>) {
        let names = self.bucket_names.read().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = names.get(&bucket) else { return };
        if let Err(error) = run(&mut lock(&self.view), bucket) {
            tracing::warn!(bucket, key, %error, "the view of an object could not be changed");
        }
    }

    pub fn set_applied(&self, batch: u64) {
        *lock(&self.applied) = batch;
        self.applied_changed.notify_all();
    }

    /// Waits until everything up to this batch is done; `stop` or a disk without room for a name ends the wait.
    pub fn wait_applied(&self, batch: u64, stop: impl Fn() -> bool) -> bool {
        let mut applied = lock(&self.applied);
        while *applied < batch {
            if stop() || self.waits_for_space.load(Ordering::Acquire) {
                return false;
            }
            let waited = self.applied_changed.wait_timeout(applied, std::time::Duration::from_millis(50));
            applied = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Makes the names durable that were changed so far: the checkpoint may pass their records then.
    pub fn sync_touched(&self) -> io::Result<()> {
        let touched = std::mem::take(&mut *lock(&self.touched));
        for directory in touched {
            self.disk.sync_dir(&directory, SyncPoint::InstalledNames)?;
        }
        Ok(())
    }
}
