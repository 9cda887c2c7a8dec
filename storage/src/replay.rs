//! From the log to the index: at start from the last checkpoint on, after the loss of an index from the beginning.
//!
//! Replay decides nothing: each record holds its outcome (A7). It is idempotent (A3), so it may begin anywhere before the
//! first record that the index lacks.

use crate::commit::changes::changes_of;
use crate::commit::damaged_row;
use crate::disk::Disk;
use crate::disk::read::ChunkList;
use crate::files::{Done, Files};
use crate::format::batch::{Entry, Subject};
use crate::format::footer::Footer;
use crate::format::name::{FileId, SegmentName, SegmentNumber};
use crate::format::record::{Operation, Record};
use crate::index::overlay::Change;
use crate::index::pages::PATH;
use crate::index::rows::{Location, Row, RowKey, RowKind};
use crate::index::store::{Checkpoint, Store, Writer};
use crate::log::recover::Recovered;
use crate::log::{Segments, decode};
use crate::reserve::Reserve;
use crate::{Error, Result};
use common::checksum::crc32c;
use common::{Stamp, UploadId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Records that go into one transaction.
const RECORDS_MAX: usize = 4096;

pub struct Replay<'a> {
    pub segments: &'a Segments,
    pub store: &'a Store,
    /// Where the records' files are put in order as well; not when only the index was lost while the disk was serving.
    pub files: Option<&'a Files>,
}

/// The files that completed uploads took over; `None` where the object's chunk list cannot be read.
type Kept = HashMap<UploadId, Option<HashSet<FileId>>>;

/// What replay found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    pub records: u64,
    pub damaged: u64,
    pub greatest: Stamp,
}

