//! Power cuts on the simulated disk.
//!
//! A run drives the engine on a `TwinDisk` from several tasks at once, with kills and compactions in between, and notes at
//! which moment of the disk each mutation began and was acknowledged. Then the power is cut at random moments of that run:
//! the engine opens the image which the cut leaves, and every key must show its last acknowledged state, or one of those
//! that were on their way. A second cut hits the recovery itself. Last, each sync that the rules ask for is left out once:
//! the same check must then find a loss, or it proves nothing.

mod versions;

use crate::{Finished, Tally};
use anyhow::{Context, Result, bail, ensure};
use common::doors::SeededRandom;
use common::{BucketId, Random};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use storage::disk::SyncPoint;
use storage::disk::twin::{Cutter, TwinDisk};
use storage::store::{DiskOptions, Doors};
use storage::{Error, Precondition, Target};
use weir_model::{OPTIONS, Terms, complete, content, copy, create_upload, delete, doors, open, put, put_part, read};

const BUCKET: BucketId = BucketId(1);
const TASKS: usize = 6;
const KEYS_PER_TASK: usize = 5;
/// Lives of the process in one run; between two of them it is killed.
const LIVES: usize = 3;

/// Runs in which a missing sync may go unnoticed before the check counts as blind for it. What the index's pages lose shows in one
/// of thirty, as an index that is damaged is built anew.
const ATTEMPTS: u64 = 400;

/// What a key shows: pieces of (seed, size), or nothing.
type Seen = Option<Vec<(u64, usize)>>;

#[derive(Debug, Clone)]
struct Step {
    state: Seen,
    began: usize,
    /// `None` if the answer never came.
    acknowledged: Option<usize>,
}

/// The keys of one task.
struct Keys {
    plain: Vec<Key>,
    versioned: Vec<versions::Key>,
}

struct Key {
    name: String,
    /// In order: a task does one thing after the other.
    steps: Vec<Step>,
}

impl Key {
    fn current(&self) -> Seen {
        self.steps.last().and_then(|step| step.state.clone())
    }

    /// What may be there after a cut at `moment`.
    fn allowed(&self, moment: usize) -> Vec<Seen> {
        let durable = self.steps.iter().rposition(|step| step.acknowledged.is_some_and(|at| at <= moment));
        let base = durable.and_then(|at| self.steps[at].state.clone());
        let later = self.steps[durable.map_or(0, |at| at + 1)..].iter().filter(|step| step.began <= moment);
        std::iter::once(base).chain(later.map(|step| step.state.clone())).collect()
    }
}

/// One run of the engine, ready to be cut.
struct Run {
    disk: TwinDisk,
    doors: Doors,
    keys: Vec<Key>,
    versioned: Vec<versions::Key>,
    /// Moments after which little time is left to lose what a restart or a compaction did.
    delicate: Vec<usize>,
    end: usize,
}

struct Sizes {
    runs: u64,
    steps_per_life: u64,
    cuts_per_run: u64,
}

pub fn run(seed: u64, short: bool) -> Result<Finished> {
    let sizes = if short {
        Sizes { runs: 4, steps_per_life: 60, cuts_per_run: 12 }
    } else {
        Sizes { runs: 50, steps_per_life: 140, cuts_per_run: 24 }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let mut tally = Tally::default();
        let mut cuts = 0;
        for number in 0..sizes.runs {
            let run_seed = seed.wrapping_add(number);
            let run =
                drive(run_seed, sizes.steps_per_life).await.with_context(|| format!("run with seed {run_seed}"))?;
            let found = cut_run(&run, run_seed, sizes.cuts_per_run, None).await;
            if found.lost + found.wrong > 0 {
                println!("twin: seed {run_seed}: lost {}, wrong {}", found.lost, found.wrong);
            }
            tally += found;
            cuts += sizes.cuts_per_run;
        }
        println!("twin: {} runs, {cuts} power cuts, each recovery cut once more", sizes.runs);
        mutations(seed, &sizes).await?;
        let acknowledged_min = if short { 1000 } else { 100_000 };
        Ok(Finished { tally, acknowledged_min })
    })
}

