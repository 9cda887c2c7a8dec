//! One change of one object, as the feed tells it: made of its record alone.

use crate::format::batch::Subject;
use crate::format::record::{Cause, Operation, Record};
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
    /// A form upload.
    Post,
    Copy,
    CompleteUpload,
    Tags,
    TagsRemoved,
    Retention,
    LegalHold,
    Metadata,
    Acl,
    /// A lifecycle rule changed its storage class.
    Transition,
    /// The version is gone.
    Delete,
    DeleteMarker,
    /// A lifecycle rule did it.
    Expired,
    ExpiredByMarker,
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
                let change = match record.why.cause {
                    Cause::Usual if object.upload.is_some() => Change::CompleteUpload,
                    Cause::Usual => Change::Put,
                    Cause::Form => Change::Post,
                    Cause::Copy => Change::Copy,
                    Cause::Tags => Change::Tags,
                    Cause::TagsRemoved => Change::TagsRemoved,
                    Cause::Retention => Change::Retention,
                    Cause::LegalHold => Change::LegalHold,
                    Cause::Metadata => Change::Metadata,
                    Cause::Lifecycle => Change::Transition,
                    Cause::Acl => Change::Acl,
                };
                let (size, etag) = (object.size, Some(object.etag));
                let at_ms = record.why.at_ms.or(Some(object.modified_ms));
                Some(Self { size, etag, at_ms, ..event(object.version, change) })
            }
            Operation::Delete { version } => {
                let by_rule = record.why.cause == Cause::Lifecycle;
                let change = if by_rule { Change::Expired } else { Change::Delete };
                Some(Self { at_ms: record.why.at_ms, ..event(*version, change) })
            }
            Operation::PutDeleteMarker { version, modified_ms } => {
                let by_rule = record.why.cause == Cause::Lifecycle;
                let change = if by_rule { Change::ExpiredByMarker } else { Change::DeleteMarker };
                Some(Self { at_ms: Some(*modified_ms), ..event(*version, change) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::Payload;
    use crate::format::record::tests::sample;
    use common::UploadId;

    #[test]
    fn a_record_says_what_happened() {
        let put = sample(7, "k", Payload::Inline { crc32c: 0 }, 3);
        let with = |cause, upload| {
            let mut record = put.clone();
            record.why.cause = cause;
            if let Operation::Put(object) = &mut record.operation {
                object.upload = upload;
            }
            Event::of(&record).map(|event| event.change)
        };
        let upload = Some(UploadId(Stamp(1), 2));
        assert_eq!(with(Cause::Usual, None), Some(Change::Put));
        assert_eq!(with(Cause::Usual, upload), Some(Change::CompleteUpload));
        assert_eq!(with(Cause::Tags, upload), Some(Change::Tags));
        assert_eq!(with(Cause::Form, None), Some(Change::Post));
        assert_eq!(with(Cause::Copy, None), Some(Change::Copy));
        let event = Event::of(&put).expect("an object's");
        assert_eq!((event.stamp, event.size, event.at_ms), (Stamp(7), 3, Some(1_700_000_000_123)));
        let mut gone = Record { operation: Operation::Delete { version: VersionId::Null }, ..put };
        assert_eq!(Event::of(&gone).map(|event| (event.change, event.etag)), Some((Change::Delete, None)));
        gone.why.cause = Cause::Lifecycle;
        assert_eq!(Event::of(&gone).map(|event| event.change), Some(Change::Expired));
    }
}
