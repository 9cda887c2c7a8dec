//! ListObjectVersions: by key, and of one key the newest version first. Cost per page, however many versions there are.
//!
//! A key's row in `Objects` stands, by its bytes, right before those of its older versions in `Versions`; both tables are
//! read as one, from one snapshot at a time, so that a version which moves from one to the other is met once.

use super::list::{STRIDE_FIRST, STRIDE_MAX, STRIDE_SOUGHT, common_prefix, merge};
use super::rows::{Row, RowKey, Table};
use super::{Index, Limited};
use crate::Result;
use crate::types::{AfterVersion, ListVersionsRequest, ListedVersion, VersionEntry, VersionsPage};
use common::{Stamp, VersionId};

/// Rows of `Objects` and `Versions` in the order of their bytes in the tables.
struct Scan<'a> {
    index: &'a Index,
    next: Vec<u8>,
    until: Vec<u8>,
    stride: usize,
    /// How many rows of each table the last stride brought. The next one shares itself out like that: what is read of one
    /// table beyond the last row of the other is read in vain.
    brought: [usize; 2],
    ready: std::vec::IntoIter<(RowKey, Row)>,
    /// Rows that overlay and store gave, for the tests: what the scan costs.
    rows_read: usize,
}

impl Scan<'_> {
    fn seek(&mut self, to: &[u8]) {
        let skipped = self.ready.as_slice().partition_point(|(key, _)| key.in_table() < to);
        if skipped < self.ready.len() {
            self.ready.by_ref().take(skipped).for_each(drop);
            return;
        }
        self.ready = Vec::new().into_iter();
        self.stride = STRIDE_SOUGHT;
        if self.next.as_slice() < to {
            self.next = to.to_vec();
        }
    }

    /// `wanted`: how many rows the page can still take, and one that says that there are more.
    fn next_row(&mut self, wanted: usize) -> Result<Option<(RowKey, Row)>> {
        // A stretch in which nothing was found is no measure for the next one.
        let mut wanted = Some(wanted);
        loop {
            if let Some(found) = self.ready.next() {
                return Ok(Some(found));
            }
            if self.next >= self.until {
                return Ok(None);
            }
            self.stride = wanted.take().map_or(self.stride, |wanted| self.stride.min(wanted));
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let limits = self.brought.map(|brought| share(self.stride, brought, self.brought.iter().sum()));
        let ranges = [(TABLES[0], limits[0]), (TABLES[1], limits[1])].map(|(table, limit)| Limited {
            from: RowKey::from_table(table, &self.next),
            until: RowKey::from_table(table, &self.until),
            limit,
        });
        let read = self.index.ranges(&ranges)?;
        // What lies behind the last row of a source that has more is not known yet.
        let mut bound = self.until.clone();
        let ends = |rows: &Vec<(RowKey, Row)>, more: bool| {
            rows.last().filter(|_| more).map(|(last, _)| last.successor().in_table().to_vec())
        };
        for (((over, over_more), under), limit) in read.iter().zip(limits) {
            for end in [ends(over, *over_more), ends(under, under.len() == limit)].into_iter().flatten() {
                bound = bound.min(end);
            }
            self.rows_read += over.len() + under.len();
        }
        let mut rows = Vec::new();
        for (at, ((over, _), under)) in read.into_iter().enumerate() {
            let below = RowKey::from_table(TABLES[at], &bound);
            let before = rows.len();
            rows.extend(merge(over, under, &below).into_iter().filter(|(key, _)| *key < below));
            self.brought[at] = rows.len() - before;
        }
        rows.sort_by(|a, b| a.0.in_table().cmp(b.0.in_table()));
        self.next = bound;
        self.stride = (self.stride * 4).min(STRIDE_MAX);
        self.ready = rows.into_iter();
        Ok(())
    }
}

const TABLES: [Table; 2] = [Table::Objects, Table::Versions];

/// How much of a stride one table gets that brought so many rows of all that came last time. What brought few gets some
/// all the same: the next keys may have more versions.
fn share(stride: usize, brought: usize, all: usize) -> usize {
    let fair = (stride * brought).checked_div(all).unwrap_or(stride);
    fair.max(stride / 8) + 1
}

