//! A record: one mutation, the whole truth of its key and version (engine rule A11), and nothing local to one disk.
//!
//! Encoded as a version byte, the postcard form of `Record`, and the CRC32C of both in four little-endian bytes. Variants
//! and fields are only ever added at the end, under a new version byte: version 2 is version 1 and behind it `Additions`,
//! version 3 is version 2 and behind it `More` and `Why`. A record is written in the lowest version that holds it.

use super::Malformed;
use super::name::FileId;
use crate::limits::RECORD_BYTES_MAX;
use common::checksum::crc32c;
use common::{Algorithm, BucketId, Checksum, ETag, PartNumber, Stamp, UploadId, VersionId};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
const VERSION_WITH_ADDITIONS: u8 = 2;
const VERSION_WITH_MORE: u8 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub stamp: Stamp,
    pub bucket: BucketId,
    /// Empty for records about the bucket itself.
    pub key: String,
    pub operation: Operation,
    /// In the encoded record it is an addition.
    #[serde(skip)]
    pub why: Why,
}

/// What the change feed tells and the operation does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub cause: Cause,
    /// When it was done, in milliseconds since 1970, where nothing else in the record says so.
    pub at_ms: Option<u64>,
}

/// What a record was made by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// What makes such records every day: a put, a completed upload, a delete.
    #[default]
    Usual,
    /// A form upload.
    Form,
    Copy,
    Tags,
    TagsRemoved,
    Retention,
    LegalHold,
    Metadata,
    /// A lifecycle rule: a delete, or a change of the storage class.
    Lifecycle,
    Acl,
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
    /// Of a completed upload with a checksum algorithm. In the encoded record it is an addition.
    #[serde(skip)]
    pub parts: Option<PartChecksums>,
    #[serde(skip)]
    pub more: More,
}

/// What version 3 has behind the fields of version 2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    pub tags: Vec<(String, String)>,
    pub lock: Lock,
    /// The stamp of the put that made this version, where a change of its metadata came later and the version's id does not
    /// say it.
    pub since: Option<Stamp>,
    /// Of an object whose bytes are encrypted, and of the upload of such a one.
    pub seal: Option<Seal>,
    /// In the encoded record it stands behind everything else of version 3, where there is one.
    #[serde(skip)]
    pub acl: Option<Acl>,
}

/// Whose a version is and who may do what with it, where its bucket does not say all of that. In the gateway's words: no code
/// of a disk looks into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// The owner's name for listings; `None` is the bucket's.
    pub owner: Option<String>,
    pub list: Vec<u8>,
}

/// How an object's bytes are encrypted, and what the gateway finds their key by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    pub scheme: SealScheme,
    /// The gateway's, who may have the key at hand or has to ask for it. No code of a disk looks into it.
    pub envelope: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealScheme {
    /// AES-256-GCM in blocks, each file under its own key: `sealed.rs`.
    Blocks,
}

/// What keeps a version from being ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub retention: Option<Retention>,
    pub legal_hold: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub mode: Mode,
    /// Milliseconds since 1970.
    pub until_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    Governance,
    Compliance,
}

/// The checksums of an object's parts, under the algorithm of its upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChecksums {
    pub algorithm: Algorithm,
    /// The values one after the other, in the order of the parts. Empty when they would not fit
    /// (`PART_CHECKSUMS_BYTES_MAX`).
    pub values: Vec<u8>,
    /// The checksum of the parts' checksums, if it is what stands for the object, in place of one of all bytes.
    pub composite: Option<Vec<u8>>,
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
    /// Whether the object's checksum is to be over all bytes although the algorithm's usual one is over the parts'
    /// checksums. In the encoded record it is an addition.
    #[serde(skip)]
    pub full_object: bool,
    /// Of the object that it becomes.
    #[serde(skip)]
    pub more: More,
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

