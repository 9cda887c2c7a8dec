//! One change of one object, as the feed tells it: made of its record alone.

use crate::format::batch::Subject;
use crate::format::record::{Operation, Record};
use common::{BucketId, ETag, Stamp, VersionId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub stamp: Stamp,
    pub bucket: BucketId,
    pub key: String,
    pub version: VersionId,
    pub change: Change,
    /// 0 of what says "deleted".
    pub size: u64,
    pub etag: Option<ETag>,
    /// When it happened, where the record says so.
    pub at_ms: Option<u64>,
}

/// What happened to the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Put,
    CompleteUpload,
    /// Something beside its bytes changed.
    Update,
    /// The version is gone.
    Delete,
    DeleteMarker,
}

impl Event {
    /// `None` of records that change no object.
    pub fn of(record: &Record) -> Option<Self> {
        let event = |version, change| Self {
            stamp: record.stamp,
            bucket: record.bucket,
            key: record.key.clone(),
            version,
            change,
            size: 0,
            etag: None,
            at_ms: None,
        };
        match &record.operation {
            Operation::Put(object) => {
                let change = match (is_update(record.stamp, object.version, object.more.since), object.upload) {
                    (true, _) => Change::Update,
                    (false, Some(_)) => Change::CompleteUpload,
                    (false, None) => Change::Put,
                };
                let (size, etag, at_ms) = (object.size, Some(object.etag), Some(object.modified_ms));
                Some(Self { size, etag, at_ms, ..event(object.version, change) })
            }
            Operation::Delete { version } => Some(event(*version, Change::Delete)),
            Operation::PutDeleteMarker { version, modified_ms } => {
                Some(Self { at_ms: Some(*modified_ms), ..event(*version, Change::DeleteMarker) })
            }
            Operation::CreateUpload(_)
            | Operation::PutPart(_)
            | Operation::EndUpload { .. }
            | Operation::PutBucket(_)
            | Operation::RemoveBucket
            | Operation::PutPiece(_) => None,
        }
    }

    /// Whether a record about this makes an event.
    pub fn is_of(subject: &Subject) -> bool {
        matches!(subject, Subject::Object(_) | Subject::Tombstone(_) | Subject::DeleteMarker(_))
    }

    pub(super) fn cost_bytes(&self) -> usize {
        size_of::<Self>() + self.key.len()
    }
}

/// A version that was put before this record: its id has another stamp, or the record says when.
fn is_update(stamp: Stamp, version: VersionId, since: Option<Stamp>) -> bool {
    match version {
        VersionId::Id(made, _) => made != stamp,
        VersionId::Null => since.is_some_and(|since| since != stamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::Payload;
    use crate::format::record::tests::sample;
    use common::UploadId;

    #[test]
    fn a_record_says_what_happened() {
        let put = sample(7, "k", Payload::Inline { crc32c: 0 }, 3);
        let with = |change: &dyn Fn(&mut crate::format::record::ObjectRecord)| {
            let mut record = put.clone();
            if let Operation::Put(object) = &mut record.operation {
                change(object);
            }
            Event::of(&record).map(|event| event.change)
        };
        assert_eq!(with(&|_| {}), Some(Change::Put));
        assert_eq!(with(&|object| object.upload = Some(UploadId(Stamp(1), 2))), Some(Change::CompleteUpload));
        assert_eq!(with(&|object| object.more.since = Some(Stamp(5))), Some(Change::Update));
        assert_eq!(with(&|object| object.version = VersionId::Id(Stamp(7), 1)), Some(Change::Put));
        assert_eq!(with(&|object| object.version = VersionId::Id(Stamp(6), 1)), Some(Change::Update));
        let event = Event::of(&put).expect("an object's");
        assert_eq!((event.stamp, event.size, event.at_ms), (Stamp(7), 3, Some(1_700_000_000_123)));
        let gone = Record { operation: Operation::Delete { version: VersionId::Null }, ..put };
        assert_eq!(Event::of(&gone).map(|event| (event.change, event.etag)), Some((Change::Delete, None)));
    }
}
