//! The active segment: where the committer appends.

use super::Segments;
use super::spares::{Claim, Spares};
use crate::disk::{Disk, File, SyncPoint};
use crate::format::batch::{BatchId, Entry, Framed, SealedBatch, seal};
use crate::format::footer::{self, Footer};
use crate::format::name::{SegmentName, SegmentNumber};
use crate::format::record::BucketRecord;
use crate::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::{Error, Result};
use common::{BucketId, Random, Stamp, Term};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

/// The buckets whose records a segment may hold, for its footer.
pub type BucketTable = BTreeMap<BucketId, (Stamp, BucketRecord)>;

pub struct LogWriter {
    disk: Arc<dyn Disk>,
    segments: Arc<Segments>,
    spares: Arc<Spares>,
    random: Arc<dyn Random>,
    disk_id: [u8; 16],
    run: Term,
    segment_bytes: u64,
    next_segment: SegmentNumber,
    next_batch: u64,
    active: Option<Active>,
}

struct Active {
    name: SegmentName,
    file: Arc<dyn File>,
    nonce: u64,
    end: u64,
    first_batch: u64,
    /// Bytes that the footer will take for what is in here.
    footer_bytes: u64,
    entries: Vec<Entry>,
}

/// A batch that is on the disk.
pub struct Written {
    pub name: SegmentName,
    pub start: u64,
    pub end: u64,
    pub number: u64,
    pub entries: Vec<Entry>,
}

pub struct WriterParts {
    pub disk: Arc<dyn Disk>,
    pub segments: Arc<Segments>,
    pub spares: Arc<Spares>,
    pub random: Arc<dyn Random>,
    pub disk_id: [u8; 16],
    pub run: Term,
    pub segment_bytes: u64,
    pub next_segment: SegmentNumber,
}

impl LogWriter {
    pub fn new(parts: WriterParts) -> Self {
        let WriterParts { disk, segments, spares, random, disk_id, run, segment_bytes, next_segment } = parts;
        Self { disk, segments, spares, random, disk_id, run, segment_bytes, next_segment, next_batch: 1, active: None }
    }

    /// Makes sure that a batch of at most `bytes`, with what it adds to the footer, fits into the active segment; seals it
    /// and takes the next one if not.
    /// `OutOfSpace` leaves everything as it was.
    pub fn make_room(&mut self, bytes: u64, footer_bytes: u64, claim: Claim, buckets: &BucketTable) -> Result<()> {
        if let Some(active) = &self.active {
            let footer_bytes = active.footer_bytes + footer_bytes + buckets.len() as u64 * 96 + 4096;
            if active.end + bytes + footer_bytes <= self.segment_bytes {
                return Ok(());
            }
        }
        let spare = self.spares.take(claim)?;
        let activated = self.seal_active(buckets).and_then(|()| self.activate(&spare));
        // A failed disk takes nothing any more, and the spare may have its new name by then.
        if activated.is_err() && !matches!(activated, Err(Error::DiskFailed(_))) {
            self.spares.give_back(spare);
        }
        activated
    }

    fn activate(&mut self, spare: &str) -> Result<()> {
        let name = SegmentName::fresh(self.next_segment);
        let path = name.path();
        let failed = |what: &str| Error::io(format!("{what} {path}"));
        let nonce = self.random.u64();
        let file = self.disk.open(spare).map_err(failed("open"))?;
        let header = SegmentHeader { number: name.first, disk: self.disk_id, run: self.run, nonce };
        file.write_at(&[IoSlice::new(&header.encode())], 0).map_err(failed("write header of"))?;
        self.disk.rename(spare, &path).map_err(failed("name"))?;
        // Without this the batches of a whole segment would hang on a name that a power cut takes back.
        self.disk
            .sync_dir(super::DIRECTORY, SyncPoint::SegmentNamed)
            .map_err(|error| Error::DiskFailed(format!("sync of log/: {error}")))?;
        self.segments.insert(name, Arc::clone(&file));
        self.next_segment = SegmentNumber(name.first.0 + 1);
        self.active = Some(Active {
            name,
            file,
            nonce,
            end: HEADER_BYTES,
            first_batch: self.next_batch,
            footer_bytes: 0,
            entries: Vec::new(),
        });
        Ok(())
    }

    /// Appends one batch and makes it durable: the commit point of everything in it. `make_room` came before.
    pub fn append(&mut self, framed: Vec<Framed>, stable: Stamp, modified_s: u64) -> Result<Written> {
        let active = self.active.as_mut().expect("make_room came before");
        let id = BatchId {
            segment: active.name.first,
            run: self.run,
            number: self.next_batch,
            start: active.end,
            stable,
            nonce: active.nonce,
        };
        let SealedBatch { slices, length, entries } = seal(id, framed, modified_s);
        let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        active.file.write_at(&slices, active.end).map_err(Error::io("append to the log"))?;
        active
            .file
            .sync_data(SyncPoint::Batch)
            .map_err(|error| Error::DiskFailed(format!("fdatasync of {}: {error}", active.name)))?;
        active.end += length;
        active.footer_bytes += entries.iter().map(|entry| entry.key.len() as u64 + 80).sum::<u64>();
        active.entries.extend(entries.iter().cloned());
        self.next_batch += 1;
        Ok(Written { name: active.name, start: id.start, end: active.end, number: id.number, entries })
    }

    /// Gives the active segment its footer and cuts it to length. Synced, because compaction's restart reads the footers of
    /// its inputs; what a power cut leaves open before that, recovery seals.
    pub fn seal_active(&mut self, buckets: &BucketTable) -> Result<()> {
        // On an error the segment stays the active one, and the next attempt seals it.
        let Some(active) = &self.active else { return Ok(()) };
        let footer = Footer {
            nonce: active.nonce,
            run: self.run,
            first_batch: active.first_batch,
            last_batch: self.next_batch.saturating_sub(1),
            buckets: buckets.iter().map(|(id, (stamp, record))| (*id, *stamp, record.clone())).collect(),
            holes: Vec::new(),
            entries: active.entries.clone(),
        };
        let bytes = footer::encode(&footer, active.end);
        active.file.write_at(&[IoSlice::new(&bytes)], active.end).map_err(Error::io("write a footer"))?;
        active.file.set_len(active.end + bytes.len() as u64).map_err(Error::io("cut a segment"))?;
        let synced = active.file.sync_data(SyncPoint::SegmentSealed);
        synced.map_err(|error| Error::DiskFailed(format!("fdatasync of {}: {error}", active.name)))?;
        self.active = None;
        Ok(())
    }

    /// The number of the last batch that was written; 0 before the first.
    pub fn last_batch(&self) -> u64 {
        self.next_batch - 1
    }

    pub fn has_ordinary_space(&self) -> bool {
        self.spares.has_ordinary()
    }
}
