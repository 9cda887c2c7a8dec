//! Files on their way to a commit: `staging/<id>`. Whoever lets go of one before its commit leaves nothing behind.

use super::{Disk, File, SyncPoint};
use crate::format::name::FileId;
use crate::format::record::Chunk;
use std::io;
use std::sync::Arc;

pub struct StagedFile {
    disk: Arc<dyn Disk>,
    id: FileId,
    /// `None` for a link: a copy of many chunks must not hold as many descriptors.
    file: Option<Arc<dyn File>>,
    is_committed: bool,
}

impl StagedFile {
    /// Makes the file; with a known length its space is reserved at once (engine rule A18).
    pub fn create(disk: Arc<dyn Disk>, id: FileId, length: Option<u64>) -> io::Result<Self> {
        let file = disk.create(&id.staging_path())?;
        let staged = Self { disk, id, file: Some(file), is_committed: false };
        if let Some(length) = length {
            staged.file().allocate(0, length)?;
        }
        Ok(staged)
    }

    /// A new id for bytes that are durable already: a hard link (engine rule A12).
    pub fn link(disk: Arc<dyn Disk>, from_path: &str, id: FileId) -> io::Result<Self> {
        disk.link(from_path, &id.staging_path())?;
        Ok(Self { disk, id, file: None, is_committed: false })
    }

    /// A small file that is written at once, not yet synced: a chunk table.
    pub fn whole(disk: Arc<dyn Disk>, id: FileId, content: &[u8]) -> io::Result<(Self, Chunk)> {
        let staged = Self::create(disk, id, Some(content.len() as u64))?;
        staged.file().write_at(&[io::IoSlice::new(content)], 0)?;
        let blocks = content.chunks(crate::limits::BLOCK_BYTES).map(common::checksum::crc32c).collect();
        Ok((staged, Chunk { id, length: content.len() as u64, blocks }))
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    /// Of a file that is being written, not of a link.
    pub fn file(&self) -> &Arc<dyn File> {
        self.file.as_ref().expect("a link is durable already and is not written")
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file().sync_data(SyncPoint::StagedFile)
    }

    /// The record that names the file is durable: from here on it belongs to the object.
    pub fn committed(mut self) {
        self.is_committed = true;
    }

    /// The outcome is unknown: nothing is unlinked, recovery decides (engine rule A19).
    pub fn abandon(mut self) {
        self.is_committed = true;
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_committed
            && let Err(error) = self.disk.unlink(&self.id.staging_path())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(id = %self.id, %error, "a staged file stays until the next start");
        }
    }
}
