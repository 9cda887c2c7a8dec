//! Listings of random sets of keys against a model of a few lines: every page, for page sizes 1, 2, 7, 999 and 1,000, all
//! delimiters and prefixes that the sets can hold, from every kind of place, and while others write.
//!
//! `WEIR_LISTING_SETS` sets how many sets (30 otherwise), `WEIR_SEED` where to begin; a failure names its seed.

use common::doors::SeededRandom;
use common::{BucketId, Random};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use storage::disk::twin::TwinDisk;
use storage::{After, ListEntry, ListRequest, Precondition, Target};
use weir_model::{OPTIONS, Terms, delete, doors, open, put};

const BUCKET: BucketId = BucketId(1);
/// Its keys stand on both sides of the tested bucket's.
const NEIGHBOURS: [BucketId; 2] = [BucketId(0), BucketId(2)];
const PAGE_SIZES: [usize; 5] = [1, 2, 7, 999, 1000];
const DELIMITERS: [&str; 6] = ["", "/", "//", "ab", "ü", "\u{10ffff}"];

/// What keys are made of: what sorts differently in UTF-8 and UTF-16, what URLs and rows treat specially, and delimiters.
const PIECES: [&str; 26] = [
    "a",
    "b",
    "ab",
    "A",
    "/",
    "/",
    "/",
    "//",
    "ü",
    "u\u{308}",
    "é",
    "\u{fffd}",
    "🦀",
    "\u{10ffff}",
    "\u{0}",
    "\u{1}",
    "\u{7f}",
    "\u{ff}",
    " ",
    "%",
    "+",
    "&",
    ".",
    "..",
    "~",
    "-",
];

struct Numbers(Arc<SeededRandom>);

impl Numbers {
    fn below(&self, bound: usize) -> usize {
        (self.0.u64() % bound as u64) as usize
    }

    fn one_of<'a>(&self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn key(&self) -> String {
        let mut key: String = (0..1 + self.below(6)).map(|_| self.one_of(&PIECES)).collect();
        match self.below(20) {
            0 => key.extend(std::iter::repeat_n('x', 1024 - key.len())),
            1 => key = "/".repeat(1 + self.below(1024)),
            2..5 => key.push('/'),
            _ => {}
        }
        key
    }

    fn keys(&self) -> BTreeSet<String> {
        let count = match self.below(20) {
            0 => 0,
            1 => 1,
            // More than the longest page.
            2 => 1001 + self.below(400),
            3 => 200 + self.below(300),
            _ => 1 + self.below(40),
        };
        let mut keys = BTreeSet::new();
        while keys.len() < count {
            keys.insert(self.key());
        }
        keys
    }
}

/// The whole listing: objects, and common prefixes with the number of keys below them.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<(String, bool)> {
    let mut listed = BTreeMap::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let at = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
        match at {
            Some(at) => listed.insert(key[..prefix.len() + at + delimiter.len()].to_owned(), true),
            None => listed.insert(key.clone(), false),
        };
    }
    listed.into_iter().collect()
}

struct Case {
    target: Arc<Target>,
    prefix: String,
    delimiter: String,
    limit: usize,
    pages: Arc<AtomicU64>,
}

impl Case {
    /// All pages from a place to the end, as names and whether they are common prefixes.
    async fn walk(&self, mut after: After) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        loop {
            let request = ListRequest {
                bucket: BUCKET,
                prefix: self.prefix.clone(),
                delimiter: Some(self.delimiter.clone()).filter(|delimiter| !delimiter.is_empty()),
                after: after.clone(),
                limit: self.limit,
            };
            let page = self.target.list(request).await.expect("a page");
            self.pages.fetch_add(1, Ordering::Relaxed);
            let length = page.entries.len();
            assert!(if page.more { length == self.limit } else { length <= self.limit }, "a page of {length}");
            for entry in page.entries {
                after = match &entry {
                    ListEntry::Object(object) => After::Key(object.key.clone()),
                    ListEntry::Prefix(prefix) => After::Prefix(prefix.clone()),
                };
                found.push(match entry {
                    ListEntry::Object(object) => (object.key, false),
                    ListEntry::Prefix(prefix) => (prefix, true),
                });
            }
            if !page.more {
                return found;
            }
        }
    }
}

