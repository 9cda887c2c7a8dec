//! One disk with everything that serves it: log, index, files and the threads between them.

use crate::backlog::Backlog;
use crate::commit::{Committer, Decided, Message as CommitMessage, Ticket, decide::Request};
use crate::disk::buffers::Buffers;
use crate::disk::stage::StagedFile;
use crate::disk::{Disk, SyncPoint, is_out_of_space, read_small, replace_small};
use crate::feed::Feed;
use crate::files::{Done, Files};
use crate::format::footer::Footer;
use crate::format::identity::{self, DiskIdentity};
use crate::format::name::{FileId, SegmentName};
use crate::hashing::Hashing;
use crate::health::Health;
use crate::index::keeper::{Keeper, Message as KeeperMessage, relocate};
use crate::index::rows::{RowKey, Table};
use crate::index::store::{Checkpoint, Store};
use crate::index::{Index, Renewal};
use crate::limits::{
    QUEUE_MUTATIONS_MAX, READ_BUFFERS_KEPT_MAX, READ_STEP_BYTES, WRITE_BUFFERS_KEPT_MAX, WRITE_STEP_BYTES,
};
use crate::log::compact::{Compacted, Compactor, Need, candidates, choose, relocation};
use crate::log::recover::{self, Recovered};
use crate::log::spares::Spares;
use crate::log::writer::{BucketTable, LogWriter, WriterParts};
use crate::log::{Segments, read_footer};
use crate::replay::{Replay, holes, rebuild, refuse_holes, set_aside};
use crate::reserve::Reserve;
use crate::target::TermSource;
use crate::{Error, Result};
use bytes::Bytes;
use common::doors::SystemMonotonic;
use common::{Clock, Epoch, Random, Stamp, Term, VersionId};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

const RESTORE: &[u8] = include_bytes!("restore.py");
/// What is written meanwhile may be dead already, beside the live data and as much again.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(2);
/// Whoever deletes to make room on a full disk waits for it.
const COMPACTION_INTERVAL_FULL: Duration = Duration::from_millis(200);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const RETRIES_MAX: u32 = 10;

#[derive(Debug, Clone, Copy)]
pub struct DiskOptions {
    pub segment_bytes: u64,
    pub inline_bytes_max: u64,
    /// Every part of an upload but the last has at least this many bytes.
    pub part_bytes_min: u64,
    /// Held back beside the spare segments for what must go on when the disk is full (A18).
    pub reserve_bytes: u64,
    /// Spare segments are written with zeros, not only allocated.
    pub prewrite: bool,
    /// A thread compacts now and then; without it only `compact` does.
    pub background_work: bool,
}

/// The doors that a disk is given.
#[derive(Clone)]
pub struct Doors {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub terms: Arc<dyn TermSource>,
}

pub struct DiskStore {
    pub disk: Arc<dyn Disk>,
    pub index: Arc<Index>,
    pub segments: Arc<Segments>,
    pub files: Arc<Files>,
    pub feed: Arc<Feed>,
    pub health: Arc<Health>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub options: DiskOptions,
    /// For steps of large reads.
    pub read_buffers: Arc<Buffers>,
    /// For steps of large bodies.
    pub write_buffers: Arc<Buffers>,
    pub hashing: Arc<Hashing>,
    /// One per start, from the control store.
    pub run: Term,
    next_file: AtomicU64,
    disk_id: [u8; 16],
    committer: mpsc::Sender<CommitMessage>,
    pub backlog: Backlog,
    keeper: Sender<KeeperMessage>,
    durable: Arc<Mutex<Checkpoint>>,
    spares: Arc<Spares>,
    reserve: Arc<Reserve>,
    /// One at a time; and the one whose output has its name and that the index did not take yet.
    compacting: Mutex<Option<Compacted>>,
    /// Segments that compaction could not read.
    unfit: Mutex<HashSet<SegmentName>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(Error::io("start a thread"))
}

