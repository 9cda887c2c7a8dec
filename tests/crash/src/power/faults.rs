//! The real server on a real file system whose disk fails, fills up, or is slow.
//!
//! A disk that fails a sync takes no further write and says so; nothing acknowledged is lost once it is well again. A
//! read that fails is an error: never other bytes, never "not there". A full disk refuses with `InsufficientStorage`,
//! reads on, and takes writes again when there is space. A slow one answers `SlowDown`, and keeps its memory.

use super::history::{History, Position};
use super::load::{BUCKET, Findings, Worker, bucket_state, verify};
use super::stack::{Daemon, Fault, FileSystem, Mounted, Scratch};
use super::{client, clients, start_server, under_load};
use crate::judge::{Judgement, judge};
use crate::s3::Client;
use crate::server::{self, Server};
use crate::value::Value;
use crate::{Finished, Tally};
use anyhow::{Context, Result, ensure};
use common::Random;
use common::doors::SeededRandom;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 512 * 1024 * 1024;
const SCRATCH_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
const WORKERS: u64 = 3;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;
/// What is left free when the disk fills up under load: nothing, less than a block of the log, less than a batch, a part of the
/// reserve, all of it, and a little more.
const FREE_BYTES: [u64; 12] =
    [0, 4 * KIB, 64 * KIB, 256 * KIB, MIB, 2 * MIB, 3 * MIB, 6 * MIB, 20 * MIB, 64 * MIB, 68 * MIB, 80 * MIB];
const FREE_BYTES_SHORT: [u64; 3] = [0, 2 * MIB, 68 * MIB];
/// Of load under a fault: more than the time that an index which cannot be opened again is tried for.
const FAULT_ROUNDS_MAX: u32 = 20;
const WRITES_AGAIN_WITHIN: Duration = Duration::from_secs(30);
/// The slow disk, and who writes to it.
const SLOW_BYTES_PER_S: u64 = 1024 * 1024;
const SLOW_CLIENTS: usize = 800;
const SLOW_FOR: Duration = Duration::from_secs(15);
/// A long body has a step on its way and one that is being filled, 1 MiB each; an eighth of the clients send long ones. The rest
/// is what may wait for the committer, the overlay, and a debug build.
const RESIDENT_BYTES_MAX: u64 = 512 * MIB;

/// Nothing is cut here, so everything acknowledged counts.
const NO_POSITION: Position = 0;

fn nowhere() -> Position {
    NO_POSITION
}

pub struct Options {
    pub seed: u64,
    pub short: bool,
    pub file_systems: Vec<FileSystem>,
}

pub fn run(options: &Options) -> Result<Finished> {
    let binary = server::binary()?;
    let mut tally = Tally::default();
    for &file_system in &options.file_systems {
        let faults = [("fsync", Fault::Flush), ("write", Fault::Write)];
        for (name, fault) in faults {
            tally += Bench::new(&binary, file_system, options)?.disk_fails(name, fault)?;
        }
        tally += Bench::new(&binary, file_system, options)?.reads_fail()?;
        tally += Bench::new(&binary, file_system, options)?.disk_fills_up()?;
        if !options.short {
            tally += Bench::new(&binary, file_system, options)?.disk_is_slow()?;
        }
    }
    Ok(Finished { tally, acknowledged_min: 100 * options.file_systems.len() as u64 })
}

/// A server on a disk whose ways are ours.
struct Bench<'a> {
    binary: &'a Path,
    file_system: FileSystem,
    options: &'a Options,
    // In this order they go: the server before the mount, the mount before the daemon.
    server: Option<Server>,
    mounted: Option<Mounted>,
    daemon: Option<Daemon>,
    workers: Vec<Worker>,
    bucket: History,
    scratch: Scratch,
}

