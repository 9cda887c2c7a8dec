//! Power cuts of the real server on real file systems.
//!
//! A round records first: the server under mixed load, with kills and restarts in between, on a file system whose disk
//! logs every request. Then the power is cut at moments of that log: the disk has everything up to the last flush, and of
//! the later writes a random part, some of them torn. The file system is mounted, a server started on it, and every
//! key, upload and bucket must show its last acknowledged state, or one that was on its way.
//!
//! A check that never fails proves nothing: a last round of each file system cuts a disk that lies, one that loses what
//! it said was flushed, and must find losses.

pub mod faults;
pub mod history;
pub mod load;
pub mod log;
pub mod stack;

use crate::s3::Client;
use crate::server::{self, Server};
use crate::{Finished, Tally};
use anyhow::{Context, Result, ensure};
use common::Random;
use common::doors::SeededRandom;
use history::{History, Position};
use load::{BUCKET, Findings, Worker, bucket_state};
use log::{BlockLog, Cut, Survived};
use stack::{Daemon, FileSystem, Mounted, Scratch};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// What a round's load may make the disk log: a quick machine ends its load sooner.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Logs, bases and the images of the cuts in work.
const SCRATCH_BYTES_MAX: u64 = LOG_BYTES_MAX + (CHECKERS as u64 + 3) * DISK_BYTES;
const WORKERS: u64 = 4;
const PAUSE_MS_MAX: u64 = 25;
/// Small segments, so that many are sealed and compacted in a minute.
const SEGMENT_BYTES: u64 = 2 * 1024 * 1024;
/// Images that are checked at the same time.
const CHECKERS: usize = 2;
/// Images that are kept of a round with losses.
const KEPT_MAX: usize = 3;
/// What the disk of the self-check loses: the last so many flushes and all since.
const LYING_FLUSHES: usize = 100;
const LYING_CUTS: usize = 3;

pub struct Options {
    pub seed: u64,
    pub short: bool,
    pub file_systems: Vec<FileSystem>,
    pub cuts: usize,
    /// The disk forgets so many flushes that it said were done: the check must find losses.
    pub lying_flushes: usize,
}

impl Options {
    /// How long the load of each life of the server lasts. A checkpoint is made every 30 s, a compaction every 10 s.
    fn lives(&self) -> &'static [Duration] {
        const LONG: [Duration; 3] = [Duration::from_secs(36), Duration::from_secs(14), Duration::from_secs(18)];
        const SHORT: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(3), Duration::from_secs(3)];
        if self.short { &SHORT } else { &LONG }
    }
}

pub fn run(options: &Options) -> Result<Finished> {
    let binary = server::binary()?;
    let mut tally = Tally::default();
    for &file_system in &options.file_systems {
        let scratch = Scratch::new(SCRATCH_BYTES_MAX)?;
        tally += Round { binary: &binary, file_system, scratch: &scratch, options }.run()?;
    }
    let acknowledged_min = 10 * options.file_systems.len() as u64 * options.lives().len() as u64;
    Ok(Finished { tally, acknowledged_min })
}

/// The server with a round's settings, bound to this thread.
pub fn start_server(binary: &Path, data: &Path, log: &Path) -> Result<Server> {
    let mut command: Command = stack::bound_to_us(binary);
    command.env("WEIR_STORAGE__SEGMENT_BYTES", SEGMENT_BYTES.to_string());
    Server::spawn_as(command, data, log)
}

pub fn client(server: &mut Server) -> Result<Client> {
    Ok(Client::new(server.address()?, server::ACCESS_KEY, server::SECRET_KEY))
}

pub fn clients(server: &mut Server, count: usize) -> Result<Vec<Client>> {
    (0..count).map(|_| client(server)).collect()
}

/// A copy that has holes where the original has.
fn copy_image(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").args(["--reflink=auto", "--sparse=auto"]).arg(from).arg(to).status()?;
    ensure!(status.success(), "cp of {} ended: {status}", from.display());
    Ok(())
}

struct Round<'a> {
    binary: &'a Path,
    file_system: FileSystem,
    scratch: &'a Scratch,
    options: &'a Options,
}

/// What a round has before the first cut.
struct Recorded {
    /// The disk as it was formatted.
    base: PathBuf,
    log: BlockLog,
    workers: Vec<Worker>,
    bucket: History,
    /// Segments of the log, at the ends of the server's lives, that are compaction's work.
    compacted: usize,
}

