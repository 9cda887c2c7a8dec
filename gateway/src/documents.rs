//! What the gateway reads out of a bucket's configuration documents (`cluster::Bucket::documents`, by the name of their
//! sub-resource).

use cluster::Bucket;
use storage::Versioning;

/// `versioning`: `Enabled` or `Suspended`, as the element `Status` says.
pub const VERSIONING: &str = "versioning";
pub const ENABLED: &[u8] = b"Enabled";
/// `object-lock`: the XML document as it was put. While there is one, versions of the bucket can be locked.
pub const OBJECT_LOCK: &str = "object-lock";

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
