//! The one place that decides whether a mutation happens, and what its record says (engine rule A7). No clock, no disk,
//! no runtime: everything it knows stands in `Facts`.

use super::lock;
use crate::format::name::FileId;
use crate::format::record::{Cause, Lock, ObjectRecord, Operation, PartRecord, Record, UploadRecord, Versioning, Why};
use crate::index::rows::{Row, RowKind};
use crate::types::{Match, Precondition};
use crate::{Error, Result};
use common::{BucketId, ETag, Epoch, Stamp, UploadId, VersionId};

/// What is to happen to one key. Everything that takes time (hashing, staging, reading parts) is done before.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// The object's version is given here: which one it is the bucket's versioning says.
    Put {
        object: Box<ObjectRecord>,
        precondition: Precondition,
    },
    /// `seen` is the stamp of the record that was decided about, where it was: it ends that one or none.
    Delete {
        version: Option<VersionId>,
        seen: Option<Stamp>,
        precondition: Precondition,
        bypass_governance: bool,
    },
    /// In the place of a version's record, with the same bytes. `seen` is the stamp of the record that `object` was made of.
    Update {
        version: Option<VersionId>,
        seen: Stamp,
        object: Box<ObjectRecord>,
        what: Updated,
        precondition: Precondition,
    },
    /// The object under this key, and the end of `source`, of whose record, with the stamp `seen`, it was made.
    Rename {
        object: Box<ObjectRecord>,
        source: String,
        seen: Stamp,
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

/// What an update changes, as far as locks ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// Tags or storage class: a lock does not hold them.
    Beside,
    /// Headers and user metadata: a part of the version, held with it.
    Metadata,
    LegalHold,
    Retention {
        bypass_governance: bool,
    },
}

/// A mutation of one key in one epoch.
#[derive(Debug, Clone)]
pub struct Request {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: String,
    pub mutation: Mutation,
    /// Random, for the id of a version that this makes.
    pub nonce: u64,
    /// For the change feed. It decides nothing.
    pub cause: Cause,
    /// Ours, not a client's: clears a bucket that is being deleted, and no other.
    pub is_housekeeping: bool,
}

impl Request {
    /// The version whose row decides beside the current one: the one named, or the null version where a write would take its
    /// place.
    pub fn decisive_version(&self, versioning: Versioning) -> Option<VersionId> {
        match &self.mutation {
            Mutation::Delete { version: Some(version), .. } | Mutation::Update { version: Some(version), .. } => {
                Some(*version)
            }
            Mutation::Put { .. }
            | Mutation::Rename { .. }
            | Mutation::CompleteUpload { .. }
            | Mutation::Delete { version: None, .. }
                if versioning != Versioning::Enabled =>
            {
                Some(VersionId::Null)
            }
            _ => None,
        }
    }
}

/// What is true at this place in the order of the key's mutations.
#[derive(Debug, Clone)]
pub struct Facts {
    pub epoch: Epoch,
    pub bucket_is_active: bool,
    pub versioning: Versioning,
    pub can_lock: bool,
    pub now_ms: u64,
    /// The current version, which may be a delete marker.
    pub current: Option<Row>,
    /// That of `Request::decisive_version`.
    pub decisive: Option<Row>,
    /// The object that a rename takes its bytes from.
    pub source: Option<Row>,
    /// The open upload that the request names.
    pub upload: Option<Row>,
}

/// The records of a mutation, and the version that it made, changed or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// With the stamps from the first one on, one each; none means that there is nothing to do.
    pub records: Vec<Record>,
    pub version: VersionId,
    pub is_marker: bool,
}

