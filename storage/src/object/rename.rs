//! RenameObject. The new key's record and the end of the old one are in one batch, so that no reader and no crash ever sees
//! both keys or neither. The bytes stay where they are: a large object's files get new ids by hard link, as in a copy.

use super::copy::{Prepared, part_checksums_of, prepare};
use super::get::ObjectReader;
use crate::commit::Decided;
use crate::commit::decide::{Mutation, Request};
use crate::format::record::{Cause, More, ObjectRecord};
use crate::limits::LOOKUPS_MAX;
use crate::target::{Target, blocking};
use crate::types::{PutOutcome, RenameRequest};
use crate::{Error, Result};
use common::VersionId;
use std::sync::Arc;

impl Target {
    /// Durable and visible when this returns. Only in a bucket that never kept versions.
    pub async fn rename(&self, request: RenameRequest) -> Result<PutOutcome> {
        let store = Arc::clone(self.home(request.bucket, &request.key));
        if !Arc::ptr_eq(&store, self.home(request.bucket, &request.source)) {
            return Err(Error::Refused("a rename from one disk to another".into()));
        }
        for _ in 0..LOOKUPS_MAX {
            let (reading, source) = (Arc::clone(&store), request.source.clone());
            let (bucket, source_stamp) = (request.bucket, request.source_stamp);
            let prepared = blocking(move || {
                let reader = ObjectReader::open(Arc::clone(&reading), bucket, source, None)?;
                if source_stamp.is_some_and(|stamp| stamp != reader.info().stamp) {
                    return Err(Error::PreconditionFailed("x-amz-rename-source-if-match"));
                }
                // Its files stay under their ids.
                if reader.info().envelope.is_some() {
                    return Err(Error::Sealed);
                }
                prepare(&reading, reader)
            });
            let Prepared { info, payload, inline, staged } = prepared.await?;
            let object = ObjectRecord {
                version: VersionId::Null,
                modified_ms: info.modified_ms,
                size: info.size,
                etag: info.etag,
                checksums: info.checksums.clone(),
                headers: info.attributes.headers.clone(),
                user: info.attributes.user.clone(),
                upload: None,
                synced: true,
                payload,
                parts: part_checksums_of(&info),
                more: More {
                    tags: info.attributes.tags,
                    lock: info.attributes.lock,
                    acl: info.attributes.acl,
                    ..More::default()
                },
            };
            let mutation = Mutation::Rename {
                object: Box::new(object),
                source: request.source.as_str().to_owned(),
                seen: info.stamp,
                precondition: request.precondition.clone(),
            };
            let asked = Request {
                epoch: request.epoch,
                bucket: request.bucket,
                key: request.key.as_str().to_owned(),
                mutation,
                nonce: 0,
                cause: Cause::Copy,
                is_housekeeping: false,
            };
            match store.mutate(asked, inline, staged).await {
                Ok(Decided { stamp, version, .. }) => {
                    return Ok(PutOutcome {
                        stamp: stamp.expect("a rename always has records"),
                        version,
                        etag: info.etag,
                        modified_ms: info.modified_ms,
                        checksums: info.checksums,
                        composite: info.composite,
                        size: info.size,
                        envelope: None,
                    });
                }
                // It is another one by now: read that.
                Err(Error::ObjectChanged) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::ObjectChanged)
    }
}
