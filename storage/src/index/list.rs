//! Ordered reading over overlay and store, and the two listings on top of it. Cost per page, not per bucket: a delimiter
//! skips a common prefix by seeking behind it.

use super::Index;
use super::rows::{Row, RowKey, RowKind, Table};
use crate::Result;
use crate::types::{
    After, ListEntry, ListPage, ListRequest, ListUploadsRequest, ListedObject, UploadEntry, UploadInfo, UploadsPage,
};

/// Rows read from the store in one go while plain keys follow each other, at first, and right after a seek: behind a common
/// prefix there is most often another.
pub(super) const STRIDE_MAX: usize = 1024;
pub(super) const STRIDE_FIRST: usize = 16;
pub(super) const STRIDE_SOUGHT: usize = 1;

/// Live rows of one table in order, lazily.
pub struct Scan<'a> {
    index: &'a Index,
    table: Table,
    next: RowKey,
    until: RowKey,
    stride: usize,
    ready: std::vec::IntoIter<(RowKey, Row)>,
    exhausted: bool,
    /// Rows that overlay and store gave, for the tests: what the scan costs.
    rows_read: usize,
}

impl<'a> Scan<'a> {
    pub fn new(index: &'a Index, table: Table, from: RowKey, until: RowKey) -> Self {
        Self {
            index,
            table,
            next: from,
            until,
            stride: STRIDE_FIRST,
            ready: Vec::new().into_iter(),
            exhausted: false,
            rows_read: 0,
        }
    }

    /// Goes on at `to`, which lies behind everything given so far.
    pub fn seek(&mut self, to: RowKey) {
        let skipped = self.ready.as_slice().partition_point(|(key, _)| *key < to);
        if skipped < self.ready.len() {
            self.ready.by_ref().take(skipped).for_each(drop);
            return;
        }
        self.ready = Vec::new().into_iter();
        self.stride = STRIDE_SOUGHT;
        self.next = self.next.clone().max(to);
    }

    pub fn next_row(&mut self) -> Result<Option<(RowKey, Row)>> {
        loop {
            if let Some(found) = self.ready.next() {
                return Ok(Some(found));
            }
            if self.exhausted || self.next >= self.until {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// Reads the next stretch: the overlay first, the store second, the overlay's row wins.
    fn fill(&mut self) -> Result<()> {
        let (over, over_more) = self.index.overlay.range(self.table, &self.next, &self.until, self.stride);
        // What lies behind the last overlay row that was copied must be looked at again, in this order.
        let bound = match over.last() {
            Some((last, _)) if over_more => last.successor(),
            _ => self.until.clone(),
        };
        let under = self.index.range_in_store(self.table, &self.next, &bound, self.stride)?;
        let bound = match under.last() {
            Some((last, _)) if under.len() == self.stride => last.successor(),
            _ => bound,
        };
        self.rows_read += over.len() + under.len();
        let merged = merge(over, under, &bound);
        self.exhausted = bound == self.until;
        self.next = bound;
        self.stride = (self.stride * 4).min(STRIDE_MAX);
        self.ready = merged.into_iter();
        Ok(())
    }
}

pub(super) fn merge(over: Vec<(RowKey, Row)>, under: Vec<(RowKey, Row)>, bound: &RowKey) -> Vec<(RowKey, Row)> {
    let mut merged = Vec::with_capacity(over.len() + under.len());
    let mut over = over.into_iter().filter(|(key, _)| key < bound).peekable();
    for below in under {
        while let Some(above) = over.next_if(|above| above.0 < below.0) {
            merged.push(above);
        }
        match over.next_if(|above| above.0 == below.0) {
            Some(above) => merged.push(above),
            None => merged.push(below),
        }
    }
    merged.extend(over);
    merged.retain(|(_, row)| row.is_live());
    merged
}

/// The common prefix that a key falls into, if it does.
pub(super) fn common_prefix<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter?;
    let rest = &key[prefix.len()..];
    rest.find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()])
}

/// One page of ListObjects.
pub fn list_objects(index: &Index, request: &ListRequest) -> Result<ListPage> {
    Ok(page_of_objects(index, request)?.0)
}

