//! Compaction: a contiguous run of sealed segments becomes one, in the same order, stamps unchanged (engine rule A9).
//!
//! Order of writes: output written and synced under a temporary name, renamed, `log/` synced; the index takes the new
//! addresses and makes a durable checkpoint; the inputs are unlinked. Whatever a crash leaves is settled at start: the
//! output wins over its inputs, and `relocation` computes from both footers what the index must still learn.

use super::{DIRECTORY, Segments, read_footer};
use crate::disk::{Disk, File, SyncPoint, read_exact};
use crate::format::batch::{BatchId, Entry, Framed, Subject, seal};
use crate::format::footer::{self, Footer};
use crate::format::name::SegmentName;
use crate::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::index::keeper::Relocation;
use crate::index::rows::{Location, RowKey};
use crate::index::store::{Checkpoint, Liveness, SegmentUsage, Store};
use crate::limits::{BATCH_BYTES_MAX, COMPACTED_SEGMENTS_MAX, COMPACTION_SYNC_BYTES};
use crate::{Error, Result};
use common::checksum::crc32c;
use common::{Stamp, Term, UploadId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

/// Most segments of one run.
const RUN_SEGMENTS_MAX: usize = 16;
/// As many small neighbours as this are merged even when nothing in them is dead.
const SMALL_NEIGHBOURS: usize = 8;

/// A sealed segment as the choice sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub name: SegmentName,
    pub total_bytes: u64,
    pub live_bytes: u64,
    /// It could not be read when it was tried: no run goes over it.
    pub is_unfit: bool,
}

/// Why a compaction is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// At least half of a run is dead: each byte freed costs at most one byte moved.
    Order,
    /// The disk is full: whatever frees an eighth of a run, with an output that the reserve has room for.
    Space,
}

/// Picks the run of neighbours that frees most per byte read; or a row of segments so small that they are better one.
pub fn choose(candidates: &[Candidate], segment_bytes: u64, need: Need) -> Option<Vec<SegmentName>> {
    let live_bytes_max = match need {
        Need::Order => segment_bytes * COMPACTED_SEGMENTS_MAX / 2,
        Need::Space => segment_bytes,
    };
    let mut best: Option<(u64, &[Candidate])> = None;
    for start in 0..candidates.len() {
        for count in 1..=RUN_SEGMENTS_MAX.min(candidates.len() - start) {
            let run = &candidates[start..start + count];
            if run[count - 1].is_unfit {
                break;
            }
            let total: u64 = run.iter().map(|candidate| candidate.total_bytes).sum();
            let live: u64 = run.iter().map(|candidate| candidate.live_bytes).sum();
            if live > live_bytes_max {
                break;
            }
            let is_small = |candidate: &Candidate| candidate.total_bytes < segment_bytes / 4;
            let merges = count >= SMALL_NEIGHBOURS && run.iter().all(is_small);
            let frees_enough = match need {
                Need::Order => live * 2 <= total,
                Need::Space => live * 8 <= total * 7,
            };
            if !merges && !frees_enough {
                continue;
            }
            // Freed per read in thousandths; small neighbours count as if everything were freed.
            let score = if merges { 1000 } else { (total - live.min(total)) * 1000 / total.max(1) };
            // Alone and compacted to nothing already, or without anything dead: there is nothing to win.
            let pointless = !merges && total == live.min(total);
            let better = best.is_none_or(|(known, chosen)| (score, count) > (known, chosen.len()));
            if better && !pointless {
                best = Some((score, run));
            }
        }
    }
    best.map(|(_, run)| run.iter().map(|candidate| candidate.name).collect())
}

/// The key of the index that a record is about, and the upload for records of uploads and parts; `None` for buckets.
pub fn subject_key(entry: &Entry) -> Option<(RowKey, Option<UploadId>)> {
    match entry.subject {
        Subject::Object(version) | Subject::Tombstone(version) | Subject::DeleteMarker(version) => {
            Some((RowKey::identity(entry.bucket, &entry.key, version), None))
        }
        Subject::Upload(upload) | Subject::UploadEnd(upload) => {
            Some((RowKey::upload(entry.bucket, &entry.key, upload), Some(upload)))
        }
        Subject::Part(upload, part) => Some((RowKey::part(upload, part), Some(upload))),
        Subject::Bucket | Subject::BucketEnd | Subject::Piece(_) => None,
    }
}

fn at(name: SegmentName, entry: &Entry) -> Location {
    Location { segment: name.first, generation: name.generation, offset: entry.offset, length: entry.length }
}

