//! The file below redb, with a checksum for each of its pages in a second file, compared at every read.
//!
//! redb verifies its pages only when it looks through all of them; until then a flipped bit in a key makes the key absent,
//! and one in redb's own tables may end the process. With the checksums a page that is not what was written is an error
//! when it is read, whatever it holds, and a start need not look at pages that nobody asks for.
//!
//! Why they survive a power cut: redb never writes over a page that its last durable commit reaches. So a page that a start
//! may read has had its checksum since before that commit, and the commit's sync made the checksum durable first. Of other
//! pages nobody asks for the content. Only the header is written in place: the table names the one that is durable and the
//! one that is on its way, and the header goes to the file after both names are durable.

use super::warmth::Warmth;
use crate::disk::{Disk, File, SyncPoint, read_exact};
use crate::limits::INDEX_STRETCH_BYTES;
use crate::reserve::Reserve;
use crate::{Error, Result};
use common::checksum::crc32c;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub const DIRECTORY: &str = "index";
pub const PATH: &str = "index/index.redb";
pub const SUMS_PATH: &str = "index/index.crc32c";

const PAGE_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"WEIRSUM1";
const VERSION: u32 = 1;
/// Magic, version, page size, the two headers' checksums, and the checksum of these.
const HEAD_BYTES: usize = 28;
/// Checksums that are read and written in one go.
const BLOCK_SUMS: usize = PAGE_BYTES / 4;

pub struct Pages {
    file: Arc<dyn File>,
    sums: Arc<dyn File>,
    reserve: Arc<Reserve>,
    state: Mutex<State>,
    /// There was no space, or a sync failed. redb must be opened anew, and what is left of it may write nothing over the new
    /// one.
    is_shut: Arc<AtomicBool>,
    warmth: Arc<Warmth>,
}

struct State {
    /// The stretches that have their blocks, as far as this process knows.
    allocated: HashSet<u64>,
    /// The first page as redb left it. In the file since the last sync.
    header: Vec<u8>,
    header_is_dirty: bool,
    durable_header: u32,
    /// The checksums, as far as they were needed yet: a thousandth of the pages.
    blocks: BTreeMap<u64, Vec<u32>>,
    dirty: BTreeSet<u64>,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Pages {
    /// Opens the files of an index, or makes those of a new one.
    pub fn open(disk: &dyn Disk, reserve: &Arc<Reserve>) -> Result<Self> {
        disk.make_dir(DIRECTORY).map_err(Error::io(DIRECTORY))?;
        let open = |path: &str| {
            let exists = disk.exists(path).map_err(Error::io(path))?;
            let file = reserve.with_space(|| if exists { disk.open(path) } else { disk.create(path) });
            Ok::<_, Error>((file.map_err(Error::io(path))?, exists))
        };
        let (file, had_file) = open(PATH)?;
        let is_new = file.length().map_err(Error::io(PATH))? == 0;
        if is_new && disk.exists(SUMS_PATH).map_err(Error::io(SUMS_PATH))? {
            // Those of an index before this one. Not written over: whoever still holds that one open, and closes it late,
            // writes to its own file.
            disk.unlink(SUMS_PATH).map_err(Error::io(SUMS_PATH))?;
        }
        let (sums, had_sums) = open(SUMS_PATH)?;
        if !had_file || !had_sums {
            disk.sync_dir(DIRECTORY, SyncPoint::IndexPages).map_err(Error::io(DIRECTORY))?;
        }
        let state = if is_new {
            State::new(vec![0; PAGE_BYTES])
        } else {
            // What is read from here on must be what a power cut leaves.
            file.sync_data(SyncPoint::IndexPages).map_err(Error::io(PATH))?;
            let header = read_header(file.as_ref(), sums.as_ref())
                .map_err(|error| Error::IndexBroken(format!("its header: {error}")))?;
            State::new(header)
        };
        let (reserve, state) = (Arc::clone(reserve), Mutex::new(state));
        Ok(Self { file, sums, reserve, state, is_shut: Arc::default(), warmth: Arc::default() })
    }

    /// Set when nothing of this index may be written any more.
    pub fn is_shut(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_shut)
    }

