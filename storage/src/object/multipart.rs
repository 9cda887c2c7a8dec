//! The multipart family: CreateMultipartUpload, ListParts, CompleteMultipartUpload, AbortMultipartUpload. Parts are files
//! from the start; Complete names them in one record and moves no byte.

use super::{check_attributes, check_envelope, composite_of, envelope_of, payload_of, seal_of};
use crate::commit::Decided;
use crate::commit::decide::{Mutation, Request};
use crate::disk::read::ChunkList;
use crate::disk::stage::StagedFile;
use crate::format::name::FileId;
use crate::format::record::{
    Cause, More, ObjectRecord, Operation, PartChecksums, PartRecord, Payload, Record, UploadRecord,
};
use crate::index::list::Scan;
use crate::index::rows::{Row, RowKey, RowKind, Table};
use crate::limits::{LOOKUPS_MAX, OBJECT_BYTES_MAX, PART_CHECKSUMS_BYTES_MAX};
use crate::log::ReadError;
use crate::replay::part_ids;
use crate::sealed::stored_length;
use crate::store::DiskStore;
use crate::target::{Target, blocking};
use crate::types::{
    Attributes, ChecksumKind, CompleteUploadRequest, CreateUploadRequest, ListPartsRequest, PartInfo, PartsPage,
    PutOutcome, UploadInfo,
};
use crate::{Error, Result};
use common::{Algorithm, BucketId, Checksum, ETag, Epoch, ObjectKey, PartNumber, Stamp, UploadId, VersionId};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

impl Target {
    pub async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadInfo> {
        self.create_sealed_upload(request, None).await
    }

    /// Begins an upload whose parts have to be encrypted, each under the data key that this envelope is of.
    pub async fn create_sealed_upload(
        &self,
        request: CreateUploadRequest,
        envelope: Option<Vec<u8>>,
    ) -> Result<UploadInfo> {
        check_envelope(envelope.as_deref())?;
        check_attributes(&request.attributes)?;
        let CreateUploadRequest { epoch, bucket, key, attributes, algorithm, kind } = request;
        let store = Arc::clone(self.home(bucket, &key));
        let created_ms = store.clock.now_ms();
        // Not a stamp of the log, which only the committer gives: the upload's place in listings is its time.
        let upload = UploadId(Stamp(created_ms), store.random.u64());
        let full_object = kind == ChecksumKind::FullObject && kind != ChecksumKind::usual(algorithm);
        let Attributes { headers, user, tags, lock, acl } = attributes;
        let owner = acl.as_ref().and_then(|acl| acl.owner.clone());
        let info = UploadInfo { upload, key: key.as_str().to_owned(), created_ms, algorithm, owner };
        let more = More { tags, lock, since: None, seal: envelope.map(seal_of), acl };
        let record = UploadRecord { upload, created_ms, algorithm, headers, user, full_object, more };
        let mutation = Mutation::CreateUpload(record);
        let request = Request {
            epoch,
            bucket,
            key: key.into(),
            mutation,
            nonce: store.random.u64(),
            cause: Cause::Usual,
            is_housekeeping: false,
        };
        store.mutate(request, None, Vec::new()).await?;
        Ok(info)
    }

    /// What the parts of an open upload have to be encrypted by, `None` when they are plain, and the checksum that it was
    /// created with.
    pub async fn upload_envelope(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(Option<Vec<u8>>, Option<Algorithm>)> {
        let (store, key) = (Arc::clone(self.home(bucket, key)), key.clone());
        blocking(move || {
            let row_key = RowKey::upload(bucket, key.as_str(), upload);
            for _ in 0..LOOKUPS_MAX {
                let row = upload_row(&store, bucket, &key, upload)?;
                match created(&store, &row_key, &row) {
                    Err(Error::UploadChanged) => {}
                    record => {
                        let UploadRecord { more, algorithm, .. } = record?;
                        return Ok((envelope_of(&more), algorithm));
                    }
                }
            }
            Err(Error::UploadChanged)
        })
        .await
    }

    pub async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        let store = Arc::clone(self.home(request.bucket, &request.key));
        blocking(move || list_parts(&store, &request)).await
    }

