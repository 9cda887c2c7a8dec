//! The one place that decides whether a mutation happens, and what its record says (engine rule A7). No clock, no disk,
//! no runtime: everything it knows stands in `Facts`.

use crate::format::name::FileId;
use crate::format::record::{ObjectRecord, Operation, PartRecord, Record, UploadRecord};
use crate::index::rows::{Row, RowKind};
use crate::types::{Match, Precondition};
use crate::{Error, Result};
use common::{BucketId, ETag, Epoch, Stamp, UploadId, VersionId};

/// What is to happen to one key. Everything that takes time (hashing, staging, reading parts) is done before.
#[derive(Debug, Clone)]
pub enum Mutation {
    Put {
        object: Box<ObjectRecord>,
        precondition: Precondition,
    },
    Delete {
        precondition: Precondition,
    },
    CreateUpload(UploadRecord),
    PutPart(PartRecord),
    /// `object` names the files of the listed parts; `newest_part` is what the upload's row said when they were read.
    CompleteUpload {
        upload: UploadId,
        newest_part: Stamp,
        object: Box<ObjectRecord>,
        precondition: Precondition,
        /// Files of parts that are not in the object.
        frees: Vec<FileId>,
    },
    AbortUpload {
        upload: UploadId,
        newest_part: Stamp,
        frees: Vec<FileId>,
    },
}

/// A mutation of one key in one epoch.
#[derive(Debug, Clone)]
pub struct Request {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: String,
    pub mutation: Mutation,
    /// Ours, not a client's: clears a bucket that is being deleted, and no other.
    pub is_housekeeping: bool,
}

/// What is true at this place in the order of the key's mutations.
#[derive(Debug, Clone)]
pub struct Facts {
    pub epoch: Epoch,
    pub bucket_is_active: bool,
    /// The current live object.
    pub object: Option<Row>,
    /// The open upload that the request names.
    pub upload: Option<Row>,
}

/// Decides. The records carry the stamps from `first_stamp` on, one each; none means that there is nothing to do.
pub fn decide(facts: &Facts, request: &Request, first_stamp: Stamp) -> Result<Vec<Record>> {
    if request.epoch != facts.epoch {
        return Err(Error::StaleEpoch { asked: request.epoch, current: facts.epoch });
    }
    match (facts.bucket_is_active, request.is_housekeeping) {
        (true, false) | (false, true) => {}
        (false, false) => return Err(Error::NoSuchBucket(request.bucket)),
        (true, true) => return Err(Error::BucketInUse(request.bucket)),
    }
    let record = |at: u64, operation| Record {
        stamp: Stamp(first_stamp.0 + at),
        bucket: request.bucket,
        key: request.key.clone(),
        operation,
    };
    match &request.mutation {
        Mutation::Put { object, precondition } => {
            check(precondition, facts.object.as_ref())?;
            Ok(vec![record(0, Operation::Put(object.clone()))])
        }
        Mutation::Delete { precondition } => {
            check(precondition, facts.object.as_ref())?;
            // Nothing there: S3 answers 204 all the same, and the log need not grow by it.
            let exists = facts.object.is_some();
            Ok(exists.then(|| record(0, Operation::Delete { version: VersionId::Null })).into_iter().collect())
        }
        Mutation::CreateUpload(upload) => Ok(vec![record(0, Operation::CreateUpload(upload.clone()))]),
        Mutation::PutPart(part) => {
            open_upload(facts)?;
            Ok(vec![record(0, Operation::PutPart(part.clone()))])
        }
        Mutation::CompleteUpload { upload, newest_part, object, precondition, .. } => {
            unchanged_upload(facts, *newest_part)?;
            check(precondition, facts.object.as_ref())?;
            let end = Operation::EndUpload { upload: *upload };
            Ok(vec![record(0, Operation::Put(object.clone())), record(1, end)])
        }
        Mutation::AbortUpload { upload, newest_part, .. } => {
            unchanged_upload(facts, *newest_part)?;
            Ok(vec![record(0, Operation::EndUpload { upload: *upload })])
        }
    }
}

fn open_upload(facts: &Facts) -> Result<Stamp> {
    match facts.upload.as_ref().map(|row| &row.kind) {
        Some(RowKind::Upload { newest_part, .. }) => Ok(*newest_part),
        _ => Err(Error::NoSuchUpload),
    }
}

fn unchanged_upload(facts: &Facts, seen: Stamp) -> Result<()> {
    if open_upload(facts)? == seen { Ok(()) } else { Err(Error::UploadChanged) }
}

