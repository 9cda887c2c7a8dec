//! Encrypted objects through a target on a real directory: their bytes come back, and stand nowhere on the disk.
#![expect(clippy::disallowed_methods, reason = "the test looks at the disk's files by hand")]

use bytes::Bytes;
use common::doors::{SeededRandom, SimulatedClock};
use common::{BucketId, BucketName, Digester, ETag, ObjectKey, PartNumber, SecretKey, Term, UploadId};
use futures::TryStreamExt;
use std::path::Path;
use std::sync::Arc;
use weir_storage::{
    Attributes, BucketState, BucketView, ChecksumKind, CompleteUploadRequest, CompletedPart, CopyRequest,
    CreateUploadRequest, Error, ObjectReader, ObjectWriter, Precondition, PutOutcome, PutPartRequest, PutRequest,
    Result, Sealing, Target, TargetConfig, TermSource, Versioning,
};

const BUCKET: BucketId = BucketId(1);
const PLAIN_BLOCK: usize = 65_520;
const SECRET: &[u8] = b"nobody may find this on the disk";

struct Terms;

impl TermSource for Terms {
    fn next_term(&self, above: Term) -> std::result::Result<Term, String> {
        Ok(Term(above.0 + 1))
    }
}

async fn open(disk: &Path) -> Arc<Target> {
    let config = TargetConfig { disks: vec![disk.to_owned()], segment_bytes: 1 << 20, ..TargetConfig::default() };
    let open = move || Target::open(&config, SimulatedClock::starting_at(1), SeededRandom::new(1), Arc::new(Terms));
    let target = tokio::task::spawn_blocking(open).await.expect("no panic").expect("the disk opens");
    let view = BucketView {
        id: BUCKET,
        name: BucketName::parse("sealed").expect("a name"),
        version: 1,
        state: BucketState::Active,
        versioning: Versioning::Off,
        lock: false,
    };
    target.apply_bucket(view).await.expect("a bucket");
    target
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).expect("a key")
}

fn data_key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).expect("32 bytes")
}

fn sealing(byte: u8, hides_md5: bool) -> Sealing {
    Sealing { key: data_key(byte), envelope: vec![byte; 3], hides_md5 }
}

fn content(size: usize) -> Vec<u8> {
    SECRET.iter().copied().cycle().take(size).enumerate().map(|(at, byte)| byte ^ u8::from(at % 4096 > 4000)).collect()
}

async fn written(mut writer: ObjectWriter, bytes: &[u8]) -> PutOutcome {
    for frame in bytes.chunks(70_001) {
        writer.write(Bytes::copy_from_slice(frame)).await.expect("space");
    }
    writer.finish().await.expect("staged").commit().await.expect("durable")
}

async fn put(target: &Target, name: &str, bytes: &[u8], declared: bool, sealing: Sealing) -> PutOutcome {
    let request = PutRequest {
        epoch: target.epoch(),
        bucket: BUCKET,
        key: key(name),
        attributes: Attributes::default(),
        precondition: Precondition::default(),
        length: declared.then_some(bytes.len() as u64),
        algorithms: Vec::new(),
    };
    written(target.put_sealed(request, Some(sealing)).await.expect("a writer"), bytes).await
}

async fn reader(target: &Target, name: &str) -> ObjectReader {
    target.get(BUCKET, &key(name), None).await.expect("the object is there")
}

async fn bytes(reader: ObjectReader, from: usize, to: usize) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = reader.stream(from as u64..to as u64).try_collect().await?;
    Ok(pieces.concat())
}

fn md5(bytes: &[u8]) -> ETag {
    let mut digester = Digester::new(&[]);
    digester.update(bytes);
    ETag::of_md5(digester.finish().md5)
}

