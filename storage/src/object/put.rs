//! PutObject and UploadPart: the body's way into the log or into a staged file, and the commit.
//!
//! A body up to the inline limit stays in memory. A longer one is written in steps of 512 KiB while the next step arrives.
//! A step is written on one blocking thread and hashed on another, so that MD5, the slower of the two, sets the pace and not
//! their sum; steps of several bodies are hashed side by side (`hashing.rs`).

use super::{check_attributes, check_envelope, fits_record, payload_of, seal_of, staging_failed, sync_staged};
use crate::commit::Decided;
use crate::commit::decide::{Mutation, Request};
use crate::disk::buffers::Buffer;
use crate::disk::stage::StagedFile;
use crate::format::record::{Cause, Chunk, More, ObjectRecord, PartRecord, Payload};
use crate::limits::{BLOCK_BYTES, PUT_BYTES_MAX, RESERVED_AHEAD_BYTES, WRITEBACK_BYTES};
use crate::sealed::{self, PLAIN_BLOCK_BYTES};
use crate::store::DiskStore;
use crate::target::{Target, blocking};
use crate::types::{Attributes, Precondition, PutOutcome, PutPartRequest, PutRequest, Sealing};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use common::checksum::{Sums, crc32c};
use common::md5::Md5;
use common::{BucketId, Digester, Digests, ETag, Epoch, ObjectKey, PartNumber, Stamp, UploadId, VersionId};
use std::io::IoSlice;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What the body becomes when it is whole.
pub(super) enum Purpose {
    Object { attributes: Box<Attributes>, precondition: Precondition },
    Part { upload: UploadId, part: PartNumber },
}

pub(super) struct Destination {
    pub epoch: Epoch,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub purpose: Purpose,
    pub cause: Cause,
}

impl Target {
    /// Starts a PUT: write the body, `finish`, compare the digests, `commit`. Dropping writer or staged object at any time
    /// leaves nothing behind.
    pub async fn put(&self, request: PutRequest) -> Result<ObjectWriter> {
        self.put_sealed(request, None).await
    }

    /// The same, encrypted if there is something to encrypt it by.
    pub async fn put_sealed(&self, request: PutRequest, sealing: Option<Sealing>) -> Result<ObjectWriter> {
        check_attributes(&request.attributes)?;
        check_envelope(sealing.as_ref().map(|sealing| sealing.envelope.as_slice()))?;
        let PutRequest { epoch, bucket, key, attributes, precondition, length, algorithms } = request;
        let store = Arc::clone(self.home(bucket, &key));
        let purpose = Purpose::Object { attributes: Box::new(attributes), precondition };
        let destination = Destination { epoch, bucket, key, purpose, cause: Cause::Usual };
        ObjectWriter::new(store, destination, length, Digester::new(&algorithms), true, sealing)
    }

    /// Starts an UploadPart, in the same way.
    pub async fn put_part(&self, request: PutPartRequest) -> Result<ObjectWriter> {
        self.put_sealed_part(request, None).await
    }

    /// The same for an upload that is encrypted: by the key of its envelope.
    pub async fn put_sealed_part(&self, request: PutPartRequest, sealing: Option<Sealing>) -> Result<ObjectWriter> {
        let PutPartRequest { epoch, bucket, key, upload, part, length, mut algorithms } = request;
        let store = Arc::clone(self.home(bucket, &key));
        // That it is open is a hint only: the committer decides. Its algorithm was fixed when it was created.
        let of_upload = super::multipart::open_upload(&store, bucket, &key, upload).await?;
        algorithms.extend(of_upload.filter(|algorithm| !algorithms.contains(algorithm)));
        let purpose = Purpose::Part { upload, part };
        // Parts are files always, so that Complete takes them over without touching a byte.
        let destination = Destination { epoch, bucket, key, purpose, cause: Cause::Usual };
        ObjectWriter::new(store, destination, length, Digester::new(&algorithms), false, sealing)
    }
}

/// A body on its way to the disk.
pub struct ObjectWriter {
    store: Arc<DiskStore>,
    destination: Destination,
    declared: Option<u64>,
    received: u64,
    may_be_inline: bool,
    sealing: Option<Sealing>,
    held: Held,
    file: LargeFile,
    /// Before the first step and behind the last one.
    digester: Option<Digester>,
    step: Option<Step>,
}

