//! The disk as it is: one directory of the operating system, held by a lock.
#![expect(clippy::disallowed_methods, reason = "this is the door")]

use super::{DirEntry, Disk, File, Space, SyncPoint};
use rustix::fs::{Advice, FallocateFlags, FlockOperation};
use rustix::io::ReadWriteFlags;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct RealDisk {
    root: PathBuf,
    /// Held as long as this value lives: a second process is refused.
    _lock: fs::File,
}

impl RealDisk {
    /// The file whose lock is the lock of the disk.
    const LOCK: &'static str = "weir-disk.lock";

    /// Makes the directory if it is missing and takes its lock. `WouldBlock` means that another process has it.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let lock =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(root.join(Self::LOCK))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    fn path(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.root.clone() } else { self.root.join(relative) }
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.path(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_private(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(self.path(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.path(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.path(from), self.path(to))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.path(path).is_dir() => Ok(()),
            result => result,
        }
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.path(path))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(directory))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = entry.metadata()?;
            entries.push(DirEntry { name, is_dir: metadata.is_dir(), length: metadata.len() });
        }
        Ok(entries)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        match fs::symlink_metadata(self.path(path)) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, directory: &str, _point: SyncPoint) -> io::Result<()> {
        fs::File::open(self.path(directory))?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let statistics = rustix::fs::statvfs(&self.root)?;
        Ok(Space {
            free_bytes: statistics.f_bavail * statistics.f_frsize,
            total_bytes: statistics.f_blocks * statistics.f_frsize,
        })
    }
}

const PAGE_BYTES: u64 = 4096;

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_at_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let wanted = buffer.len();
        match rustix::io::preadv2(&self.0, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
            Ok(count) if count == wanted => Ok(Some(count)),
            // Short: the end of the file or of what is cached. The caller's waiting read tells which.
            Ok(_) => Ok(None),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn forget_cached(&self, offset: u64, length: u64) -> io::Result<()> {
        // Only whole pages are dropped.
        let start = offset / PAGE_BYTES * PAGE_BYTES;
        let end = (offset + length).next_multiple_of(PAGE_BYTES);
        rustix::fs::fadvise(&self.0, start, std::num::NonZeroU64::new(end - start), Advice::DontNeed)?;
        Ok(())
    }

    fn read_ahead(&self, offset: u64, length: u64) {
        let length = std::num::NonZeroU64::new(length);
        // Where there is no such advice the reads themselves find out.
        let _ = rustix::fs::fadvise(&self.0, offset, length, Advice::WillNeed);
    }

    fn write_at(&self, slices: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        /// Linux's IOV_MAX.
        const SLICES_MAX: usize = 1024;
        for group in slices.chunks(SLICES_MAX) {
            let mut rest: Vec<IoSlice<'_>> =
                group.iter().filter(|slice| !slice.is_empty()).map(|slice| IoSlice::new(slice)).collect();
            let mut rest = rest.as_mut_slice();
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.0, rest, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        offset += count as u64;
                        IoSlice::advance_slices(&mut rest, count);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn start_writeback(&self, offset: u64, length: u64) {
        super::writeback::start(&self.0, offset, length);
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            // An empty part. The kernel calls such a reservation an invalid argument.
            return Ok(());
        }
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, offset, length) {
            // A file system without fallocate gives no reservation; writes then find out by themselves.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self, _point: SyncPoint) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_needs_no_space() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        let file = disk.create("empty").unwrap();
        for length in [0, 1, 4096] {
            file.allocate(0, length).unwrap();
        }
        assert_eq!(file.length().unwrap(), 0);
    }
}
