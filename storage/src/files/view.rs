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
        self.make_dirs(parent(path))?;
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
            let (below_weir, path) = (format!("data/{bucket}/.weir/{id}"), format!("data/{bucket}/{key}"));
            if self.move_link(&id, &below_weir, &path).is_ok() {
                self.losers.remove(&(bucket.to_owned(), key));
            }
        }
        Ok(())
    }

    /// In one step: nobody comes back to a link that a killed process left, as its object is not what the record is about.
    fn move_link(&self, id: &FileId, from: &str, to: &str) -> io::Result<()> {
        self.make_dirs(parent(to))?;
        match self.disk.rename(from, to) {
            // It had not got its link, or both are there and name the same file.
            Err(error) if error.kind() == ErrorKind::NotFound => self.link_at(id, to),
            renamed => renamed.and_then(|()| tolerate(self.disk.unlink(from), &[ErrorKind::NotFound])),
        }
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

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::twin::TwinDisk;
    use crate::format::record::Chunk;
    use common::doors::SeededRandom;
    use common::{Random, Term};

    const KEYS: [&str; 6] = ["a", "a/b", "a/b/c", "a/d", "e//f", "g"];

    /// What a record does to the view: of this key the first object goes and the second comes.
    type Step = (&'static str, Option<Payload>, Option<Payload>);

    fn payload(counter: u64) -> Payload {
        Payload::Chunks(vec![Chunk { id: FileId::new(Term(1), counter, 0), length: 1, blocks: vec![0] }])
    }

    fn id(payload: &Payload) -> FileId {
        payload.chunks_in_record()[0].id
    }

    fn apply(view: &mut View, disk: &TwinDisk, (key, hidden, shown): &Step) -> io::Result<()> {
        if let Some(shown) = shown {
            tolerate(disk.rename(&id(shown).staging_path(), &id(shown).path()), &[ErrorKind::NotFound])?;
        }
        if let Some(hidden) = hidden {
            view.hide("bucket", key, hidden)?;
            tolerate(disk.unlink(&id(hidden).path()), &[ErrorKind::NotFound])?;
        }
        if let Some(shown) = shown {
            let chunks = ChunkList::open(disk, shown).expect("listed in the record");
            view.show("bucket", key, &chunks)?;
        }
        Ok(())
    }

    /// Steps, a kill within the last of them, and the rest again from some step on, as a replay does it.
    fn history(seed: u64) {
        let random = SeededRandom::new(seed);
        let below = |bound: usize| (random.u64() % bound as u64) as usize;
        let mut disk = TwinDisk::default();
        for directory in ["staging", "objects", "objects/00", "data", "data/bucket"] {
            disk.make_dir(directory).expect("a directory");
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut current: BTreeMap<&str, Payload> = BTreeMap::new();
        for counter in 0..1 + below(12) as u64 {
            let key = KEYS[below(KEYS.len())];
            let shown = (below(3) > 0).then(|| payload(counter));
            if let Some(shown) = &shown {
                disk.create(&id(shown).staging_path()).expect("a staged file");
            }
            let hidden = match &shown {
                Some(shown) => current.insert(key, shown.clone()),
                None => current.remove(key),
            };
            steps.push((key, hidden, shown));
        }
        let (last, before) = steps.split_last().expect("one at least");
        let mut view = View::new(Arc::new(disk.clone()));
        for step in before {
            apply(&mut view, &disk, step).expect("nothing is in the way");
        }
        disk.kill_at(disk.moment() + below(8));
        let killed = apply(&mut view, &disk, last);
        assert!(killed.is_ok() || !disk.is_alive(), "{killed:?}");
        disk = disk.kill();
        let mut view = View::new(Arc::new(disk.clone()));
        for step in &steps[below(steps.len())..] {
            apply(&mut view, &disk, step).expect("nothing is in the way of a replay");
        }
        let links: Vec<_> = disk.files().into_iter().filter(|path| path.starts_with("data/")).collect();
        let told = |payload: &Option<Payload>| payload.as_ref().map(|payload| id(payload).to_string());
        let told: Vec<_> = steps.iter().map(|(key, hidden, shown)| (key, told(hidden), told(shown))).collect();
        assert_eq!(links.len(), current.len(), "history {seed}: key, hidden, shown: {told:#?} leave {links:#?}");
    }

    /// One link of each current object, whenever the process was killed. That a key has its own path again which another had
    /// is promised within a run only.
    #[test]
    fn a_kill_leaves_one_link_of_each_current_object() {
        for seed in 0..20_000 {
            history(seed);
        }
    }
}
