//! MD5 of bodies, beside the threads that receive and write them. A stream gives the next step of its body and waits for its
//! turn; what waits at the same time is hashed side by side (`common/src/md5.rs`), so that eight uploads cost little more than
//! one. A stream that is alone is hashed at once, as fast as ever.
//!
//! Nothing here piles up: a stream has one step here at most. Who goes away takes its step along.

use bytes::Bytes;
use common::md5::{LANES, Lane, Md5, advance, has_lanes};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who comes in between waits no longer for the others than these bytes take: 0.1 ms.
const TURN_BYTES: usize = 64 * 1024;

pub struct Hashing {
    queue: Mutex<Queue>,
    workers_max: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    workers: usize,
}

struct Job {
    lane: Lane,
    reply: oneshot::Sender<Md5>,
}

impl Hashing {
    pub fn new(workers_max: usize) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), workers_max })
    }

    /// Takes a stream over its next bytes. The answer fails only when the runtime ends.
    pub fn hash(self: &Arc<Self>, md5: Md5, bytes: Bytes) -> oneshot::Receiver<Md5> {
        let (reply, answer) = oneshot::channel();
        let mut queue = self.lock();
        queue.waiting.push_back(Job { lane: Lane::new(md5, bytes), reply });
        if wants_worker(queue.waiting.len(), queue.workers, self.workers_max) {
            queue.workers += 1;
            let worker = Worker { hashing: Arc::clone(self), lanes: Vec::new(), replies: Vec::new(), has_ended: false };
            tokio::task::spawn_blocking(move || worker.run());
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker takes as many streams as have lanes; another one comes when as many again are waiting.
fn wants_worker(waiting: usize, workers: usize, workers_max: usize) -> bool {
    let full = if has_lanes() { LANES } else { 1 };
    workers == 0 || (waiting >= full && workers < workers_max)
}

/// Hashes until nobody waits.
struct Worker {
    hashing: Arc<Hashing>,
    lanes: Vec<Lane>,
    replies: Vec<oneshot::Sender<Md5>>,
    /// It does not count among the workers any more.
    has_ended: bool,
}

impl Worker {
    fn run(mut self) {
        while self.take_more() {
            advance(&mut self.lanes, TURN_BYTES);
            self.let_go();
        }
    }

    /// Fills free lanes. False: there is nothing to do.
    fn take_more(&mut self) -> bool {
        let hashing = Arc::clone(&self.hashing);
        let mut queue = hashing.lock();
        while self.lanes.len() < LANES
            && let Some(Job { lane, reply }) = queue.waiting.pop_front()
        {
            self.lanes.push(lane);
            self.replies.push(reply);
        }
        if self.lanes.is_empty() {
            // In the same moment in which nobody waits: whoever comes next starts a worker.
            queue.workers -= 1;
            self.has_ended = true;
        }
        !self.has_ended
    }

    /// Answers those that are done, and forgets those whose stream is gone.
    fn let_go(&mut self) {
        for at in (0..self.lanes.len()).rev() {
            if self.lanes[at].is_done() {
                let (lane, reply) = (self.lanes.swap_remove(at), self.replies.swap_remove(at));
                // Nobody may be waiting any more.
                let _ = reply.send(lane.end());
            } else if self.replies[at].is_closed() {
                self.lanes.swap_remove(at);
                self.replies.swap_remove(at);
            }
        }
    }
}

impl Drop for Worker {
    /// After a panic, or at the end of the runtime. What no other worker will take must not wait for ever.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut queue = self.hashing.lock();
        queue.workers -= 1;
        if queue.workers == 0 {
            queue.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::{Random, SeededRandom};

    #[test]
    fn a_worker_comes_for_the_first_and_for_every_full_company() {
        let full = if has_lanes() { LANES } else { 1 };
        assert!(wants_worker(1, 0, 4));
        assert!(wants_worker(full, 1, 4));
        assert!(!wants_worker(full - 1, 1, 4));
        assert!(!wants_worker(2 * full, 4, 4));
    }

    fn body(seed: u64, length: usize) -> Bytes {
        let mut bytes = vec![0; length];
        SeededRandom::new(seed).fill(&mut bytes);
        bytes.into()
    }

    async fn hash_in_steps(hashing: &Arc<Hashing>, bytes: Bytes, step: usize) -> [u8; 16] {
        let mut md5 = Md5::default();
        for at in (0..bytes.len()).step_by(step) {
            md5 = hashing.hash(md5, bytes.slice(at..bytes.len().min(at + step))).await.expect("an answer");
        }
        md5.finish()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_streams_at_once_keep_their_own_sums() {
        let hashing = Hashing::new(2);
        let streams = (0..40_u64).map(|seed| {
            let hashing = Arc::clone(&hashing);
            tokio::spawn(async move {
                let bytes = body(seed, (seed * seed * 977 % 300_000) as usize);
                let sum = hash_in_steps(&hashing, bytes.clone(), 10_000 + seed as usize * 1001).await;
                let mut alone = Md5::default();
                alone.update(&bytes);
                assert_eq!(sum, alone.finish(), "stream {seed}");
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
        let queue = hashing.lock();
        assert_eq!((queue.waiting.len(), queue.workers), (0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn streams_that_go_away_hold_nobody_up() {
        let hashing = Hashing::new(1);
        for seed in 0..50 {
            drop(hashing.hash(Md5::default(), body(seed, 1_000_000)));
        }
        let bytes = body(1, 100_000);
        let mut alone = Md5::default();
        alone.update(&bytes);
        assert_eq!(hash_in_steps(&hashing, bytes, 30_000).await, alone.finish());
    }

    /// As at the end of a runtime, which drops what it did not run.
    #[test]
    fn nobody_waits_for_a_worker_that_is_gone() {
        let hashing = Hashing::new(1);
        let (reply, answer) = oneshot::channel();
        let lane = Lane::new(Md5::default(), body(1, 100));
        hashing.lock().waiting.push_back(Job { lane, reply });
        hashing.lock().workers = 1;
        drop(Worker { hashing: Arc::clone(&hashing), lanes: Vec::new(), replies: Vec::new(), has_ended: false });
        assert!(answer.blocking_recv().is_err());
        assert_eq!(hashing.lock().workers, 0);
    }
}
