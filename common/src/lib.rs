//! The shared vocabulary: names that cannot be built wrong, ranges, ETags, checksums, and the doors through which
//! time and randomness enter. Nothing here knows a runtime, a socket or a file.

pub mod checksum;
pub mod cipher;
pub mod doors;
pub mod etag;
pub mod md5;
pub mod names;
pub mod network;
pub mod range;
pub mod signing;
pub mod sigv2;
pub mod sigv4;

pub use checksum::{Algorithm, Checksum, Digester, Digests};
pub use cipher::SecretKey;
pub use doors::{Clock, Monotonic, Random};
pub use etag::ETag;
pub use names::{
    AccessKeyId, BucketId, BucketName, Epoch, NameError, ObjectKey, OwnerId, PartNumber, Stamp, Term, UploadId,
    VersionId,
};
pub use network::Network;
pub use range::{ByteRange, RangeError};
pub use signing::{PublicKey, SigningKey};
