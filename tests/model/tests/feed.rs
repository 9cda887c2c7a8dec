//! The change feed over a disk's life: in order, without gaps over restarts and compactions, and honest about what is gone.

use common::{BucketId, Stamp};
use std::sync::Arc;
use std::time::Duration;
use storage::disk::twin::TwinDisk;
use storage::feed::{Change, Event};
use storage::store::Doors;
use storage::{Error, Precondition, Target};
use weir_model::{OPTIONS, Terms, complete, copy, create_upload, delete, doors, open, put, put_part};

const ONE: BucketId = BucketId(1);
const TWO: BucketId = BucketId(2);

async fn start(disk: &TwinDisk, doors: &Doors) -> Arc<Target> {
    open(disk, doors, OPTIONS, &[ONE, TWO]).await.expect("the disk opens")
}

async fn write(target: &Target, bucket: BucketId, name: &str, size: usize) {
    put(target, bucket, name, 1, size, Precondition::default()).await.expect("a put");
}

/// Everything behind a cursor, page by page.
async fn all(target: &Target, mut cursor: Stamp, bucket: Option<BucketId>) -> Result<Vec<Event>, Error> {
    let mut events: Vec<Event> = Vec::new();
    while cursor < target.feed().newest() {
        let page = target.feed().read(cursor, bucket).await?;
        assert!(page.cursor > cursor, "each page goes on");
        assert!(page.events.iter().all(|event| event.stamp > cursor && event.stamp <= page.cursor));
        cursor = page.cursor;
        events.extend(page.events);
    }
    assert!(events.is_sorted_by_key(|event| event.stamp), "in the order of the stamps");
    Ok(events)
}

fn told(events: &[Event]) -> Vec<(String, Change)> {
    events.iter().map(|event| (event.key.clone(), event.change)).collect()
}

