//! A disk with a million objects: filling, listings, memory, starts after SIGKILL, and the index built from the log.

use super::{Line, Wanted};
use crate::generator::Run;
use crate::loads::Prepared;
use crate::outcome::Outcome;
use crate::peers::{Peer, Programs, Server, weir};
use crate::process::Process;
use crate::request::Expected;
use crate::scenario::{LIST_PAGE_KEYS, MIB, fill};
use crate::statistics::median;
use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Million<'a> {
    pub programs: &'a Programs,
    pub directory: &'a Path,
    pub payload: &'a [u8],
    pub size: Size,
    pub round: Duration,
    pub rounds: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub objects: u64,
    /// Of the small disk and of the small bucket that the large ones are held against.
    few: u64,
    /// Of the log's end before each SIGKILL.
    tail: u64,
    /// How often a start is measured.
    starts: u64,
}

pub const WHOLE: Size = Size { objects: 1_000_000, few: 10_000, tail: 20_000, starts: 3 };
pub const SHORT: Size = Size { objects: 4_000, few: 1_000, tail: 200, starts: 1 };

const PREFIXES: u64 = 1_000;
const OBJECT_BYTES: u64 = 64;

const CONNECTIONS: usize = 4;

/// Two buckets with as many prefixes and unlike numbers of keys below each.
#[derive(Clone, Copy)]
struct Bucket {
    name: &'static str,
    objects: u64,
}

impl Bucket {
    fn path(self, number: u64, path: &mut String) {
        use std::fmt::Write as _;
        let each = self.objects / PREFIXES;
        write!(path, "/{}/p{:04}/{:06}", self.name, number / each, number % each).expect("a string takes all text");
    }
}