/// What the checks of many cuts found, together.
#[derive(Default)]
struct Checked {
    cuts: usize,
    lost: u64,
    wrong: u64,
    unmountable: u64,
    kept: usize,
    survived: Survived,
}

/// An image whose power was cut.
struct Image {
    path: PathBuf,
    number: usize,
    cut: Cut,
    /// What was acknowledged up to here must be there.
    position: Position,
}

impl Round<'_> {
    /// Then losses are what is expected, and not told one by one.
    fn is_lying(&self) -> bool {
        self.options.lying_flushes > 0
    }

    fn run(&self) -> Result<Tally> {
        let start = Instant::now();
        let name = self.file_system.name();
        let recorded = self.record()?;
        let acknowledged: u64 = recorded.workers.iter().map(|worker| worker.acknowledged).sum();
        let flushes = recorded.log.entries.iter().filter(|entry| entry.is_flush()).count();
        let entries = recorded.log.entries.len();
        println!(
            "power cut, {name}: {acknowledged} acknowledged, {entries} log entries, {flushes} flushes, {} compacted segments in {} s",
            recorded.compacted,
            start.elapsed().as_secs()
        );
        ensure!(self.options.short || recorded.compacted > 0, "nothing was compacted: the cuts say nothing about it");
        let random = SeededRandom::new(self.options.seed ^ 0xc07);
        let cuts = log::choose_cuts(&recorded.log.entries, self.options.cuts, random.as_ref());
        ensure!(cuts.len() == self.options.cuts, "{flushes} flushes are too few for {} cuts", self.options.cuts);
        let checked = self.check_cuts(&recorded, &cuts, self.options.lying_flushes)?;
        if !self.is_lying() {
            self.check_the_check(&recorded, &cuts)?;
        }
        let mut tally = Tally { acknowledged, lost: checked.lost, wrong: checked.wrong + checked.unmountable };
        for worker in &recorded.workers {
            for finding in worker.findings.lost.iter().chain(&worker.findings.wrong) {
                println!("power cut, {name}: {finding}");
            }
            tally.lost += worker.findings.lost.len() as u64;
            tally.wrong += worker.findings.wrong.len() as u64;
        }
        let Survived { of, whole, torn } = checked.survived;
        println!(
            "power cut, {name}: {} cuts, of {of} unflushed writes {whole} survived and {torn} were torn, {} did not mount, \
             lost {}, wrong {} in {} s",
            checked.cuts,
            checked.unmountable,
            checked.lost,
            checked.wrong,
            start.elapsed().as_secs()
        );
        Ok(tally)
    }

    fn record(&self) -> Result<Recorded> {
        let file = |name: &str| self.scratch.path().join(format!("{}.{name}", self.file_system.name()));
        let (disk, base, log_path) = (file("disk"), file("base"), file("log"));
        File::create(&disk)?.set_len(DISK_BYTES)?;
        self.file_system.make(&disk)?;
        copy_image(&disk, &base)?;
        let daemon = Daemon::start(&disk, Some(&log_path))?;
        let mounted = Mounted::new(self.file_system, daemon.export(), &file("mounted"))?;
        let data = mounted.path().join("data");

        let random = SeededRandom::new(self.options.seed);
        let mut workers: Vec<_> = (0..WORKERS).map(|number| Worker::new(number, random.u64())).collect();
        let mut bucket = History::default();
        let mut compacted = 0;
        let now = || std::fs::metadata(&log_path).map_or(0, |log| log.len());
        for (life, &duration) in self.options.lives().iter().enumerate() {
            let mut server = start_server(self.binary, &data, &file("server-log"))?;
            let mut client = client(&mut server)
                .with_context(|| format!("life {life}: {}", server::tail_of(&file("server-log"))))?;
            if life == 0 {
                let began = now();
                let answer = client.put(BUCKET, "", &[], &[])?;
                ensure!(answer.is_success(), "creating the bucket answered {}", answer.status);
                bucket.acknowledge(bucket_state(BUCKET), began, now());
            }
            for worker in &mut workers {
                worker.observe(&mut client, &now)?;
            }
            let clients = clients(&mut server, workers.len())?;
            let end = if life == 1 { Server::stop } else { Server::kill };
            // The first life is the longest, and leaves room for the others.
            let log_bytes_max = LOG_BYTES_MAX / 4 * (life as u64 + 2);
            let until = || now() < log_bytes_max;
            under_load(&mut workers, clients, &now, duration, until, || end(server))?;
            compacted += count_compacted(&data.join("log"))?;
        }
        mounted.unmount()?;
        daemon.stop()?;
        let log = BlockLog::open(&log_path)?;
        check_log(&log, &base, &disk)?;
        std::fs::remove_file(&disk)?;
        Ok(Recorded { base, log, workers, bucket, compacted })
    }

    /// Makes the images one after the other, each from what the one before had for certain, and has them checked side by
    /// side. A lying disk has not even what it said was flushed, up to so many flushes back.
    fn check_cuts(&self, recorded: &Recorded, cuts: &[Cut], lying_flushes: usize) -> Result<Checked> {
        let base = self.scratch.path().join("base");
        copy_image(&recorded.base, &base)?;
        let base_file = File::options().read(true).write(true).open(&base)?;
        let mut replayed = 0;
        let checked = Mutex::new(Checked::default());
        let (sender, images) = mpsc::sync_channel::<Image>(0);
        let images = Mutex::new(images);
        let outcome = std::thread::scope(|scope| -> Result<()> {
            for checker in 0..CHECKERS {
                let (images, checked) = (&images, &checked);
                scope.spawn(move || {
                    loop {
                        let next = images.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(image) = next else { break };
                        self.check(recorded, checker, &image, checked);
                    }
                });
            }
            let sender = sender;
            for (number, &chosen) in cuts.iter().enumerate() {
                let cut = if lying_flushes > 0 { lied_about(&recorded.log, chosen, lying_flushes) } else { chosen };
                recorded.log.replay(replayed..cut.flushed, &base_file)?;
                replayed = cut.flushed;
                let path = self.scratch.path().join(format!("cut-{number}"));
                copy_image(&base, &path)?;
                let random = SeededRandom::new(self.options.seed.wrapping_mul(1_000_003) + number as u64);
                let file = File::options().write(true).open(&path)?;
                let survived = recorded.log.replay_unflushed(&cut, &file, random.as_ref())?;
                {
                    let mut checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
                    checked.survived.of += survived.of;
                    checked.survived.whole += survived.whole;
                    checked.survived.torn += survived.torn;
                }
                let position = recorded.log.position(chosen.at);
                sender.send(Image { path, number, cut: chosen, position }).context("the checkers are gone")?;
            }
            Ok(())
        });
        std::fs::remove_file(&base)?;
        outcome?;
        Ok(checked.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Mounts an image, starts a server on it, and compares. Prints what is not right, and keeps the image then.
    fn check(&self, recorded: &Recorded, checker: usize, image: &Image, checked: &Mutex<Checked>) {
        let name = self.file_system.name();
        let mount = self.scratch.path().join(format!("checker-{checker}"));
        let log = self.scratch.path().join(format!("server-{checker}.log"));
        let _ = std::fs::remove_file(&log);
        let found = Mounted::new(self.file_system, &image.path, &mount).map(|mounted| {
            let found = self.serve_and_compare(recorded, &mounted, &log, image.position);
            (found, mounted.unmount())
        });
        let mut checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.cuts += 1;
        let mut complaints = Vec::new();
        match found {
            Err(error) => {
                checked.unmountable += 1;
                complaints.push(format!("does not mount: {error:#}"));
            }
            Ok((found, unmounted)) => {
                match found {
                    Ok(Findings { lost, wrong }) => {
                        checked.lost += lost.len() as u64;
                        checked.wrong += wrong.len() as u64;
                        complaints.extend(lost.into_iter().map(|what| format!("lost: {what}")));
                        complaints.extend(wrong.into_iter().map(|what| format!("wrong: {what}")));
                    }
                    Err(error) => {
                        checked.wrong += 1;
                        complaints.push(format!("wrong: {error:#}\n{}", server::tail_of(&log)));
                    }
                }
                if let Err(error) = unmounted {
                    checked.wrong += 1;
                    complaints.push(format!("wrong: {error:#}"));
                }
            }
        }
        if !self.is_lying() && !complaints.is_empty() {
            let (seed, Cut { at, flushed, survival_percent, tears_last }) = (self.options.seed, image.cut);
            println!(
                "power cut, {name}: cut {} at entry {at} (flushed {flushed}, {survival_percent} % survive, last torn \
                 {tears_last}, seed {seed}):",
                image.number
            );
            for complaint in complaints.iter().take(10) {
                println!("    {complaint}");
            }
            if checked.kept < KEPT_MAX
                && let Ok(kept) = keep(&image.path, &format!("{name}-cut-{}-seed-{seed}", image.number))
            {
                checked.kept += 1;
                println!("    the image is kept: {}", kept.display());
            }
        }
        let _ = std::fs::remove_file(&image.path);
    }

    fn serve_and_compare(&self, recorded: &Recorded, mounted: &Mounted, log: &Path, cut: Position) -> Result<Findings> {
        let mut server = start_server(self.binary, &mounted.path().join("data"), log)?;
        let mut client = client(&mut server).context("the server does not start")?;
        let found = load::verify(&mut client, &recorded.workers, &recorded.bucket, cut);
        server.kill()?;
        found
    }

    /// Cuts a disk that lies: unless that is found, nothing else is proved.
    fn check_the_check(&self, recorded: &Recorded, cuts: &[Cut]) -> Result<()> {
        let late: Vec<Cut> = cuts.iter().rev().take(LYING_CUTS).rev().copied().collect();
        let quiet = Options { file_systems: Vec::new(), lying_flushes: LYING_FLUSHES, ..*self.options };
        let checked = Round { options: &quiet, ..*self }.check_cuts(recorded, &late, LYING_FLUSHES)?;
        println!(
            "power cut, {}: a disk that loses its last {LYING_FLUSHES} flushes: {} lost, {} wrong in {} cuts, as it must be",
            self.file_system.name(),
            checked.lost,
            checked.wrong,
            checked.cuts
        );
        ensure!(checked.lost > 0, "a disk that loses flushed writes is not found out: the check is blind");
        Ok(())
    }
}

/// Segments that took the place of others: the generation in their names is not 0.
fn count_compacted(log: &Path) -> Result<usize> {
    let mut count = 0;
    for file in std::fs::read_dir(log)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let generation = name.strip_suffix(".tar").and_then(|name| name.split_once('.')).map(|(_, number)| number);
        count += usize::from(generation.is_some_and(|number| number.parse::<u16>().is_ok_and(|number| number > 0)));
    }
    Ok(count)
}

