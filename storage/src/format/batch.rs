//! A batch: what one fdatasync makes durable. Tar members of the objects with payload, then one member
//! `.weir/commit/<run>-<number>` which closes it (engine rules A4 and A5).
//!
//! ```text
//! batch          | members with payload ... | commit member | next batch
//!                ^ start, multiple of 4096                   ^ end, multiple of 4096
//! commit member  | ustar header 512 | head 72 | entries | records without payload | zeros | tail 64 |
//! head           | "WEIRBAT1" | version u32 | entries' length u32 | segment u64 | run u64 | number u64 | start u64
//!                | stable u64 | nonce u64 | count u32 | crc32c of head and entries u32 |
//! tail           | "WEIREND1" | segment u64 | run u64 | number u64 | nonce u64 | start u64 | length u32
//!                | commit member's offset in the batch u32 | zero u32 | crc32c of everything before it in the batch u32 |
//! ```
//!
//! All numbers are little-endian. The nonce is random, is written into every segment anew and is told to nobody, so that
//! bytes which a client stores can never pass for a batch.

use super::name::SegmentNumber;
use super::record::{Operation, Record};
use super::{Cursor, Malformed, member, round_up};
use crate::limits::ALIGNMENT_BYTES;
use common::checksum::{crc32c, crc32c_append};
use common::{BucketId, PartNumber, Stamp, Term, UploadId, VersionId};
use serde::{Deserialize, Serialize};

const HEAD_MAGIC: &[u8; 8] = b"WEIRBAT1";
const TAIL_MAGIC: &[u8; 8] = b"WEIREND1";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 72;
const HEAD_CRC_AT: usize = 68;
pub const TAIL_BYTES: usize = 64;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A version with content.
    Object(VersionId),
    /// The end of a version.
    Tombstone(VersionId),
    DeleteMarker(VersionId),
    Upload(UploadId),
    Part(UploadId, PartNumber),
    UploadEnd(UploadId),
    Bucket,
    BucketEnd,
    Piece(Stamp),
}

impl Subject {
    pub fn of(record: &Record) -> Self {
        match &record.operation {
            Operation::Put(object) => Self::Object(object.version),
            Operation::Delete { version } => Self::Tombstone(*version),
            Operation::PutDeleteMarker { version, .. } => Self::DeleteMarker(*version),
            Operation::CreateUpload(upload) => Self::Upload(upload.upload),
            Operation::PutPart(part) => Self::Part(part.upload, part.part),
            Operation::EndUpload { upload } => Self::UploadEnd(*upload),
            Operation::PutBucket(_) => Self::Bucket,
            Operation::RemoveBucket => Self::BucketEnd,
            Operation::PutPiece(piece) => Self::Piece(piece.object),
        }
    }
}

/// Names one record of a batch or segment, so that its loss is known by name even when it is unreadable (A10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub stamp: Stamp,
    pub bucket: BucketId,
    pub key: String,
    pub subject: Subject,
    /// Whether these bytes are a tar member with payload, or a bare record.
    pub is_member: bool,
    /// Offset in the segment. (In the bytes of a commit member: of a bare record, in its area.)
    pub offset: u32,
    pub length: u32,
    pub crc32c: u32,
}

/// Which batch this is. `number` counts the batches of a run without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchId {
    pub segment: SegmentNumber,
    pub run: Term,
    pub number: u64,
    pub start: u64,
    /// Below this stamp all records of this owner are durable on all holders (engine rule A15).
    pub stable: Stamp,
    pub nonce: u64,
}

/// One record on its way into a batch.
pub struct Framed {
    pub stamp: Stamp,
    pub bucket: BucketId,
    pub key: String,
    pub subject: Subject,
    pub bytes: Vec<u8>,
    pub is_member: bool,
    /// Known already for a record that is copied; a damaged one stays damaged that way.
    pub crc32c: Option<u32>,
}

impl Framed {
    /// `payload` is there for inline objects and for nothing else.
    pub fn new(bucket_name: &str, record: &Record, payload: Option<&[u8]>) -> Self {
        let bytes = match payload {
            Some(payload) => member::frame(bucket_name, record, payload),
            None => record.encode(),
        };
        Self {
            stamp: record.stamp,
            bucket: record.bucket,
            key: record.key.clone(),
            subject: Subject::of(record),
            bytes,
            is_member: payload.is_some(),
            crc32c: None,
        }
    }

    /// Most bytes that this adds to a batch.
    pub fn cost_bytes(&self) -> u64 {
        (self.bytes.len() + self.key.len() + 96) as u64
    }
}

/// The most that `seal` adds to the bytes of the members and bare records with their entries.
pub const SEAL_BYTES_MAX: u64 = 512 + (HEAD_BYTES + TAIL_BYTES) as u64 + ALIGNMENT_BYTES + 16;