async fn compact(target: &Target) {
    let store = Arc::clone(&target.disks()[0]);
    let work = move || -> storage::Result<()> {
        store.rotate()?;
        store.checkpoint()?;
        while store.compact()? {}
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.expect("no panic").expect("compaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_in_order_and_over_a_restart() {
    let disk = TwinDisk::default();
    let doors = doors(1, &Arc::new(Terms::default()));
    let target = start(&disk, &doors).await;
    let begin = target.feed().newest();
    write(&target, ONE, "small", 10).await;
    write(&target, TWO, "elsewhere", 10).await;
    write(&target, ONE, "large", 5000).await;
    copy(&target, (ONE, "small"), (ONE, "copied")).await.expect("a copy");
    let upload = create_upload(&target, ONE, "parts", 1).await.expect("an upload");
    let part = put_part(&target, ONE, "parts", upload, 1, (1, 6000)).await.expect("a part");
    complete(&target, ONE, "parts", upload, &[(1, part)]).await.expect("completed");
    delete(&target, ONE, "small").await.expect("a delete");
    delete(&target, ONE, "never-there").await.expect("nothing to do");

    let expected = [
        ("small", Change::Put),
        ("large", Change::Put),
        ("copied", Change::Copy),
        ("parts", Change::CompleteUpload),
        ("small", Change::Delete),
    ]
    .map(|(key, change)| (key.to_owned(), change));
    let before = all(&target, begin, Some(ONE)).await.expect("all is there");
    assert_eq!(told(&before), expected);
    assert_eq!(all(&target, begin, None).await.expect("all is there").len(), 6);
    let middle = before[1].stamp;

    target.shutdown().await.expect("a clean stop");
    drop(target);
    let target = start(&disk, &doors).await;
    assert_eq!(all(&target, begin, Some(ONE)).await.expect("all is there"), before, "as it was told before");
    write(&target, ONE, "after", 10).await;
    let rest = told(&all(&target, middle, Some(ONE)).await.expect("all is there"));
    assert_eq!(rest[..3], expected[2..]);
    assert_eq!(rest[3], ("after".to_owned(), Change::Put));
    target.shutdown().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ring_and_the_log_say_the_same() {
    let disk = TwinDisk::default();
    let doors = doors(2, &Arc::new(Terms::default()));
    let target = start(&disk, &doors).await;
    let begin = target.feed().newest();
    // More than one segment of 1 MiB.
    for round in 0..700 {
        write(&target, ONE, &format!("key-{round:04}"), 2000).await;
    }
    let from_ring = all(&target, begin, None).await.expect("all is there");
    assert_eq!(from_ring.len(), 700);
    let disk = disk.kill();
    drop(target);
    let target = start(&disk, &doors).await;
    assert_eq!(all(&target, begin, None).await.expect("all is there"), from_ring);
    let late = from_ring[650].stamp;
    assert_eq!(all(&target, late, None).await.expect("all is there"), from_ring[651..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_moves_the_horizon_and_a_durable_consumer_holds_it() {
    let disk = TwinDisk::default();
    let doors = doors(3, &Arc::new(Terms::default()));
    let target = start(&disk, &doors).await;
    let begin = target.feed().newest();
    let feed = Arc::clone(target.feed());
    assert_eq!(feed.consumer("hook", u64::MAX).expect("a new consumer"), begin);
    for round in 0..1500 {
        write(&target, ONE, &format!("key-{}", round % 3), 2000).await;
    }
    compact(&target).await;
    assert_eq!(all(&target, begin, None).await.expect("held").len(), 1500);

    // It goes on where it was, and so does what it holds.
    target.shutdown().await.expect("a clean stop");
    drop(target);
    let target = start(&disk, &doors).await;
    let feed = Arc::clone(target.feed());
    compact(&target).await;
    assert_eq!(all(&target, begin, None).await.expect("held").len(), 1500);
    assert_eq!(feed.consumer("hook", u64::MAX).expect("known"), begin);

    let half = feed.newest();
    feed.advance("hook", half).expect("stored");
    write(&target, ONE, "last", 2000).await;
    compact(&target).await;
    assert!(matches!(all(&target, begin, None).await, Err(Error::CursorExpired)));
    assert!(feed.horizon() <= half);
    assert_eq!(
        told(&all(&target, half, None).await.expect("what is not compacted")),
        [("last".to_owned(), Change::Put)]
    );

    // Nothing that was moved comes again, and the horizon is known after a start.
    target.shutdown().await.expect("a clean stop");
    drop(target);
    let target = start(&disk, &doors).await;
    assert!(matches!(all(&target, begin, None).await, Err(Error::CursorExpired)));
    assert_eq!(all(&target, half, None).await.expect("what is not compacted").len(), 1);
    target.feed().retain_consumers(&[]).expect("forgotten");
    assert_eq!(target.feed().consumer("hook", 1).expect("a new one"), target.feed().newest());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_holds_no_more_than_its_quota() {
    let disk = TwinDisk::default();
    let doors = doors(5, &Arc::new(Terms::default()));
    let target = start(&disk, &doors).await;
    let begin = target.feed().newest();
    target.feed().consumer("slow", 1024 * 1024 + 512 * 1024).expect("a new consumer");
    for round in 0..2500 {
        write(&target, ONE, &format!("key-{}", round % 3), 2000).await;
    }
    compact(&target).await;
    assert!(target.feed().horizon() <= begin, "all of it is in memory still");
    let disk = disk.kill();
    drop(target);
    let target = start(&disk, &doors).await;
    let horizon = target.feed().horizon();
    assert!(horizon > begin, "the older segments are not kept for it");
    assert!(matches!(target.feed().read(begin, None).await, Err(Error::CursorExpired)));
    let rest = all(&target, horizon, None).await.expect("the newest are");
    assert!((100..2400).contains(&rest.len()), "{} events", rest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_woken() {
    let disk = TwinDisk::default();
    let doors = doors(4, &Arc::new(Terms::default()));
    let target = start(&disk, &doors).await;
    let begin = target.feed().newest();
    let feed = Arc::clone(target.feed());
    let waiter = tokio::spawn(async move {
        feed.wait(begin).await;
        feed.read(begin, None).await.map(|page| page.events.len())
    });
    write(&target, ONE, "key", 10).await;
    let woken = tokio::time::timeout(Duration::from_secs(10), waiter).await.expect("woken").expect("no panic");
    assert_eq!(woken.ok(), Some(1));
}
