//! The two things that a large PUT cannot do without, each alone: MD5 of its bytes, and the bytes on the disk.

use super::{Work, process_cpu};
use crate::outcome::Outcome;
use anyhow::Result;
use md5::{Digest, Md5};
use std::fs::File;
use std::io::Write;
use std::time::Instant;

pub fn md5(work: &Work<'_>) -> Result<Outcome> {
    repeat(work, || {
        let mut hash = Md5::new();
        pieces(work, |piece| {
            hash.update(piece);
            Ok(())
        })?;
        std::hint::black_box(hash.finalize());
        Ok(())
    })
}

pub fn disk(work: &Work<'_>) -> Result<Outcome> {
    std::fs::create_dir_all(work.directory)?;
    let path = work.directory.join("object");
    let outcome = repeat(work, || {
        let mut file = File::create(&path)?;
        pieces(work, |piece| Ok(file.write_all(piece)?))?;
        file.sync_data()?;
        // Each object is a new file; giving the old one's blocks back is not part of writing it.
        Ok(())
    })?;
    std::fs::remove_dir_all(work.directory)?;
    Ok(outcome)
}

fn repeat(work: &Work<'_>, mut once: impl FnMut() -> Result<()>) -> Result<Outcome> {
    let mut outcome = Outcome::new();
    let (cpu, start) = (process_cpu(), Instant::now());
    while start.elapsed() < work.time || outcome.operations == 0 {
        let since = Instant::now();
        once()?;
        outcome.record(since.elapsed());
        outcome.bytes_out += work.bytes;
    }
    outcome.elapsed = start.elapsed();
    outcome.requests = outcome.operations;
    outcome.client_cpu = process_cpu().saturating_sub(cpu);
    Ok(outcome)
}

fn pieces(work: &Work<'_>, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut left = work.bytes as usize;
    while left > 0 {
        let piece = &work.payload[..left.min(work.payload.len())];
        take(piece)?;
        left -= piece.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn both_work_on_all_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("disk");
        let work = Work { directory: &below, threads: 1, time: Duration::ZERO, payload: &[7; 1000], bytes: 2500 };
        for outcome in [md5(&work).unwrap(), disk(&work).unwrap()] {
            assert_eq!((outcome.operations, outcome.bytes_out), (1, 2500));
        }
        let mut seen = 0;
        pieces(&work, |piece| {
            seen += piece.len();
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 2500);
    }
}