/// The conditions of a write, as S3 answers them: `If-Match` on a missing key is 404, all else that fails is 412.
fn check(precondition: &Precondition, current: Option<&Row>) -> Result<()> {
    let listed = current.and_then(Row::listed);
    let etag = listed.map(|listed| listed.etag);
    let matches = |wanted: &Match, etag: ETag| match wanted {
        Match::Any => true,
        Match::ETags(etags) => etags.contains(&etag),
    };
    if let Some(wanted) = &precondition.if_match {
        match etag {
            None => return Err(Error::NoSuchKey),
            Some(etag) if !matches(wanted, etag) => return Err(Error::PreconditionFailed("If-Match")),
            Some(_) => {}
        }
    }
    if let (Some(unwanted), Some(etag)) = (&precondition.if_none_match, etag)
        && matches(unwanted, etag)
    {
        return Err(Error::PreconditionFailed("If-None-Match"));
    }
    let Some(listed) = listed else { return Ok(()) };
    let modified_s = i64::try_from(listed.modified_ms / 1000).unwrap_or(i64::MAX);
    if precondition.modified_s.is_some_and(|wanted| wanted != modified_s) {
        return Err(Error::PreconditionFailed("x-amz-if-match-last-modified-time"));
    }
    if precondition.size.is_some_and(|wanted| wanted != listed.size) {
        return Err(Error::PreconditionFailed("x-amz-if-match-size"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::name::SegmentNumber;
    use crate::index::rows::{Listed, Location};

    const ETAG: ETag = ETag { md5: [1; 16], parts: 0 };
    const OTHER: ETag = ETag { md5: [2; 16], parts: 0 };

    fn row(kind: RowKind) -> Row {
        let location = Location { segment: SegmentNumber(1), generation: 0, offset: 0, length: 1 };
        Row { stamp: Stamp(1), location, damaged: false, kind }
    }

    fn facts(object: bool) -> Facts {
        let listed = Listed { size: 1, etag: ETAG, modified_ms: 0 };
        Facts {
            epoch: Epoch(1),
            bucket_is_active: true,
            object: object.then(|| row(RowKind::Inline(listed))),
            upload: Some(row(RowKind::Upload { created_ms: 0, algorithm: None, newest_part: Stamp(5) })),
        }
    }

    fn request(mutation: Mutation) -> Request {
        Request { epoch: Epoch(1), bucket: BucketId(1), key: "k".into(), mutation, is_housekeeping: false }
    }

    fn delete(if_match: Option<Match>, if_none_match: Option<Match>) -> Request {
        request(Mutation::Delete { precondition: Precondition { if_match, if_none_match, ..Precondition::default() } })
    }

    #[test]
    fn deletes_may_depend_on_time_and_size() {
        let outcome = |object, modified_s, size| {
            let precondition = Precondition { modified_s, size, ..Precondition::default() };
            decide(&facts(object), &request(Mutation::Delete { precondition }), Stamp(9)).map(|records| records.len())
        };
        assert_eq!(outcome(true, Some(0), Some(1)).ok(), Some(1));
        assert_eq!(outcome(false, Some(7), Some(7)).ok(), Some(0));
        assert!(matches!(outcome(true, Some(1), None), Err(Error::PreconditionFailed(_))));
        assert!(matches!(outcome(true, None, Some(0)), Err(Error::PreconditionFailed(_))));
    }

    #[test]
    fn conditions_decide_as_s3_documents_them() {
        let outcome = |object, if_match, if_none_match| match decide(
            &facts(object),
            &delete(if_match, if_none_match),
            Stamp(9),
        ) {
            Ok(records) => format!("{} records", records.len()),
            Err(error) => error.to_string(),
        };
        let etags = |etag| Some(Match::ETags(vec![etag]));
        assert_eq!(outcome(true, None, None), "1 records");
        assert_eq!(outcome(false, None, None), "0 records");
        assert_eq!(outcome(true, etags(ETAG), None), "1 records");
        assert_eq!(outcome(true, Some(Match::Any), None), "1 records");
        assert_eq!(outcome(true, etags(OTHER), None), "the condition If-Match does not hold");
        assert_eq!(outcome(false, etags(ETAG), None), "no such key");
        assert_eq!(outcome(true, None, Some(Match::Any)), "the condition If-None-Match does not hold");
        assert_eq!(outcome(true, None, etags(ETAG)), "the condition If-None-Match does not hold");
        assert_eq!(outcome(true, None, etags(OTHER)), "1 records");
        assert_eq!(outcome(false, None, Some(Match::Any)), "0 records");
    }

    #[test]
    fn a_stale_epoch_or_a_deleted_bucket_refuses_everything() {
        let mut stale = delete(None, None);
        stale.epoch = Epoch(0);
        assert!(matches!(decide(&facts(true), &stale, Stamp(9)), Err(Error::StaleEpoch { .. })));
        let deleting = Facts { bucket_is_active: false, ..facts(true) };
        assert!(matches!(decide(&deleting, &delete(None, None), Stamp(9)), Err(Error::NoSuchBucket(_))));
        let ours = Request { is_housekeeping: true, ..delete(None, None) };
        assert_eq!(decide(&deleting, &ours, Stamp(9)).map(|records| records.len()).ok(), Some(1));
        assert!(matches!(decide(&facts(true), &ours, Stamp(9)), Err(Error::BucketInUse(_))));
    }

    #[test]
    fn an_upload_that_changed_since_it_was_read_is_read_again() {
        let upload = UploadId(Stamp(1), 1);
        let abort = |newest_part| request(Mutation::AbortUpload { upload, newest_part, frees: Vec::new() });
        assert!(decide(&facts(false), &abort(Stamp(5)), Stamp(9)).is_ok());
        assert!(matches!(decide(&facts(false), &abort(Stamp(4)), Stamp(9)), Err(Error::UploadChanged)));
        let gone = Facts { upload: None, ..facts(false) };
        assert!(matches!(decide(&gone, &abort(Stamp(5)), Stamp(9)), Err(Error::NoSuchUpload)));
    }
}
