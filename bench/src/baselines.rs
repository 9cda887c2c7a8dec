//! What this machine can do without any server: the other side of a ratio, taken in the same rounds.

pub mod file_per_object;
pub mod large_put;

use crate::outcome::Outcome;
use anyhow::Result;
use rustix::time::ClockId;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// A synced file for each object, by as many threads as there are connections.
    FilePerObject,
    /// MD5 of an object's bytes on one core.
    Md5,
    /// Writing and syncing an object's bytes.
    Disk,
}

/// What a baseline works with.
pub struct Work<'a> {
    /// May be made and is removed again.
    pub directory: &'a Path,
    pub threads: usize,
    pub time: Duration,
    pub payload: &'a [u8],
    pub bytes: u64,
}

impl Baseline {
    pub fn name(self) -> &'static str {
        match self {
            Self::FilePerObject => "file/object",
            Self::Md5 => "md5 alone",
            Self::Disk => "disk alone",
        }
    }

    /// The CPU time in the outcome is that of the work itself, in place of a client's.
    pub fn run(self, work: &Work<'_>) -> Result<Outcome> {
        match self {
            Self::FilePerObject => file_per_object::run(work),
            Self::Md5 => large_put::md5(work),
            Self::Disk => large_put::disk(work),
        }
    }
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
