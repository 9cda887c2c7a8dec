//! The index's own thread: moves committed batches from the overlay into the store, and alone makes durable checkpoints
//! (engine rule A8). It is never on the path of an acknowledgement.

use super::overlay::Change;
use super::rows::{Location, RowKey};
use super::store::{Checkpoint, Store};
use super::{Index, Renewal};
use crate::disk::is_out_of_space;
use crate::files::Files;
use crate::format::name::SegmentName;
use crate::format::record::BucketRecord;
use crate::health::Health;
use crate::limits::{
    CHECKPOINT_INTERVAL_MS, CHECKPOINT_LOG_BYTES, CHECKPOINT_RECORDS, INDEX_FAILING_MS_MAX, INDEX_TRANSACTION_ROWS,
};
use crate::log::spares::Spares;
use crate::{Error, Result};
use common::{BucketId, Clock, Monotonic, Stamp, UploadId};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(500);
/// How long rows wait for others, that many go into one transaction of the store: it costs the less per row. Meanwhile
/// they are in the overlay, where readers find them sooner than in the store.
const GATHER_MS: u64 = 100;

/// What a durable batch means for the index.
pub struct CommittedBatch {
    pub number: u64,
    pub changes: Vec<Change>,
    /// What the overlay shows of them.
    pub shown: Vec<Change>,
    /// Buckets that the disk learned about, or (`None`) forgot.
    pub buckets: Vec<(BucketId, Option<(Stamp, BucketRecord)>)>,
    /// The log's position behind the batch.
    pub end: Checkpoint,
    pub log_bytes: u64,
}

/// What a compaction means for the index.
#[derive(Default)]
pub struct Relocation {
    pub output: Option<SegmentName>,
    pub moves: Vec<(RowKey, Location, Location)>,
    /// Dead records that the output no longer holds; the upload for those of uploads and parts.
    pub forgets: Vec<(RowKey, Option<UploadId>)>,
    /// Tombstones that the output no longer holds.
    pub drops: Vec<(RowKey, Option<UploadId>, Location)>,
}

pub enum Message {
    Batch(Arc<CommittedBatch>),
    Damaged(RowKey, Stamp),
    Relocate(Relocation, Sender<Result<()>>),
    /// Makes a durable checkpoint of everything sent before.
    Checkpoint(Sender<Result<()>>),
    Stop,
}

pub struct Keeper {
    pub index: Arc<Index>,
    pub files: Arc<Files>,
    pub health: Arc<Health>,
    pub clock: Arc<dyn Clock>,
    pub spares: Arc<Spares>,
    /// Makes a store that holds all that the log does in the place of one that failed.
    pub renew: Box<dyn Fn(Renewal) -> Result<Store> + Send>,
    /// A batch could not be applied: the disk stopped, or failed under a rebuild. Batches stay in the overlay, no checkpoint
    /// is made any more: the next start recovers.
    pub gave_up: std::cell::Cell<bool>,
    /// Since when there has been no store because none could be made, for another reason than space.
    pub failing_since_ns: std::cell::Cell<Option<u64>>,
    /// What that is measured by, as the pauses between the attempts are real: a wall clock that is set forward must not fail a
    /// disk, and one that stands must not keep anybody waiting for ever.
    pub monotonic: Arc<dyn Monotonic>,
    /// Where the last durable checkpoint ends.
    pub durable: Arc<std::sync::Mutex<Checkpoint>>,
}

/// What has happened since the last durable checkpoint.
struct Progress {
    position: Checkpoint,
    batch: u64,
    log_bytes: u64,
    records: u64,
    last_checkpoint_ms: u64,
}

