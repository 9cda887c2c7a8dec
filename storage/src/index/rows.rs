//! Keys and rows of the index. Keys sort as listings do: by bucket, then by the bytes of the key.
//!
//! An object key may hold any byte of UTF-8, NUL included, so it is escaped: NUL becomes 00 FF, the end is 00 00.
//!
//! `Objects` has one row of each key: its current version, which is the one put last, a delete marker too. `Versions` has
//! the others, behind the same bytes, the newest first. The null version's place among these is the first, whatever its
//! age: so that it is found by one look-up, in a key of a million versions too. Where there is a row in `Versions`, there
//! is one in `Objects`.

use crate::format::name::{SegmentName, SegmentNumber};
use crate::format::record::Lock;
use common::{Algorithm, BucketId, ETag, PartNumber, Stamp, UploadId, VersionId};
use serde::{Deserialize, Serialize};

/// Where a record stands. An address on one disk, never an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    pub segment: SegmentNumber,
    pub generation: u16,
    pub offset: u32,
    pub length: u32,
}

impl Location {
    pub fn is_in(&self, name: &SegmentName) -> bool {
        (self.segment, self.generation) == (name.first, name.generation)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub stamp: Stamp,
    pub location: Location,
    /// The record or its data could not be read: a read answers with an error, never with an older record (A10).
    pub damaged: bool,
    pub kind: RowKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowKind {
    /// An object whose payload stands in the log.
    Inline(Listed),
    /// An object whose payload stands in files.
    Large(Listed),
    /// A version that says "deleted".
    DeleteMarker {
        version: VersionId,
        modified_ms: u64,
    },
    /// The end of a version.
    Tombstone(VersionId),
    Upload {
        created_ms: u64,
        algorithm: Option<Algorithm>,
        /// The stamp of the newest part: changes whenever a part does, so that Complete can tell.
        newest_part: Stamp,
        /// As in `Kept`.
        owner: Option<String>,
    },
    UploadEnd,
    Part(ListedPart),
}

/// What a listing shows of an object, and what lifecycle and locks decide by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub size: u64,
    pub etag: ETag,
    pub modified_ms: u64,
    pub version: VersionId,
    /// The stamp of the put that made a null version, where its record is a later one.
    pub since: Option<Stamp>,
    /// What few objects have.
    pub kept: Option<Box<Kept>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub tags: Vec<(String, String)>,
    pub lock: Lock,
    /// `x-amz-storage-class`.
    pub class: Option<String>,
    /// Whose it is, where it is not the bucket owner's.
    pub owner: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPart {
    pub size: u64,
    pub etag: ETag,
    pub modified_ms: u64,
}

impl Row {
    /// The object of a version that has content.
    pub fn listed(&self) -> Option<&Listed> {
        match &self.kind {
            RowKind::Inline(listed) | RowKind::Large(listed) => Some(listed),
            _ => None,
        }
    }

    pub fn is_live(&self) -> bool {
        !matches!(self.kind, RowKind::Tombstone(_) | RowKind::UploadEnd)
    }

    /// The version of a row of `Objects` or `Versions`.
    pub fn version(&self) -> VersionId {
        match &self.kind {
            RowKind::Inline(listed) | RowKind::Large(listed) => listed.version,
            RowKind::DeleteMarker { version, .. } | RowKind::Tombstone(version) => *version,
            RowKind::Upload { .. } | RowKind::UploadEnd | RowKind::Part(_) => VersionId::Null,
        }
    }

    /// Its place among the versions of its key: the stamp of the put that made it. A change of metadata keeps it.
    pub fn since(&self) -> Stamp {
        match self.version() {
            VersionId::Id(stamp, _) => stamp,
            VersionId::Null => self.listed().and_then(|listed| listed.since).unwrap_or(self.stamp),
        }
    }

    pub fn modified_ms(&self) -> u64 {
        match &self.kind {
            RowKind::Inline(listed) | RowKind::Large(listed) => listed.modified_ms,
            RowKind::DeleteMarker { modified_ms, .. } => *modified_ms,
            _ => 0,
        }
    }

    pub fn lock(&self) -> Lock {
        self.listed().and_then(|listed| listed.kept.as_ref()).map_or(Lock::default(), |kept| kept.lock)
    }
}

/// The tables that a key can belong to. The byte is the first of every `RowKey`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Objects,
    Versions,
    Uploads,
    Parts,
}

impl Table {
    fn byte(self) -> u8 {
        match self {
            Self::Objects => b'o',
            Self::Versions => b'v',
            Self::Uploads => b'u',
            Self::Parts => b'p',
        }
    }
}

/// A table and a key in it, as sortable bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(Vec<u8>);

impl RowKey {
    pub fn object(bucket: BucketId, key: &str) -> Self {
        let mut bytes = key_start(Table::Objects, bucket, key);
        bytes.extend_from_slice(&[0, 0]);
        Self(bytes)
    }