/// What is known of the key whose versions are being given.
#[derive(Default)]
struct OfKey {
    /// The bytes of its row in `Objects`.
    object: Vec<u8>,
    key: String,
    /// Its null version, whose place in the table is not its place in time.
    null: Option<Row>,
    /// The last one given: what came when it was replaced, and how far the listing is.
    newer: Option<(Stamp, u64)>,
}

struct Page {
    entries: Vec<VersionEntry>,
    limit: usize,
}

impl Page {
    /// Whether there was room for it.
    fn push(&mut self, entry: VersionEntry) -> bool {
        let fits = self.entries.len() < self.limit;
        if fits {
            self.entries.push(entry);
        }
        fits
    }
}

impl OfKey {
    /// Gives one version, unless it was given already.
    fn give(&mut self, row: &Row, is_latest: bool, page: &mut Page) -> bool {
        let since = row.since();
        if self.newer.is_some_and(|(given, _)| since >= given) {
            return true;
        }
        let (listed, modified_ms) = (row.listed(), row.modified_ms());
        let kept = listed.and_then(|listed| listed.kept.as_deref()).cloned().unwrap_or_default();
        let version = ListedVersion {
            key: self.key.clone(),
            version: row.version(),
            stamp: row.stamp,
            is_latest,
            is_marker: listed.is_none(),
            size: listed.map_or(0, |listed| listed.size),
            etag: listed.map(|listed| listed.etag),
            modified_ms,
            noncurrent_ms: if is_latest { None } else { self.newer.map(|(_, ms)| ms) },
            class: kept.class,
            tags: kept.tags,
            lock: kept.lock,
            owner: kept.owner,
        };
        self.newer = Some((since, modified_ms));
        page.push(VersionEntry::Version(Box::new(version)))
    }

    /// Gives the null version if its turn is before what has this stamp.
    fn give_null(&mut self, before: Option<Stamp>, page: &mut Page) -> bool {
        match self.null.take_if(|null| before.is_none_or(|before| null.since() > before)) {
            Some(null) => self.give(&null, false, page),
            None => true,
        }
    }
}

/// One page of ListObjectVersions.
pub fn list_versions(index: &Index, request: &ListVersionsRequest) -> Result<VersionsPage> {
    Ok(page_of_versions(index, request)?.0)
}

/// The page, and how many rows were read for it.
fn page_of_versions(index: &Index, request: &ListVersionsRequest) -> Result<(VersionsPage, usize)> {
    let (bucket, prefix) = (request.bucket, request.prefix.as_str());
    let at = |key: RowKey| key.in_table().to_vec();
    let until = at(RowKey::after_prefix(Table::Objects, bucket, prefix));
    let start = at(RowKey::from_prefix(Table::Objects, bucket, prefix));
    let (from, mut of_key) = match &request.after {
        AfterVersion::Beginning => (Vec::new(), OfKey::default()),
        AfterVersion::Key(key) => (behind(&RowKey::object(bucket, key)), OfKey::default()),
        AfterVersion::Prefix(skipped) => (at(RowKey::after_prefix(Table::Objects, bucket, skipped)), OfKey::default()),
        AfterVersion::Version(key, version) => after_version(index, &RowKey::object(bucket, key), key, *version)?,
    };
    let next = from.max(start);
    let ready = Vec::new().into_iter();
    let mut scan = Scan { index, next, until, stride: STRIDE_FIRST, brought: [0; 2], ready, rows_read: 0 };
    let mut page = Page { entries: Vec::new(), limit: request.limit };
    let full = |page: Page, scan: &Scan<'_>| Ok((VersionsPage { entries: page.entries, more: true }, scan.rows_read));
    while let Some((row_key, row)) = scan.next_row(page.limit - page.entries.len() + 1)? {
        let is_latest = row_key.table() == Table::Objects;
        let object = row_key.in_table();
        let object = if is_latest { object } else { &object[..object.len().saturating_sub(8)] };
        if of_key.object != object {
            if !of_key.give_null(None, &mut page) {
                return full(page, &scan);
            }
            let Some((_, key)) = row_key.object_key() else { continue };
            if let Some(common) = common_prefix(&key, prefix, request.delimiter.as_deref()) {
                scan.seek(RowKey::after_prefix(Table::Objects, bucket, common).in_table());
                if !page.push(VersionEntry::Prefix(common.to_owned())) {
                    return full(page, &scan);
                }
                continue;
            }
            of_key = OfKey { object: object.to_vec(), key, ..OfKey::default() };
        }
        let is_given = if !is_latest && row.version() == VersionId::Null {
            of_key.null = Some(row);
            true
        } else {
            of_key.give_null(Some(row.since()), &mut page) && of_key.give(&row, is_latest, &mut page)
        };
        if !is_given {
            return full(page, &scan);
        }
    }
    let more = !of_key.give_null(None, &mut page);
    Ok((VersionsPage { entries: page.entries, more }, scan.rows_read))
}

