//! The end of a sealed segment: the tar member `.weir/footer`, then two zero blocks, which end a tar archive.
//!
//! It repeats the name of every record, and the buckets that they belong to (engine rules A10 and A13).
//!
//! ```text
//! | ustar header 512 | content (postcard) | zeros | "WEIRFTR1" | version u32 | content's length u32 | member's offset u64
//! | crc32c of content u32 | crc32c of the 28 bytes before u32 | zeros 1024 |
//! ```

use super::batch::Entry;
use super::record::BucketRecord;
use super::{Cursor, Malformed, member, round_up};
use common::checksum::crc32c;
use common::{BucketId, Stamp, Term};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"WEIRFTR1";
const VERSION: u32 = 1;
pub const TAIL_BYTES: usize = 32;
/// The two zero blocks behind the footer.
pub const END_BYTES: u64 = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footer {
    pub nonce: u64,
    pub run: Term,
    /// The numbers of the run's first and last batch in here; 0 in a compacted segment, which has several runs' records.
    pub first_batch: u64,
    pub last_batch: u64,
    pub buckets: Vec<(BucketId, Stamp, BucketRecord)>,
    /// Stretches of acknowledged bytes that recovery found without names: the disk is incomplete until an administrator
    /// accepts the loss (engine rule A10).
    pub holes: Vec<(u64, u64)>,
    /// In the order of the log.
    pub entries: Vec<Entry>,
}

/// The member as it stands at `offset`, with the archive's end.
pub fn encode(footer: &Footer, offset: u64) -> Vec<u8> {
    let content = postcard::to_allocvec(footer).expect("a footer of plain data always encodes");
    let body = round_up((content.len() + TAIL_BYTES) as u64, member::TAR_BLOCK_BYTES);
    let mut bytes = member::header(".weir/footer", body, 0, tar::EntryType::Regular).to_vec();
    bytes.extend_from_slice(&content);
    bytes.resize(512 + body as usize - TAIL_BYTES, 0);
    let tail = bytes.len();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&crc32c(&content).to_le_bytes());
    let crc = crc32c(&bytes[tail..]);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.resize(bytes.len() + END_BYTES as usize, 0);
    bytes
}

/// Where a footer's content stands, read from the last bytes before the archive's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterTail {
    pub offset: u64,
    pub content_length: u32,
    crc32c: u32,
}

impl FooterTail {
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor(bytes);
        cursor.magic(MAGIC)?;
        let version = cursor.u32()?;
        let content_length = cursor.u32()?;
        let offset = cursor.u64()?;
        let content_crc = cursor.u32()?;
        if cursor.u32()? != crc32c(&bytes[..TAIL_BYTES - 4]) {
            return Err(Malformed::Checksum);
        }
        if version != VERSION {
            return Err(Malformed::Version);
        }
        Ok(Self { offset, content_length, crc32c: content_crc })
    }

    /// `content` are the `content_length` bytes from `offset + 512`.
    pub fn footer(&self, content: &[u8]) -> Result<Footer, Malformed> {
        if crc32c(content) != self.crc32c {
            return Err(Malformed::Checksum);
        }
        postcard::from_bytes(content).map_err(|_| Malformed::Undecodable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers_survive_their_bytes() {
        let footer = Footer {
            nonce: 1,
            run: Term(2),
            first_batch: 1,
            last_batch: 3,
            buckets: Vec::new(),
            holes: Vec::new(),
            entries: Vec::new(),
        };
        let bytes = encode(&footer, 8192);
        assert_eq!(bytes.len() % 512, 0);
        let end = bytes.len() - END_BYTES as usize;
        let tail = FooterTail::decode(&bytes[end - TAIL_BYTES..end]).expect("encoded a moment ago");
        assert_eq!(tail.offset, 8192);
        assert_eq!(tail.footer(&bytes[512..512 + tail.content_length as usize]), Ok(footer));
    }
}
