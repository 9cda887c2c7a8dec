//! The audit log, seen from the edge: every request of every listener is watched by `audit/watch.rs`, which stands around the
//! listener's handler, so that no route can forget it. What was decided on the way is told to the request's `Trail`. The line is
//! made when the answer has ended, and put into the queue of each sink, which something else empties: `authn/src/audit.rs` has
//! the format, the binary has the files.
//!
//! Nothing of it is there while no sink is.

mod judge;
mod queue;
mod trail;
mod watch;

pub use queue::{Batch, Queue};
pub use trail::{Asked, Decided, Trail, decided, identified, issued, reason, vouched};
pub use watch::Watched;

use common::{Clock, Random};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Which reads of data and configuration have lines, where they are allowed. What is denied always has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    Off,
    All,
    /// One of so many, by chance.
    OneOf(NonZeroU32),
}

/// What is audited, and where the lines go.
#[derive(Clone)]
pub struct AuditConfig {
    /// One for each sink.
    pub queues: Vec<Arc<Queue>>,
    pub reads: Reads,
    /// A request whose line cannot be queued is refused.
    pub is_strict: bool,
}

pub struct Audit {
    config: AuditConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Audit {
    pub fn new(config: AuditConfig, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { config, clock, random }
    }

    /// Whether a request may begin: without strictness always.
    fn has_room(&self) -> bool {
        !self.config.is_strict || self.config.queues.iter().all(|queue| queue.has_room())
    }

    /// Gives each sink its line, and whether all have taken it.
    fn push(&self, object: &[u8]) -> bool {
        self.config.queues.iter().filter(|queue| !queue.push(object)).count() == 0
    }

    /// For how many reads the line of this one stands, if it has one.
    fn sample(&self) -> Option<u32> {
        match self.config.reads {
            Reads::Off => None,
            Reads::All => Some(1),
            Reads::OneOf(count) => self.random.u64().is_multiple_of(u64::from(count.get())).then_some(count.get()),
        }
    }
}
