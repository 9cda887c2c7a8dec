//! Whether a disk still takes writes. A failed fsync is never retried as good (engine rule A19).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Default)]
pub struct Health {
    failure: OnceLock<String>,
    stopping: AtomicU8,
}

impl Health {
    /// The disk takes no further write; the first reason stands.
    pub fn fail(&self, reason: &str) {
        if self.failure.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "the disk failed: it takes no further write until it is recovered at a start");
        }
    }

    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    pub fn set_stopping(&self) {
        self.stopping.fetch_max(1, Ordering::AcqRel);
    }

    /// Nothing waits for anything any more.
    pub fn set_stopping_hard(&self) {
        self.stopping.fetch_max(2, Ordering::AcqRel);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire) >= 1
    }

    pub fn is_stopping_hard(&self) -> bool {
        self.stopping.load(Ordering::Acquire) >= 2
    }
}