impl Keeper {
    /// The thread's body.
    pub fn run(self, messages: &Receiver<Message>, start: Checkpoint) {
        let mut progress =
            Progress { position: start, batch: 0, log_bytes: 0, records: 0, last_checkpoint_ms: self.clock.now_ms() };
        loop {
            let first = match messages.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (batches, other) = self.gather(first, messages);
            if let Some(renewal) = self.index.take_wanted().filter(|_| !self.gave_up.get()) {
                // When it stops meanwhile the next start does it.
                self.renew(renewal, &Error::IndexBroken("a reader could not use it".into())).ok();
            }
            self.drain(&batches, &mut progress);
            match other {
                Some(Message::Damaged(key, stamp)) => {
                    self.retrying(|store| store.write(false, |writer| writer.mark_damaged(&key, stamp)));
                }
                Some(Message::Relocate(relocation, reply)) => {
                    let result =
                        self.once(|store| relocate(store, &relocation)).and_then(|()| self.checkpoint(&mut progress));
                    reply.send(result).ok();
                }
                Some(Message::Checkpoint(reply)) => {
                    reply.send(self.checkpoint(&mut progress)).ok();
                }
                Some(Message::Stop) => return,
                Some(Message::Batch(_)) | None => {}
            }
            let age_ms = self.clock.now_ms().saturating_sub(progress.last_checkpoint_ms);
            // On a full disk each transaction is one of its own: pages that it replaced are free for the next one, and
            // compaction may touch what it covers.
            let due = progress.log_bytes >= CHECKPOINT_LOG_BYTES
                || progress.records >= CHECKPOINT_RECORDS
                || age_ms >= CHECKPOINT_INTERVAL_MS
                || self.spares.is_short();
            if progress.log_bytes > 0
                && due
                && let Err(error) = self.checkpoint(&mut progress)
            {
                tracing::error!(%error, "the index's checkpoint failed");
            }
        }
    }

    /// The batches of one transaction, and the message that ended them, if one did.
    fn gather(
        &self,
        first: Option<Message>,
        messages: &Receiver<Message>,
    ) -> (Vec<Arc<CommittedBatch>>, Option<Message>) {
        let (mut batches, mut rows) = (Vec::new(), 0);
        let mut next = first;
        let until_ms = self.clock.now_ms() + GATHER_MS;
        while let Some(message) = next {
            match message {
                Message::Batch(batch) => {
                    rows += batch.changes.len();
                    batches.push(batch);
                }
                other => return (batches, Some(other)),
            }
            if rows >= INDEX_TRANSACTION_ROWS {
                break;
            }
            let left_ms = until_ms.saturating_sub(self.clock.now_ms()).min(GATHER_MS);
            next = messages.recv_timeout(Duration::from_millis(left_ms)).ok();
        }
        (batches, None)
    }

    fn drain(&self, batches: &[Arc<CommittedBatch>], progress: &mut Progress) {
        let Some(last) = batches.last() else { return };
        if self.gave_up.get() {
            return;
        }
        let changes: Vec<Change> = batches.iter().flat_map(|batch| batch.changes.iter().cloned()).collect();
        let applied = self.retrying(|store| {
            store.write(false, |writer| {
                writer.apply_all(&changes)?;
                for batch in batches {
                    for (id, bucket) in &batch.buckets {
                        match bucket {
                            Some((stamp, record)) => writer.put_bucket(*id, *stamp, record)?,
                            None => writer.remove_bucket(*id)?,
                        }
                    }
                }
                Ok(())
            })
        });
        if !applied {
            // Stopping: the rows stay in the overlay, and no checkpoint passes them, whatever becomes of later batches (A3).
            self.give_up();
            return;
        }
        for batch in batches {
            self.index.overlay.remove(batch.number, &batch.shown);
            progress.log_bytes += batch.log_bytes;
            progress.records += batch.changes.len() as u64;
        }
        progress.position = last.end;
        progress.batch = last.number;
    }

    fn with_store<T>(&self, run: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
        run(self.index.store()?.as_ref())
    }

    /// Does what can wait for another time. The store is renewed if it failed, because readers need one that works.
    fn once(&self, run: impl FnOnce(&Store) -> Result<()>) -> Result<()> {
        let done = self.with_store(run);
        if let Err(error) = &done
            && let Some(renewal) = Renewal::after(error)
        {
            self.renew(renewal, error)?;
        }
        done
    }

    /// A failed index never makes a committed write fail: it is built anew from the log, while the overlay stays.
    /// Gives whether it was done; it is not when the disk stops first.
    fn retrying(&self, run: impl Fn(&Store) -> Result<()>) -> bool {
        while let Err(error) = self.with_store(&run) {
            let renewal = Renewal::after(&error).unwrap_or(Renewal::Rebuild);
            if self.gave_up.get() || self.health.is_stopping() || self.renew(renewal, &error).is_err() {
                return false;
            }
        }
        true
    }