    /// Where a version stands that is not the current one.
    pub fn version(bucket: BucketId, key: &str, version: VersionId) -> Self {
        Self::object(bucket, key).version_of(version)
    }

    /// Of the row of an object's key: where this version of it stands when it is not the current one.
    pub fn version_of(&self, version: VersionId) -> Self {
        let place = match version {
            VersionId::Null => 0,
            VersionId::Id(stamp, _) => !stamp.0,
        };
        self.place_among_versions(place)
    }

    fn place_among_versions(&self, place: u64) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 8);
        bytes.push(Table::Versions.byte());
        bytes.extend_from_slice(self.in_table());
        bytes.extend_from_slice(&place.to_be_bytes());
        Self(bytes)
    }

    /// Of the row of an object's key: its versions but the current one and the null one, from the newest on.
    pub fn versions_with_ids(&self) -> std::ops::Range<Self> {
        let mut end = self.place_among_versions(u64::MAX);
        end.0.push(0);
        self.place_among_versions(1)..end
    }

    /// Of the row of an object's key: the versions that are older than what has this stamp, but the null one.
    pub fn versions_before(&self, since: Stamp) -> Self {
        self.place_among_versions((!since.0).saturating_add(1))
    }

    /// Of a row of `Versions`: the key's row in `Objects`, and the stamp of the version, `None` of the null one.
    pub fn of_version(&self) -> Option<(Self, Option<Stamp>)> {
        let (object, place) = self.0.split_last_chunk::<8>()?;
        let mut object = object.to_vec();
        *object.first_mut()? = Table::Objects.byte();
        let place = u64::from_be_bytes(*place);
        Some((Self(object), (place > 0).then_some(Stamp(!place))))
    }

    /// What stands for a version whether it is current, older or gone: where the dead records of it are counted. That of the
    /// null version is the key's own.
    pub fn identity(bucket: BucketId, key: &str, version: VersionId) -> Self {
        Self::object(bucket, key).identity_of(version)
    }

    /// As `identity`, of the row of an object's key.
    pub fn identity_of(&self, version: VersionId) -> Self {
        match version {
            VersionId::Null => self.clone(),
            VersionId::Id(..) => self.version_of(version),
        }
    }

    pub fn upload(bucket: BucketId, key: &str, upload: UploadId) -> Self {
        let mut bytes = key_start(Table::Uploads, bucket, key);
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&upload.0.0.to_be_bytes());
        bytes.extend_from_slice(&upload.1.to_be_bytes());
        Self(bytes)
    }

    pub fn part(upload: UploadId, part: PartNumber) -> Self {
        let mut bytes = part_start(upload);
        bytes.extend_from_slice(&part.number().to_be_bytes());
        Self(bytes)
    }

    /// From every row of the bucket whose key begins with `prefix` on.
    pub fn from_prefix(table: Table, bucket: BucketId, prefix: &str) -> Self {
        Self(key_start(table, bucket, prefix))
    }

    /// The first key after every one that begins with `prefix`.
    pub fn after_prefix(table: Table, bucket: BucketId, prefix: &str) -> Self {
        let mut bytes = key_start(table, bucket, prefix);
        while bytes.last() == Some(&0xff) {
            bytes.pop();
        }
        *bytes.last_mut().expect("the table's byte is never 0xff") += 1;
        Self(bytes)
    }

    pub fn parts_of(upload: UploadId) -> std::ops::Range<Self> {
        let start = part_start(upload);
        let mut end = start.clone();
        end.extend_from_slice(&[0xff; 3]);
        Self(start)..Self(end)
    }

    /// The key that follows this one directly.
    pub fn successor(&self) -> Self {
        let mut bytes = self.0.clone();
        bytes.push(0);
        Self(bytes)
    }

    pub fn table(&self) -> Table {
        match self.0[0] {
            b'o' => Table::Objects,
            b'v' => Table::Versions,
            b'u' => Table::Uploads,
            _ => Table::Parts,
        }
    }

    /// Without the table's byte: the key inside of its table.
    pub fn in_table(&self) -> &[u8] {
        &self.0[1..]
    }

    pub fn from_table(table: Table, key: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + 1);
        bytes.push(table.byte());
        bytes.extend_from_slice(key);
        Self(bytes)
    }

    pub fn length_bytes(&self) -> usize {
        self.0.len()
    }

    /// Bucket and object key of a row of `Objects` or `Uploads`; `None` if the bytes are none of ours.
    pub fn object_key(&self) -> Option<(BucketId, String)> {
        let bucket = BucketId(u64::from_be_bytes(self.0.get(1..9)?.try_into().ok()?));
        let mut rest = &self.0[9..];
        // Most keys have no NUL, and stand there as they are.
        if let Some(end) = rest.iter().position(|byte| *byte == 0)
            && rest.get(end + 1) == Some(&0)
        {
            return Some((bucket, std::str::from_utf8(&rest[..end]).ok()?.to_owned()));
        }
        let mut key = Vec::new();
        loop {
            match rest {
                [0, 0, ..] => break,
                [0, 0xff, tail @ ..] => {
                    key.push(0);
                    rest = tail;
                }
                [byte, tail @ ..] => {
                    key.push(*byte);
                    rest = tail;
                }
                [] => return None,
            }
        }
        Some((bucket, String::from_utf8(key).ok()?))
    }

    /// The upload of a row of `Uploads`.
    pub fn upload_id(&self) -> Option<UploadId> {
        let (_, last) = self.0.split_last_chunk::<16>()?;
        Some(upload_from(last))
    }

    /// The part of a row of `Parts`.
    pub fn part_number(&self) -> Option<(UploadId, PartNumber)> {
        let bytes: &[u8; 19] = self.0.as_slice().try_into().ok()?;
        let upload: &[u8; 16] = bytes[1..17].try_into().ok()?;
        let number = u16::from_be_bytes([bytes[17], bytes[18]]);
        Some((upload_from(upload), PartNumber::new(i64::from(number)).ok()?))
    }
}

