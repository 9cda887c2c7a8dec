//! Random histories of puts, appends, renames, changes of metadata and deletes, against a map: over kills, lost indexes and
//! compactions, and cut off at any moment by a loss of power, where a rename has happened whole or not at all.
//! `WEIR_HISTORIES` sets how many (60 otherwise), `WEIR_SEED` where to begin; a failure names its seed.

use bytes::Bytes;
use common::doors::SeededRandom;
use common::{BucketId, Random};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::disk::Disk;
use storage::disk::twin::TwinDisk;
use storage::store::Doors;
use storage::{
    After, Attributes, Error, ListEntry, ListRequest, Precondition, PutRequest, RenameRequest, Target, Update,
    UpdateRequest,
};
use weir_model::{OPTIONS, Terms, attributes, content, delete, doors, key, open, put, read};

const BUCKET: BucketId = BucketId(1);
const KEYS: [&str; 5] = ["a", "a/b", "b", "ü", "z z"];
/// On both sides of what goes into the log, and more than one block.
const SIZES: [usize; 5] = [0, 10, 1500, 3000, 70_000];
const STEPS: u64 = 40;
const CUTS: usize = 4;

/// The bytes of every key, and the seed that its metadata names.
type State = BTreeMap<String, (Vec<u8>, u64)>;

struct History {
    random: Arc<SeededRandom>,
    disk: TwinDisk,
    doors: Doors,
    target: Arc<Target>,
    state: State,
    /// The states that were answered, each with the moment of its answer.
    answered: Vec<(usize, State)>,
}

impl History {
    async fn new(seed: u64) -> Self {
        let disk = TwinDisk::default();
        let doors = doors(seed, &Arc::new(Terms::default()));
        let target = open(&disk, &doors, OPTIONS, &[BUCKET]).await.expect("a new disk");
        let answered = vec![(disk.moment(), State::new())];
        Self { random: SeededRandom::new(seed), disk, doors, target, state: State::new(), answered }
    }

    fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[(self.random.u64() % from.len() as u64) as usize]
    }

    async fn step(&mut self) {
        let (name, size, seed) = (self.pick(&KEYS), self.pick(&SIZES), self.random.u64() >> 1);
        match self.random.u64() % 10 {
            0..=1 => {
                put(&self.target, BUCKET, name, seed, size, Precondition::default()).await.expect("the disk is well");
                self.state.insert(name.to_owned(), (content(seed, size).to_vec(), seed));
            }
            2..=4 => self.append(name, seed, size).await,
            5..=7 => self.rename(name, self.pick(&KEYS)).await,
            8 => {
                let (epoch, precondition) = (self.target.epoch(), Precondition::default());
                let Attributes { headers, user, .. } = attributes(seed);
                let update = Update::Metadata { headers, user };
                let request = UpdateRequest {
                    epoch,
                    bucket: BUCKET,
                    key: key(name),
                    version: None,
                    update,
                    precondition,
                    seen: None,
                };
                match (self.target.update(request).await, self.state.get_mut(name)) {
                    (Ok(_), Some((_, named))) => *named = seed,
                    (Err(Error::NoSuchKey), None) => {}
                    (outcome, expected) => panic!("update of {name}: {outcome:?}, expected {}", expected.is_some()),
                }
            }
            _ => {
                delete(&self.target, BUCKET, name).await.expect("the disk is well");
                self.state.remove(name);
            }
        }
        self.answered.push((self.disk.moment(), self.state.clone()));
    }

    async fn append(&mut self, name: &str, seed: u64, size: usize) {
        let now = self.state.get(name).map_or(0, |(bytes, _)| bytes.len() as u64);
        let offset = if self.random.u64().is_multiple_of(5) { now + 1 } else { now };
        let request = PutRequest {
            epoch: self.target.epoch(),
            bucket: BUCKET,
            key: key(name),
            attributes: attributes(seed),
            precondition: Precondition::default(),
            length: Some(size as u64),
            algorithms: Vec::new(),
        };
        let mut writer = self.target.put(request).await.expect("the disk is well");
        let piece: Bytes = content(seed, size);
        writer.write(piece.clone()).await.expect("the disk is well");
        match writer.finish().await.expect("the disk is well").append(offset).await {
            Ok(outcome) => {
                assert_eq!(offset, now);
                let (bytes, _) = self.state.entry(name.to_owned()).or_insert((Vec::new(), seed));
                bytes.extend_from_slice(&piece);
                assert_eq!(outcome.size, bytes.len() as u64);
            }
            Err(Error::WrongOffset) => assert_ne!(offset, now),
            Err(error) => panic!("append to {name}: {error}"),
        }
    }

    async fn rename(&mut self, source: &str, name: &str) {
        if source == name {
            return;
        }
        let (epoch, precondition) = (self.target.epoch(), Precondition::default());
        let (source_key, name_key) = (key(source), key(name));
        let request = RenameRequest {
            epoch,
            bucket: BUCKET,
            source: source_key,
            source_stamp: None,
            key: name_key,
            precondition,
        };
        match (self.target.rename(request).await, self.state.remove(source)) {
            (Ok(_), Some(moved)) => drop(self.state.insert(name.to_owned(), moved)),
            (Err(Error::NoSuchKey), None) => {}
            (outcome, expected) => panic!("rename of {source}: {outcome:?}, expected {}", expected.is_some()),
        }
    }

    /// What is there does not depend on any of this.
    async fn disturb(&mut self) {
        match self.random.u64() % 4 {
            0 => {
                self.disk = self.disk.kill();
                self.target = open(&self.disk, &self.doors, OPTIONS, &[BUCKET]).await.expect("it opens");
            }
            1 => {
                self.target.shutdown().await.expect("a clean stop");
                for path in self.disk.files().iter().filter(|path| path.starts_with("index/")) {
                    self.disk.unlink(path).expect("in memory");
                }
                self.target = open(&self.disk, &self.doors, OPTIONS, &[BUCKET]).await.expect("it opens");
            }
            _ => {
                let store = Arc::clone(&self.target.disks()[0]);
                let compacted = tokio::task::spawn_blocking(move || store.rotate().and_then(|()| store.compact()));
                compacted.await.expect("it does not panic").expect("the disk is well");
            }
        }
        assert_eq!(seen(&self.target).await, self.state);
    }
}

