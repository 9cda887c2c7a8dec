//! The committer: one thread per disk, the one serialiser of every key on it (engine rules A4, A5, A7).
//!
//! It takes what is waiting, decides one request after the other against index, overlay and what this batch accepted
//! already, appends the batch, calls fdatasync once, makes the batch visible and wakes the waiters. There is no timer: the
//! next batch is what arrived during the last sync.

pub mod changes;
pub mod decide;
pub mod lock;

use crate::backlog::Place;
use crate::disk::stage::StagedFile;
use crate::disk::{Disk, SyncPoint, is_out_of_space};
use crate::feed::Feed;
use crate::files::{Done, Files, ViewChange};
use crate::format::batch::{Framed, SEAL_BYTES_MAX};
use crate::format::name::FileId;
use crate::format::record::{BucketRecord, Operation, Record, Versioning, Why};
use crate::health::Health;
use crate::index::Index;
use crate::index::keeper::{CommittedBatch, Message as KeeperMessage};
use crate::index::list::Scan;
use crate::index::overlay::Change;
use crate::index::rows::{Listed, Location, Row, RowKey, RowKind, Table};
use crate::index::store::Checkpoint;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MUTATIONS_MAX, OVERLAY_BYTES_MAX};
use crate::log::spares::Claim;
use crate::log::writer::{BucketTable, LogWriter, Written};
use crate::target::TermSource;
use crate::types::{BucketState, BucketView};
use crate::{Error, Result};
use bytes::Bytes;
use changes::{Rows, changes_of, effect};
use common::{BucketId, Clock, Epoch, Stamp, Term, VersionId};
use decide::{Decision, Facts, Mutation, Request, decide};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tokio::sync::{mpsc, oneshot};

/// What a mutation became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Of the first record; `None` if there was nothing to do.
    pub stamp: Option<Stamp>,
    /// That was made, changed or ended.
    pub version: VersionId,
    pub is_marker: bool,
}

type Reply = oneshot::Sender<Result<Decided>>;

/// A request with everything that belongs to it.
pub struct Ticket {
    pub request: Request,
    /// The bytes of an inline object.
    pub payload: Option<Bytes>,
    /// Files that the record names and that are durable already.
    pub staged: Vec<StagedFile>,
    pub reply: Reply,
    /// Given back when this is taken up.
    pub place: Place,
}

pub enum Message {
    Mutate(Box<Ticket>),
    /// Answers when every earlier mutation is durable and every later one is decided by this view (A13).
    ApplyBucket(BucketView, oneshot::Sender<Result<()>>),
    RemoveBucket(BucketId, oneshot::Sender<Result<()>>),
    /// The store knows where compaction put these records. Answers with the number of the last batch: everything that was
    /// read before is in batches up to it, and nothing that is read later says an old place.
    Relocated(HashMap<Location, Location>, std::sync::mpsc::Sender<u64>),
    /// Closes the active segment, so that everything before is in sealed ones.
    Rotate(std::sync::mpsc::Sender<Result<()>>),
    Stop,
}

pub struct Committer {
    pub disk: Arc<dyn Disk>,
    pub index: Arc<Index>,
    pub files: Arc<Files>,
    pub health: Arc<Health>,
    pub clock: Arc<dyn Clock>,
    pub terms: Arc<dyn TermSource>,
    pub writer: LogWriter,
    pub keeper: Sender<KeeperMessage>,
    pub applier: Sender<(u64, Vec<Done>)>,
    pub feed: Arc<Feed>,
    pub epoch: Epoch,
    pub term: Term,
    pub counter: u32,
    /// What the gateway said of each bucket in this run.
    pub views: HashMap<BucketId, BucketView>,
    /// What the log says of each bucket.
    pub buckets: BucketTable,
    pub segment_bytes: u64,
}

/// One accepted record of the batch that is being made.
struct Accepted {
    record: Record,
    frees: Vec<FileId>,
}

/// The batch that is being made.
#[derive(Default)]
struct Batch {
    framed: Vec<Framed>,
    accepted: Vec<Accepted>,
    /// Who waits, with the stamp to answer and the files that are theirs.
    waiting: Vec<(Reply, Decided, Vec<StagedFile>)>,
    /// Who was refused because of what this batch does, perhaps: the refusal becomes true when the batch does.
    refused: Vec<(Reply, Error)>,
    cost_bytes: u64,
    footer_bytes: u64,
    has_staged: bool,
    is_privileged: bool,
    /// Rows as they were before the batch, and as it leaves them (addresses are not known yet).
    rows: Known,
    before: Known,
}

