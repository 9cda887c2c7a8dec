//! Every bound of the edge, with its unit. What a client sends is refused or cut here, never collected without end.

use std::time::Duration;

/// Open connections on one listener; the next client waits in the kernel's queue.
pub const CONNECTIONS_MAX: u32 = 8192;

/// From the first byte of a request to the end of its header block.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two requests of a connection. JVM pools reuse connections that are a minute old.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Between two pieces of a request's body.
pub const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(60);

pub const HEADER_BLOCK_BYTES_MAX: usize = 64 * 1024;
pub const HEADERS_MAX: usize = 100;

/// XML bodies: 10,000 parts with checksums, or 1000 keys of 1024 escaped bytes, stay below this.
pub const XML_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is read of a refused request's body, so that its client sees the answer and not a reset connection.
pub const DRAIN_BYTES_MAX: u64 = 1024 * 1024;
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A signed chunk of `aws-chunked` is held whole until its signature is verified. Clients send 64 KiB to 1 MiB.
pub const SIGNED_CHUNK_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// "Maximum object size for a single PUT" and the largest part (S3 User Guide, "Multipart upload limits").
pub const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// The largest source of CopyObject.
pub const COPY_BYTES_MAX: u64 = PUT_BYTES_MAX;

/// User metadata, names and values together (S3 User Guide, "Working with object metadata").
pub const USER_METADATA_BYTES_MAX: usize = 2 * 1024;

pub const PAGE_ENTRIES_MAX: usize = 1000;
pub const BUCKETS_PAGE_MAX: usize = 10_000;
pub const DELETE_KEYS_MAX: usize = 1000;
pub const PARTS_MAX: usize = 10_000;

/// "X-Amz-Expires": seven days.
pub const PRESIGNED_SECONDS_MAX: u64 = 604_800;

const _: () = assert!(IDLE_TIMEOUT.as_secs() >= 75 && IDLE_TIMEOUT.as_secs() > HEADER_READ_TIMEOUT.as_secs());