/// What version 2 has behind the fields of version 1.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Additions {
    parts: Option<PartChecksums>,
    full_object: bool,
}

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let (additions, more) = (self.additions(), self.more());
        let version = match (additions == Additions::default(), more.is_some() || self.why != Why::default()) {
            (_, true) => VERSION_WITH_MORE,
            (false, false) => VERSION_WITH_ADDITIONS,
            (true, false) => VERSION,
        };
        let mut bytes = postcard::to_extend(self, vec![version]).expect("a record of plain data always encodes");
        if version >= VERSION_WITH_ADDITIONS {
            bytes = postcard::to_extend(&additions, bytes).expect("plain data always encodes");
        }
        if version >= VERSION_WITH_MORE {
            let none = More::default();
            let behind = (more.unwrap_or(&none), self.why);
            bytes = postcard::to_extend(&behind, bytes).expect("plain data always encodes");
            if let Some(acl) = &behind.0.acl {
                bytes = postcard::to_extend(acl, bytes).expect("plain data always encodes");
            }
        }
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        assert!(bytes.len() <= RECORD_BYTES_MAX, "a record of {} bytes", bytes.len());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(Malformed::Short)?;
        if crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(Malformed::Checksum);
        }
        let (version, rest) = body.split_first().ok_or(Malformed::Short)?;
        let (mut record, rest): (Self, &[u8]) = match *version {
            VERSION..=VERSION_WITH_MORE => postcard::take_from_bytes(rest).map_err(|_| Malformed::Undecodable)?,
            _ => return Err(Malformed::Version),
        };
        let mut rest = rest;
        if *version >= VERSION_WITH_ADDITIONS {
            let (additions, behind) = postcard::take_from_bytes(rest).map_err(|_| Malformed::Undecodable)?;
            record.add(additions);
            rest = behind;
        }
        if *version >= VERSION_WITH_MORE {
            let ((mut more, why), mut behind) =
                postcard::take_from_bytes::<(More, Why)>(rest).map_err(|_| Malformed::Undecodable)?;
            if !behind.is_empty() {
                let (acl, end) = postcard::take_from_bytes::<Acl>(behind).map_err(|_| Malformed::Undecodable)?;
                (more.acl, behind) = (Some(acl), end);
            }
            match &mut record.operation {
                Operation::Put(object) => object.more = more,
                Operation::CreateUpload(upload) => upload.more = more,
                _ if more == More::default() => {}
                _ => return Err(Malformed::Undecodable),
            }
            record.why = why;
            rest = behind;
        }
        if rest.is_empty() { Ok(record) } else { Err(Malformed::Undecodable) }
    }

    fn additions(&self) -> Additions {
        match &self.operation {
            Operation::Put(object) => Additions { parts: object.parts.clone(), full_object: false },
            Operation::CreateUpload(upload) => Additions { parts: None, full_object: upload.full_object },
            _ => Additions::default(),
        }
    }

    /// What only version 3 holds, if there is any.
    fn more(&self) -> Option<&More> {
        let more = match &self.operation {
            Operation::Put(object) => &object.more,
            Operation::CreateUpload(upload) => &upload.more,
            _ => return None,
        };
        (*more != More::default()).then_some(more)
    }

    fn add(&mut self, additions: Additions) {
        match &mut self.operation {
            Operation::Put(object) => object.parts = additions.parts,
            Operation::CreateUpload(upload) => upload.full_object = additions.full_object,
            _ => {}
        }
    }

    /// Whether the payload stands in the log together with the record.
    pub fn is_inline(&self) -> bool {
        matches!(&self.operation, Operation::Put(object) if matches!(object.payload, Payload::Inline { .. }))
    }
}

impl ObjectRecord {
    /// How many bytes its payload has as it is stored, if that is in the log.
    pub fn inline_length(&self) -> u64 {
        if self.more.seal.is_some() { crate::sealed::stored_length(self.size) } else { self.size }
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
                parts: None,
                more: More::default(),
            })),
            why: Why::default(),
        }
    }

    #[test]
    fn additions_survive_and_records_without_them_keep_their_version() {
        let plain = sample(9, "some/key", Payload::Inline { crc32c: 1 }, 3);
        assert_eq!(plain.encode()[0], 1);
        let mut with_parts = plain;
        let Operation::Put(object) = &mut with_parts.operation else { panic!("a put") };
        let (algorithm, values) = (Algorithm::Crc32, vec![1; 8]);
        object.parts = Some(PartChecksums { algorithm, values, composite: Some(vec![2; 4]) });
        let bytes = with_parts.encode();
        assert_eq!(bytes[0], 2);
        assert_eq!(Record::decode(&bytes), Ok(with_parts.clone()));
        let Operation::Put(object) = &mut with_parts.operation else { panic!("a put") };
        let envelope = vec![1, 2, 3];
        object.more.seal = Some(Seal { scheme: SealScheme::Blocks, envelope });
        object.more.lock.retention = Some(Retention { mode: Mode::Compliance, until_ms: 9 });
        let bytes = with_parts.encode();
        assert_eq!(bytes[0], 3);
        assert_eq!(Record::decode(&bytes), Ok(with_parts.clone()));
        let Operation::Put(object) = &mut with_parts.operation else { panic!("a put") };
        object.more = More { acl: Some(Acl { owner: Some("ann".into()), list: vec![1, 2] }), ..More::default() };
        let with_acl = with_parts.encode();
        assert_eq!(with_acl[0], 3);
        assert_eq!(Record::decode(&with_acl), Ok(with_parts));
        let mut twice = [&with_acl[..with_acl.len() - 4], &[0, 0]].concat();
        twice.extend_from_slice(&crc32c(&twice).to_le_bytes());
        assert_eq!(Record::decode(&twice), Err(Malformed::Undecodable));

        let upload = UploadRecord {
            upload: UploadId(Stamp(1), 2),
            created_ms: 3,
            algorithm: Some(Algorithm::Crc32),
            headers: Vec::new(),
            user: Vec::new(),
            full_object: true,
            more: More {
                tags: vec![("t".into(), "v".into())],
                acl: Some(Acl { owner: None, list: vec![7] }),
                ..More::default()
            },
        };
        let operation = Operation::CreateUpload(upload);
        let record =
            Record { stamp: Stamp(1), bucket: BucketId(1), key: "k".to_owned(), operation, why: Why::default() };
        assert_eq!(Record::decode(&record.encode()), Ok(record));

        let delete = |why| {
            let operation = Operation::Delete { version: VersionId::Null };
            Record { stamp: Stamp(1), bucket: BucketId(1), key: "k".to_owned(), operation, why }
        };
        let told = delete(Why { cause: Cause::Lifecycle, at_ms: Some(1_700_000_000_000) });
        assert_eq!((told.encode()[0], Record::decode(&told.encode())), (3, Ok(told)));
        assert_eq!(delete(Why::default()).encode()[0], 1);
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
