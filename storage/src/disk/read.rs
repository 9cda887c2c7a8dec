//! Reading data files, verified: no byte leaves before the CRC32C of its block was compared.

use super::{Disk, File};
use crate::format::Malformed;
use crate::format::name::FileId;
use crate::format::record::{Chunk, Payload};
use crate::format::table::{self, ListedChunk};
use crate::limits::BLOCK_BYTES;
use common::checksum::crc32c;
use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No file has this id. If the index still names it, it is damage; otherwise look the key up again (A1).
    #[error("data file {0} is missing")]
    Missing(FileId),
    /// A block does not match its checksum, twice.
    #[error("data file {id} is damaged at offset {offset}")]
    Damaged { id: FileId, offset: u64 },
    #[error("data file {id}: {source}")]
    Io { id: FileId, source: io::Error },
}

/// Opens a data file wherever its id lives: installed, still staged, or dying under a reader.
pub fn open_data(disk: &dyn Disk, id: FileId) -> Result<Arc<dyn File>, DataError> {
    // Twice, because the file may move from one place to the other between two looks.
    for _ in 0..2 {
        for path in [id.path(), id.staging_path(), dying_path(id)] {
            match disk.open(&path) {
                Ok(file) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(DataError::Io { id, source }),
            }
        }
    }
    Err(DataError::Missing(id))
}

/// Where a file waits for the readers of the object that it belonged to.
pub fn dying_path(id: FileId) -> String {
    format!("staging/{id}.dying")
}

/// A stretch of a data file of `length` bytes, whole blocks, with the checksum of each.
pub struct Blocks<'a> {
    pub file: &'a dyn File,
    pub id: FileId,
    range: Range<u64>,
    sums: &'a [u32],
}

impl<'a> Blocks<'a> {
    /// Those that `range` touches. `sums` begins with the block that holds `range.start`.
    pub fn around(file: &'a dyn File, id: FileId, length: u64, range: &Range<u64>, sums: &'a [u32]) -> Self {
        let block = BLOCK_BYTES as u64;
        let range = range.start / block * block..range.end.next_multiple_of(block).min(length);
        Self { file, id, range, sums }
    }

    pub fn length(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    /// Reads and verifies without waiting. False where that cannot be done, whatever the reason: `read` finds out.
    pub fn read_cached(&self, bytes: &mut [u8]) -> bool {
        let read = self.file.read_at_cached(bytes, self.range.start);
        matches!(read, Ok(Some(count)) if self.first_bad(&bytes[..count]).is_none())
    }

    /// Reads and verifies. `bytes` has the stretch's length.
    pub fn read(&self, bytes: &mut [u8]) -> Result<(), DataError> {
        if self.read_cached(bytes) {
            return Ok(());
        }
        let Range { start, end } = self.range;
        let failed = |source| DataError::Io { id: self.id, source };
        let count = self.file.read_at(bytes, start).map_err(failed)?;
        if self.first_bad(&bytes[..count]).is_none() {
            return Ok(());
        }
        // A second time past the page cache, before anything counts as damage (A19).
        self.file.forget_cached(start, end - start).map_err(failed)?;
        let count = self.file.read_at(bytes, start).map_err(failed)?;
        match self.first_bad(&bytes[..count]) {
            Some(at) => Err(DataError::Damaged { id: self.id, offset: start + (at * BLOCK_BYTES) as u64 }),
            None => Ok(()),
        }
    }

    fn first_bad(&self, read: &[u8]) -> Option<usize> {
        first_bad_block(read, self.length(), self.sums)
    }
}

fn first_bad_block(read: &[u8], wanted: usize, blocks: &[u32]) -> Option<usize> {
    if read.len() < wanted {
        return Some(read.len() / BLOCK_BYTES);
    }
    let mut sums = blocks.iter();
    read.chunks(BLOCK_BYTES).position(|block| sums.next() != Some(&crc32c(block)))
}

/// The chunks of an object, with a way to each one's block checksums.
pub enum ChunkList {
    Listed(Vec<Chunk>),
    Table { table: Chunk, file: Arc<dyn File>, chunks: Vec<ListedChunk> },
}

impl ChunkList {
    pub fn open(disk: &dyn Disk, payload: &Payload) -> Result<Self, DataError> {
        match payload {
            Payload::Inline { .. } => Ok(Self::Listed(Vec::new())),
            Payload::Chunks(chunks) => Ok(Self::Listed(chunks.clone())),
            Payload::Table { table, chunks } => {
                let file = open_data(disk, table.id)?;
                let bytes = read_chunk(file.as_ref(), table, table::list_range(*chunks))?;
                let malformed = |_: Malformed| DataError::Damaged { id: table.id, offset: 0 };
                let chunks = table::decode_list(&bytes, *chunks).map_err(malformed)?;
                Ok(Self::Table { table: table.clone(), file, chunks })
            }
        }
    }