/// The page, and how many rows were read for it.
fn page_of_objects(index: &Index, request: &ListRequest) -> Result<(ListPage, usize)> {
    let (bucket, prefix) = (request.bucket, request.prefix.as_str());
    let start = RowKey::from_prefix(Table::Objects, bucket, prefix);
    let until = RowKey::after_prefix(Table::Objects, bucket, prefix);
    let from = match &request.after {
        After::Beginning => start,
        After::Key(key) => start.max(RowKey::object(bucket, key).successor()),
        After::Prefix(skipped) => start.max(RowKey::after_prefix(Table::Objects, bucket, skipped)),
    };
    let mut scan = Scan::new(index, Table::Objects, from, until);
    let mut entries = Vec::new();
    while let Some((row_key, row)) = scan.next_row()? {
        let (Some((_, key)), Some(listed)) = (row_key.object_key(), row.listed().cloned()) else { continue };
        if entries.len() == request.limit {
            return Ok((ListPage { entries, more: true }, scan.rows_read));
        }
        match common_prefix(&key, prefix, request.delimiter.as_deref()) {
            Some(common) => {
                scan.seek(RowKey::after_prefix(Table::Objects, bucket, common));
                entries.push(ListEntry::Prefix(common.to_owned()));
            }
            None => entries.push(ListEntry::Object(ListedObject {
                key,
                stamp: row.stamp,
                version: listed.version,
                size: listed.size,
                etag: listed.etag,
                modified_ms: listed.modified_ms,
                owner: listed.kept.as_ref().and_then(|kept| kept.owner.clone()),
                class: listed.kept.and_then(|kept| kept.class),
            })),
        }
    }
    Ok((ListPage { entries, more: false }, scan.rows_read))
}

/// One page of ListMultipartUploads.
pub fn list_uploads(index: &Index, request: &ListUploadsRequest) -> Result<UploadsPage> {
    let (bucket, prefix) = (request.bucket, request.prefix.as_str());
    let mut from = RowKey::from_prefix(Table::Uploads, bucket, prefix);
    let until = RowKey::after_prefix(Table::Uploads, bucket, prefix);
    if let Some((key, upload)) = &request.after {
        from = from.max(match upload {
            Some(upload) => RowKey::upload(bucket, key, *upload).successor(),
            // Behind every upload of this key.
            None => RowKey::upload(bucket, key, common::UploadId(common::Stamp(u64::MAX), u64::MAX)).successor(),
        });
    }
    if let Some(skipped) = &request.after_prefix {
        from = from.max(RowKey::after_prefix(Table::Uploads, bucket, skipped));
    }
    let mut scan = Scan::new(index, Table::Uploads, from, until);
    let mut entries = Vec::new();
    while let Some((row_key, row)) = scan.next_row()? {
        let (Some((_, key)), Some(upload)) = (row_key.object_key(), row_key.upload_id()) else { continue };
        let RowKind::Upload { created_ms, algorithm, owner, .. } = row.kind else { continue };
        if entries.len() == request.limit {
            return Ok(UploadsPage { entries, more: true });
        }
        match common_prefix(&key, prefix, request.delimiter.as_deref()) {
            Some(common) => {
                scan.seek(RowKey::after_prefix(Table::Uploads, bucket, common));
                entries.push(UploadEntry::Prefix(common.to_owned()));
            }
            None => entries.push(UploadEntry::Upload(UploadInfo { upload, key, created_ms, algorithm, owner })),
        }
    }
    Ok(UploadsPage { entries, more: false })
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
    use common::VersionId;
    use common::{BucketId, Stamp};
    use std::sync::Arc;

    const BUCKET: BucketId = BucketId(1);

    /// 100 prefixes with 200 keys each; the last of each is in the overlay.
    fn index() -> Index {
        let disk: Arc<dyn Disk> = Arc::new(TwinDisk::default());
        let reserve = Arc::new(Reserve::open(Arc::clone(&disk), 0));
        let store = Store::open(disk.as_ref(), &reserve).unwrap();
        let (mut stored, mut fresh) = (Vec::new(), Vec::new());
        for number in 0..20_000_u32 {
            let location = Location { segment: SegmentNumber(1), generation: 0, offset: number, length: 100 };
            let key = RowKey::object(BUCKET, &format!("prefix-{:03}/key-{:03}", number / 200, number % 200));
            let change = Change { key, row: damaged_row(Stamp(u64::from(number) + 1), location, VersionId::Null) };
            if number % 200 == 199 { fresh.push(change) } else { stored.push(change) }
        }
        store.write(false, |writer| writer.apply_all(&stored)).unwrap();
        let index = Index::new(Some(Arc::new(store)));
        index.overlay.insert(1, &fresh);
        index
    }

    fn request(delimiter: Option<&str>, limit: usize) -> ListRequest {
        let (prefix, delimiter) = (String::new(), delimiter.map(str::to_owned));
        ListRequest { bucket: BUCKET, prefix, delimiter, after: After::Beginning, limit }
    }

    #[test]
    fn a_delimiter_costs_prefixes_and_no_keys() {
        let index = index();
        let (page, rows) = page_of_objects(&index, &request(Some("/"), 1000)).unwrap();
        assert_eq!((page.entries.len(), page.more), (100, false));
        // One of the store and one of the overlay for each prefix, and the first stride.
        assert!(rows <= 2 * 100 + 2 * STRIDE_FIRST, "{rows} rows of 20000");
    }

    #[test]
    fn a_page_costs_a_page() {
        let index = index();
        let (page, rows) = page_of_objects(&index, &request(None, 1000)).unwrap();
        assert_eq!((page.entries.len(), page.more), (1000, true));
        assert!(rows <= 2500, "{rows} rows for a page of 1000");
    }
}