fn assert_nowhere(directory: &Path, wanted: &[u8]) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_nowhere(&path, wanted);
        } else if let Ok(bytes) = std::fs::read(&path) {
            assert!(!bytes.windows(wanted.len()).any(|window| window == wanted), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn objects_of_every_size_come_back_and_are_nowhere_on_the_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = open(directory.path()).await;
    let step = 8 * PLAIN_BLOCK;
    let sizes = [0, 1, 100, PLAIN_BLOCK, PLAIN_BLOCK + 1, 65_536, step - 1, step, step + 1, 2 * step, 1_500_000];
    for size in sizes {
        for declared in [true, false] {
            let (name, content) = (format!("{size}-{declared}"), content(size));
            let outcome = put(&target, &name, &content, declared, sealing(1, false)).await;
            assert_eq!((outcome.size, outcome.etag), (size as u64, md5(&content)));
            let found = reader(&target, &name).await;
            assert_eq!((found.info().size, found.info().envelope.as_deref()), (size as u64, Some([1; 3].as_slice())));
            assert!(bytes(found.with_key(data_key(1)), 0, size).await.expect("sound") == content, "{name}");
        }
    }
    let info = target.head(BUCKET, &key("100-true"), None).await.expect("there");
    assert_eq!((info.size, info.envelope), (100, Some(vec![1; 3])));
    for (from, to) in [(0, 1), (PLAIN_BLOCK - 1, PLAIN_BLOCK + 1), (70_000, 1_400_000), (1_499_999, 1_500_000), (5, 5)]
    {
        let found = reader(&target, "1500000-true").await.with_key(data_key(1));
        assert!(bytes(found, from, to).await.expect("sound") == content(1_500_000)[from..to], "{from} to {to}");
    }
    target.shutdown().await.expect("a clean stop");
    drop(target);
    assert_nowhere(directory.path(), &SECRET[..20]);

    let target = open(directory.path()).await;
    for size in sizes {
        let found = reader(&target, &format!("{size}-true")).await.with_key(data_key(1));
        assert!(bytes(found, 0, size).await.expect("sound") == content(size), "{size}, opened again");
    }
}

#[tokio::test]
async fn without_the_right_key_there_are_no_bytes() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = open(directory.path()).await;
    for (name, size) in [("small", 100), ("large", 200_000)] {
        put(&target, name, &content(size), true, sealing(1, false)).await;
        assert!(matches!(bytes(reader(&target, name).await, 0, 9).await, Err(Error::Sealed)));
        let other = reader(&target, name).await.with_key(data_key(2));
        assert!(matches!(bytes(other, 0, 9).await, Err(Error::Damaged(_))));
        let request = CopyRequest {
            epoch: target.epoch(),
            source_bucket: BUCKET,
            source_key: key(name),
            source_version: None,
            source_stamp: None,
            bucket: BUCKET,
            key: key("copy"),
            attributes: None,
            precondition: Precondition::default(),
        };
        assert!(matches!(target.copy(request).await, Err(Error::Sealed)));
    }
}

#[tokio::test]
async fn etags_say_nothing_where_they_must_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = open(directory.path()).await;
    let etag = |outcome: PutOutcome| outcome.etag;
    let first = etag(put(&target, "a", b"some bytes", true, sealing(1, true)).await);
    assert_ne!(first, md5(b"some bytes"));
    assert_eq!(first, etag(put(&target, "b", b"some bytes", true, sealing(1, true)).await));
    assert_ne!(first, etag(put(&target, "b", b"other bytes", true, sealing(1, true)).await));
    assert_ne!(first, etag(put(&target, "b", b"some bytes", true, sealing(2, true)).await));
}

async fn part(target: &Target, upload: UploadId, number: i64, bytes: &[u8], sealing: Option<Sealing>) -> CompletedPart {
    let part = PartNumber::new(number).expect("a number");
    let (epoch, length, algorithms) = (target.epoch(), Some(bytes.len() as u64), Vec::new());
    let request = PutPartRequest { epoch, bucket: BUCKET, key: key("parts"), upload, part, length, algorithms };
    let writer = target.put_sealed_part(request, sealing).await.expect("a writer");
    CompletedPart { part, etag: written(writer, bytes).await.etag }
}

#[tokio::test]
async fn parts_are_sealed_one_by_one_and_read_as_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = open(directory.path()).await;
    let create = CreateUploadRequest {
        epoch: target.epoch(),
        bucket: BUCKET,
        key: key("parts"),
        attributes: Attributes::default(),
        algorithm: None,
        kind: ChecksumKind::FullObject,
    };
    let upload = target.create_sealed_upload(create, Some(vec![9; 5])).await.expect("an upload").upload;
    assert_eq!(target.upload_envelope(BUCKET, &key("parts"), upload).await.expect("open"), (Some(vec![9; 5]), None));
    let whole = content(5 * 1024 * 1024 + 300_000);
    let (first, second) = whole.split_at(5 * 1024 * 1024);
    part(&target, upload, 1, second, Some(sealing(1, false))).await;
    let mut parts = vec![
        part(&target, upload, 1, first, Some(sealing(1, false))).await,
        part(&target, upload, 7, second, None).await,
    ];
    let complete = |parts| CompleteUploadRequest {
        epoch: target.epoch(),
        bucket: BUCKET,
        key: key("parts"),
        upload,
        parts,
        precondition: Precondition::default(),
        size: None,
    };
    // One part is plain.
    assert!(matches!(target.complete_upload(complete(parts.clone())).await, Err(Error::InvalidPart(7))));
    parts[1] = part(&target, upload, 7, second, Some(sealing(1, false))).await;
    let outcome = target.complete_upload(complete(parts.clone())).await.expect("completed");
    assert_eq!((outcome.size, outcome.etag.parts, outcome.envelope), (whole.len() as u64, 2, Some(vec![9; 5])));
    assert_eq!(target.complete_upload(complete(parts)).await.expect("repeated").envelope, Some(vec![9; 5]));

    let found = reader(&target, "parts").await;
    assert_eq!(found.info().part_sizes, [first.len() as u64, second.len() as u64]);
    assert!(bytes(found.with_key(data_key(1)), 0, whole.len()).await.expect("sound") == whole);
    for (from, to) in
        [(first.len() - 1, first.len() + 1), (first.len(), whole.len()), (first.len() + 65_520, whole.len())]
    {
        let found = reader(&target, "parts").await.with_key(data_key(1));
        assert!(bytes(found, from, to).await.expect("sound") == whole[from..to], "{from} to {to}");
    }
}