    pub async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutOutcome> {
        let store = Arc::clone(self.home(request.bucket, &request.key));
        for _ in 0..LOOKUPS_MAX {
            let (reading, wanted) = (Arc::clone(&store), request.clone());
            let prepared = blocking(move || prepare(&reading, &wanted)).await;
            let completion = match prepared {
                Ok(completion) => completion,
                Err(Error::NoSuchUpload) => return repeated(&store, &request).await,
                Err(Error::UploadChanged) => continue,
                Err(error) => return Err(error),
            };
            let Completion { newest_part, object, staged, frees } = completion;
            let mut outcome = PutOutcome {
                stamp: Stamp::ZERO,
                version: VersionId::Null,
                etag: object.etag,
                modified_ms: object.modified_ms,
                checksums: object.checksums.clone(),
                composite: composite_of(&object),
                size: object.size,
                envelope: envelope_of(&object.more),
            };
            let mutation = Mutation::CompleteUpload {
                upload: request.upload,
                newest_part,
                object: Box::new(object),
                precondition: request.precondition.clone(),
                frees,
            };
            let key = request.key.as_str().to_owned();
            let asked = Request {
                epoch: request.epoch,
                bucket: request.bucket,
                key,
                mutation,
                nonce: store.random.u64(),
                cause: Cause::Usual,
                is_housekeeping: false,
            };
            match store.mutate(asked, None, staged).await {
                Ok(Decided { stamp, version, .. }) => {
                    outcome.stamp = stamp.expect("a completion always has a record");
                    outcome.version = version;
                    return Ok(outcome);
                }
                // A part arrived meanwhile: read them again.
                Err(Error::UploadChanged) => {}
                Err(Error::NoSuchUpload) => return repeated(&store, &request).await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::UploadChanged)
    }

    pub async fn abort_upload(&self, epoch: Epoch, bucket: BucketId, key: ObjectKey, upload: UploadId) -> Result<()> {
        self.abort(epoch, bucket, key, upload, false).await
    }

    pub(crate) async fn abort(
        &self,
        epoch: Epoch,
        bucket: BucketId,
        key: ObjectKey,
        upload: UploadId,
        is_housekeeping: bool,
    ) -> Result<()> {
        let store = Arc::clone(self.home(bucket, &key));
        for _ in 0..LOOKUPS_MAX {
            let (reading, name) = (Arc::clone(&store), key.clone());
            let (newest_part, frees) = blocking(move || {
                let newest_part = newest_part(&reading, bucket, &name, upload)?;
                let frees =
                    parts(&reading, upload)?.iter().flat_map(|(_, row)| part_ids(&reading.segments, row)).collect();
                Ok((newest_part, frees))
            })
            .await?;
            let mutation = Mutation::AbortUpload { upload, newest_part, frees };
            let asked = Request {
                epoch,
                bucket,
                key: key.as_str().to_owned(),
                mutation,
                nonce: 0,
                cause: Cause::Usual,
                is_housekeeping,
            };
            match store.mutate(asked, None, Vec::new()).await {
                Err(Error::UploadChanged) => {}
                result => return result.map(|_| ()),
            }
        }
        Err(Error::UploadChanged)
    }
}

/// Before a part's body is read: the checksum algorithm of its upload, which is there.
pub(super) async fn open_upload(
    store: &Arc<DiskStore>,
    bucket: BucketId,
    key: &ObjectKey,
    upload: UploadId,
) -> Result<Option<Algorithm>> {
    let (store, key) = (Arc::clone(store), key.clone());
    blocking(move || match upload_row(&store, bucket, &key, upload)?.kind {
        RowKind::Upload { algorithm, .. } => Ok(algorithm),
        _ => Err(Error::NoSuchUpload),
    })
    .await
}

fn upload_row(store: &DiskStore, bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Result<Row> {
    let row = store.index.lookup(&RowKey::upload(bucket, key.as_str(), upload))?;
    let row = row.filter(Row::is_live).ok_or(Error::NoSuchUpload)?;
    if row.damaged { Err(Error::Damaged(format!("upload {upload} of {key}"))) } else { Ok(row) }
}

fn newest_part(store: &DiskStore, bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Result<Stamp> {
    match upload_row(store, bucket, key, upload)?.kind {
        RowKind::Upload { newest_part, .. } => Ok(newest_part),
        _ => Err(Error::NoSuchUpload),
    }
}

/// The rows of an upload's parts, in order.
fn parts(store: &DiskStore, upload: UploadId) -> Result<Vec<(PartNumber, Row)>> {
    let range = RowKey::parts_of(upload);
    let mut scan = Scan::new(&store.index, Table::Parts, range.start, range.end);
    let mut parts = Vec::new();
    while let Some((key, row)) = scan.next_row()? {
        if let Some((_, part)) = key.part_number() {
            parts.push((part, row));
        }
    }
    Ok(parts)
}

/// A part's record. `None` when compaction moved it just now.
fn part_record(store: &DiskStore, row: &Row) -> Result<Option<PartRecord>> {
    if row.damaged {
        return Err(Error::Damaged(format!("a part, stamp {}", row.stamp)));
    }
    match store.segments.record(row.location, false) {
        Ok((Record { operation: Operation::PutPart(part), .. }, _)) => Ok(Some(part)),
        Ok(_) => Err(Error::Damaged(format!("a part, stamp {}", row.stamp))),
        Err(ReadError::Moved) => Ok(None),
        Err(ReadError::Malformed(error)) => Err(Error::Damaged(format!("a part, stamp {}: {error}", row.stamp))),
        Err(ReadError::Io(source)) => Err(Error::Io { what: "read the log".into(), source }),
    }
}

/// A part's record, looking its row up again if it moved.
fn read_part(store: &DiskStore, upload: UploadId, part: PartNumber, row: &Row) -> Result<PartRecord> {
    let mut row = row.clone();
    for _ in 0..LOOKUPS_MAX {
        if let Some(record) = part_record(store, &row)? {
            return Ok(record);
        }
        row = store.index.lookup(&RowKey::part(upload, part))?.ok_or(Error::UploadChanged)?;
    }
    Err(Error::Damaged(format!("part {} of upload {upload}: its segment is gone", part.number())))
}

fn list_parts(store: &DiskStore, request: &ListPartsRequest) -> Result<PartsPage> {
    let row = upload_row(store, request.bucket, &request.key, request.upload)?;
    let RowKind::Upload { created_ms, algorithm, owner, .. } = row.kind.clone() else {
        return Err(Error::NoSuchUpload);
    };
    let key = request.key.as_str().to_owned();
    let upload = UploadInfo { upload: request.upload, key, created_ms, algorithm, owner };
    let wanted = parts(store, request.upload)?.into_iter().filter(|(part, _)| part.number() > request.after_part);
    let row_key = RowKey::upload(request.bucket, request.key.as_str(), request.upload);
    let created = created(store, &row_key, &row)?;
    let kind = kind_of(&created);
    let class = created.headers.into_iter().find(|(name, _)| name == "x-amz-storage-class").map(|(_, class)| class);
    let mut page = PartsPage { upload, class, kind, parts: Vec::new(), more: false };
    for (part, row) in wanted {
        if page.parts.len() == request.limit {
            page.more = true;
            break;
        }
        let record = read_part(store, request.upload, part, &row)?;
        page.parts.push(PartInfo {
            part,
            size: record.size,
            etag: record.etag,
            modified_ms: record.modified_ms,
            checksums: record.checksums,
        });
    }
    Ok(page)
}

/// Everything that Complete needs, read before the committer decides.
struct Completion {
    newest_part: Stamp,
    object: ObjectRecord,
    staged: Vec<StagedFile>,
    frees: Vec<FileId>,
}

fn prepare(store: &DiskStore, request: &CompleteUploadRequest) -> Result<Completion> {
    let row = upload_row(store, request.bucket, &request.key, request.upload)?;
    let RowKind::Upload { newest_part, .. } = row.kind else { return Err(Error::NoSuchUpload) };
    let row_key = RowKey::upload(request.bucket, request.key.as_str(), request.upload);
    let created = created(store, &row_key, &row)?;
    if request.parts.is_empty() || !request.parts.windows(2).all(|pair| pair[0].part < pair[1].part) {
        return Err(Error::InvalidPartOrder);
    }
    let rows: BTreeMap<PartNumber, Row> = parts(store, request.upload)?.into_iter().collect();
    let mut records = Vec::with_capacity(request.parts.len());
    for wanted in &request.parts {
        let row = rows.get(&wanted.part).ok_or(Error::InvalidPart(wanted.part.number()))?;
        let record = read_part(store, request.upload, wanted.part, row)?;
        if record.etag != wanted.etag {
            return Err(Error::InvalidPart(wanted.part.number()));
        }
        records.push(record);
    }
    let all_but_last = &records[..records.len() - 1];
    if let Some(small) = all_but_last.iter().find(|record| record.size < store.options.part_bytes_min) {
        return Err(Error::PartTooSmall(small.part));
    }
    let size: u64 = records.iter().map(|record| record.size).sum();
    if size > OBJECT_BYTES_MAX {
        return Err(Error::TooLarge { limit_bytes: OBJECT_BYTES_MAX });
    }
    if let Some(declared) = request.size.filter(|&declared| declared != size) {
        return Err(Error::WrongLength { declared, actual: size });
    }

    let mut chunks = Vec::with_capacity(records.len());
    for record in &records {
        let list = ChunkList::open(store.disk.as_ref(), &record.payload);
        let part = list.and_then(|list| list.to_chunks()).map_err(|error| Error::Damaged(error.to_string()))?;
        let stored: u64 = part.iter().map(|chunk| chunk.length).sum();
        // A plain part in an encrypted object, or the other way round, could not be read.
        if stored != if created.more.seal.is_some() { stored_length(record.size) } else { record.size } {
            return Err(Error::InvalidPart(record.part.number()));
        }
        chunks.extend(part);
    }
    let taken: HashSet<FileId> = chunks.iter().map(|chunk| chunk.id).collect();
    let all = rows.values().flat_map(|row| part_ids(&store.segments, row));
    let frees = all.filter(|id| !taken.contains(id)).collect();
    let md5s: Vec<[u8; 16]> = records.iter().map(|record| record.etag.md5).collect();
    let kind = kind_of(&created);
    // A composite takes the place of a whole checksum under the same algorithm.
    let whole = created.algorithm.filter(|_| kind == ChecksumKind::FullObject);
    let checksums = full_object_checksums(&records, whole);
    let parts = created.algorithm.and_then(|algorithm| part_checksums(&records, algorithm, kind));
    let (payload, table): (Payload, Option<StagedFile>) = payload_of(store, chunks)?;
    let object = ObjectRecord {
        version: VersionId::Null,
        modified_ms: store.clock.now_ms(),
        size,
        etag: ETag::of_parts(&md5s),
        checksums,
        headers: created.headers,
        user: created.user,
        upload: Some(request.upload),
        synced: true,
        payload,
        parts,
        more: created.more,
    };
    Ok(Completion { newest_part, object, staged: table.into_iter().collect(), frees })
}

fn created(store: &DiskStore, key: &RowKey, row: &Row) -> Result<UploadRecord> {
    let mut found = store.segments.record(row.location, false);
    if let Err(ReadError::Moved) = found {
        // Compaction moved it. A row that a part has just changed may still say the old address in the overlay; the store
        // under it knows the new one.
        let row = store.index.store()?.lookup(key)?.ok_or(Error::NoSuchUpload)?;
        found = store.segments.record(row.location, false);
    }
    match found {
        Ok((Record { operation: Operation::CreateUpload(upload), .. }, _)) => Ok(upload),
        Err(ReadError::Moved) => Err(Error::UploadChanged),
        Ok(_) => Err(Error::Damaged("an upload's record is another's".into())),
        Err(ReadError::Io(source)) => Err(Error::Io { what: "read the log".into(), source }),
        Err(ReadError::Malformed(error)) => Err(Error::Damaged(format!("an upload's record: {error}"))),
    }
}

fn kind_of(upload: &UploadRecord) -> ChecksumKind {
    if upload.full_object { ChecksumKind::FullObject } else { ChecksumKind::usual(upload.algorithm) }
}

/// What is kept of the parts' checksums. `None` when a part has none under this algorithm, as one that was sent before
/// uploads had an algorithm.
fn part_checksums(records: &[PartRecord], algorithm: Algorithm, kind: ChecksumKind) -> Option<PartChecksums> {
    let value = |record: &PartRecord| {
        let found = record.checksums.iter().find(|checksum| checksum.algorithm == algorithm);
        found.map(|checksum| checksum.value.clone())
    };
    let values = records.iter().map(value).collect::<Option<Vec<_>>>()?.concat();
    let composite = (kind == ChecksumKind::Composite).then(|| Checksum::of(algorithm, &values).value);
    let values = if values.len() <= PART_CHECKSUMS_BYTES_MAX { values } else { Vec::new() };
    Some(PartChecksums { algorithm, values, composite })
}

/// CRCs of the whole object, combined from those of its parts without reading a byte again. Hashes cannot be combined.
fn full_object_checksums(records: &[PartRecord], chosen: Option<Algorithm>) -> Vec<Checksum> {
    let combine = |algorithm: Algorithm| {
        let mut parts = records.iter().map(|record| {
            let checksum = record.checksums.iter().find(|checksum| checksum.algorithm == algorithm)?;
            Some((checksum, record.size))
        });
        let (first, _) = parts.next()??;
        parts.try_fold(first.clone(), |whole, part| {
            let (part, size) = part?;
            whole.combine(part, size)
        })
    };
    let wanted = std::iter::once(Algorithm::Crc64Nvme).chain(chosen.filter(|chosen| *chosen != Algorithm::Crc64Nvme));
    wanted.filter_map(combine).collect()
}

/// The upload is gone: if it was completed into the object that is there now, this is a repetition of a Complete whose
/// answer got lost, and gets the same answer (B17).
async fn repeated(store: &Arc<DiskStore>, request: &CompleteUploadRequest) -> Result<PutOutcome> {
    let (store, bucket, key, upload) = (Arc::clone(store), request.bucket, request.key.clone(), request.upload);
    blocking(move || {
        let found = match super::get::find(&store, bucket, &key, None) {
            Err(Error::NoSuchKey | Error::IsDeleteMarker { .. }) => return Err(Error::NoSuchUpload),
            found => found?,
        };
        match found.record.operation {
            Operation::Put(object) if object.upload == Some(upload) => Ok(PutOutcome {
                stamp: found.row.stamp,
                version: object.version,
                etag: object.etag,
                modified_ms: object.modified_ms,
                checksums: object.checksums.clone(),
                composite: composite_of(&object),
                size: object.size,
                envelope: envelope_of(&object.more),
            }),
            _ => Err(Error::NoSuchUpload),
        }
    })
    .await
}
