//! Disks that fail: errors from syncs, no space, flipped bits. Nothing acknowledged is lost silently, and wrong bytes are
//! never served.

use common::doors::SeededRandom;
use common::{BucketId, Random};
use std::sync::Arc;
use storage::disk::twin::TwinDisk;
use storage::disk::{Disk, SyncPoint};
use storage::store::{DiskOptions, Doors, accept_loss};
use storage::{After, Error, ListEntry, ListRequest, Precondition, Target};
use weir_model::{OPTIONS, Terms, content, delete, doors, open, put, read};

const BUCKET: BucketId = BucketId(1);

struct Bench {
    disk: TwinDisk,
    doors: Doors,
    target: Arc<Target>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(OPTIONS).await
    }

    async fn with(options: DiskOptions) -> Self {
        let disk = TwinDisk::default();
        let doors = doors(7, &Arc::new(Terms::default()));
        let target = open(&disk, &doors, options, &[BUCKET]).await.expect("a new disk");
        Self { disk, doors, target }
    }

    async fn put(&self, name: &str, seed: u64, size: usize) -> Result<(), Error> {
        put(&self.target, BUCKET, name, seed, size, Precondition::default()).await.map(|_| ())
    }

    async fn is(&self, name: &str, seed: u64, size: usize) -> bool {
        match read(&self.target, BUCKET, name).await {
            Ok(Some((bytes, named))) => bytes == content(seed, size) && named == seed,
            Ok(None) => false,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    async fn keys(&self) -> Vec<String> {
        let (prefix, delimiter, after) = (String::new(), None, After::Beginning);
        let request = ListRequest { bucket: BUCKET, prefix, delimiter, after, limit: 1000 };
        let page = self.target.list(request).await.expect("a listing");
        let key = |entry| match entry {
            ListEntry::Object(object) => object.key,
            ListEntry::Prefix(prefix) => panic!("no delimiter, but {prefix}"),
        };
        page.entries.into_iter().map(key).collect()
    }

    async fn stop(&self) {
        self.target.shutdown().await.expect("a clean stop");
    }

    async fn start(&mut self) {
        self.target = open(&self.disk, &self.doors, OPTIONS, &[BUCKET]).await.expect("it opens");
    }

    async fn kill(&mut self) {
        self.disk = self.disk.kill();
        self.start().await;
    }

    fn segments(&self) -> Vec<String> {
        self.disk.files().into_iter().filter(|path| path.starts_with("log/") && path.ends_with(".tar")).collect()
    }

    /// Where these bytes stand in a file.
    fn find(&self, path: &str, wanted: &[u8]) -> Option<u64> {
        let file = self.disk.open(path).expect("it is there");
        let length = file.length().expect("in memory") as usize;
        let bytes = storage::disk::read_exact(file.as_ref(), 0, length).expect("in memory");
        bytes.windows(wanted.len()).position(|window| window == wanted).map(|at| at as u64)
    }

    fn rot_payload(&self, seed: u64, size: usize) {
        let payload = content(seed, size);
        let found = self.disk.files().into_iter().find_map(|path| {
            let of_ours = path.starts_with("log/") || path.starts_with("objects/");
            of_ours.then(|| self.find(&path, &payload[..64]).map(|at| (path.clone(), at))).flatten()
        });
        let (path, at) = found.expect("the payload stands somewhere");
        self.disk.rot(&path, at + 10, 4).expect("in memory");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_fails_the_disk_until_it_is_recovered() {
    for point in [SyncPoint::Batch, SyncPoint::StagedNames, SyncPoint::StagedFile] {
        let mut bench = Bench::new().await;
        bench.put("before", 1, 5000).await.expect("the disk is well");
        bench.disk.fail_sync(point, 0);
        let outcome = bench.put("during", 2, 5000).await;
        assert!(matches!(outcome, Err(Error::OutcomeUnknown(_) | Error::DiskFailed(_))), "{point:?}: {outcome:?}");
        // The next sync would succeed; it must not be believed.
        let outcome = bench.put("after", 3, 100).await;
        assert!(matches!(outcome, Err(Error::DiskFailed(_))), "{point:?}: {outcome:?}");
        assert!(bench.is("before", 1, 5000).await, "reads go on");
        bench.kill().await;
        assert!(bench.is("before", 1, 5000).await);
        bench.put("after", 3, 100).await.expect("recovered");
        assert!(bench.is("after", 3, 100).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_goes_on_with_reads_and_deletes() {
    let bench = Bench::new().await;
    bench.put("large", 1, 300_000).await.expect("there is space");
    bench.disk.limit_space(Some(bench.disk.used_bytes()));
    let mut refused = 0;
    for number in 0..2000 {
        match bench.put(&format!("small-{number}"), number, 1500).await {
            Ok(()) => {}
            Err(Error::OutOfSpace) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "prepared segments do not last for ever");
    assert!(matches!(bench.put("another", 2, 300_000).await, Err(Error::OutOfSpace)));
    assert!(bench.is("large", 1, 300_000).await);
    delete(&bench.target, BUCKET, "large").await.expect("deletes use the reserve");
    assert!(!bench.is("large", 1, 300_000).await);
    assert!(!bench.disk.files().iter().any(|path| path.starts_with("staging/")), "refused bodies leave nothing");
    bench.disk.limit_space(None);
    bench.takes_writes_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_are_never_served_and_cost_one_object() {
    for size in [1500, 100_000] {
        let mut bench = Bench::new().await;
        for number in 0..10 {
            bench.put(&format!("key-{number}"), number, size).await.expect("the disk is well");
        }
        bench.stop().await;
        bench.rot_payload(4, size);
        bench.start().await;
        for number in 0..10 {
            let name = format!("key-{number}");
            if number == 4 {
                let outcome = read(&bench.target, BUCKET, &name).await;
                assert!(matches!(outcome, Err(Error::Damaged(_))), "{outcome:?}");
            } else {
                assert!(bench.is(&name, number, size).await);
            }
        }
        assert_eq!(bench.keys().await.len(), 10, "a damaged key stays in listings");
        // The same from the log alone.
        bench.stop().await;
        bench.disk.unlink("index/index.redb").expect("there was an index");
        bench.start().await;
        assert!(matches!(read(&bench.target, BUCKET, "key-4").await, Err(Error::Damaged(_))));
        assert_eq!(bench.keys().await.len(), 10);
        bench.put("key-4", 44, size).await.expect("it can be written again");
        assert!(bench.is("key-4", 44, size).await);
        let kept = bench.disk.files().iter().filter(|path| path.starts_with("quarantine/")).count();
        assert!(kept > 0, "the evidence is in quarantine");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_overwrite_does_not_bring_the_older_object_back() {
    let mut bench = Bench::new().await;
    bench.put("key", 1, 1500).await.expect("the disk is well");
    bench.put("key", 2, 1500).await.expect("the disk is well");
    bench.stop().await;
    bench.rot_payload(2, 1500);
    bench.disk.unlink("index/index.redb").expect("there was an index");
    bench.start().await;
    assert!(matches!(read(&bench.target, BUCKET, "key").await, Err(Error::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_rebuilt() {
    for offset in [0, 100, 4096, 8192, 12_288, 20_000] {
        let mut bench = Bench::new().await;
        for number in 0..50 {
            bench.put(&format!("key-{number}"), number, 100 + 100 * number as usize).await.expect("the disk is well");
        }
        bench.stop().await;
        let length = bench.disk.open("index/index.redb").and_then(|file| file.length()).expect("there is an index");
        for at in (offset..length.min(offset + 4096)).step_by(7) {
            bench.disk.rot("index/index.redb", at, 0x55).expect("in memory");
        }
        bench.start().await;
        for number in 0..50 {
            // Damage that the index only shows when it is used is repaired while serving: a little later it is right.
            let name = format!("key-{number}");
            let mut outcome = read(&bench.target, BUCKET, &name).await;
            for _ in 0..100 {
                if !matches!(outcome, Err(Error::IndexBroken(_) | Error::IndexRebuilding)) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                outcome = read(&bench.target, BUCKET, &name).await;
            }
            let (bytes, _) = outcome.expect("the log has it").expect("it was put");
            assert!(bytes == content(number, 100 + 100 * number as usize), "{name}, damage at {offset}");
        }
    }
}

/// Zeros, garbage and stale pages anywhere in the index: whatever redb makes of them, the objects are there.
/// `WEIR_INDEX_DAMAGES` sets how many (30 otherwise).
#[tokio::test(flavor = "multi_thread")]
async fn any_damage_of_the_index_is_survived() {
    let damages = std::env::var("WEIR_INDEX_DAMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let mut bench = Bench::new().await;
    for number in 0..200 {
        bench.put(&format!("key-{number}"), number, 3000).await.expect("the disk is well");
    }
    for number in 0..50 {
        delete(&bench.target, BUCKET, &format!("key-{number}")).await.expect("the disk is well");
    }
    bench.stop().await;
    let whole = bench.disk.clone();
    let random = SeededRandom::new(11);
    for damage in 0..damages {
        // Everything was synced: the copy is the disk as it stopped.
        bench.disk = whole.cutter(None).cut(whole.moment(), random.as_ref());
        for _ in 0..1 + random.u64() % 3 {
            // The pages, and now and then their checksums.
            let path = if random.u64().is_multiple_of(5) { "index/index.crc32c" } else { "index/index.redb" };
            let length = bench.disk.open(path).and_then(|file| file.length()).expect("there is an index");
            let page = random.u64() % length.div_ceil(4096) * 4096;
            let (from, step) = (page + random.u64() % 4096, 1 + random.u64() % 64);
            let (until, mask) = (from + 1 + random.u64() % 4096, 1 + (random.u64() % 255) as u8);
            for at in (from..until.min(length)).step_by(step as usize) {
                bench.disk.rot(path, at, mask).expect("in memory");
            }
        }
        bench.start().await;
        for number in [0, 49, 50, 120, 199] {
            let mut outcome = read(&bench.target, BUCKET, &format!("key-{number}")).await;
            for _ in 0..200 {
                if !matches!(outcome, Err(Error::IndexBroken(_) | Error::IndexRebuilding)) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                outcome = read(&bench.target, BUCKET, &format!("key-{number}")).await;
            }
            let found = outcome.unwrap_or_else(|error| panic!("damage {damage}, key {number}: {error}"));
            assert_eq!(found.is_some(), number >= 50, "damage {damage}, key {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_the_last_batch_of_an_unclean_stop_is_no_torn_tail() {
    let mut bench = Bench::new().await;
    for number in 0..20 {
        bench.put(&format!("key-{number}"), number, 1500).await.expect("the disk is well");
    }
    let disk = bench.disk.kill();
    bench.disk = disk;
    bench.rot_payload(5, 1500);
    bench.start().await;
    assert!(matches!(read(&bench.target, BUCKET, "key-5").await, Err(Error::Damaged(_))));
    for number in (0..20).filter(|number| *number != 5) {
        assert!(bench.is(&format!("key-{number}"), number, 1500).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_without_names_stops_the_disk_until_it_is_accepted() {
    let mut bench = Bench::new().await;
    for number in 0..20 {
        bench.put(&format!("key-{number}"), number, 1500).await.expect("the disk is well");
    }
    bench.disk = bench.disk.kill();
    let segment = bench.segments().pop().expect("there is a segment");
    let at = bench.find(&segment, &content(5, 1500)[..64]).expect("it stands in the log") / 4096 * 4096;
    for offset in at..at + 8192 {
        bench.disk.rot(&segment, offset, 0xa5).expect("in memory");
    }
    let outcome = open(&bench.disk, &bench.doors, OPTIONS, &[BUCKET]).await;
    assert!(matches!(outcome, Err(Error::Incomplete(_))), "{:?}", outcome.err());
    let disk: Arc<dyn Disk> = Arc::new(bench.disk.clone());
    let accepted = accept_loss(&disk).expect("it can be accepted");
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    bench.start().await;
    assert!(bench.is("key-0", 0, 1500).await && bench.is("key-19", 19, 1500).await);
}

/// EIO in place of bytes, in a footer, in a segment that was not sealed, in a data file: the rest stays readable, at once or
/// when the loss is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_cannot_read_costs_what_stood_there() {
    for is_sealed in [true, false] {
        let mut bench = Bench::with(DiskOptions { inline_bytes_max: 65_536, ..OPTIONS }).await;
        for number in 0..20 {
            bench.put(&format!("key-{number}"), number, 20_000).await.expect("the disk is well");
        }
        bench.put("large", 100, 100_000).await.expect("the disk is well");
        if is_sealed {
            bench.stop().await;
        }
        bench.disk = bench.disk.kill();
        let segment = bench.segments().pop().expect("there is a segment");
        let at = bench.find(&segment, &content(5, 20_000)[..64]).expect("it stands in the log");
        let length = bench.disk.open(&segment).and_then(|file| file.length()).expect("in memory");
        let bad = if is_sealed { length - 2048..length } else { at + 8192..at + 8193 };
        bench.disk.fail_reads(&segment, bad).expect("it is there");
        if is_sealed {
            // Otherwise the checkpoint spares the start all of it.
            bench.disk.unlink("index/index.redb").expect("there was an index");
            // Whether a batch stood behind the last one that can be read, nobody can tell.
            let outcome = open(&bench.disk, &bench.doors, OPTIONS, &[BUCKET]).await;
            assert!(matches!(outcome, Err(Error::Incomplete(_))), "{:?}", outcome.err());
            let disk: Arc<dyn Disk> = Arc::new(bench.disk.clone());
            assert_eq!(accept_loss(&disk).expect("it can be accepted").len(), 1);
        }
        bench.start().await;
        for number in (0..20).filter(|number| is_sealed || *number != 5) {
            assert!(bench.is(&format!("key-{number}"), number, 20_000).await);
        }
        if !is_sealed {
            assert!(matches!(read(&bench.target, BUCKET, "key-5").await, Err(Error::Damaged(_))));
            assert!(bench.disk.files().iter().any(|path| path.starts_with("quarantine/")), "the original is kept");
        }
        assert_eq!(bench.keys().await.len(), 21);
        let file = bench.disk.files().into_iter().find(|path| path.starts_with("objects/")).expect("the large one");
        bench.disk.fail_reads(&file, 70_000..70_001).expect("it is there");
        assert!(read(&bench.target, BUCKET, "large").await.is_err());
        bench.put("large", 101, 100_000).await.expect("it can be written again");
        assert!(bench.is("large", 101, 100_000).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_noticed_wherever_it_was() {
    for at in [0, 2, usize::MAX] {
        let mut bench = Bench::new().await;
        for number in 0..900 {
            bench.put(&format!("key-{number:04}"), number, 1500).await.expect("the disk is well");
        }
        bench.stop().await;
        let segments = bench.segments();
        assert!(segments.len() > 3, "{segments:?}");
        bench.disk.unlink(&segments[at.min(segments.len() - 1)]).expect("it is there");
        let outcome = open(&bench.disk, &bench.doors, OPTIONS, &[BUCKET]).await;
        assert!(matches!(outcome, Err(Error::Incomplete(_))), "segment {at}: {:?}", outcome.err());
        let disk: Arc<dyn Disk> = Arc::new(bench.disk.clone());
        // In the middle the batches' numbers miss it as well.
        assert!(!accept_loss(&disk).expect("it can be accepted").is_empty());
        bench.start().await;
        let left = bench.keys().await;
        assert!((1..900).contains(&left.len()), "{} keys are left", left.len());
        for name in left {
            let number: u64 = name[4..].parse().expect("as it was put");
            assert!(bench.is(&name, number, 1500).await);
        }
        bench.put("new", 1, 1500).await.expect("the disk goes on");
        bench.kill().await;
        assert!(bench.is("new", 1, 1500).await);
    }
}

impl Bench {
    /// Puts small objects until the disk is full. Gives how many it took.
    async fn fill(&self) -> u64 {
        let mut number = 0;
        loop {
            match self.put(&format!("small-{number}"), number, 1500).await {
                Ok(()) => number += 1,
                Err(Error::OutOfSpace) => return number,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn takes_writes_again(&self) {
        for _ in 0..200 {
            if self.put("again", 3, 1500).await.is_ok() {
                assert!(self.is("again", 3, 1500).await);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("with space again, writes do not go on");
    }
}

/// Whoever deletes to make room gets there, one small object at a time: what is held back lasts until compaction has won
/// back more than it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_full_of_small_objects_is_emptied_one_by_one() {
    let bench = Bench::with(DiskOptions { background_work: true, ..OPTIONS }).await;
    bench.disk.limit_space(Some(bench.disk.used_bytes() + 8 * 1024 * 1024));
    let count = bench.fill().await;
    assert!(count > 2000, "{count} objects fill 8 MiB");
    for number in 0..count {
        let name = format!("small-{number}");
        assert!(bench.is(&name, number, 1500).await, "reads go on");
        let mut refused = 0;
        while let Err(error) = delete(&bench.target, BUCKET, &name).await {
            assert!(matches!(error, Error::OutOfSpace), "{name}: {error}");
            refused += 1;
            assert!(refused < 200, "{name}: what is held back is used up, and nothing wins space back");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    assert_eq!(bench.keys().await.len(), 0);
    bench.takes_writes_again().await;
}

/// Not even the reserve is left for the index: reads and writes wait. With space it is opened again, not built anew, and
/// has everything.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_space_is_opened_again() {
    let bench = Bench::with(DiskOptions { reserve_bytes: 0, ..OPTIONS }).await;
    let name = |number: u64| format!("{number}-{}", "long".repeat(220));
    bench.disk.limit_space(Some(bench.disk.used_bytes() + 6 * 1024 * 1024));
    let mut count = 0;
    while bench.put(&name(count), count, 10).await.is_ok() {
        count += 1;
    }
    let has_index = || bench.target.disks()[0].index.store().is_ok();
    let mut deleted = 0;
    while has_index() && deleted < count && delete(&bench.target, BUCKET, &name(deleted)).await.is_ok() {
        deleted += 1;
        // The index takes them one by one: each costs it new pages.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for _ in 0..100 {
        if !has_index() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!has_index(), "{count} puts and {deleted} deletes took no space in the index");
    bench.disk.limit_space(None);
    bench.takes_writes_again().await;
    for number in 0..count {
        if number < deleted {
            assert!(matches!(read(&bench.target, BUCKET, &name(number)).await, Ok(None)), "{number} was deleted");
        } else if number > deleted || read(&bench.target, BUCKET, &name(number)).await.expect("a read").is_some() {
            // The one in between was refused, or nobody knows.
            assert!(bench.is(&name(number), number, 10).await);
        }
    }
    assert!(!bench.disk.files().contains(&"quarantine/index.redb".to_owned()), "it was built anew");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_starts_after_kill_and_takes_deletes() {
    let mut bench = Bench::new().await;
    bench.disk.limit_space(Some(bench.disk.used_bytes() + 1024 * 1024));
    let count = bench.fill().await;
    for lost_index in [false, true] {
        bench.disk = bench.disk.kill();
        if lost_index {
            bench.disk.unlink("index/index.redb").expect("there was an index");
        }
        // Nothing is left, not even what the files that went meanwhile took.
        bench.disk.limit_space(Some(bench.disk.used_bytes()));
        bench.start().await;
        for number in 0..count {
            assert!(bench.is(&format!("small-{number}"), number, 1500).await);
        }
    }
    delete(&bench.target, BUCKET, "small-0").await.expect("deletes use what is held back");
    bench.stop().await;
}

/// An error of the disk is not called a lack of space, which clients would wait out.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_prepared_is_no_full_disk() {
    let mut bench = Bench::with(DiskOptions { prewrite: true, ..OPTIONS }).await;
    for _ in 0..1000 {
        bench.disk.fail_sync(SyncPoint::Spare, 0);
    }
    let mut number = 0;
    let error = loop {
        match bench.put(&format!("key-{number}"), number, 1500).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 10_000, "segments come from somewhere");
    };
    assert!(matches!(error, Error::OutcomeUnknown(_) | Error::DiskFailed(_)), "{error}");
    bench.kill().await;
    assert!(bench.is("key-0", 0, 1500).await && bench.is(&format!("key-{}", number - 1), number - 1, 1500).await);
}
