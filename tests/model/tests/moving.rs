//! Compaction moves records while versions come and go: every version that is there can be read at any time.

use common::{BucketId, BucketName, Stamp, VersionId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::disk::Disk;
use storage::disk::twin::TwinDisk;
use storage::{BucketState, BucketView, DeleteRequest, Error, Precondition, Target, Update, UpdateRequest, Versioning};
use weir_model::{OPTIONS, Terms, content, doors, put, read_version};

const BUCKET: BucketId = BucketId(1);
const KEYS: [&str; 3] = ["a", "b", "c"];
/// The twin remembers every write: not too many.
const COMPACTIONS: usize = 40;

async fn delete(target: &Target, key: &str, version: Option<VersionId>) {
    let (epoch, key, precondition) = (target.epoch(), weir_model::key(key), Precondition::default());
    let request =
        DeleteRequest { epoch, bucket: BUCKET, key, version, seen: None, precondition, bypass_governance: false };
    target.delete(request).await.expect("a delete");
}

/// Puts versions on one key and takes them away again, and reads each that is there after every step.
async fn work(target: Arc<Target>, key: &'static str, is_over: Arc<AtomicBool>) {
    let mut there: Vec<(VersionId, u64, usize)> = Vec::new();
    for round in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let size = if round % 5 == 0 { 3000 } else { 500 };
        let outcome = put(&target, BUCKET, key, round, size, Precondition::default()).await.expect("a put");
        there.push((outcome.version, round, size));
        if round % 3 == 0 {
            // The older one is current again, wherever its record stands by now.
            let (version, ..) = there.pop().expect("pushed above");
            delete(&target, key, Some(version)).await;
        }
        if there.len() > 4 {
            let (version, ..) = there.remove(1);
            delete(&target, key, Some(version)).await;
        }
        if let Some((version, ..)) = there.first() {
            let update = Update::Tags(vec![("round".into(), round.to_string())]);
            let (epoch, precondition) = (target.epoch(), Precondition::default());
            let (key, version) = (weir_model::key(key), Some(*version));
            let request = UpdateRequest { epoch, bucket: BUCKET, key, version, update, precondition, seen: None };
            let of_another = UpdateRequest { seen: Some(Stamp::ZERO), ..request.clone() };
            let refused = target.update(of_another).await.expect_err("this record was not seen");
            assert!(matches!(refused, Error::ObjectChanged), "{refused:?}");
            target.update(request).await.expect("an update");
        }
        for (version, seed, size) in &there {
            let (_, bytes) = read_version(&target, BUCKET, key, Some(*version)).await.expect("it is there");
            assert!(bytes == content(*seed, *size), "{key} {version}: other bytes");
        }
        if let Some((version, ..)) = there.last() {
            assert_eq!(read_version(&target, BUCKET, key, None).await.expect("a current one").0.version, *version);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn versions_can_be_read_while_compaction_moves_them() {
    let disk = TwinDisk::default();
    let (shared, doors): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), doors(1, &Arc::new(Terms::default())));
    let opened = tokio::task::spawn_blocking(move || Target::open_disk(shared, OPTIONS, &doors)).await;
    let target = opened.expect("opening never panics").expect("it opens");
    let name = BucketName::parse("bucket-1").expect("a good name");
    let (state, versioning) = (BucketState::Active, Versioning::Enabled);
    let view = BucketView { id: BUCKET, name, version: 1, state, versioning, lock: false };
    target.apply_bucket(view).await.expect("a bucket");

    let is_over = Arc::new(AtomicBool::new(false));
    let (store, over) = (Arc::clone(&target.disks()[0]), Arc::clone(&is_over));
    let compacting = tokio::task::spawn_blocking(move || {
        let mut compactions = 0;
        for _ in 0..COMPACTIONS {
            std::thread::sleep(std::time::Duration::from_millis(30));
            store.rotate()?;
            store.checkpoint()?;
            compactions += usize::from(store.compact()?);
        }
        over.store(true, Ordering::Relaxed);
        Ok::<_, Error>(compactions)
    });
    let workers: Vec<_> = KEYS.map(|key| tokio::spawn(work(Arc::clone(&target), key, Arc::clone(&is_over)))).into();
    for worker in workers {
        worker.await.expect("every version can be read");
    }
    let compactions = compacting.await.expect("it never panics").expect("compaction");
    assert!(compactions > 10, "{compactions} compactions");
    target.shutdown().await.expect("a clean stop");
    // Each data file that is left belongs to a version of 3000 bytes that is there.
    let files = disk.files().iter().filter(|path| path.starts_with("objects/")).count();
    assert!(files <= KEYS.len() * 4, "{files} data files");
}