impl DiskStore {
    /// Recovers and opens a disk; an empty directory becomes a new one. Blocking.
    pub fn open(disk: Arc<dyn Disk>, options: DiskOptions, doors: &Doors) -> Result<Arc<Self>> {
        let identity = open_identity(disk.as_ref(), doors.random.as_ref())?;
        let disk_id = identity.id().expect("checked when it was read");
        let segments = Arc::new(Segments::new(Arc::clone(&disk)));
        let reserve = Arc::new(Reserve::open(Arc::clone(&disk), options.reserve_bytes));
        let files = Arc::new(Files::new(Arc::clone(&disk), Arc::clone(&segments), Arc::clone(&reserve)));
        let opened = recover_disk(&segments, &reserve, &files, &identity)?;
        let run = next_term(doors.terms.as_ref(), &opened)?;
        let health = Arc::new(Health::default());
        let buckets: BTreeMap<_, _> =
            opened.store.buckets()?.into_iter().map(|(id, stamp, record)| (id, (stamp, record))).collect();
        let index = Arc::new(Index::new(Some(Arc::new(opened.store))));
        let feed = Feed::open(Arc::clone(&disk), Arc::clone(&segments), opened.position.stamp)?;
        let spares = Spares::open(Arc::clone(&disk), Arc::clone(&reserve), options.segment_bytes, options.prewrite);
        let spares = Arc::new(spares.map_err(Error::io("log/"))?);
        reserve.started({
            let spares = Arc::downgrade(&spares);
            move || spares.upgrade().iter().for_each(|spares| spares.wake())
        });
        let writer = LogWriter::new(WriterParts {
            disk: Arc::clone(&disk),
            segments: Arc::clone(&segments),
            spares: Arc::clone(&spares),
            random: Arc::clone(&doors.random),
            disk_id,
            run,
            segment_bytes: options.segment_bytes,
            next_segment: opened.position.segment,
        });

        let (committer, commit_messages) = mpsc::channel(QUEUE_MUTATIONS_MAX);
        let (keeper, keeper_messages) = channel();
        let (applier, applier_messages) = channel();
        let durable = Arc::new(Mutex::new(opened.position));
        let committing = Committer {
            disk: Arc::clone(&disk),
            index: Arc::clone(&index),
            files: Arc::clone(&files),
            health: Arc::clone(&health),
            clock: Arc::clone(&doors.clock),
            terms: Arc::clone(&doors.terms),
            writer,
            keeper: keeper.clone(),
            applier,
            feed: Arc::clone(&feed),
            epoch: Epoch(1),
            term: run,
            counter: 0,
            views: std::collections::HashMap::new(),
            buckets,
            segment_bytes: options.segment_bytes,
        };
        let keeping = Keeper {
            index: Arc::clone(&index),
            files: Arc::clone(&files),
            health: Arc::clone(&health),
            clock: Arc::clone(&doors.clock),
            gave_up: std::cell::Cell::new(false),
            failing_since_ns: std::cell::Cell::new(None),
            monotonic: Arc::new(SystemMonotonic),
            renew: renewer(Arc::clone(&segments), Arc::clone(&reserve), committer.downgrade()),
            spares: Arc::clone(&spares),
            durable: Arc::clone(&durable),
        };
        let position = opened.position;
        let threads = vec![
            spawn("weir-commit", move || committing.run(commit_messages))?,
            spawn("weir-index", move || keeping.run(&keeper_messages, position))?,
            spawn("weir-files", {
                let (files, health) = (Arc::clone(&files), Arc::clone(&health));
                move || apply_files(&files, &health, &applier_messages)
            })?,
            spawn("weir-spares", {
                let spares = Arc::clone(&spares);
                move || spares.run()
            })?,
        ];
        let store = Arc::new(Self {
            disk,
            index,
            segments,
            files,
            feed,
            health,
            clock: Arc::clone(&doors.clock),
            random: Arc::clone(&doors.random),
            options,
            read_buffers: Buffers::new(READ_STEP_BYTES, READ_BUFFERS_KEPT_MAX),
            write_buffers: Buffers::new(WRITE_STEP_BYTES, WRITE_BUFFERS_KEPT_MAX),
            hashing: Hashing::new(std::thread::available_parallelism().map_or(1, usize::from)),
            run,
            next_file: AtomicU64::new(1),
            disk_id,
            committer,
            backlog: Backlog::default(),
            keeper,
            durable,
            spares,
            reserve,
            compacting: Mutex::new(None),
            unfit: Mutex::default(),
            threads: Mutex::new(threads),
        });
        if options.background_work {
            let (weak, spares) = (Arc::downgrade(&store), Arc::clone(&store.spares));
            lock(&store.threads).push(spawn("weir-compact", move || compact_now_and_then(&weak, &spares))?);
        }
        Ok(store)
    }

