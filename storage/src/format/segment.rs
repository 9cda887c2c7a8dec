//! A segment's first 4,096 bytes: the tar member `.weir/segment`.
//!
//! ```text
//! | ustar header 512 | "WEIRSEG1" | version u32 | number u32 | disk 16 bytes | run u64 | nonce u64 | crc32c u32 | zeros |
//! ```

use super::name::SegmentNumber;
use super::{Cursor, Malformed, member};
use crate::limits::ALIGNMENT_BYTES;
use common::Term;
use common::checksum::crc32c;

const MAGIC: &[u8; 8] = b"WEIRSEG1";
const VERSION: u32 = 1;
const CONTENT_BYTES: usize = 48;

/// Where the first batch begins.
pub const HEADER_BYTES: u64 = ALIGNMENT_BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub number: SegmentNumber,
    pub disk: [u8; 16],
    pub run: Term,
    pub nonce: u64,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let body = HEADER_BYTES - member::TAR_BLOCK_BYTES;
        let mut bytes = member::header(".weir/segment", body, 0, tar::EntryType::Regular).to_vec();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.number.0.to_le_bytes());
        bytes.extend_from_slice(&self.disk);
        bytes.extend_from_slice(&u64::from(self.run.0).to_le_bytes());
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        let crc = crc32c(&bytes[512..]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let content = bytes.get(512..).ok_or(Malformed::Short)?;
        let mut cursor = Cursor(content);
        cursor.magic(MAGIC)?;
        if cursor.u32()? != VERSION {
            return Err(Malformed::Version);
        }
        let number = SegmentNumber(cursor.u32()?);
        let disk = cursor.take(16)?.try_into().expect("sixteen bytes were taken");
        let run = Term(u32::try_from(cursor.u64()?).map_err(|_| Malformed::Bounds)?);
        let nonce = cursor.u64()?;
        if cursor.u32()? != crc32c(&content[..CONTENT_BYTES]) {
            return Err(Malformed::Checksum);
        }
        Ok(Self { number, disk, run, nonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_their_bytes() {
        let header = SegmentHeader { number: SegmentNumber(5), disk: [6; 16], run: Term(7), nonce: 8 };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for at in 512..512 + CONTENT_BYTES + 4 {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(SegmentHeader::decode(&bad).is_err(), "byte {at}");
        }
    }
}
