//! An index that turns out to be damaged while versions are written and deleted: a request that cannot be decided is refused,
//! leaves nothing in its batch, and all others happen or are refused whole. `WEIR_INDEX_DAMAGES` sets how many (30 otherwise).

use common::doors::SeededRandom;
use common::{BucketId, BucketName, Random};
use std::sync::Arc;
use std::time::Duration;
use storage::disk::Disk;
use storage::disk::twin::TwinDisk;
use storage::{BucketState, BucketView, Error, Precondition, Target, Versioning};
use weir_model::{OPTIONS, Terms, content, delete, doors, put, read};

const BUCKET: BucketId = BucketId(1);
const KEYS: u64 = 200;
const PAGE_BYTES: u64 = 4096;

async fn open(disk: &TwinDisk, doors: &storage::store::Doors) -> Arc<Target> {
    let (disk, doors): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), doors.clone());
    let opened = tokio::task::spawn_blocking(move || Target::open_disk(disk, OPTIONS, &doors)).await;
    let target = opened.expect("opening never panics").expect("it opens");
    let view = BucketView {
        id: BUCKET,
        name: BucketName::parse("bucket-1").expect("a good name"),
        version: 1,
        state: BucketState::Active,
        versioning: Versioning::Enabled,
        lock: false,
    };
    target.apply_bucket(view).await.expect("the disk is well");
    target
}

fn name(number: u64) -> String {
    format!("key-{number:04}")
}

/// Every even key is deleted, every odd one is written again.
async fn change(target: &Target, number: u64) -> Result<(), Error> {
    if number.is_multiple_of(2) {
        return delete(target, BUCKET, &name(number)).await;
    }
    put(target, BUCKET, &name(number), number, 5000, Precondition::default()).await.map(drop)
}

/// `None` where the current version is a delete marker.
async fn current(target: &Target, number: u64) -> Option<Vec<u8>> {
    for _ in 0..500 {
        match read(target, BUCKET, &name(number)).await {
            Ok(found) => return Some(found.expect("the key has versions").0),
            Err(Error::IsDeleteMarker { .. }) => return None,
            Err(Error::IndexBroken(_) | Error::IndexRebuilding) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{}: {error}", name(number)),
        }
    }
    panic!("the index is not rebuilt")
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_while_versions_are_written_is_survived() {
    let damages = std::env::var("WEIR_INDEX_DAMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let whole = TwinDisk::default();
    let doors = doors(7, &Arc::new(Terms::default()));
    let target = open(&whole, &doors).await;
    for round in 0..3 {
        for number in 0..KEYS {
            let (name, seed) = (name(number), number + round);
            put(&target, BUCKET, &name, seed, 100, Precondition::default()).await.expect("the disk is well");
        }
    }
    target.shutdown().await.expect("a clean stop");
    let random = SeededRandom::new(11);
    for damage in 0..damages {
        let disk = whole.cutter(None).cut(whole.moment(), random.as_ref());
        let length = disk.open("index/index.redb").and_then(|file| file.length()).expect("there is an index");
        for _ in 0..4 {
            let page = random.u64() % (length / PAGE_BYTES) * PAGE_BYTES;
            for at in (page..(page + PAGE_BYTES).min(length)).step_by(7) {
                disk.rot("index/index.redb", at, 0x55).expect("in memory");
            }
        }
        let target = open(&disk, &doors).await;
        // At once, so that they meet in batches.
        let tasks = (0..KEYS).map(|number| {
            let target = Arc::clone(&target);
            tokio::spawn(async move { change(&target, number).await })
        });
        let mut outcomes = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            outcomes.push(task.await.expect("it does not panic"));
        }
        for (number, outcome) in (0..KEYS).zip(outcomes) {
            let before = Some(content(number + 2, 100).to_vec());
            let expected = match outcome {
                Ok(()) if number.is_multiple_of(2) => None,
                Ok(()) => Some(content(number, 5000).to_vec()),
                Err(Error::IndexBroken(_) | Error::IndexRebuilding) => before,
                Err(error) => panic!("damage {damage}, {}: {error}", name(number)),
            };
            assert!(current(&target, number).await == expected, "damage {damage}, {}", name(number));
        }
        change(&target, 1).await.expect("the committer goes on");
    }
}
