//! What happens to the log at start, before anything is served (engine rule A4).
//!
//! Every segment without a sound footer is rewritten: its valid batches at the same offsets into a new file, sealed,
//! synced, renamed over the old one. So a torn tail, stale bytes behind it, and bytes that only the page cache had are
//! all settled by one mechanism. A damaged original stays in `quarantine/`.

use super::scan::{Scanned, scan};
use super::writer::BucketTable;
use super::{DIRECTORY, Segments, read_footer};
use crate::disk::{Disk, File, SyncPoint, read_salvaging};
use crate::format::batch::{Entry, Subject};
use crate::format::footer::{self, Footer};
use crate::format::name::{SegmentName, SegmentNumber};
use crate::format::record::{Operation, Record};
use crate::format::segment::HEADER_BYTES;
use crate::index::store::Checkpoint;
use crate::reserve::Reserve;
use crate::{Error, Result};
use common::Term;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// The log, brought into order.
pub struct Recovered {
    /// All segments, in order.
    pub names: Vec<SegmentName>,
    /// Those that the checkpoint does not cover, with their footers: what is to be replayed. Without a checkpoint, all.
    pub sealed: Vec<(SegmentName, Footer)>,
    /// Inputs of compactions whose output is there too: to be removed when the index knows.
    pub superseded: Vec<SegmentName>,
}

/// Brings the log into order. Segments that the checkpoint covers are only opened: a start costs what was written since.
/// `buckets` are those that the index knows.
pub fn recover(
    segments: &Segments,
    reserve: &Reserve,
    checkpoint: Option<Checkpoint>,
    mut buckets: BucketTable,
) -> Result<Recovered> {
    let disk = &segments.disk;
    let (mut names, superseded) = settle_names(disk.as_ref()).map_err(Error::io("read log/"))?;
    let mut sealed: Vec<(SegmentName, Footer)> = Vec::new();
    let mut empty = Vec::new();
    for name in &names {
        let file = disk.open(&name.path()).map_err(Error::io(name.path()))?;
        if checkpoint.is_some_and(|checkpoint| name.last < checkpoint.segment) {
            segments.insert(*name, file);
            continue;
        }
        // A footer that cannot be read is none: the batches say what it said.
        let found = read_footer(file.as_ref()).unwrap_or_else(|error| {
            tracing::error!(%error, segment = %name, "a footer cannot be read");
            None
        });
        let (file, footer) = match found {
            Some((footer, _)) => (file, footer),
            None => {
                let durable_until = durable_until(*name, checkpoint);
                match reseal(disk, reserve, *name, file, durable_until, &buckets)? {
                    Some(resealed) => resealed,
                    None => {
                        empty.push(*name);
                        continue;
                    }
                }
            }
        };
        for (id, stamp, record) in &footer.buckets {
            buckets.insert(*id, (*stamp, record.clone()));
        }
        segments.insert_sealed(*name, file, &footer);
        sealed.push((*name, footer));
    }
    find_gaps(&mut sealed);
    names.retain(|name| !empty.contains(name));
    Ok(Recovered { names, sealed, superseded })
}

/// The segments that count, in order, and those that do not: where output and inputs of a compaction are both there the
/// output wins (engine rule A9). Half-written files, which have no segment's name, are removed.
fn settle_names(disk: &dyn Disk) -> io::Result<(Vec<SegmentName>, Vec<SegmentName>)> {
    let mut names = Vec::new();
    for entry in disk.list(DIRECTORY)? {
        match SegmentName::parse(&entry.name) {
            Some(name) => names.push(name),
            None if entry.name.ends_with(".new") => disk.unlink(&format!("{DIRECTORY}/{}", entry.name))?,
            None => {}
        }
    }
    names.sort();
    let replaced: Vec<_> =
        names.iter().copied().filter(|name| names.iter().any(|other| other.replaces(name))).collect();
    names.retain(|name| !replaced.contains(name));
    Ok((names, replaced))
}

/// How much of a segment is known to have been acknowledged.
fn durable_until(name: SegmentName, checkpoint: Option<Checkpoint>) -> u64 {
    match checkpoint {
        Some(checkpoint) if checkpoint.segment == name.first => u64::from(checkpoint.offset),
        _ => 0,
    }
}

/// Batches of a run are counted without gaps. Where one segment does not begin with the batch after the last one of the
/// segment before, acknowledged batches are gone, names and all: what looked like a torn tail was damage.
fn find_gaps(sealed: &mut [(SegmentName, Footer)]) {
    for at in 1..sealed.len() {
        let (before, after) = sealed.split_at_mut(at);
        let (Some((name_before, before)), Some((name, after))) = (before.last(), after.first_mut()) else { continue };
        let counted = name_before.generation == 0 && name.generation == 0 && before.run == after.run;
        let follows = !counted || after.first_batch == before.last_batch + 1;
        if !follows && !after.holes.contains(&(0, 0)) {
            tracing::error!(segment = %name, "batches {} to {} of the log are gone", before.last_batch + 1, after.first_batch);
            // An empty hole at the segment's start stands for what is missing before it.
            after.holes.push((0, 0));
        }
    }
}