    /// Told of each read that has to wait for the disk.
    pub fn warmth(&self) -> Arc<Warmth> {
        Arc::clone(&self.warmth)
    }

    fn check_open(&self) -> io::Result<()> {
        if self.is_shut.load(Ordering::Acquire) {
            return Err(io::Error::other("there was no space for the index: it is opened again"));
        }
        Ok(())
    }

    /// The first page of a stretch that is not what was written.
    fn mismatch(&self, first: u64, bytes: &[u8]) -> io::Result<Option<u64>> {
        let found: Vec<u32> = bytes.chunks(PAGE_BYTES).map(crc32c).collect();
        let mut state = lock(&self.state);
        for (page, found) in (first..).zip(found) {
            if *state.sum(self.sums.as_ref(), page)? != found {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn read_file(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.file.read_at_cached(out, offset)?.is_some() {
            return Ok(());
        }
        self.warmth.waited();
        if self.file.read_at(out, offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn read_pages(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let first = page_of(offset, out.len())?;
        for attempt in 0..2 {
            self.read_file(offset, out)?;
            match self.mismatch(first, out)? {
                None => return Ok(()),
                // Once more, past the page cache (A19).
                Some(_) if attempt == 0 => self.file.forget_cached(offset, out.len() as u64)?,
                Some(page) => return Err(damaged(format!("page {page} does not match its checksum"))),
            }
        }
        Ok(())
    }

    /// Blocks for the pages and for their checksums, before redb counts on either: it gives up at the first write without
    /// space.
    fn allocate(&self, state: &mut State, offset: u64, length: usize) -> io::Result<()> {
        let last = (offset + length as u64).saturating_sub(1) / INDEX_STRETCH_BYTES;
        for stretch in offset / INDEX_STRETCH_BYTES..=last {
            if state.allocated.contains(&stretch) {
                continue;
            }
            let from = stretch * INDEX_STRETCH_BYTES;
            self.reserve.with_space(|| self.file.allocate(from, INDEX_STRETCH_BYTES))?;
            let block = from / PAGE_BYTES as u64 / BLOCK_SUMS as u64;
            self.reserve.with_space(|| self.sums.allocate(block_offset(block), PAGE_BYTES as u64))?;
            state.allocated.insert(stretch);
        }
        Ok(())
    }

    fn write_pages(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let first = page_of(offset, bytes.len())?;
        let sums: Vec<u32> = bytes.chunks(PAGE_BYTES).map(crc32c).collect();
        let mut state = lock(&self.state);
        self.allocate(&mut state, offset, bytes.len())?;
        for (page, sum) in (first..).zip(sums) {
            *state.sum(self.sums.as_ref(), page)? = sum;
            state.dirty.insert(page / BLOCK_SUMS as u64);
        }
        drop(state);
        // A file system that copies on write may need space even so.
        self.reserve.with_space(|| self.file.write_at(&[IoSlice::new(bytes)], offset))
    }

    /// Checksums and the coming header's name first, then the pages and the header. Readers go on meanwhile.
    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let mut sums: Vec<(u64, Vec<u8>)> = Vec::new();
        for block in std::mem::take(&mut state.dirty) {
            let words = state.blocks.get(&block).into_iter().flatten();
            sums.push((block_offset(block), words.flat_map(|sum| sum.to_le_bytes()).collect()));
        }
        let header = std::mem::take(&mut state.header_is_dirty).then(|| state.header.clone());
        if let Some(header) = &header {
            sums.push((0, encode_head(state.durable_header, crc32c(header))));
        }
        drop(state);
        for (offset, bytes) in &sums {
            self.reserve.with_space(|| self.sums.write_at(&[IoSlice::new(bytes)], *offset))?;
        }
        if !sums.is_empty() {
            self.sums.sync_data(SyncPoint::IndexPages)?;
        }
        if let Some(header) = &header {
            self.reserve.with_space(|| self.file.write_at(&[IoSlice::new(header)], 0))?;
        }
        self.file.sync_data(SyncPoint::IndexPages)?;
        if let Some(header) = header {
            lock(&self.state).durable_header = crc32c(&header);
        }
        Ok(())
    }
}

impl State {
    fn new(header: Vec<u8>) -> Self {
        Self {
            allocated: HashSet::new(),
            durable_header: crc32c(&header),
            header,
            header_is_dirty: false,
            blocks: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    fn sum(&mut self, sums: &dyn File, page: u64) -> io::Result<&mut u32> {
        let block = page / BLOCK_SUMS as u64;
        let entry = match self.blocks.entry(block) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                // Behind the file's end nothing was written yet: zeros, which no page of zeros has.
                let mut bytes = vec![0; PAGE_BYTES];
                sums.read_at(&mut bytes, block_offset(block))?;
                let (sums, _) = bytes.as_chunks::<4>();
                entry.insert(sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect())
            }
        };
        Ok(&mut entry[(page % BLOCK_SUMS as u64) as usize])
    }
}

/// The first page of a stretch of whole pages: redb reads and writes no other, but for its header.
fn page_of(offset: u64, length: usize) -> io::Result<u64> {
    if offset == 0 || !offset.is_multiple_of(PAGE_BYTES as u64) || !length.is_multiple_of(PAGE_BYTES) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{length} bytes at {offset} are no pages")));
    }
    Ok(offset / PAGE_BYTES as u64)
}

fn block_offset(block: u64) -> u64 {
    (block + 1) * PAGE_BYTES as u64
}

fn encode_head(durable: u32, coming: u32) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    for number in [VERSION, PAGE_BYTES as u32, durable, coming] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(&crc32c(&head).to_le_bytes());
    head
}

/// The first page, if it is one of the two that the table of checksums names.
fn read_header(file: &dyn File, sums: &dyn File) -> io::Result<Vec<u8>> {
    let head = read_exact(sums, 0, HEAD_BYTES)?;
    let header = read_exact(file, 0, PAGE_BYTES)?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let (durable, coming) = (number(16), number(20));
    if head != encode_head(durable, coming) {
        return Err(damaged("the table of checksums is of another kind, or damaged".into()));
    }
    if ![durable, coming].contains(&crc32c(&header)) {
        return Err(damaged("it does not match its checksum".into()));
    }
    Ok(header)
}

impl redb::StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset == 0 && out.len() <= PAGE_BYTES {
            out.copy_from_slice(&lock(&self.state).header[..out.len()]);
            return Ok(());
        }
        self.read_pages(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_open()?;
        let whole = length / INDEX_STRETCH_BYTES;
        lock(&self.state).allocated.retain(|stretch| *stretch < whole);
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check_open()?;
        self.sync().inspect_err(|_| self.is_shut.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_open()?;
        if offset == 0 && data.len() <= PAGE_BYTES {
            let mut state = lock(&self.state);
            state.header[..data.len()].copy_from_slice(data);
            state.header_is_dirty = true;
            return Ok(());
        }
        self.write_pages(offset, data).inspect_err(|_| self.is_shut.store(true, Ordering::Release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::damaged_row;
    use crate::disk::twin::TwinDisk;
    use crate::format::name::SegmentNumber;
    use crate::index::overlay::Change;
    use crate::index::rows::{Location, RowKey, Table};
    use crate::index::store::{Checkpoint, Store};
    use common::doors::SeededRandom;
    use common::{BucketId, Random, Stamp, VersionId};

    fn disk() -> TwinDisk {
        let disk = TwinDisk::default();
        disk.make_dir(DIRECTORY).unwrap();
        disk.sync_dir("", SyncPoint::Identity).unwrap();
        disk
    }

    fn open(disk: &TwinDisk) -> Result<Store> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        Store::open(disk, &Arc::new(Reserve::open(shared, 0)))
    }

    fn key(number: u64) -> RowKey {
        // Neighbours in time are far from each other in the tree.
        RowKey::object(BucketId(1), &format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Puts rows `numbers`, and says with a checkpoint how many there are if it is to be durable.
    fn put(store: &Store, numbers: std::ops::Range<u64>, durable: bool) {
        let end = Checkpoint { segment: SegmentNumber(1), offset: numbers.end as u32, stamp: Stamp(numbers.end) };
        let written = store.write(durable, |writer| {
            for number in numbers.clone() {
                let location =
                    Location { segment: SegmentNumber(1), generation: 0, offset: number as u32, length: 100 };
                writer.apply(&Change {
                    key: key(number),
                    row: damaged_row(Stamp(number + 1), location, VersionId::Null),
                })?;
            }
            if durable { writer.set_checkpoint(end) } else { Ok(()) }
        });
        written.unwrap();
    }

    fn rows(store: &Store) -> Result<usize> {
        let all = |at| RowKey::from_prefix(Table::Objects, BucketId(at), "");
        Ok(store.range(Table::Objects, &all(1), &all(2), usize::MAX)?.len())
    }

    /// A power cut is no damage, wherever it comes: what a start reads has its checksum.
    #[test]
    fn whatever_a_power_cut_leaves_is_verified_and_whole() {
        let disk = disk();
        let random = SeededRandom::new(5);
        let mut cutter = disk.cutter(None);
        let mut begin = 0;
        let mut from = 0;
        for round in 0..3 {
            let store = open(&disk).unwrap();
            begin = if round == 0 { disk.moment() } else { begin };
            for batch in 0..12 {
                put(&store, from..from + 40, false);
                put(&store, from + 40..from + 80, batch % 3 == 2);
                from += 80;
            }
            // Closed in two of three rounds; in the other one the process is gone.
            if round == 1 {
                store.shut();
            }
        }
        let mut cuts = 0;
        for moment in (begin..disk.moment()).step_by(3) {
            let cut = cutter.cut(moment, random.as_ref());
            let store = open(&cut).unwrap_or_else(|error| panic!("cut at {moment}: {error}"));
            let known = store.checkpoint().unwrap().map_or(0, |checkpoint| checkpoint.stamp.0);
            assert_eq!(rows(&store).unwrap() as u64, known, "cut at {moment}");
            cuts += 1;
        }
        assert!(cuts > 100, "{cuts} cuts");
    }

    /// A store that is let go late, when a new one has taken its place, must not write to that one's checksums.
    #[test]
    fn an_index_that_closes_late_leaves_its_successor_alone() {
        let disk = disk();
        let late = open(&disk).unwrap();
        put(&late, 0..400, true);
        disk.unlink(PATH).unwrap();
        let store = open(&disk).unwrap();
        put(&store, 0..2000, true);
        put(&late, 400..500, true);
        drop(late);
        // Killed here: what it has written is in the page cache.
        let disk = disk.kill();
        assert_eq!(rows(&open(&disk).unwrap()).unwrap(), 2000);
        drop(store);
    }

    #[test]
    fn a_page_that_changed_is_an_error_and_no_answer() {
        let disk = disk();
        let store = open(&disk).unwrap();
        put(&store, 0..2000, true);
        drop(store);
        let length = disk.open(PATH).and_then(|file| file.length()).unwrap();
        let random = SeededRandom::new(6);
        let mut refused = 0;
        for _ in 0..200 {
            let (at, mask) = (random.u64() % length, 1 << (random.u64() % 8));
            disk.rot(PATH, at, mask).unwrap();
            match open(&disk).and_then(|store| Ok((rows(&store)?, store.shut()))) {
                // In a page that holds nothing.
                Ok((found, ())) => assert_eq!(found, 2000, "byte {at}"),
                Err(Error::IndexBroken(_)) => refused += 1,
                Err(error) => panic!("byte {at}: {error}"),
            }
            disk.rot(PATH, at, mask).unwrap();
        }
        assert!(refused > 20, "{refused} of 200 flipped bits were seen");
        assert_eq!(rows(&open(&disk).unwrap()).unwrap(), 2000);
    }
}
