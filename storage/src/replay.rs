//! From the log to the index: at start from the last checkpoint on, after the loss of an index from the beginning.
//!
//! Replay decides nothing: each record holds its outcome (A7). It is idempotent (A3), so it may begin anywhere before the
//! first record that the index lacks.

use crate::commit::changes::changes_of;
use crate::commit::damaged_row;
use crate::disk::Disk;
use crate::disk::read::ChunkList;
use crate::files::{Done, Files, ViewChange};
use crate::format::batch::{Entry, Subject};
use crate::format::footer::Footer;
use crate::format::member::unframe;
use crate::format::name::{FileId, SegmentName, SegmentNumber};
use crate::format::record::{Operation, Payload, Record};
use crate::index::overlay::Change;
use crate::index::pages::PATH;
use crate::index::rows::{ListedPart, Location, Row, RowKey, RowKind, Table};
use crate::index::store::{Applied, Checkpoint, Store, Writer};
use crate::limits::{BATCH_BYTES_MAX, REPLAY_READ_BYTES, REPLAY_THREADS, REPLAY_WINDOW_BYTES};
use crate::log::Segments;
use crate::log::recover::Recovered;
use crate::reserve::Reserve;
use crate::{Error, Result};
use common::checksum::crc32c;
use common::{Stamp, UploadId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub struct Replay<'a> {
    pub segments: &'a Segments,
    pub store: &'a Store,
    /// Where the records' files are put in order as well; not when only the index was lost while the disk was serving.
    pub files: Option<&'a Files>,
}

/// Records of uploads, parts and buckets that go into one transaction.
const OTHERS_MAX: usize = 4096;

/// The files that completed uploads took over; `None` where the object's chunk list cannot be read.
type Kept = HashMap<UploadId, Option<HashSet<FileId>>>;

/// What replay found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    pub records: u64,
    pub damaged: u64,
    pub greatest: Stamp,
}

/// What the log says at one place.
enum Found {
    /// An object, or that there is none any more.
    Object(Change, ObjectNeeds),
    /// Whatever asks for more than its own row: of uploads, parts and buckets.
    Other(Record, Location),
    /// Only the name is left.
    Damaged(Entry, Location),
}

/// What is to be done about an object's files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ObjectNeeds {
    /// It has no file. Those of the object that it replaced go.
    Replace,
    /// It has files.
    Install,
    /// Nobody knows.
    Nothing,
}

/// What waits to be put into the index together.
#[derive(Default)]
struct Gathered {
    /// Objects, in the order of the log.
    changes: Vec<Change>,
    needs: Vec<ObjectNeeds>,
    bytes: usize,
    /// The rest, in the order of the log.
    others: Vec<(Record, Location)>,
    kept: Kept,
    from_start: bool,
}

impl Gathered {
    fn object(&mut self, change: Change, needs: ObjectNeeds) {
        self.bytes += size_of::<Change>() + change.key.length_bytes();
        self.changes.push(change);
        self.needs.push(needs);
    }
}

/// Cuts entries into stretches of about `REPLAY_READ_BYTES` of the log.
fn stretches_of(mut entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    std::iter::from_fn(move || {
        let first = entries.first()?;
        let until = u64::from(first.offset) + REPLAY_READ_BYTES;
        // Not quite in the order of their places: in a batch, those without a payload stand behind the others.
        let count = entries.iter().position(|entry| u64::from(entry.offset) >= until).unwrap_or(entries.len()).max(1);
        let (stretch, rest) = entries.split_at(count);
        entries = rest;
        Some(stretch)
    })
}