/// What has come and is not yet part of a step.
enum Held {
    Nothing,
    /// The whole body so far, as it came.
    Frame(Bytes),
    /// The whole body so far, at most as much as the log takes.
    Small(BytesMut),
    /// So many bytes of the next step of a large body.
    Step(Buffer, usize),
}

/// What there is of the file of a body that is too long for the log.
#[derive(Default)]
struct LargeFile {
    staged: Option<Arc<StagedFile>>,
    written: u64,
    blocks: Vec<u32>,
}

/// A stretch of the body that is being hashed and written.
struct Step {
    md5: oneshot::Receiver<Md5>,
    writing: JoinHandle<Result<Written>>,
}

struct Written {
    sums: Sums,
    staged: Arc<StagedFile>,
    blocks: Vec<u32>,
}

impl ObjectWriter {
    fn new(
        store: Arc<DiskStore>,
        destination: Destination,
        declared: Option<u64>,
        digester: Digester,
        may_be_inline: bool,
        sealing: Option<Sealing>,
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
            may_be_inline,
            sealing,
            held: Held::Nothing,
            file: LargeFile::default(),
            digester: Some(digester),
            step: None,
        })
    }

    /// For the change feed: what the object is put by.
    #[must_use]
    pub fn by(mut self, cause: Cause) -> Self {
        self.destination.cause = cause;
        self
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.received += bytes.len() as u64;
        if let Some(declared) = self.declared.filter(|&declared| self.received > declared) {
            return Err(Error::WrongLength { declared, actual: self.received });
        }
        if self.received > PUT_BYTES_MAX {
            return Err(Error::TooLarge { limit_bytes: PUT_BYTES_MAX });
        }
        if self.may_be_inline && self.stored(self.received) <= self.store.options.inline_bytes_max {
            self.hold(bytes);
            return Ok(());
        }
        let before = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Frame(bytes) => bytes,
            Held::Small(bytes) => bytes.freeze(),
            held => {
                self.held = held;
                Bytes::new()
            }
        };
        self.fill(&before).await?;
        self.fill(&bytes).await
    }

    /// How long so much of the body is on the disk.
    fn stored(&self, plain: u64) -> u64 {
        if self.sealing.is_some() { sealed::stored_length(plain) } else { plain }
    }

    /// A body that may be short enough for the log stays in memory; one that comes in one piece without a copy.
    fn hold(&mut self, bytes: Bytes) {
        self.held = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => Held::Frame(bytes),
            Held::Frame(first) => {
                let expected = self.declared.unwrap_or(0).min(self.store.options.inline_bytes_max) as usize;
                let mut all = BytesMut::with_capacity(expected.max(first.len() + bytes.len()));
                all.extend_from_slice(&first);
                all.extend_from_slice(&bytes);
                Held::Small(all)
            }
            Held::Small(mut all) => {
                all.extend_from_slice(&bytes);
                Held::Small(all)
            }
            step @ Held::Step(..) => step,
        };
    }

    /// Copies into the buffer of the next step. So a frame goes back to the connection, whose buffer it is a part of, at
    /// once.
    async fn fill(&mut self, mut rest: &[u8]) -> Result<()> {
        let is_sealed = self.sealing.is_some();
        while !rest.is_empty() {
            let (mut buffer, filled) = match std::mem::replace(&mut self.held, Held::Nothing) {
                Held::Step(buffer, filled) => (buffer, filled),
                _ => (self.store.write_buffers.take(), 0),
            };
            // Sealed, a step is as long as a plain one.
            let length = if is_sealed { buffer.len() / BLOCK_BYTES * PLAIN_BLOCK_BYTES } else { buffer.len() };
            let (now, later) = rest.split_at(rest.len().min(length - filled));
            let end = filled + now.len();
            buffer[filled..end].copy_from_slice(now);
            rest = later;
            if end < length {
                self.held = Held::Step(buffer, end);
            } else if later.is_empty() && (is_sealed || self.declared == Some(self.received)) {
                // The last one: `finish` comes next and lets the sync follow at once. The last block of a sealed body must
                // be known as such, so there it waits for what follows.
                self.held = Held::Step(buffer, end);
            } else {
                self.begin_step(buffer.freeze(0..end), false).await?;
            }
        }
        Ok(())
    }

    /// Lets a stretch of the body be hashed and written, when the one before is.
    async fn begin_step(&mut self, bytes: Bytes, is_last: bool) -> Result<()> {
        self.end_step().await?;
        refuse_when_full(&self.store)?;
        let place = self.store.backlog.step().await?;
        let Digester { md5, sums } = self.digester.take().expect("no step is running");
        let md5 = self.store.hashing.hash(md5, bytes.clone());
        let (store, staged, declared) = (Arc::clone(&self.store), self.file.staged.clone(), self.declared);
        let offset = self.file.written;
        self.file.written += self.stored(bytes.len() as u64);
        let declared = declared.map(|declared| self.stored(declared));
        let key = self.sealing.as_ref().map(|sealing| sealing.key.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let _until_written = place;
            let staged = match staged {
                Some(staged) => staged,
                None => {
                    let file = StagedFile::create(Arc::clone(&store.disk), store.new_file_id(), None);
                    Arc::new(file.map_err(staging_failed)?)
                }
            };
            let reserved = reservation(declared, offset);
            staged.file().allocate(offset, reserved).map_err(staging_failed)?;
            let Some(key) = key else {
                return write_step(&store, staged, offset, &bytes, (&bytes, sums), is_last);
            };
            let (cipher, mut buffer) = (sealed::file_cipher(&key, staged.id()), store.write_buffers.take());
            let first_block = offset / BLOCK_BYTES as u64;
            let length = sealed::seal_stretch(&cipher, first_block, &bytes, is_last, &mut buffer);
            write_step(&store, staged, offset, &buffer[..length], (&bytes, sums), is_last)
        });
        self.step = Some(Step { md5, writing });
        Ok(())
    }

    async fn end_step(&mut self) -> Result<()> {
        let Some(Step { md5, writing }) = self.step.take() else { return Ok(()) };
        let (md5, written) = (md5.await, writing.await);
        let Written { sums, staged, blocks } = written.map_err(|_| Error::Stopping)??;
        let md5 = md5.map_err(|_| Error::Stopping)?;
        self.digester = Some(Digester { md5, sums });
        self.file.staged = Some(staged);
        self.file.blocks.extend(blocks);
        Ok(())
    }

    /// Ends the body: its bytes are on the disk (large) or in memory (small), not yet visible.
    pub async fn finish(mut self) -> Result<Staged> {
        if let Some(declared) = self.declared.filter(|&declared| declared != self.received) {
            return Err(Error::WrongLength { declared, actual: self.received });
        }
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        let is_large = matches!(held, Held::Step(..)) || self.step.is_some();
        let last = match held {
            Held::Nothing => Bytes::new(),
            Held::Frame(bytes) => bytes,
            Held::Small(bytes) => bytes.freeze(),
            Held::Step(buffer, filled) => buffer.freeze(0..filled),
        };
        if self.may_be_inline && !is_large {
            let mut digester = self.digester.take().expect("no step is running");
            digester.update(&last);
            let digests = digester.finish();
            let sealing = self.sealing;
            let stored = sealing.as_ref().map(|sealing| sealed::seal_inline(&sealing.key, &last)).unwrap_or(last);
            let body = Body::Inline(stored);
            return Ok(Staged { store: self.store, destination: self.destination, digests, body, sealing });
        }
        self.begin_step(last, true).await?;
        self.end_step().await?;
        let LargeFile { staged, blocks, written } = self.file;
        let staged = Arc::into_inner(staged.expect("a step was written")).expect("the steps that shared it have ended");
        let digests = self.digester.take().expect("no step is running").finish();
        let chunks = vec![Chunk { id: staged.id(), length: written, blocks }];
        let (payload, table) = if fits_record(&chunks) {
            (Payload::Chunks(chunks), None)
        } else {
            let store = Arc::clone(&self.store);
            blocking(move || payload_of(&store, chunks)).await?
        };
        let body = Body::Files { payload, staged: std::iter::once(staged).chain(table).collect() };
        let sealing = self.sealing;
        Ok(Staged { store: self.store, destination: self.destination, digests, body, sealing })
    }
}

