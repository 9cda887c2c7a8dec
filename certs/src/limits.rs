//! Every bound of this crate, with its unit.

use std::time::Duration;

/// A chain of certificates, a key, a bundle of authorities or of revocation lists.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
pub const PAIRS_MAX: usize = 256;
pub const CHAIN_CERTIFICATES_MAX: usize = 16;
/// Of a certificate that the own authority issues.
pub const NAMES_MAX: usize = 256;
pub const NAME_BYTES_MAX: usize = 253;

pub const AUTHORITY_DAYS: i64 = 10 * 365;
pub const LEAF_DAYS: i64 = 90;
/// After so many days of its life the own leaf is issued anew.
pub const LEAF_RENEWED_AFTER_DAYS: i64 = 60;
/// Clocks that are behind ours accept a new certificate too.
pub const BACKDATED_SECONDS: i64 = 3600;

/// Days before the end at which a warning is logged, each once.
pub const WARNING_DAYS: [i64; 3] = [21, 7, 3];

/// How often the directory is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(400);
/// A change is loaded when two looks in this distance see the same.
pub const SETTLE: Duration = Duration::from_millis(200);
/// Of a directory that never settles.
pub const SETTLE_MAX: Duration = Duration::from_millis(1000);
/// What is there is read and compared by content this often, whatever a look says.
pub const POLL_EVERY: Duration = Duration::from_secs(60);
/// A pair is written in two steps: what is wrong for less than this is not reported.
pub const FAULT_GRACE: Duration = Duration::from_secs(10);

/// Sessions of TLS 1.2 and 1.3 that a listener remembers.
pub const SESSIONS_MAX: usize = 4096;
