//! The storage target: it owns disks and keeps objects on them. It knows no users, no HTTP and no XML.

pub mod disk;
mod error;
pub mod format;
pub mod limits;
mod target;
mod types;

pub use error::{Error, Result};
pub use target::{ObjectReader, ObjectWriter, Staged, Target, TargetConfig, TermSource};
pub use types::*;
