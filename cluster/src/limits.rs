//! Every limit of the control plane, in one place.

/// Buckets that one owner may have. Source: Amazon S3 User Guide, "Bucket quotas" (the quota that can be asked for).
pub const BUCKETS_PER_OWNER_MAX: usize = 1000;

/// Bytes of one bucket configuration document. The longest that S3 accepts is a lifecycle of 1,000 rules.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of all configuration documents of one bucket, which are written together.
pub const DOCUMENTS_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MAX;

/// Bytes of the name of a configuration document. The longest is that of one of many of a kind, with its id of 64.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 128;

/// Bytes of an owner's id, display name or e-mail address, of an access key's id and secret, and of a region's name.
pub const TEXT_BYTES_MAX: usize = 256;

/// Named keys of the key service, and versions of one of them: a new one each month for eighty years.
pub const KMS_KEYS_MAX: usize = 1000;
pub const KMS_KEY_VERSIONS_MAX: usize = 1000;
pub const KMS_SEALED_BYTES_MAX: usize = 256;