/// Rows that were looked at, or that the batch made.
#[derive(Default)]
struct Known {
    rows: HashMap<RowKey, Option<Row>>,
    /// Those of older versions, which are asked for in their order.
    versions: BTreeMap<RowKey, Option<Row>>,
}

impl Known {
    fn get(&self, key: &RowKey) -> Option<&Option<Row>> {
        if key.table() == Table::Versions { self.versions.get(key) } else { self.rows.get(key) }
    }

    fn insert(&mut self, key: RowKey, row: Option<Row>) -> Option<Option<Row>> {
        if key.table() == Table::Versions { self.versions.insert(key, row) } else { self.rows.insert(key, row) }
    }

    /// The newest one known that is not the null version.
    fn newest_with_id(&self, object: &RowKey) -> Option<&Row> {
        let mut rows = self.versions.range(object.versions_with_ids()).filter_map(|(_, row)| row.as_ref());
        rows.find(|row| row.is_live())
    }
}

/// As `publish` goes through the batch: what was looked at while it was made is all that it needs.
impl Rows for Known {
    fn row(&mut self, key: &RowKey) -> Result<Option<Row>> {
        Ok(self.get(key).cloned().flatten())
    }

    fn newest_version(&mut self, object: &RowKey) -> Result<Option<Row>> {
        let null = self.row(&object.version_of(VersionId::Null))?.filter(Row::is_live);
        Ok([null, self.newest_with_id(object).cloned()].into_iter().flatten().max_by_key(Row::since))
    }
}

/// As the batch is made: this batch, then the overlay, then the store.
struct Looking<'a> {
    index: &'a Index,
    rows: &'a mut Known,
    before: &'a mut Known,
}

impl Looking<'_> {
    fn keep(&mut self, key: &RowKey, row: Option<Row>) {
        self.before.insert(key.clone(), row.clone());
        self.rows.insert(key.clone(), row);
    }
}

impl Rows for Looking<'_> {
    fn row(&mut self, key: &RowKey) -> Result<Option<Row>> {
        if let Some(row) = self.rows.get(key) {
            return Ok(row.clone());
        }
        let row = self.index.lookup(key)?;
        self.keep(key, row.clone());
        Ok(row)
    }

    fn newest_version(&mut self, object: &RowKey) -> Result<Option<Row>> {
        self.row(&object.version_of(VersionId::Null))?;
        let range = object.versions_with_ids();
        let mut scan = Scan::new(self.index, Table::Versions, range.start, range.end);
        // Those that this batch ended are passed over.
        while let Some((key, row)) = scan.next_row()? {
            if self.rows.get(&key).is_none() {
                self.keep(&key, Some(row));
            }
            if self.rows.get(&key).is_some_and(|row| row.as_ref().is_some_and(Row::is_live)) {
                break;
            }
        }
        self.rows.newest_version(object)
    }
}