/// What the index must learn when `output` takes the place of its inputs.
pub fn relocation(inputs: &[(SegmentName, Footer)], output: SegmentName, footer: &Footer) -> Relocation {
    let new: HashMap<Stamp, &Entry> = footer.entries.iter().map(|entry| (entry.stamp, entry)).collect();
    let mut relocation = Relocation { output: Some(output), ..Relocation::default() };
    for (name, input) in inputs {
        for entry in &input.entries {
            let Some((key, upload)) = subject_key(entry) else { continue };
            let from = at(*name, entry);
            match new.get(&entry.stamp) {
                Some(moved) => relocation.moves.push((key, from, at(output, moved))),
                None if matches!(entry.subject, Subject::Tombstone(_) | Subject::UploadEnd(_)) => {
                    relocation.drops.push((key, upload, from));
                }
                None => relocation.forgets.push((key, upload)),
            }
        }
    }
    relocation
}

/// A compaction whose output has its name, and whose inputs are still there.
pub struct Compacted {
    pub output: SegmentName,
    pub footer: Footer,
    pub inputs: Vec<(SegmentName, Footer)>,
}

pub struct Compactor<'a> {
    /// Segments that could not be read, in this run of the process.
    pub unfit: &'a Mutex<HashSet<SegmentName>>,
    pub disk: &'a Arc<dyn Disk>,
    pub segments: &'a Segments,
    pub store: &'a Store,
    pub disk_id: [u8; 16],
    pub nonce: u64,
}

