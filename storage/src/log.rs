//! The log: append-only segments, each a standard tar file. The truth about every object of the disk.

pub mod compact;
pub mod recover;
pub mod scan;
pub mod spares;
pub mod writer;

use crate::disk::{Disk, File, read_exact};
use crate::format::footer::{self, Footer, FooterTail};
use crate::format::name::{SegmentName, SegmentNumber};
use crate::format::record::Record;
use crate::format::segment::HEADER_BYTES;
use crate::format::{Malformed, member};
use crate::index::rows::Location;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

pub const DIRECTORY: &str = "log";

/// Why a record could not be read at its address.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The segment is gone: compaction moved the record. Look the key up again.
    #[error("the segment is gone")]
    Moved,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The open files of the log. A reader holds a segment by its handle, so that unlinking never takes it away.
pub struct Segments {
    pub disk: Arc<dyn Disk>,
    open: RwLock<HashMap<(SegmentNumber, u16), OpenSegment>>,
}

struct OpenSegment {
    name: SegmentName,
    file: Arc<dyn File>,
    /// What compaction may count as the segment's size: the whole file, or of a compacted one the records alone, whose
    /// frame another compaction would write again.
    weight_bytes: Option<u64>,
}

impl Segments {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: RwLock::default() }
    }

    /// Adds a segment that is being written, or that need not be looked into.
    pub fn insert(&self, name: SegmentName, file: Arc<dyn File>) {
        self.add(OpenSegment { name, file, weight_bytes: None });
    }

    pub fn insert_sealed(&self, name: SegmentName, file: Arc<dyn File>, footer: &Footer) {
        let records = footer.entries.iter().map(|entry| u64::from(entry.length)).sum();
        self.add(OpenSegment { name, file, weight_bytes: (name.generation > 0).then_some(records) });
    }

    fn add(&self, segment: OpenSegment) {
        let key = (segment.name.first, segment.name.generation);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(key, segment);
    }

    /// Bytes of a segment that compaction may win back or must move. Of a compacted segment that this process has not yet
    /// looked into, the footer is read once.
    pub fn weight_bytes(&self, name: SegmentName) -> io::Result<u64> {
        let file = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            match open.get(&(name.first, name.generation)) {
                Some(OpenSegment { weight_bytes: Some(bytes), .. }) => return Ok(*bytes),
                Some(segment) => Arc::clone(&segment.file),
                None => return Ok(0),
            }
        };
        match read_footer(file.as_ref())? {
            Some((footer, _)) if name.generation > 0 => {
                self.insert_sealed(name, file, &footer);
                self.weight_bytes(name)
            }
            _ => file.length(),
        }
    }

    pub fn remove(&self, name: SegmentName) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&(name.first, name.generation));
    }

    /// All names, in the order of the log.
    pub fn names(&self) -> Vec<SegmentName> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = open.values().map(|segment| segment.name).collect();
        names.sort();
        names
    }

    pub fn file(&self, segment: SegmentNumber, generation: u16) -> Option<Arc<dyn File>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&(segment, generation)).map(|open| Arc::clone(&open.file))
    }

    /// The bytes of a record, unverified.
    pub fn read(&self, location: Location) -> Result<Vec<u8>, ReadError> {
        let file = self.file(location.segment, location.generation).ok_or(ReadError::Moved)?;
        let mut bytes = vec![0; location.length as usize];
        let offset = u64::from(location.offset);
        if file.read_at_cached(&mut bytes, offset)?.is_none() {
            bytes = read_exact(file.as_ref(), offset, bytes.len())?;
        }
        Ok(bytes)
    }

    /// The record at an address, if its bytes are in the page cache and sound. `None` says nothing: `record` tells.
    pub fn record_at_once(&self, location: Location, is_member: bool) -> Option<(Record, InlinePayload)> {
        let file = self.file(location.segment, location.generation)?;
        let mut bytes = vec![0; location.length as usize];
        file.read_at_cached(&mut bytes, u64::from(location.offset)).ok()??;
        decode(bytes, is_member).ok()
    }

    /// The record at an address, with its payload's place if it is inline; verified. What fails its checksum is read a
    /// second time past the page cache before it counts as damage (engine rule A19).
    pub fn record(&self, location: Location, is_member: bool) -> Result<(Record, InlinePayload), ReadError> {
        match decode(self.read(location)?, is_member) {
            Ok(found) => Ok(found),
            Err(_) => {
                let file = self.file(location.segment, location.generation).ok_or(ReadError::Moved)?;
                file.forget_cached(u64::from(location.offset), u64::from(location.length))?;
                Ok(decode(self.read(location)?, is_member)?)
            }
        }
    }
}

/// The bytes of a framed record and which of them are the payload; empty for records without one.
pub struct InlinePayload {
    pub frame: Vec<u8>,
    pub range: std::ops::Range<usize>,
}

pub fn decode(frame: Vec<u8>, is_member: bool) -> Result<(Record, InlinePayload), Malformed> {
    if is_member {
        let (record, range) = member::unframe(&frame)?;
        Ok((record, InlinePayload { frame, range }))
    } else {
        let record = Record::decode(&frame)?;
        Ok((record, InlinePayload { frame: Vec::new(), range: 0..0 }))
    }
}

/// Reads the footer of a sealed segment and where it begins; `None` if there is no sound one.
pub fn read_footer(file: &dyn File) -> io::Result<Option<(Footer, u64)>> {
    let length = file.length()?;
    let behind = footer::END_BYTES + footer::TAIL_BYTES as u64;
    if length < HEADER_BYTES + behind {
        return Ok(None);
    }
    let tail = read_exact(file, length - behind, footer::TAIL_BYTES)?;
    let Ok(tail) = FooterTail::decode(&tail) else { return Ok(None) };
    if tail.offset.saturating_add(512 + u64::from(tail.content_length)) > length {
        return Ok(None);
    }
    let content = read_exact(file, tail.offset + 512, tail.content_length as usize)?;
    Ok(tail.footer(&content).ok().map(|footer| (footer, tail.offset)))
}
