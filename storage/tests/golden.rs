//! Disks of released formats open as long as there is a Weir: one directory for each below `golden/`, made by
//! `tests/s3-compat/make_golden.py`, with the list of what is on it.
#![expect(clippy::disallowed_methods, reason = "the test lays a disk out by hand")]

use bytes::Bytes;
use common::doors::{SeededRandom, SimulatedClock};
use common::{BucketId, Digester, ETag, ObjectKey, Stamp, Term, VersionId};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use weir_storage::{
    After, Attributes, BucketState, BucketView, DeleteRequest, ListRequest, Precondition, PutRequest, Result, Target,
    TargetConfig, TermSource,
};

const DISK: &[u8] = include_bytes!("golden/format-1/disk.tar");
const MANIFEST: &str = include_str!("golden/format-1/manifest.jsonl");

#[derive(serde::Deserialize)]
struct Line {
    bucket: String,
    key: String,
    size: u64,
    md5: String,
}

struct Terms;

impl TermSource for Terms {
    fn next_term(&self, above: Term) -> std::result::Result<Term, String> {
        Ok(Term(above.0 + 1))
    }
}

fn unpack() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory for the test");
    tar::Archive::new(DISK).unpack(directory.path()).expect("the archive is sound");
    directory
}

async fn open(disk: &Path) -> Result<Arc<Target>> {
    let config = TargetConfig { disks: vec![disk.to_owned()], segment_bytes: 1 << 20, ..TargetConfig::default() };
    let open = move || Target::open(&config, SimulatedClock::starting_at(1), SeededRandom::new(1), Arc::new(Terms));
    tokio::task::spawn_blocking(open).await.expect("opening does not panic")
}

/// The buckets that the disk names, told to it again as a control store would.
async fn buckets(target: &Target) -> BTreeMap<String, BucketId> {
    let mut ids = BTreeMap::new();
    let stored = target.disks()[0].index.store().and_then(|store| store.buckets()).expect("the index was built");
    for (id, _, record) in stored {
        ids.insert(record.name.as_str().to_owned(), id);
        let view = BucketView {
            id,
            name: record.name,
            version: 1,
            state: BucketState::Active,
            versioning: record.versioning,
            lock: record.lock,
        };
        target.apply_bucket(view).await.expect("a bucket that the disk knows");
    }
    ids
}

async fn read(target: &Target, bucket: BucketId, key: &str) -> (u64, String) {
    let reader = target.get(bucket, &ObjectKey::parse(key).expect("a key"), None).await.expect("the object is there");
    let size = reader.info().size;
    let pieces: Vec<Bytes> = reader.stream(0..size).try_collect().await.expect("every block is sound");
    let mut digester = Digester::new(&[]);
    pieces.iter().for_each(|piece| digester.update(piece));
    (size, ETag::of_md5(digester.finish().md5).to_string())
}

#[tokio::test]
async fn a_disk_of_format_1_opens_and_goes_on() {
    let directory = unpack();
    let target = open(directory.path()).await.expect("the disk opens");
    let ids = buckets(&target).await;
    let lines: Vec<Line> =
        MANIFEST.lines().map(|line| serde_json::from_str(line).expect("a line of the list")).collect();
    for line in &lines {
        let found = read(&target, ids[&line.bucket], &line.key).await;
        assert_eq!(found, (line.size, line.md5.clone()), "{}/{}", line.bucket, line.key);
    }
    let mut listed = 0;
    for &bucket in ids.values() {
        let request =
            ListRequest { bucket, prefix: String::new(), delimiter: None, after: After::Beginning, limit: 1000 };
        listed += target.list(request).await.expect("a page").entries.len();
    }
    assert_eq!(listed, lines.len(), "nothing that was deleted has come back");

    // There is one version of each key: to delete another one changes nothing.
    let key = ObjectKey::parse("copy").expect("a key");
    let version = Some(VersionId::Id(Stamp(1), 2));
    let (epoch, bucket) = (target.epoch(), ids["golden-two"]);
    let request = DeleteRequest {
        epoch,
        bucket,
        key,
        version,
        seen: None,
        precondition: Precondition::default(),
        bypass_governance: false,
    };
    assert_eq!(target.delete(request).await.expect("nothing to do").stamp, None);
    assert_eq!(read(&target, bucket, "copy").await.0, 2000);

    // The archive has no empty directories; new files must find their place all the same.
    for number in 0..40 {
        let request = PutRequest {
            epoch: target.epoch(),
            bucket,
            key: ObjectKey::parse(&format!("new/{number}")).expect("a key"),
            attributes: Attributes::default(),
            precondition: Precondition::default(),
            length: None,
            algorithms: Vec::new(),
        };
        let mut writer = target.put(request).await.expect("a writer");
        writer.write(Bytes::from(vec![number; 70_000])).await.expect("space");
        writer.finish().await.expect("staged").commit().await.expect("durable");
    }
    target.shutdown().await.expect("a clean stop");
    drop(target);
    let target = open(directory.path()).await.expect("the disk opens again");
    for number in 0..40 {
        assert_eq!(read(&target, bucket, &format!("new/{number}")).await.0, 70_000);
    }
    target.shutdown().await.expect("a clean stop");
}

#[tokio::test]
async fn a_disk_of_a_later_format_is_refused_and_left_alone() {
    let directory = unpack();
    let path = directory.path().join("weir-disk.json");
    let later = r#"{ "format": 2, "whatever": ["comes", "then"] }"#;
    std::fs::write(&path, later).expect("writable");
    let error = open(directory.path()).await.err().expect("refused").to_string();
    assert!(error.contains("format 2") && error.contains("up to 1"), "{error}");
    assert_eq!(std::fs::read(&path).expect("readable"), later.as_bytes());
    assert!(!directory.path().join("index").exists());
}