fn upload_from(bytes: &[u8; 16]) -> UploadId {
    let whole = u128::from_be_bytes(*bytes);
    UploadId(Stamp((whole >> 64) as u64), whole as u64)
}

fn key_start(table: Table, bucket: BucketId, key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 11);
    bytes.push(table.byte());
    bytes.extend_from_slice(&bucket.0.to_be_bytes());
    for &byte in key.as_bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes
}

fn part_start(upload: UploadId) -> Vec<u8> {
    let mut bytes = vec![Table::Parts.byte()];
    bytes.extend_from_slice(&upload.0.0.to_be_bytes());
    bytes.extend_from_slice(&upload.1.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_bytes_and_survive() {
        let mut keys = vec!["a", "a\0", "a\0b", "a/", "a/b", "ab", "b", "\0", "ü", "\u{10ffff}"];
        keys.sort_by(|x, y| x.as_bytes().cmp(y.as_bytes()));
        let rows: Vec<_> = keys.iter().map(|key| RowKey::object(BucketId(7), key)).collect();
        assert!(rows.is_sorted());
        for (row, key) in rows.iter().zip(&keys) {
            assert_eq!(row.object_key(), Some((BucketId(7), (*key).to_owned())));
        }
    }

    #[test]
    fn a_prefix_covers_its_keys_and_no_other() {
        for prefix in ["", "a", "a/", "a\0", "ü"] {
            let start = RowKey::from_prefix(Table::Objects, BucketId(7), prefix);
            let end = RowKey::after_prefix(Table::Objects, BucketId(7), prefix);
            for key in ["", "a", "a\0", "a\0\0", "a/", "a/b", "a0", "b", "ü", "üx", "v\u{10ffff}"] {
                let row = RowKey::object(BucketId(7), key);
                assert_eq!(row >= start && row < end, key.starts_with(prefix), "{prefix:?} {key:?}");
            }
        }
    }

    #[test]
    fn versions_follow_their_key_the_newest_first() {
        let object = RowKey::object(BucketId(1), "a");
        let id = |stamp| VersionId::Id(Stamp(stamp), 9);
        let keys = [VersionId::Null, id(7), id(3), id(1)].map(|version| object.version_of(version));
        assert!(keys.is_sorted());
        let range = object.versions_with_ids();
        assert!(!range.contains(&keys[0]) && keys[1..].iter().all(|key| range.contains(key)));
        assert!(keys[1] < object.versions_before(Stamp(7)) && keys[2] >= object.versions_before(Stamp(7)));
        assert_eq!(keys[0].of_version(), Some((object.clone(), None)));
        assert_eq!(keys[1].of_version(), Some((object.clone(), Some(Stamp(7)))));
        // Behind their own key, and before every other one.
        let in_table: Vec<_> = std::iter::once(&object).chain(&keys).map(RowKey::in_table).collect();
        assert!(in_table.is_sorted());
        for other in ["a\0", "a/", "b"] {
            assert!(RowKey::object(BucketId(1), other).in_table() > keys[3].in_table());
        }
        assert_eq!(keys[1].object_key(), Some((BucketId(1), "a".to_owned())));
    }

    #[test]
    fn uploads_and_parts_survive() {
        let upload = UploadId(Stamp(5), 6);
        let row = RowKey::upload(BucketId(1), "k\0ey", upload);
        assert_eq!((row.object_key(), row.upload_id()), (Some((BucketId(1), "k\0ey".to_owned())), Some(upload)));
        let part = PartNumber::new(10_000).expect("in range");
        let row = RowKey::part(upload, part);
        assert!(RowKey::parts_of(upload).contains(&row));
        assert_eq!(row.part_number(), Some((upload, part)));
    }
}