async fn seen(target: &Target) -> State {
    let (prefix, delimiter, after) = (String::new(), None, After::Beginning);
    let request = ListRequest { bucket: BUCKET, prefix, delimiter, after, limit: 1000 };
    let mut state = State::new();
    for entry in target.list(request).await.expect("a listing").entries {
        let ListEntry::Object(object) = entry else { panic!("no delimiter was given") };
        let (bytes, seed) = read(target, BUCKET, &object.key).await.expect("it is sound").expect("it is listed");
        assert_eq!(bytes.len() as u64, object.size);
        state.insert(object.key, (bytes, seed));
    }
    for name in KEYS.iter().filter(|name| !state.contains_key(**name)) {
        assert_eq!(read(target, BUCKET, name).await.expect("nothing"), None);
    }
    state
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread")]
async fn disturbed_histories_are_those_of_a_map() {
    let first = setting("WEIR_SEED", 1);
    for seed in first..first + setting("WEIR_HISTORIES", 60) {
        println!("seed {seed}");
        let mut history = History::new(seed).await;
        for _ in 0..STEPS {
            history.step().await;
            if history.random.u64().is_multiple_of(6) {
                history.disturb().await;
            }
        }
        assert_eq!(seen(&history.target).await, history.state);
    }
}

/// The state after a cut is the one that was answered last before it, or that of the step that was under way.
#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_leave_whole_steps() {
    let first = setting("WEIR_SEED", 1);
    for seed in first..first + setting("WEIR_HISTORIES", 60) / 2 {
        println!("seed {seed}");
        let mut history = History::new(seed).await;
        for _ in 0..STEPS {
            history.step().await;
        }
        let random = SeededRandom::new(seed);
        let (from, until) = (history.answered[0].0, history.disk.moment());
        let mut moments: Vec<usize> =
            (0..CUTS).map(|_| from + (random.u64() % (until - from + 1) as u64) as usize).collect();
        moments.sort_unstable();
        let mut cutter = history.disk.cutter(None);
        for moment in moments {
            let disk = cutter.cut(moment, random.as_ref());
            let target = open(&disk, &history.doors, OPTIONS, &[BUCKET]).await.expect("it opens");
            let found = seen(&target).await;
            let last = history.answered.iter().rposition(|(answered, _)| *answered <= moment).expect("the first one");
            let under_way = history.answered.get(last + 1).map(|(_, state)| state);
            let is_whole = found == history.answered[last].1 || Some(&found) == under_way;
            assert!(is_whole, "moment {moment}: {:?}", found.keys());
        }
    }
}
