//! What the gateway reads out of a bucket's configuration documents (`cluster::Bucket::documents`, by the name of their
//! sub-resource).

use authn::acl::Ownership;
use cluster::Bucket;
use storage::Versioning;

/// `versioning`: `Enabled` or `Suspended`, as the element `Status` says. What is not said to be anything else is XML as `s3/document.rs` keeps it.
pub const VERSIONING: &str = "versioning";
pub const ENABLED: &[u8] = b"Enabled";
/// `object-lock`: while there is one, versions of the bucket can be locked.
pub const OBJECT_LOCK: &str = "object-lock";
/// The bucket's access control list, as `authn::acl::Acl` encodes it. Without one it is private.
pub const ACL: &str = "acl";
/// `ownershipControls`: one of the three words of `ObjectOwnership`.
pub const OWNERSHIP: &str = "ownershipControls";
/// The four parts of a public access block.
pub const PUBLIC_ACCESS_BLOCK: &str = "publicAccessBlock";
pub const TAGGING: &str = "tagging";
pub const CORS: &str = "cors";
pub const LIFECYCLE: &str = "lifecycle";
/// The value of `x-amz-transition-default-minimum-object-size` that came with `lifecycle`, where one did: plain text.
pub const LIFECYCLE_MINIMUM: &str = "lifecycle-minimum";
pub const ENCRYPTION: &str = "encryption";
pub const WEBSITE: &str = "website";
pub const LOGGING: &str = "logging";
pub const NOTIFICATION: &str = "notification";
pub const REQUEST_PAYMENT: &str = "requestPayment";
pub const ACCELERATE: &str = "accelerate";
/// JSON, as it was put.
pub const POLICY: &str = "policy";
/// Kinds of which a bucket has many: the name of one is the kind's, a slash and its id.
pub const INVENTORY: &str = "inventory";
pub const ANALYTICS: &str = "analytics";
pub const METRICS: &str = "metrics";
pub const INTELLIGENT_TIERING: &str = "intelligent-tiering";

pub fn versioning(bucket: &Bucket) -> Versioning {
    match bucket.documents.get(VERSIONING).map(Vec::as_slice) {
        Some(ENABLED) => Versioning::Enabled,
        Some(b"Suspended") => Versioning::Suspended,
        // A bucket that can lock its versions keeps them from its first moment on.
        _ if can_lock(bucket) => Versioning::Enabled,
        _ => Versioning::Off,
    }
}

pub fn can_lock(bucket: &Bucket) -> bool {
    bucket.documents.contains_key(OBJECT_LOCK)
}

/// Without the document lists do not count: no bucket becomes public by a list that nobody enforced when it was put.
pub fn ownership(bucket: &Bucket) -> Ownership {
    let word = bucket.documents.get(OWNERSHIP).and_then(|word| std::str::from_utf8(word).ok());
    word.and_then(Ownership::parse).unwrap_or_default()
}