/// A batch ready to be written: members in order, then the commit member.
pub struct SealedBatch {
    pub slices: Vec<Vec<u8>>,
    pub length: u64,
    /// With offsets in the segment, in the order of the stamps.
    pub entries: Vec<Entry>,
}

/// Closes a batch. `framed` is in the order of the stamps.
pub fn seal(id: BatchId, framed: Vec<Framed>, modified_s: u64) -> SealedBatch {
    assert!(id.start.is_multiple_of(ALIGNMENT_BYTES), "batches are aligned");
    let mut entries = Vec::with_capacity(framed.len());
    let mut slices = Vec::with_capacity(framed.len() + 1);
    let mut bare = Vec::new();
    let mut members_length = 0;
    for one in framed {
        let offset = if one.is_member { id.start + members_length } else { bare.len() as u64 };
        entries.push(Entry {
            stamp: one.stamp,
            bucket: one.bucket,
            key: one.key,
            subject: one.subject,
            is_member: one.is_member,
            offset: offset.try_into().expect("segments are shorter than 4 GiB"),
            length: one.bytes.len().try_into().expect("records are shorter than 4 GiB"),
            crc32c: one.crc32c.unwrap_or_else(|| crc32c(&one.bytes)),
        });
        if one.is_member {
            members_length += one.bytes.len() as u64;
            slices.push(one.bytes);
        } else {
            bare.extend_from_slice(&one.bytes);
        }
    }

    let encoded = postcard::to_allocvec(&entries).expect("entries of plain data always encode");
    let content = HEAD_BYTES + encoded.len() + bare.len() + TAIL_BYTES;
    let length = round_up(members_length + 512 + content as u64, ALIGNMENT_BYTES);
    let body_length = length - members_length - 512;

    let mut commit = Vec::with_capacity(512 + body_length as usize);
    let name = format!(".weir/commit/{}-{}", id.run.0, id.number);
    commit.extend_from_slice(&member::header(&name, body_length, modified_s, tar::EntryType::Regular));
    commit.extend_from_slice(HEAD_MAGIC);
    commit.extend_from_slice(&VERSION.to_le_bytes());
    commit.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    for number in [u64::from(id.segment.0), u64::from(id.run.0), id.number, id.start, id.stable.0, id.nonce] {
        commit.extend_from_slice(&number.to_le_bytes());
    }
    commit.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    let head_crc = crc32c_append(crc32c(&commit[512..512 + HEAD_CRC_AT]), &encoded);
    commit.extend_from_slice(&head_crc.to_le_bytes());
    commit.extend_from_slice(&encoded);
    let bare_at = id.start + members_length + commit.len() as u64;
    commit.extend_from_slice(&bare);
    commit.resize(512 + body_length as usize - TAIL_BYTES, 0);
    commit.extend_from_slice(TAIL_MAGIC);
    for number in [u64::from(id.segment.0), u64::from(id.run.0), id.number, id.nonce, id.start] {
        commit.extend_from_slice(&number.to_le_bytes());
    }
    for number in [length as u32, members_length as u32, 0] {
        commit.extend_from_slice(&number.to_le_bytes());
    }
    let crc = slices.iter().fold(0, |crc, slice| crc32c_append(crc, slice));
    let crc = crc32c_append(crc, &commit);
    commit.extend_from_slice(&crc.to_le_bytes());
    slices.push(commit);

    for entry in &mut entries {
        if !entry.is_member {
            entry.offset += bare_at as u32;
        }
    }
    SealedBatch { slices, length, entries }
}

/// The last 64 bytes of a batch, before its checksum was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    pub segment: SegmentNumber,
    pub run: Term,
    pub number: u64,
    pub nonce: u64,
    pub start: u64,
    pub length: u64,
    commit_at: usize,
    crc32c: u32,
}

