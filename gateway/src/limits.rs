//! Every bound of the edge, with its unit. What a client sends is refused or cut here, never collected without end.

use std::time::Duration;

/// Open connections on the data port; the next client waits in the kernel's queue. An idle one takes some 17 KiB. Of one
/// address half as many, so that no single machine keeps every other one out. A proxy in front is one address too, and has
/// its own limits.
pub const CONNECTIONS_MAX: u32 = 16_384;

/// Open connections on the admin port.
pub const ADMIN_CONNECTIONS_MAX: u32 = 512;

/// Files that the process opens beside connections: the log's segments, and data files that are read or written.
const FILES_FOR_STORAGE: u64 = 1024;

/// How many connections the data port may have when the process may have `files_max` files open.
pub fn connections_max(files_max: u64) -> u32 {
    let left = files_max.saturating_sub(FILES_FOR_STORAGE + u64::from(ADMIN_CONNECTIONS_MAX));
    // Where there is room for nothing, half of it is for clients.
    let most = left.max(files_max / 2).clamp(2, u64::from(CONNECTIONS_MAX));
    u32::try_from(most).unwrap_or(CONNECTIONS_MAX)
}

/// From the first byte of a request to the end of its header block.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A handshake of TLS, with the wait for a place. How many go on at once on a listener, each with some 30 KiB; half of the
/// connections at most, and of one address half of that.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
pub const HANDSHAKES_MAX: u32 = 2048;

/// What a proxy says of its client before the client's bytes; proxies that write all fields that there are need some 500.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;

/// Between two requests of a connection. JVM pools reuse connections that are a minute old.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// A body's progress: this many bytes in each such time that its reader waits for it. 1 KiB a second.
pub const BODY_WINDOW: Duration = Duration::from_secs(30);
pub const BODY_WINDOW_BYTES_MIN: u64 = 30 * 1024;

/// HTTP/2: requests of one connection at once.
pub const HTTP2_STREAMS_MAX: u32 = 128;

/// As they are without compression, with 32 bytes for each, as RFC 9113 counts them.
pub const HTTP2_HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;

/// What a client may send before somebody has read it, on one stream and on the whole connection. With what waits to be sent on
/// each stream (this, and one read of at most 256 KiB of an object that is not at its end) a connection takes 41 MiB at most,
/// while its client does what it can, and some 33 KiB when it is idle, with TLS.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 512 * 1024;
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
pub const HTTP2_SEND_BYTES_MAX: usize = 64 * 1024;

/// Streams that are cancelled in the same breath that begins them ("rapid reset", CVE-2023-44487), streams that are ended for an
/// error of the client ("MadeYouReset", CVE-2025-8671), and how many more requests a connection cancels than it lets be answered.
pub const HTTP2_UNSEEN_RESETS_MAX: usize = 20;
pub const HTTP2_ERROR_RESETS_MAX: usize = 64;
pub const HTTP2_CANCELLED_MAX: u32 = 256;

/// Pings, settings, priorities and the like in 30 seconds.
pub const HTTP2_IDLE_FRAMES_MAX: u32 = 1000;

/// How often a client is asked whether it is still there, and how long it has for the answer.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an answer waits for a client that takes nothing of it. The kernel holds some MiB and tells of room by the third of it,
/// so a shorter time would cut those who read slowly and well.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Request line and headers. 2 KiB of user metadata and the longest presigned URLs stay far below.
pub const HEADER_BLOCK_BYTES_MAX: usize = 32 * 1024;

/// What a connection reads at once of a body. hyper's own bound is three times as much, and each upload that is slow to be written
/// keeps it.
pub const CONNECTION_BUFFER_BYTES_MAX: usize = 128 * 1024;

pub const HEADERS_MAX: usize = 100;
pub const REQUEST_TARGET_BYTES_MAX: usize = 8 * 1024;

/// A line before a chunk of `Transfer-Encoding: chunked`, with its extensions, which nobody uses.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Documents that list: 10,000 parts with checksums, or 1000 keys of 1024 bytes, stay below this.
pub const LIST_DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Elements of one entry of a list: a part with all five checksums has eight.
pub const LIST_ENTRY_NODES_MAX: usize = 10;

