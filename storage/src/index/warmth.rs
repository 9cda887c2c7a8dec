//! Whether looking a key up waits for the disk, as far as the last look-ups tell. Pages that the store has in memory, or the
//! kernel in its cache, are read at once on any thread; where they are not, threads that may wait look instead.

use std::sync::atomic::{AtomicU32, Ordering};

/// After one look-up that waited, so many are made by threads that may wait: of a cold index a caller that must not wait
/// meets one read in as many.
const LOOKUPS_AFTER_WAIT: u32 = 64;

#[derive(Debug, Default)]
pub struct Warmth {
    /// Look-ups that are left to threads that may wait.
    left: AtomicU32,
}

impl Warmth {
    /// A page had to come from the disk.
    pub fn waited(&self) {
        self.left.store(LOOKUPS_AFTER_WAIT, Ordering::Relaxed);
    }

    /// Whether the next look-up may be made where waiting is not allowed. Counts as that look-up.
    pub fn expects_no_wait(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.left.load(Ordering::Relaxed) == 0
            || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_sends_the_next_ones_elsewhere() {
        let warmth = Warmth::default();
        assert!(warmth.expects_no_wait() && warmth.expects_no_wait());
        warmth.waited();
        assert!((0..LOOKUPS_AFTER_WAIT).all(|_| !warmth.expects_no_wait()));
        assert!(warmth.expects_no_wait());
    }
}