impl Tail {
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor(bytes);
        cursor.magic(TAIL_MAGIC)?;
        let segment = SegmentNumber(u32::try_from(cursor.u64()?).map_err(|_| Malformed::Bounds)?);
        let run = Term(u32::try_from(cursor.u64()?).map_err(|_| Malformed::Bounds)?);
        let (number, nonce, start) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (length, commit_at) = (u64::from(cursor.u32()?), cursor.u32()? as usize);
        cursor.u32()?;
        let crc32c = cursor.u32()?;
        let aligned = start.is_multiple_of(ALIGNMENT_BYTES) && length.is_multiple_of(ALIGNMENT_BYTES) && length > 0;
        // Offsets in a segment have 32 bits.
        let inside = start.checked_add(length).is_some_and(|end| end <= u64::from(u32::MAX) + 1);
        if !aligned || !inside || commit_at as u64 + 512 + (HEAD_BYTES + TAIL_BYTES) as u64 > length {
            return Err(Malformed::Bounds);
        }
        Ok(Self { segment, run, number, nonce, start, length, commit_at, crc32c })
    }

    /// Whether the whole batch is as it was written. `batch` begins at `start`.
    pub fn verify(&self, batch: &[u8]) -> bool {
        batch.len() as u64 == self.length && crc32c(&batch[..batch.len() - 4]) == self.crc32c
    }

    /// The names in the commit member, which stand by their own checksum even in a damaged batch.
    pub fn entries(&self, batch: &[u8]) -> Result<(BatchId, Vec<Entry>), Malformed> {
        let commit = batch.get(self.commit_at + 512..).ok_or(Malformed::Short)?;
        let mut cursor = Cursor(commit);
        cursor.magic(HEAD_MAGIC)?;
        if cursor.u32()? != VERSION {
            return Err(Malformed::Version);
        }
        let encoded_length = cursor.u32()? as usize;
        let (segment, run) = (cursor.u64()?, cursor.u64()?);
        let (number, start, stable, nonce) = (cursor.u64()?, cursor.u64()?, Stamp(cursor.u64()?), cursor.u64()?);
        let count = cursor.u32()?;
        let crc = cursor.u32()?;
        let encoded = cursor.take(encoded_length)?;
        if crc32c_append(crc32c(&commit[..HEAD_CRC_AT]), encoded) != crc {
            return Err(Malformed::Checksum);
        }
        let id = BatchId { segment: self.segment, run: self.run, number, start, stable, nonce };
        let same = segment == u64::from(self.segment.0) && run == u64::from(self.run.0) && number == self.number;
        if !same || start != self.start || nonce != self.nonce {
            return Err(Malformed::Bounds);
        }
        let mut entries: Vec<Entry> = postcard::from_bytes(encoded).map_err(|_| Malformed::Undecodable)?;
        if entries.len() != count as usize {
            return Err(Malformed::Bounds);
        }
        let bare_at = self.start + (self.commit_at + 512 + HEAD_BYTES + encoded_length) as u64;
        let end = self.start + self.length;
        for entry in &mut entries {
            if !entry.is_member {
                entry.offset = u32::try_from(u64::from(entry.offset) + bare_at).map_err(|_| Malformed::Bounds)?;
            }
            let begins = u64::from(entry.offset);
            if begins < self.start || begins + u64::from(entry.length) > end {
                return Err(Malformed::Bounds);
            }
        }
        Ok((id, entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::Payload;
    use crate::format::record::tests::sample;

    fn batch(start: u64) -> (BatchId, SealedBatch, Vec<u8>) {
        let id = BatchId { segment: SegmentNumber(3), run: Term(9), number: 4, start, stable: Stamp(1), nonce: 0xabcd };
        let inline = sample(10, "small", Payload::Inline { crc32c: crc32c(b"hello") }, 5);
        let delete = Record {
            stamp: Stamp(11),
            bucket: BucketId(1),
            key: "gone".into(),
            operation: Operation::Delete { version: VersionId::Null },
            why: Default::default(),
        };
        let framed = vec![Framed::new("bucket", &inline, Some(b"hello")), Framed::new("bucket", &delete, None)];
        let sealed = seal(id, framed, 0);
        let bytes = sealed.slices.concat();
        (id, sealed, bytes)
    }

    #[test]
    fn a_sealed_batch_names_its_records_and_verifies() {
        let (id, sealed, bytes) = batch(8192);
        assert_eq!((bytes.len() as u64, bytes.len() % 4096), (sealed.length, 0));
        let tail = Tail::decode(&bytes[bytes.len() - TAIL_BYTES..]).expect("sealed a moment ago");
        assert!(tail.verify(&bytes));
        let (read_id, entries) = tail.entries(&bytes).expect("sound");
        assert_eq!((read_id, &entries), (id, &sealed.entries));
        for entry in entries {
            let at = (u64::from(entry.offset) - id.start) as usize;
            let region = &bytes[at..at + entry.length as usize];
            assert_eq!(crc32c(region), entry.crc32c);
            let record = if entry.is_member {
                member::unframe(region).expect("sound").0
            } else {
                Record::decode(region).expect("sound")
            };
            assert_eq!((record.stamp, Subject::of(&record)), (entry.stamp, entry.subject));
        }
    }

    #[test]
    fn any_flipped_byte_makes_the_batch_invalid_and_names_survive_it_elsewhere() {
        let (_, sealed, bytes) = batch(0);
        let commit_at = sealed.slices[0].len();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let valid = Tail::decode(&bad[bad.len() - TAIL_BYTES..]).is_ok_and(|tail| tail.verify(&bad));
            assert!(!valid, "byte {at}");
            if at < commit_at {
                let tail = Tail::decode(&bad[bad.len() - TAIL_BYTES..]).expect("the tail is whole");
                assert_eq!(tail.entries(&bad).expect("so is the head").1, sealed.entries);
            }
        }
    }
}
