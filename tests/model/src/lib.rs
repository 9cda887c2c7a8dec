//! A target on a simulated disk, driven by plain calls, for tests that compare it with a reference.

use bytes::Bytes;
use common::doors::{SeededRandom, SimulatedClock};
use common::{Algorithm, BucketId, BucketName, ETag, ObjectKey, PartNumber, Random, Term, UploadId, VersionId};
use futures::TryStreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use storage::disk::Disk;
use storage::disk::twin::TwinDisk;
use storage::store::{DiskOptions, Doors};
use storage::{
    Attributes, BucketState, BucketView, ChecksumKind, CompleteUploadRequest, CompletedPart, CopyRequest,
    CreateUploadRequest, DeleteRequest, Error, ObjectInfo, Precondition, PutOutcome, PutPartRequest, PutRequest,
    Result, Staged, Target, TermSource,
};

/// Small enough that a short history fills several segments and both kinds of payload occur.
pub const OPTIONS: DiskOptions = DiskOptions {
    segment_bytes: 1024 * 1024,
    inline_bytes_max: 2048,
    part_bytes_min: 5000,
    reserve_bytes: 3 * 1024 * 1024,
    prewrite: false,
    background_work: false,
};

/// A control store that forgets nothing.
#[derive(Default)]
pub struct Terms(AtomicU32);

impl TermSource for Terms {
    fn next_term(&self, above: Term) -> std::result::Result<Term, String> {
        self.0.fetch_max(above.0, Ordering::SeqCst);
        Ok(Term(self.0.fetch_add(1, Ordering::SeqCst) + 1))
    }
}

pub fn doors(seed: u64, terms: &Arc<Terms>) -> Doors {
    Doors {
        clock: SimulatedClock::starting_at(1_700_000_000_000),
        random: SeededRandom::new(seed),
        terms: Arc::clone(terms) as Arc<dyn TermSource>,
    }
}

/// Opens the disk and makes it know its buckets.
pub async fn open(disk: &TwinDisk, doors: &Doors, options: DiskOptions, buckets: &[BucketId]) -> Result<Arc<Target>> {
    let (disk, doors): (Arc<dyn Disk>, Doors) = (Arc::new(disk.clone()), doors.clone());
    let opened = tokio::task::spawn_blocking(move || Target::open_disk(disk, options, &doors)).await;
    let target = opened.expect("opening never panics")?;
    for &id in buckets {
        let name = BucketName::parse(&format!("bucket-{}", id.0)).expect("a good name");
        target
            .apply_bucket(BucketView {
                id,
                name,
                version: 1,
                state: BucketState::Active,
                versioning: storage::Versioning::Off,
                lock: false,
            })
            .await?;
    }
    Ok(target)
}

/// `size` bytes that only this seed gives.
pub fn content(seed: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

pub fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).expect("a good key")
}

/// User metadata that names the content, so that a metadata mix-up shows.
pub fn attributes(seed: u64) -> Attributes {
    Attributes {
        headers: vec![("content-type".into(), "application/x-test".into())],
        user: vec![("seed".into(), seed.to_string())],
        ..Attributes::default()
    }
}

async fn staged(mut writer: storage::ObjectWriter, bytes: Bytes) -> Result<Staged> {
    let mut rest = bytes;
    while !rest.is_empty() {
        // As a socket would hand it over, in frames.
        let frame = rest.split_to(rest.len().min(70_001));
        writer.write(frame).await?;
    }
    writer.finish().await
}

pub async fn put(
    target: &Target,
    bucket: BucketId,
    name: &str,
    seed: u64,
    size: usize,
    precondition: Precondition,
) -> Result<PutOutcome> {
    let request = PutRequest {
        epoch: target.epoch(),
        bucket,
        key: key(name),
        attributes: attributes(seed),
        precondition,
        length: Some(size as u64),
        algorithms: Vec::new(),
    };
    staged(target.put(request).await?, content(seed, size)).await?.commit().await
}

pub async fn delete(target: &Target, bucket: BucketId, name: &str) -> Result<()> {
    let precondition = Precondition::default();
    let (epoch, bypass_governance) = (target.epoch(), false);
    let request =
        DeleteRequest { epoch, bucket, key: key(name), version: None, seen: None, precondition, bypass_governance };
    target.delete(request).await.map(|_| ())
}

pub async fn copy(target: &Target, from: (BucketId, &str), to: (BucketId, &str)) -> Result<PutOutcome> {
    let request = CopyRequest {
        epoch: target.epoch(),
        source_bucket: from.0,
        source_key: key(from.1),
        source_version: None,
        source_stamp: None,
        bucket: to.0,
        key: key(to.1),
        attributes: None,
        precondition: Precondition::default(),
    };
    target.copy(request).await
}

pub async fn create_upload(target: &Target, bucket: BucketId, name: &str, seed: u64) -> Result<UploadId> {
    let request = CreateUploadRequest {
        epoch: target.epoch(),
        bucket,
        key: key(name),
        attributes: attributes(seed),
        algorithm: [None, Some(Algorithm::Crc32), Some(Algorithm::Sha256)][(seed % 3) as usize],
        kind: if seed.is_multiple_of(2) { ChecksumKind::FullObject } else { ChecksumKind::Composite },
    };
    Ok(target.create_upload(request).await?.upload)
}

pub async fn put_part(
    target: &Target,
    bucket: BucketId,
    name: &str,
    upload: UploadId,
    part: u16,
    (seed, size): (u64, usize),
) -> Result<ETag> {
    let request = PutPartRequest {
        epoch: target.epoch(),
        bucket,
        key: key(name),
        upload,
        part: PartNumber::new(i64::from(part)).expect("a good number"),
        length: None,
        algorithms: Vec::new(),
    };
    Ok(staged(target.put_part(request).await?, content(seed, size)).await?.commit().await?.etag)
}

pub async fn complete(
    target: &Target,
    bucket: BucketId,
    name: &str,
    upload: UploadId,
    parts: &[(u16, ETag)],
) -> Result<PutOutcome> {
    let part = |&(number, etag): &(u16, ETag)| CompletedPart {
        part: PartNumber::new(i64::from(number)).expect("a good number"),
        etag,
    };
    let request = CompleteUploadRequest {
        epoch: target.epoch(),
        bucket,
        key: key(name),
        upload,
        parts: parts.iter().map(part).collect(),
        precondition: Precondition::default(),
        size: None,
    };
    target.complete_upload(request).await
}

/// The object's bytes and the seed that its metadata names; `None` if there is none.
pub async fn read(target: &Target, bucket: BucketId, name: &str) -> Result<Option<(Vec<u8>, u64)>> {
    let reader = match target.get(bucket, &key(name), None).await {
        Ok(reader) => reader,
        Err(Error::NoSuchKey) => return Ok(None),
        Err(error) => return Err(error),
    };
    let info = reader.info().clone();
    let seed = info.attributes.user.first().and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let frames: Vec<Bytes> = reader.stream(0..info.size).try_collect().await?;
    Ok(Some((frames.concat(), seed)))
}

/// One version, `None` for the current one, with its bytes.
pub async fn read_version(
    target: &Target,
    bucket: BucketId,
    name: &str,
    version: Option<VersionId>,
) -> Result<(ObjectInfo, Vec<u8>)> {
    let reader = target.get(bucket, &key(name), version).await?;
    let info = reader.info().clone();
    let frames: Vec<Bytes> = reader.stream(0..info.size).try_collect().await?;
    Ok((info, frames.concat()))
}
