//! What is committed but not yet in the ordered store.

use super::Limited;
use super::rows::{Location, Row, RowKey, Table};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A row as a batch left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: RowKey,
    pub row: Row,
}

#[derive(Default)]
pub struct Overlay {
    inner: Mutex<Inner>,
    drained: Condvar,
}

#[derive(Default)]
struct Inner {
    rows: BTreeMap<RowKey, (Row, u64)>,
    bytes: usize,
}

/// Rows of a range, and whether there are more.
pub type RowsAndMore = (Vec<(RowKey, Row)>, bool);

impl Inner {
    fn range(&self, from: &RowKey, until: &RowKey, limit: usize) -> RowsAndMore {
        if from >= until {
            return (Vec::new(), false);
        }
        let mut rows = self.rows.range(from.clone()..until.clone());
        let taken = rows.by_ref().take(limit).map(|(key, (row, _))| (key.clone(), row.clone())).collect();
        (taken, rows.next().is_some())
    }
}

fn cost(key: &RowKey) -> usize {
    key.length_bytes() + size_of::<Row>() + 64
}

impl Overlay {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` means that the overlay does not know the key: it may be in the store.
    pub fn lookup(&self, key: &RowKey) -> Option<Row> {
        self.lock().rows.get(key).map(|(row, _)| row.clone())
    }

    /// Makes a durable batch visible.
    pub fn insert(&self, batch: u64, changes: &[Change]) {
        let mut inner = self.lock();
        for change in changes {
            if inner.rows.insert(change.key.clone(), (change.row.clone(), batch)).is_none() {
                inner.bytes += cost(&change.key);
            }
        }
    }

    /// Lets go of what the store has by now. Rows that a later batch changed stay.
    pub fn remove(&self, batch: u64, changes: &[Change]) {
        let mut inner = self.lock();
        for change in changes {
            if inner.rows.get(&change.key).is_some_and(|(_, newest)| *newest <= batch) {
                inner.rows.remove(&change.key);
                inner.bytes -= cost(&change.key);
            }
        }
        self.drained.notify_all();
    }

    /// Changes a row in place if the overlay has it.
    pub fn update(&self, key: &RowKey, change: impl FnOnce(&mut Row)) {
        if let Some((row, _)) = self.lock().rows.get_mut(key) {
            change(row);
        }
    }

    /// Lets rows name the places where compaction put their records.
    pub fn relocate(&self, moves: &HashMap<Location, Location>) {
        for (row, _) in self.lock().rows.values_mut() {
            if let Some(to) = moves.get(&row.location) {
                row.location = *to;
            }
        }
    }

    /// Waits until there is room for more, or `stop` says that it is no use.
    pub fn wait_for_room(&self, bytes_max: usize, stop: impl Fn() -> bool) {
        let mut inner = self.lock();
        while inner.bytes > bytes_max && !stop() {
            let waited = self.drained.wait_timeout(inner, std::time::Duration::from_millis(100));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// At most `limit` rows of one table in `from..until`, and whether there are more.
    pub fn range(&self, table: Table, from: &RowKey, until: &RowKey, limit: usize) -> RowsAndMore {
        debug_assert!(from.table() == table);
        self.lock().range(from, until, limit)
    }

    /// The same of several ranges, and what `then` gives while nothing comes or goes.
    pub fn ranges_and<T>(&self, ranges: &[Limited], then: impl FnOnce() -> T) -> (Vec<RowsAndMore>, T) {
        let inner = self.lock();
        let rows = ranges.iter().map(|range| inner.range(&range.from, &range.until, range.limit)).collect();
        (rows, then())
    }
}
