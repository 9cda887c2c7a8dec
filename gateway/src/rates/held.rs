//! What a request has taken and may have to give back.

use super::keys::Table;
use super::quota::{Part, RateClock};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a request has taken from the rules that are about it.
pub type Taken = SmallVec<[Part; 4]>;

/// A failure that an address has paid for a request whose outcome is not known. It comes back when this is dropped.
pub struct Held {
    part: Part,
    table: Arc<Table>,
    clock: RateClock,
}

impl Held {
    pub fn new(part: Part, table: Arc<Table>, clock: RateClock) -> Self {
        Self { part, table, clock }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.table.give_back(self.part.place, self.part.left_ns(self.clock.now_ns()));
    }
}

/// A request of an address, whose credential may turn out not to be good.
#[derive(Default)]
pub struct Arrival {
    address: Option<IpAddr>,
    held: Option<Mutex<Option<Held>>>,
    has_failed: AtomicBool,
}

impl Arrival {
    pub(super) fn of(address: Option<IpAddr>, held: Option<Held>) -> Self {
        Self { address, held: held.map(|held| Mutex::new(Some(held))), has_failed: AtomicBool::new(false) }
    }

    pub(super) fn give_back(&self) {
        if let Some(held) = &self.held {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(held);
        }
    }

    /// The address that pays for a failure, when it is told for the first time.
    pub(super) fn fails(&self) -> Option<IpAddr> {
        if self.has_failed.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.give_back();
        self.address
    }
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival").field("address", &self.address).finish_non_exhaustive()
    }
}
