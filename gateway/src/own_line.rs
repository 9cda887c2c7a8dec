//! Values that share their cache line with no other.
//!
//! Counters that every request changes are on another core as often as here, and each change fetches their line. What is only read
//! must not be on it, and two counters on one line are fetched as often as both change. 128 bytes: a core fetches lines in pairs.

use prometheus_client::metrics::counter::Atomic;
use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[derive(Debug, Default)]
#[repr(align(128))]
pub struct OwnLine<T>(pub T);

impl<T> Deref for OwnLine<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

pub const STRIPES: usize = 8;

/// A counter of many requests that is read now and then: each thread counts on a line of its own, as long as there are lines.
#[derive(Debug, Default)]
pub struct Striped([OwnLine<AtomicU64>; STRIPES]);

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Which of some lines is this thread's.
pub fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

impl Atomic<u64> for Striped {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// Gives what this thread's line had: the sum would fetch all lines.
    fn inc_by(&self, by: u64) -> u64 {
        self.0[stripe()].fetch_add(by, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|line| line.load(Ordering::Relaxed)).sum()
    }
}

/// One of several counts of a shared value, on a line of its own.
pub type Share<T> = Arc<OwnLine<Arc<T>>>;

pub fn share<T>(value: &Arc<T>) -> Share<T> {
    Arc::new(OwnLine(Arc::clone(value)))
}

/// A value of which every request holds a share for a while: each thread counts those it gives on a line of its own.
pub struct Shares<T>([Share<T>; STRIPES]);

impl<T> Clone for Shares<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Shares<T> {
    pub fn of(value: &Arc<T>) -> Self {
        Self(std::array::from_fn(|_| share(value)))
    }

    /// To be cloned by this thread.
    pub fn here(&self) -> &Share<T> {
        &self.0[stripe()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_are_counted() {
        let counter = Striped::default();
        std::thread::scope(|threads| {
            for _ in 0..20 {
                threads.spawn(|| {
                    for _ in 0..1000 {
                        counter.inc();
                    }
                });
            }
        });
        counter.inc_by(5);
        assert_eq!(counter.get(), 20_005);
    }
}
