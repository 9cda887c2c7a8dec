//! The change feed: what happened to objects, in the order of the stamps, and so in order for each key (engine rules A6 and
//! A17).
//!
//! The log is the feed: segments hold every record with its stamp. The latest events are in memory as well, in a ring, and a
//! cursor that is older is served from the log. A cursor is the stamp of the last record that was looked at; it stays good
//! over restarts. Compaction drops dead records, so behind it the feed has holes: what it has touched lies below the
//! *horizon*, and a cursor from there is refused with `CursorExpired`. Compacted segments are never read here, so nothing
//! that was moved appears twice. A durable consumer (`feed/consumers.rs`) holds compaction back, up to a quota.

mod consumers;
mod event;
mod sealed;

pub use event::{Change, Event};

use crate::disk::Disk;
use crate::format::footer::Footer;
use crate::format::name::SegmentName;
use crate::format::record::Record;
use crate::limits::{FEED_PAGE_EVENTS_MAX, FEED_RING_BYTES_MAX};
use crate::log::compact::Candidate;
use crate::log::writer::Written;
use crate::log::{ReadError, Segments};
use crate::target::blocking;
use crate::{Error, Result};
use common::{BucketId, Stamp};
use consumers::Consumer;
use sealed::{Place, Sealed};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How often a page is looked for again when compaction took its segment away.
const ATTEMPTS_MAX: usize = 4;

pub struct Feed {
    disk: Arc<dyn Disk>,
    segments: Arc<Segments>,
    sealed: Sealed,
    state: Mutex<State>,
    /// The greatest stamp that was published.
    newest: watch::Sender<Stamp>,
    /// One at a time writes a consumer's place.
    storing: Mutex<()>,
}

struct State {
    /// The latest events, by their stamps.
    ring: VecDeque<Event>,
    ring_bytes: usize,
    /// The ring has every event behind this one.
    ring_after: Stamp,
    /// The segment that is being written has no footer yet.
    active: Option<Active>,
    newest: Stamp,
    /// Of the events up to here some may be missing.
    horizon: Stamp,
    consumers: BTreeMap<String, Consumer>,
    /// Somebody has read, or will: the horizon is worth being written down.
    is_used: bool,
}

struct Active {
    name: SegmentName,
    /// Everything up to here stands in older segments.
    after: Stamp,
    places: Vec<Place>,
}

/// Some events, and how far they reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    pub events: Vec<Event>,
    /// Where to go on: there is no other event up to here.
    pub cursor: Stamp,
}

/// What a page needs of the log.
struct Wanted {
    name: SegmentName,
    places: Vec<Place>,
    /// How far it reaches when all of these are given.
    until: Stamp,
}

