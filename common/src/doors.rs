//! The doors for time and randomness, each with its simulated twin. The disk's door lives in `storage/src/disk/`, next
//! to the only code that opens data files.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Wall-clock time, for people only: nothing is ordered by it.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> u64;

    /// The same in microseconds, for how long something took.
    fn now_us(&self) -> u64 {
        self.now_ms().saturating_mul(1000)
    }
}

/// How long something has been, and when something is due: no hand sets this clock.
pub trait Monotonic: Send + Sync {
    /// Nanoseconds since some moment before.
    fn elapsed_ns(&self) -> u64;
}

/// Unpredictable bits.
pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);

    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn now_ms(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |duration| duration.as_millis() as u64)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn now_us(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |duration| duration.as_micros() as u64)
    }
}

/// Since the first time that somebody asked.
pub struct SystemMonotonic;

impl Monotonic for SystemMonotonic {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn elapsed_ns(&self) -> u64 {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let elapsed = START.get_or_init(std::time::Instant::now).elapsed();
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Stands still until it is moved.
#[derive(Default)]
pub struct SimulatedMonotonic(AtomicU64);

impl SimulatedMonotonic {
    pub fn advance_ns(&self, by_ns: u64) {
        self.0.fetch_add(by_ns, Ordering::Relaxed);
    }
}

impl Monotonic for SimulatedMonotonic {
    fn elapsed_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct SystemRandom;

/// Every answer has two ids, and each call of the kernel costs as much as a small read: it is asked for so many bytes at a time.
const RANDOM_BYTES_AHEAD: usize = 512;

/// Bytes that no one has seen yet.
struct RandomAhead {
    bytes: [u8; RANDOM_BYTES_AHEAD],
    used: usize,
}

thread_local! {
    static RANDOM_AHEAD: RefCell<RandomAhead> =
        const { RefCell::new(RandomAhead { bytes: [0; RANDOM_BYTES_AHEAD], used: RANDOM_BYTES_AHEAD }) };
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > RANDOM_BYTES_AHEAD {
            return fill_by_kernel(bytes);
        }
        RANDOM_AHEAD.with_borrow_mut(|ahead| {
            if ahead.bytes.len() - ahead.used < bytes.len() {
                fill_by_kernel(&mut ahead.bytes);
                ahead.used = 0;
            }
            let given = &mut ahead.bytes[ahead.used..][..bytes.len()];
            bytes.copy_from_slice(given);
            // What was given may become a secret: it is kept nowhere else.
            given.fill(0);
            ahead.used += bytes.len();
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn fill_by_kernel(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel's random source answers once it is initialised");
}

/// A clock that moves one millisecond each time it is asked, so that no two answers are equal.
pub struct SimulatedClock(AtomicU64);

impl SimulatedClock {
    pub fn starting_at(now_ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now_ms)))
    }

    pub fn advance_ms(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A reproducible sequence from one seed (SplitMix64, Steele et al. 2014).
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(seed)))
    }

    fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_bytes_are_given_twice() {
        let mut seen = HashSet::new();
        for round in 0..4 * RANDOM_BYTES_AHEAD {
            let mut bytes = vec![0; 32 + round % 32];
            SystemRandom.fill(&mut bytes);
            assert!(seen.insert(bytes[..16].to_vec()) && seen.insert(bytes[bytes.len() - 16..].to_vec()));
        }
        let mut long = vec![0; 4 * RANDOM_BYTES_AHEAD];
        SystemRandom.fill(&mut long);
        assert!(long.chunks(16).all(|bytes| seen.insert(bytes.to_vec())));
    }
}
