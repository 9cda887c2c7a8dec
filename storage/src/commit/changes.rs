//! What one record does to the index: the same function for the committer, for replay and for a rebuild.

use crate::Result;
use crate::files::ViewChange;
use crate::format::record::{Lock, More, ObjectRecord, Operation, Payload, Record};
use crate::index::overlay::Change;
use crate::index::rows::{Kept, Listed, ListedPart, Location, Row, RowKey, RowKind};
use common::{Stamp, VersionId};

/// The rows that a record changes. Of an object's version it is the row under the object's key, wherever among the versions
/// its place is: that is the index's to find out, and `Effect`'s for what readers see until it did. `open_upload` is the row of the upload that a part belongs to.
pub fn changes_of(record: &Record, location: Location, open_upload: Option<(RowKey, Row)>) -> Vec<Change> {
    let row = |kind| Row { stamp: record.stamp, location, damaged: false, kind };
    let object = |kind| vec![Change { key: RowKey::object(record.bucket, &record.key), row: row(kind) }];
    match &record.operation {
        Operation::Put(put) => object(match put.payload {
            Payload::Inline { .. } => RowKind::Inline(listed(put)),
            Payload::Chunks(_) | Payload::Table { .. } => RowKind::Large(listed(put)),
        }),
        Operation::Delete { version } => object(RowKind::Tombstone(*version)),
        Operation::PutDeleteMarker { version, modified_ms } => {
            object(RowKind::DeleteMarker { version: *version, modified_ms: *modified_ms })
        }
        Operation::CreateUpload(upload) => {
            let kind = RowKind::Upload {
                created_ms: upload.created_ms,
                algorithm: upload.algorithm,
                newest_part: Stamp::ZERO,
                owner: owner_of(&upload.more),
            };
            vec![Change { key: RowKey::upload(record.bucket, &record.key, upload.upload), row: row(kind) }]
        }
        Operation::PutPart(part) => {
            let kind = RowKind::Part(ListedPart { size: part.size, etag: part.etag, modified_ms: part.modified_ms });
            let mut changes = vec![Change { key: RowKey::part(part.upload, part.part), row: row(kind) }];
            if let Some((key, mut upload)) = open_upload
                && let RowKind::Upload { newest_part, .. } = &mut upload.kind
            {
                *newest_part = record.stamp;
                changes.push(Change { key, row: upload });
            }
            changes
        }
        Operation::EndUpload { upload } => {
            vec![Change { key: RowKey::upload(record.bucket, &record.key, *upload), row: row(RowKind::UploadEnd) }]
        }
        // Buckets have their own table; pieces come with copies.
        Operation::PutBucket(_) | Operation::RemoveBucket | Operation::PutPiece(_) => Vec::new(),
    }
}

fn listed(put: &ObjectRecord) -> Listed {
    let class = put.headers.iter().find(|(name, _)| name == "x-amz-storage-class").map(|(_, value)| value.clone());
    let owner = owner_of(&put.more);
    let is_plain = put.more.tags.is_empty() && put.more.lock == Lock::default() && class.is_none() && owner.is_none();
    let kept = || Box::new(Kept { tags: put.more.tags.clone(), lock: put.more.lock, class, owner });
    Listed {
        size: put.size,
        etag: put.etag,
        modified_ms: put.modified_ms,
        version: put.version,
        since: put.more.since.filter(|_| put.version == VersionId::Null),
        kept: (!is_plain).then(kept),
    }
}

fn owner_of(more: &More) -> Option<String> {
    more.acl.as_ref().and_then(|acl| acl.owner.clone())
}

/// Rows as they are at one place in the order of the mutations.
pub trait Rows {
    fn row(&mut self, key: &RowKey) -> Result<Option<Row>>;

    /// The newest version of a key that is not the current one, by the row of the key in `Objects`.
    fn newest_version(&mut self, object: &RowKey) -> Result<Option<Row>>;
}

/// What a change of a version means for the rows of its key.
#[derive(Debug, Default)]
pub struct Effect {
    /// The rows as they stand afterwards, tombstones where there is none any more.
    pub shown: Vec<Change>,
    /// The row of the same version before.
    pub replaced: Option<Row>,
    pub view: ViewChange,
}

/// Works out what `change`, as `changes_of` gives it of an object, does to the rows that readers see.
pub fn effect(change: &Change, rows: &mut impl Rows) -> Result<Effect> {
    let Change { key: object, row } = change;
    let version = row.version();
    let current = rows.row(object)?.filter(Row::is_live);
    let change_to = |key: &RowKey, row: Row| Change { key: key.clone(), row };
    // That there is no row any more. Whose end it is nobody asks.
    let gone = |key: &RowKey| Change {
        key: key.clone(),
        row: Row { kind: RowKind::Tombstone(VersionId::Null), ..row.clone() },
    };
    let Some(current) = current else {
        let view = ViewChange { hide: None, show: row.is_live(), relink: None };
        return Ok(Effect { shown: vec![change.clone()], replaced: None, view });
    };
    if current.version() == version {
        let next = if row.is_live() { None } else { rows.newest_version(object)? };
        let mut shown = Vec::new();
        match &next {
            Some(next) => {
                shown.push(change_to(object, next.clone()));
                shown.push(gone(&object.version_of(next.version())));
            }
            None => shown.push(change.clone()),
        }
        let view = ViewChange { hide: Some(current.clone()), show: row.is_live(), relink: next };
        return Ok(Effect { shown, replaced: Some(current), view });
    }
    let slot = object.version_of(version);
    let existing = rows.row(&slot)?.filter(Row::is_live);
    let mut shown = Vec::new();
    let mut view = ViewChange::default();
    if row.is_live() && row.since() > current.since() {
        shown.push(change.clone());
        if existing.is_some() {
            shown.push(gone(&slot));
        }
        shown.push(change_to(&object.version_of(current.version()), current.clone()));
        view = ViewChange { hide: Some(current), show: true, relink: None };
    } else if row.is_live() {
        shown.push(change_to(&slot, row.clone()));
    } else if existing.is_some() {
        shown.push(gone(&slot));
    }
    Ok(Effect { shown, replaced: existing, view })
}