impl Feed {
    /// `newest` is the greatest stamp in the log. Blocking.
    pub(crate) fn open(disk: Arc<dyn Disk>, segments: Arc<Segments>, newest: Stamp) -> Result<Arc<Self>> {
        let sealed = Sealed::default();
        let horizon = horizon_of(disk.as_ref(), &segments, &sealed, newest);
        let consumers = consumers::load(disk.as_ref())?;
        let state = State {
            ring: VecDeque::new(),
            ring_bytes: 0,
            ring_after: newest,
            active: None,
            newest,
            horizon,
            is_used: !consumers.is_empty(),
            consumers,
        };
        let (newest, _) = watch::channel(newest);
        Ok(Arc::new(Self { disk, segments, sealed, state: Mutex::new(state), newest, storing: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what became durable. Called by the committer alone, once for each batch, in their order.
    pub(crate) fn publish<'r>(&self, written: &Written, records: impl Iterator<Item = &'r Record>) {
        let mut state = self.state();
        let after = state.newest;
        let active = match &mut state.active {
            Some(active) if active.name == written.name => active,
            other => other.insert(Active { name: written.name, after, places: Vec::new() }),
        };
        let events = written.entries.iter().filter(|entry| Event::is_of(&entry.subject));
        active.places.extend(events.map(Place::of));
        for record in records {
            state.newest = record.stamp;
            if let Some(event) = Event::of(record) {
                state.ring_bytes += event.cost_bytes();
                state.ring.push_back(event);
            }
        }
        while state.ring_bytes > FEED_RING_BYTES_MAX
            && let Some(oldest) = state.ring.pop_front()
        {
            state.ring_bytes -= oldest.cost_bytes();
            state.ring_after = oldest.stamp;
        }
        let newest = state.newest;
        drop(state);
        self.newest.send_replace(newest);
    }

    /// A cursor behind everything that has happened so far.
    pub fn newest(&self) -> Stamp {
        self.state().newest
    }

    /// The oldest cursor that is good.
    pub fn horizon(&self) -> Stamp {
        let state = self.state();
        state.horizon.min(state.ring_after)
    }

    /// Waits until there may be something behind the cursor.
    pub async fn wait(&self, after: Stamp) {
        // The sender lives as long as this does.
        let _ = self.newest.subscribe().wait_for(|newest| *newest > after).await;
    }

    /// The next events behind the cursor, of one bucket or of all: `CursorExpired` when some may be missing.
    pub async fn read(self: &Arc<Self>, after: Stamp, bucket: Option<BucketId>) -> Result<FeedPage> {
        self.state().is_used = true;
        if let Some(page) = self.latest(after, bucket) {
            return Ok(page);
        }
        let feed = Arc::clone(self);
        blocking(move || feed.read_log(after, bucket)).await
    }

    /// From memory, if all of it is there.
    fn latest(&self, after: Stamp, bucket: Option<BucketId>) -> Option<FeedPage> {
        let state = self.state();
        if after < state.ring_after {
            return None;
        }
        let from = state.ring.partition_point(|event| event.stamp <= after);
        let wanted = state.ring.range(from..).filter(|event| bucket.is_none_or(|bucket| event.bucket == bucket));
        let events: Vec<Event> = wanted.take(FEED_PAGE_EVENTS_MAX).cloned().collect();
        let is_full = events.len() == FEED_PAGE_EVENTS_MAX;
        let last = events.last().map(|event| event.stamp).filter(|_| is_full);
        Some(FeedPage { events, cursor: last.unwrap_or(state.newest.max(after)) })
    }

    /// From the log. Blocking.
    fn read_log(&self, after: Stamp, bucket: Option<BucketId>) -> Result<FeedPage> {
        for _ in 0..ATTEMPTS_MAX {
            let page = match self.find(after, bucket) {
                Ok(wanted) => self.fetch(wanted),
                Err(cursor) => Some(FeedPage { events: Vec::new(), cursor }),
            };
            // Behind the reading: compaction may have taken a segment away meanwhile, and raises the horizon before it does.
            if after < self.state().horizon {
                return Err(Error::CursorExpired);
            }
            if let Some(page) = page {
                return Ok(page);
            }
        }
        Err(Error::CursorExpired)
    }

    /// Where the next events stand; or, when there is none before it, the cursor to go on with.
    fn find(&self, after: Stamp, bucket: Option<BucketId>) -> Result<Wanted, Stamp> {
        let page = |places: &[Place], name, end| {
            let behind = places[places.partition_point(|place| place.stamp <= after)..].iter();
            let wanted = behind.filter(|place| bucket.is_none_or(|bucket| place.bucket == bucket));
            let places: Vec<Place> = wanted.take(FEED_PAGE_EVENTS_MAX).copied().collect();
            let last = places.last().map(|place| place.stamp).filter(|_| places.len() == FEED_PAGE_EVENTS_MAX);
            Wanted { name, until: last.unwrap_or(end), places }
        };
        let (active, end) = {
            let state = self.state();
            match &state.active {
                Some(active) if active.after <= after => {
                    return Ok(page(&active.places, active.name, state.newest.max(after)));
                }
                Some(active) => (Some(active.name), active.after),
                None => (None, state.newest),
            }
        };
        // The oldest segment that reaches beyond the cursor.
        let mut found = None;
        for name in self.segments.names().into_iter().rev() {
            if name.generation > 0 || active.is_some_and(|active| name >= active) {
                continue;
            }
            let Some(span) = self.sealed.span(&self.segments, name) else { continue };
            if span.last <= after {
                break;
            }
            found = Some((name, span));
        }
        let Some((name, span)) = found else { return Err(end.max(after)) };
        match self.sealed.places(&self.segments, name) {
            Some(places) => Ok(page(&places, name, span.last)),
            // It was readable a moment ago.
            None => Err(span.last),
        }
    }

    /// Reads the records. `None` when compaction took the segment.
    fn fetch(&self, wanted: Wanted) -> Option<FeedPage> {
        let mut events = Vec::with_capacity(wanted.places.len());
        for place in wanted.places {
            match self.segments.record(place.location(wanted.name), place.is_member) {
                Ok((record, _)) => events.extend(Event::of(&record)),
                Err(ReadError::Moved) => return None,
                Err(error) => {
                    tracing::error!(%error, segment = %wanted.name, stamp = %place.stamp, "a damaged record is left out of the feed");
                }
            }
        }
        Some(FeedPage { events, cursor: wanted.until })
    }

    /// Told before the inputs of a compaction go: what was dead in them is not in its output.
    pub(crate) fn compacted(&self, inputs: &[(SegmentName, Footer)]) {
        let mut horizon = Stamp::ZERO;
        for (name, footer) in inputs {
            horizon = horizon.max(footer.entries.last().map_or(Stamp::ZERO, |last| last.stamp));
            self.sealed.forget(*name);
        }
        let (horizon, is_used) = {
            let mut state = self.state();
            state.horizon = state.horizon.max(horizon);
            (state.horizon, state.is_used)
        };
        // Without it a start has to take the horizon for a later one than it is.
        if let Some(last) = last_compacted(&self.segments.names()).filter(|_| is_used)
            && let Err(error) = consumers::store_horizon(self.disk.as_ref(), horizon, last)
        {
            tracing::warn!(%error, "the feed's horizon was not written down");
        }
    }

    /// Takes the segments away from compaction that a durable consumer has still to read, the newest ones up to its quota.
    pub(crate) fn hold_back(&self, candidates: &mut Vec<Candidate>) {
        let consumers: Vec<Consumer> = self.state().consumers.values().cloned().collect();
        let Some(least) = consumers.iter().map(Consumer::after).min() else { return };
        let (mut bytes, mut kept_from) = (0, candidates.len());
        for (at, candidate) in candidates.iter().enumerate().rev() {
            bytes += candidate.total_bytes;
            // Compacted before: whoever wanted it has lost it.
            if candidate.name.generation > 0 {
                continue;
            }
            let Some(span) = self.sealed.span(&self.segments, candidate.name) else { continue };
            if span.last <= least {
                break;
            }
            if consumers.iter().any(|one| one.after() < span.last && bytes <= one.held_bytes_max) {
                kept_from = at;
            }
        }
        candidates.truncate(kept_from);
    }

    /// Makes a durable consumer known, or finds it again. A new one begins now. Gives where it goes on. Blocking.
    pub fn consumer(&self, name: &str, held_bytes_max: u64) -> Result<Stamp> {
        consumers::check_name(name)?;
        let newest = self.newest();
        let known = self.state().consumers.get(name).map(Consumer::after);
        // Behind the end of the log stands who was on a disk that has been put back to an older copy.
        let after = known.unwrap_or(newest).min(newest);
        self.put_consumer(name, Consumer::new(after, held_bytes_max))?;
        Ok(after)
    }

    /// Durably: the consumer needs nothing up to here any more. Blocking.
    pub fn advance(&self, name: &str, to: Stamp) -> Result<()> {
        let known = self.state().consumers.get(name).cloned();
        let known = known.ok_or_else(|| Error::Refused(format!("there is no consumer {name}")))?;
        self.put_consumer(name, Consumer::new(to, known.held_bytes_max))
    }

    fn put_consumer(&self, name: &str, consumer: Consumer) -> Result<()> {
        let _one = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        consumers::store(self.disk.as_ref(), name, &consumer)?;
        let mut state = self.state();
        state.consumers.insert(name.to_owned(), consumer);
        state.is_used = true;
        Ok(())
    }

    /// Forgets every consumer that is not among these, so that it holds nothing any more. Blocking.
    pub fn retain_consumers(&self, names: &[&str]) -> Result<()> {
        let _one = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<String> =
            self.state().consumers.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        for name in gone {
            consumers::remove(self.disk.as_ref(), &name)?;
            self.state().consumers.remove(&name);
        }
        Ok(())
    }
}

fn last_compacted(names: &[SegmentName]) -> Option<SegmentName> {
    names.iter().rfind(|name| name.generation > 0).copied()
}

/// Up to where compaction has been: as it was written down, or just before the first segment behind the last compacted one.
fn horizon_of(disk: &dyn Disk, segments: &Segments, sealed: &Sealed, newest: Stamp) -> Stamp {
    let names = segments.names();
    let Some(last) = last_compacted(&names) else { return Stamp::ZERO };
    if let Some(horizon) = consumers::load_horizon(disk, last) {
        return horizon;
    }
    let behind = names.iter().filter(|name| **name > last).find_map(|name| sealed.span(segments, *name));
    behind.map_or(newest, |span| Stamp(span.first.0.saturating_sub(1)))
}
