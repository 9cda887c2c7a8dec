//! What is kept beside an object's bytes, changed without them: PutObjectTagging, PutObjectRetention, PutObjectLegalHold,
//! PutObjectAcl, and a change of metadata. The new record takes the old one's place and its files, and repeats the payload if that stands
//! in the log: the latest record of a version is the whole truth of it (engine rules A11 and A12).

use super::check_attributes;
use super::get::find;
use crate::commit::decide::{Mutation, Request, Updated};
use crate::format::record::{Cause, ObjectRecord, Operation};
use crate::limits::LOOKUPS_MAX;
use crate::target::{Target, blocking};
use crate::types::{Attributes, Update, UpdateOutcome, UpdateRequest};
use crate::{Error, Result};
use bytes::Bytes;
use common::VersionId;
use std::sync::Arc;

const CLASS: &str = "x-amz-storage-class";

impl Target {
    /// Durable and visible when this returns. The version keeps its id, ETag and place among the versions of its key.
    pub async fn update(&self, request: UpdateRequest) -> Result<UpdateOutcome> {
        let store = Arc::clone(self.home(request.bucket, &request.key));
        for _ in 0..LOOKUPS_MAX {
            let (reading, key) = (Arc::clone(&store), request.key.clone());
            let (bucket, version) = (request.bucket, request.version);
            let found = blocking(move || find(&reading, bucket, &key, version)).await?;
            let Operation::Put(mut object) = found.record.operation else { return Err(Error::NoSuchKey) };
            if request.seen.is_some_and(|seen| seen != found.record.stamp) {
                return Err(Error::ObjectChanged);
            }
            if object.version == VersionId::Null {
                object.more.since = Some(found.row.since());
            }
            let what = apply(&mut object, &request.update, store.clock.now_ms());
            check_attributes(&attributes_of(&object))?;
            let (etag, modified_ms) = (object.etag, object.modified_ms);
            let is_inline = !found.inline.frame.is_empty();
            let payload = is_inline.then(|| Bytes::from(found.inline.frame).slice(found.inline.range));
            let (seen, precondition) = (found.row.stamp, request.precondition.clone());
            let mutation = Mutation::Update { version, seen, object, what, precondition };
            let (epoch, key) = (request.epoch, request.key.as_str().to_owned());
            let asked = Request {
                epoch,
                bucket,
                key,
                mutation,
                nonce: 0,
                cause: cause_of(&request.update),
                is_housekeeping: false,
            };
            match store.mutate(asked, payload, Vec::new()).await {
                Ok(decided) => {
                    let stamp = decided.stamp.expect("an update always has a record");
                    return Ok(UpdateOutcome { stamp, version: decided.version, etag, modified_ms });
                }
                // It is another one by now: read that.
                Err(Error::ObjectChanged) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::ObjectChanged)
    }
}

fn apply(object: &mut ObjectRecord, update: &Update, now_ms: u64) -> Updated {
    match update {
        Update::Tags(tags) => {
            object.more.tags.clone_from(tags);
            Updated::Beside
        }
        Update::Retention { retention, bypass_governance } => {
            object.more.lock.retention = *retention;
            Updated::Retention { bypass_governance: *bypass_governance }
        }
        Update::LegalHold(hold) => {
            object.more.lock.legal_hold = *hold;
            Updated::LegalHold
        }
        Update::Class(class) => {
            object.headers.retain(|(name, _)| name != CLASS);
            object.headers.extend(class.iter().map(|class| (CLASS.to_owned(), class.clone())));
            Updated::Beside
        }
        Update::Metadata { headers, user } => {
            object.headers.clone_from(headers);
            object.user.clone_from(user);
            // What tells clients by this time that the object is another one must notice.
            object.modified_ms = now_ms;
            Updated::Metadata
        }
        Update::Acl(acl) => {
            object.more.acl.clone_from(acl);
            Updated::Beside
        }
    }
}

fn cause_of(update: &Update) -> Cause {
    match update {
        Update::Tags(tags) if tags.is_empty() => Cause::TagsRemoved,
        Update::Tags(_) => Cause::Tags,
        Update::Retention { .. } => Cause::Retention,
        Update::LegalHold(_) => Cause::LegalHold,
        Update::Class(_) => Cause::Lifecycle,
        Update::Metadata { .. } => Cause::Metadata,
        Update::Acl(_) => Cause::Acl,
    }
}

fn attributes_of(object: &ObjectRecord) -> Attributes {
    Attributes {
        headers: object.headers.clone(),
        user: object.user.clone(),
        tags: object.more.tags.clone(),
        lock: object.more.lock,
        acl: object.more.acl.clone(),
    }
}