/// How many bytes to reserve from here on, before the step that begins here is written. Steps do not cross stretches.
fn reservation(declared: Option<u64>, offset: u64) -> u64 {
    match declared {
        Some(declared) if offset.is_multiple_of(RESERVED_AHEAD_BYTES) => (declared - offset).min(RESERVED_AHEAD_BYTES),
        _ => 0,
    }
}

/// Writes a stretch of a body and sums it up, all but its MD5. Behind the last one the file is durable. Blocking.
fn write_step(
    store: &DiskStore,
    staged: Arc<StagedFile>,
    offset: u64,
    stored: &[u8],
    (plain, mut sums): (&[u8], Sums),
    is_last: bool,
) -> Result<Written> {
    staged.file().write_at(&[IoSlice::new(stored)], offset).map_err(staging_failed)?;
    let end = offset + stored.len() as u64;
    if !is_last && end.is_multiple_of(WRITEBACK_BYTES) {
        // The disk works while the rest arrives.
        staged.file().start_writeback(end - WRITEBACK_BYTES, WRITEBACK_BYTES);
    }
    sums.update(plain);
    let blocks = stored.chunks(BLOCK_BYTES).map(crc32c).collect();
    if is_last {
        sync_staged(store, &staged)?;
    }
    Ok(Written { sums, staged, blocks })
}

