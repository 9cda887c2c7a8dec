//! The disk's simulated twin: a file system in memory that remembers every operation, so that the image that a power
//! cut would leave can be rebuilt for any moment of a run.
//!
//! What survives a cut follows POSIX and no more. Bytes are on the disk after fdatasync of their file, names after fsync
//! of their directory. Of everything else any subset may be there: single sectors of a write, a name without its bytes, an
//! unlink without the rename before it. A rename is atomic. This is harsher than ext4 and xfs, which keep the order of
//! names: what survives here survives there.

use super::{DirEntry, Disk, File, Space, SyncPoint};
use common::Random;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PAGE: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Content {
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
    length: u64,
}

impl Content {
    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let at = offset as usize + done;
            let (page, within) = (at / PAGE, at % PAGE);
            let step = (PAGE - within).min(count - done);
            match self.pages.get(page).and_then(Option::as_ref) {
                Some(bytes) => buffer[done..done + step].copy_from_slice(&bytes[within..within + step]),
                None => buffer[done..done + step].fill(0),
            }
            done += step;
        }
        count
    }

    /// Writes without moving the end.
    fn put(&mut self, data: &[u8], offset: u64) {
        let mut done = 0;
        while done < data.len() {
            let at = offset as usize + done;
            let (page, within) = (at / PAGE, at % PAGE);
            let step = (PAGE - within).min(data.len() - done);
            if self.pages.len() <= page {
                self.pages.resize(page + 1, None);
            }
            let bytes = Arc::make_mut(self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE])));
            bytes[within..within + step].copy_from_slice(&data[done..done + step]);
            done += step;
        }
    }

    fn write(&mut self, data: &[u8], offset: u64) {
        self.put(data, offset);
        self.length = self.length.max(offset + data.len() as u64);
    }

    fn written_pages(&self) -> HashSet<u64> {
        self.pages.iter().enumerate().filter(|(_, page)| page.is_some()).map(|(at, _)| at as u64).collect()
    }

    fn set_len(&mut self, length: u64) {
        if length < self.length {
            let keep = (length as usize).div_ceil(PAGE);
            self.pages.truncate(keep);
            let within = length as usize % PAGE;
            if within > 0
                && let Some(Some(last)) = self.pages.get_mut(keep - 1)
            {
                Arc::make_mut(last)[within..].fill(0);
            }
        }
        self.length = length;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    File(u64),
    Directory,
}

#[derive(Clone, Debug)]
enum NameOperation {
    Make(String, Node),
    Link(String, u64),
    Rename(String, String),
    Remove(String),
}