/// Every other document.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
pub const DOCUMENT_NODES_MAX: usize = 10_000;

/// Elements inside of each other, in any document.
pub const DOCUMENT_DEPTH_MAX: usize = 32;

/// A bucket's policy, as in S3.
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;

/// Policies of buckets that are kept parsed: of the longest some 60 KiB each.
pub const BUCKET_POLICIES_CACHED_MAX: usize = 512;

/// Everything of a form upload but its file: names, values and framing. S3 allows 20 KiB of values.
pub const FORM_FIELDS_BYTES_MAX: usize = 32 * 1024;
pub const FORM_FIELDS_MAX: usize = 100;

/// A form's policy is as old as its date, at most: no key of Signature Version 4 is good for longer.
pub const FORM_AGE_SECONDS_MAX: u64 = 604_800;

/// Streams of events that may be open at once (`GET /bucket?events`).
pub const EVENT_STREAMS_MAX: usize = 256;
/// How often such a stream says that it is alive, and how seldom a client may ask it to.
pub const EVENT_HEARTBEAT_SECONDS: u64 = 5;
pub const EVENT_HEARTBEAT_SECONDS_MAX: u64 = 60;
/// What waits for a reader: so many pieces of about so many bytes.
pub const EVENT_STREAM_CHUNKS_MAX: usize = 4;
pub const EVENT_STREAM_CHUNK_BYTES: usize = 64 * 1024;
/// A reader that takes none of them for so long is cut off.
pub const EVENT_READER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read of a refused request's body before its answer: behind a shorter rest the connection can be used again.
pub const DRAIN_BYTES_MAX: u64 = 1024 * 1024;
/// Of a request that a rule of rates refuses: there may be very many.
pub const THROTTLED_DRAIN_BYTES_MAX: u64 = 64 * 1024;
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may go on sending behind the answer that ends its connection, and how long it may be silent meanwhile.
/// Most clients look for an answer only when they have sent everything; what they send is read and forgotten.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(30);
pub const LINGER_SILENCE_TIMEOUT: Duration = Duration::from_secs(5);

/// A signed chunk of `aws-chunked` is held whole until its signature is verified. Clients send 64 KiB to 1 MiB.
pub const SIGNED_CHUNK_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What may come behind the last chunk: s3s's own bound of it, for framing that does not go there.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// "Maximum object size for a single PUT" and the largest part (S3 User Guide, "Multipart upload limits").
pub const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// The largest source of CopyObject.
pub const COPY_BYTES_MAX: u64 = PUT_BYTES_MAX;

/// User metadata, names and values together (S3 User Guide, "Working with object metadata").
pub const USER_METADATA_BYTES_MAX: usize = 2 * 1024;

/// A lifecycle document: 1000 rules with several tags each stay below this, and it is what the control store takes.
pub const LIFECYCLE_DOCUMENT_BYTES_MAX: usize = cluster::limits::DOCUMENT_BYTES_MAX;
/// Elements of a rule with an And of ten tags, and every action.
pub const LIFECYCLE_RULE_NODES_MAX: usize = 80;

/// Rules and entries of configuration documents (S3 User Guide and API Reference, on the page of each).
pub const LIFECYCLE_RULES_MAX: usize = 1000;
pub const NEWER_NONCURRENT_VERSIONS_MAX: i32 = 100;
pub const CORS_RULES_MAX: usize = 100;
pub const ROUTING_RULES_MAX: usize = 50;
pub const NOTIFICATIONS_MAX: usize = 100;
pub const RULE_ID_CHARACTERS_MAX: usize = 255;
pub const BUCKET_TAGS_MAX: usize = 50;
/// An ARN or alias of a key of the key management service.
pub const KMS_KEY_ID_BYTES_MAX: usize = 2048;
/// What is before the time in the key of an access log. The key has 1024 bytes.
pub const LOG_PREFIX_BYTES_MAX: usize = 512;
/// A name of the domain name system with a port.
pub const HOST_NAME_BYTES_MAX: usize = 262;

