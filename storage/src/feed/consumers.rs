//! What the feed keeps on the disk, under `feed/`: how far each durable consumer is and how much of the log it may keep from
//! compaction until it has read it (engine rule A17), and the horizon.

use crate::disk::{Disk, SyncPoint, read_small, replace_small};
use crate::format::name::SegmentName;
use crate::{Error, Result};
use common::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const DIRECTORY: &str = "feed";
const PREFIX: &str = "consumer-";
const SUFFIX: &str = ".json";
const HORIZON: &str = "horizon.json";
const FILE_BYTES_MAX: u64 = 4096;
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Sixteen hexadecimal digits: every event up to here was taken.
    after: String,
    /// So much of the log is kept for it.
    pub held_bytes_max: u64,
}

impl Consumer {
    pub fn new(after: Stamp, held_bytes_max: u64) -> Self {
        Self { after: format!("{:016x}", after.0), held_bytes_max }
    }

    pub fn after(&self) -> Stamp {
        Stamp(u64::from_str_radix(&self.after, 16).unwrap_or(0))
    }
}

/// A consumer is a file's name.
pub fn check_name(name: &str) -> Result<()> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Ok(());
    }
    Err(Error::Refused(format!("a consumer's name has 1 to {NAME_BYTES_MAX} letters, digits, - and _")))
}

/// All consumers that the disk knows. One whose file is not what was written begins where the log begins.
pub fn load(disk: &dyn Disk) -> Result<BTreeMap<String, Consumer>> {
    let mut consumers = BTreeMap::new();
    if !disk.exists(DIRECTORY).map_err(Error::io(DIRECTORY))? {
        return Ok(consumers);
    }
    for entry in disk.list(DIRECTORY).map_err(Error::io(DIRECTORY))? {
        let name = entry.name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
        let Some(name) = name else { continue };
        let path = format!("{DIRECTORY}/{}", entry.name);
        let bytes = read_small(disk, &path, FILE_BYTES_MAX).map_err(Error::io(&path))?;
        let consumer = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::error!(%error, path, "a consumer's place is unreadable: it gets everything again that there is");
            Consumer::new(Stamp::ZERO, u64::MAX)
        });
        consumers.insert(name.to_owned(), consumer);
    }
    Ok(consumers)
}

pub fn store(disk: &dyn Disk, name: &str, consumer: &Consumer) -> Result<()> {
    write(disk, &format!("{PREFIX}{name}{SUFFIX}"), consumer)
}

fn write(disk: &dyn Disk, name: &str, content: &impl Serialize) -> Result<()> {
    let failed = || Error::io(format!("{DIRECTORY}/{name}"));
    if !disk.exists(DIRECTORY).map_err(failed())? {
        disk.make_dir(DIRECTORY).map_err(failed())?;
        disk.sync_dir("", SyncPoint::Identity).map_err(failed())?;
    }
    let content = serde_json::to_vec(content).map_err(|error| Error::Refused(error.to_string()))?;
    replace_small(disk, DIRECTORY, name, &content).map_err(failed())
}

pub fn remove(disk: &dyn Disk, name: &str) -> Result<()> {
    let path = format!("{DIRECTORY}/{PREFIX}{name}{SUFFIX}");
    disk.unlink(&path).map_err(Error::io(path))
}

/// The horizon, good as long as this is the last compacted segment.
#[derive(Serialize, Deserialize)]
struct Horizon {
    horizon: String,
    segment: String,
}

pub fn store_horizon(disk: &dyn Disk, horizon: Stamp, segment: SegmentName) -> Result<()> {
    write(disk, HORIZON, &Horizon { horizon: format!("{:016x}", horizon.0), segment: segment.to_string() })
}

/// `None` if nobody wrote it, or if there was a compaction since.
pub fn load_horizon(disk: &dyn Disk, segment: SegmentName) -> Option<Stamp> {
    let bytes = read_small(disk, &format!("{DIRECTORY}/{HORIZON}"), FILE_BYTES_MAX).ok()?;
    let stored: Horizon = serde_json::from_slice(&bytes).ok()?;
    let horizon = u64::from_str_radix(&stored.horizon, 16).ok()?;
    (stored.segment == segment.to_string()).then_some(Stamp(horizon))
}
