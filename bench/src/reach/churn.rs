//! Overwriting without end: what space it takes while compaction runs, and what a reader beside it feels.

use super::{Line, Wanted};
use crate::generator::{Pace, Run};
use crate::loads::{Fill, Prepared};
use crate::outcome::Outcome;
use crate::peers::{Peer, Programs, Server};
use crate::request::{Expected, Requests};
use crate::scenario::{KIB, MIB, fill};
use crate::signer::Signer;
use crate::statistics::median;
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub struct Churn<'a> {
    pub programs: &'a Programs,
    pub directory: &'a Path,
    pub payload: &'a [u8],
    /// Of each of the four phases.
    pub time: Duration,
    pub live_objects: u64,
}

const BUCKET: &str = "churn";
const OBJECT_BYTES: u64 = 32 * KIB;
const FOREGROUND_OBJECTS: u64 = 1_000;
const FOREGROUND_BYTES: u64 = 4 * KIB;
const FOREGROUND_PER_SECOND: f64 = 500.0;
const CONNECTIONS: usize = 16;

/// Of what a closed loop reaches: the machine has time for both.
const CHURN_SHARE: f64 = 0.25;

const SAMPLE_EVERY: Duration = Duration::from_millis(500);

impl Churn<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let server = self.programs.start(Peer::Weir, &self.directory.join("churn"))?;
        server.create_bucket(BUCKET)?;
        let data = server.directory.join("data");
        // What an empty disk takes already: spare segments and what is held back for a full disk.
        std::thread::sleep(Duration::from_secs(1));
        let constant = allocated(&data);
        fill(&server, self.payload, &read_path, 0..FOREGROUND_OBJECTS, FOREGROUND_BYTES)?;
        fill(&server, self.payload, &live_path, 0..self.live_objects, OBJECT_BYTES)?;
        let live = FOREGROUND_OBJECTS * FOREGROUND_BYTES + self.live_objects * OBJECT_BYTES;

        let mut signer = server.signer();
        let overwrites: Vec<_> = (0..self.live_objects)
            .map(|number| {
                let mut path = String::new();
                live_path(number, &mut path);
                signer.new_head("PUT", &path, "", Some(OBJECT_BYTES))
            })
            .collect();
        let overwrites = || Prepared::new(overwrites.clone(), Expected::default()).with_body(OBJECT_BYTES);
        let closed = Run { connections: CONNECTIONS, time: Duration::from_secs(2), ..self.on(&server) };
        let per_second = closed.execute(&mut overwrites())?.per_second() * CHURN_SHARE;

        let (quiet_before, _) = self.phase(&server, None)?;
        let (churned, space) = self.phase(&server, Some((&mut overwrites(), per_second)))?;
        let (quiet_after, _) = self.phase(&server, None)?;
        let path = |number: u64, path: &mut String| *path = format!("/{BUCKET}/new/{number:08}");
        let mut other = server.signer();
        let mut fresh = Fill::new(&mut other, &path, 0..u64::MAX, OBJECT_BYTES);
        let (written, _) = self.phase(&server, Some((&mut fresh, per_second)))?;

        let p99 = |outcome: &Outcome| outcome.quantile_ms(0.99);
        let quiet = median([p99(&quiet_before), p99(&quiet_after)]);
        let load = format!("{per_second:.0} overwrites/s of 32 KiB");
        report(Line::new(
            "space under churn",
            format!("{:.0} MiB at most, {:.0} MiB of them constant, {load}", mib(space), mib(constant)),
            format!("{:.0} MiB of live objects", mib(live)),
            space.saturating_sub(constant) as f64 / live as f64,
            Wanted::AtMost(2.0),
        ));
        report(Line::new(
            "p99 of GET under churn",
            format!("{:.2} ms beside {load}", p99(&churned)),
            format!("{quiet:.2} ms without ({:.2} ms before, {:.2} ms after)", p99(&quiet_before), p99(&quiet_after)),
            p99(&churned) / quiet.max(1e-9),
            Wanted::AtMost(1.5),
        ));
        report(Line::new(
            "p99 of GET under churn, compaction alone",
            format!("{:.2} ms beside {load}", p99(&churned)),
            format!("{:.2} ms beside as many PUTs of new keys", p99(&written)),
            p99(&churned) / p99(&written).max(1e-9),
            Wanted::AtMost(1.5),
        ));
        Ok(())
    }

    fn on(&self, server: &Server) -> Run<'_> {
        Run::closed(server.address, self.payload)
    }

    /// Foreground GETs in an open loop, alone or beside writes; and the most space that the disk took meanwhile.
    fn phase(&self, server: &Server, writes: Option<(&mut (dyn Requests + Send), f64)>) -> Result<(Outcome, u64)> {
        let finished = AtomicBool::new(false);
        let data = server.directory.join("data");
        std::thread::scope(|scope| {
            let writer = writes.map(|(requests, per_second)| {
                let run = Run {
                    connections: CONNECTIONS,
                    pace: Pace::Open { per_second },
                    stop: Some(&finished),
                    ..self.on(server)
                };
                scope.spawn(move || run.execute(requests))
            });
            let sampler = scope.spawn(|| {
                let mut most = 0;
                while !finished.load(Ordering::Relaxed) {
                    most = most.max(allocated(&data));
                    std::thread::sleep(SAMPLE_EVERY);
                }
                most
            });
            let mut signer = server.signer();
            let run = Run {
                connections: CONNECTIONS,
                pace: Pace::Open { per_second: FOREGROUND_PER_SECOND },
                time: self.time,
                ..self.on(server)
            };
            let outcome = run.execute(&mut foreground(&mut signer));
            finished.store(true, Ordering::Relaxed);
            let most = sampler.join().expect("a thread that does not panic");
            if let Some(writer) = writer {
                check(&writer.join().expect("a thread that does not panic")?).context("writes beside the reads")?;
            }
            let outcome = outcome?;
            check(&outcome).context("foreground reads")?;
            Ok((outcome, most))
        })
    }
}

fn foreground(signer: &mut Signer) -> Prepared {
    let heads = (0..FOREGROUND_OBJECTS).map(|number| {
        let mut path = String::new();
        read_path(number, &mut path);
        signer.new_head("GET", &path, "", None)
    });
    let expected = Expected { body_bytes: Some(FOREGROUND_BYTES), ..Expected::default() };
    Prepared::new(heads.collect(), expected)
}

fn read_path(number: u64, path: &mut String) {
    *path = format!("/{BUCKET}/read/{number:08}");
}

fn live_path(number: u64, path: &mut String) {
    *path = format!("/{BUCKET}/live/{number:08}");
}

fn check(outcome: &Outcome) -> Result<()> {
    let errors = &outcome.errors;
    ensure!(errors.count == 0, "{} errors, the first: {}", errors.count, errors.first.as_deref().unwrap_or("?"));
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

/// Bytes of blocks of all files below a folder; each file once, however many names it has. What vanishes meanwhile counts
/// nothing.
fn allocated(folder: &Path) -> u64 {
    let mut left = vec![folder.to_owned()];
    let mut seen = std::collections::HashSet::new();
    let mut bytes = 0;
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                left.push(entry.path());
            } else if seen.insert(metadata.ino()) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_takes_its_blocks_once() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("below")).unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, vec![1; 64 * 1024]).unwrap();
        std::fs::hard_link(&file, directory.path().join("below/again")).unwrap();
        let bytes = allocated(directory.path());
        assert!((64 * 1024..128 * 1024).contains(&bytes), "{bytes}");
    }
}