impl Replay<'_> {
    /// Applies everything from `from` on. Segments are decoded side by side, and taken in their order.
    pub fn run(&self, sealed: &[(SegmentName, Footer)], from: Option<Checkpoint>) -> Result<Replayed> {
        let mut replayed = Replayed { greatest: from.map_or(Stamp::ZERO, |from| from.stamp), ..Replayed::default() };
        let mut gathered = Gathered { from_start: from.is_none(), ..Gathered::default() };
        let mut stretches: Vec<(SegmentName, &[Entry])> = Vec::new();
        for (name, footer) in sealed.iter().filter(|(name, _)| from.is_none_or(|from| name.last >= from.segment)) {
            self.store.write(false, |writer| self.buckets(writer, footer))?;
            let first_offset = from.filter(|from| from.segment == name.first).map_or(0, |from| from.offset);
            // Entries stand in the order of their batches, and a checkpoint between two of these.
            let known = footer.entries.partition_point(|entry| entry.offset < first_offset);
            stretches.extend(stretches_of(&footer.entries[known..]).map(|entries| (*name, entries)));
        }
        let mut decoded: Vec<Result<Vec<Found>>> = Vec::new();
        for ahead in stretches.chunks(REPLAY_THREADS) {
            decoded = std::thread::scope(|scope| {
                let decode = |&(name, entries): &(SegmentName, &[Entry])| self.decode(name, entries);
                let threads: Vec<_> = ahead.iter().map(|stretch| scope.spawn(move || decode(stretch))).collect();
                for found in std::mem::take(&mut decoded) {
                    self.take(found?, &mut gathered, &mut replayed)?;
                }
                let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                Ok::<_, Error>(threads.into_iter().map(join).collect())
            })?;
        }
        for found in decoded {
            self.take(found?, &mut gathered, &mut replayed)?;
        }
        self.put_others(&mut gathered, replayed.damaged > 0)?;
        self.put_objects(&mut gathered)?;
        Ok(replayed)
    }

    /// What a stretch of one segment says, in its order.
    fn decode(&self, name: SegmentName, entries: &[Entry]) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        let stretch = Stretch::read(self.segments, name, entries);
        for entry in entries {
            let location = Location {
                segment: name.first,
                generation: name.generation,
                offset: entry.offset,
                length: entry.length,
            };
            let read = match stretch.bytes(entry).and_then(|bytes| record_of(bytes, entry)) {
                Some(record) => Some(record),
                None => self.read(location, entry)?,
            };
            let Some(record) = read else {
                tracing::error!(segment = %name, offset = entry.offset, bucket = entry.bucket.0, key = entry.key, stamp = %entry.stamp,
                    "a record cannot be read: its key counts as damaged");
                self.keep_evidence(location);
                found.push(Found::Damaged(entry.clone(), location));
                continue;
            };
            let needs = match &record.operation {
                Operation::Delete { .. } | Operation::PutDeleteMarker { .. } => Some(ObjectNeeds::Replace),
                // A completed upload says which files it took over.
                Operation::Put(object) if object.upload.is_some() => None,
                Operation::Put(object) if matches!(object.payload, Payload::Inline { .. }) => {
                    Some(ObjectNeeds::Replace)
                }
                Operation::Put(_) => Some(ObjectNeeds::Install),
                _ => None,
            };
            found.push(match (needs, changes_of(&record, location, None).pop()) {
                (Some(needs), Some(change)) => Found::Object(change, needs),
                _ => Found::Other(record, location),
            });
        }
        Ok(found)
    }

    fn take(&self, found: Vec<Found>, gathered: &mut Gathered, replayed: &mut Replayed) -> Result<()> {
        for found in found {
            replayed.records += 1;
            let stamp = match &found {
                Found::Object(change, _) => change.row.stamp,
                Found::Other(record, _) => record.stamp,
                Found::Damaged(entry, _) => entry.stamp,
            };
            replayed.greatest = replayed.greatest.max(stamp);
            match found {
                Found::Object(change, needs) => gathered.object(change, needs),
                Found::Damaged(entry, location) => {
                    replayed.damaged += 1;
                    match named_only(&entry, location) {
                        Some(change) if change.key.table() == Table::Objects => {
                            gathered.object(change, ObjectNeeds::Nothing);
                        }
                        Some(change) => {
                            self.put_others(gathered, true)?;
                            self.store.write(false, |writer| writer.apply(&change))?;
                        }
                        None => {}
                    }
                }
                Found::Other(record, location) => {
                    if let Operation::Put(object) = &record.operation {
                        if let (Some(upload), true) = (object.upload, self.files.is_some()) {
                            let chunks = ChunkList::open(self.segments.disk.as_ref(), &object.payload);
                            let kept = chunks.ok().map(|chunks| chunks.ids().into_iter().collect());
                            gathered.kept.insert(upload, kept);
                        }
                        let change = changes_of(&record, location, None).pop().expect("a Put has a row");
                        gathered.object(change, ObjectNeeds::Install);
                        continue;
                    }
                    // The objects of the bucket come before its end.
                    if record.operation == Operation::RemoveBucket {
                        self.put_objects(gathered)?;
                    }
                    gathered.others.push((record, location));
                }
            }
            if gathered.others.len() >= OTHERS_MAX {
                self.put_others(gathered, replayed.damaged > 0)?;
            }
            if gathered.bytes >= REPLAY_WINDOW_BYTES {
                self.put_objects(gathered)?;
            }
        }
        Ok(())
    }

    /// Uploads, parts and buckets, one after the other.
    fn put_others(&self, gathered: &mut Gathered, damage_seen: bool) -> Result<()> {
        let others = std::mem::take(&mut gathered.others);
        if others.is_empty() {
            return Ok(());
        }
        let seen = (gathered.from_start, damage_seen);
        let done = self.store.write(false, |writer| {
            let mut done = Vec::new();
            for (record, location) in others {
                done.extend(self.apply(writer, record, location, &mut gathered.kept, seen)?);
            }
            Ok(done)
        })?;
        for (files, done) in self.files.iter().flat_map(|files| done.iter().map(move |done| (files, done))) {
            files.apply(done).map_err(Error::io("files of a replayed record"))?;
        }
        Ok(())
    }

    /// Puts the objects that were gathered into the index, and the files in order that they speak of.
    fn put_objects(&self, gathered: &mut Gathered) -> Result<()> {
        let (changes, needs) = (std::mem::take(&mut gathered.changes), std::mem::take(&mut gathered.needs));
        gathered.bytes = 0;
        let mut to_do: Vec<(usize, Applied)> = Vec::new();
        self.store.write(false, |writer| {
            writer.apply_objects(&changes, |at, applied| {
                let is_large = |row: &&Row| matches!(row.kind, RowKind::Large(_));
                let rows = [&applied.replaced, &applied.view.hide, &applied.view.relink];
                let has_files = rows.into_iter().flatten().any(|row| is_large(&row));
                let is_known = needs[at] != ObjectNeeds::Nothing;
                if self.files.is_some() && is_known && (needs[at] == ObjectNeeds::Install || has_files) {
                    to_do.push((at, applied));
                }
            })
        })?;
        let Some(files) = self.files else { return Ok(()) };
        // In the order of the log.
        to_do.sort_unstable_by_key(|(at, _)| *at);
        for (at, Applied { replaced, view }) in to_do {
            let (location, is_member) = (changes[at].row.location, matches!(changes[at].row.kind, RowKind::Inline(_)));
            match self.segments.record(location, is_member) {
                Ok((record, _)) => {
                    let done = Done { record, replaced, view, frees: Vec::new() };
                    files.apply(&done).map_err(Error::io("files of a replayed record"))?;
                }
                Err(error) => return Err(Error::IndexBroken(format!("a record that was read before: {error}"))),
            }
        }
        Ok(())
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
            if let Some(record) = record_of(&bytes, entry) {
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

    /// Of uploads, parts and buckets.
    fn apply(
        &self,
        writer: &mut Writer<'_>,
        record: Record,
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
        let changes = changes_of(&record, location, upload);
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
        if let Operation::EndUpload { upload } = &record.operation {
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
        for change in &changes {
            writer.apply(change)?;
        }
        Ok(self.files.map(|_| Done { record, replaced, view: ViewChange::default(), frees }))
    }

    fn ids_of_parts(&self, writer: &mut Writer<'_>, upload: UploadId) -> Result<Vec<FileId>> {
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

/// The row of a record of which only the name is left (A10).
fn named_only(entry: &Entry, location: Location) -> Option<Change> {
    let object = RowKey::object(entry.bucket, &entry.key);
    let row = |kind| Row { stamp: entry.stamp, location, damaged: true, kind };
    Some(match entry.subject {
        Subject::Object(version) => Change { key: object, row: damaged_row(entry.stamp, location, version) },
        // That it is gone is all that its record said.
        Subject::Tombstone(version) => Change { key: object, row: row(RowKind::Tombstone(version)) },
        Subject::DeleteMarker(version) => {
            Change { key: object, row: row(RowKind::DeleteMarker { version, modified_ms: 0 }) }
        }
        Subject::Part(upload, part) => Change { key: RowKey::part(upload, part), row: part_row(entry.stamp, location) },
        Subject::UploadEnd(upload) => {
            Change { key: RowKey::upload(entry.bucket, &entry.key, upload), row: row(RowKind::UploadEnd) }
        }
        Subject::Upload(upload) => {
            let kind = RowKind::Upload { created_ms: 0, algorithm: None, newest_part: Stamp::ZERO, owner: None };
            Change { key: RowKey::upload(entry.bucket, &entry.key, upload), row: row(kind) }
        }
        Subject::Bucket | Subject::BucketEnd | Subject::Piece(_) => return None,
    })
}

/// A stretch of a segment, read in one go.
struct Stretch {
    from: u64,
    bytes: Vec<u8>,
}

impl Stretch {
    /// What the file gives of it: nothing, if reading fails or there is too much around the entries.
    fn read(segments: &Segments, name: SegmentName, entries: &[Entry]) -> Self {
        let from = entries.iter().map(|entry| u64::from(entry.offset)).min().unwrap_or(0);
        let end = entries.iter().map(|entry| u64::from(entry.offset) + u64::from(entry.length)).max().unwrap_or(0);
        let mut stretch = Self { from, bytes: Vec::new() };
        if end - from <= REPLAY_READ_BYTES + 2 * BATCH_BYTES_MAX
            && let Some(file) = segments.file(name.first, name.generation)
        {
            stretch.bytes.resize((end - from) as usize, 0);
            let read = file.read_at(&mut stretch.bytes, from).unwrap_or(0);
            stretch.bytes.truncate(read);
        }
        stretch
    }

    fn bytes(&self, entry: &Entry) -> Option<&[u8]> {
        let start = (u64::from(entry.offset) - self.from) as usize;
        self.bytes.get(start..start + entry.length as usize)
    }
}

/// The record in these bytes, if they are what was written.
fn record_of(bytes: &[u8], entry: &Entry) -> Option<Record> {
    if crc32c(bytes) != entry.crc32c {
        return None;
    }
    let record = if entry.is_member { unframe(bytes).ok()?.0 } else { Record::decode(bytes).ok()? };
    (record.stamp == entry.stamp).then_some(record)
}

fn part_row(stamp: Stamp, location: Location) -> Row {
    let listed = ListedPart { size: 0, etag: common::ETag::of_md5([0; 16]), modified_ms: 0 };
    Row { stamp, location, damaged: true, kind: RowKind::Part(listed) }
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
