//! Times to first byte of one window, by pace: counted in buckets that grow by an eighth of an octave, so that a sample is one
//! addition that waits for nobody, and a median costs no memory.

use super::class::{PACES, Pace};
use crate::own_line::stripe;
use std::sync::atomic::{AtomicU32, Ordering};

/// Buckets of an octave: neighbours are 9 % apart.
const PER_OCTAVE: usize = 8;
/// From 16 µs to 2^26 µs, which is a minute.
const FIRST_OCTAVE: u32 = 4;
const OCTAVES: usize = 22;
const BUCKETS: usize = PER_OCTAVE * OCTAVES;

/// For each of its stripes all buckets of all paces: of most requests the sample is in the same one.
pub struct Samples(Box<[AtomicU32]>);

const STRIPES: usize = 4;
const OF_STRIPE: usize = PACES * BUCKETS;

/// What a window has seen of one pace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub pace: usize,
    pub count: u32,
    pub median_us: f64,
}

impl Default for Samples {
    fn default() -> Self {
        Self((0..STRIPES * OF_STRIPE).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Samples {
    /// Gives whether it is counted: some paces are not measured.
    pub fn add(&self, pace: Pace, took_us: u64) -> bool {
        let Some(pace) = pace.index() else { return false };
        self.0[stripe() % STRIPES * OF_STRIPE + pace * BUCKETS + bucket(took_us)].fetch_add(1, Ordering::Relaxed);
        true
    }

    /// What was added since the last call. A sample that comes meanwhile is in this window or the next.
    pub fn take(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for pace in 0..PACES {
            // Most paces are idle, and reading is cheaper than a swap.
            let swap = |bucket: &AtomicU32| match bucket.load(Ordering::Relaxed) {
                0 => 0,
                _ => bucket.swap(0, Ordering::Relaxed),
            };
            let stripes = |at| (0..STRIPES).map(move |stripe| &self.0[stripe * OF_STRIPE + pace * BUCKETS + at]);
            let counts: [u32; BUCKETS] = std::array::from_fn(|at| stripes(at).map(swap).fold(0, u32::saturating_add));
            let count: u32 = counts.iter().sum();
            if count > 0 {
                seen.push(Seen { pace, count, median_us: median(&counts, count) });
            }
        }
        seen
    }

    pub fn count(&self) -> u32 {
        self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed)).fold(0, u32::saturating_add)
    }
}

fn bucket(us: u64) -> usize {
    let us = us.max(1 << FIRST_OCTAVE);
    let octave = us.ilog2();
    let within = ((us >> (octave - 3)) & 7) as usize;
    ((octave - FIRST_OCTAVE) as usize * PER_OCTAVE + within).min(BUCKETS - 1)
}

/// Where a bucket begins, in µs.
fn edge(bucket: usize) -> f64 {
    let (octave, within) = (bucket / PER_OCTAVE, bucket % PER_OCTAVE);
    f64::from(1u32 << (octave as u32 + FIRST_OCTAVE)) * (1.0 + within as f64 / PER_OCTAVE as f64)
}

/// Between the bucket's edges, as far as the median is into its samples.
fn median(counts: &[u32; BUCKETS], count: u32) -> f64 {
    let middle = f64::from(count) / 2.0;
    let mut before = 0.0;
    for (at, &here) in counts.iter().enumerate() {
        let here = f64::from(here);
        if before + here >= middle && here > 0.0 {
            return edge(at) + (edge(at + 1) - edge(at)) * (middle - before) / here;
        }
        before += here;
    }
    edge(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_within_a_buckets_width() {
        for scale in [20, 300, 5_000, 1_000_000] {
            let samples = Samples::default();
            for number in 0..1001 {
                samples.add(Pace::List, scale + scale * number / 1000);
            }
            let seen = samples.take();
            assert_eq!((seen.len(), seen[0].pace, seen[0].count), (1, 1, 1001));
            let expected = scale as f64 * 1.5;
            assert!((seen[0].median_us / expected - 1.0).abs() < 0.07, "{seen:?} and not {expected}");
            assert!(samples.take().is_empty() && samples.count() == 0);
        }
    }

    #[test]
    fn no_time_is_out_of_range() {
        let samples = Samples::default();
        for us in [0, 1, 15, 16, u64::from(u32::MAX), u64::MAX] {
            samples.add(Pace::Metadata, us);
        }
        samples.add(Pace::Unknown, 5);
        assert_eq!(samples.take()[0].count, 6);
        assert!((0..BUCKETS - 1).all(|at| bucket(edge(at).ceil() as u64) == at));
    }
}