    /// Whether ordinary writes may go on: the disk has room, and all that is held back for a full one is there (A18).
    pub fn has_space(&self) -> bool {
        self.spares.has_ordinary()
    }

    pub fn new_file_id(&self) -> FileId {
        FileId::new(self.run, self.next_file.fetch_add(1, Ordering::Relaxed), self.random.u64() as u32)
    }

    /// Hands a mutation to the committer and waits until it is durable or refused.
    pub async fn mutate(&self, request: Request, payload: Option<Bytes>, staged: Vec<StagedFile>) -> Result<Decided> {
        let (reply, answer) = oneshot::channel();
        let place = self.backlog.mutation(payload.as_ref().map_or(0, Bytes::len)).await?;
        let ticket = Box::new(Ticket { request, payload, staged, reply, place });
        self.committer.send(CommitMessage::Mutate(ticket)).await.map_err(|_| Error::Stopping)?;
        answer.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown("the disk stopped".into())))
    }

    pub async fn tell_committer(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<()>>) -> CommitMessage,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.committer.send(message(reply)).await.map_err(|_| Error::Stopping)?;
        answer.await.unwrap_or(Err(Error::Stopping))
    }

    /// A read found that the record or a file of this version (by its identity) is not what was written: from here on it answers with an error,
    /// never with something older (A10).
    pub fn mark_damaged(&self, key: &RowKey, stamp: Stamp, what: &str) {
        tracing::error!(what, %stamp, "damage: the object answers with an error until it is written again");
        // A version may stand in two places.
        let places = match key.table() {
            Table::Objects => vec![key.clone(), key.version_of(VersionId::Null)],
            Table::Versions => key.of_version().map(|(object, _)| object).into_iter().chain([key.clone()]).collect(),
            Table::Uploads | Table::Parts => vec![key.clone()],
        };
        for place in places {
            self.index.overlay.update(&place, |row| {
                if row.stamp == stamp {
                    row.damaged = true;
                }
            });
        }
        self.keeper.send(KeeperMessage::Damaged(key.clone(), stamp)).ok();
    }

    /// Takes a damaged data file out of the way, for whoever wants to look at it.
    pub fn quarantine(&self, id: FileId) {
        let moved = self.disk.rename(&id.path(), &format!("quarantine/{id}"));
        tracing::error!(%id, moved = moved.is_ok(), "a damaged data file went to quarantine/");
    }

    /// Makes everything committed so far durable in the index as well. Blocking.
    pub fn checkpoint(&self) -> Result<()> {
        let (reply, answer) = channel();
        self.keeper.send(KeeperMessage::Checkpoint(reply)).map_err(|_| Error::Stopping)?;
        answer.recv().unwrap_or(Err(Error::Stopping))
    }

    /// Closes the active segment. Blocking; not from an async task.
    pub fn rotate(&self) -> Result<()> {
        let (reply, answer) = channel();
        self.committer.blocking_send(CommitMessage::Rotate(reply)).map_err(|_| Error::Stopping)?;
        answer.recv().unwrap_or(Err(Error::Stopping))
    }

    /// Compacts the most rewarding run of segments. Gives whether there was one. Blocking.
    pub fn compact(&self) -> Result<bool> {
        let mut pending = lock(&self.compacting);
        let compacted = match pending.take() {
            Some(compacted) => compacted,
            None => match self.write_compacted()? {
                Some(compacted) => compacted,
                None => return Ok(false),
            },
        };
        self.feed.compacted(&compacted.inputs);
        // Until the index knows, nothing may be unlinked and nothing else compacted. What it does not take now, for want of
        // space perhaps, comes again with the next call; if the index is built anew meanwhile it holds the output already,
        // and says so; and if it never does, the next start settles it.
        if let Err(error) = self.settle(&compacted) {
            *pending = Some(compacted);
            return Err(error);
        }
        for (name, _) in &compacted.inputs {
            self.segments.remove(*name);
            if let Err(error) = self.disk.unlink(&name.path()) {
                tracing::warn!(%error, segment = %name, "a compacted segment stays until the next start");
            }
        }
        let Compacted { output, footer, inputs } = compacted;
        tracing::info!(inputs = inputs.len(), output = %output, records = footer.entries.len(), "compacted");
        self.spares.wake();
        Ok(true)
    }

    /// Chooses a run and writes its output, with the disk's reserve if it must: it wins back more than it takes.
    fn write_compacted(&self) -> Result<Option<Compacted>> {
        let store = self.index.store()?;
        let durable = *lock(&self.durable);
        let mut candidates = candidates(&self.segments, &store.segments()?, durable, &lock(&self.unfit));
        let need = if self.spares.is_short() { Need::Space } else { Need::Order };
        // On a full disk room for writes goes before what a slow consumer has not read.
        if need == Need::Order {
            self.feed.hold_back(&mut candidates);
        }
        let Some(names) = choose(&candidates, self.options.segment_bytes, need) else { return Ok(None) };
        let compactor = Compactor {
            unfit: &self.unfit,
            disk: &self.disk,
            segments: &self.segments,
            store: &store,
            disk_id: self.disk_id,
            nonce: self.random.u64(),
        };
        let written = match compactor.write(&names) {
            Err(Error::Io { source, .. }) if is_out_of_space(&source) && self.reserve.release() => {
                compactor.write(&names)
            }
            written => written,
        };
        written.map(Some).inspect_err(|error| {
            if let Error::DiskFailed(reason) = error {
                self.health.fail(reason);
            }
        })
    }

    /// Lets the index learn where the output's records are, and waits until nothing looks for them in the inputs.
    fn settle(&self, Compacted { output, footer, inputs }: &Compacted) -> Result<()> {
        let mut attempts = 0;
        let moves = relocation(inputs, *output, footer).moves.into_iter().map(|(_, from, to)| (from, to)).collect();
        loop {
            let (reply, answer) = channel();
            let message = KeeperMessage::Relocate(relocation(inputs, *output, footer), reply);
            self.keeper.send(message).map_err(|_| Error::Stopping)?;
            match answer.recv().unwrap_or(Err(Error::Stopping)) {
                Ok(()) => break,
                Err(error) if attempts == RETRIES_MAX || self.health.failure().is_some() => return Err(error),
                Err(Error::Stopping) => return Err(Error::Stopping),
                Err(error) => {
                    tracing::warn!(%error, output = %output, "the index did not take a compaction; trying again")
                }
            }
            attempts += 1;
            std::thread::sleep(RETRY_INTERVAL);
        }
        // A batch that was decided before may name an old address as what it replaces: its files are freed first. It may
        // also have moved a row within the overlay, an older version that is current again: that one learns the new address.
        let (reply, answer) = channel();
        self.committer.blocking_send(CommitMessage::Relocated(moves, reply)).map_err(|_| Error::Stopping)?;
        let last_batch = answer.recv().map_err(|_| Error::Stopping)?;
        let hopeless = || self.health.is_stopping_hard() || self.health.failure().is_some();
        if self.files.wait_applied(last_batch, hopeless) { Ok(()) } else { Err(Error::Stopping) }
    }

    /// Commits what is waiting, seals the log, makes a checkpoint and ends the threads. Blocking.
    pub fn shutdown(&self) -> Result<()> {
        self.committer.blocking_send(CommitMessage::Stop).ok();
        let mut threads = std::mem::take(&mut *lock(&self.threads)).into_iter();
        self.spares.stop();
        // The committer is the first; it lets the files' thread end, and then a checkpoint covers everything.
        if let Some(committer) = threads.next() {
            committer.join().ok();
        }
        let checkpoint = if self.health.failure().is_none() { self.checkpoint() } else { Ok(()) };
        self.health.set_stopping();
        self.keeper.send(KeeperMessage::Stop).ok();
        for thread in threads {
            thread.join().ok();
        }
        // The store is closed here and not when the last reader lets go of this value: the next process may come at once.
        self.index.replace_store(None);
        checkpoint
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.health.set_stopping();
        self.health.set_stopping_hard();
        self.spares.stop();
    }
}