/// Behind a key's own row and all of its versions.
fn behind(object: &RowKey) -> Vec<u8> {
    [object.in_table(), &[0xff; 9]].concat()
}

/// Where a listing goes on behind a version, and what it must know of the key.
fn after_version(index: &Index, object: &RowKey, key: &str, version: VersionId) -> Result<(Vec<u8>, OfKey)> {
    let row = index.version(object, version)?;
    let since = match (version, &row) {
        (VersionId::Id(stamp, _), _) => stamp,
        (VersionId::Null, Some(row)) => row.since(),
        (VersionId::Null, None) => return Ok((behind(object), OfKey::default())),
    };
    let newer = Some((since, row.map_or(0, |row| row.modified_ms())));
    let of_key = OfKey { object: object.in_table().to_vec(), key: key.to_owned(), null: None, newer };
    let current = index.lookup(object)?.filter(Row::is_live);
    if current.is_some_and(|current| current.since() < since) {
        // The one that was named is gone, and so are all newer ones: what is current now comes next.
        return Ok((object.in_table().to_vec(), of_key));
    }
    let null = index.lookup(&object.version_of(VersionId::Null))?.filter(Row::is_live);
    let null = null.filter(|null| null.since() < since);
    Ok((object.versions_before(since).in_table().to_vec(), OfKey { null, ..of_key }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::damaged_row;
    use crate::disk::Disk;
    use crate::disk::twin::TwinDisk;
    use crate::format::name::SegmentNumber;
    use crate::index::overlay::Change;
    use crate::index::rows::Location;
    use crate::index::store::Store;
    use crate::reserve::Reserve;
    use common::BucketId;
    use std::sync::Arc;

    const BUCKET: BucketId = BucketId(1);

    /// Keys with so many versions each, in the order in which they were written.
    fn index(keys: u32, versions: u32) -> Index {
        let disk: Arc<dyn Disk> = Arc::new(TwinDisk::default());
        let reserve = Arc::new(Reserve::open(Arc::clone(&disk), 0));
        let store = Store::open(disk.as_ref(), &reserve).unwrap();
        let change = |number: u32| {
            let location = Location { segment: SegmentNumber(1), generation: 0, offset: number, length: 100 };
            let stamp = Stamp(u64::from(number) + 1);
            let version = VersionId::Id(stamp, 7);
            let key = RowKey::object(BUCKET, &format!("key-{:05}", number % keys));
            Change { key, row: damaged_row(stamp, location, version) }
        };
        let changes: Vec<Change> = (0..keys * versions).map(change).collect();
        store.write(false, |writer| writer.apply_all(&changes)).unwrap();
        Index::new(Some(Arc::new(store)))
    }

    #[test]
    fn a_page_costs_a_page_however_many_versions_a_key_has() {
        for versions in [1, 2, 4, 10, 1000] {
            let index = index(4000 / versions + 1, versions);
            let request = ListVersionsRequest {
                bucket: BUCKET,
                prefix: String::new(),
                delimiter: None,
                after: AfterVersion::Beginning,
                limit: 1000,
            };
            let (page, rows) = page_of_versions(&index, &request).unwrap();
            assert_eq!((page.entries.len(), page.more), (1000, true), "{versions}");
            assert!(rows <= 1450, "{rows} rows for a page of 1000 with {versions} versions of each key");
        }
    }
}