impl Million<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let Size { objects, few: few_objects, tail, .. } = self.size;
        let few = Bucket { name: "few", objects: few_objects };
        let many = Bucket { name: "many", objects };

        let small = self.programs.start(Peer::Weir, &self.directory.join("small"))?;
        self.fill(&small, few)?;
        let small_start = self.starts_after_kill(small)?.1;

        let mut server = self.programs.start(Peer::Weir, &self.directory.join("large"))?;
        self.fill(&server, few)?;
        let filled = self.fill(&server, many)?;
        report(Line::new(
            format!("filling {objects} objects"),
            format!("{:.0} PUT/s", filled.per_second()),
            "10000 PUT/s, so that a test can have that many",
            filled.per_second() / 10_000.0,
            Wanted::AtLeast(1.0),
        ));
        // What the fill made is written and forgotten in the background.
        std::thread::sleep(Duration::from_secs(3));
        let idle = server.process.usage().rss_bytes as f64 / MIB as f64;
        report(Line::new(
            format!("memory, idle with {objects} objects"),
            format!("{idle:.0} MiB after filling"),
            "150 MiB",
            idle / 150.0,
            Wanted::AtMost(1.0),
        ));
        self.listings(&server, few, many, report)?;

        let (next, large_start) = self.starts_after_kill(server)?;
        server = next;
        report(Line::new(
            format!("start after SIGKILL with {objects} objects"),
            format!("{large_start:.2} s"),
            format!("{small_start:.2} s with {few_objects} and the same tail of {tail} PUTs"),
            large_start / small_start.max(1e-3),
            Wanted::AtMost(1.5),
        ));
        self.rebuild(server, report)
    }

    fn fill(&self, server: &Server, bucket: Bucket) -> Result<Outcome> {
        server.create_bucket(bucket.name)?;
        fill(server, self.payload, &|number, path| bucket.path(number, path), 0..bucket.objects, OBJECT_BYTES)
    }

    fn listings(&self, server: &Server, few: Bucket, many: Bucket, report: &mut dyn FnMut(Line)) -> Result<()> {
        for (name, delimiter) in [("page of 1,000 keys", ""), ("page of 1,000 prefixes", "delimiter=%2F&")] {
            let (mut small, mut large) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                small.push(self.pages(server, few, delimiter)?);
                large.push(self.pages(server, many, delimiter)?);
            }
            let middle = |pages: &[Page], value: fn(&Page) -> f64| median(pages.iter().map(value));
            let (small_us, large_us) = (middle(&small, |page| page.cpu_us), middle(&large, |page| page.cpu_us));
            let ms = |pages: &[Page]| middle(pages, |page| page.p50_ms);
            report(Line::new(
                format!("list, {name}"),
                format!("{large_us:.0} us (p50 {:.2} ms) of {} keys", ms(&large), many.objects),
                format!("{small_us:.0} us (p50 {:.2} ms) of {} keys", ms(&small), few.objects),
                large_us / small_us.max(1e-9),
                Wanted::AtMost(1.5),
            ));
        }
        Ok(())
    }

    fn pages(&self, server: &Server, bucket: Bucket, delimiter: &str) -> Result<Page> {
        let mut signer = server.signer();
        let path = format!("/{}", bucket.name);
        // With a delimiter one page has all prefixes; without, pages begin in ten places.
        let tenths = if delimiter.is_empty() { 10 } else { 1 };
        let mut heads = Vec::new();
        for tenth in 0..tenths {
            let mut query = format!("{delimiter}list-type=2&max-keys={LIST_PAGE_KEYS}");
            if tenth > 0 {
                query += &format!("&start-after=p{:04}", tenth * PREFIXES * 9 / 100);
            }
            heads.push(signer.new_head("GET", &path, &query, None));
        }
        let run = Run { connections: CONNECTIONS, time: self.round, ..Run::closed(server.address, self.payload) };
        let before = server.process.usage().cpu;
        let outcome = run.execute(&mut Prepared::new(heads, Expected::default()))?;
        let cpu = server.process.usage().cpu.saturating_sub(before);
        ensure!(outcome.errors.count == 0, "listing: {}", outcome.errors.first.as_deref().unwrap_or("?"));
        Ok(Page {
            cpu_us: cpu.as_secs_f64() * 1e6 / outcome.operations.max(1) as f64,
            p50_ms: outcome.quantile_ms(0.5),
        })
    }

    /// Kills it right after a burst of writes, again and again. The server of the last start, and the median of seconds.
    fn starts_after_kill(&self, mut server: Server) -> Result<(Server, f64)> {
        let mut seconds = Vec::new();
        let tail = self.size.tail;
        for round in 0..self.size.starts {
            let path = |number: u64, path: &mut String| *path = format!("/few/tail/{:06}", number % tail);
            fill(&server, self.payload, &path, round * tail..(round + 1) * tail, OBJECT_BYTES)?;
            let directory = server.leave(Process::kill)?;
            let start = Instant::now();
            server = weir::start(&self.programs.weir, &directory)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok((server, median(seconds)))
    }

    fn rebuild(&self, server: Server, report: &mut dyn FnMut(Line)) -> Result<()> {
        let directory = server.leave(Process::terminate)?;
        let data = directory.join("data");
        let start = Instant::now();
        let server = weir::start(&self.programs.weir, &directory)?;
        let clean = start.elapsed().as_secs_f64();
        let idle = {
            std::thread::sleep(Duration::from_secs(3));
            server.process.usage().rss_bytes as f64 / MIB as f64
        };
        report(Line::new(
            format!("memory, started with {} objects", self.size.objects),
            format!("{idle:.0} MiB after a clean start"),
            "150 MiB",
            idle / 150.0,
            Wanted::AtMost(1.0),
        ));
        server.leave(Process::terminate)?;
        std::fs::remove_dir_all(data.join("index")).context("removing the index")?;
        let (bytes, log_seconds) = read_folder(&data.join("log"))?;
        let start = Instant::now();
        let server = weir::start(&self.programs.weir, &directory)?;
        let rebuilt = start.elapsed().as_secs_f64();
        drop(server);

        // Overwritten tails are records too, but not entries; they are few.
        let entries = (self.size.objects + self.size.few + self.size.tail) as f64;
        let rate = entries / rebuilt;
        let half_of_reading = 0.5 * entries / log_seconds;
        let least = half_of_reading.min(300_000.0);
        report(Line::new(
            "rebuild of the index",
            format!("{rate:.0} entries/s ({rebuilt:.2} s, a clean start {clean:.2} s)"),
            format!(
                "{least:.0} entries/s: the lower of 300000 and of half the speed of reading the log \
                 ({:.0} MiB in {log_seconds:.2} s)",
                bytes as f64 / MIB as f64
            ),
            rate / least,
            Wanted::AtLeast(1.0),
        ));
        Ok(())
    }
}

struct Page {
    cpu_us: f64,
    p50_ms: f64,
}

/// Bytes and seconds of reading all files of a folder once.
fn read_folder(folder: &Path) -> Result<(u64, f64)> {
    let start = Instant::now();
    let mut bytes = 0;
    let mut buffer = vec![0; MIB as usize];
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let mut file = std::fs::File::open(entry?.path())?;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
        }
    }
    Ok((bytes, start.elapsed().as_secs_f64().max(1e-6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_buckets_have_the_same_prefixes() {
        for (objects, last) in [(10_000, "/b/p0999/000009"), (1_000_000, "/b/p0999/000999")] {
            let mut path = String::new();
            Bucket { name: "b", objects }.path(objects - 1, &mut path);
            assert_eq!(path, last);
        }
    }

    #[test]
    fn a_folder_is_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), vec![0; 3_000_000]).unwrap();
        std::fs::write(directory.path().join("b"), b"x").unwrap();
        assert_eq!(read_folder(directory.path()).unwrap().0, 3_000_001);
    }
}