/// Rewrites a segment without a footer. `None` if nothing was ever committed to it: then it is removed.
fn reseal(
    disk: &Arc<dyn Disk>,
    reserve: &Reserve,
    name: SegmentName,
    file: Arc<dyn File>,
    durable_until: u64,
    known: &BucketTable,
) -> Result<Option<(Arc<dyn File>, Footer)>> {
    let path = name.path();
    let length = file.length().map_err(Error::io(&path))?;
    let (bytes, lost_until) = read_salvaging(file.as_ref(), 0, length as usize).map_err(Error::io(&path))?;
    // Whatever the disk does not give back was perhaps acknowledged: that is damage, and no torn tail.
    let scanned = scan(name.first, &bytes, durable_until.max(lost_until));
    if scanned.batches.is_empty() && scanned.holes.is_empty() {
        disk.unlink(&path).map_err(Error::io(&path))?;
        disk.sync_dir(DIRECTORY, SyncPoint::SegmentRecoveredNamed).map_err(Error::io(DIRECTORY))?;
        return Ok(None);
    }
    if scanned.is_damaged() {
        tracing::error!(segment = %name, holes = ?scanned.holes, "damage in the log: the original is kept in quarantine/");
        disk.link(&path, &format!("quarantine/{name}")).or_else(already_there).map_err(Error::io("quarantine"))?;
    }
    let footer = footer_of(&scanned, &bytes, known);
    let end = scanned.end.min(length);
    let mut content = bytes;
    content.truncate(end as usize);
    content.resize(scanned.end as usize, 0);
    content.extend_from_slice(&footer::encode(&footer, scanned.end));

    let temporary = format!("{path}.new");
    // A full disk must start all the same.
    let new = reserve.with_space(|| write_new(disk.as_ref(), &temporary, &content)).map_err(Error::io(&temporary))?;
    let failed = |error: io::Error| Error::DiskFailed(format!("sync of {temporary}: {error}"));
    new.sync_data(SyncPoint::SegmentRecovered).map_err(failed)?;
    disk.rename(&temporary, &path).map_err(Error::io(&temporary))?;
    disk.sync_dir(DIRECTORY, SyncPoint::SegmentRecoveredNamed).map_err(failed)?;
    tracing::info!(segment = %name, batches = scanned.batches.len(), bytes = scanned.end, "sealed a segment of an unclean stop");
    Ok(Some((new, footer)))
}

fn write_new(disk: &dyn Disk, path: &str, content: &[u8]) -> io::Result<Arc<dyn File>> {
    if disk.exists(path)? {
        disk.unlink(path)?;
    }
    let file = disk.create(path)?;
    file.write_at(&[IoSlice::new(content)], 0)?;
    Ok(file)
}

fn already_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn footer_of(scanned: &Scanned, bytes: &[u8], known: &BucketTable) -> Footer {
    let mut buckets = known.clone();
    let entries: Vec<Entry> = scanned.batches.iter().flat_map(|batch| batch.entries.iter().cloned()).collect();
    for entry in entries.iter().filter(|entry| entry.subject == Subject::Bucket) {
        let region = bytes.get(entry.offset as usize..(entry.offset + entry.length) as usize);
        if let Some(Ok(Record { stamp, bucket, operation: Operation::PutBucket(record), .. })) =
            region.map(Record::decode)
        {
            buckets.insert(bucket, (stamp, record));
        }
    }
    Footer {
        nonce: scanned.nonce,
        run: scanned.batches.last().map_or(Term(0), |batch| batch.id.run),
        first_batch: scanned.batches.first().map_or(0, |batch| batch.id.number),
        last_batch: scanned.batches.last().map_or(0, |batch| batch.id.number),
        buckets: buckets.into_iter().map(|(id, (stamp, record))| (id, stamp, record)).collect(),
        holes: scanned.holes.clone(),
        entries,
    }
}

/// The number that the next segment of this disk gets.
pub fn next_segment(names: &[SegmentName]) -> SegmentNumber {
    SegmentNumber(names.last().map_or(1, |name| name.last.0 + 1))
}

/// The first address behind all of the log.
pub fn end_of(names: &[SegmentName]) -> (SegmentNumber, u32) {
    (next_segment(names), HEADER_BYTES as u32)
}
