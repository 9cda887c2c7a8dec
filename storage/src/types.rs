//! What the target's operations take and give. No user, no HTTP, no XML: the gateway translates.

use common::{Algorithm, BucketId, Checksum, ETag, Epoch, ObjectKey, PartNumber, Stamp, UploadId, VersionId};

/// A bucket as far as a disk must know it: engine rules A7 and A13.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketView {
    pub id: BucketId,
    pub name: common::BucketName,
    /// The control store's version of this bucket's document: a lower one than the disk has changes nothing.
    pub version: u64,
    pub state: BucketState,
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
}

#[derive(Debug, Clone)]
pub struct DeleteRequest {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    /// `None` deletes the current object; `Some(Null)` the null version.
    pub version: Option<VersionId>,
    pub precondition: Precondition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// `None` when there was nothing to delete: S3 answers 204 all the same.
    pub stamp: Option<Stamp>,
}

#[derive(Debug, Clone)]
pub struct CopyRequest {
    pub epoch: Epoch,
    pub source_bucket: BucketId,
    pub source_key: ObjectKey,
    /// The source as the gateway saw it when it checked the copy-source conditions; if the current one has another stamp
    /// by now the copy fails with `PreconditionFailed`. `None` copies whatever is current.
    pub source_stamp: Option<Stamp>,
    pub bucket: BucketId,
    pub key: ObjectKey,
    /// `None` keeps the source's (`x-amz-metadata-directive: COPY`).
    pub attributes: Option<Attributes>,
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
