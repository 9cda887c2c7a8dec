//! What a target is told about its disks.

use crate::limits::{INLINE_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// One directory per disk.
    pub disks: Vec<PathBuf>,
    /// Payloads up to this length live in the log; longer ones are files. 0: every object is a file.
    pub inline_bytes_max: u64,
    /// The length of one file of the log.
    pub segment_bytes: u64,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self { disks: Vec::new(), inline_bytes_max: INLINE_BYTES_DEFAULT, segment_bytes: SEGMENT_BYTES_DEFAULT }
    }
}
