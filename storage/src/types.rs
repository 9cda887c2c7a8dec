//! What the target's operations take and give. No user, no HTTP, no XML: the gateway translates.

pub use crate::format::record::{Acl, Cause, Lock, Mode, Retention, Versioning};
use common::{
    Algorithm, BucketId, Checksum, ETag, Epoch, ObjectKey, PartNumber, SecretKey, Stamp, UploadId, VersionId,
};

/// A bucket as far as a disk must know it: engine rules A7 and A13.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketView {
    pub id: BucketId,
    pub name: common::BucketName,
    /// The control store's version of this bucket's document: a lower one than the disk has changes nothing.
    pub version: u64,
    pub state: BucketState,
    pub versioning: Versioning,
    /// Whether its versions can be locked (set when it is made, or later, and never taken back).
    pub lock: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketState {
    Active,
    /// Being deleted: the committer refuses every new mutation of it.
    Deleting,
}

/// What a client gave an object to keep beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// System metadata under lower-case names: `content-type`, `cache-control`, `content-disposition`,
    /// `content-encoding`, `content-language`, `expires`, `x-amz-website-redirect-location`, `x-amz-storage-class`.
    pub headers: Vec<(String, String)>,
    /// User metadata without the `x-amz-meta-` prefix, names in lower case.
    pub user: Vec<(String, String)>,
    /// Object tags, in the order in which they were given.
    pub tags: Vec<(String, String)>,
    pub lock: Lock,
    /// `None` where the bucket says all of it.
    pub acl: Option<Acl>,
}

/// A condition on the current object, decided in the committer together with the write (engine rule A7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    pub if_match: Option<Match>,
    pub if_none_match: Option<Match>,
    /// Seconds since 1970 of its modification. Of a delete only, as is `size`: a key that is not there meets both.
    pub modified_s: Option<i64>,
    pub size: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `*`: any current object.
    Any,
    ETags(Vec<ETag>),
}

/// The start of a PUT: see `Target::put`.
#[derive(Debug, Clone)]
pub struct PutRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub attributes: Attributes,
    pub precondition: Precondition,
    /// The declared length in bytes, if there is one: a body of another length is refused.
    pub length: Option<u64>,
    /// Checksums to compute beside MD5 and CRC64NVME.
    pub algorithms: Vec<Algorithm>,
}

/// How the bytes of a new object or part are encrypted.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// Of this object alone. Of a part it is that of its upload.
    pub key: SecretKey,
    /// What the key is found by again: kept beside the object and given back, and nobody here looks into it. Of a part it
    /// stands with its upload.
    pub envelope: Vec<u8>,
    /// Whether the ETag must not be the MD5 of the bytes.
    pub hides_md5: bool,
}

/// The start of an UploadPart: see `Target::put_part`.
#[derive(Debug, Clone)]
pub struct PutPartRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub upload: UploadId,
    pub part: PartNumber,
    pub length: Option<u64>,
    /// Checksums to compute beside MD5, CRC64NVME and the upload's own algorithm.
    pub algorithms: Vec<Algorithm>,
}

/// What a committed write of an object or part became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    pub stamp: Stamp,
    pub version: VersionId,
    pub etag: ETag,
    pub modified_ms: u64,
    pub checksums: Vec<Checksum>,
    /// As in `ObjectInfo`.
    pub composite: Option<Checksum>,
    pub size: u64,
    /// As in `ObjectInfo`.
    pub envelope: Option<Vec<u8>>,
}

