//! The audit log, as far as it is no file: what a line says (`record.rs`), how lines hang together (`chain.rs`), and how that is
//! verified (`verify.rs`). Pure. `docs/audit-log.md` states the format.
//!
//! Each line has the number of its place and the SHA-256 of the line before it. Now and then a line is signed, with an Ed25519
//! key that only the server has: a checkpoint, which thereby vouches for all lines before it.

mod chain;
mod record;
mod verify;

pub use chain::{Chain, Head, Resumed, resume};
pub use record::{Checkpoint, Decision, Dropped, FILE, Outcome, Reason, STDOUT, time};
pub use verify::{Ends, Fault, Summary, Verifier, number_of};

use crate::kms::{self, KmsError};
use common::{SecretKey, SigningKey};

/// The named key whose bits are the seed of the one that signs checkpoints. It is a key of the key service like any other,
/// random and sealed by the root key, but nobody can encrypt objects with it.
pub const SIGNING_KEY: &str = "weir/audit";

/// The longest line, its end not counted. `Decision::new` keeps to it.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// The key that signs, from the named key's first version.
pub fn signing_key(root: &SecretKey, sealed: &[u8]) -> Result<SigningKey, KmsError> {
    let key = kms::open_version(root, SIGNING_KEY, 1, sealed)?;
    Ok(SigningKey::of_seed(&key.derive(&[b"weir audit checkpoints 1"])))
}
