//! Random histories on Weir and on a map in memory: whatever a client can see is the same, over restarts, lost indexes and
//! compactions; every 40th also over a disk that fills up and gets space again. `WEIR_HISTORIES` sets how many (200 otherwise), `WEIR_SEED` where to begin; a failure names its seed.

use common::doors::SeededRandom;
use common::{BucketId, ETag, Random, UploadId};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::disk::Disk;
use storage::disk::twin::TwinDisk;
use storage::{
    After, Error, ListEntry, ListPartsRequest, ListRequest, ListUploadsRequest, Match, Precondition, Target,
    UploadEntry,
};
use weir_model::{OPTIONS, Terms, complete, content, copy, create_upload, delete, doors, open, put, put_part, read};

const BUCKETS: [BucketId; 2] = [BucketId(1), BucketId(2)];
const KEYS: [&str; 12] = [
    "a",
    "a/b",
    "a/b/c",
    "a//b",
    "b",
    "dir/",
    "dir/x",
    "odd/../key",
    "ü",
    "z z",
    ".weir/x",
    "long/path/to/some/object",
];

type Place = (BucketId, &'static str);

/// Content as pieces of (seed, size), and the seed that the metadata names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    pieces: Vec<(u64, usize)>,
    named: u64,
    etag: ETag,
}

struct Upload {
    place: Place,
    named: u64,
    parts: BTreeMap<u16, ((u64, usize), ETag)>,
}

#[derive(Default)]
struct Reference {
    objects: BTreeMap<Place, Object>,
    uploads: BTreeMap<UploadId, Upload>,
}

struct History {
    random: Arc<SeededRandom>,
    disk: TwinDisk,
    doors: storage::store::Doors,
    target: Arc<Target>,
    reference: Reference,
    log: Vec<String>,
    /// Its disk fills up now and then.
    is_tight: bool,
    /// The disk is full, or was and has not taken a write again: then mutations may be refused, and nothing else may.
    may_refuse: bool,
}

impl History {
    /// Whether a mutation was refused for want of space: then nothing has happened.
    fn is_refused<T>(&self, outcome: &Result<T, Error>) -> bool {
        self.may_refuse && matches!(outcome, Err(Error::OutOfSpace))
    }

    /// Leaves room for less than one more segment, or takes the bound away.
    fn bound_space(&mut self) {
        let full = self.below(2) == 0;
        self.log.push(format!("full: {full}"));
        let room = self.below(OPTIONS.segment_bytes);
        self.disk.limit_space(full.then(|| self.disk.used_bytes() + room));
        self.may_refuse = true;
    }

