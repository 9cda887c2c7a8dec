//! The plain way to make a small object durable, without any server: a file for each object, written, synced, renamed,
//! and its folder synced. The threads stand for connections.

use super::{Work, process_cpu};
use crate::outcome::Outcome;
use anyhow::Result;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Folders that the objects are spread over, as a store would.
const FOLDERS: u64 = 64;

pub fn run(work: &Work<'_>) -> Result<Outcome> {
    let (directory, body) = (work.directory, &work.payload[..work.bytes as usize]);
    let staging = directory.join("staging");
    std::fs::create_dir_all(&staging)?;
    for folder in 0..FOLDERS {
        std::fs::create_dir_all(directory.join(folder.to_string()))?;
    }
    let number = AtomicU64::new(0);
    let (cpu, start) = (process_cpu(), Instant::now());
    let one_thread = || -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        while start.elapsed() < work.time {
            let since = Instant::now();
            let number = number.fetch_add(1, Ordering::Relaxed);
            put(directory, &staging, number, body)?;
            times.push(since.elapsed());
        }
        Ok(times)
    };
    let mut outcome = Outcome::new();
    let all: Vec<Result<Vec<Duration>>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..work.threads).map(|_| scope.spawn(one_thread)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a thread that does not panic")).collect()
    });
    outcome.elapsed = start.elapsed();
    for times in all {
        for time in times? {
            outcome.record(time);
            outcome.bytes_out += body.len() as u64;
        }
    }
    outcome.requests = outcome.operations;
    outcome.client_cpu = process_cpu().saturating_sub(cpu);
    std::fs::remove_dir_all(directory)?;
    Ok(outcome)
}

fn put(directory: &Path, staging: &Path, number: u64, body: &[u8]) -> Result<()> {
    let (name, folder) = (format!("{number:08}"), directory.join((number % FOLDERS).to_string()));
    let staged = staging.join(&name);
    let mut file = File::create(&staged)?;
    file.write_all(body)?;
    file.sync_data()?;
    std::fs::rename(&staged, folder.join(&name))?;
    File::open(&folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_counted_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("objects");
        let time = Duration::from_millis(30);
        let outcome = run(&Work { directory: &below, threads: 2, time, payload: b"bodies", bytes: 4 }).unwrap();
        assert!(outcome.operations > 0 && outcome.bytes_out == 4 * outcome.operations);
        assert!(!below.exists());
    }
}