impl NameOperation {
    fn paths(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Make(path, _) | Self::Link(path, _) | Self::Remove(path) => (path, None),
            Self::Rename(from, to) => (from, Some(to)),
        };
        std::iter::once(first.as_str()).chain(second.map(String::as_str))
    }

    /// Applies where it makes sense: in a crash image an earlier operation may be missing.
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Make(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Link(path, inode) => {
                names.insert(path.clone(), Node::File(*inode));
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

#[derive(Clone)]
enum Operation {
    Name(NameOperation),
    Write {
        inode: u64,
        offset: u64,
        data: Arc<[u8]>,
    },
    SetLen {
        inode: u64,
        length: u64,
    },
    SyncData {
        inode: u64,
        point: SyncPoint,
    },
    /// The sync failed: the pages are clean in the cache and may never reach the disk.
    SyncDataFailed {
        inode: u64,
    },
    SyncDir {
        directory: String,
        point: SyncPoint,
    },
    /// The disk itself changed bytes.
    Rot {
        inode: u64,
        offset: u64,
        data: Arc<[u8]>,
    },
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Node>,
    contents: HashMap<u64, Content>,
    next_inode: u64,
    base: Image,
    log: Vec<Operation>,
    capacity_bytes: Option<u64>,
    used_bytes: u64,
    /// The pages that each file holds: written or reserved.
    held: HashMap<u64, HashSet<u64>>,
    links: HashMap<u64, u32>,
    failing: Vec<(SyncPoint, u32)>,
    /// Before which sync the process is killed.
    kill_before: Option<SyncPoint>,
    /// After how many operations the process is killed.
    kill_at: Option<usize>,
    read_errors: HashMap<u64, Range<u64>>,
}

/// Names and bytes that are on the disk for good.
#[derive(Clone, Default)]
struct Image {
    names: BTreeMap<String, Node>,
    contents: HashMap<u64, Content>,
}

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct TwinDisk {
    state: Arc<Mutex<State>>,
    alive: Arc<AtomicBool>,
    /// How often the page cache was asked.
    cached_reads: Arc<AtomicU64>,
}

impl Default for TwinDisk {
    fn default() -> Self {
        Self { state: Arc::default(), alive: Arc::new(AtomicBool::new(true)), cached_reads: Arc::default() }
    }
}

impl TwinDisk {
    fn from_image(image: Image) -> Self {
        let next_inode = image.contents.keys().max().map_or(0, |greatest| greatest + 1);
        let held: HashMap<u64, HashSet<u64>> =
            image.contents.iter().map(|(inode, content)| (*inode, content.written_pages())).collect();
        let mut links = HashMap::new();
        for node in image.names.values() {
            if let Node::File(inode) = node {
                *links.entry(*inode).or_default() += 1;
            }
        }
        let state = State {
            used_bytes: held.values().map(|pages| pages.len() as u64 * PAGE as u64).sum(),
            held,
            links,
            names: image.names.clone(),
            contents: image.contents.clone(),
            next_inode,
            base: image,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            alive: Arc::new(AtomicBool::new(true)),
            cached_reads: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        // Under the lock: nothing of a killed process comes after the kill.
        let mut state = self.lock();
        if state.kill_at.is_some_and(|moment| state.log.len() >= moment) {
            state.kill_at = None;
            self.alive.store(false, Ordering::Release);
        }
        if !self.alive.load(Ordering::Acquire) {
            return Err(io::Error::other("the process was killed"));
        }
        Ok(state)
    }

    /// How many operations the disk has seen: a moment of the run.
    pub fn moment(&self) -> usize {
        self.lock().log.len()
    }

    /// kill -9: whoever holds this handle or a file of it can do nothing more; the page cache stays. The new handle is the
    /// next process's.
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        (state.kill_before, state.kill_at) = (None, None);
        self.alive.store(false, Ordering::Release);
        Self { state: Arc::clone(&self.state), alive: Arc::new(AtomicBool::new(true)), cached_reads: Arc::default() }
    }

    /// kill -9 right before the next sync of this kind: its bytes are in the page cache and nowhere else.
    pub fn kill_before(&self, point: SyncPoint) {
        self.lock().kill_before = Some(point);
    }

    /// kill -9 when the disk has seen so many operations, and before the next.
    pub fn kill_at(&self, moment: usize) {
        self.lock().kill_at = Some(moment);
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Whether this sync is where the process dies.
    fn dies_before(&self, state: &mut State, point: SyncPoint) -> bool {
        let dies = state.kill_before == Some(point);
        if dies {
            state.kill_before = None;
            self.alive.store(false, Ordering::Release);
        }
        dies
    }

    /// Lets the `nth` next sync of this kind fail with EIO (0 = the next one), as a dying disk does.
    pub fn fail_sync(&self, point: SyncPoint, nth: u32) {
        self.lock().failing.push((point, nth));
    }

    /// What files take may not grow above this.
    pub fn limit_space(&self, capacity_bytes: Option<u64>) {
        self.lock().capacity_bytes = capacity_bytes;
    }

    /// What files take now, in pages written or reserved.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes
    }

    /// Lets every read that touches this stretch of the file fail with EIO.
    pub fn fail_reads(&self, path: &str, range: Range<u64>) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.file(path)?;
        state.read_errors.insert(inode, range);
        Ok(())
    }

    /// Flips bits of a byte on the disk itself, past every cache.
    pub fn rot(&self, path: &str, offset: u64, mask: u8) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.file(path)?;
        let mut byte = [0];
        if state.contents[&inode].read(&mut byte, offset) == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        byte[0] ^= mask;
        state.content(inode).put(&byte, offset);
        state.log.push(Operation::Rot { inode, offset, data: Arc::from(byte.as_slice()) });
        Ok(())
    }

    /// All paths of files, for tests that look at what is left.
    pub fn files(&self) -> Vec<String> {
        let state = self.lock();
        state.names.iter().filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path.clone()).collect()
    }

    /// Walks the run up to now. `without` names a sync that is to have no effect.
    pub fn cutter(&self, without: Option<SyncPoint>) -> Cutter {
        let state = self.lock();
        Cutter {
            image: state.base.clone(),
            log: state.log.clone(),
            at: 0,
            pending_names: Vec::new(),
            pending_bytes: HashMap::new(),
            without,
        }
    }
}