/// Leaves each sync of the rules out once; every time the check must turn red.
async fn mutations(seed: u64, sizes: &Sizes) -> Result<()> {
    let mut blind = Vec::new();
    for point in SyncPoint::REQUIRED {
        let mut red = None;
        for attempt in 0..ATTEMPTS {
            let run_seed = seed.wrapping_add(1000 + attempt);
            let run = drive(run_seed, sizes.steps_per_life).await?;
            let found = cut_run(&run, run_seed, sizes.cuts_per_run.max(24), Some(point)).await;
            if found.lost + found.wrong > 0 {
                red = Some((attempt + 1, found));
                break;
            }
        }
        match red {
            Some((runs, found)) => {
                println!("twin: without {point:?}: lost {}, wrong {} (run {runs}): red", found.lost, found.wrong);
            }
            None => {
                println!("twin: without {point:?}: nothing lost: NOT SEEN");
                blind.push(point);
            }
        }
    }
    for point in SyncPoint::DERIVED {
        let run = drive(seed.wrapping_add(2000), sizes.steps_per_life).await?;
        let found = cut_run(&run, seed.wrapping_add(2000), sizes.cuts_per_run, Some(point)).await;
        println!("twin: without {point:?}: lost {}, wrong {} (it protects nothing)", found.lost, found.wrong);
        ensure!(found.lost + found.wrong == 0, "something rests on {point:?}");
    }
    ensure!(blind.is_empty(), "the check does not see that these syncs are missing: {blind:?}");
    Ok(())
}