impl Compactor<'_> {
    /// Writes the output of a run. The inputs stay until the index has learned `relocation`.
    pub fn write(&self, names: &[SegmentName]) -> Result<Compacted> {
        let (Some(first), Some(last)) = (names.first(), names.last()) else {
            return Err(Error::Refused("nothing to compact".into()));
        };
        let generation = names.iter().map(|name| name.generation).max().unwrap_or(0);
        let generation = generation.checked_add(1).ok_or_else(|| Error::Refused("compacted too often".into()))?;
        let output = SegmentName { first: first.first, last: last.last, generation };
        let mut inputs = Vec::new();
        for name in names {
            let file =
                self.segments.file(name.first, name.generation).ok_or(Error::Refused("a segment is gone".into()))?;
            let footer = read_footer(file.as_ref()).map_err(|error| self.cannot_read(*name, error))?;
            let unsound = || self.cannot_read(*name, io::Error::new(io::ErrorKind::InvalidData, "no sound footer"));
            inputs.push((*name, footer.ok_or_else(unsound)?.0));
        }
        let keep = self.keep(&inputs)?;
        let path = output.path();
        let temporary = format!("{path}.new");
        if self.disk.exists(&temporary).map_err(Error::io(&temporary))? {
            self.disk.unlink(&temporary).map_err(Error::io(&temporary))?;
        }
        let file = self.disk.create(&temporary).map_err(Error::io(&temporary))?;
        let written = self.fill(&file, output, &inputs, &keep);
        let footer = match written {
            Ok(footer) => footer,
            Err(error) => {
                self.disk.unlink(&temporary).ok();
                return Err(error);
            }
        };
        let failed = |error| Error::DiskFailed(format!("sync of {temporary}: {error}"));
        file.sync_data(SyncPoint::SegmentCompacted).map_err(failed)?;
        self.disk.rename(&temporary, &path).map_err(Error::io(&temporary))?;
        self.disk.sync_dir(DIRECTORY, SyncPoint::SegmentCompactedNamed).map_err(failed)?;
        self.segments.insert_sealed(output, file, &footer);
        Ok(Compacted { output, footer, inputs })
    }

    /// The stamps of the records that go on: live ones, and tombstones behind which dead records are left elsewhere.
    fn keep(&self, inputs: &[(SegmentName, Footer)]) -> Result<HashSet<Stamp>> {
        let mut records = Vec::new();
        let mut entries = Vec::new();
        for (name, footer) in inputs {
            for entry in &footer.entries {
                if let Some((key, upload)) = subject_key(entry) {
                    records.push((key, at(*name, entry)));
                    entries.push((entry, upload));
                }
            }
        }
        let liveness = self.store.liveness(&records)?;
        // Dead records of each key (or upload) that this run drops.
        let mut dropped: HashMap<(Option<&RowKey>, Option<UploadId>), u32> = HashMap::new();
        for (((key, _), (_, upload)), liveness) in records.iter().zip(&entries).zip(&liveness) {
            if *liveness == Liveness::Dead {
                *dropped.entry((upload.is_none().then_some(key), *upload)).or_default() += 1;
            }
        }
        let mut keep = HashSet::new();
        for (((key, _), (entry, upload)), liveness) in records.iter().zip(&entries).zip(&liveness) {
            let needed = match liveness {
                Liveness::Live => true,
                Liveness::Dead => false,
                Liveness::Tombstone { dead } => {
                    *dead > dropped.get(&(upload.is_none().then_some(key), *upload)).copied().unwrap_or(0)
                }
            };
            if needed {
                keep.insert(entry.stamp);
            }
        }
        Ok(keep)
    }

    /// The next choice goes around a segment that the disk does not give: others must not wait for it for ever.
    fn cannot_read(&self, name: SegmentName, source: io::Error) -> Error {
        tracing::error!(segment = %name, error = %source, "a segment cannot be read: it is not compacted");
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Error::Io { what: name.path(), source }
    }

    fn fill(
        &self,
        file: &Arc<dyn File>,
        output: SegmentName,
        inputs: &[(SegmentName, Footer)],
        keep: &HashSet<Stamp>,
    ) -> Result<Footer> {
        let header = SegmentHeader { number: output.first, disk: self.disk_id, run: Term(0), nonce: self.nonce };
        file.write_at(&[IoSlice::new(&header.encode())], 0).map_err(Error::io("compaction"))?;
        let mut end = HEADER_BYTES;
        let mut entries: Vec<Entry> = Vec::new();
        let mut buckets = BTreeMap::new();
        let mut framed = Vec::new();
        let mut framed_bytes = 0;
        let mut number = 0;
        let mut unsynced_bytes = 0;
        let mut flush = |framed: &mut Vec<Framed>, entries: &mut Vec<Entry>, end: &mut u64| -> Result<()> {
            if framed.is_empty() {
                return Ok(());
            }
            number += 1;
            let id = BatchId {
                segment: output.first,
                run: Term(0),
                number,
                start: *end,
                stable: Stamp::ZERO,
                nonce: self.nonce,
            };
            let sealed = seal(id, std::mem::take(framed), 0);
            let slices: Vec<IoSlice<'_>> = sealed.slices.iter().map(|slice| IoSlice::new(slice)).collect();
            file.write_at(&slices, *end).map_err(Error::io("compaction"))?;
            *end += sealed.length;
            entries.extend(sealed.entries);
            // In small steps: a commit's fdatasync must not wait for all of the output.
            unsynced_bytes += sealed.length;
            if unsynced_bytes >= COMPACTION_SYNC_BYTES {
                unsynced_bytes = 0;
                file.sync_data(SyncPoint::SegmentCompacted)
                    .map_err(|error| Error::DiskFailed(format!("sync of a compaction: {error}")))?;
            }
            Ok(())
        };
        for (name, footer) in inputs {
            for (id, stamp, record) in &footer.buckets {
                buckets.insert(*id, (*stamp, record.clone()));
            }
            let input =
                self.segments.file(name.first, name.generation).ok_or(Error::Refused("a segment is gone".into()))?;
            for entry in footer.entries.iter().filter(|entry| keep.contains(&entry.stamp)) {
                // Copied as it is, damaged or not: its own checksum goes on judging it.
                let read = read_exact(input.as_ref(), u64::from(entry.offset), entry.length as usize);
                let bytes = read.and_then(|bytes| reread_if_damaged(input.as_ref(), entry, bytes));
                let bytes = bytes.map_err(|error| self.cannot_read(*name, error))?;
                framed_bytes += bytes.len() as u64;
                framed.push(Framed {
                    stamp: entry.stamp,
                    bucket: entry.bucket,
                    key: entry.key.clone(),
                    subject: entry.subject,
                    bytes,
                    is_member: entry.is_member,
                    crc32c: Some(entry.crc32c),
                });
                if framed_bytes >= BATCH_BYTES_MAX / 8 {
                    flush(&mut framed, &mut entries, &mut end)?;
                    framed_bytes = 0;
                }
            }
        }
        flush(&mut framed, &mut entries, &mut end)?;
        let footer = Footer {
            nonce: self.nonce,
            run: Term(0),
            first_batch: 0,
            last_batch: 0,
            buckets: buckets.into_iter().map(|(id, (stamp, record))| (id, stamp, record)).collect(),
            // A disk with holes that nobody accepted does not open: what is known here is accepted, and need not be again.
            holes: Vec::new(),
            entries,
        };
        file.write_at(&[IoSlice::new(&footer::encode(&footer, end))], end).map_err(Error::io("compaction"))?;
        Ok(footer)
    }
}

