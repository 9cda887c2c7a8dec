//! The chunk list of an object that is too long for its record: a data file like any other, verified by the block table
//! in the record (engine rule A11).
//!
//! ```text
//! | "WEIRTBL1" | chunks u32 | zero u32 | per chunk: id 16 bytes, length u64, index of its first block u64 | crc32c u32 ... |
//! ```

use super::name::FileId;
use super::record::Chunk;
use super::{Cursor, Malformed};
use crate::limits::BLOCK_BYTES;

const MAGIC: &[u8; 8] = b"WEIRTBL1";
const HEAD_BYTES: u64 = 16;
const CHUNK_BYTES: u64 = 32;

/// One chunk, with the place of its block checksums in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedChunk {
    pub id: FileId,
    pub length: u64,
    first_block: u64,
}

pub fn blocks_of(length: u64) -> u64 {
    length.div_ceil(BLOCK_BYTES as u64)
}

/// About how many bytes a record needs for these chunks.
pub fn cost_bytes(chunks: &[Chunk]) -> usize {
    chunks.iter().map(|chunk| 32 + 5 * chunk.blocks.len()).sum()
}

pub fn encode(chunks: &[Chunk]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    let mut first_block = 0_u64;
    for chunk in chunks {
        assert_eq!(blocks_of(chunk.length), chunk.blocks.len() as u64, "a checksum for every block");
        bytes.extend_from_slice(&chunk.id.0);
        bytes.extend_from_slice(&chunk.length.to_le_bytes());
        bytes.extend_from_slice(&first_block.to_le_bytes());
        first_block += chunk.blocks.len() as u64;
    }
    for block in chunks.iter().flat_map(|chunk| &chunk.blocks) {
        bytes.extend_from_slice(&block.to_le_bytes());
    }
    bytes
}

/// The bytes of the table that hold the list of `chunks` chunks.
pub fn list_range(chunks: u32) -> std::ops::Range<u64> {
    0..HEAD_BYTES + u64::from(chunks) * CHUNK_BYTES
}

pub fn decode_list(bytes: &[u8], chunks: u32) -> Result<Vec<ListedChunk>, Malformed> {
    let mut cursor = Cursor(bytes);
    cursor.magic(MAGIC)?;
    if cursor.u32()? != chunks {
        return Err(Malformed::Bounds);
    }
    cursor.u32()?;
    let mut list = Vec::with_capacity(chunks as usize);
    for _ in 0..chunks {
        let id = FileId(cursor.take(16)?.try_into().expect("sixteen bytes were taken"));
        list.push(ListedChunk { id, length: cursor.u64()?, first_block: cursor.u64()? });
    }
    Ok(list)
}

/// The bytes of the table that hold the checksums of `blocks` of a chunk, of a table of `chunks` chunks.
pub fn blocks_range(chunks: u32, chunk: &ListedChunk, blocks: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let base = list_range(chunks).end + chunk.first_block * 4;
    base + blocks.start * 4..base + blocks.end * 4
}

pub fn decode_blocks(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Term;

    #[test]
    fn a_table_gives_back_its_chunks_and_blocks() {
        let chunk = |n: u32, blocks: u32| Chunk {
            id: FileId::new(Term(1), u64::from(n), n),
            length: u64::from(blocks) * BLOCK_BYTES as u64 - 1,
            blocks: (0..blocks).map(|block| n * 100 + block).collect(),
        };
        let chunks = vec![chunk(1, 3), chunk(2, 1), chunk(3, 5)];
        let bytes = encode(&chunks);
        let slice = |range: std::ops::Range<u64>| &bytes[range.start as usize..range.end as usize];
        let list = decode_list(slice(list_range(3)), 3).expect("encoded a moment ago");
        for (listed, chunk) in list.iter().zip(&chunks) {
            assert_eq!((listed.id, listed.length), (chunk.id, chunk.length));
            let count = chunk.blocks.len() as u64;
            assert_eq!(decode_blocks(slice(blocks_range(3, listed, 0..count))), chunk.blocks);
        }
        assert_eq!(decode_list(slice(list_range(3)), 2), Err(Malformed::Bounds));
    }
}
