//! The bytes of a large object, on their way from its files to whoever reads them.

use super::data_error;
use crate::disk::File;
use crate::disk::buffers::Buffer;
use crate::disk::read::{Blocks, ChunkList, DataError, open_data};
use crate::files::Pin;
use crate::format::name::FileId;
use crate::index::rows::RowKey;
use crate::limits::{BLOCK_BYTES, READ_AHEAD_BYTES, READ_STEP_BYTES, TABLE_BLOCKS_MAX};
use crate::store::DiskStore;
use crate::{Error, Result};
use bytes::Bytes;
use common::Stamp;
use futures::Stream;
use std::ops::Range;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// Verified bytes. What the page cache holds is read where the stream is polled; only what has to be waited for goes to a
/// thread that may wait.
pub enum FileBytes {
    Ready(Box<Reading>),
    Waiting(JoinHandle<(Result<Bytes>, Box<Reading>)>),
    Ended,
}

/// Whose bytes they are.
pub struct Of {
    pub store: Arc<DiskStore>,
    pub key: RowKey,
    pub stamp: Stamp,
    /// Keeps the files.
    #[expect(dead_code, reason = "held, not used")]
    pub pin: Pin,
}

impl FileBytes {
    /// `first` is the open file of the first chunk.
    pub fn new(of: Of, chunks: Arc<ChunkList>, first: Option<Arc<dyn File>>, range: Range<u64>) -> Self {
        let place = Place { chunk: 0, offset: range.start, left: range.end - range.start };
        let file = first.map(|file| (0, file));
        Self::Ready(Box::new(Reading { of, chunks, place, file, table: None, ahead_to: 0 }))
    }
}

impl Stream for FileBytes {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut *self, Self::Ended) {
                Self::Ready(mut reading) if reading.place.left > 0 => {
                    if let Some(bytes) = reading.next_cached() {
                        *self = Self::Ready(reading);
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    *self = Self::Waiting(tokio::task::spawn_blocking(move || (reading.next(), reading)));
                }
                Self::Ready(_) | Self::Ended => return Poll::Ready(None),
                Self::Waiting(mut handle) => {
                    let ended = match Pinned::new(&mut handle).poll(context) {
                        Poll::Ready(ended) => ended,
                        Poll::Pending => {
                            *self = Self::Waiting(handle);
                            return Poll::Pending;
                        }
                    };
                    return Poll::Ready(Some(match ended {
                        Ok((read, reading)) => {
                            if read.is_ok() {
                                *self = Self::Ready(reading);
                            }
                            read
                        }
                        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                        Err(_) => Err(Error::Stopping),
                    }));
                }
            }
        }
    }
}

pub struct Reading {
    of: Of,
    chunks: Arc<ChunkList>,
    place: Place,
    /// The open file of a chunk.
    file: Option<(usize, Arc<dyn File>)>,
    table: Option<TableBlocks>,
    /// Up to where the disk was told to read ahead in this file.
    ahead_to: u64,
}

impl Reading {
    /// The next bytes, at most one step, if there is nothing to wait for.
    fn next_cached(&mut self) -> Option<Bytes> {
        let (at, range) = self.place.step(&self.chunks)?;
        let (_, file) = self.file.as_ref().filter(|(open, _)| *open == at)?;
        let sums = at_hand(&self.chunks, self.table.as_ref(), at, blocks_of(&range))?;
        let (id, length) = self.chunks.id_and_length(at);
        let blocks = Blocks::around(file.as_ref(), id, length, &range, sums);
        let mut buffer = self.of.store.read_buffers.take();
        let read = blocks.read_cached(&mut buffer[..blocks.length()]);
        read.then(|| self.place.took(buffer, &range))
    }

    /// The next bytes, at most one step. Blocking.
    fn next(&mut self) -> Result<Bytes> {
        self.read().map_err(|error| data_error(&self.of.store, &self.of.key, self.of.stamp, error))
    }

    fn read(&mut self) -> Result<Bytes, DataError> {
        let Some((at, range)) = self.place.step(&self.chunks) else {
            // The record promised more bytes than its chunks have.
            let id = self.chunks.ids().last().copied().unwrap_or(FileId([0; 16]));
            return Err(DataError::Damaged { id, offset: self.place.offset });
        };
        let (id, length) = self.chunks.id_and_length(at);
        let file = match &self.file {
            Some((open, file)) if *open == at => Arc::clone(file),
            _ => {
                self.ahead_to = 0;
                open_data(self.of.store.disk.as_ref(), id)?
            }
        };
        self.file = Some((at, Arc::clone(&file)));
        if range.end > self.ahead_to {
            self.ahead_to = length.min(range.start + self.place.left.min(READ_AHEAD_BYTES));
            file.read_ahead(range.start, self.ahead_to - range.start);
        }
        let numbers = blocks_of(&range);
        let sums = match at_hand(&self.chunks, self.table.as_ref(), at, numbers.clone()) {
            Some(sums) => sums,
            None => {
                let some = numbers.start..length.div_ceil(BLOCK_BYTES as u64).min(numbers.start + TABLE_BLOCKS_MAX);
                let sums = self.chunks.blocks(at, some)?.into_owned();
                let table = self.table.insert(TableBlocks { chunk: at, first: numbers.start, sums });
                table.get(at, numbers).ok_or(DataError::Damaged { id, offset: range.start })?
            }
        };
        let blocks = Blocks::around(file.as_ref(), id, length, &range, sums);
        let mut buffer = self.of.store.read_buffers.take();
        blocks.read(&mut buffer[..blocks.length()])?;
        Ok(self.place.took(buffer, &range))
    }
}

