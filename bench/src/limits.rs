//! Every bound of the load generator, with its unit.

use std::time::Duration;

/// What one read takes from a socket at most. All connections share one buffer: what it held is thrown away.
pub const READ_BYTES: usize = 256 * 1024;

/// A status line with headers. Every server here stays below 2 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A body that its reader asked to see: the answer to CreateMultipartUpload and its like.
pub const KEPT_BODY_BYTES_MAX: usize = 64 * 1024;

/// What is shown of the body of an answer that was not expected.
pub const REASON_BYTES_MAX: usize = 512;

/// Random bytes, of which every uploaded body is a repetition.
pub const PAYLOAD_BYTES: usize = 1024 * 1024;

/// Events that one wait for the sockets returns.
pub const EVENTS_MAX: usize = 256;

/// Without any progress for so long a run is broken off: a server hangs.
pub const STALL: Duration = Duration::from_secs(30);

/// A single request outside of the measured load.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// From the start of a server to its first answer. SeaweedFS elects a master first.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// Bodies of one round of uploads, after which it ends early: the disk must hold all rounds of all servers.
pub const ROUND_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Requests of an open loop that may be late at once; a server that is further behind cannot hold the rate.
pub const LATE_REQUESTS_MAX: usize = 100_000;