/// Decides.
pub fn decide(facts: &Facts, request: &Request, first_stamp: Stamp) -> Result<Decision> {
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
        why: Why { cause: request.cause, at_ms: matches!(operation, Operation::Delete { .. }).then_some(facts.now_ms) },
        operation,
    };
    let of = |records, version, is_marker| Ok(Decision { records, version, is_marker });
    let new_version = match facts.versioning {
        Versioning::Enabled => VersionId::Id(first_stamp, request.nonce),
        Versioning::Off | Versioning::Suspended => VersionId::Null,
    };
    let put = |object: &ObjectRecord, precondition| {
        check(precondition, facts.current.as_ref())?;
        if object.more.lock != Lock::default() && !facts.can_lock {
            return Err(Error::NoObjectLock);
        }
        may_end(facts, facts.decisive.as_ref(), false)?;
        Ok(Operation::Put(Box::new(ObjectRecord { version: new_version, ..object.clone() })))
    };
    match &request.mutation {
        Mutation::Put { object, precondition } => of(vec![record(0, put(object, precondition)?)], new_version, false),
        Mutation::Rename { object, source, seen, precondition } => {
            let from = facts.source.as_ref().ok_or(Error::NoSuchKey)?;
            // Where versions are kept a key does not end, so it cannot go elsewhere.
            if from.stamp != *seen || facts.versioning != Versioning::Off {
                return Err(Error::ObjectChanged);
            }
            let renamed = record(0, put(object, precondition)?);
            let mut end = record(1, Operation::Delete { version: VersionId::Null });
            end.key.clone_from(source);
            end.why.cause = Cause::Usual;
            of(vec![renamed, end], new_version, false)
        }
        Mutation::Delete { version: Some(version), seen, precondition, bypass_governance } => {
            check(precondition, facts.decisive.as_ref())?;
            is_seen(*seen, facts.decisive.as_ref())?;
            may_end(facts, facts.decisive.as_ref(), *bypass_governance)?;
            let is_marker = facts.decisive.as_ref().is_some_and(is_marker);
            let end = facts.decisive.as_ref().map(|_| record(0, Operation::Delete { version: *version }));
            of(end.into_iter().collect(), *version, is_marker)
        }
        Mutation::Delete { version: None, seen, precondition, .. } => {
            check(precondition, facts.current.as_ref())?;
            is_seen(*seen, facts.current.as_ref())?;
            may_end(facts, facts.decisive.as_ref(), false)?;
            if facts.versioning == Versioning::Off {
                // Nothing there: S3 answers 204 all the same, and the log need not grow by it.
                let end = facts.current.as_ref().map(|_| record(0, Operation::Delete { version: VersionId::Null }));
                return of(end.into_iter().collect(), VersionId::Null, false);
            }
            let marker = Operation::PutDeleteMarker { version: new_version, modified_ms: facts.now_ms };
            of(vec![record(0, marker)], new_version, true)
        }
        Mutation::Update { version, seen, object, what, precondition } => {
            let row = match version {
                Some(_) => facts.decisive.as_ref().ok_or(Error::NoSuchVersion)?,
                None => facts.current.as_ref().ok_or(Error::NoSuchKey)?,
            };
            if let RowKind::DeleteMarker { version: marker, modified_ms } = row.kind {
                return Err(Error::IsDeleteMarker { version: marker, modified_ms, was_named: version.is_some() });
            }
            check(precondition, Some(row))?;
            is_seen(Some(*seen), Some(row))?;
            let held = match what {
                Updated::Beside => None,
                Updated::Metadata => lock::held(row.lock(), facts.now_ms, false),
                Updated::LegalHold | Updated::Retention { .. } if !facts.can_lock => return Err(Error::NoObjectLock),
                Updated::LegalHold => None,
                Updated::Retention { bypass_governance } => {
                    let (now, next) = (row.lock().retention, object.more.lock.retention);
                    lock::retention_held(now, next, facts.now_ms, *bypass_governance)
                }
            };
            if let Some(reason) = held {
                return Err(Error::Locked(reason));
            }
            of(vec![record(0, Operation::Put(object.clone()))], object.version, false)
        }
        Mutation::CreateUpload(upload) => {
            if upload.more.lock != Lock::default() && !facts.can_lock {
                return Err(Error::NoObjectLock);
            }
            of(vec![record(0, Operation::CreateUpload(upload.clone()))], VersionId::Null, false)
        }
        Mutation::PutPart(part) => {
            open_upload(facts)?;
            of(vec![record(0, Operation::PutPart(part.clone()))], VersionId::Null, false)
        }
        Mutation::CompleteUpload { upload, newest_part, object, precondition, .. } => {
            unchanged_upload(facts, *newest_part)?;
            let end = record(1, Operation::EndUpload { upload: *upload });
            of(vec![record(0, put(object, precondition)?), end], new_version, false)
        }
        Mutation::AbortUpload { upload, newest_part, .. } => {
            unchanged_upload(facts, *newest_part)?;
            of(vec![record(0, Operation::EndUpload { upload: *upload })], VersionId::Null, false)
        }
    }
}