/// An object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    pub stamp: Stamp,
    pub version: VersionId,
    pub size: u64,
    pub etag: ETag,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    pub attributes: Attributes,
    /// The checksum algorithm the client chose, with its value, and CRC64NVME.
    pub checksums: Vec<Checksum>,
    /// The checksum of the parts' checksums, when that is what the object's upload asked for.
    pub composite: Option<Checksum>,
    /// Sizes in bytes of the parts of a multipart object, in order; empty for one that was put whole.
    pub part_sizes: Vec<u64>,
    /// The parts' checksums under the upload's algorithm, in order; empty where none are kept.
    pub part_checksums: Vec<Checksum>,
    /// Of an encrypted object: what it was sealed with. All lengths and checksums are of its plain bytes.
    pub envelope: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub struct DeleteRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    /// `None` deletes the current object: by a delete marker where versions are kept. `Some` ends this one version.
    pub version: Option<VersionId>,
    /// The record that was decided about, which may be another one's by now: `ObjectChanged` if it is.
    pub seen: Option<Stamp>,
    pub precondition: Precondition,
    /// `x-amz-bypass-governance-retention`, when the caller may: ends also what governance retention holds.
    pub bypass_governance: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// `None` when there was nothing to delete: S3 answers 204 all the same.
    pub stamp: Option<Stamp>,
    /// The delete marker that was made, or the version that was ended; `None` where the bucket has no versions.
    pub version: Option<VersionId>,
    /// Whether that version is a delete marker.
    pub is_marker: bool,
}

/// A change of what is kept beside an object's bytes: see `Target::update`.
#[derive(Debug, Clone)]
pub struct UpdateRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    /// `None` changes the current version.
    pub version: Option<VersionId>,
    pub update: Update,
    pub precondition: Precondition,
    /// The record that was decided about, which may be another one's by now: `ObjectChanged` if it is.
    pub seen: Option<Stamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// In the place of all tags that it has.
    Tags(Vec<(String, String)>),
    /// `None` takes the retention away. Shortening or removing one needs governance mode and `bypass_governance`.
    Retention {
        retention: Option<Retention>,
        bypass_governance: bool,
    },
    LegalHold(bool),
    /// `x-amz-storage-class`, `None` for STANDARD.
    Class(Option<String>),
    /// In the place of its system and user metadata; tags and lock stay.
    Metadata {
        headers: Vec<(String, String)>,
        user: Vec<(String, String)>,
    },
    Acl(Option<Acl>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateOutcome {
    pub stamp: Stamp,
    pub version: VersionId,
    pub etag: ETag,
    pub modified_ms: u64,
}

#[derive(Debug, Clone)]
pub struct CopyRequest {
    pub epoch: Epoch,
    pub source_bucket: BucketId,
    pub source_key: ObjectKey,
    /// `None` copies the current version.
    pub source_version: Option<VersionId>,
    /// The source as the gateway saw it when it checked the copy-source conditions; if the current one has another stamp
    /// by now the copy fails with `PreconditionFailed`. `None` copies whatever is current.
    pub source_stamp: Option<Stamp>,
    pub bucket: BucketId,
    pub key: ObjectKey,
    /// `None` keeps the source's headers, user metadata and tags, and neither lock nor ACL (`x-amz-metadata-directive: COPY`).
    pub attributes: Option<Attributes>,
    pub precondition: Precondition,
}

/// See `Target::rename`.
#[derive(Debug, Clone)]
pub struct RenameRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub source: ObjectKey,
    /// As in `CopyRequest`.
    pub source_stamp: Option<Stamp>,
    pub key: ObjectKey,
    /// On the object that the new key has.
    pub precondition: Precondition,
}

/// Where a listing goes on. Both are exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    Beginning,
    /// Keys greater than this one.
    Key(String),
    /// Keys greater than every key that begins with this.
    Prefix(String),
}

#[derive(Debug, Clone)]
pub struct ListRequest {
    pub bucket: BucketId,
    pub prefix: String,
    /// Never empty.
    pub delimiter: Option<String>,
    pub after: After,
    /// Most entries (objects and common prefixes together) to give.
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    Object(ListedObject),
    /// A common prefix, counted as one entry.
    Prefix(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    pub key: String,
    pub stamp: Stamp,
    pub version: VersionId,
    pub size: u64,
    pub etag: ETag,
    pub modified_ms: u64,
    /// `x-amz-storage-class`, if it was put with one.
    pub class: Option<String>,
    /// As in `Acl`.
    pub owner: Option<String>,
}

/// Where a listing of versions goes on. All are exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterVersion {
    Beginning,
    /// Keys greater than this one.
    Key(String),
    /// Versions of this key that are older than this one, and greater keys. If the key has no such version: greater keys.
    Version(String, VersionId),
    /// Keys greater than every key that begins with this.
    Prefix(String),
}

