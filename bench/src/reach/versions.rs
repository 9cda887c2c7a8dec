//! A million versions, and a million objects under lifecycle rules: a page of versions beside a plain page, and what a pass of the
//! lifecycle scanner reads.

use super::{Line, Wanted};
use crate::exchange;
use crate::generator::Run;
use crate::loads::Prepared;
use crate::peers::{Peer, Programs, Server, weir};
use crate::process::Process;
use crate::request::Expected;
use crate::scenario::{LIST_PAGE_KEYS, MIB, fill};
use crate::statistics::median;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Versions<'a> {
    pub programs: &'a Programs,
    pub directory: &'a Path,
    pub payload: &'a [u8],
    /// Of the plain bucket's objects, and of the versioned one's versions.
    pub objects: u64,
    pub round: Duration,
    pub rounds: u32,
}

const VERSIONS_OF_EACH: u64 = 4;
const OBJECT_BYTES: u64 = 64;
const CONNECTIONS: usize = 4;
const PLAIN: &str = "plain";
const VERSIONED: &str = "versioned";
/// The one object that the rule ends. It is the last one of the bucket, so its end is the end of the pass.
const LAST: &str = "/plain/zzz";
const SCAN_WITHIN: Duration = Duration::from_secs(300);

impl Versions<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let server = self.programs.start(Peer::Weir, &self.directory.join("versions"))?;
        for bucket in [PLAIN, VERSIONED] {
            server.create_bucket(bucket)?;
        }
        put(&server, "/versioned", "versioning=", VERSIONING)?;
        fill(&server, self.payload, &|number, path| key(PLAIN, number, path), 0..self.objects, OBJECT_BYTES)?;
        let keys = self.objects / VERSIONS_OF_EACH;
        let path = |number: u64, path: &mut String| key(VERSIONED, number % keys, path);
        fill(&server, self.payload, &path, 0..self.objects, OBJECT_BYTES)?;
        std::thread::sleep(Duration::from_secs(3));
        self.pages(&server, report)?;
        self.scan(server, report)
    }

    fn pages(&self, server: &Server, report: &mut dyn FnMut(Line)) -> Result<()> {
        let keys = self.objects / VERSIONS_OF_EACH;
        let (mut plain, mut versions) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            plain.push(self.page(server, "/plain", "list-type=2&", "start-after", self.objects)?);
            versions.push(self.page(server, "/versioned", "", "key-marker", keys)?);
        }
        let (plain_us, versions_us) = (median(plain), median(versions));
        report(Line::new(
            "list, page of 1,000 versions",
            format!("{versions_us:.0} us of {} versions of {keys} keys", self.objects),
            format!("{plain_us:.0} us of a plain page of {} keys", self.objects),
            versions_us / plain_us.max(1e-9),
            Wanted::AtMost(1.5),
        ));
        Ok(())
    }

    /// CPU of a page, in microseconds. Pages begin in ten places.
    fn page(&self, server: &Server, path: &str, kind: &str, after: &str, keys: u64) -> Result<f64> {
        let mut signer = server.signer();
        let mut heads = Vec::new();
        for tenth in 0..10 {
            let mut marker = String::new();
            key("", tenth * keys / 10, &mut marker);
            let marker = marker.trim_start_matches('/').replace('/', "%2F");
            // A query's names ascend.
            let query = match kind {
                "" => format!("{after}={marker}&max-keys={LIST_PAGE_KEYS}&versions="),
                kind => format!("{kind}max-keys={LIST_PAGE_KEYS}&{after}={marker}"),
            };
            heads.push(signer.new_head("GET", path, &query, None));
        }
        let run = Run { connections: CONNECTIONS, time: self.round, ..Run::closed(server.address, self.payload) };
        let before = server.process.usage().cpu;
        let outcome = run.execute(&mut Prepared::new(heads, Expected::default()))?;
        let cpu = server.process.usage().cpu.saturating_sub(before);
        ensure!(outcome.errors.count == 0, "listing: {}", outcome.errors.first.as_deref().unwrap_or("?"));
        Ok(cpu.as_secs_f64() * 1e6 / outcome.operations.max(1) as f64)
    }

    /// One pass over the plain bucket after a start, with a rule that looks at each object and ends the last one. The size of the
    /// index is the other side of the ratio: a scanner that opened objects would read the log as well, which is larger.
    fn scan(&self, server: Server, report: &mut dyn FnMut(Line)) -> Result<()> {
        fill(&server, self.payload, &|_, path| LAST.clone_into(path), 0..1, OBJECT_BYTES)?;
        put(&server, LAST, "tagging=", TAGGING)?;
        let directory = server.leave(Process::terminate)?;
        let index = bytes_below(&directory.join("data/index"))?;
        let log = bytes_below(&directory.join("data/log"))?;
        let server = weir::start_with(&self.programs.weir, &directory, &["--test-mode", "--test-lifecycle-day", "1"])?;
        // The version to be ended has to be of the day before.
        std::thread::sleep(Duration::from_secs(3));
        let head = server.signer().new_head("HEAD", LAST, "", None);
        ensure!(exchange::exchange(server.address, &head, &[])?.status == 200, "it is there before the pass");
        let before = server.process.read_bytes()?;
        let cpu = server.process.usage().cpu;
        let start = Instant::now();
        put(&server, "/plain", "lifecycle=", LIFECYCLE)?;
        while exchange::exchange(server.address, &head, &[])?.status != 404 {
            ensure!(start.elapsed() < SCAN_WITHIN, "no pass ended within {} s", SCAN_WITHIN.as_secs());
            std::thread::sleep(Duration::from_millis(100));
        }
        let seconds = start.elapsed().as_secs_f64();
        let read = server.process.read_bytes()?.saturating_sub(before);
        let cpu = server.process.usage().cpu.saturating_sub(cpu).as_secs_f64();
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        report(Line::new(
            format!("lifecycle scan of {} objects", self.objects),
            format!("{:.0} MiB read in {seconds:.1} s ({cpu:.1} s of CPU)", mib(read)),
            format!("{:.0} MiB of index, of all buckets (the log has {:.0} MiB)", mib(index), mib(log)),
            read as f64 / (index as f64).max(1.0),
            Wanted::AtMost(1.0),
        ));
        Ok(())
    }
}

const VERSIONING: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const TAGGING: &str = "<Tagging><TagSet><Tag><Key>end</Key><Value>yes</Value></Tag></TagSet></Tagging>";
const LIFECYCLE: &str = "<LifecycleConfiguration><Rule><ID>end</ID><Filter><Tag><Key>end</Key><Value>yes</Value></Tag>\
                         </Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>\
                         </LifecycleConfiguration>";

fn key(bucket: &str, number: u64, path: &mut String) {
    use std::fmt::Write as _;
    write!(path, "/{bucket}/p{:04}/{:06}", number / 1000, number % 1000).expect("a string takes all text");
}

fn put(server: &Server, path: &str, query: &str, document: &str) -> Result<()> {
    let head = server.signer().new_head("PUT", path, query, Some(document.len() as u64));
    let answer = exchange::exchange(server.address, &head, document.as_bytes())?;
    ensure!((200..300).contains(&answer.status), "PUT {path}?{query}: {answer}");
    Ok(())
}

/// Of all files in a folder.
fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_with_their_numbers() {
        let path = |number| {
            let mut path = String::new();
            key("b", number, &mut path);
            path
        };
        assert_eq!((path(0), path(999_999)), ("/b/p0000/000000".to_owned(), "/b/p0999/000999".to_owned()));
        assert!(path(999) < path(1000));
    }
}