#[derive(Clone)]
enum PendingBytes {
    Write { offset: u64, data: Arc<[u8]> },
    SetLen(u64),
}

/// Replays a run's operations, keeping apart what is durable and what is not.
pub struct Cutter {
    image: Image,
    log: Vec<Operation>,
    at: usize,
    pending_names: Vec<NameOperation>,
    pending_bytes: HashMap<u64, Vec<PendingBytes>>,
    without: Option<SyncPoint>,
}

impl Cutter {
    /// The disk that a power cut at `moment` leaves; moments must not go back. `random` decides about everything that was
    /// not synced.
    pub fn cut(&mut self, moment: usize, random: &dyn Random) -> TwinDisk {
        while self.at < moment.min(self.log.len()) {
            let operation = self.log[self.at].clone();
            self.step(operation);
            self.at += 1;
        }
        TwinDisk::from_image(self.finish(random))
    }

    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Name(name) => {
                if let NameOperation::Make(_, Node::File(inode)) = &name {
                    self.image.contents.insert(*inode, Content::default());
                }
                self.pending_names.push(name);
            }
            Operation::Write { inode, offset, data } => {
                self.pending_bytes.entry(inode).or_default().push(PendingBytes::Write { offset, data });
            }
            Operation::SetLen { inode, length } => {
                self.pending_bytes.entry(inode).or_default().push(PendingBytes::SetLen(length));
            }
            Operation::SyncData { inode, point } if Some(point) != self.without => {
                let content = self.image.contents.entry(inode).or_default();
                for pending in self.pending_bytes.remove(&inode).unwrap_or_default() {
                    match pending {
                        PendingBytes::Write { offset, data } => content.write(&data, offset),
                        PendingBytes::SetLen(length) => content.set_len(length),
                    }
                }
            }
            Operation::SyncDataFailed { inode } => {
                self.pending_bytes.remove(&inode);
            }
            Operation::SyncDir { directory, point } if Some(point) != self.without => self.sync_dir(&directory),
            Operation::SyncData { .. } | Operation::SyncDir { .. } => {}
            Operation::Rot { inode, offset, data } => {
                self.image.contents.entry(inode).or_default().put(&data, offset);
            }
        }
    }

    /// Makes the pending operations on names in `directory` durable, and what they rest on: earlier ones of the same names.
    fn sync_dir(&mut self, directory: &str) {
        let mut wanted: HashSet<String> = HashSet::new();
        let mut keep = vec![true; self.pending_names.len()];
        for (index, operation) in self.pending_names.iter().enumerate().rev() {
            let touches = operation.paths().any(|path| parent(path) == directory || wanted.contains(path));
            if touches {
                keep[index] = false;
                wanted.extend(operation.paths().map(str::to_owned));
            }
        }
        let pending = std::mem::take(&mut self.pending_names);
        for (operation, keep) in pending.into_iter().zip(keep) {
            if keep {
                self.pending_names.push(operation);
            } else {
                operation.apply(&mut self.image.names);
            }
        }
    }

    fn finish(&self, random: &dyn Random) -> Image {
        let mut image = self.image.clone();
        // Some cuts lose everything that was not synced, some nothing, most something.
        let chance = match random.u64() % 4 {
            0 => 0,
            1 => 100,
            _ => random.u64() % 101,
        };
        let lucky = || random.u64() % 100 < chance;
        for operation in &self.pending_names {
            if lucky() {
                operation.apply(&mut image.names);
            }
        }
        // A name whose directory did not make it is no name.
        let names = image.names.clone();
        image.names.retain(|path, _| parent(path).is_empty() || names.get(parent(path)) == Some(&Node::Directory));

        let mut pending: Vec<_> = self.pending_bytes.iter().collect();
        pending.sort_by_key(|(inode, _)| **inode);
        for (inode, operations) in pending {
            let content = image.contents.entry(*inode).or_default();
            for operation in operations {
                match operation {
                    PendingBytes::SetLen(length) => {
                        if lucky() {
                            content.set_len(*length);
                        }
                    }
                    PendingBytes::Write { offset, data } => write_some_sectors(content, data, *offset, &lucky),
                }
            }
        }
        image
    }
}