    pub fn count(&self) -> usize {
        match self {
            Self::Listed(chunks) => chunks.len(),
            Self::Table { chunks, .. } => chunks.len(),
        }
    }

    pub fn id_and_length(&self, at: usize) -> (FileId, u64) {
        match self {
            Self::Listed(chunks) => (chunks[at].id, chunks[at].length),
            Self::Table { chunks, .. } => (chunks[at].id, chunks[at].length),
        }
    }

    /// The checksums of some blocks of a chunk, where they stand in the record.
    pub fn listed_blocks(&self, at: usize, blocks: Range<u64>) -> Option<&[u32]> {
        let Self::Listed(chunks) = self else { return None };
        chunks[at].blocks.get(blocks.start as usize..blocks.end as usize)
    }

    /// The checksums of some blocks of a chunk. Those of a table are read from its file.
    pub fn blocks(&self, at: usize, blocks: Range<u64>) -> Result<Cow<'_, [u32]>, DataError> {
        match self {
            Self::Listed(chunks) => {
                let found = self.listed_blocks(at, blocks);
                found.map(Cow::Borrowed).ok_or(DataError::Damaged { id: chunks[at].id, offset: 0 })
            }
            Self::Table { table, file, chunks } => {
                let range = table::blocks_range(chunks.len() as u32, &chunks[at], blocks);
                Ok(Cow::Owned(table::decode_blocks(&read_chunk(file.as_ref(), table, range)?)))
            }
        }
    }

    /// All ids, that of the table included.
    pub fn ids(&self) -> Vec<FileId> {
        let table = match self {
            Self::Listed(_) => None,
            Self::Table { table, .. } => Some(table.id),
        };
        (0..self.count()).map(|at| self.id_and_length(at).0).chain(table).collect()
    }

    /// The whole list with every checksum, for a copy or a completion.
    pub fn to_chunks(&self) -> Result<Vec<Chunk>, DataError> {
        match self {
            Self::Listed(chunks) => Ok(chunks.clone()),
            Self::Table { chunks, .. } => (0..chunks.len())
                .map(|at| {
                    let (id, length) = self.id_and_length(at);
                    Ok(Chunk { id, length, blocks: self.blocks(at, 0..table::blocks_of(length))?.into_owned() })
                })
                .collect(),
        }
    }
}

/// Reads a range of a file whose block checksums are at hand.
fn read_chunk(file: &dyn File, chunk: &Chunk, range: Range<u64>) -> Result<Vec<u8>, DataError> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let block = BLOCK_BYTES as u64;
    let blocks = (range.start / block) as usize..range.end.div_ceil(block) as usize;
    let sums = chunk.blocks.get(blocks).ok_or(DataError::Damaged { id: chunk.id, offset: range.start })?;
    let blocks = Blocks::around(file, chunk.id, chunk.length, &range, sums);
    let mut bytes = vec![0; blocks.length()];
    blocks.read(&mut bytes)?;
    let before = (range.start % block) as usize;
    bytes.truncate(before + (range.end - range.start) as usize);
    bytes.drain(..before);
    Ok(bytes)
}
