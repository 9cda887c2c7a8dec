//! What waits to be written to one sink. Nobody who puts a line in ever waits for the one who takes it out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Waiting {
    /// JSON objects, one in each line.
    objects: Vec<u8>,
    dropped: u64,
    is_closed: bool,
}

/// What was taken out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// JSON objects, one in each line.
    pub objects: Vec<u8>,
    /// How many found no room behind them.
    pub dropped: u64,
    /// Nothing more will come.
    pub is_last: bool,
}

pub struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    bytes_max: usize,
    /// `weir_audit_dropped_total`.
    dropped_total: AtomicU64,
    is_failing: AtomicBool,
}

impl Queue {
    pub fn new(bytes_max: usize) -> Self {
        let (waiting, arrived) = (Mutex::default(), Condvar::new());
        Self { waiting, arrived, bytes_max, dropped_total: AtomicU64::new(0), is_failing: AtomicBool::new(false) }
    }

    /// Takes a line, or counts it as dropped.
    pub fn push(&self, object: &[u8]) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.objects.len() + object.len() >= self.bytes_max {
            waiting.dropped += 1;
            self.dropped_total.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let was_empty = waiting.objects.is_empty();
        waiting.objects.extend_from_slice(object);
        waiting.objects.push(b'\n');
        if was_empty {
            self.arrived.notify_one();
        }
        true
    }

    /// Whether a request that begins now will find room for its line: half of it is for those that have begun.
    pub fn has_room(&self) -> bool {
        let bytes = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).objects.len();
        bytes < self.bytes_max / 2 && !self.is_failing.load(Ordering::Relaxed)
    }

    /// Waits at most so long for lines, and takes all.
    pub fn take(&self, wait: Duration) -> Batch {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |waiting: &mut Waiting| waiting.objects.is_empty() && waiting.dropped == 0 && !waiting.is_closed;
        let waited = self.arrived.wait_timeout_while(waiting, wait, is_idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Batch {
            objects: std::mem::take(&mut waiting.objects),
            dropped: std::mem::take(&mut waiting.dropped),
            is_last: waiting.is_closed,
        }
    }

    /// No more lines will come.
    pub fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.arrived.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed
    }

    /// Whether lines cannot be written just now.
    pub fn set_failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// How many lines have found no room since the start.
    pub fn dropped_total(&self) -> u64 {
        self.dropped_total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_what_is_dropped_is_counted() {
        let queue = Queue::new(100);
        assert!(queue.push(&[b'x'; 40]) && queue.has_room());
        assert!(queue.push(&[b'y'; 40]) && !queue.has_room());
        assert!(!queue.push(&[b'z'; 40]) && !queue.push(&[b'z'; 40]));
        let batch = queue.take(Duration::ZERO);
        assert_eq!((batch.objects.len(), batch.dropped, batch.is_last), (82, 2, false));
        assert!(queue.push(b"{}") && queue.has_room());
        queue.set_failing(true);
        assert!(!queue.has_room());
        queue.close();
        assert_eq!(queue.take(Duration::MAX), Batch { objects: b"{}\n".to_vec(), dropped: 0, is_last: true });
        assert_eq!(queue.dropped_total(), 2);
    }

    #[test]
    fn nothing_is_waited_for_longer_than_told() {
        assert_eq!(Queue::new(100).take(Duration::from_millis(1)), Batch::default());
    }
}
