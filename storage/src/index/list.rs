//! Ordered reading over overlay and store, and the two listings on top of it. Cost per page, not per bucket: a delimiter
//! skips a common prefix by seeking behind it.

use super::Index;
use super::rows::{Row, RowKey, RowKind, Table};
use crate::Result;
use crate::types::{
    After, ListEntry, ListPage, ListRequest, ListUploadsRequest, ListedObject, UploadEntry, UploadInfo, UploadsPage,
};
use common::VersionId;

/// Rows read from the store in one go while plain keys follow each other, and right after a seek.
const STRIDE_MAX: usize = 1024;
const STRIDE_MIN: usize = 4;

/// Live rows of one table in order, lazily.
pub struct Scan<'a> {
    index: &'a Index,
    table: Table,
    next: RowKey,
    until: RowKey,
    stride: usize,
    ready: std::vec::IntoIter<(RowKey, Row)>,
    exhausted: bool,
}

impl<'a> Scan<'a> {
    pub fn new(index: &'a Index, table: Table, from: RowKey, until: RowKey) -> Self {
        Self { index, table, next: from, until, stride: STRIDE_MIN, ready: Vec::new().into_iter(), exhausted: false }
    }

    /// Goes on at `to`, which lies behind everything given so far.
    pub fn seek(&mut self, to: RowKey) {
        let skipped = self.ready.as_slice().partition_point(|(key, _)| *key < to);
        if skipped < self.ready.len() {
            self.ready.by_ref().take(skipped).for_each(drop);
            return;
        }
        self.ready = Vec::new().into_iter();
        self.stride = STRIDE_MIN;
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
        let merged = merge(over, under, &bound);
        self.exhausted = bound == self.until;
        self.next = bound;
        self.stride = (self.stride * 4).min(STRIDE_MAX);
        self.ready = merged.into_iter();
        Ok(())
    }
}

fn merge(over: Vec<(RowKey, Row)>, under: Vec<(RowKey, Row)>, bound: &RowKey) -> Vec<(RowKey, Row)> {
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
fn common_prefix<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter?;
    let rest = &key[prefix.len()..];
    rest.find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()])
}

/// One page of ListObjects.
pub fn list_objects(index: &Index, request: &ListRequest) -> Result<ListPage> {
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
        let (Some((_, key)), Some(listed)) = (row_key.object_key(), row.listed().copied()) else { continue };
        if entries.len() == request.limit {
            return Ok(ListPage { entries, more: true });
        }
        match common_prefix(&key, prefix, request.delimiter.as_deref()) {
            Some(common) => {
                scan.seek(RowKey::after_prefix(Table::Objects, bucket, common));
                entries.push(ListEntry::Prefix(common.to_owned()));
            }
            None => entries.push(ListEntry::Object(ListedObject {
                key,
                stamp: row.stamp,
                version: VersionId::Null,
                size: listed.size,
                etag: listed.etag,
                modified_ms: listed.modified_ms,
            })),
        }
    }
    Ok(ListPage { entries, more: false })
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
        let RowKind::Upload { created_ms, algorithm, .. } = row.kind else { continue };
        if entries.len() == request.limit {
            return Ok(UploadsPage { entries, more: true });
        }
        match common_prefix(&key, prefix, request.delimiter.as_deref()) {
            Some(common) => {
                scan.seek(RowKey::after_prefix(Table::Uploads, bucket, common));
                entries.push(UploadEntry::Prefix(common.to_owned()));
            }
            None => entries.push(UploadEntry::Upload(UploadInfo { upload, key, created_ms, algorithm })),
        }
    }
    Ok(UploadsPage { entries, more: false })
}