    /// Puts a store that the log gives in the place of the one that failed. If that fails there is none, and the thread comes
    /// here again.
    fn renew(&self, renewal: Renewal, error: &Error) -> Result<()> {
        // After one failed read redb says no more than that there was one; a reader may have seen which.
        let renewal = renewal.max(self.index.take_wanted().unwrap_or(renewal));
        tracing::error!(%error, ?renewal, "the index failed");
        if let Ok(store) = self.index.store() {
            store.shut();
        }
        self.index.replace_store(None);
        match (self.renew)(renewal) {
            Ok(store) => {
                self.index.replace_store(Some(Arc::new(store)));
                self.index.take_wanted();
                self.failing_since_ns.set(None);
            }
            Err(Error::Stopping) => return Err(Error::Stopping),
            Err(error) if is_want_of_space(&error) => {
                tracing::error!("there is no space for the index, not even the reserve: it waits for some");
                self.failing_since_ns.set(None);
                self.once_more(renewal);
            }
            Err(error @ Error::DiskFailed(_)) => {
                self.give_up();
                return Err(error);
            }
            // The disk does not even let the log be read or the index be made. That may pass, as when a cable or a path to the
            // disk is changed; if it does not, the disk has failed. Want of space may last.
            Err(error) => {
                let now_ns = self.monotonic.elapsed_ns();
                let since_ns = self.failing_since_ns.get().unwrap_or(now_ns);
                self.failing_since_ns.set(Some(since_ns));
                if now_ns.saturating_sub(since_ns) >= INDEX_FAILING_MS_MAX * 1_000_000 {
                    self.health.fail(&format!("the index cannot be rebuilt: {}", with_source(&error)));
                    self.give_up();
                    return Err(error);
                }
                tracing::error!(error = with_source(&error), "the index could not be rebuilt; trying again");
                self.once_more(renewal);
            }
        }
        Ok(())
    }

    /// Whether a write comes or not: readers ask for it, and nobody lets them wait while it fails.
    fn once_more(&self, renewal: Renewal) {
        self.index.give_up_hope();
        self.index.want(renewal);
        std::thread::sleep(TICK);
    }

    fn give_up(&self) {
        self.gave_up.set(true);
        self.index.give_up_hope();
    }

    /// Everything up to `progress.position` becomes durable in the index. The names that its records moved are synced
    /// first (A2); the records themselves are, since they left the log's batch (A3).
    fn checkpoint(&self, progress: &mut Progress) -> Result<()> {
        if self.gave_up.get() {
            return Err(Error::IndexRebuilding);
        }
        // On a failed disk the files may never come that far.
        let hopeless = || self.health.is_stopping_hard() || self.health.failure().is_some();
        if !self.files.wait_applied(progress.batch, hopeless) {
            return Err(Error::Stopping);
        }
        self.files.sync_touched().map_err(|error| {
            let failed = format!("sync of directories: {error}");
            self.health.fail(&failed);
            Error::DiskFailed(failed)
        })?;
        self.once(|store| store.write(true, |writer| writer.set_checkpoint(progress.position)))?;
        *self.durable.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = progress.position;
        progress.log_bytes = 0;
        progress.records = 0;
        progress.last_checkpoint_ms = self.clock.now_ms();
        Ok(())
    }
}

fn is_want_of_space(error: &Error) -> bool {
    match error {
        Error::OutOfSpace => true,
        Error::Io { source, .. } => is_out_of_space(source),
        _ => false,
    }
}

/// An error of the disk does not say by itself what the disk said.
fn with_source(error: &Error) -> String {
    match error {
        Error::Io { what, source } => format!("{what}: {source}"),
        error => error.to_string(),
    }
}

