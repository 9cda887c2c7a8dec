//! Every limit of the control plane, in one place.

/// Buckets that one owner may have. Source: Amazon S3 User Guide, "Bucket quotas" (the quota that can be asked for).
pub const BUCKETS_PER_OWNER_MAX: usize = 1000;

/// Bytes of one bucket configuration document. The longest that S3 accepts is a lifecycle of 1,000 rules.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the name of a configuration document.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 64;

/// Bytes of an owner's id, display name or e-mail address, of an access key's id and secret, and of a region's name.
pub const TEXT_BYTES_MAX: usize = 256;
