//! The storage target: it owns disks and keeps objects on them. It knows no users, no HTTP and no XML.
//!
//! Read `docs/on-disk-format.md` first, then `commit.rs`.

pub mod backlog;
pub mod commit;
mod config;
pub mod disk;
mod document;
mod error;
pub mod feed;
pub mod files;
pub mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hashing;
pub mod health;
pub mod index;
mod jobs;
pub mod limits;
pub mod log;
mod object;
pub mod replay;
pub mod reserve;
pub mod sealed;
pub mod store;
mod target;
mod types;

pub use config::TargetConfig;
pub use document::CONTROL_COPY;
pub use error::{Error, Result};
pub use object::{ObjectReader, ObjectWriter, Staged};
pub use target::{Target, TermSource};
pub use types::*;
