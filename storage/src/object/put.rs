//! PutObject and UploadPart: the body's way into the log or into a staged file, and the commit.
//!
//! A body up to the inline limit stays in memory. A longer one is written in steps of 1 MiB while the next step arrives;
//! hashing a step and writing it run side by side on two blocking threads, so that MD5, the slower of the two, sets the
//! pace and not their sum.

use super::{check_attributes, payload_of, staging_failed, sync_staged};
use crate::commit::decide::{Mutation, Request};
use crate::disk::stage::StagedFile;
use crate::format::record::{Chunk, ObjectRecord, PartRecord, Payload};
use crate::limits::{BLOCK_BYTES, CHUNK_BYTES, PUT_BYTES_MAX};
use crate::store::DiskStore;
use crate::target::{Target, blocking};
use crate::types::{Attributes, Precondition, PutOutcome, PutPartRequest, PutRequest};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use common::checksum::crc32c;
use common::{BucketId, Digester, Digests, ETag, Epoch, ObjectKey, PartNumber, Stamp, UploadId, VersionId};
use std::io::IoSlice;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// What the body becomes when it is whole.
enum Purpose {
    Object { attributes: Attributes, precondition: Precondition },
    Part { upload: UploadId, part: PartNumber },
}

struct Destination {
    epoch: Epoch,
    bucket: BucketId,
    key: ObjectKey,
    purpose: Purpose,
}

impl Target {
    /// Starts a PUT: write the body, `finish`, compare the digests, `commit`. Dropping writer or staged object at any time
    /// leaves nothing behind.
    pub async fn put(&self, request: PutRequest) -> Result<ObjectWriter> {
        check_attributes(&request.attributes)?;
        let PutRequest { epoch, bucket, key, attributes, precondition, length, algorithms } = request;
        let store = Arc::clone(self.home(bucket, &key));
        let purpose = Purpose::Object { attributes, precondition };
        ObjectWriter::new(store, Destination { epoch, bucket, key, purpose }, length, Digester::new(&algorithms), true)
    }

    /// Starts an UploadPart, in the same way.
    pub async fn put_part(&self, request: PutPartRequest) -> Result<ObjectWriter> {
        let PutPartRequest { epoch, bucket, key, upload, part, length, mut algorithms } = request;
        let store = Arc::clone(self.home(bucket, &key));
        // That it is open is a hint only: the committer decides. Its algorithm was fixed when it was created.
        let of_upload = super::multipart::open_upload(&store, bucket, &key, upload).await?;
        algorithms.extend(of_upload.filter(|algorithm| !algorithms.contains(algorithm)));
        let purpose = Purpose::Part { upload, part };
        // Parts are files always, so that Complete takes them over without touching a byte.
        ObjectWriter::new(store, Destination { epoch, bucket, key, purpose }, length, Digester::new(&algorithms), false)
    }
}

/// A body on its way to the disk.
pub struct ObjectWriter {
    store: Arc<DiskStore>,
    destination: Destination,
    declared: Option<u64>,
    received: u64,
    /// Not yet given to a step. At most one step and one frame.
    buffer: BytesMut,
    may_be_inline: bool,
    file: Option<LargeFile>,
    digester: Option<Digester>,
}

/// A body that is too long for the log.
struct LargeFile {
    staged: Arc<StagedFile>,
    written: u64,
    blocks: Vec<u32>,
    /// The step that is being hashed and written.
    step: Option<Step>,
}

struct Step {
    hashing: JoinHandle<(Digester, Vec<u32>)>,
    writing: JoinHandle<std::io::Result<()>>,
}

impl ObjectWriter {
    fn new(
        store: Arc<DiskStore>,
        destination: Destination,
        declared: Option<u64>,
        digester: Digester,
        may_be_inline: bool,
    ) -> Result<Self> {
        if declared.is_some_and(|declared| declared > PUT_BYTES_MAX) {
            return Err(Error::TooLarge { limit_bytes: PUT_BYTES_MAX });
        }
        if let Some(reason) = store.health.failure() {
            return Err(Error::DiskFailed(reason.to_owned()));
        }
        refuse_when_full(&store)?;
        Ok(Self {
            store,
            destination,
            declared,
            received: 0,
            buffer: BytesMut::new(),
            may_be_inline,
            file: None,
            digester: Some(digester),
        })
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.received += bytes.len() as u64;
        if let Some(declared) = self.declared.filter(|&declared| self.received > declared) {
            return Err(Error::WrongLength { declared, actual: self.received });
        }
        if self.received > PUT_BYTES_MAX {
            return Err(Error::TooLarge { limit_bytes: PUT_BYTES_MAX });
        }
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == CHUNK_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn is_inline(&self) -> bool {
        self.may_be_inline && self.file.is_none() && self.received <= self.store.options.inline_bytes_max
    }

    /// Gives what is buffered to the next step, and waits for the one before.
    async fn flush(&mut self) -> Result<()> {
        self.end_step().await?;
        refuse_when_full(&self.store)?;
        if self.file.is_none() {
            let (store, declared) = (Arc::clone(&self.store), self.declared);
            let staged = blocking(move || {
                let id = store.new_file_id();
                StagedFile::create(Arc::clone(&store.disk), id, declared).map_err(staging_failed)
            });
            self.file = Some(LargeFile { staged: Arc::new(staged.await?), written: 0, blocks: Vec::new(), step: None });
        }
        let file = self.file.as_mut().expect("made above");
        let chunk = self.buffer.split().freeze();
        let mut digester = self.digester.take().expect("no step is running");
        let (to_hash, to_write) = (chunk.clone(), chunk);
        let (staged, offset) = (Arc::clone(&file.staged), file.written);
        file.written += to_write.len() as u64;
        let hashing = tokio::task::spawn_blocking(move || {
            digester.update(&to_hash);
            let blocks = to_hash.chunks(BLOCK_BYTES).map(crc32c).collect();
            (digester, blocks)
        });
        let writing = tokio::task::spawn_blocking(move || staged.file().write_at(&[IoSlice::new(&to_write)], offset));
        file.step = Some(Step { hashing, writing });
        Ok(())
    }

    async fn end_step(&mut self) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let Some(Step { hashing, writing }) = file.step.take() else { return Ok(()) };
        let (hashed, written) = (hashing.await, writing.await);
        let (digester, blocks) = hashed.map_err(|_| Error::Stopping)?;
        file.blocks.extend(blocks);
        self.digester = Some(digester);
        written.map_err(|_| Error::Stopping)?.map_err(staging_failed)
    }