impl Committer {
    /// The thread's body.
    pub fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut waiting: VecDeque<Message> = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match messages.blocking_recv() {
                    Some(message) => waiting.push_back(message),
                    None => break,
                }
            }
            while waiting.len() < BATCH_MUTATIONS_MAX
                && let Ok(message) = messages.try_recv()
            {
                waiting.push_back(message);
            }
            let mut batch = Batch { is_privileged: true, ..Batch::default() };
            while batch.cost_bytes < self.batch_bytes_max() {
                match waiting.pop_front() {
                    Some(Message::Mutate(ticket)) => self.accept(&mut batch, *ticket),
                    Some(other) => {
                        self.commit(std::mem::take(&mut batch));
                        batch.is_privileged = true;
                        match other {
                            Message::ApplyBucket(view, reply) => {
                                reply.send(self.apply_bucket(view)).ok();
                            }
                            Message::RemoveBucket(id, reply) => {
                                reply.send(self.remove_bucket(id)).ok();
                            }
                            Message::Relocated(moves, reply) => {
                                // No batch is on its way here: rows that were copied before are in the overlay by now,
                                // and later ones find the new places there or in the store.
                                self.index.overlay.relocate(&moves);
                                reply.send(self.writer.last_batch()).ok();
                            }
                            Message::Rotate(reply) => {
                                reply.send(self.rotate()).ok();
                            }
                            Message::Stop => {
                                if self.health.failure().is_none()
                                    && let Err(error) = self.writer.seal_active(&self.buckets)
                                {
                                    tracing::warn!(%error, "the log could not be sealed: the next start does it");
                                }
                                // A message that was on its way would stay in the channel with whoever waits for its answer.
                                messages.close();
                                waiting.into_iter().for_each(refuse);
                                while let Some(message) = messages.blocking_recv() {
                                    refuse(message);
                                }
                                return;
                            }
                            Message::Mutate(_) => {}
                        }
                    }
                    None => break,
                }
            }
            self.commit(batch);
        }
    }

    fn batch_bytes_max(&self) -> u64 {
        BATCH_BYTES_MAX.min(self.segment_bytes / 4)
    }

    /// Decides one request. A refused one's staged files go at once.
    fn accept(&mut self, batch: &mut Batch, ticket: Ticket) {
        let Ticket { request, payload, staged, reply, place: _ } = ticket;
        if let Some(reason) = self.health.failure() {
            reply.send(Err(Error::DiskFailed(reason.to_owned()))).ok();
            return;
        }
        // With the disk full the batch is one of deletes alone, so that it may use the reserve (A18).
        if !is_privileged(&request.mutation) && !self.writer.has_ordinary_space() {
            drop(staged);
            reply.send(Err(Error::OutOfSpace)).ok();
            return;
        }
        match self.try_accept(batch, request, payload) {
            Ok(stamp) => {
                batch.has_staged |= !staged.is_empty();
                batch.waiting.push((reply, stamp, staged));
            }
            Err(error) => {
                drop(staged);
                if batch.framed.is_empty() {
                    reply.send(Err(error)).ok();
                } else {
                    batch.refused.push((reply, error));
                }
            }
        }
    }

    fn try_accept(&mut self, batch: &mut Batch, request: Request, payload: Option<Bytes>) -> Result<Decided> {
        let first = self.next_stamp()?;
        let object_key = RowKey::object(request.bucket, &request.key);
        let view = self.views.get(&request.bucket);
        let bucket_is_active = view.is_some_and(|view| view.state == BucketState::Active);
        let versioning = view.map_or(Versioning::Off, |view| view.versioning);
        let can_lock = view.is_some_and(|view| view.lock);
        let current = self.row(batch, &object_key)?.filter(Row::is_live);
        let decisive = match (request.decisive_version(versioning), &current) {
            (None, _) | (_, None) => None,
            (Some(version), Some(current)) if current.version() == version => Some(current.clone()),
            (Some(version), Some(_)) => {
                let row = self.row(batch, &object_key.version_of(version))?;
                row.filter(|row| row.is_live() && row.version() == version)
            }
        };
        let facts = Facts {
            epoch: self.epoch,
            bucket_is_active,
            versioning,
            can_lock,
            now_ms: self.clock.now_ms(),
            current,
            decisive,
            source: match &request.mutation {
                Mutation::Rename { source, .. } => {
                    self.row(batch, &RowKey::object(request.bucket, source))?.filter(Row::is_live)
                }
                _ => None,
            },
            upload: match upload_of(&request.mutation) {
                Some(upload) => {
                    self.row(batch, &RowKey::upload(request.bucket, &request.key, upload))?.filter(Row::is_live)
                }
                None => None,
            },
        };
        if let Mutation::PutPart(part) = &request.mutation {
            // What can fail fails here: once a record is in the batch, nothing of its request may.
            self.row(batch, &RowKey::part(part.upload, part.part))?;
        }
        let Decision { records, version, is_marker } = decide(&facts, &request, first)?;
        let stamp = records.first().map(|record| record.stamp);
        let decided = Decided { stamp, version, is_marker };
        if records.is_empty() {
            return Ok(decided);
        }
        let bucket_name = match self.buckets.get(&request.bucket) {
            Some((_, record)) => record.name.as_str().to_owned(),
            None => return Err(Error::NoSuchBucket(request.bucket)),
        };
        let mut frees = match &request.mutation {
            Mutation::CompleteUpload { frees, .. } | Mutation::AbortUpload { frees, .. } => frees.clone(),
            _ => Vec::new(),
        };
        // What can fail fails here: once a record is in the batch, nothing of its request may. Records of one request are of
        // different rows.
        let shown = records.iter().map(|record| self.shown_by(batch, record)).collect::<Result<Vec<_>>>()?;
        batch.is_privileged &= is_privileged(&request.mutation);
        for (record, shown) in records.into_iter().zip(shown) {
            self.counter = record.stamp.counter();
            let is_inline = record.is_inline();
            let framed = Framed::new(&bucket_name, &record, payload.as_deref().filter(|_| is_inline));
            batch.cost_bytes += framed.cost_bytes();
            batch.footer_bytes += framed.key.len() as u64 + 80;
            batch.framed.push(framed);
            for Change { key, row } in shown {
                batch.rows.insert(key, Some(row));
            }
            let frees = if matches!(record.operation, Operation::EndUpload { .. }) {
                std::mem::take(&mut frees)
            } else {
                Vec::new()
            };
            batch.accepted.push(Accepted { record, frees });
        }
        Ok(decided)
    }

    /// A row as this place in the order sees it: this batch, then the overlay, then the store.
    fn row(&self, batch: &mut Batch, key: &RowKey) -> Result<Option<Row>> {
        Looking { index: &self.index, rows: &mut batch.rows, before: &mut batch.before }.row(key)
    }

    /// What later requests of the batch see of a record, under an address that only the append will know.
    fn shown_by(&self, batch: &mut Batch, record: &Record) -> Result<Vec<Change>> {
        let nowhere = Location { segment: crate::format::name::SegmentNumber(0), generation: 0, offset: 0, length: 0 };
        let upload = self.upload_row_of(batch, record)?;
        if let Operation::PutPart(part) = &record.operation {
            self.row(batch, &RowKey::part(part.upload, part.part))?;
        }
        let mut shown = Vec::new();
        for change in changes_of(record, nowhere, upload) {
            if change.key.table() == Table::Objects {
                let mut looking = Looking { index: &self.index, rows: &mut batch.rows, before: &mut batch.before };
                shown.extend(effect(&change, &mut looking)?.shown);
            } else {
                shown.push(change);
            }
        }
        Ok(shown)
    }

    /// The row of the upload that a part's record belongs to.
    fn upload_row_of(&self, batch: &mut Batch, record: &Record) -> Result<Option<(RowKey, Row)>> {
        let Operation::PutPart(part) = &record.operation else { return Ok(None) };
        let key = RowKey::upload(record.bucket, &record.key, part.upload);
        Ok(self.row(batch, &key)?.map(|row| (key, row)))
    }

    /// A term's counter is used up after four thousand million mutations; then comes a new term (A6).
    fn next_stamp(&mut self) -> Result<Stamp> {
        if self.counter >= u32::MAX - 8 {
            self.term = self.terms.next_term(self.term).map_err(Error::Refused)?;
            self.counter = 0;
        }
        Ok(Stamp::new(self.term, self.counter + 1))
    }

    /// Makes a batch durable and visible, and answers those who wait for it.
    fn commit(&mut self, batch: Batch) {
        if batch.waiting.is_empty() {
            for (reply, error) in batch.refused {
                reply.send(Err(error)).ok();
            }
            return;
        }
        let hopeless = || self.health.is_stopping_hard() || self.index.store().is_err();
        self.index.overlay.wait_for_room(OVERLAY_BYTES_MAX, hopeless);
        let Batch {
            framed,
            accepted,
            waiting,
            refused,
            cost_bytes,
            footer_bytes,
            has_staged,
            is_privileged,
            mut before,
            ..
        } = batch;
        if framed.is_empty() {
            for (reply, stamp, _) in waiting {
                reply.send(Ok(stamp)).ok();
            }
            return;
        }
        let claim = if is_privileged { Claim::Privileged } else { Claim::Ordinary };
        match self.write(framed, cost_bytes, footer_bytes, has_staged, claim) {
            Ok(written) => {
                self.publish(&written, accepted, &mut before);
                for (reply, stamp, staged) in waiting {
                    staged.into_iter().for_each(StagedFile::committed);
                    reply.send(Ok(stamp)).ok();
                }
                for (reply, error) in refused {
                    reply.send(Err(error)).ok();
                }
            }
            // What a refusal was decided by has not happened either.
            Err(error @ (Error::OutOfSpace | Error::Stopping)) => {
                let replies = waiting.into_iter().map(|(reply, _, _)| reply);
                for reply in replies.chain(refused.into_iter().map(|(reply, _)| reply)) {
                    let again = if matches!(error, Error::Stopping) { Error::Stopping } else { Error::OutOfSpace };
                    reply.send(Err(again)).ok();
                }
            }
            Err(error) => {
                // Whether the batch is on the disk nobody can say: it reaches neither overlay nor index, and nothing is
                // unlinked (A19).
                let reason = error.to_string();
                self.health.fail(&reason);
                for (reply, _, staged) in waiting {
                    staged.into_iter().for_each(StagedFile::abandon);
                    reply.send(Err(Error::OutcomeUnknown(reason.clone()))).ok();
                }
                for (reply, _) in refused {
                    reply.send(Err(Error::OutcomeUnknown(reason.clone()))).ok();
                }
            }
        }
    }

    fn write(
        &mut self,
        framed: Vec<Framed>,
        cost_bytes: u64,
        footer_bytes: u64,
        has_staged: bool,
        claim: Claim,
    ) -> Result<Written> {
        if has_staged {
            let synced = self.disk.sync_dir("staging", SyncPoint::StagedNames);
            synced.map_err(|error| Error::DiskFailed(format!("sync of staging/: {error}")))?;
        }
        let greatest = framed.last().map_or(Stamp::ZERO, |last| last.stamp);
        let refused = |error| match error {
            Error::Io { source, .. } if is_out_of_space(&source) => Error::OutOfSpace,
            error => error,
        };
        self.writer.make_room(cost_bytes + SEAL_BYTES_MAX, footer_bytes, claim, &self.buckets).map_err(refused)?;
        // One holder: whatever is durable here is durable everywhere.
        let stable = Stamp(greatest.0.saturating_sub(framed.len() as u64));
        let modified_s = self.clock.now_ms() / 1000;
        let appended = self.writer.append(framed, stable, modified_s).map_err(refused);
        if let Err(Error::OutOfSpace) = &appended {
            // Part of the refused batch may be there. The footer goes over it: no later batch stands beside its bytes (A18).
            self.writer.seal_active(&self.buckets).map_err(|error| Error::DiskFailed(error.to_string()))?;
        }
        appended
    }

    fn publish(&mut self, written: &Written, accepted: Vec<Accepted>, rows: &mut Known) {
        let mut changes = Vec::with_capacity(accepted.len());
        // What readers see; the same as `changes` where no key has versions.
        let mut shown = Vec::with_capacity(accepted.len());
        let mut done = Vec::with_capacity(accepted.len());
        let mut buckets = Vec::new();
        let mut greatest = Stamp::ZERO;
        for (Accepted { record, frees }, entry) in accepted.into_iter().zip(&written.entries) {
            assert_eq!(record.stamp, entry.stamp, "entries stand in the order of the records");
            greatest = record.stamp;
            let location = Location {
                segment: written.name.first,
                generation: written.name.generation,
                offset: entry.offset,
                length: entry.length,
            };
            let upload = match &record.operation {
                Operation::PutPart(part) => {
                    let key = RowKey::upload(record.bucket, &record.key, part.upload);
                    rows.get(&key).cloned().flatten().map(|row| (key, row))
                }
                _ => None,
            };
            let (mut replaced, mut view) = (None, ViewChange::default());
            for (at, change) in changes_of(&record, location, upload).into_iter().enumerate() {
                if change.key.table() == Table::Objects {
                    let known = effect(&change, rows).expect("rows that are known are not looked up");
                    for change in &known.shown {
                        rows.insert(change.key.clone(), Some(change.row.clone()));
                    }
                    shown.extend(known.shown);
                    (replaced, view) = (known.replaced, known.view);
                } else {
                    let before = rows.insert(change.key.clone(), Some(change.row.clone())).flatten();
                    if at == 0 {
                        replaced = before;
                    }
                    shown.push(change.clone());
                }
                changes.push(change);
            }
            match &record.operation {
                Operation::PutBucket(bucket) => buckets.push((record.bucket, Some((record.stamp, bucket.clone())))),
                Operation::RemoveBucket => buckets.push((record.bucket, None)),
                _ => {}
            }
            done.push(Done { record, replaced, view, frees });
        }
        self.index.overlay.insert(written.number, &shown);
        self.feed.publish(written, done.iter().map(|done| &done.record));
        let end = Checkpoint {
            segment: written.name.first,
            offset: written.end.try_into().expect("segments are shorter than 4 GiB"),
            stamp: greatest,
        };
        // The threads end after the committer: while it runs both take what it sends.
        self.applier.send((written.number, done)).ok();
        let batch = CommittedBatch {
            number: written.number,
            changes,
            shown,
            buckets,
            end,
            log_bytes: written.end - written.start,
        };
        self.keeper.send(KeeperMessage::Batch(Arc::new(batch))).ok();
    }

    fn rotate(&mut self) -> Result<()> {
        if let Some(reason) = self.health.failure() {
            return Err(Error::DiskFailed(reason.to_owned()));
        }
        self.writer.seal_active(&self.buckets).inspect_err(|error| {
            if let Error::DiskFailed(reason) = error {
                self.health.fail(reason);
            }
        })
    }

    fn apply_bucket(&mut self, view: BucketView) -> Result<()> {
        if self.views.get(&view.id).is_some_and(|known| known.version > view.version) {
            return Ok(());
        }
        let record = BucketRecord { name: view.name.clone(), versioning: view.versioning, lock: view.lock };
        let known = self.buckets.get(&view.id).is_some_and(|(_, known)| *known == record);
        if !known {
            let stamp = self.commit_alone(view.id, Operation::PutBucket(record.clone()))?;
            self.buckets.insert(view.id, (stamp, record));
        }
        let mut names = self.files.bucket_names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        names.insert(view.id, view.name.as_str().to_owned());
        drop(names);
        self.views.insert(view.id, view);
        Ok(())
    }

    fn remove_bucket(&mut self, id: BucketId) -> Result<()> {
        if self.views.get(&id).is_some_and(|view| view.state == BucketState::Active) {
            return Err(Error::BucketInUse(id));
        }
        if self.buckets.contains_key(&id) {
            self.commit_alone(id, Operation::RemoveBucket)?;
            self.buckets.remove(&id);
        }
        self.views.remove(&id);
        Ok(())
    }

    /// A batch of one record about a bucket.
    fn commit_alone(&mut self, bucket: BucketId, operation: Operation) -> Result<Stamp> {
        if let Some(reason) = self.health.failure() {
            return Err(Error::DiskFailed(reason.to_owned()));
        }
        let record = Record { stamp: self.next_stamp()?, bucket, key: String::new(), operation, why: Why::default() };
        self.counter = record.stamp.counter();
        let framed = Framed::new("", &record, None);
        let stamp = record.stamp;
        let claim =
            if matches!(record.operation, Operation::RemoveBucket) { Claim::Privileged } else { Claim::Ordinary };
        let (cost, footer) = (framed.cost_bytes(), 80);
        let written = self.write(vec![framed], cost, footer, false, claim).inspect_err(|error| {
            if !matches!(error, Error::OutOfSpace | Error::Stopping) {
                self.health.fail(&error.to_string());
            }
        })?;
        self.publish(&written, vec![Accepted { record, frees: Vec::new() }], &mut Known::default());
        Ok(stamp)
    }
}

/// What comes behind the end has not happened. Whoever asked for anything but a mutation learns it from the channel that closes.
fn refuse(message: Message) {
    if let Message::Mutate(ticket) = message {
        ticket.reply.send(Err(Error::Stopping)).ok();
    }
}

/// Whether it frees space in the end.
fn is_privileged(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::Delete { .. } | Mutation::AbortUpload { .. })
}

fn upload_of(mutation: &Mutation) -> Option<common::UploadId> {
    match mutation {
        Mutation::PutPart(part) => Some(part.upload),
        Mutation::CompleteUpload { upload, .. } | Mutation::AbortUpload { upload, .. } => Some(*upload),
        Mutation::Put { .. }
        | Mutation::Update { .. }
        | Mutation::Rename { .. }
        | Mutation::Delete { .. }
        | Mutation::CreateUpload(_) => None,
    }
}

/// A row for tests and for keys whose record is only known by name: listed, but without content.
pub fn damaged_row(stamp: Stamp, location: Location, version: VersionId) -> Row {
    let etag = common::ETag::of_md5([0; 16]);
    let listed = Listed { size: 0, etag, modified_ms: 0, version, since: None, kept: None };
    Row { stamp, location, damaged: true, kind: RowKind::Large(listed) }
}