    /// With space again, writes go on by themselves.
    async fn recover_space(&mut self) {
        self.disk.limit_space(None);
        for _ in 0..200 {
            if !self.may_refuse {
                return;
            }
            let seed = self.random.u64();
            let outcome = put(&self.target, BUCKETS[0], KEYS[0], seed, 100, Precondition::default()).await;
            if !self.is_refused(&outcome) {
                let object = Object { pieces: vec![(seed, 100)], named: seed, etag: outcome.expect("a put").etag };
                self.reference.objects.insert((BUCKETS[0], KEYS[0]), object);
                self.may_refuse = false;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the disk has space, and refuses writes");
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.u64() % bound
    }

    fn place(&self) -> Place {
        (BUCKETS[self.below(2) as usize], KEYS[self.below(KEYS.len() as u64) as usize])
    }

    fn size(&self) -> usize {
        match self.below(10) {
            0 => 0,
            1..=5 => self.below(2049) as usize,
            6..=8 => 2049 + self.below(70_000) as usize,
            _ => 65_536 * (1 + self.below(3) as usize),
        }
    }

    async fn step(&mut self) {
        let place = self.place();
        match self.below(100) {
            0..30 => self.put(place).await,
            30..45 => {
                self.log.push(format!("delete {place:?}"));
                let outcome = delete(&self.target, place.0, place.1).await;
                if !self.is_refused(&outcome) {
                    outcome.expect("a delete never fails");
                    self.reference.objects.remove(&place);
                }
            }
            45..55 => self.copy(place).await,
            55..60 => {
                let named = self.random.u64();
                let outcome = create_upload(&self.target, place.0, place.1, named).await;
                if self.is_refused(&outcome) {
                    return;
                }
                let upload = outcome.expect("an upload");
                self.log.push(format!("create upload {upload} {place:?}"));
                self.reference.uploads.insert(upload, Upload { place, named, parts: BTreeMap::new() });
            }
            60..70 => self.put_part().await,
            70..75 => self.complete().await,
            75..77 => self.abort().await,
            84..87 if self.is_tight => self.bound_space(),
            77..87 => self.check_one(place).await,
            87..92 => self.check_listing(place.0).await,
            92..95 => self.restart(false).await,
            95..96 => self.restart(true).await,
            96..98 => {
                self.log.push("kill".into());
                self.disk.unlink("quarantine/index.redb").ok();
                // Every acknowledged write is in the page cache at least.
                self.disk = self.disk.kill();
                self.target = open(&self.disk, &self.doors, OPTIONS, &BUCKETS).await.expect("it opens after kill -9");
                assert!(!self.disk.exists("quarantine/index.redb").expect("a look"), "a kill never breaks the index");
            }
            _ => self.compact().await,
        }
    }

    async fn put(&mut self, place: Place) {
        let (seed, size) = (self.random.u64(), self.size());
        let current = self.reference.objects.get(&place).map(|object| object.etag);
        let other = ETag::of_md5([9; 16]);
        let (precondition, expected) = match self.below(6) {
            0 => (Precondition { if_none_match: Some(Match::Any), ..Precondition::default() }, current.is_none()),
            1 => {
                let wanted = vec![current.unwrap_or(other)];
                (Precondition { if_match: Some(Match::ETags(wanted)), ..Precondition::default() }, current.is_some())
            }
            2 => (Precondition { if_match: Some(Match::ETags(vec![other])), ..Precondition::default() }, false),
            _ => (Precondition::default(), true),
        };
        self.log.push(format!("put {place:?} {size} {precondition:?}"));
        match put(&self.target, place.0, place.1, seed, size, precondition).await {
            Err(Error::OutOfSpace) if self.may_refuse => {}
            Ok(outcome) => {
                assert!(expected, "a condition that does not hold let a put through");
                let object = Object { pieces: vec![(seed, size)], named: seed, etag: outcome.etag };
                self.reference.objects.insert(place, object);
            }
            Err(Error::PreconditionFailed(_) | Error::NoSuchKey) => {
                assert!(!expected, "a condition that holds refused a put")
            }
            Err(error) => panic!("put: {error}"),
        }
    }

    async fn copy(&mut self, to: Place) {
        let from = self.place();
        self.log.push(format!("copy {from:?} {to:?}"));
        match (copy(&self.target, from, to).await, self.reference.objects.get(&from).cloned()) {
            (Ok(outcome), Some(object)) => {
                assert_eq!(outcome.etag, object.etag);
                self.reference.objects.insert(to, object);
            }
            (Err(Error::NoSuchKey), None) => {}
            (Err(Error::OutOfSpace), _) if self.may_refuse => {}
            (outcome, object) => panic!("copy gave {outcome:?} where the reference has {object:?}"),
        }
    }

    fn some_upload(&self) -> Option<UploadId> {
        let count = self.reference.uploads.len() as u64;
        (count > 0).then(|| *self.reference.uploads.keys().nth(self.below(count) as usize).expect("below the count"))
    }

    async fn put_part(&mut self) {
        let Some(id) = self.some_upload() else { return };
        let (part, piece) = (1 + self.below(4) as u16, (self.random.u64(), 5000 + self.below(80_000) as usize));
        let place = self.reference.uploads[&id].place;
        self.log.push(format!("part {part} of {id} {}", piece.1));
        let outcome = put_part(&self.target, place.0, place.1, id, part, piece).await;
        if self.is_refused(&outcome) {
            return;
        }
        let etag = outcome.expect("a part");
        let upload = self.reference.uploads.get_mut(&id).expect("chosen from it");
        upload.parts.insert(part, (piece, etag));
    }

    async fn complete(&mut self) {
        let Some(id) = self.some_upload() else { return };
        let upload = &self.reference.uploads[&id];
        let place = upload.place;
        // Not always all of them: what is left out is dropped.
        let chosen: Vec<u16> = upload.parts.keys().copied().filter(|_| self.below(4) > 0).collect();
        let parts: Vec<(u16, ETag)> = chosen.iter().map(|part| (*part, upload.parts[part].1)).collect();
        self.log.push(format!("complete {id} {chosen:?}"));
        match complete(&self.target, place.0, place.1, id, &parts).await {
            Ok(outcome) => {
                let pieces: Vec<_> = chosen.iter().map(|part| upload.parts[part].0).collect();
                assert_eq!(outcome.size, pieces.iter().map(|(_, size)| *size as u64).sum::<u64>());
                let object = Object { pieces, named: upload.named, etag: outcome.etag };
                self.reference.objects.insert(place, object);
                self.reference.uploads.remove(&id);
                let again = complete(&self.target, place.0, place.1, id, &parts).await.expect("a repeated complete");
                assert_eq!(again.etag, outcome.etag);
            }
            Err(Error::InvalidPartOrder) => assert!(parts.is_empty()),
            Err(Error::OutOfSpace) if self.may_refuse => {}
            Err(error) => panic!("complete: {error}"),
        }
    }

    async fn abort(&mut self) {
        let Some(id) = self.some_upload() else { return };
        let place = self.reference.uploads[&id].place;
        self.log.push(format!("abort {id}"));
        let key = weir_model::key(place.1);
        let outcome = self.target.abort_upload(self.target.epoch(), place.0, key, id).await;
        if self.is_refused(&outcome) {
            return;
        }
        outcome.expect("an abort");
        self.reference.uploads.remove(&id);
    }

    async fn restart(&mut self, lose_index: bool) {
        self.log.push(format!("restart, index lost: {lose_index}"));
        self.target.shutdown().await.expect("a clean stop");
        if lose_index {
            self.disk.unlink("index/index.redb").expect("there was an index");
        }
        self.target = open(&self.disk, &self.doors, OPTIONS, &BUCKETS).await.expect("it opens again");
    }

    /// Rows with their dead records, slot digests and live bytes of segments, a line each. The greatest stamp of a slot is
    /// left out: it may be that of a tombstone which nothing needed any more.
    async fn index_dump(&self) -> Vec<String> {
        let disk = Arc::clone(&self.target.disks()[0]);
        let dumping = tokio::task::spawn_blocking(move || {
            disk.checkpoint()?;
            let store = disk.index.store()?;
            let mut segments: Vec<_> = store.segments()?.into_iter().collect();
            segments.sort_by_key(|(name, _)| *name);
            let rows = store.dump()?.into_iter().map(|row| format!("{row:?}"));
            let slots = store.slots()?.into_iter().filter(|(_, digest)| digest.objects > 0);
            let slots =
                slots.map(|(slot, digest)| format!("{slot} {} {} {}", digest.objects, digest.bytes, digest.xor));
            Ok::<_, Error>(rows.chain(slots).chain(segments.iter().map(|segment| format!("{segment:?}"))).collect())
        });
        dumping.await.expect("it never panics").expect("a dump")
    }

    async fn compact(&mut self) {
        self.log.push("compact".into());
        let disk = Arc::clone(&self.target.disks()[0]);
        let compacting = tokio::task::spawn_blocking(move || {
            disk.rotate()?;
            disk.checkpoint()?;
            while disk.compact()? {}
            Ok::<_, Error>(())
        });
        compacting.await.expect("it never panics").expect("compaction");
    }

    async fn check_one(&self, place: Place) {
        let found = read(&self.target, place.0, place.1).await.expect("a read");
        let expected = self.reference.objects.get(&place);
        match (&found, expected) {
            (None, None) => {}
            (Some((bytes, named)), Some(object)) => {
                let wanted: Vec<u8> = object.pieces.iter().flat_map(|(seed, size)| content(*seed, *size)).collect();
                assert!(*bytes == wanted, "{place:?}: {} bytes that differ from the {} put", bytes.len(), wanted.len());
                assert_eq!(*named, object.named, "{place:?}: metadata of another object");
            }
            (found, expected) => {
                panic!("{place:?}: found {:?}, expected {expected:?}", found.as_ref().map(|(bytes, _)| bytes.len()));
            }
        }
    }

    async fn check_listing(&self, bucket: BucketId) {
        let prefix = ["", "a", "a/", "dir", "nothing"][self.below(5) as usize];
        let delimiter = [None, Some("/"), Some("b")][self.below(3) as usize];
        let limit = 1 + self.below(4) as usize;
        let keys: Vec<&str> = self
            .reference
            .objects
            .keys()
            .filter(|(of, key)| *of == bucket && key.starts_with(prefix))
            .map(|(_, key)| *key)
            .collect();
        let expected = fold(&keys, prefix, delimiter);

        let mut found = Vec::new();
        let mut after = After::Beginning;
        loop {
            let request = ListRequest {
                bucket,
                prefix: prefix.into(),
                delimiter: delimiter.map(str::to_owned),
                after: after.clone(),
                limit,
            };
            let page = self.target.list(request).await.expect("a page");
            assert!(page.entries.len() <= limit);
            for entry in page.entries {
                match entry {
                    ListEntry::Object(object) => {
                        let known = &self.reference.objects[&(bucket, static_key(&object.key))];
                        assert_eq!(
                            (object.etag, object.size as usize),
                            (known.etag, known.pieces.iter().map(|p| p.1).sum())
                        );
                        after = After::Key(object.key.clone());
                        found.push(object.key);
                    }
                    ListEntry::Prefix(common) => {
                        after = After::Prefix(common.clone());
                        found.push(format!("{common} as a prefix"));
                    }
                }
            }
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "prefix {prefix:?}, delimiter {delimiter:?}");
    }

    async fn check_uploads(&self) {
        for bucket in BUCKETS {
            let request = ListUploadsRequest {
                bucket,
                prefix: String::new(),
                delimiter: None,
                after: None,
                after_prefix: None,
                limit: 1000,
            };
            let page = self.target.list_uploads(request).await.expect("a page");
            let mut found: Vec<_> = page
                .entries
                .into_iter()
                .filter_map(|entry| match entry {
                    UploadEntry::Upload(upload) => Some(upload.upload),
                    UploadEntry::Prefix(_) => None,
                })
                .collect();
            found.sort();
            let expected: Vec<_> = self
                .reference
                .uploads
                .iter()
                .filter(|(_, upload)| upload.place.0 == bucket)
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(found, expected);
        }
        for (id, upload) in &self.reference.uploads {
            let request = ListPartsRequest {
                bucket: upload.place.0,
                key: weir_model::key(upload.place.1),
                upload: *id,
                after_part: 0,
                limit: 1000,
            };
            let page = self.target.list_parts(request).await.expect("its parts");
            let found: Vec<_> = page.parts.iter().map(|part| (part.part.number(), part.etag)).collect();
            let expected: Vec<_> = upload.parts.iter().map(|(part, (_, etag))| (*part, *etag)).collect();
            assert_eq!(found, expected);
        }
    }

    async fn check_all(&self) {
        for bucket in BUCKETS {
            for key in KEYS {
                self.check_one((bucket, key)).await;
            }
        }
        self.check_uploads().await;
    }

    /// Nothing is left over: every data file belongs to an object or a part, and staging is empty.
    async fn check_files(&self) {
        let store = Arc::clone(&self.target.disks()[0]);
        tokio::task::spawn_blocking(move || store.checkpoint()).await.expect("it never panics").expect("a checkpoint");
        let large = |size: &usize| *size > OPTIONS.inline_bytes_max as usize;
        let of_objects: usize = self
            .reference
            .objects
            .values()
            .map(
                |object| {
                    if object.etag.parts > 0 { object.pieces.len() } else { usize::from(large(&object.pieces[0].1)) }
                },
            )
            .sum();
        let of_parts: usize = self.reference.uploads.values().map(|upload| upload.parts.len()).sum();
        let files = self.disk.files();
        let count = |directory: &str| files.iter().filter(|path| path.starts_with(directory)).count();
        assert_eq!(count("objects/"), of_objects + of_parts, "data files");
        assert_eq!(count("staging/"), 0, "staged files: {files:?}");
        assert_eq!(count("quarantine/record"), 0, "nothing was damaged");
    }
}

fn static_key(key: &str) -> &'static str {
    KEYS.iter().find(|known| **known == key).expect("only known keys are put")
}

/// What a listing of these keys gives, by the definition of S3.
fn fold(keys: &[&str], prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<String> = Vec::new();
    for key in sorted {
        let rest = &key[prefix.len()..];
        match delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len())) {
            Some(end) => {
                let common = format!("{}{} as a prefix", prefix, &rest[..end]);
                if out.last() != Some(&common) {
                    out.push(common);
                }
            }
            None => out.push(key.to_owned()),
        }
    }
    out
}