/// A prefix that some key has, or none has.
fn some_prefix(numbers: &Numbers, keys: &BTreeSet<String>) -> String {
    let Some(key) = keys.iter().nth(numbers.below(keys.len().max(1))) else { return String::new() };
    match numbers.below(4) {
        0 => String::new(),
        1 => numbers.one_of(&PIECES).to_owned(),
        _ => key.chars().take(numbers.below(key.chars().count() + 1)).collect(),
    }
}

/// What was compared.
#[derive(Default)]
struct Counts {
    pages: Arc<AtomicU64>,
    raced: Arc<AtomicU64>,
    writes: AtomicU64,
}

async fn run(seed: u64, counts: Arc<Counts>) {
    let numbers = Numbers(SeededRandom::new(seed));
    let disk = TwinDisk::default();
    let buckets = [NEIGHBOURS[0], BUCKET, NEIGHBOURS[1]];
    let target = open(&disk, &doors(seed, &Arc::new(Terms::default())), OPTIONS, &buckets).await.expect("a new disk");
    let keys = numbers.keys();
    for (count, key) in keys.iter().enumerate() {
        put(&target, BUCKET, key, 1, 0, Precondition::default()).await.expect("a put");
        if count < 5 {
            for neighbour in NEIGHBOURS {
                put(&target, neighbour, key, 1, 0, Precondition::default()).await.expect("a put");
            }
        }
        // Some rows in the store, some in the overlay, and in the middle of it all.
        if count % 64 == numbers.below(64) {
            let store = Arc::clone(&target.disks()[0]);
            tokio::task::spawn_blocking(move || store.checkpoint()).await.expect("no panic").expect("a checkpoint");
        }
    }
    // What is there and gone again leaves dead rows.
    for _ in 0..numbers.below(20) {
        let key = numbers.key();
        if !keys.contains(&key) {
            put(&target, BUCKET, &key, 1, 0, Precondition::default()).await.expect("a put");
            delete(&target, BUCKET, &key).await.expect("a delete");
        }
    }

    let sizes: &[usize] = if keys.len() > 100 { &PAGE_SIZES[2..] } else { &PAGE_SIZES };
    for delimiter in DELIMITERS {
        for prefix in ["".to_owned(), some_prefix(&numbers, &keys), some_prefix(&numbers, &keys)] {
            let expected = model(&keys, &prefix, delimiter);
            for &limit in sizes {
                let (target, pages) = (Arc::clone(&target), Arc::clone(&counts.pages));
                let case = Case { target, prefix: prefix.clone(), delimiter: delimiter.to_owned(), limit, pages };
                assert_eq!(case.walk(After::Beginning).await, expected, "prefix {prefix:?}, {delimiter:?}, {limit}");

                // From a key that may be there, and from behind a prefix.
                let from = if numbers.below(2) == 0 { numbers.key() } else { some_prefix(&numbers, &keys) };
                let later: BTreeSet<String> = keys.iter().filter(|key| **key > from).cloned().collect();
                let found = case.walk(After::Key(from.clone())).await;
                assert_eq!(found, model(&later, &prefix, delimiter), "after {from:?}, {prefix:?}, {delimiter:?}");
                let behind = later.into_iter().filter(|key| !key.starts_with(&from)).collect();
                let found = case.walk(After::Prefix(from.clone())).await;
                assert_eq!(found, model(&behind, &prefix, delimiter), "behind {from:?}, {prefix:?}, {delimiter:?}");
            }
        }
    }
    race(&numbers, &target, &keys, &counts).await;
    target.shutdown().await.expect("a clean stop");
}