/// Whether a row is still of the record that was looked at. The null version's id does not tell: what takes its place has it too.
fn is_seen(seen: Option<Stamp>, row: Option<&Row>) -> Result<()> {
    match seen {
        Some(stamp) if row.is_none_or(|row| row.stamp != stamp) => Err(Error::ObjectChanged),
        _ => Ok(()),
    }
}

fn is_marker(row: &Row) -> bool {
    matches!(row.kind, RowKind::DeleteMarker { .. })
}

/// Whether a version may be ended or written over. What cannot be read counts as locked where the bucket can lock (A10).
fn may_end(facts: &Facts, row: Option<&Row>, bypass_governance: bool) -> Result<()> {
    let Some(row) = row else { return Ok(()) };
    if row.damaged && facts.can_lock && !is_marker(row) {
        return Err(Error::Locked("its record cannot be read"));
    }
    match lock::held(row.lock(), facts.now_ms, bypass_governance) {
        Some(reason) => Err(Error::Locked(reason)),
        None => Ok(()),
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
    use crate::format::record::Payload;
    use crate::index::rows::{Listed, Location};

    const ETAG: ETag = ETag { md5: [1; 16], parts: 0 };
    const OTHER: ETag = ETag { md5: [2; 16], parts: 0 };

    fn row(kind: RowKind) -> Row {
        let location = Location { segment: SegmentNumber(1), generation: 0, offset: 0, length: 1 };
        Row { stamp: Stamp(1), location, damaged: false, kind }
    }

    fn listed(version: VersionId) -> Listed {
        Listed { size: 1, etag: ETAG, modified_ms: 0, version, since: None, kept: None }
    }

    fn facts(object: bool) -> Facts {
        Facts {
            epoch: Epoch(1),
            bucket_is_active: true,
            versioning: Versioning::Off,
            can_lock: false,
            now_ms: 5,
            current: object.then(|| row(RowKind::Inline(listed(VersionId::Null)))),
            decisive: object.then(|| row(RowKind::Inline(listed(VersionId::Null)))),
            source: None,
            upload: Some(row(RowKind::Upload { created_ms: 0, algorithm: None, newest_part: Stamp(5), owner: None })),
        }
    }

    fn request(mutation: Mutation) -> Request {
        Request {
            epoch: Epoch(1),
            bucket: BucketId(1),
            key: "k".into(),
            mutation,
            nonce: 7,
            cause: Cause::Usual,
            is_housekeeping: false,
        }
    }

    fn delete(if_match: Option<Match>, if_none_match: Option<Match>) -> Request {
        let precondition = Precondition { if_match, if_none_match, ..Precondition::default() };
        request(Mutation::Delete { version: None, seen: None, precondition, bypass_governance: false })
    }

    #[test]
    fn deletes_may_depend_on_time_and_size() {
        let outcome = |object, modified_s, size| {
            let precondition = Precondition { modified_s, size, ..Precondition::default() };
            let delete = Mutation::Delete { version: None, seen: None, precondition, bypass_governance: false };
            decide(&facts(object), &request(delete), Stamp(9)).map(|decision| decision.records.len())
        };
        assert_eq!(outcome(true, Some(0), Some(1)).ok(), Some(1));
        assert_eq!(outcome(false, Some(7), Some(7)).ok(), Some(0));
        assert!(matches!(outcome(true, Some(1), None), Err(Error::PreconditionFailed(_))));
        assert!(matches!(outcome(true, None, Some(0)), Err(Error::PreconditionFailed(_))));
    }

    #[test]
    fn a_delete_of_what_was_seen_is_of_nothing_else() {
        let marker = |stamp| {
            let kind = RowKind::DeleteMarker { version: VersionId::Null, modified_ms: 0 };
            Some(Row { stamp: Stamp(stamp), ..row(kind) })
        };
        let outcome = |version: Option<VersionId>, seen, there: Option<Row>| {
            let other = || Some(row(RowKind::Inline(listed(VersionId::Id(Stamp(3), 1)))));
            let (current, decisive) = if version.is_none() { (there, None) } else { (other(), there) };
            let facts = Facts { versioning: Versioning::Suspended, current, decisive, ..facts(true) };
            let (precondition, bypass_governance) = (Precondition::default(), false);
            let delete = Mutation::Delete { version, seen: Some(Stamp(seen)), precondition, bypass_governance };
            decide(&facts, &request(delete), Stamp(9)).map(|decision| decision.records.len())
        };
        for version in [None, Some(VersionId::Null)] {
            assert_eq!(outcome(version, 1, marker(1)).ok(), Some(1));
            // A marker that took the place of a marker, at the same millisecond.
            assert!(matches!(outcome(version, 1, marker(2)), Err(Error::ObjectChanged)));
            assert!(matches!(outcome(version, 1, None), Err(Error::ObjectChanged)));
        }
    }

    #[test]
    fn a_rename_ends_one_key_and_makes_another() {
        let sample = crate::format::record::tests::sample(1, "k", Payload::Inline { crc32c: 0 }, 1);
        let Operation::Put(object) = sample.operation else { panic!("a put") };
        let outcome = |source: Option<Row>, versioning, precondition| {
            let facts = Facts { source, versioning, ..facts(true) };
            let (object, source) = (object.clone(), "old".to_owned());
            let rename = Mutation::Rename { object, source, seen: Stamp(1), precondition };
            decide(&facts, &request(rename), Stamp(9)).map(|decision| decision.records)
        };
        let source = row(RowKind::Inline(listed(VersionId::Null)));
        let records = outcome(Some(source.clone()), Versioning::Off, Precondition::default()).expect("renamed");
        let told: Vec<_> = records.iter().map(|record| (record.key.as_str(), record.stamp)).collect();
        assert_eq!(told, [("k", Stamp(9)), ("old", Stamp(10))]);
        assert_eq!(records[1].operation, Operation::Delete { version: VersionId::Null });
        assert!(matches!(outcome(None, Versioning::Off, Precondition::default()), Err(Error::NoSuchKey)));
        let other = Row { stamp: Stamp(2), ..source.clone() };
        assert!(matches!(outcome(Some(other), Versioning::Off, Precondition::default()), Err(Error::ObjectChanged)));
        let kept = outcome(Some(source.clone()), Versioning::Enabled, Precondition::default());
        assert!(matches!(kept, Err(Error::ObjectChanged)));
        let absent = Precondition { if_none_match: Some(Match::Any), ..Precondition::default() };
        assert!(matches!(outcome(Some(source), Versioning::Off, absent), Err(Error::PreconditionFailed(_))));
    }

    #[test]
    fn conditions_decide_as_s3_documents_them() {
        let outcome = |object, if_match, if_none_match| match decide(
            &facts(object),
            &delete(if_match, if_none_match),
            Stamp(9),
        ) {
            Ok(decision) => format!("{} records", decision.records.len()),
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
        assert_eq!(decide(&deleting, &ours, Stamp(9)).map(|decision| decision.records.len()).ok(), Some(1));
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
