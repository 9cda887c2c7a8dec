//! What one record does to the index: the same function for the committer, for replay and for a rebuild.

use crate::format::record::{ObjectRecord, Operation, Payload, Record};
use crate::index::overlay::Change;
use crate::index::rows::{Listed, Location, Row, RowKey, RowKind};
use common::Stamp;

/// The rows that a record changes. `open_upload` is the row of the upload that a part belongs to.
pub fn changes_of(record: &Record, location: Location, open_upload: Option<(RowKey, Row)>) -> Vec<Change> {
    let row = |kind| Row { stamp: record.stamp, location, damaged: false, kind };
    let object = |kind| vec![Change { key: RowKey::object(record.bucket, &record.key), row: row(kind) }];
    match &record.operation {
        Operation::Put(put) => object(match put.payload {
            Payload::Inline { .. } => RowKind::Inline(listed(put)),
            Payload::Chunks(_) | Payload::Table { .. } => RowKind::Large(listed(put)),
        }),
        Operation::Delete { .. } => object(RowKind::Tombstone),
        Operation::CreateUpload(upload) => {
            let kind = RowKind::Upload {
                created_ms: upload.created_ms,
                algorithm: upload.algorithm,
                newest_part: Stamp::ZERO,
            };
            vec![Change { key: RowKey::upload(record.bucket, &record.key, upload.upload), row: row(kind) }]
        }
        Operation::PutPart(part) => {
            let kind = RowKind::Part(Listed { size: part.size, etag: part.etag, modified_ms: part.modified_ms });
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
        // Buckets have their own table; pieces and delete markers come with copies and versioning.
        Operation::PutBucket(_)
        | Operation::RemoveBucket
        | Operation::PutPiece(_)
        | Operation::PutDeleteMarker { .. } => Vec::new(),
    }
}

fn listed(put: &ObjectRecord) -> Listed {
    Listed { size: put.size, etag: put.etag, modified_ms: put.modified_ms }
}