impl Replay<'_> {
    /// Applies everything from `from` on.
    pub fn run(&self, sealed: &[(SegmentName, Footer)], from: Option<Checkpoint>) -> Result<Replayed> {
        let mut replayed = Replayed { greatest: from.map_or(Stamp::ZERO, |from| from.stamp), ..Replayed::default() };
        let mut kept = HashMap::new();
        for (name, footer) in sealed {
            if from.is_some_and(|from| name.last < from.segment) {
                continue;
            }
            let first_offset = from.filter(|from| from.segment == name.first).map_or(0, |from| from.offset);
            let entries: Vec<&Entry> = footer.entries.iter().filter(|entry| entry.offset >= first_offset).collect();
            self.store.write(false, |writer| self.buckets(writer, footer))?;
            for entries in entries.chunks(RECORDS_MAX) {
                let done = self.store.write(false, |writer| {
                    let mut done = Vec::new();
                    for entry in entries {
                        done.extend(self.entry(writer, *name, entry, &mut replayed, &mut kept, from.is_none())?);
                    }
                    Ok(done)
                })?;
                if let Some(files) = self.files {
                    for done in &done {
                        files.apply(done).map_err(Error::io("files of a replayed record"))?;
                    }
                }
            }
        }
        Ok(replayed)
    }

    fn buckets(&self, writer: &mut Writer<'_>, footer: &Footer) -> Result<()> {
        for (id, stamp, record) in &footer.buckets {
            if writer.bucket(*id)?.is_none_or(|(known, _)| known < *stamp) {
                writer.put_bucket(*id, *stamp, record)?;
            }
            if let Some(files) = self.files {
                let mut names = files.bucket_names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                names.insert(*id, record.name.as_str().to_owned());
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        writer: &mut Writer<'_>,
        name: SegmentName,
        entry: &Entry,
        replayed: &mut Replayed,
        kept: &mut Kept,
        from_start: bool,
    ) -> Result<Option<Done>> {
        replayed.records += 1;
        replayed.greatest = replayed.greatest.max(entry.stamp);
        let location =
            Location { segment: name.first, generation: name.generation, offset: entry.offset, length: entry.length };
        let Some(record) = self.read(location, entry)? else {
            replayed.damaged += 1;
            tracing::error!(segment = %name, offset = entry.offset, bucket = entry.bucket.0, key = entry.key, stamp = %entry.stamp,
                "a record cannot be read: its key counts as damaged");
            self.keep_evidence(location);
            return named_only(writer, entry, location).map(|()| None);
        };
        self.sound(writer, &record, location, kept, (from_start, replayed.damaged > 0))
    }

    /// The record if it is as it was written. Twice, the second time past the page cache (A19).
    fn read(&self, location: Location, entry: &Entry) -> Result<Option<Record>> {
        for attempt in 0..2 {
            let bytes = match self.segments.read(location) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(%error, offset = entry.offset, "reading the log failed");
                    return Ok(None);
                }
            };
            if crc32c(&bytes) == entry.crc32c
                && let Ok((record, _)) = decode(bytes, entry.is_member)
                && record.stamp == entry.stamp
            {
                return Ok(Some(record));
            }
            if attempt == 0
                && let Some(file) = self.segments.file(location.segment, location.generation)
            {
                file.forget_cached(u64::from(location.offset), u64::from(location.length)).map_err(Error::io("log"))?;
            }
        }
        Ok(None)
    }

    /// The bytes of a damaged record go to quarantine: compaction may rewrite the segment one day.
    fn keep_evidence(&self, location: Location) {
        let Ok(bytes) = self.segments.read(location) else { return };
        let path = format!("quarantine/record-{:010}-{}-{}", location.segment.0, location.generation, location.offset);
        let kept = self.segments.disk.create(&path).and_then(|file| file.write_at(&[std::io::IoSlice::new(&bytes)], 0));
        if let Err(error) = kept
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            tracing::warn!(%error, path, "the evidence of damage could not be kept");
        }
    }

    fn sound(
        &self,
        writer: &mut Writer<'_>,
        record: &Record,
        location: Location,
        kept: &mut Kept,
        (from_start, damage_seen): (bool, bool),
    ) -> Result<Option<Done>> {
        match &record.operation {
            Operation::PutBucket(bucket) => {
                writer.put_bucket(record.bucket, record.stamp, bucket)?;
                if let Some(files) = self.files {
                    let mut names = files.bucket_names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                    names.insert(record.bucket, bucket.name.as_str().to_owned());
                }
            }
            Operation::RemoveBucket => writer.remove_bucket(record.bucket)?,
            _ => {}
        }
        let upload = match &record.operation {
            Operation::PutPart(part) => {
                let key = RowKey::upload(record.bucket, &record.key, part.upload);
                writer.lookup(&key)?.map(|row| (key, row))
            }
            _ => None,
        };
        let changes = changes_of(record, location, upload);
        let replaced = match changes.first() {
            Some(change) => writer.lookup(&change.key)?,
            None => None,
        };
        // What the index already knew when it was checkpointed is done, files and all.
        if replaced.as_ref().is_some_and(|row| row.stamp >= record.stamp && !matches!(row.kind, RowKind::Upload { .. }))
        {
            return Ok(None);
        }
        let mut frees = Vec::new();
        match &record.operation {
            Operation::Put(object) => {
                if let (Some(upload), true) = (object.upload, self.files.is_some()) {
                    let chunks = ChunkList::open(self.segments.disk.as_ref(), &object.payload);
                    kept.insert(upload, chunks.ok().map(|chunks| chunks.ids().into_iter().collect()));
                }
            }
            Operation::EndUpload { upload } => {
                // Parts are freed only where it is certain that no object took them over: not when its chunk list or its
                // record could not be read, and not when the Put may have been compacted away.
                let (kept, may_free) = match kept.remove(upload) {
                    Some(Some(kept)) => (kept, true),
                    Some(None) => (HashSet::new(), false),
                    None => (HashSet::new(), !from_start && !damage_seen),
                };
                if may_free {
                    frees = self.ids_of_parts(writer, *upload)?;
                    frees.retain(|id| !kept.contains(id));
                }
            }
            _ => {}
        }
        for change in &changes {
            writer.apply(change)?;
        }
        Ok(self.files.map(|_| Done { record: record.clone(), replaced, frees }))
    }

    fn ids_of_parts(&self, writer: &Writer<'_>, upload: UploadId) -> Result<Vec<FileId>> {
        let mut ids = Vec::new();
        if self.files.is_none() {
            return Ok(ids);
        }
        for (_, stored) in writer.parts(upload)? {
            ids.extend(part_ids(self.segments, &stored.row));
        }
        Ok(ids)
    }
}

/// The files of a part, as far as its record can be read.
pub fn part_ids(segments: &Segments, row: &Row) -> Vec<FileId> {
    match segments.record(row.location, false) {
        Ok((Record { operation: Operation::PutPart(part), .. }, _)) => {
            match ChunkList::open(segments.disk.as_ref(), &part.payload) {
                Ok(chunks) => chunks.ids(),
                Err(_) => part.payload.chunks_in_record().iter().map(|chunk| chunk.id).collect(),
            }
        }
        _ => Vec::new(),
    }
}

