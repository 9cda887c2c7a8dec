//! The bytes of an encrypted object: whole stored blocks come in, the plain bytes of the range go out.

use crate::disk::buffers::Buffers;
use crate::disk::read::ChunkList;
use crate::limits::BLOCK_BYTES;
use crate::sealed::{self, PLAIN_BLOCK_BYTES};
use crate::{Error, Result};
use bytes::Bytes;
use common::SecretKey;
use common::cipher::{BlockCipher, Forged};
use futures::Stream;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// An object whose bytes do not belong to its key, although the disk gives them as they were written.
pub fn forged(_: Forged) -> Error {
    Error::Damaged("an encrypted block does not belong to its place and key".into())
}

/// The plain length of a chunk of a sealed object.
pub fn chunk_length(stored: u64) -> Result<u64> {
    sealed::plain_length(stored).ok_or_else(|| Error::Damaged("a sealed file has a length that none can have".into()))
}

/// Which stored bytes a range of plain ones needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Counted over all chunks, one behind the other; whole blocks.
    pub stored: Range<u64>,
    /// Plain bytes of the first block that stand before the range.
    skip: usize,
    left: u64,
    place: Place,
}

/// Where the next stored bytes come from.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    chunk: usize,
    /// In the chunk; a block's beginning.
    offset: u64,
}

/// The lengths of the chunks are stored ones. The range is not empty.
pub fn plan(stored_lengths: impl Iterator<Item = u64>, range: &Range<u64>) -> Result<Plan> {
    let (block, plain_block) = (BLOCK_BYTES as u64, PLAIN_BLOCK_BYTES as u64);
    let (mut plain_before, mut stored_before) = (0, 0);
    let mut first = None;
    for (chunk, stored) in stored_lengths.enumerate() {
        let plain = chunk_length(stored)?;
        let within = |at: u64| at - plain_before;
        if first.is_none() && range.start < plain_before + plain {
            let number = within(range.start) / plain_block;
            let skip = (within(range.start) - number * plain_block) as usize;
            first = Some((stored_before + number * block, skip, Place { chunk, offset: number * block }));
        }
        if let Some((start, skip, place)) = first.take_if(|_| range.end <= plain_before + plain) {
            let end = stored_before + (within(range.end).div_ceil(plain_block) * block).min(stored);
            return Ok(Plan { stored: start..end, skip, left: range.end - range.start, place });
        }
        plain_before += plain;
        stored_before += stored;
    }
    Err(Error::Damaged("the record promises more bytes than its files hold".into()))
}

/// Opens what `inner` gives: the stored bytes of the plan, in pieces that are whole blocks of one chunk.
pub struct Decrypted<S> {
    inner: S,
    chunks: Arc<ChunkList>,
    key: SecretKey,
    /// Of the chunk that was read last.
    cipher: Option<(usize, BlockCipher)>,
    plan: Plan,
    buffers: Arc<Buffers>,
}

impl<S> Decrypted<S> {
    pub fn new(inner: S, chunks: Arc<ChunkList>, key: SecretKey, plan: Plan, buffers: Arc<Buffers>) -> Self {
        Self { inner, chunks, key, cipher: None, plan, buffers }
    }

    fn open(&mut self, sealed: &[u8]) -> Result<Bytes> {
        let place = &mut self.plan.place;
        while place.chunk < self.chunks.count() && place.offset >= self.chunks.id_and_length(place.chunk).1 {
            *place = Place { chunk: place.chunk + 1, offset: 0 };
        }
        if place.chunk == self.chunks.count() {
            return Err(forged(Forged));
        }
        let (id, length) = self.chunks.id_and_length(place.chunk);
        let cipher = match self.cipher.take() {
            Some((chunk, cipher)) if chunk == place.chunk => cipher,
            _ => sealed::file_cipher(&self.key, id),
        };
        let mut buffer = self.buffers.take();
        let plain = sealed::open_stretch(&cipher, place.offset, sealed, length, &mut buffer).map_err(forged)?;
        self.cipher = Some((place.chunk, cipher));
        place.offset += sealed.len() as u64;
        let start = std::mem::take(&mut self.plan.skip).min(plain);
        let end = plain.min(start.saturating_add(self.plan.left.try_into().unwrap_or(usize::MAX)));
        self.plan.left -= (end - start) as u64;
        Ok(buffer.freeze(start..end))
    }
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Stream for Decrypted<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let sealed = ready!(Pin::new(&mut self.inner).poll_next(context));
        Poll::Ready(match sealed {
            Some(Ok(sealed)) => Some(self.open(&sealed)),
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::stored_length;

    const PLAIN: u64 = PLAIN_BLOCK_BYTES as u64;
    const STORED: u64 = BLOCK_BYTES as u64;

    fn planned(plain_lengths: &[u64], range: Range<u64>) -> (Range<u64>, usize, usize) {
        let plan = plan(plain_lengths.iter().map(|&plain| stored_length(plain)), &range).expect("inside");
        assert_eq!(plan.left, range.end - range.start);
        (plan.stored, plan.skip, plan.place.chunk)
    }

    #[test]
    fn a_range_needs_the_blocks_that_it_touches() {
        assert_eq!(planned(&[10], 3..4), (0..26, 3, 0));
        assert_eq!(planned(&[3 * PLAIN], 0..PLAIN), (0..STORED, 0, 0));
        assert_eq!(planned(&[3 * PLAIN], PLAIN..PLAIN + 1), (STORED..2 * STORED, 0, 0));
        assert_eq!(planned(&[3 * PLAIN], PLAIN - 1..PLAIN + 1), (0..2 * STORED, PLAIN_BLOCK_BYTES - 1, 0));
        assert_eq!(planned(&[2 * PLAIN + 5], 2 * PLAIN + 1..2 * PLAIN + 5), (2 * STORED..2 * STORED + 21, 1, 0));
    }

    #[test]
    fn ranges_go_over_parts() {
        let first = stored_length(PLAIN + 7);
        assert_eq!(planned(&[PLAIN + 7, 2 * PLAIN], PLAIN + 6..PLAIN + 8), (STORED..first + STORED, 6, 0));
        assert_eq!(planned(&[PLAIN + 7, 2 * PLAIN], PLAIN + 7..PLAIN + 8), (first..first + STORED, 0, 1));
        assert_eq!(planned(&[5, 0, 5], 7..8), (21 + 16..21 + 16 + 21, 2, 2));
    }

    #[test]
    fn impossible_lengths_are_damage() {
        assert!(matches!(plan([26].into_iter(), &(0..11)), Err(Error::Damaged(_))));
        assert!(matches!(plan([3].into_iter(), &(0..1)), Err(Error::Damaged(_))));
    }
}