async fn run(seed: u64) -> Vec<String> {
    let disk = TwinDisk::default();
    let doors = doors(seed, &Arc::new(Terms::default()));
    let target = open(&disk, &doors, OPTIONS, &BUCKETS).await.expect("a new disk");
    let random = SeededRandom::new(seed ^ 0x5eed);
    let steps = 20 + random.u64() % 60;
    let is_tight = seed.is_multiple_of(40);
    let mut history = History {
        random,
        disk,
        doors,
        target,
        reference: Reference::default(),
        log: Vec::new(),
        is_tight,
        may_refuse: false,
    };
    for _ in 0..steps {
        history.step().await;
    }
    history.recover_space().await;
    history.check_all().await;
    history.check_files().await;
    // What is counted along the way is what a rebuild from the log alone counts (engine rules A9 and A16).
    let counted = history.index_dump().await;
    history.restart(true).await;
    let rebuilt = history.index_dump().await;
    let differs = counted.iter().zip(&rebuilt).find(|(counted, rebuilt)| counted != rebuilt);
    assert_eq!(differs, None, "counted along the way, rebuilt");
    assert_eq!(counted.len(), rebuilt.len());
    history.check_all().await;
    history.target.shutdown().await.expect("a clean stop");
    history.log
}

#[test]
fn histories_agree_with_the_reference() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (histories, first): (u64, u64) = (number("WEIR_HISTORIES", 200), number("WEIR_SEED", 1));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for seed in first..first + histories {
        let outcome = runtime.block_on(async { tokio::spawn(run(seed)).await });
        if let Err(error) = outcome {
            panic!("history {seed} disagrees: run it alone with WEIR_SEED={seed} WEIR_HISTORIES=1 ({error})");
        }
    }
    println!("{histories} histories agree");
}