    /// Ends the body: its bytes are on the disk (large) or in memory (small), not yet visible.
    pub async fn finish(mut self) -> Result<Staged> {
        if let Some(declared) = self.declared.filter(|&declared| declared != self.received) {
            return Err(Error::WrongLength { declared, actual: self.received });
        }
        if self.is_inline() {
            let mut digester = self.digester.take().expect("no step is running");
            let payload = self.buffer.split().freeze();
            digester.update(&payload);
            let digests = digester.finish();
            return Ok(Staged {
                store: self.store,
                destination: self.destination,
                digests,
                body: Body::Inline(payload),
            });
        }
        if !self.buffer.is_empty() || self.file.is_none() {
            self.flush().await?;
        }
        self.end_step().await?;
        let LargeFile { staged, blocks, written, .. } = self.file.take().expect("flushed above");
        let staged = Arc::into_inner(staged).expect("the steps that shared it have ended");
        let digests = self.digester.take().expect("no step is running").finish();
        let store = Arc::clone(&self.store);
        let body = blocking(move || {
            sync_staged(&store, &staged)?;
            let chunk = Chunk { id: staged.id(), length: written, blocks };
            let (payload, table) = payload_of(&store, vec![chunk])?;
            Ok(Body::Files { payload, staged: std::iter::once(staged).chain(table).collect() })
        });
        Ok(Staged { body: body.await?, store: self.store, destination: self.destination, digests })
    }
}

/// What is held back is for others (A18): a body that is on its way does not eat it up.
fn refuse_when_full(store: &DiskStore) -> Result<()> {
    if store.has_space() { Ok(()) } else { Err(Error::OutOfSpace) }
}

enum Body {
    Inline(Bytes),
    Files { payload: Payload, staged: Vec<StagedFile> },
}

/// A whole body, hashed, waiting for the commit.
pub struct Staged {
    store: Arc<DiskStore>,
    destination: Destination,
    digests: Digests,
    body: Body,
}

impl Staged {
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Durable and visible when this returns.
    pub async fn commit(self) -> Result<PutOutcome> {
        let Self { store, destination: Destination { epoch, bucket, key, purpose }, digests, body } = self;
        let (payload, inline, staged) = match body {
            Body::Inline(bytes) => (Payload::Inline { crc32c: crc32c(&bytes) }, Some(bytes), Vec::new()),
            Body::Files { payload, staged } => (payload, None, staged),
        };
        let modified_ms = store.clock.now_ms();
        let etag = ETag::of_md5(digests.md5);
        let mut outcome = PutOutcome {
            stamp: Stamp::ZERO,
            version: VersionId::Null,
            etag,
            modified_ms,
            checksums: digests.checksums.clone(),
            composite: None,
            size: digests.length,
        };
        let mutation = match purpose {
            Purpose::Object { attributes, precondition } => {
                let object = ObjectRecord {
                    version: VersionId::Null,
                    modified_ms,
                    size: digests.length,
                    etag,
                    checksums: digests.checksums,
                    headers: attributes.headers,
                    user: attributes.user,
                    upload: None,
                    synced: true,
                    payload,
                    parts: None,
                };
                Mutation::Put { object: Box::new(object), precondition }
            }
            Purpose::Part { upload, part } => Mutation::PutPart(PartRecord {
                upload,
                part,
                modified_ms,
                size: digests.length,
                etag,
                checksums: digests.checksums,
                payload,
            }),
        };
        let request = Request { epoch, bucket, key: key.into(), mutation, is_housekeeping: false };
        let stamp = store.mutate(request, inline, staged).await?;
        outcome.stamp = stamp.expect("a put always has a record");
        Ok(outcome)
    }
}