/// Bytes that do not match their checksum are read once more past the page cache, before the input goes.
fn reread_if_damaged(input: &dyn File, entry: &Entry, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if crc32c(&bytes) == entry.crc32c {
        return Ok(bytes);
    }
    let (offset, length) = (u64::from(entry.offset), u64::from(entry.length));
    input.forget_cached(offset, length)?;
    let again = read_exact(input, offset, length as usize)?;
    if crc32c(&again) != entry.crc32c {
        tracing::error!(key = entry.key, stamp = %entry.stamp, "compaction met a damaged record and keeps it as it is");
    }
    Ok(again)
}

/// The sealed segments that compaction may touch: wholly behind the last durable checkpoint, so that no replay needs them.
pub fn candidates(
    segments: &Segments,
    usage: &HashMap<(crate::format::name::SegmentNumber, u16), SegmentUsage>,
    durable: Checkpoint,
    unfit: &HashSet<SegmentName>,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for name in segments.names() {
        if name.last >= durable.segment {
            continue;
        }
        let live = usage.get(&(name.first, name.generation)).copied().unwrap_or_default();
        candidates.push(Candidate {
            name,
            total_bytes: segments.weight_bytes(name).unwrap_or(0),
            live_bytes: live.live_bytes,
            is_unfit: unfit.contains(&name),
        });
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::name::SegmentNumber;

    fn candidates(of: &[(u64, u64)]) -> Vec<Candidate> {
        let one = |(number, &(total_bytes, live_bytes)): (usize, &(u64, u64))| Candidate {
            name: SegmentName::fresh(SegmentNumber(number as u32 + 1)),
            total_bytes,
            live_bytes,
            is_unfit: false,
        };
        of.iter().enumerate().map(one).collect()
    }

    fn chosen(of: &[(u64, u64)]) -> Vec<u32> {
        chosen_for(Need::Order, of)
    }

    fn chosen_for(need: Need, of: &[(u64, u64)]) -> Vec<u32> {
        choose(&candidates(of), 1 << 20, need).unwrap_or_default().iter().map(|name| name.first.0).collect()
    }

    #[test]
    fn the_emptiest_run_is_chosen_and_full_segments_are_left_alone() {
        let mib = 1 << 20;
        assert_eq!(chosen(&[(mib, mib), (mib, mib * 9 / 10)]), Vec::<u32>::new());
        assert_eq!(chosen(&[(mib, mib), (mib, mib / 10), (mib, mib)]), vec![2]);
        assert_eq!(chosen(&[(mib, mib / 10), (mib, mib / 10), (mib, mib)]), vec![1, 2]);
        assert_eq!(chosen(&[(10_000, 9_000); 8]), (1..=8).collect::<Vec<_>>());
        assert_eq!(chosen(&[(10_000, 9_000); 7]), Vec::<u32>::new());
    }

    #[test]
    fn no_run_goes_over_a_segment_that_cannot_be_read() {
        let mib = 1 << 20;
        let mut all = candidates(&[(mib, mib / 10), (mib, 0), (mib, mib / 10), (mib, mib / 10)]);
        all[1].is_unfit = true;
        let chosen = choose(&all, mib, Need::Order).unwrap_or_default();
        assert_eq!(chosen.iter().map(|name| name.first.0).collect::<Vec<_>>(), vec![3, 4]);
    }

    #[test]
    fn a_full_disk_is_content_with_less_and_writes_no_more_than_it_has_room_for() {
        let mib = 1 << 20;
        let some_dead = [(mib, mib), (mib, mib * 3 / 4), (mib, mib)];
        assert_eq!(chosen(&some_dead), Vec::<u32>::new());
        assert_eq!(chosen_for(Need::Space, &some_dead), vec![2]);
        assert_eq!(chosen_for(Need::Space, &[(mib, mib * 9 / 10)]), Vec::<u32>::new());
        let half_dead = [(mib, mib / 2), (mib, mib / 2), (mib, mib / 2)];
        assert_eq!(chosen(&half_dead), vec![1, 2, 3]);
        assert_eq!(chosen_for(Need::Space, &half_dead), vec![1, 2], "the third has no room");
    }
}
