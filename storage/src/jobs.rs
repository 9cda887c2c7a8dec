//! Notes of those who work on the target's objects in the background: where they are, so that a restart does not make them
//! begin anew. Small files under `jobs/`; nothing else rests on them.

use crate::disk::{SyncPoint, read_small, replace_small};
use crate::target::Target;
use crate::{Error, Result};

const DIRECTORY: &str = "jobs";
const NOTE_BYTES_MAX: u64 = 16 * 1024;

impl Target {
    /// Keeps a note under a name of lower-case letters, in the place of the one before. Durable. Blocking.
    pub fn remember(&self, job: &str, note: &[u8]) -> Result<()> {
        let disk = &self.disks()[0].disk;
        if note.len() as u64 > NOTE_BYTES_MAX || job.is_empty() || !job.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(Error::Refused(format!("{job} is no note of a job")));
        }
        let failed = || Error::io(format!("{DIRECTORY}/{job}"));
        if !disk.exists(DIRECTORY).map_err(failed())? {
            disk.make_dir(DIRECTORY).map_err(failed())?;
            disk.sync_dir("", SyncPoint::Identity).map_err(failed())?;
        }
        replace_small(disk.as_ref(), DIRECTORY, job, note).map_err(failed())
    }

    /// The note, if there is one that can be read. Blocking.
    pub fn recall(&self, job: &str) -> Option<Vec<u8>> {
        read_small(self.disks()[0].disk.as_ref(), &format!("{DIRECTORY}/{job}"), NOTE_BYTES_MAX).ok()
    }

    /// Takes the note away, if there is one. Blocking.
    pub fn forget(&self, job: &str) -> Result<()> {
        let (disk, path) = (&self.disks()[0].disk, format!("{DIRECTORY}/{job}"));
        if disk.exists(&path).map_err(Error::io(&path))? {
            disk.unlink(&path).map_err(Error::io(&path))?;
        }
        Ok(())
    }
}
