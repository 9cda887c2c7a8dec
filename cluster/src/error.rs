//! What the control plane refuses, and what can fail in it.

use common::{AccessKeyId, BucketName, OwnerId};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    // The caller's.
    #[error("bucket {name} exists and belongs to {}", .owner.0)]
    BucketExists { name: BucketName, owner: OwnerId },
    #[error("bucket {0} does not exist")]
    NoSuchBucket(BucketName),
    #[error("bucket {0} is being deleted")]
    BucketDeleting(BucketName),
    #[error("bucket {0} was changed meanwhile")]
    BucketChanged(BucketName),
    #[error("owner {} has {limit} buckets, and more are not allowed", .owner.0)]
    TooManyBuckets { owner: OwnerId, limit: usize },
    #[error("access key {} exists", .0.0)]
    KeyExists(AccessKeyId),
    #[error("access key {} does not exist", .0.0)]
    NoSuchKey(AccessKeyId),
    #[error("access key {} is the last of an administrator: make another first", .0.0)]
    LastAdminKey(AccessKeyId),
    #[error("the key {0} exists")]
    KmsKeyExists(String),
    #[error("the key {0} does not exist")]
    NoSuchKmsKey(String),
    #[error("the limit {0} does not exist")]
    NoSuchLimit(String),
    #[error("the limit {name} was changed meanwhile: it has version {version} now")]
    LimitChanged { name: String, version: u64 },
    // Of users, groups, roles, policies and providers, in the words of IAM.
    #[error("{0}")]
    NoSuchEntity(String),
    #[error("{0}")]
    EntityExists(String),
    #[error("{0}")]
    DeleteConflict(&'static str),
    #[error("Cannot exceed quota for {what}: {limit}")]
    LimitExceeded { what: &'static str, limit: usize },
    #[error("{0}")]
    Invalid(String),

    // Ours.
    #[error("the terms are used up")]
    TermsExhausted,
    #[error("the control store failed: {0}")]
    Store(String),
    #[error("the control store has format {found}, this program knows {known}: use a newer weir")]
    NewerFormat { found: u32, known: u32 },
    #[error("the control store is in use by another process")]
    Locked,
}
