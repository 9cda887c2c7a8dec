//! A record: one mutation, the whole truth of its key and version (engine rule A11), and nothing local to one disk.
//!
//! Encoded as a version byte, the postcard form of `Record`, and the CRC32C of both in four little-endian bytes. Variants
//! and fields are only ever added at the end, under a new version byte.

use super::Malformed;
use super::name::FileId;
use crate::limits::RECORD_BYTES_MAX;
use common::checksum::crc32c;
use common::{Algorithm, BucketId, Checksum, ETag, PartNumber, Stamp, UploadId, VersionId};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub stamp: Stamp,
    pub bucket: BucketId,
    /// Empty for records about the bucket itself.
    pub key: String,
    pub operation: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    Put(Box<ObjectRecord>),
    /// The version is gone. Kept as a tombstone until no older record of it is left.
    Delete {
        version: VersionId,
    },
    /// A version that says "deleted" (versioned buckets).
    PutDeleteMarker {
        version: VersionId,
        modified_ms: u64,
    },
    CreateUpload(UploadRecord),
    PutPart(PartRecord),
    /// The upload was aborted, or completed by the `Put` of the same batch: its parts are gone or taken over.
    EndUpload {
        upload: UploadId,
    },
    PutBucket(BucketRecord),
    RemoveBucket,
    /// A slice or copy whose object record lives on another disk (engine rule A15).
    PutPiece(PieceRecord),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    pub version: VersionId,
    pub modified_ms: u64,
    pub size: u64,
    pub etag: ETag,
    pub checksums: Vec<Checksum>,
    pub headers: Vec<(String, String)>,
    pub user: Vec<(String, String)>,
    /// The upload whose completion made this object: a repeated CompleteMultipartUpload finds its answer here.
    pub upload: Option<UploadId>,
    /// Whether the write was durable when acknowledged; a `buffered` one may be lost without being damage.
    pub synced: bool,
    pub payload: Payload,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// In the log, behind this record's header: the CRC32C of the bytes.
    Inline { crc32c: u32 },
    /// In files, in this order. A plain PUT has one.
    Chunks(Vec<Chunk>),
    /// In files, named by a table which is a file itself (`table.rs`).
    Table { table: Chunk, chunks: u32 },
}

/// One data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub id: FileId,
    pub length: u64,
    /// CRC32C of each block of 64 KiB, the last one short.
    pub blocks: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    pub upload: UploadId,
    pub created_ms: u64,
    pub algorithm: Option<Algorithm>,
    pub headers: Vec<(String, String)>,
    pub user: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    pub upload: UploadId,
    pub part: PartNumber,
    pub modified_ms: u64,
    pub size: u64,
    pub etag: ETag,
    pub checksums: Vec<Checksum>,
    pub payload: Payload,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    pub name: common::BucketName,
    pub versioning: Versioning,
    pub lock: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    Off,
    Enabled,
    Suspended,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceRecord {
    pub object: Stamp,
    pub version: VersionId,
    /// The placement slot whose home disk has the object record.
    pub slot: u16,
    pub layout: PieceLayout,
    pub payload: Payload,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PieceLayout {
    Copy,
    /// Slice `index` of a Reed-Solomon code over GF(2^8) with the Vandermonde matrix of reed-solomon-erasure 6.
    Vandermonde {
        data: u8,
        parity: u8,
        index: u8,
    },
}

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes = postcard::to_extend(self, bytes).expect("a record of plain data always encodes");
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        assert!(bytes.len() <= RECORD_BYTES_MAX, "a record of {} bytes", bytes.len());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(Malformed::Short)?;
        if crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(Malformed::Checksum);
        }
        match body.split_first().ok_or(Malformed::Short)? {
            (&VERSION, rest) => match postcard::take_from_bytes(rest) {
                Ok((record, [])) => Ok(record),
                _ => Err(Malformed::Undecodable),
            },
            _ => Err(Malformed::Version),
        }
    }

    /// Whether the payload stands in the log together with the record.
    pub fn is_inline(&self) -> bool {
        matches!(&self.operation, Operation::Put(object) if matches!(object.payload, Payload::Inline { .. }))
    }
}

impl Payload {
    /// The files that this names in its record; a table's own chunks are in its file.
    pub fn chunks_in_record(&self) -> &[Chunk] {
        match self {
            Self::Inline { .. } => &[],
            Self::Chunks(chunks) => chunks,
            Self::Table { table, .. } => std::slice::from_ref(table),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use common::Term;

    pub fn sample(stamp: u64, key: &str, payload: Payload, size: u64) -> Record {
        Record {
            stamp: Stamp(stamp),
            bucket: BucketId(1),
            key: key.to_owned(),
            operation: Operation::Put(Box::new(ObjectRecord {
                version: VersionId::Null,
                modified_ms: 1_700_000_000_123,
                size,
                etag: ETag::of_md5([7; 16]),
                checksums: vec![Checksum { algorithm: Algorithm::Crc64Nvme, value: vec![1, 2, 3, 4, 5, 6, 7, 8] }],
                headers: vec![("content-type".into(), "text/plain".into())],
                user: vec![("a".into(), "line\nbreak ü".into())],
                upload: None,
                synced: true,
                payload,
            })),
        }
    }

    #[test]
    fn records_survive_their_bytes_and_any_flipped_bit_is_seen() {
        let chunk = Chunk { id: FileId::new(Term(1), 2, 3), length: 70_000, blocks: vec![4, 5] };
        let record = sample(9, "some/key", Payload::Chunks(vec![chunk]), 70_000);
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Record::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