impl<'a> Bench<'a> {
    fn new(binary: &'a Path, file_system: FileSystem, options: &'a Options) -> Result<Self> {
        let scratch = Scratch::new(SCRATCH_BYTES_MAX)?;
        let image = scratch.path().join("disk.image");
        File::create(&image)?.set_len(DISK_BYTES)?;
        file_system.make(&image)?;
        let random = SeededRandom::new(options.seed ^ 0xfa17);
        let workers = (0..WORKERS).map(|number| Worker::new(number, random.u64())).collect();
        let (server, mounted, daemon, bucket) = (None, None, None, History::default());
        let mut bench = Self { binary, file_system, options, server, mounted, daemon, workers, bucket, scratch };
        bench.attach()?;
        bench.start()?;
        let answer = bench.client()?.put(BUCKET, "", &[], &[])?;
        ensure!(answer.is_success(), "creating the bucket answered {}", answer.status);
        bench.bucket.acknowledge(bucket_state(BUCKET), NO_POSITION, NO_POSITION);
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("mounted/data")
    }

    fn attach(&mut self) -> Result<()> {
        let daemon = Daemon::start(&self.path("disk.image"), None)?;
        self.mounted = Some(Mounted::new(self.file_system, daemon.export(), &self.path("mounted"))?);
        self.daemon = Some(daemon);
        Ok(())
    }

    /// With everything that any cache holds of the disk.
    fn detach(&mut self) -> Result<()> {
        self.mounted.take().context("mounted")?.unmount()?;
        self.daemon.take().context("running")?.stop()
    }

    fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("running")
    }

    fn start(&mut self) -> Result<()> {
        let mut server = start_server(self.binary, &self.data(), &self.path("server.log"))?;
        server.address().with_context(|| server::tail_of(&self.path("server.log")))?;
        self.server = Some(server);
        Ok(())
    }

    fn client(&mut self) -> Result<Client> {
        client(self.server.as_mut().context("running")?)
    }

    fn kill(&mut self) -> Result<()> {
        self.server.take().context("running")?.kill()
    }

    /// Load for a while on a server that goes on running.
    fn load(&mut self, duration: Duration) -> Result<()> {
        let server = self.server.as_mut().context("running")?;
        let clients = clients(server, self.workers.len())?;
        under_load(&mut self.workers, clients, &nowhere, duration, || true, || Ok(()))
    }

    /// The answers since the last time: status and how often.
    fn take_answers(&mut self) -> BTreeMap<u16, u64> {
        let mut all = BTreeMap::new();
        for worker in &mut self.workers {
            for (status, count) in std::mem::take(&mut worker.answers) {
                *all.entry(status).or_default() += count;
            }
        }
        all
    }

    fn acknowledged(&self) -> u64 {
        self.workers.iter().map(|worker| worker.acknowledged).sum()
    }

    /// Everything, as it must be when the disk is well.
    fn verify(&mut self, what: &str) -> Result<Tally> {
        let mut client = self.client()?;
        let found = verify(&mut client, &self.workers, &self.bucket, Position::MAX);
        let mut found = found.with_context(|| format!("{what}: {}", server::tail_of(&self.path("server.log"))))?;
        for worker in &mut self.workers {
            found.lost.append(&mut worker.findings.lost);
            found.wrong.append(&mut worker.findings.wrong);
            worker.observe(&mut client, &nowhere)?;
        }
        Ok(self.tell(what, &found))
    }

    fn tell(&self, what: &str, found: &Findings) -> Tally {
        let name = self.file_system.name();
        for (kind, findings) in [("lost", &found.lost), ("wrong", &found.wrong)] {
            for finding in findings.iter().take(10) {
                println!("{what}, {name}: {kind}: {finding}");
            }
        }
        Tally { acknowledged: 0, lost: found.lost.len() as u64, wrong: found.wrong.len() as u64 }
    }

    fn writes_again(&mut self) -> Result<Duration> {
        let mut client = self.client()?;
        let start = Instant::now();
        loop {
            let answer = client.put(BUCKET, "again", &[("x-amz-meta-sequence", "0")], b"again")?;
            if answer.is_success() {
                // No worker's key, so no listing may show it.
                ensure!(client.delete(BUCKET, "again")?.is_success(), "it cannot be deleted again");
                return Ok(start.elapsed());
            }
            ensure!(start.elapsed() < WRITES_AGAIN_WITHIN, "writes are still refused: {}", answer.status);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks for every key and compares, where an error of the server is an answer too. Gives how many there were of it.
    fn read_all(&mut self, findings: &mut Findings) -> Result<(u64, u64)> {
        let mut client = self.client()?;
        let (mut right, mut failed) = (0, 0);
        for (key, history) in self.workers.iter().flat_map(Worker::keys) {
            let allowed = history.allowed(Position::MAX);
            match client.get(BUCKET, key) {
                // A body that ends early is an error, as its client sees it.
                Err(_) => failed += 1,
                Ok(answer) if answer.status >= 500 => failed += 1,
                Ok(answer) => match judge(&answer, &allowed) {
                    Judgement::Is(_) => right += 1,
                    Judgement::Lost => findings.lost.push(format!("{key}: answered 404, may be {allowed:?}")),
                    Judgement::Wrong(what) => findings.wrong.push(format!("{key}: {what}, may be {allowed:?}")),
                },
            }
        }
        if let Ok(listed) = client.list(BUCKET, 100) {
            let certain = self.workers.iter().flat_map(Worker::keys);
            let certain = certain.filter(|(_, history)| matches!(history.certain(), Some(Some(_))));
            for (key, _) in certain.filter(|(key, _)| !listed.iter().any(|(listed, _)| listed == *key)) {
                findings.lost.push(format!("{key} is missing in a listing that was answered"));
            }
        }
        Ok((right, failed))
    }

    fn has_failed(&self) -> Result<bool> {
        Ok(std::fs::read_to_string(self.path("server.log"))?.contains("the disk failed"))
    }

    /// EIO for syncs or for writes, under load: no more writes, and nothing acknowledged is lost when the disk is well again.
    fn disk_fails(mut self, name: &str, fault: Fault) -> Result<Tally> {
        let what = format!("EIO on {name}");
        let seconds = if self.options.short { 2 } else { 6 };
        self.load(Duration::from_secs(seconds))?;
        self.take_answers();
        // On a busy machine a fault may have to wait for its first write. One flush fails and no more, and where that is the index's
        // or the control store's, the disk goes on, rightly: so it comes again.
        let mut answers = BTreeMap::<u16, u64>::new();
        for round in 0..FAULT_ROUNDS_MAX {
            if round == 0 || fault == Fault::Flush {
                self.daemon()?.fail(fault, None)?;
            }
            self.load(Duration::from_secs(seconds))?;
            for (status, count) in self.take_answers() {
                *answers.entry(status).or_default() += count;
            }
            if answers.contains_key(&500) && self.has_failed()? {
                break;
            }
        }
        ensure!(answers.contains_key(&500), "{what}: no write met the fault: {answers:?}");
        let has_failed = self.has_failed()?;
        let log = self.path("server.log");
        ensure!(has_failed, "{what}: the disk has not failed: {answers:?}, {}", server::tail_of(&log));
        let mut findings = Findings::default();
        let (right, failed) = self.read_all(&mut findings)?;
        let mut tally = self.tell(&what, &findings);
        // The disk is well again, and the server must not believe it.
        self.daemon()?.heal()?;
        let later = self.client()?.put(BUCKET, "later", &[], b"later")?;
        ensure!(later.status == 500, "{what}: a write after it answered {}", later.status);
        self.kill()?;
        self.detach()?;
        self.attach()?;
        self.start()?;
        tally += self.verify(&what)?;
        self.writes_again()?;
        tally.acknowledged = self.acknowledged();
        println!(
            "{what}, {}: {} acknowledged, answers {answers:?}, then {right} reads right and {failed} errors, lost {}, wrong {}",
            self.file_system.name(),
            tally.acknowledged,
            tally.lost,
            tally.wrong
        );
        Ok(tally)
    }

    /// EIO for reads: of one file's middle, then of the whole disk, then at a start.
    fn reads_fail(mut self) -> Result<Tally> {
        let what = "EIO on read";
        self.load(Duration::from_secs(if self.options.short { 2 } else { 6 }))?;
        self.server.take().context("running")?.stop()?;
        let mut tally = Tally::default();

        let sector = middle_of_largest(&self.data().join("data"))?;
        self.detach()?;
        self.attach()?;
        self.daemon()?.fail(Fault::Read, Some(sector))?;
        self.start()?;
        let mut findings = Findings::default();
        let (one_right, one_failed) = self.read_all(&mut findings)?;
        tally += self.tell(what, &findings);
        ensure!(one_failed >= 1, "{what}: nothing noticed that sector {sector} cannot be read");

        // Everything that the first look left in a cache goes.
        self.kill()?;
        self.detach()?;
        self.attach()?;
        self.start()?;
        self.daemon()?.fail(Fault::Read, None)?;
        let mut findings = Findings::default();
        let (right, failed) = self.read_all(&mut findings)?;
        tally += self.tell(what, &findings);
        ensure!(failed > 0, "{what}: nothing noticed that the disk cannot be read");
        self.daemon()?.heal()?;
        // The file system may not believe it: ext4 takes groups of blocks whose bitmap it could not read for full until it is
        // mounted anew, and an index that was to be built has no room. What is read is right, or an error.
        let mut findings = Findings::default();
        self.read_all(&mut findings)?;
        tally += self.tell(what, &findings);
        self.kill()?;
        self.detach()?;
        self.attach()?;
        self.start()?;
        tally += self.verify("EIO on read, healed")?;
        self.kill()?;
        self.detach()?;

        self.attach()?;
        self.daemon()?.fail(Fault::Read, None)?;
        let started = start_server(self.binary, &self.data(), &self.path("server.log")).and_then(|mut server| {
            let address = server.address();
            server.kill()?;
            address
        });
        self.daemon()?.heal()?;
        self.detach()?;
        self.attach()?;
        self.start()?;
        tally += self.verify("EIO on read at a start, healed")?;
        self.writes_again()?;
        tally.acknowledged = self.acknowledged();
        println!(
            "{what}, {}: {} acknowledged; of one sector: {one_right} right, {one_failed} errors; of all: {right} right, {failed} \
             errors; a start {}; lost {}, wrong {}",
            self.file_system.name(),
            tally.acknowledged,
            if started.is_ok() { "went through" } else { "was refused" },
            tally.lost,
            tally.wrong
        );
        Ok(tally)
    }

    /// A ballast file takes the space away under load, down to one of several ends, and gives it back.
    fn disk_fills_up(mut self) -> Result<Tally> {
        let what = "full disk";
        let free = if self.options.short { &FREE_BYTES_SHORT[..] } else { &FREE_BYTES[..] };
        let ballast = self.path("mounted/ballast");
        let mut tally = Tally::default();
        let mut refused = 0;
        let mut longest = Duration::ZERO;
        self.workers.iter_mut().for_each(Worker::leave_buckets_alone);
        for (step, &free) in free.iter().enumerate() {
            self.load(Duration::from_secs(1))?;
            self.take_answers();
            // While requests are on their way, so that each meets the end somewhere else.
            let path = ballast.clone();
            let filling = std::thread::spawn(move || fill(&path, free));
            self.load(Duration::from_secs(2))?;
            filling.join().map_err(|_| anyhow::anyhow!("the ballast panicked"))??;
            let answers = self.take_answers();
            refused += answers.get(&507).copied().unwrap_or(0);
            let unexpected: Vec<_> =
                answers.iter().filter(|(status, _)| ![200, 204, 404, 503, 507].contains(*status)).collect();
            if !unexpected.is_empty() {
                let errors: Vec<_> = self.workers.iter().filter_map(|worker| worker.unanswered.as_ref()).collect();
                let name = self.file_system.name();
                println!("{what}, {name}: with {free} bytes left: answers {unexpected:?}, {errors:?}");
                tally.wrong += unexpected.iter().map(|(_, count)| **count).sum::<u64>();
            }
            let mut findings = Findings::default();
            let (_, failed) = self.read_all(&mut findings)?;
            if failed > 0 {
                findings.wrong.push(format!("{failed} reads failed with {free} bytes left"));
            }
            tally += self.tell(what, &findings);
            if step % 3 == 2 {
                self.kill()?;
                self.start().with_context(|| format!("a start with {free} bytes left"))?;
                tally += self.verify("full disk after a kill")?;
            }
            std::fs::remove_file(&ballast)?;
            longest = longest.max(self.writes_again()?);
        }
        tally += self.verify(what)?;
        self.kill()?;
        self.start()?;
        tally += self.verify(what)?;
        ensure!(refused > 0, "{what}: it was never full");
        tally.acknowledged = self.acknowledged();
        println!(
            "{what}, {}: {} fill points, {} acknowledged, {refused} refused, writes again within {} ms, lost {}, wrong {}",
            self.file_system.name(),
            free.len(),
            tally.acknowledged,
            longest.as_millis(),
            tally.lost,
            tally.wrong
        );
        Ok(tally)
    }

    /// Far more clients than the disk has bytes for.
    fn disk_is_slow(mut self) -> Result<Tally> {
        let what = "slow disk";
        self.daemon()?.limit(SLOW_BYTES_PER_S, 0)?;
        let stop = AtomicBool::new(false);
        let (slow_down, other, resident) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let address = self.server.as_mut().context("running")?.address()?;
        let process = self.server.as_ref().context("running")?.id();
        let acknowledged: Vec<Value> = std::thread::scope(|scope| {
            let mut clients = Vec::new();
            for number in 0..SLOW_CLIENTS {
                let (stop, slow_down, other) = (&stop, &slow_down, &other);
                let client = Client::new(address, server::ACCESS_KEY, server::SECRET_KEY);
                // A small stack each: they have little to remember.
                let builder = std::thread::Builder::new().stack_size(256 * KIB as usize);
                clients.push(builder.spawn_scoped(scope, move || flood(client, number, stop, slow_down, other)));
            }
            let until = Instant::now() + SLOW_FOR;
            while Instant::now() < until {
                std::thread::sleep(Duration::from_millis(200));
                resident.fetch_max(resident_bytes(process), Ordering::Relaxed);
            }
            stop.store(true, Ordering::Relaxed);
            // Those who still wait are answered at the disk's full speed.
            let limited = self.daemon().and_then(|daemon| daemon.limit(0, 0));
            let values = clients.into_iter().filter_map(Result::ok).filter_map(|client| client.join().ok()).flatten();
            let values = values.collect();
            limited.map(|()| values)
        })?;
        let (slow_down, other) = (slow_down.into_inner(), other.into_inner());
        let resident_mib = resident.into_inner() / MIB;
        let mut tally = Tally { acknowledged: acknowledged.len() as u64, ..Tally::default() };
        self.kill()?;
        self.start()?;
        let mut client = self.client()?;
        for value in &acknowledged {
            let answer = client.get(BUCKET, &value.origin)?;
            match judge(&answer, &[Some(value.clone())]) {
                Judgement::Is(_) => {}
                Judgement::Lost => tally.lost += 1,
                Judgement::Wrong(what) => {
                    println!("slow disk: {}: {what}", value.origin);
                    tally.wrong += 1;
                }
            }
        }
        println!(
            "{what}, {}: {SLOW_CLIENTS} clients at {SLOW_BYTES_PER_S} bytes/s: {} acknowledged, {slow_down} SlowDown, {other} other \
             answers, {resident_mib} MiB resident at most, lost {}, wrong {}",
            self.file_system.name(),
            tally.acknowledged,
            tally.lost,
            tally.wrong
        );
        ensure!(slow_down > 0, "{what}: nobody was told to slow down");
        ensure!(other == 0, "{what}: {other} answers were neither success nor SlowDown");
        ensure!(resident_mib * MIB < RESIDENT_BYTES_MAX, "{what}: {resident_mib} MiB of memory");
        Ok(tally)
    }
}

/// One client of the flood: a new key with each request, half of them small, some long.
fn flood(mut client: Client, number: usize, stop: &AtomicBool, slow_down: &AtomicU64, other: &AtomicU64) -> Vec<Value> {
    let mut acknowledged = Vec::new();
    let bytes = if number.is_multiple_of(8) { 2 * MIB } else { 64 * KIB };
    for sequence in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let value = Value { origin: format!("slow-{number}-{sequence}"), sequence, bytes };
        let headers = [("x-amz-meta-sequence", &*sequence.to_string())];
        match client.put(BUCKET, &value.origin, &headers, &value.body()) {
            Ok(answer) if answer.is_success() => acknowledged.push(value),
            Ok(answer) if answer.status == 503 && answer.element("Code").as_deref() == Some("SlowDown") => {
                slow_down.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200));
            }
            // No answer in its time: the outcome is open, and the key is not asked for.
            Err(_) => {}
            Ok(_) => {
                other.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    acknowledged
}

fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    line.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * KIB
}