/// Applies a record of which only the name is left (A10).
fn named_only(writer: &mut Writer<'_>, entry: &Entry, location: Location) -> Result<()> {
    let object = RowKey::object(entry.bucket, &entry.key);
    let row = |kind| Row { stamp: entry.stamp, location, damaged: true, kind };
    let change = match entry.subject {
        Subject::Object(_) => Change { key: object, row: damaged_row(entry.stamp, location) },
        // That it is gone is all that its record said.
        Subject::Tombstone(_) => Change { key: object, row: row(RowKind::Tombstone) },
        Subject::Part(upload, part) => Change { key: RowKey::part(upload, part), row: part_row(entry.stamp, location) },
        Subject::UploadEnd(upload) => {
            Change { key: RowKey::upload(entry.bucket, &entry.key, upload), row: row(RowKind::UploadEnd) }
        }
        Subject::Upload(upload) => {
            let kind = RowKind::Upload { created_ms: 0, algorithm: None, newest_part: Stamp::ZERO };
            Change { key: RowKey::upload(entry.bucket, &entry.key, upload), row: row(kind) }
        }
        Subject::DeleteMarker(_) | Subject::Bucket | Subject::BucketEnd | Subject::Piece(_) => return Ok(()),
    };
    writer.apply(&change)
}

fn part_row(stamp: Stamp, location: Location) -> Row {
    let damaged = damaged_row(stamp, location);
    let kind = match damaged.kind {
        RowKind::Large(listed) => RowKind::Part(listed),
        kind => kind,
    };
    Row { kind, ..damaged }
}

/// Checks that no acknowledged stretch of the log is without names, except those that an administrator accepted as lost.
pub fn refuse_holes(recovered: &Recovered, accepted: &[String]) -> Result<()> {
    let open: Vec<String> = holes(recovered).into_iter().filter(|hole| !accepted.contains(hole)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let list = open.join(", ");
    Err(Error::Incomplete(format!(
        "{list}; objects that were written there are lost or would show an older state. Bring the disk back from a copy, or \
         accept the loss with `weir disk accept-loss --data DIR`"
    )))
}

/// The names of all holes that can be seen: stretches without names, and segments that are missing.
pub fn holes(recovered: &Recovered) -> Vec<String> {
    let mut holes = Vec::new();
    let mut next = SegmentNumber(1);
    for name in &recovered.names {
        if name.first != next {
            holes.push(format!("log segments {} to {}", next.0, name.first.0.saturating_sub(1)));
        }
        next = SegmentNumber(name.last.0 + 1);
    }
    for (name, footer) in &recovered.sealed {
        holes.extend(footer.holes.iter().map(|(from, to)| format!("log/{name} bytes {from}..{to}")));
    }
    holes
}

/// Makes a new index from the sealed log alone. The broken one is kept aside.
pub fn rebuild(
    segments: &Segments,
    reserve: &Arc<Reserve>,
    sealed: &[(SegmentName, Footer)],
    files: Option<&Files>,
) -> Result<(Store, Replayed)> {
    let disk = segments.disk.as_ref();
    set_aside(disk)?;
    let store = Store::open(disk, reserve)?;
    let replayed = Replay { segments, store: &store, files }.run(sealed, None)?;
    // What these compactions mean is in the index now: a restart must not count their dead records down again.
    store.write(false, |writer| {
        let compacted = sealed.iter().map(|(name, _)| *name).filter(|name| name.generation > 0);
        compacted.into_iter().try_for_each(|name| writer.set_compacted(name))
    })?;
    tracing::info!(records = replayed.records, damaged = replayed.damaged, "the index was rebuilt from the log");
    Ok((store, replayed))
}

/// Moves the index to quarantine, where only the last one is kept.
pub fn set_aside(disk: &dyn Disk) -> Result<()> {
    if disk.exists(PATH).map_err(Error::io(PATH))? {
        let aside = "quarantine/index.redb";
        if disk.exists(aside).map_err(Error::io(aside))? {
            disk.unlink(aside).map_err(Error::io(aside))?;
        }
        disk.rename(PATH, aside).map_err(Error::io(aside))?;
    }
    Ok(())
}
