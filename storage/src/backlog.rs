//! What may wait for a disk. A disk that is slower than its clients would otherwise collect bodies without end: beyond these
//! bounds a request waits at the door, for a while, and is then refused with an error that tells its client to slow down.

use crate::limits::{BACKLOG_WAIT_MS_MAX, QUEUE_BYTES_MAX, QUEUE_MUTATIONS_MAX, STEPS_MAX};
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a mutation without payload counts: so many of them fill the queue.
const MUTATION_BYTES: usize = QUEUE_BYTES_MAX / QUEUE_MUTATIONS_MAX;

pub struct Backlog {
    /// Bytes that wait for the committer.
    queue: Arc<Semaphore>,
    /// Steps of long bodies on their way to the disk.
    steps: Arc<Semaphore>,
    wait_max: Duration,
}

/// A place, given back when dropped.
pub type Place = OwnedSemaphorePermit;

impl Default for Backlog {
    fn default() -> Self {
        Self::new(Duration::from_millis(BACKLOG_WAIT_MS_MAX))
    }
}

impl Backlog {
    fn new(wait_max: Duration) -> Self {
        let (queue, steps) = (Arc::new(Semaphore::new(QUEUE_BYTES_MAX)), Arc::new(Semaphore::new(STEPS_MAX)));
        Self { queue, steps, wait_max }
    }

    /// For a mutation with so long a payload, until the committer takes it up.
    pub async fn mutation(&self, payload_bytes: usize) -> Result<Place> {
        self.enter(&self.queue, payload_bytes.max(MUTATION_BYTES)).await
    }

    /// For one step of a body, until it is written.
    pub async fn step(&self) -> Result<Place> {
        self.enter(&self.steps, 1).await
    }

    async fn enter(&self, places: &Arc<Semaphore>, count: usize) -> Result<Place> {
        let count = u32::try_from(count).expect("far below four thousand million");
        if let Ok(place) = Arc::clone(places).try_acquire_many_owned(count) {
            return Ok(place);
        }
        match tokio::time::timeout(self.wait_max, Arc::clone(places).acquire_many_owned(count)).await {
            Ok(place) => Ok(place.expect("it is never closed")),
            Err(_) => Err(Error::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn a_full_queue_refuses_after_a_while_and_lets_in_again() {
        runtime().block_on(async {
            let backlog = Backlog::new(Duration::from_millis(20));
            let mut places = Vec::new();
            for _ in 0..QUEUE_MUTATIONS_MAX {
                places.push(backlog.mutation(0).await.expect("there is room"));
            }
            assert!(matches!(backlog.mutation(0).await, Err(Error::Busy)));
            places.pop();
            drop(backlog.mutation(0).await.expect("there is room again"));
        });
    }

    #[test]
    fn payloads_count_with_their_bytes() {
        runtime().block_on(async {
            let backlog = Backlog::new(Duration::from_millis(20));
            let half = backlog.mutation(QUEUE_BYTES_MAX / 2).await.expect("there is room");
            let _other = backlog.mutation(QUEUE_BYTES_MAX / 2).await.expect("there is room");
            assert!(matches!(backlog.mutation(1).await, Err(Error::Busy)));
            drop(half);
            drop(backlog.mutation(1).await.expect("there is room again"));
        });
    }

    #[test]
    fn who_waits_gets_the_place_that_becomes_free() {
        runtime().block_on(async {
            let backlog = Arc::new(Backlog::default());
            let mut places = Vec::new();
            for _ in 0..STEPS_MAX {
                places.push(backlog.step().await.expect("there is room"));
            }
            let waiting = tokio::spawn({
                let backlog = Arc::clone(&backlog);
                async move { backlog.step().await.is_ok() }
            });
            tokio::task::yield_now().await;
            places.pop();
            assert!(waiting.await.expect("it does not panic"));
        });
    }
}