/// Makes a file as long as leaves so much free, again and again until it does.
fn fill(ballast: &Path, free: u64) -> Result<()> {
    let directory = ballast.parent().context("a file in a directory")?;
    let until = Instant::now() + Duration::from_secs(2);
    let mut length = 0;
    while Instant::now() < until {
        let output = Command::new("stat").args(["--file-system", "--format=%a %S"]).arg(directory).output()?;
        let output = String::from_utf8(output.stdout)?;
        let (blocks, size) = output.trim().split_once(' ').context("two figures of stat")?;
        let available: u64 = blocks.parse::<u64>()? * size.parse::<u64>()?;
        if available > free {
            // All at once where that works, and else half of it.
            let mut more = available - free;
            while more >= 4 * KIB {
                let bytes = (length + more).to_string();
                let done = Command::new("fallocate").args(["--length", &bytes]).arg(ballast).output()?;
                if done.status.success() {
                    length += more;
                    break;
                }
                more /= 2;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(ballast.exists(), "there was no space for a ballast");
    Ok(())
}

/// The disk's sector in the middle of the longest file that the view shows: it is that of a current object.
fn middle_of_largest(view: &Path) -> Result<u64> {
    let mut largest: Option<(u64, PathBuf)> = None;
    let mut folders = vec![view.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            let status = file.metadata()?;
            if status.is_dir() {
                folders.push(file.path());
            } else if largest.as_ref().is_none_or(|(known, _)| status.len() > *known) {
                largest = Some((status.len(), file.path()));
            }
        }
    }
    let (length, path) = largest.context("there are no data files")?;
    let output = Command::new("filefrag").args(["-v", "-b512"]).arg(&path).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    sector_of(&text, length / 2 / 512).with_context(|| format!("no extent of {}: {text}", path.display()))
}

/// Where a file's sector stands on the disk, as `filefrag -v -b512` says it.
fn sector_of(extents: &str, sector: u64) -> Option<u64> {
    for line in extents.lines() {
        let mut columns = line.split(':').skip(1);
        let (Some(logical), Some(physical)) = (columns.next(), columns.next()) else { continue };
        let range = |text: &str| -> Option<(u64, u64)> {
            let (from, to) = text.trim().split_once("..")?;
            Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
        };
        let (Some(logical), Some(physical)) = (range(logical), range(physical)) else { continue };
        if (logical.0..=logical.1).contains(&sector) {
            return Some(physical.0 + sector - logical.0);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_read() {
        let text = " ext:     logical_offset:        physical_offset: length:   expected: flags:\n   \
                    0:        0..    1023:     264192..    265215:   1024:\n   \
                    1:     1024..    2047:     300000..    301023:   1024:     265216: last,eof\n";
        assert_eq!(sector_of(text, 3), Some(264_195));
        assert_eq!(sector_of(text, 1030), Some(300_006));
        assert_eq!(sector_of(text, 5000), None);
    }
}