/// Applies a compaction once: its output's name is remembered in the same transaction.
pub fn relocate(store: &Store, relocation: &Relocation) -> Result<()> {
    store.write(false, |writer| {
        if let Some(output) = relocation.output {
            if writer.was_compacted(output)? {
                return Ok(());
            }
            writer.set_compacted(output)?;
        }
        // In the order of the keys, and a key once: an overwritten one has many dead records.
        let mut moves: Vec<&(RowKey, Location, Location)> = relocation.moves.iter().collect();
        moves.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, from, to) in moves {
            writer.relocate(key, *from, *to)?;
        }
        let mut forgets: Vec<&(RowKey, Option<UploadId>)> = relocation.forgets.iter().collect();
        forgets.sort_unstable();
        for of_key in forgets.chunk_by(|a, b| a == b) {
            let (key, upload) = of_key[0];
            writer.forget_dead(key, *upload, of_key.len() as u32)?;
        }
        for (key, upload, location) in &relocation.drops {
            if !writer.drop_tombstone(key, *location)? {
                writer.forget_dead(key, *upload, 1)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::damaged_row;
    use crate::disk::twin::TwinDisk;
    use crate::format::name::SegmentNumber;
    use crate::log::Segments;
    use crate::reserve::Reserve;
    use common::VersionId;
    use common::doors::{SimulatedClock, SimulatedMonotonic};
    use std::sync::mpsc::channel;

    fn batch(number: u64) -> (RowKey, Message) {
        let location = Location { segment: SegmentNumber(1), generation: 0, offset: number as u32 * 4096, length: 100 };
        let stamp = Stamp(number);
        let key = RowKey::object(BucketId(1), &format!("key-{number}"));
        let changes = vec![Change { key: key.clone(), row: damaged_row(stamp, location, VersionId::Null) }];
        let end = Checkpoint { segment: SegmentNumber(1), offset: location.offset + 4096, stamp };
        let batch =
            CommittedBatch { number, shown: changes.clone(), changes, buckets: Vec::new(), end, log_bytes: 4096 };
        (key, Message::Batch(Arc::new(batch)))
    }

    const START: Checkpoint = Checkpoint { segment: SegmentNumber(1), offset: 4096, stamp: Stamp::ZERO };

    type Renew = Box<dyn Fn(Renewal) -> Result<Store> + Send>;

    /// A keeper whose index has no store, and a store that it could have.
    fn without_store(renew: Renew, clock: Arc<SimulatedClock>) -> (Keeper, Arc<Store>) {
        let disk: Arc<dyn crate::disk::Disk> = Arc::new(TwinDisk::default());
        ["index", "log"].iter().for_each(|directory| disk.make_dir(directory).unwrap());
        let reserve = Arc::new(Reserve::open(Arc::clone(&disk), 0));
        let store = Arc::new(Store::open(disk.as_ref(), &reserve).unwrap());
        let spares = Spares::open(Arc::clone(&disk), Arc::clone(&reserve), 4096, false).unwrap();
        let segments = Arc::new(Segments::new(Arc::clone(&disk)));
        let keeper = Keeper {
            index: Arc::new(Index::new(None)),
            files: Arc::new(Files::new(disk, segments, reserve)),
            health: Arc::new(Health::default()),
            clock,
            spares: Arc::new(spares),
            renew,
            gave_up: std::cell::Cell::new(false),
            failing_since_ns: std::cell::Cell::new(None),
            monotonic: Arc::new(SimulatedMonotonic::default()),
            durable: Arc::new(std::sync::Mutex::new(START)),
        };
        (keeper, store)
    }

    fn no_read() -> Error {
        Error::Io { what: "read the log".to_owned(), source: std::io::Error::from_raw_os_error(5) }
    }

    /// A read that fails is no failed disk until it goes on failing; no write has to come for the next attempt.
    #[test]
    fn an_index_that_cannot_be_rebuilt_is_tried_again() {
        let attempts = std::sync::atomic::AtomicU32::new(0);
        let renew = move |renewal| {
            assert_eq!(renewal, Renewal::Rebuild);
            if attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                return Err(no_read());
            }
            let disk: Arc<dyn crate::disk::Disk> = Arc::new(TwinDisk::default());
            ["index", "log"].iter().for_each(|directory| disk.make_dir(directory).unwrap());
            Store::open(disk.as_ref(), &Arc::new(Reserve::open(Arc::clone(&disk), 0)))
        };
        let (keeper, _) = without_store(Box::new(renew), SimulatedClock::starting_at(0));
        let (index, health) = (Arc::clone(&keeper.index), Arc::clone(&keeper.health));
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || keeper.run(&receiver, START));
            index.want(Renewal::Rebuild);
            assert!(index.lookup(&batch(1).0).is_err(), "there is no store yet");
            while index.patiently(|| index.lookup(&batch(1).0)).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
            sender.send(Message::Stop).unwrap();
        });
        assert_eq!(health.failure(), None);
    }

    #[test]
    fn readers_wait_for_an_index_that_is_opened_again() {
        let (keeper, store) = without_store(Box::new(|_| Err(Error::Stopping)), SimulatedClock::starting_at(0));
        let index = &keeper.index;
        let looks = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                index.patiently(|| {
                    looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    index.lookup(&batch(1).0)
                })
            });
            while looks.load(std::sync::atomic::Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            index.replace_store(Some(store));
            assert!(reader.join().unwrap().unwrap().is_none());
        });
        assert!(looks.into_inner() >= 2);
    }

    #[test]
    fn a_disk_that_goes_on_giving_errors_has_failed() {
        let (mut keeper, _) = without_store(Box::new(|_| Err(no_read())), SimulatedClock::starting_at(0));
        let clock = Arc::new(SimulatedMonotonic::default());
        keeper.monotonic = Arc::clone(&clock) as Arc<dyn Monotonic>;
        keeper.renew(Renewal::Rebuild, &no_read()).unwrap();
        clock.advance_ns(INDEX_FAILING_MS_MAX * 1_000_000 / 2);
        keeper.renew(Renewal::Rebuild, &no_read()).unwrap();
        assert_eq!(keeper.health.failure(), None);
        clock.advance_ns(INDEX_FAILING_MS_MAX * 1_000_000 / 2);
        assert!(keeper.renew(Renewal::Rebuild, &no_read()).is_err());
        assert!(keeper.health.failure().is_some_and(|reason| reason.contains("read the log")));
        // Nobody waits for what does not come.
        let mut looks = 0;
        let answer = keeper.index.patiently(|| {
            looks += 1;
            keeper.index.lookup(&batch(1).0)
        });
        assert!(answer.is_err());
        assert_eq!(looks, 1);
    }

    /// Each look at it is ten seconds later.
    #[derive(Default)]
    struct Hurrying(std::sync::atomic::AtomicU64);

    impl Monotonic for Hurrying {
        fn elapsed_ns(&self) -> u64 {
            self.0.fetch_add(10_000_000_000, std::sync::atomic::Ordering::Relaxed)
        }
    }

    /// Whoever asked for a checkpoint gets an answer, although nothing is ever written again: whatever keeps the index from being
    /// made.
    #[test]
    fn a_batch_that_cannot_be_applied_lets_nobody_wait_for_ever() {
        let errors: [fn() -> Error; 2] = [no_read, || Error::IndexBroken("a footer is missing".to_owned())];
        for error in errors {
            let (mut keeper, _) = without_store(Box::new(move |_| Err(error())), SimulatedClock::starting_at(0));
            keeper.monotonic = Arc::new(Hurrying::default());
            let health = Arc::clone(&keeper.health);
            let (sender, receiver) = channel();
            std::thread::scope(|scope| {
                scope.spawn(move || keeper.run(&receiver, START));
                sender.send(batch(1).1).unwrap();
                let (reply, answer) = channel();
                sender.send(Message::Checkpoint(reply)).unwrap();
                let answer = answer.recv_timeout(Duration::from_secs(60));
                // Also when it goes wrong, so that the thread ends.
                health.set_stopping_hard();
                assert!(answer.expect("an answer").is_err());
                sender.send(Message::Stop).unwrap();
            });
            assert!(health.failure().is_some());
        }
    }

    /// A batch that a stopping disk could not apply, and a later one that it could: a checkpoint behind the second would
    /// say that the first is in the index, and replay would never bring it back (A3).
    #[test]
    fn no_checkpoint_passes_a_batch_that_was_not_applied() {
        let (keeper, store) = without_store(Box::new(|_| Err(Error::Stopping)), SimulatedClock::starting_at(0));
        let index = Arc::clone(&keeper.index);
        keeper.health.set_stopping();
        keeper.files.set_applied(2);
        let (sender, receiver) = channel();
        let ask = |sender: &Sender<Message>| {
            let (reply, answer) = channel();
            sender.send(Message::Checkpoint(reply)).unwrap();
            answer.recv().unwrap()
        };
        std::thread::scope(|scope| {
            scope.spawn(move || keeper.run(&receiver, START));
            let ((first, message), (_, second)) = (batch(1), batch(2));
            sender.send(message).unwrap();
            // Without a store nothing is applied, and nothing is made durable.
            assert!(ask(&sender).is_err());
            index.replace_store(Some(Arc::clone(&store)));
            sender.send(second).unwrap();
            let checkpointed = ask(&sender);
            let knows_the_first = store.lookup(&first).unwrap().is_some();
            sender.send(Message::Stop).unwrap();
            assert!(knows_the_first || (checkpointed.is_err() && store.checkpoint().unwrap().is_none()));
        });
    }
}
