//! CopyObject. A large object's files get new ids by hard link: no byte moves, and the file system keeps the count
//! (engine rule A12).

use super::get::ObjectReader;
use super::{check_attributes, payload_of, staging_failed, sync_staged};
use crate::commit::Decided;
use crate::commit::decide::{Mutation, Request};
use crate::disk::read::{ChunkList, open_data};
use crate::disk::stage::StagedFile;
use crate::format::record::{Cause, Chunk, More, ObjectRecord, PartChecksums, Payload};
use crate::store::DiskStore;
use crate::target::{Target, blocking};
use crate::types::{Attributes, CopyRequest, Lock, ObjectInfo, PutOutcome};
use crate::{Error, Result};
use bytes::Bytes;
use common::checksum::crc32c;
use common::{ObjectKey, VersionId};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

impl Target {
    pub async fn copy(&self, request: CopyRequest) -> Result<PutOutcome> {
        if let Some(attributes) = &request.attributes {
            check_attributes(attributes)?;
        }
        let source: ObjectKey = request.source_key.clone();
        let from = Arc::clone(self.home(request.source_bucket, &source));
        let store = Arc::clone(self.home(request.bucket, &request.key));
        let (to, source_bucket) = (Arc::clone(&store), request.source_bucket);
        let (source_stamp, source_version) = (request.source_stamp, request.source_version);
        let prepared = blocking(move || {
            let reader = ObjectReader::open(from, source_bucket, source, source_version)?;
            if source_stamp.is_some_and(|stamp| stamp != reader.info().stamp) {
                return Err(Error::PreconditionFailed("x-amz-copy-source-if-match"));
            }
            // Its files stay under their ids: who copies it reads and writes it anew.
            if reader.info().envelope.is_some() {
                return Err(Error::Sealed);
            }
            prepare(&to, reader)
        });
        let Prepared { info, payload, inline, staged } = prepared.await?;
        let parts = part_checksums_of(&info);
        let attributes =
            request.attributes.unwrap_or(Attributes { lock: Lock::default(), acl: None, ..info.attributes });
        let modified_ms = store.clock.now_ms();
        // A copy is put whole, but it keeps the ETag of its source, as the bytes were hashed then and not now.
        let object = ObjectRecord {
            version: VersionId::Null,
            modified_ms,
            size: info.size,
            etag: info.etag,
            checksums: info.checksums.clone(),
            headers: attributes.headers,
            user: attributes.user,
            upload: None,
            synced: true,
            payload,
            parts,
            more: More { tags: attributes.tags, lock: attributes.lock, acl: attributes.acl, ..More::default() },
        };
        let mutation = Mutation::Put { object: Box::new(object), precondition: request.precondition };
        let key = request.key.into();
        let asked = Request {
            epoch: request.epoch,
            bucket: request.bucket,
            key,
            mutation,
            nonce: store.random.u64(),
            cause: Cause::Copy,
            is_housekeeping: false,
        };
        let Decided { stamp, version, .. } = store.mutate(asked, inline, staged).await?;
        Ok(PutOutcome {
            stamp: stamp.expect("a put always has a record"),
            version,
            etag: info.etag,
            modified_ms,
            checksums: info.checksums,
            composite: info.composite,
            size: info.size,
            envelope: None,
        })
    }
}

/// The copy has its source's chunks, and so its parts.
pub(super) fn part_checksums_of(info: &ObjectInfo) -> Option<PartChecksums> {
    let algorithm = info.composite.as_ref().or(info.part_checksums.first())?.algorithm;
    let values = info.part_checksums.iter().flat_map(|checksum| checksum.value.clone()).collect();
    Some(PartChecksums { algorithm, values, composite: info.composite.clone().map(|checksum| checksum.value) })
}

pub(super) struct Prepared {
    pub info: ObjectInfo,
    pub payload: Payload,
    pub inline: Option<Bytes>,
    pub staged: Vec<StagedFile>,
}

pub(super) fn prepare(store: &DiskStore, reader: ObjectReader) -> Result<Prepared> {
    let (info, source) = reader.into_parts();
    match source {
        Err(bytes) => {
            let payload = Payload::Inline { crc32c: crc32c(&bytes) };
            Ok(Prepared { info, payload, inline: Some(bytes), staged: Vec::new() })
        }
        // The pin holds the source's files until every one of them has its second name.
        Ok((chunks, _pin)) => {
            let (chunks, mut staged) = share(store, &chunks)?;
            let (payload, table) = payload_of(store, chunks)?;
            staged.extend(table);
            Ok(Prepared { info, payload, inline: None, staged })
        }
    }
}

pub(super) fn share(store: &DiskStore, chunks: &ChunkList) -> Result<(Vec<Chunk>, Vec<StagedFile>)> {
    let listed = chunks.to_chunks().map_err(|error| Error::Damaged(error.to_string()))?;
    let mut shared = Vec::with_capacity(listed.len());
    let mut staged = Vec::with_capacity(listed.len());
    for chunk in listed {
        let file = share_file(store, &chunk)?;
        shared.push(Chunk { id: file.id(), ..chunk });
        staged.push(file);
    }
    Ok((shared, staged))
}

/// A second name for a file's bytes; a copy of them where the file system gives no more names.
fn share_file(store: &DiskStore, chunk: &Chunk) -> Result<StagedFile> {
    for path in [chunk.id.path(), chunk.id.staging_path(), crate::disk::read::dying_path(chunk.id)] {
        match StagedFile::link(Arc::clone(&store.disk), &path, store.new_file_id()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::TooManyLinks => break,
            result => return result.map_err(staging_failed),
        }
    }
    let copied = copy_file(store, chunk).map_err(staging_failed)?;
    sync_staged(store, &copied)?;
    Ok(copied)
}

fn copy_file(store: &DiskStore, chunk: &Chunk) -> io::Result<StagedFile> {
    let source = open_data(store.disk.as_ref(), chunk.id).map_err(io::Error::other)?;
    let staged = StagedFile::create(Arc::clone(&store.disk), store.new_file_id(), Some(chunk.length))?;
    let mut buffer = vec![0; crate::limits::COPY_STEP_BYTES];
    let mut offset = 0;
    loop {
        let count = source.read_at(&mut buffer, offset)?;
        if count == 0 {
            break;
        }
        staged.file().write_at(&[IoSlice::new(&buffer[..count])], offset)?;
        offset += count as u64;
    }
    Ok(staged)
}