/// Lines of access logs that wait in memory, and how large an object of them becomes. A clean end waits this long for them.
pub const ACCESS_LOG_BYTES_MAX: usize = 16 * 1024 * 1024;
pub const ACCESS_LOG_OBJECT_BYTES: usize = 1024 * 1024;
pub const ACCESS_LOG_END_TIMEOUT: Duration = Duration::from_secs(10);

/// Configurations of which a bucket has many: of a kind, on a page, and the bytes of an id.
pub const CONFIGURATIONS_MAX: usize = 1000;
pub const CONFIGURATIONS_PAGE_MAX: usize = 100;
pub const CONFIGURATION_ID_BYTES_MAX: usize = 64;

/// The longest default retention of a bucket (S3 API Reference, "DefaultRetention").
pub const RETENTION_DAYS_MAX: i32 = 36_500;
pub const RETENTION_YEARS_MAX: i32 = 100;
/// Tags of an object ("Categorizing your storage using tags", S3 User Guide).
pub const TAGS_MAX: usize = 10;
pub const TAG_KEY_CHARACTERS_MAX: usize = 128;
pub const TAG_VALUE_CHARACTERS_MAX: usize = 256;

/// Renames with a client token that are remembered, and the longest token ("RenameObject", S3 API Reference).
pub const RENAME_TOKENS_MAX: usize = 1024;
pub const RENAME_TOKEN_BYTES_MAX: usize = 64;

pub const PAGE_ENTRIES_MAX: usize = 1000;
pub const BUCKETS_PAGE_MAX: usize = 10_000;
pub const DELETE_KEYS_MAX: usize = 1000;
pub const PARTS_MAX: usize = 10_000;

/// "X-Amz-Expires": seven days.
pub const PRESIGNED_SECONDS_MAX: u64 = 604_800;

/// Signing keys that are kept derived, of access keys, days and regions: half a KiB each. When there are as many, all go.
pub const SIGNING_KEYS_MAX: usize = 4096;

const _: () = assert!(ACCESS_LOG_OBJECT_BYTES < ACCESS_LOG_BYTES_MAX);
const _: () = assert!(LIFECYCLE_DOCUMENT_BYTES_MAX <= LIST_DOCUMENT_BYTES_MAX);
const _: () = assert!(CONFIGURATION_ID_BYTES_MAX + 32 < cluster::limits::DOCUMENT_NAME_BYTES_MAX);
const _: () = assert!(REQUEST_TARGET_BYTES_MAX < HEADER_BLOCK_BYTES_MAX);
const _: () = assert!(IDLE_TIMEOUT.as_secs() >= 75 && IDLE_TIMEOUT.as_secs() > HEADER_READ_TIMEOUT.as_secs());

/// Callers whose policies are kept parsed. One of a user with all policies that it may have takes some 100 KiB, and most take 1.
pub const CALLERS_KEPT_MAX: usize = 1024;

/// Sessions that are kept opened, each with its token and its policies.
pub const SESSIONS_KEPT_MAX: usize = 1024;

/// The form of a query API (IAM, STS), of whoever shows a known access key: a policy of 128 KiB has three times as much when it
/// is percent-encoded. Of everybody else: a web identity's token, or what is refused anyway.
pub const SIGNED_FORM_BYTES_MAX: usize = 512 * 1024;
pub const UNSIGNED_FORM_BYTES_MAX: usize = 64 * 1024;
/// Parameters of such a form: 50 tags have 100.
pub const FORM_PARAMETERS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_storage() {
        assert_eq!(connections_max(u64::MAX), CONNECTIONS_MAX);
        assert_eq!(connections_max(1 << 20), CONNECTIONS_MAX);
        assert_eq!(connections_max(4096), 4096 - 1024 - 512);
        assert_eq!(connections_max(1024), 512);
        assert_eq!(connections_max(0), 2);
    }
}