fn apply_files(files: &Files, health: &Health, messages: &Receiver<(u64, Vec<Done>)>) {
    while let Ok((number, done)) = messages.recv() {
        for done in &done {
            let mut applied = files.apply(done);
            // No room for a name: not a failure (A18). Readers find the file in staging/ as well.
            while applied.as_ref().is_err_and(is_out_of_space) && !health.is_stopping() {
                std::thread::sleep(RETRY_INTERVAL);
                applied = files.apply(done);
            }
            if let Err(error) = applied {
                // The record is durable; the next start does this step again. Until then no checkpoint passes it.
                health.fail(&format!("files of a committed record: {error}"));
                return;
            }
        }
        files.set_applied(number);
    }
}

fn compact_now_and_then(store: &Weak<DiskStore>, spares: &Spares) {
    while spares.pause(COMPACTION_INTERVAL, COMPACTION_INTERVAL_FULL) {
        let Some(store) = store.upgrade() else { return };
        while store.health.failure().is_none() && !store.health.is_stopping() {
            match store.compact() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "compaction failed");
                    break;
                }
            }
        }
    }
}

/// How the keeper gets a new index while the disk serves: the log is closed where it stands and read, from the start or
/// from where the index was durable. What is committed meanwhile waits in the overlay and in the keeper's queue.
fn renewer(
    segments: Arc<Segments>,
    reserve: Arc<Reserve>,
    committer: mpsc::WeakSender<CommitMessage>,
) -> Box<dyn Fn(Renewal) -> Result<Store> + Send> {
    Box::new(move |renewal| {
        let (reply, answer) = channel();
        let committer = committer.upgrade().ok_or(Error::Stopping)?;
        committer.blocking_send(CommitMessage::Rotate(reply)).map_err(|_| Error::Stopping)?;
        answer.recv().unwrap_or(Err(Error::Stopping))?;
        if renewal == Renewal::Reopen {
            match reopen(&segments, &reserve) {
                Ok(Some(store)) => return Ok(store),
                Ok(None) | Err(Error::IndexBroken(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rebuild(&segments, &reserve, &footers(&segments, None)?, None)?.0)
    })
}

/// The index as of its last checkpoint, with what the log has since. `None` if it has no checkpoint.
fn reopen(segments: &Segments, reserve: &Arc<Reserve>) -> Result<Option<Store>> {
    let store = Store::open(segments.disk.as_ref(), reserve)?;
    let Some(checkpoint) = store.checkpoint()? else { return Ok(None) };
    let replayed =
        Replay { segments, store: &store, files: None }.run(&footers(segments, Some(checkpoint))?, Some(checkpoint))?;
    tracing::info!(records = replayed.records, "the index was opened again");
    Ok(Some(store))
}

/// The log of a serving disk, as far as it is sealed and a checkpoint does not cover it.
fn footers(segments: &Segments, from: Option<Checkpoint>) -> Result<Vec<(SegmentName, Footer)>> {
    let names = segments.names();
    let mut sealed: Vec<(SegmentName, Footer)> = Vec::new();
    let mut open = None;
    let is_covered = |name: &SegmentName| from.is_some_and(|from| name.last < from.segment);
    // While a compaction ends, its inputs are there beside its output: the output stands for them.
    let is_replaced = |name: &SegmentName| names.iter().any(|other| other.replaces(name));
    for name in names.iter().filter(|name| !is_covered(name) && !is_replaced(name)) {
        let Some(file) = segments.file(name.first, name.generation) else { continue };
        match (read_footer(file.as_ref()).map_err(Error::io(name.path()))?, open) {
            (Some((footer, _)), None) => sealed.push((*name, footer)),
            (None, None) => open = Some(*name),
            // Only the newest segment may lack its footer: without the names in this one, older records would seem current.
            (_, Some(open)) => {
                return Err(Error::IndexBroken(format!("{open} has no sound footer: a restart repairs it")));
            }
        }
    }
    Ok(sealed)
}

/// A disk after recovery, before its threads start.
struct Opened {
    store: Store,
    position: Checkpoint,
    greatest_run: Term,
}

fn next_term(terms: &dyn TermSource, opened: &Opened) -> Result<Term> {
    let above = opened.greatest_run.max(opened.position.stamp.term());
    terms.next_term(above).map_err(|reason| Error::Refused(format!("no term from the control store: {reason}")))
}

fn recover_disk(segments: &Segments, reserve: &Arc<Reserve>, files: &Files, identity: &DiskIdentity) -> Result<Opened> {
    let disk = &segments.disk;
    let opened =
        Store::open(disk.as_ref(), reserve).and_then(|store| Ok((store.checkpoint()?, store.buckets()?, store)));
    let mut known = BucketTable::new();
    let (checkpoint, store) = match opened {
        Ok((Some(checkpoint), buckets, store)) => {
            known.extend(buckets.into_iter().map(|(id, stamp, record)| (id, (stamp, record))));
            (Some(checkpoint), Some(store))
        }
        // A new disk. Over a log that is there already, an index without a checkpoint knows nothing for certain.
        Ok((None, _, store)) if has_no_log(disk.as_ref())? => (None, Some(store)),
        // Closed here, and not behind the one that is built in its place: what it writes when it goes is its own.
        Ok((None, _, store)) => {
            drop(store);
            (None, None)
        }
        Err(error @ Error::IndexBroken(_)) => {
            tracing::error!(%error, "the index is damaged and is built anew from the log");
            (None, None)
        }
        Err(error) => return Err(error),
    };
    name_buckets(files, &known);
    let mut recovered = recover::recover(segments, reserve, checkpoint, known)?;
    refuse_holes(&recovered, &identity.accepted_losses)?;
    if let Some(checkpoint) = checkpoint.filter(|checkpoint| lacks_end(&recovered.names, *checkpoint)) {
        return Err(Error::Incomplete(missing_end(checkpoint)));
    }
    let replayed = match store {
        Some(store) => settle_compactions(segments, &store, &recovered).and_then(|()| {
            let replayed = Replay { segments, store: &store, files: Some(files) }.run(&recovered.sealed, checkpoint)?;
            Ok((store, replayed))
        }),
        None => Err(Error::IndexBroken("none is there".into())),
    };
    let (store, replayed) = match replayed {
        Ok(replayed) => replayed,
        Err(Error::IndexBroken(_)) => {
            if checkpoint.is_some() {
                recovered = recover::recover(segments, reserve, None, BucketTable::new())?;
                refuse_holes(&recovered, &identity.accepted_losses)?;
            }
            rebuild(segments, reserve, &recovered.sealed, Some(files))?
        }
        Err(error) => return Err(error),
    };
    let Recovered { names, sealed, superseded } = recovered;
    name_buckets(files, &store.buckets()?.into_iter().map(|(id, stamp, record)| (id, (stamp, record))).collect());
    let (segment, offset) = recover::end_of(&names);
    let position = Checkpoint { segment, offset, stamp: replayed.greatest };
    files.sync_touched().map_err(|error| Error::DiskFailed(format!("sync of directories: {error}")))?;
    store.write(true, |writer| writer.set_checkpoint(position))?;
    // Only now: until the checkpoint is durable the index may still name addresses in them.
    for name in &superseded {
        disk.unlink(&name.path()).map_err(Error::io(name.path()))?;
    }
    clear_staging(disk.as_ref(), replayed.damaged > 0).map_err(Error::io("staging/"))?;
    let greatest_run = sealed.iter().map(|(_, footer)| footer.run).max().unwrap_or(Term(0));
    Ok(Opened { store, position, greatest_run })
}

/// Whether the log ends before the place up to which the index was complete.
fn lacks_end(names: &[SegmentName], checkpoint: Checkpoint) -> bool {
    let (segment, offset) = recover::end_of(names);
    (checkpoint.segment, checkpoint.offset) > (segment, offset)
        && names.last().is_none_or(|last| last.last < checkpoint.segment)
}

fn missing_end(checkpoint: Checkpoint) -> String {
    format!(
        "the end of the log, of which the index knows segment {}. Bring the disk back from a copy, or accept the loss with \
         `weir disk accept-loss --data DIR`",
        checkpoint.segment.0
    )
}

fn has_no_log(disk: &dyn Disk) -> Result<bool> {
    let entries = disk.list("log").map_err(Error::io("log/"))?;
    Ok(entries.iter().all(|entry| SegmentName::parse(&entry.name).is_none()))
}

fn name_buckets(files: &Files, buckets: &BucketTable) {
    let mut names = files.bucket_names.write().unwrap_or_else(PoisonError::into_inner);
    names.extend(buckets.iter().map(|(id, (_, record))| (*id, record.name.as_str().to_owned())));
}

/// Finishes compactions that were cut between the output's name and the removal of the inputs (A9).
fn settle_compactions(segments: &Segments, store: &Store, recovered: &Recovered) -> Result<()> {
    let superseded = &recovered.superseded;
    for output in recovered.names.iter().filter(|name| superseded.iter().any(|input| name.replaces(input))) {
        let footer_of = |name: &SegmentName| -> Result<Footer> {
            let file = segments.disk.open(&name.path()).map_err(Error::io(name.path()))?;
            let footer = read_footer(file.as_ref()).map_err(Error::io(name.path()))?;
            Ok(footer.ok_or_else(|| Error::IndexBroken(format!("{name} lost its footer")))?.0)
        };
        // The direct inputs alone: what an input had replaced in its turn was settled with it.
        let replaced: Vec<&SegmentName> = superseded.iter().filter(|name| output.replaces(name)).collect();
        let direct = replaced.iter().filter(|name| !replaced.iter().any(|other| other.replaces(name)));
        let inputs: Vec<_> = direct.map(|name| Ok((**name, footer_of(name)?))).collect::<Result<_>>()?;
        relocate(store, &relocation(&inputs, *output, &footer_of(output)?))?;
    }
    Ok(())
}

/// Whatever replay did not install belongs to no record. When a record could not be read, it may belong to that one: then it
/// is kept aside.
fn clear_staging(disk: &dyn Disk, keep: bool) -> std::io::Result<()> {
    for entry in disk.list("staging")? {
        let path = format!("staging/{}", entry.name);
        if keep { disk.rename(&path, &format!("quarantine/{}", entry.name))? } else { disk.unlink(&path)? }
    }
    Ok(())
}

const DIRECTORIES: [&str; 6] = ["log", "objects", "data", "staging", "index", "quarantine"];

fn open_identity(disk: &dyn Disk, random: &dyn Random) -> Result<DiskIdentity> {
    let failed = |error| Error::Io { what: identity::FILE.into(), source: error };
    if disk.exists(identity::FILE).map_err(failed)? {
        let bytes = read_small(disk, identity::FILE, identity::BYTES_MAX).map_err(failed)?;
        let identity = DiskIdentity::decode(&bytes).map_err(|error| Error::Refused(error.to_string()))?;
        // A copy of a disk may have lost its empty directories, and a file without a place to go would stay in staging.
        make_directories(disk).map_err(Error::io("make directories"))?;
        return Ok(identity);
    }
    if disk.exists("log").map_err(failed)? && !disk.list("log").map_err(failed)?.is_empty() {
        return Err(Error::Refused(format!(
            "{} is missing, but log/ holds segments: put the file back from a copy, or name another directory",
            identity::FILE
        )));
    }
    let mut id = [0; 16];
    random.fill(&mut id);
    let identity = DiskIdentity::new(id);
    format_disk(disk, &identity).map_err(failed)?;
    Ok(identity)
}

fn make_directories(disk: &dyn Disk) -> std::io::Result<()> {
    for directory in DIRECTORIES {
        disk.make_dir(directory)?;
    }
    for number in 0..=255 {
        disk.make_dir(&format!("objects/{number:02x}"))?;
    }
    disk.sync_dir("objects", SyncPoint::Identity)?;
    disk.sync_dir("", SyncPoint::Identity)
}

fn format_disk(disk: &dyn Disk, identity: &DiskIdentity) -> std::io::Result<()> {
    make_directories(disk)?;
    replace_small(disk, "", "restore.py", RESTORE)?;
    // Last: with it, everything above is there.
    replace_small(disk, "", identity::FILE, &identity.encode())
}

/// Writes into the disk's identity that its holes are accepted as lost. Gives their names. The disk must not be open.
pub fn accept_loss(disk: &Arc<dyn Disk>) -> Result<Vec<String>> {
    let failed = |error| Error::Io { what: identity::FILE.into(), source: error };
    let bytes = read_small(disk.as_ref(), identity::FILE, identity::BYTES_MAX).map_err(failed)?;
    let mut identity = DiskIdentity::decode(&bytes).map_err(|error| Error::Refused(error.to_string()))?;
    let reserve = Arc::new(Reserve::open(Arc::clone(disk), 0));
    let checkpoint = Store::open(disk.as_ref(), &reserve).and_then(|store| store.checkpoint()).ok().flatten();
    let segments = Segments::new(Arc::clone(disk));
    // Seal first, knowing what was durable; then look at everything, without the checkpoint's shortcut.
    recover::recover(&segments, &reserve, checkpoint, BucketTable::new())?;
    let recovered = recover::recover(&segments, &reserve, None, BucketTable::new())?;
    let mut found = holes(&recovered);
    if let Some(checkpoint) = checkpoint.filter(|checkpoint| lacks_end(&recovered.names, *checkpoint)) {
        found.push(format!("the end of the log from segment {} on", checkpoint.segment.0));
    }
    for hole in &found {
        if !identity.accepted_losses.contains(hole) {
            identity.accepted_losses.push(hole.clone());
        }
    }
    replace_small(disk.as_ref(), "", identity::FILE, &identity.encode()).map_err(failed)?;
    if !found.is_empty() {
        // The next start builds the index from what the log still says: nothing is listed that cannot be read.
        set_aside(disk.as_ref())?;
    }
    Ok(found)
}