/// The whole log, repeated, gives the disk, or no cut means anything.
fn check_log(log: &BlockLog, base: &Path, disk: &Path) -> Result<()> {
    let again = disk.with_extension("again");
    copy_image(base, &again)?;
    log.replay(0..log.entries.len(), &File::options().write(true).open(&again)?)?;
    let compared = Command::new("cmp").arg(disk).arg(&again).status()?;
    std::fs::remove_file(again)?;
    ensure!(compared.success(), "the log, repeated, does not give the disk");
    Ok(())
}

/// The moment so many flushes earlier, of which nothing later is on the disk.
fn lied_about(log: &BlockLog, cut: Cut, flushes: usize) -> Cut {
    let earlier = (0..cut.flushed).rev().filter(|&entry| log.entries[entry].is_flush()).nth(flushes);
    let at = earlier.map_or(0, |flush| flush + 1);
    Cut { at, flushed: at, ..cut }
}

/// The evidence outlives the run.
fn keep(image: &Path, name: &str) -> Result<PathBuf> {
    let kept = tempfile::Builder::new().prefix("weir-power-failed-").tempdir()?.keep().join(name);
    copy_image(image, &kept)?;
    Ok(kept)
}

/// Lets all workers work for a while, and does to the server under their hands what ends it, if anything.
pub fn under_load(
    workers: &mut [Worker],
    clients: Vec<Client>,
    now: load::Now<'_>,
    duration: Duration,
    goes_on: impl Fn() -> bool,
    end: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (worker, client) in workers.iter_mut().zip(clients) {
            let stop = &stop;
            scope.spawn(move || worker.load(client, now, stop, PAUSE_MS_MAX));
        }
        let start = Instant::now();
        while start.elapsed() < duration && goes_on() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let ended = end();
        stop.store(true, Ordering::SeqCst);
        ended
    })
}