fn write_some_sectors(content: &mut Content, data: &[u8], offset: u64, lucky: &dyn Fn() -> bool) {
    let mut done = 0;
    while done < data.len() {
        let at = offset as usize + done;
        let step = (SECTOR - at % SECTOR).min(data.len() - done);
        if lucky() {
            content.write(&data[done..done + step], at as u64);
        }
        done += step;
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl State {
    fn file(&self, path: &str) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn content(&mut self, inode: u64) -> &mut Content {
        self.contents.entry(inode).or_default()
    }

    /// The checks of the kernel on a path that is to get a name.
    fn can_name(&self, path: &str) -> io::Result<()> {
        if path.split('/').any(|component| component.len() > 255) {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        match self.names.get(parent(path)) {
            _ if parent(path).is_empty() => {}
            Some(Node::Directory) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => {
                let mut above = parent(path);
                while !above.is_empty() {
                    if let Some(Node::File(_)) = self.names.get(above) {
                        return Err(io::ErrorKind::NotADirectory.into());
                    }
                    above = parent(above);
                }
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        if self.names.contains_key(path) { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(()) }
    }

    fn name(&mut self, operation: NameOperation) {
        let gone = match &operation {
            NameOperation::Rename(_, path) | NameOperation::Remove(path) => self.names.get(path).copied(),
            NameOperation::Make(..) | NameOperation::Link(..) => None,
        };
        operation.apply(&mut self.names);
        if let NameOperation::Make(_, Node::File(inode)) | NameOperation::Link(_, inode) = &operation {
            *self.links.entry(*inode).or_default() += 1;
        }
        if let Some(Node::File(inode)) = gone {
            let links = self.links.entry(inode).or_default();
            *links = links.saturating_sub(1);
            if *links == 0 {
                // Sooner than the kernel where somebody still has it open: it makes no difference to who waits for space.
                self.keep_pages(inode, 0);
            }
        }
        self.log.push(Operation::Name(operation));
    }

    /// Takes the pages of a stretch of a file, if there is room for those that it does not hold yet.
    fn charge(&mut self, inode: u64, offset: u64, length: u64) -> io::Result<()> {
        let page = PAGE as u64;
        let pages = offset / page..(offset + length).div_ceil(page).max(offset / page);
        let held = self.held.entry(inode).or_default();
        let bytes = pages.clone().filter(|page| !held.contains(page)).count() as u64 * page;
        if bytes > 0 && self.capacity_bytes.is_some_and(|capacity| self.used_bytes + bytes > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        held.extend(pages);
        self.used_bytes += bytes;
        Ok(())
    }

    /// Gives back what a file holds from this page on.
    fn keep_pages(&mut self, inode: u64, pages: u64) {
        let Some(held) = self.held.get_mut(&inode) else { return };
        let before = held.len();
        held.retain(|page| *page < pages);
        self.used_bytes -= (before - held.len()) as u64 * PAGE as u64;
    }

    fn has_children(&self, directory: &str) -> bool {
        let prefix = format!("{directory}/");
        self.names.range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    fn fails(&mut self, point: SyncPoint) -> bool {
        let Some(index) = self.failing.iter().position(|(failing, _)| *failing == point) else { return false };
        if self.failing[index].1 == 0 {
            self.failing.remove(index);
            return true;
        }
        self.failing[index].1 -= 1;
        false
    }
}

impl Disk for TwinDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.running()?;
        state.can_name(path)?;
        let inode = state.next_inode;
        state.next_inode += 1;
        state.contents.insert(inode, Content::default());
        state.name(NameOperation::Make(path.to_owned(), Node::File(inode)));
        Ok(Arc::new(TwinFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let inode = self.running()?.file(path)?;
        Ok(Arc::new(TwinFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.running()?;
        let moved = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        match (state.can_name(to), state.names.get(to)) {
            (Ok(()), _) | (Err(_), Some(Node::File(_))) => {}
            (Err(error), _) => return Err(error),
        }
        assert!(matches!(moved, Node::File(_)), "directories are never renamed");
        if state.names.get(to) == Some(&moved) {
            // Two names of one file: rename(2) leaves both.
            return Ok(());
        }
        state.name(NameOperation::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.running()?;
        let inode = state.file(from)?;
        state.can_name(to)?;
        state.name(NameOperation::Link(to.to_owned(), inode));
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let mut state = self.running()?;
        state.file(path)?;
        state.name(NameOperation::Remove(path.to_owned()));
        Ok(())
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.running()?;
        if state.names.get(path) == Some(&Node::Directory) {
            return Ok(());
        }
        state.can_name(path)?;
        state.name(NameOperation::Make(path.to_owned(), Node::Directory));
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.running()?;
        match state.names.get(path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Directory) => {}
        }
        if state.has_children(path) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.name(NameOperation::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<DirEntry>> {
        let state = self.running()?;
        if !directory.is_empty() {
            match state.names.get(directory) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
        let entry = |(path, node): (&String, &Node)| DirEntry {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            is_dir: *node == Node::Directory,
            length: match node {
                Node::File(inode) => state.contents.get(inode).map_or(0, |content| content.length),
                Node::Directory => 0,
            },
        };
        Ok(state.names.iter().filter(|(path, _)| parent(path) == directory).map(entry).collect())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.running()?.names.contains_key(path))
    }

    fn sync_dir(&self, directory: &str, point: SyncPoint) -> io::Result<()> {
        let mut state = self.running()?;
        if self.dies_before(&mut state, point) {
            return Err(io::Error::other("the process was killed"));
        }
        if state.fails(point) {
            return Err(io::Error::other("simulated EIO"));
        }
        state.log.push(Operation::SyncDir { directory: directory.to_owned(), point });
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.running()?;
        let total_bytes = state.capacity_bytes.unwrap_or(1 << 40);
        Ok(Space { free_bytes: total_bytes.saturating_sub(state.used_bytes), total_bytes })
    }
}

struct TwinFile {
    disk: TwinDisk,
    inode: u64,
}

impl File for TwinFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.running()?;
        let touches = |bad: &Range<u64>| bad.start < offset + buffer.len() as u64 && offset < bad.end;
        if state.read_errors.get(&self.inode).is_some_and(touches) {
            return Err(io::Error::other("simulated EIO"));
        }
        Ok(state.contents.get(&self.inode).map_or(0, |content| content.read(buffer, offset)))
    }

    /// Everything is in the page cache but, of each eight reads, one.
    fn read_at_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        if self.disk.cached_reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(8) {
            return Ok(None);
        }
        let count = self.read_at(buffer, offset)?;
        Ok((count == buffer.len()).then_some(count))
    }

    fn forget_cached(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.disk.running()?;
        let data: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        state.charge(self.inode, offset, data.len() as u64)?;
        state.content(self.inode).write(&data, offset);
        state.log.push(Operation::Write { inode: self.inode, offset, data: Arc::from(data) });
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.running()?;
        state.content(self.inode).set_len(length);
        state.keep_pages(self.inode, length.div_ceil(PAGE as u64));
        state.log.push(Operation::SetLen { inode: self.inode, length });
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.running()?.contents.get(&self.inode).map_or(0, |content| content.length))
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.running()?.charge(self.inode, offset, length)
    }

    fn sync_data(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.disk.running()?;
        if self.disk.dies_before(&mut state, point) {
            return Err(io::Error::other("the process was killed"));
        }
        if state.fails(point) {
            state.log.push(Operation::SyncDataFailed { inode: self.inode });
            return Err(io::Error::other("simulated EIO"));
        }
        state.log.push(Operation::SyncData { inode: self.inode, point });
        Ok(())
    }
}
