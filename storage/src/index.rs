//! The index: key to the place of its record and what a listing needs. Derived from the log, may be deleted at any time.
//!
//! A write is visible from the moment its batch is durable, through the overlay; the index's own thread moves it into
//! the ordered store later (engine rule A8). Readers look into the overlay first and open the store's snapshot second, so
//! that an entry on its way between them is never missed.

pub mod keeper;
pub mod list;
pub mod list_versions;
pub mod overlay;
pub mod pages;
pub mod rows;
pub mod store;
pub mod warmth;

use crate::error::{Error, Result};
use common::VersionId;
use overlay::{Overlay, RowsAndMore};
use rows::{Row, RowKey, Table};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;
use store::Store;

/// A reader waits for the store's return so long at once, and so often: three seconds.
const RENEWAL_WAIT: Duration = Duration::from_millis(100);
const RENEWAL_WAITS: u32 = 30;
/// Each of them keeps a thread that others may want.
const RENEWAL_READERS_MAX: usize = 64;

/// Both halves, as readers see them.
pub struct Index {
    pub overlay: Overlay,
    /// `None` while it is being rebuilt.
    store: RwLock<Option<Arc<Store>>>,
    /// What a reader met that the keeper must help: see `Renewal`.
    wanted: AtomicU8,
    /// How many readers wait for a store.
    waiting: Mutex<usize>,
    /// There is a store again, or there will be none soon.
    renewed: Condvar,
    /// The last attempt to make a store failed.
    is_hopeless: AtomicBool,
}

impl Index {
    pub fn new(store: Option<Arc<Store>>) -> Self {
        Self {
            overlay: Overlay::default(),
            store: RwLock::new(store),
            wanted: AtomicU8::new(0),
            waiting: Mutex::new(0),
            renewed: Condvar::new(),
            is_hopeless: AtomicBool::new(false),
        }
    }

    pub fn store(&self) -> Result<Arc<Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::IndexRebuilding)
    }

    pub fn replace_store(&self, store: Option<Arc<Store>>) {
        let is_there = store.is_some();
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = store;
        if is_there {
            self.is_hopeless.store(false, Ordering::Release);
            self.renewed.notify_all();
        }
    }

    /// There will be no store soon: nobody waits for one.
    pub fn give_up_hope(&self) {
        self.is_hopeless.store(true, Ordering::Release);
        self.renewed.notify_all();
    }

    /// Does what only reads, and again while the store is being opened anew: after a full disk that takes less time than a
    /// client would wait before it came again (A18). Blocking. `IndexRebuilding` when it takes longer, or too many wait.
    pub fn patiently<T>(&self, mut read: impl FnMut() -> Result<T>) -> Result<T> {
        for _ in 0..RENEWAL_WAITS {
            match read() {
                Err(Error::IndexRebuilding) if !self.is_hopeless.load(Ordering::Acquire) => {}
                done => return done,
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if *waiting >= RENEWAL_READERS_MAX {
                return Err(Error::IndexRebuilding);
            }
            *waiting += 1;
            let waited = self.renewed.wait_timeout(waiting, RENEWAL_WAIT);
            *waited.unwrap_or_else(PoisonError::into_inner).0 -= 1;
        }
        read()
    }

    /// The current row of a key, tombstones included where they are still in the overlay.
    pub fn lookup(&self, key: &RowKey) -> Result<Option<Row>> {
        match self.overlay.lookup(key) {
            Some(row) => Ok(Some(row)),
            None => self.watch(self.store()?.lookup(key)),
        }
    }

    /// The row of one version, by the row of its key in `Objects`: wherever it stands. Delete markers too.
    pub fn version(&self, object: &RowKey, version: VersionId) -> Result<Option<Row>> {
        let mut seen = None;
        loop {
            let current = self.lookup(object)?.filter(Row::is_live);
            let Some(current) = current else { return Ok(None) };
            if current.version() == version {
                return Ok(Some(current));
            }
            let older = self.lookup(&object.version_of(version))?;
            if let Some(row) = older.filter(|row| row.is_live() && row.version() == version) {
                return Ok(Some(row));
            }
            // It may have become the current one between the two looks.
            if seen == Some(current.stamp) {
                return Ok(None);
            }
            seen = Some(current.stamp);
        }
    }

    /// Whether a look-up may be made where waiting is not allowed: most likely no page has to come from the disk.
    pub fn expects_no_wait(&self) -> bool {
        self.store().is_ok_and(|store| store.warmth.expects_no_wait())
    }

    /// At most `limit` rows of the store in `from..until`.
    fn range_in_store(&self, table: Table, from: &RowKey, until: &RowKey, limit: usize) -> Result<Vec<(RowKey, Row)>> {
        self.watch(self.store()?.range(table, from, until, limit))
    }

    /// Of each of these ranges, each in a table of its own, at most its limit of rows: those of the overlay, whether it has more,
    /// and those of the store; all as of one moment. Nothing reaches the store that was not in the overlay before, so a
    /// snapshot that is opened while the overlay stands still holds nothing newer.
    fn ranges(&self, ranges: &[Limited]) -> Result<Vec<RowsOfRange>> {
        let store = self.store()?;
        let (over, snapshot) = self.overlay.ranges_and(ranges, || self.watch(store.snapshot()));
        let snapshot = snapshot?;
        let of_store = |Limited { from, until, limit }: &Limited| snapshot.range(from.table(), from, until, *limit);
        let under = ranges.iter().map(|range| self.watch(of_store(range)));
        over.into_iter().zip(under).map(|(over, under)| Ok((over, under?))).collect()
    }

    fn watch<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && let Some(renewal) = Renewal::after(error)
        {
            self.want(renewal);
        }
        result
    }

    pub fn want(&self, renewal: Renewal) {
        self.wanted.fetch_max(renewal as u8, Ordering::AcqRel);
    }

    /// What readers met since the last time this was asked.
    pub fn take_wanted(&self) -> Option<Renewal> {
        match self.wanted.swap(0, Ordering::AcqRel) {
            0 => None,
            wanted if wanted == Renewal::Reopen as u8 => Some(Renewal::Reopen),
            _ => Some(Renewal::Rebuild),
        }
    }
}

/// Rows of one table in `from..until`, and at most so many.
pub struct Limited {
    pub from: RowKey,
    pub until: RowKey,
    pub limit: usize,
}

type RowsOfRange = (RowsAndMore, Vec<(RowKey, Row)>);

/// How a store that failed comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Renewal {
    /// It had no space, and is sound up to its last checkpoint: opened again, the log's end replayed (A18).
    Reopen = 1,
    /// It is damaged: built anew from the whole log.
    Rebuild = 2,
}

impl Renewal {
    pub fn after(error: &Error) -> Option<Self> {
        match error {
            Error::OutOfSpace | Error::IndexRebuilding => Some(Self::Reopen),
            Error::IndexBroken(_) => Some(Self::Rebuild),
            _ => None,
        }
    }
}
