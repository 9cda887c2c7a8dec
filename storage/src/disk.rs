//! The door to the disk: the only code that opens data files, and its simulated twin.
//!
//! Paths are relative to the disk's root, with `/` between components. Every sync names the rule that it serves
//! (`SyncPoint`), so that the crash tests can leave one out and must then see a loss.

pub mod buffers;
pub mod read;
mod real;
pub mod stage;
pub mod twin;
mod writeback;

pub use real::RealDisk;

use std::io::{self, IoSlice};
use std::sync::Arc;

/// The syncs that the engine's rules ask for. `cargo xtask crash` removes each once and expects to see a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SyncPoint {
    /// fdatasync of the active segment after a batch: the commit point.
    Batch,
    /// fsync of `log/` after a segment got its name, before the first batch goes into it (A18).
    SegmentNamed,
    /// fdatasync of a segment with its footer, before compaction may rest on it (A9).
    SegmentSealed,
    /// fdatasync of a segment that recovery rewrote (A4).
    SegmentRecovered,
    /// fsync of `log/` after the rewritten segment took the place of the torn one (A4).
    SegmentRecoveredNamed,
    /// fdatasync of a segment that compaction wrote (A9).
    SegmentCompacted,
    /// fsync of `log/` after the compacted segment got its name, before its inputs go (A9).
    SegmentCompactedNamed,
    /// fdatasync of a staged file before its record is appended (A2).
    StagedFile,
    /// fsync of `staging/`, once per batch that has staged files (A2).
    StagedNames,
    /// fsync of the directories that renames and unlinks touched, before a checkpoint passes them (A2).
    InstalledNames,
    /// The index's own syncs, at its durable checkpoints (A3): compaction unlinks what they cover (A9), and a page and its
    /// checksum that are both of an earlier time would pass for sound.
    IndexPages,
    /// `weir-disk.json`, `restore.py` and the directories of a new disk.
    Identity,
    /// Of a spare segment: for speed alone, no rule rests on it.
    Spare,
}

impl SyncPoint {
    /// The syncs without which something acknowledged can be lost.
    pub const REQUIRED: [Self; 11] = [
        Self::Batch,
        Self::SegmentNamed,
        Self::SegmentRecovered,
        Self::SegmentRecoveredNamed,
        Self::SegmentCompacted,
        Self::SegmentCompactedNamed,
        Self::StagedFile,
        Self::StagedNames,
        Self::InstalledNames,
        Self::IndexPages,
        Self::Identity,
    ];

    /// Syncs that spare the next start a rewritten segment or a slow first batch, and protect nothing.
    pub const DERIVED: [Self; 2] = [Self::SegmentSealed, Self::Spare];
}

/// One open file. Reads and writes are positional, so that one handle serves many threads.
pub trait File: Send + Sync {
    /// Reads until `buffer` is full or the file ends; gives the number of bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Like `read_at`, but gives `None` where the bytes are not in the page cache and reading would wait.
    fn read_at_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Drops the range from the page cache, so that the next read asks the disk itself (A19).
    fn forget_cached(&self, offset: u64, length: u64) -> io::Result<()>;

    /// The range will be read soon: the disk may begin. May wait for its queue; a hint, and no error.
    fn read_ahead(&self, _offset: u64, _length: u64) {}

    /// Writes all of the slices, one behind the other.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// What was written to the range may go to the disk already: a later `sync_data`, without which it is not safe, then has
    /// less to wait for. May wait for the disk's queue.
    fn start_writeback(&self, _offset: u64, _length: u64) {}

    fn set_len(&self, length: u64) -> io::Result<()>;

    fn length(&self) -> io::Result<u64>;

    /// Reserves space for `length` bytes from `offset` on, where the file system can, without changing the file's length.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;

    fn sync_data(&self, point: SyncPoint) -> io::Result<()>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    pub length: u64,
}

/// One directory on one file system.
pub trait Disk: Send + Sync {
    /// Makes a new file; an existing one is an error.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// The same, for the owner of the process only.
    fn create_private(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.create(path)
    }
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// A hard link; an existing `to` is an error.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    fn unlink(&self, path: &str) -> io::Result<()>;
    /// Makes one directory; an existing one is no error, an existing file is.
    fn make_dir(&self, path: &str) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// In no particular order. Names that are not UTF-8 are left out: nothing of ours has one.
    fn list(&self, directory: &str) -> io::Result<Vec<DirEntry>>;
    fn exists(&self, path: &str) -> io::Result<bool>;
    fn sync_dir(&self, directory: &str, point: SyncPoint) -> io::Result<()>;
    /// Bytes that can still be written, and the size of the file system.
    fn space(&self) -> io::Result<Space>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// Around an unreadable sector this much is given up.
const SALVAGE_BYTES: usize = 4096;

/// Reads exactly `length` bytes, or fails with `UnexpectedEof`.
pub fn read_exact(file: &dyn File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    if file.read_at(&mut buffer, offset)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(buffer)
}

/// Reads what the disk still gives of a stretch: each block that it fails to read is zeros. Gives the bytes and where the
/// last such block ends, 0 if there is none.
pub fn read_salvaging(file: &dyn File, offset: u64, length: usize) -> io::Result<(Vec<u8>, u64)> {
    match read_exact(file, offset, length) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {}
        result => return Ok((result?, 0)),
    }
    let mut bytes = vec![0; length];
    let mut lost_until = 0;
    let mut at = offset;
    for block in bytes.chunks_mut(SALVAGE_BYTES) {
        if let Err(error) = file.read_at(block, at) {
            tracing::error!(%error, offset = at, "a block cannot be read");
            block.fill(0);
            lost_until = at + block.len() as u64;
        }
        at += block.len() as u64;
    }
    Ok((bytes, lost_until))
}

/// Reads a whole small file, at most `bytes_max` of it.
pub fn read_small(disk: &dyn Disk, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let length = file.length()?;
    if length > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{path} has {length} bytes, more than {bytes_max}"),
        ));
    }
    read_exact(file.as_ref(), 0, length as usize)
}

/// Writes a small file so that a power cut leaves the old one or the new one, whole.
pub fn replace_small(disk: &dyn Disk, directory: &str, name: &str, content: &[u8]) -> io::Result<()> {
    replace(disk, directory, name, content, |path| disk.create(path))
}

/// The same, for the owner of the process only.
pub fn replace_private(disk: &dyn Disk, directory: &str, name: &str, content: &[u8]) -> io::Result<()> {
    replace(disk, directory, name, content, |path| disk.create_private(path))
}

fn replace(
    disk: &dyn Disk,
    directory: &str,
    name: &str,
    content: &[u8],
    create: impl FnOnce(&str) -> io::Result<Arc<dyn File>>,
) -> io::Result<()> {
    let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
    let temporary = format!("{path}.new");
    if disk.exists(&temporary)? {
        disk.unlink(&temporary)?;
    }
    let file = create(&temporary)?;
    file.write_at(&[IoSlice::new(content)], 0)?;
    file.sync_data(SyncPoint::Identity)?;
    disk.rename(&temporary, &path)?;
    disk.sync_dir(directory, SyncPoint::Identity)
}

/// No space or no quota left: not a failure of the disk, unless it comes from a sync (A18).
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