/// Lists while others put, overwrite and delete. Keys that are there throughout must all appear, once, in order; what is
/// written meanwhile may.
async fn race(numbers: &Numbers, target: &Arc<Target>, keys: &BTreeSet<String>, counts: &Counts) {
    let comers: BTreeSet<String> = (0..30).map(|_| numbers.key()).filter(|key| !keys.contains(key)).collect();
    let done = Arc::new(AtomicBool::new(false));
    let writer = |mine: Vec<String>, replaced: Vec<String>| {
        let (target, done) = (Arc::clone(target), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut turns, mut writes) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                for key in mine.iter().chain(&replaced) {
                    put(&target, BUCKET, key, 1, 0, Precondition::default()).await.expect("a put");
                }
                for key in &mine {
                    delete(&target, BUCKET, key).await.expect("a delete");
                }
                turns += 1;
                writes += 2 * mine.len() + replaced.len();
                if turns % 4 == 0 {
                    let store = Arc::clone(&target.disks()[0]);
                    tokio::task::spawn_blocking(move || store.checkpoint()).await.expect("no panic").expect("saved");
                }
            }
            writes as u64
        })
    };
    let (even, odd): (Vec<_>, Vec<_>) = comers.iter().cloned().enumerate().partition(|(index, _)| index % 2 == 0);
    let names = |half: Vec<(usize, String)>| half.into_iter().map(|(_, key)| key).collect::<Vec<_>>();
    let replaced: Vec<String> = keys.iter().filter(|_| numbers.below(4) == 0).take(20).cloned().collect();
    let writers = [writer(names(even), replaced), writer(names(odd), Vec::new())];

    let both: BTreeSet<String> = keys.union(&comers).cloned().collect();
    for turn in 0..6 {
        let limit = PAGE_SIZES[if keys.len() > 100 { 2 + turn % 3 } else { turn % 5 }];
        let (delimiter, prefix) = (numbers.one_of(&DELIMITERS), some_prefix(numbers, keys));
        let (target, counted) = (Arc::clone(target), Arc::clone(&counts.raced));
        let case = Case { target, prefix: prefix.clone(), delimiter: delimiter.to_owned(), limit, pages: counted };
        let found = case.walk(After::Beginning).await;
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "out of order or twice: {found:?}");
        let found: BTreeSet<_> = found.into_iter().collect();
        let throughout = model(keys, &prefix, delimiter);
        let missing: Vec<_> = throughout.iter().filter(|entry| !found.contains(*entry)).collect();
        assert!(missing.is_empty(), "prefix {prefix:?}, {delimiter:?}, {limit}: missing {missing:?}");
        let possible: BTreeSet<_> = model(&both, &prefix, delimiter).into_iter().collect();
        let strange: Vec<_> = found.difference(&possible).collect();
        assert!(strange.is_empty(), "prefix {prefix:?}, {delimiter:?}, {limit}: never there {strange:?}");
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        counts.writes.fetch_add(writer.await.expect("a writer never fails"), Ordering::Relaxed);
    }
    let (target, pages) = (Arc::clone(target), Arc::clone(&counts.pages));
    let case = Case { target, prefix: String::new(), delimiter: String::new(), limit: 999, pages };
    assert_eq!(case.walk(After::Beginning).await, model(keys, "", ""), "after the race");
}

#[test]
fn listings_agree_with_the_model() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (sets, first): (u64, u64) = (number("WEIR_LISTING_SETS", 30), number("WEIR_SEED", 1));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let counts = Arc::new(Counts::default());
    for seed in first..first + sets {
        let counts = Arc::clone(&counts);
        let outcome = runtime.block_on(async { tokio::spawn(run(seed, counts)).await });
        if let Err(error) = outcome {
            panic!("set {seed} disagrees: run it alone with WEIR_SEED={seed} WEIR_LISTING_SETS=1 ({error})");
        }
    }
    let [pages, raced, writes] =
        [&*counts.pages, &*counts.raced, &counts.writes].map(|count| count.load(Ordering::Relaxed));
    println!("{sets} sets: {pages} pages agree; {raced} pages during {writes} writes hold what they must");
    assert!(pages > 100 * sets && raced > sets && writes > sets, "too little was compared");
}
