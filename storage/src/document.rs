//! Small documents in a disk's root that are others': the second copy of the control store. A disk does not look into them.

use crate::disk::{read_small, replace_private};
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::target::{Target, blocking, open_real};
use crate::{Error, Result};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The second copy of the control store.
pub const CONTROL_COPY: &str = "control.backup";

impl Target {
    /// Puts the document in the root of every disk, each time in place of the one before, for the owner of the process only. A
    /// power cut leaves the old one or the new one. Fails when it is on no disk.
    pub async fn put_document(&self, name: &'static str, content: Vec<u8>) -> Result<()> {
        if content.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(Error::TooLarge { limit_bytes: DOCUMENT_BYTES_MAX });
        }
        let (content, mut written) = (Arc::new(content), Err(Error::Stopping));
        for disk in self.disks() {
            let (disk, content) = (Arc::clone(&disk.disk), Arc::clone(&content));
            let put =
                blocking(move || replace_private(disk.as_ref(), "", name, &content).map_err(Error::io(name))).await;
            if written.is_err() {
                written = put;
            }
        }
        written
    }

    /// The document on a disk whose process has ended; `None` if there is none.
    pub fn read_document(disk: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        let disk = open_real(disk)?;
        match read_small(disk.as_ref(), name, DOCUMENT_BYTES_MAX) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(name)(error)),
        }
    }
}