#[derive(Debug, Clone)]
pub struct ListVersionsRequest {
    pub bucket: BucketId,
    pub prefix: String,
    /// Never empty.
    pub delimiter: Option<String>,
    pub after: AfterVersion,
    /// Most entries (versions, delete markers and common prefixes together) to give.
    pub limit: usize,
}

/// An entry of the index: what lifecycle decides by, without reading the object's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    pub key: String,
    pub version: VersionId,
    pub stamp: Stamp,
    pub is_latest: bool,
    pub is_marker: bool,
    /// 0 of a delete marker.
    pub size: u64,
    /// `None` of a delete marker.
    pub etag: Option<ETag>,
    pub modified_ms: u64,
    /// When the version that replaced it came; `None` of the latest.
    pub noncurrent_ms: Option<u64>,
    pub class: Option<String>,
    pub tags: Vec<(String, String)>,
    pub lock: Lock,
    /// As in `Acl`.
    pub owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionEntry {
    Version(Box<ListedVersion>),
    /// A common prefix, counted as one entry.
    Prefix(String),
}

/// One page: by the bytes of the keys, and of one key the newest version first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsPage {
    pub entries: Vec<VersionEntry>,
    pub more: bool,
}

/// One page, in the order of the keys' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    pub entries: Vec<ListEntry>,
    /// Whether at least one more entry follows.
    pub more: bool,
}

#[derive(Debug, Clone)]
pub struct CreateUploadRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub attributes: Attributes,
    pub algorithm: Option<Algorithm>,
    pub kind: ChecksumKind,
}

/// What the checksum of a multipart object is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumKind {
    /// All of its bytes.
    FullObject,
    /// The checksums of its parts.
    Composite,
}

impl ChecksumKind {
    /// Of an upload that does not say: CRC64NVME has only the one, all others have the other.
    pub fn usual(algorithm: Option<Algorithm>) -> Self {
        match algorithm {
            None | Some(Algorithm::Crc64Nvme) => Self::FullObject,
            Some(_) => Self::Composite,
        }
    }
}

/// One open multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    pub upload: UploadId,
    pub key: String,
    pub created_ms: u64,
    pub algorithm: Option<Algorithm>,
    /// Of the object that it becomes, as in `Acl`.
    pub owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    pub part: PartNumber,
    pub size: u64,
    pub etag: ETag,
    pub modified_ms: u64,
    pub checksums: Vec<Checksum>,
}

#[derive(Debug, Clone)]
pub struct ListPartsRequest {
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub upload: UploadId,
    /// Parts with a greater number than this; 0 for all.
    pub after_part: u16,
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsPage {
    pub upload: UploadInfo,
    /// `x-amz-storage-class` of the object that it becomes, `None` for STANDARD.
    pub class: Option<String>,
    pub kind: ChecksumKind,
    pub parts: Vec<PartInfo>,
    pub more: bool,
}

#[derive(Debug, Clone)]
pub struct ListUploadsRequest {
    pub bucket: BucketId,
    pub prefix: String,
    pub delimiter: Option<String>,
    /// Uploads of greater keys, and of this key those with a greater upload id if one is given.
    pub after: Option<(String, Option<UploadId>)>,
    /// Skip all keys with this prefix as well (the last page ended with this common prefix).
    pub after_prefix: Option<String>,
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEntry {
    Upload(UploadInfo),
    Prefix(String),
}

/// Ordered by key, then by time of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsPage {
    pub entries: Vec<UploadEntry>,
    pub more: bool,
}

#[derive(Debug, Clone)]
pub struct CompletedPart {
    pub part: PartNumber,
    pub etag: ETag,
}

#[derive(Debug, Clone)]
pub struct CompleteUploadRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub upload: UploadId,
    /// As the client listed them.
    pub parts: Vec<CompletedPart>,
    pub precondition: Precondition,
    /// `x-amz-mp-object-size`: the sum that the client expects.
    pub size: Option<u64>,
}