/// The work of one run.
async fn drive(seed: u64, steps_per_life: u64) -> Result<Run> {
    let mut disk = TwinDisk::default();
    let doors = doors(seed, &Arc::new(Terms::default()));
    let random = SeededRandom::new(seed ^ 0xc0ffee);
    let plain = |task, number| Key { name: format!("task-{task}/key-{number}"), steps: Vec::new() };
    let mut keys: Vec<Keys> = (0..TASKS)
        .map(|task| Keys {
            plain: (0..KEYS_PER_TASK).map(|number| plain(task, number)).collect(),
            versioned: (0..versions::KEYS_PER_TASK).map(|number| versions::Key::new(task, number)).collect(),
        })
        .collect();
    let delicate = Arc::new(Mutex::new(Vec::new()));
    for life in 0..LIVES {
        let target = open(&disk, &doors, OPTIONS, &[BUCKET]).await.context("open")?;
        versions::tell(&target).await.context("a bucket with versions")?;
        for keys in &mut keys {
            observe(&disk, &target, &mut keys.plain).await?;
            for key in &mut keys.versioned {
                key.observe(&target, &disk).await.context("what a restart shows")?;
            }
        }
        lock(&delicate).push(disk.moment());
        // All but the last life end by a kill in the middle of the work.
        let kill_after = (life + 1 < LIVES).then(|| steps_per_life * TASKS as u64 * (50 + random.u64() % 50) / 100);
        let done = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for (number, own) in keys.into_iter().enumerate() {
            let worker = Worker {
                random: SeededRandom::new(seed ^ ((life * TASKS + number) as u64) << 32),
                disk: disk.clone(),
                target: Arc::clone(&target),
                keys: own,
                done: Arc::clone(&done),
                delicate: (number == 0).then(|| Arc::clone(&delicate)),
            };
            tasks.push(tokio::spawn(worker.work(steps_per_life)));
        }
        if let Some(kill_after) = kill_after {
            while done.load(Ordering::Relaxed) < kill_after && !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            if random.u64().is_multiple_of(2) {
                // In the moment when a batch is written but not synced.
                disk.kill_before(SyncPoint::Batch);
                while disk.is_alive() && !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
            disk = disk.kill();
            // A killed process has no thread that would try again.
            target.disks()[0].health.set_stopping_hard();
        }
        keys = Vec::new();
        for task in tasks {
            keys.push(task.await.context("a task panicked")??);
        }
        if kill_after.is_none() {
            target.shutdown().await.context("a clean stop")?;
        }
    }
    let end = disk.moment();
    let delicate = lock(&delicate).clone();
    let (mut plain, mut versioned) = (Vec::new(), Vec::new());
    for keys in keys {
        plain.extend(keys.plain);
        versioned.extend(keys.versioned);
    }
    Ok(Run { disk, doors, keys: plain, versioned, delicate, end })
}

/// What a restart shows is a promise too: nobody may see it and lose it afterwards.
async fn observe(disk: &TwinDisk, target: &Target, keys: &mut [Key]) -> Result<()> {
    for key in keys {
        let began = disk.moment();
        let allowed = key.allowed(usize::MAX);
        let Some(state) = shows(target, &key.name, &allowed).await else {
            bail!("{} shows none of its states after a kill", key.name);
        };
        key.steps.push(Step { state, began, acknowledged: Some(disk.moment()) });
    }
    Ok(())
}

/// Which of the allowed states a key shows; `None` if it is none of them.
async fn shows(target: &Target, name: &str, allowed: &[Seen]) -> Option<Seen> {
    let found = read(target, BUCKET, name).await.ok()?;
    let is = |state: &&Seen| match (&found, state) {
        (None, None) => true,
        (Some((bytes, _)), Some(pieces)) => {
            let wanted: Vec<u8> = pieces.iter().flat_map(|(seed, size)| content(*seed, *size)).collect();
            *bytes == wanted
        }
        _ => false,
    };
    allowed.iter().find(is).cloned()
}

struct Worker {
    random: Arc<SeededRandom>,
    disk: TwinDisk,
    target: Arc<Target>,
    keys: Keys,
    done: Arc<AtomicU64>,
    /// One of them compacts as well, and notes when.
    delicate: Option<Arc<Mutex<Vec<usize>>>>,
}

impl Worker {
    async fn work(mut self, steps: u64) -> Result<Keys> {
        for number in 0..steps {
            if let Some(delicate) = self.delicate.as_ref().filter(|_| number % 40 == 39) {
                // A kill may hit it: then it is one more thing to recover from.
                self.compact().await.ok();
                lock(delicate).push(self.disk.moment());
            }
            match self.step().await {
                Ok(()) => {}
                // Killed: the rest of this life does not happen.
                Err(
                    Error::OutcomeUnknown(_)
                    | Error::DiskFailed(_)
                    | Error::Stopping
                    | Error::IndexRebuilding
                    | Error::IndexBroken(_)
                    | Error::Io { .. },
                ) => break,
                Err(error) => return Err(anyhow::Error::from(error).context("a step")),
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.keys)
    }

    async fn compact(&self) -> storage::Result<()> {
        let disk = Arc::clone(&self.target.disks()[0]);
        let compacting = tokio::task::spawn_blocking(move || {
            disk.rotate()?;
            disk.checkpoint()?;
            while disk.compact()? {}
            Ok(())
        });
        compacting.await.unwrap_or(Err(Error::Stopping))
    }

    async fn step(&mut self) -> storage::Result<()> {
        let at = (self.random.u64() % (KEYS_PER_TASK + versions::KEYS_PER_TASK) as u64) as usize;
        if let Some(versioned) = at.checked_sub(KEYS_PER_TASK) {
            return self.keys.versioned[versioned].step(&self.target, &self.disk, self.random.as_ref()).await;
        }
        let name = self.keys.plain[at].name.clone();
        let seed = self.random.u64();
        match self.random.u64() % 20 {
            0..10 => {
                let size = (seed % 2048) as usize;
                self.begin(at, Some(vec![(seed, size)]));
                put(&self.target, BUCKET, &name, seed, size, Precondition::default()).await?;
            }
            10..14 => {
                let size = 2049 + (seed % 60_000) as usize;
                self.begin(at, Some(vec![(seed, size)]));
                put(&self.target, BUCKET, &name, seed, size, Precondition::default()).await?;
            }
            14..17 => {
                self.begin(at, None);
                delete(&self.target, BUCKET, &name).await?;
            }
            17..19 => {
                let from = (self.random.u64() % KEYS_PER_TASK as u64) as usize;
                let Some(state) = self.keys.plain[from].current() else { return Ok(()) };
                let source = self.keys.plain[from].name.clone();
                self.begin(at, Some(state));
                copy(&self.target, (BUCKET, &source), (BUCKET, &name)).await?;
            }
            _ => {
                let pieces = vec![(seed, 5000), (seed ^ 1, 70_000), (seed ^ 2, 100)];
                self.begin(at, Some(pieces.clone()));
                let upload = create_upload(&self.target, BUCKET, &name, seed).await?;
                let mut parts = Vec::new();
                for (number, piece) in pieces.into_iter().enumerate() {
                    let part = number as u16 + 1;
                    parts.push((part, put_part(&self.target, BUCKET, &name, upload, part, piece).await?));
                }
                complete(&self.target, BUCKET, &name, upload, &parts).await?;
            }
        }
        let acknowledged = self.disk.moment();
        self.keys.plain[at].steps.last_mut().expect("begun above").acknowledged = Some(acknowledged);
        Ok(())
    }

    fn begin(&mut self, at: usize, state: Seen) {
        let began = self.disk.moment();
        self.keys.plain[at].steps.push(Step { state, began, acknowledged: None });
    }
}

/// Cuts a run at random moments and looks at every image.
async fn cut_run(run: &Run, seed: u64, cuts: u64, without: Option<SyncPoint>) -> Tally {
    let random = SeededRandom::new(seed ^ 0xcafe);
    let below = |bound: usize| (random.u64() % bound.max(1) as u64) as usize;
    let moment = |number: u64| match number % 2 {
        0 => below(run.end),
        _ => (run.delicate[below(run.delicate.len())] + below(30)).min(run.end),
    };
    let mut moments: Vec<usize> = (0..cuts).map(moment).collect();
    moments.sort_unstable();
    // The last one is the end of the run, so that every acknowledgement is asked for once.
    moments.pop();
    moments.push(run.end);
    let acknowledged = run.keys.iter().flat_map(|key| &key.steps).filter(|step| step.acknowledged.is_some()).count();
    let of_versions: usize = run.versioned.iter().map(versions::Key::acknowledged).sum();
    let mut tally = Tally { acknowledged: (acknowledged + of_versions) as u64, ..Tally::default() };
    let mut cutter = run.disk.cutter(without);
    for moment in moments {
        let image = cutter.cut(moment, random.as_ref());
        // The run formatted the disk; before that there is nothing to lose.
        tally += check_image(run, &image, moment, without).await;
        // Once more, in the middle of the recovery that this check was.
        let mut again: Cutter = image.cutter(without);
        let second = again.cut((random.u64() % (image.moment() as u64 + 1)) as usize, random.as_ref());
        tally += check_image(run, &second, moment, without).await;
    }
    tally
}

/// Opens what a cut left, and asks for every key.
async fn check_image(run: &Run, image: &TwinDisk, moment: usize, without: Option<SyncPoint>) -> Tally {
    let mut tally = Tally::default();
    // With a sync left out it is meant to go wrong.
    let report = |text: &str| {
        if without.is_none() {
            report(text)
        }
    };
    let options = DiskOptions { background_work: false, ..OPTIONS };
    let expects_something = run.keys.iter().any(|key| key.allowed(moment).iter().all(Option::is_some))
        || run.versioned.iter().any(|key| key.expects_something(moment));
    let opened = match open(image, &run.doors, options, &[BUCKET]).await {
        Ok(target) => versions::tell(&target).await.map(|()| target),
        Err(error) => Err(error),
    };
    let target = match opened {
        Ok(target) => target,
        Err(error) => {
            if expects_something {
                report(&format!("it does not open: {error}"));
                tally.lost += 1;
            }
            return tally;
        }
    };
    for key in &run.keys {
        let allowed = key.allowed(moment);
        if shows(&target, &key.name, &allowed).await.is_some() {
            continue;
        }
        // Something acknowledged that is gone is lost; everything else is an answer that no history gives.
        match read(&target, BUCKET, &key.name).await {
            Ok(None) => tally.lost += 1,
            Ok(Some((bytes, seed))) => {
                report(&format!("{} at {moment}: {} bytes of seed {seed}, allowed {allowed:?}", key.name, bytes.len()));
                tally.wrong += 1;
            }
            Err(error) => {
                report(&format!("{} at {moment}: {error}, allowed {allowed:?}", key.name));
                tally.wrong += 1;
            }
        }
    }
    for key in &run.versioned {
        tally += key.check(&target, moment, without.is_some()).await;
    }
    target.disks()[0].health.set_stopping_hard();
    tally
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Says a thing that went wrong once, and not a thousand of them.
fn report(text: &str) {
    static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut reported = lock(&REPORTED);
    if !reported.iter().any(|known| known == text) && reported.len() < 20 {
        println!("twin: {text}");
        reported.push(text.to_owned());
    }
}