/// What is held back is for others (A18): a body that is on its way does not eat it up.
fn refuse_when_full(store: &DiskStore) -> Result<()> {
    if store.has_space() { Ok(()) } else { Err(Error::OutOfSpace) }
}

pub(super) enum Body {
    Inline(Bytes),
    Files { payload: Payload, staged: Vec<StagedFile> },
}

/// A whole body, hashed, waiting for the commit.
pub struct Staged {
    pub(super) store: Arc<DiskStore>,
    pub(super) destination: Destination,
    pub(super) digests: Digests,
    pub(super) body: Body,
    pub(super) sealing: Option<Sealing>,
}

impl Staged {
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Durable and visible when this returns.
    pub async fn commit(self) -> Result<PutOutcome> {
        let Self { store, destination: Destination { epoch, bucket, key, purpose, cause }, digests, body, sealing } =
            self;
        let (payload, inline, staged) = match body {
            Body::Inline(bytes) => (Payload::Inline { crc32c: crc32c(&bytes) }, Some(bytes), Vec::new()),
            Body::Files { payload, staged } => (payload, None, staged),
        };
        let modified_ms = store.clock.now_ms();
        let etag = ETag::of_md5(sealed::etag_of(sealing.as_ref(), digests.md5));
        let envelope = sealing.map(|sealing| sealing.envelope);
        let mut outcome = PutOutcome {
            stamp: Stamp::ZERO,
            version: VersionId::Null,
            etag,
            modified_ms,
            checksums: digests.checksums.clone(),
            composite: None,
            size: digests.length,
            envelope: None,
        };
        let mutation = match purpose {
            Purpose::Object { attributes, precondition } => {
                outcome.envelope.clone_from(&envelope);
                let seal = envelope.map(seal_of);
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
                    more: More { tags: attributes.tags, lock: attributes.lock, since: None, seal, acl: attributes.acl },
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
        let request = Request {
            epoch,
            bucket,
            key: key.into(),
            mutation,
            nonce: store.random.u64(),
            cause,
            is_housekeeping: false,
        };
        let Decided { stamp, version, .. } = store.mutate(request, inline, staged).await?;
        outcome.stamp = stamp.expect("a put always has a record");
        outcome.version = version;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_reserved_stretch_by_stretch() {
        let stretch = RESERVED_AHEAD_BYTES;
        let declared = Some(2 * stretch + 5);
        assert_eq!(reservation(declared, 0), stretch);
        assert_eq!(reservation(declared, stretch / 2), 0);
        assert_eq!(reservation(declared, stretch), stretch);
        assert_eq!(reservation(declared, 2 * stretch), 5);
        assert_eq!(reservation(Some(7), 0), 7);
        assert_eq!(reservation(Some(stretch), stretch), 0);
        assert_eq!(reservation(None, 0), 0);
    }
}