/// The block checksums, unless they have to be read first.
fn at_hand<'a>(
    chunks: &'a ChunkList,
    table: Option<&'a TableBlocks>,
    at: usize,
    blocks: Range<u64>,
) -> Option<&'a [u32]> {
    chunks.listed_blocks(at, blocks.clone()).or_else(|| table?.get(at, blocks))
}

/// The numbers of the blocks that a range touches.
fn blocks_of(range: &Range<u64>) -> Range<u64> {
    let block = BLOCK_BYTES as u64;
    range.start / block..range.end.div_ceil(block)
}

/// A place in a list of chunks, and how much is to be read from there.
struct Place {
    chunk: usize,
    /// In the chunk.
    offset: u64,
    left: u64,
}

impl Place {
    /// The chunk that holds the place, and the next step in it: up to the end of a block. `None` behind the last one.
    fn step(&mut self, chunks: &ChunkList) -> Option<(usize, Range<u64>)> {
        while self.chunk < chunks.count() && self.offset >= chunks.id_and_length(self.chunk).1 {
            self.offset -= chunks.id_and_length(self.chunk).1;
            self.chunk += 1;
        }
        if self.chunk == chunks.count() {
            return None;
        }
        let block = BLOCK_BYTES as u64;
        let step_end = self.offset / block * block + READ_STEP_BYTES as u64;
        let end = step_end.min(chunks.id_and_length(self.chunk).1).min(self.offset + self.left);
        Some((self.chunk, self.offset..end))
    }

    /// The step was read into this buffer, from the beginning of its first block on.
    fn took(&mut self, buffer: Buffer, step: &Range<u64>) -> Bytes {
        let length = step.end - step.start;
        (self.offset, self.left) = (step.end, self.left - length);
        let start = (step.start % BLOCK_BYTES as u64) as usize;
        buffer.freeze(start..start + length as usize)
    }
}

/// Block checksums of a chunk that were read from the table of its object, from this block on.
struct TableBlocks {
    chunk: usize,
    first: u64,
    sums: Vec<u32>,
}

impl TableBlocks {
    fn get(&self, chunk: usize, blocks: Range<u64>) -> Option<&[u32]> {
        let from = blocks.start.checked_sub(self.first).filter(|_| chunk == self.chunk)? as usize;
        self.sums.get(from..from + (blocks.end - blocks.start) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::Chunk;

    fn chunks(lengths: &[u64]) -> ChunkList {
        let chunk = |&length| Chunk { id: FileId([1; 16]), length, blocks: Vec::new() };
        ChunkList::Listed(lengths.iter().map(chunk).collect())
    }

    fn steps(lengths: &[u64], range: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let chunks = chunks(lengths);
        let mut place = Place { chunk: 0, offset: range.start, left: range.end - range.start };
        let mut steps = Vec::new();
        while place.left > 0 {
            let (at, step) = place.step(&chunks).expect("the range is in the chunks");
            (place.offset, place.left) = (step.end, place.left - (step.end - step.start));
            steps.push((at, step));
        }
        steps
    }

    #[test]
    fn steps_end_at_blocks_chunks_and_ranges() {
        let (block, step) = (BLOCK_BYTES as u64, READ_STEP_BYTES as u64);
        assert_eq!(steps(&[10], 0..10), [(0, 0..10)]);
        assert_eq!(steps(&[10, 0, 5], 8..12), [(0, 8..10), (2, 0..2)]);
        assert_eq!(steps(&[2 * step], 0..2 * step), [(0, 0..step), (0, step..2 * step)]);
        let begin = block + 5;
        assert_eq!(steps(&[3 * step], begin..2 * step), [(0, begin..block + step), (0, block + step..2 * step)]);
        assert_eq!(steps(&[step, step], step..step + 1), [(1, 0..1)]);
    }

    #[test]
    fn nothing_is_behind_the_last_chunk() {
        let mut place = Place { chunk: 0, offset: 10, left: 1 };
        assert!(place.step(&chunks(&[4, 6])).is_none());
    }

    #[test]
    fn checksums_of_a_table_are_at_hand_from_their_first_block_on() {
        let table = TableBlocks { chunk: 2, first: 5, sums: vec![50, 60, 70] };
        assert_eq!(table.get(2, 5..7), Some([50, 60].as_slice()));
        assert_eq!(table.get(2, 7..8), Some([70].as_slice()));
        assert_eq!(table.get(2, 7..9), None);
        assert_eq!(table.get(2, 4..6), None);
        assert_eq!(table.get(1, 5..6), None);
    }
}
