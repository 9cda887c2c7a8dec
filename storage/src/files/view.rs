//! `data/<bucket>/<key>`: hard links to the current large objects, for people. Weir never reads them (engine rule A1).
//!
//! A key that is no plain path, or that cannot be a file because another key needs its name as a directory, is linked at
//! `data/<bucket>/.weir/<id>`; it gets its path when the other goes. An object of several chunks is
//! `data/<bucket>/.weir/chunks/<id of the first>/00001 ...`, whose `cat` in order is the object.

use crate::disk::Disk;
use crate::disk::read::ChunkList;
use crate::format::name::{FileId, is_plain_path};
use crate::format::record::Payload;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Conflicting keys that are remembered, so that they can be linked again when their rival goes.
const LOSERS_MAX: usize = 10_000;

pub struct View {
    disk: Arc<dyn Disk>,
    /// Keys that lost their path to another, by bucket and key.
    losers: BTreeMap<(String, String), FileId>,
}

impl View {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, losers: BTreeMap::new() }
    }

    pub fn show(&mut self, bucket: &str, key: &str, chunks: &ChunkList) -> io::Result<()> {
        match chunks.count() {
            0 => Ok(()),
            1 => self.show_file(bucket, key, chunks.id_and_length(0).0),
            count => {
                let directory = format!("data/{bucket}/.weir/chunks/{}", chunks.id_and_length(0).0);
                self.make_dirs(&directory)?;
                for at in 0..count {
                    let (id, _) = chunks.id_and_length(at);
                    tolerate(
                        self.disk.link(&id.path(), &format!("{directory}/{:05}", at + 1)),
                        &[ErrorKind::AlreadyExists],
                    )?;
                }
                Ok(())
            }
        }
    }

    fn show_file(&mut self, bucket: &str, key: &str, id: FileId) -> io::Result<()> {
        if is_plain_path(key) {
            match self.link_at(&id, &format!("data/{bucket}/{key}")) {
                Err(error) if is_conflict(&error) => {
                    if self.losers.len() < LOSERS_MAX {
                        self.losers.insert((bucket.to_owned(), key.to_owned()), id);
                    }
                }
                linked => {
                    // It may have lost the path in an earlier run, of which this one knows nothing.
                    self.losers.remove(&(bucket.to_owned(), key.to_owned()));
                    tolerate(self.disk.unlink(&format!("data/{bucket}/.weir/{id}")), &[ErrorKind::NotFound])?;
                    return linked;
                }
            }
        }
        self.link_at(&id, &format!("data/{bucket}/.weir/{id}"))
    }

    fn link_at(&self, id: &FileId, path: &str) -> io::Result<()> {
        self.make_dirs(path.rsplit_once('/').map_or("", |(parent, _)| parent))?;
        match self.disk.link(&id.path(), path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // An earlier object of this key, a repetition after a crash, or a directory: only a file is ours to replace.
                self.disk.unlink(path)?;
                self.disk.link(&id.path(), path)
            }
            // The object is gone again already: a replay is on its way to what replaced it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Takes the links of a replaced object away, and gives its path to one who lost it.
    pub fn hide(&mut self, bucket: &str, key: &str, payload: &Payload) -> io::Result<()> {
        let Some(first) = first_id(self.disk.as_ref(), payload) else { return Ok(()) };
        let chunks = format!("data/{bucket}/.weir/chunks/{first}");
        if let Ok(entries) = self.disk.list(&chunks) {
            for entry in entries {
                self.disk.unlink(&format!("{chunks}/{}", entry.name)).ok();
            }
            self.disk.remove_dir(&chunks).ok();
        }
        let lost = self.losers.remove(&(bucket.to_owned(), key.to_owned())).is_some();
        if lost || !is_plain_path(key) {
            return tolerate(self.disk.unlink(&format!("data/{bucket}/.weir/{first}")), &[ErrorKind::NotFound]);
        }
        // Also when it lost its path in an earlier run, of which this one knows nothing.
        tolerate(self.disk.unlink(&format!("data/{bucket}/.weir/{first}")), &[ErrorKind::NotFound])?;
        let path = format!("data/{bucket}/{key}");
        if tolerate(self.disk.unlink(&path), &[ErrorKind::NotFound, ErrorKind::NotADirectory]).is_err() {
            // A directory: another key has the path.
            return Ok(());
        }
        self.remove_empty_parents(&path, &format!("data/{bucket}"));
        self.relink_losers(bucket, key)
    }

    fn remove_empty_parents(&self, path: &str, stop: &str) {
        let mut path = path;
        while let Some((parent, _)) = path.rsplit_once('/') {
            if parent == stop || self.disk.remove_dir(parent).is_err() {
                return;
            }
            path = parent;
        }
    }

    fn relink_losers(&mut self, bucket: &str, gone: &str) -> io::Result<()> {
        let rivals = |key: &str| is_below(key, gone) || is_below(gone, key);
        let again: Vec<_> = self
            .losers
            .iter()
            .filter(|((b, k), _)| b == bucket && rivals(k))
            .map(|((_, k), id)| (k.clone(), *id))
            .collect();
        for (key, id) in again {
            if self.link_at(&id, &format!("data/{bucket}/{key}")).is_ok() {
                self.losers.remove(&(bucket.to_owned(), key));
                tolerate(self.disk.unlink(&format!("data/{bucket}/.weir/{id}")), &[ErrorKind::NotFound])?;
            }
        }
        Ok(())
    }

    pub fn remove_bucket(&mut self, bucket: &str) -> io::Result<()> {
        self.losers.retain(|(of, _), _| of != bucket);
        for directory in [".weir/chunks", ".weir", ""] {
            let path = format!("data/{bucket}/{directory}");
            tolerate(self.disk.remove_dir(path.trim_end_matches('/')), &[ErrorKind::NotFound])?;
        }
        Ok(())
    }

    fn make_dirs(&self, directory: &str) -> io::Result<()> {
        match self.disk.make_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (parent, _) = directory.rsplit_once('/').ok_or(error)?;
                self.make_dirs(parent)?;
                self.disk.make_dir(directory)
            }
            result => result,
        }
    }
}

fn first_id(disk: &dyn Disk, payload: &Payload) -> Option<FileId> {
    let chunks = ChunkList::open(disk, payload).ok()?;
    (chunks.count() > 0).then(|| chunks.id_and_length(0).0)
}

fn is_below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// A file where a directory is needed, or the other way round.
fn is_conflict(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists | ErrorKind::PermissionDenied
    )
}

fn tolerate(result: io::Result<()>, kinds: &[ErrorKind]) -> io::Result<()> {
    match result {
        Err(error) if kinds.contains(&error.kind()) => Ok(()),
        result => result,
    }
}
