//! How many requests a target works at at once, and who is next: `gradient.rs` says how many, `queue.rs` who, both pure. This is what
//! is around them: places that are taken and given back, and a look at the clock now and then.
//!
//! Whoever finds room takes a place by exchanging one number and waits for nobody. Only who finds none, and who gives a
//! place back while others wait, meets a lock.

mod class;
mod gradient;
mod measures;
mod queue;
mod samples;
#[cfg(test)]
mod simulation;
mod stay;

pub use class::Work;
pub use queue::Key;
pub use stay::{Stay, client_came, client_waits, hold};

use crate::access::Findings;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::own_line::{OwnLine, STRIPES, Share, share, stripe};
use crate::rates::{Throttle, counted_address};
use crate::secret_hash::SecretHash;
use authn::Identity;
use authn::identity::{Kind, SessionOf};
use class::{CLASSES, Class, PACE_NAMES, Pace};
use common::{Monotonic, Random};
use gradient::{Bounds, Gradient, Window};
use measures::Measures;
use queue::{Full, Places, Queue, Ticket};
use samples::Samples;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests that a target is given at once, at least, and at most where the settings do not say. The blocking pool has 512
/// threads, and more than twice as many requests only wait for those.
const FLOOR: u32 = 4;
pub const CEILING: u32 = 1024;

/// How often it is asked whether a window is over and who has waited too long.
const TICK_US: u64 = 50_000;

/// Identities share these counters by their hash, so that nothing grows with their number. Two that share one are taken to hold
/// what both do.
const HOLDERS: usize = 4096;

/// How long background work goes on asking before a step of it is done without a place, and how long it pauses meanwhile.
const BACKGROUND_WAIT_US_MAX: u64 = 30_000_000;
const BACKGROUND_PAUSE: Duration = Duration::from_millis(250);
const BACKGROUND_KEY: Key = 0;

/// One target's limit, and the line in front of it.
pub struct Concurrency {
    target: &'static str,
    /// A limit that is held for a second must not be held for an hour because somebody set the wall clock.
    clock: Arc<dyn Monotonic>,
    begun_ns: u64,
    /// Who waits (upper half) and what is in flight (lower half): one number, so that nobody takes a place past those who wait.
    state: OwnLine<AtomicU64>,
    limit: AtomicU32,
    /// The most in flight since the window began, and whether anyone found no room.
    peak: AtomicU32,
    was_full: AtomicU32,
    /// Answers without a sample, and those of them by which the target said that it is overloaded.
    unmeasured: AtomicU32,
    overloads: AtomicU32,
    background: AtomicU32,
    /// For each stripe all of them: a busy identity's would else be on another core for every request. What one thread adds another
    /// may take away, and only the sum means something.
    holders: Box<[AtomicU32]>,
    samples: Samples,
    line: Mutex<Line>,
    gradient: Mutex<Gradient>,
    /// Requests that wait for their clients now and then, and may have to give up their places.
    stays: Mutex<Vec<Weak<Findings>>>,
    /// So that nobody can choose whose number is whose.
    hash: SecretHash,
    measures: Measures,
}

#[derive(Default)]
struct Line {
    queue: Queue,
    waiters: HashMap<Ticket, (oneshot::Sender<Granted>, Work)>,
}

/// What a waiter is told.
type Granted = std::result::Result<Permit, Refused>;

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The line is full, and the identity has the most in it.
    Identity,
    /// So many wait that there is no room for more.
    Full,
    /// It has waited as long as it may.
    Waited,
}

const REFUSALS: [(Refused, &str); 3] =
    [(Refused::Identity, "identity_full"), (Refused::Full, "queue_full"), (Refused::Waited, "waited")];

impl From<Refused> for Throttle {
    fn from(refused: Refused) -> Self {
        // Whoever comes back at once finds the same line.
        let rule = match refused {
            Refused::Identity => "concurrency-identity",
            Refused::Full | Refused::Waited => "concurrency",
        };
        Self { rule: rule.into(), retry_ms: 1000 }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Throttled(refused.into())
    }
}

/// A place at the target, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    of: Share<Concurrency>,
    key: Key,
    work: Work,
    since_us: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.holder(self.key).fetch_sub(1, Ordering::Relaxed);
        if self.work.class == Class::Background {
            self.of.background.fetch_sub(1, Ordering::Relaxed);
        }
        let before = self.of.state.fetch_sub(1, Ordering::AcqRel);
        if waiting(before) > 0 {
            self.of.dispatch();
        }
    }
}

impl std::fmt::Debug for Concurrency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Concurrency").field("target", &self.target).finish_non_exhaustive()
    }
}

const ONE_WAITING: u64 = 1 << 32;

fn waiting(state: u64) -> u32 {
    (state >> 32) as u32
}

fn in_flight(state: u64) -> u32 {
    state as u32
}

/// One that waits, until it is granted or gone.
struct Waiting<'c> {
    of: &'c Concurrency,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    /// A client that goes away leaves the line. One that was granted its place meanwhile drops it with the channel.
    fn drop(&mut self) {
        let mut line = self.of.line();
        if line.queue.leave(self.ticket) {
            self.of.state.fetch_sub(ONE_WAITING, Ordering::AcqRel);
        }
        let waiter = line.waiters.remove(&self.ticket);
        drop(line);
        drop(waiter);
    }
}

impl Concurrency {
    /// The limit of this node's own target.
    pub fn here(ceiling: u32, clock: Arc<dyn Monotonic>, random: &dyn Random, metrics: &Metrics) -> Arc<Self> {
        let ceiling = ceiling.max(1);
        let bounds = Bounds { floor: FLOOR.min(ceiling), ceiling };
        let concurrency = Arc::new(Self {
            target: "here",
            begun_ns: clock.elapsed_ns(),
            clock,
            state: OwnLine(AtomicU64::new(0)),
            limit: AtomicU32::new(ceiling),
            peak: AtomicU32::new(0),
            was_full: AtomicU32::new(0),
            unmeasured: AtomicU32::new(0),
            overloads: AtomicU32::new(0),
            background: AtomicU32::new(0),
            holders: (0..STRIPES * HOLDERS).map(|_| AtomicU32::new(0)).collect(),
            samples: Samples::default(),
            line: Mutex::default(),
            gradient: Mutex::new(Gradient::new(bounds, 0)),
            stays: Mutex::default(),
            hash: SecretHash::new(random),
            measures: Measures::default(),
        });
        measures::register(&concurrency, metrics);
        concurrency
    }

    fn now_us(&self) -> u64 {
        self.clock.elapsed_ns().saturating_sub(self.begun_ns) / 1000
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gradient(&self) -> MutexGuard<'_, Gradient> {
        self.gradient.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holder(&self, key: Key) -> &AtomicU32 {
        &self.holders[stripe() * HOLDERS + key as usize % HOLDERS]
    }

    /// As they are read, which is not at one moment: what went may be seen sooner than what came.
    fn sum_of(&self, key: Key) -> i32 {
        let stripes = self.holders.chunks(HOLDERS);
        let sum = stripes.map(|of| of[key as usize % HOLDERS].load(Ordering::Relaxed)).fold(0, u32::wrapping_add);
        sum.cast_signed()
    }

    fn held(&self, key: Key) -> u32 {
        self.sum_of(key).max(0).cast_unsigned()
    }

    /// Whom a request stands for: the principal in its account, whatever key it has signed with, and of those that show no
    /// credential the address, of which IPv6 gives everyone 2^64.
    pub fn key(&self, identity: &Identity, peer: Option<IpAddr>) -> Key {
        let hash = match identity {
            Identity::Known(caller) => {
                let (kind, name) = match &caller.kind {
                    Kind::Root => (0, ""),
                    Kind::User(user) => (1, user.id.as_str()),
                    Kind::Session(session) => match &session.of {
                        SessionOf::Root => (0, ""),
                        SessionOf::User(user) => (1, user.id.as_str()),
                        SessionOf::Role { id, .. } => (2, id.as_str()),
                    },
                };
                self.hash.of((&caller.owner.0, kind, name))
            }
            Identity::Anonymous => self.hash.of(peer.map(counted_address)),
        };
        // 0 is the background's.
        hash | 1
    }

    /// A place, at once or after a wait of two seconds at most. `of`: this thread's share.
    pub async fn acquire(of: &Share<Self>, key: Key, work: Work) -> std::result::Result<Permit, Refused> {
        let this: &Arc<Self> = &of.0;
        if work.class != Class::Background && this.enter_at_once() {
            return Ok(Self::permit(Share::clone(of), key, work, this.now_us()));
        }
        let begun_us = this.now_us();
        let granted = this.wait(key, work, begun_us).await;
        let waited_us = this.now_us().saturating_sub(begun_us);
        this.measures.waited(work.class, waited_us, granted.as_ref().err().copied());
        granted
    }

    /// A place for a step of the appliance's own work. It is preempted at its next step: while clients wait it hardly gets one, but no
    /// step is put off for ever.
    pub async fn background(limit: Option<&Arc<Self>>) -> Option<Permit> {
        let limit = &share(limit?);
        let until_us = limit.now_us() + BACKGROUND_WAIT_US_MAX;
        while limit.now_us() < until_us {
            if let Ok(permit) = Self::acquire(limit, BACKGROUND_KEY, Work::BACKGROUND).await {
                return Some(permit);
            }
            tokio::time::sleep(BACKGROUND_PAUSE).await;
        }
        None
    }

    /// Takes a place where there is one and nobody waits.
    fn enter_at_once(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        // A guess, that nobody is there: an exchange that fails fetches the line to be written as well, where a look would only
        // fetch it to be read.
        let mut state = 0;
        while waiting(state) == 0 && in_flight(state) < limit {
            match self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    self.reaches(in_flight(state) + 1);
                    return true;
                }
                Err(now) => state = now,
            }
        }
        false
    }

    fn reaches(&self, in_flight: u32) {
        if in_flight > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(in_flight, Ordering::Relaxed);
        }
    }

    /// For who has entered.
    fn permit(of: Share<Self>, key: Key, work: Work, now_us: u64) -> Permit {
        of.holder(key).fetch_add(1, Ordering::Relaxed);
        if work.class == Class::Background {
            of.background.fetch_add(1, Ordering::Relaxed);
        }
        Permit { of, key, work, since_us: now_us }
    }

    async fn wait(self: &Arc<Self>, key: Key, work: Work, now_us: u64) -> Granted {
        let (sender, granted) = oneshot::channel();
        let (ticket, evicted) = {
            let mut line = self.line();
            let (ticket, evicted) =
                line.queue.arrive(now_us, key, work.class, work.cost).map_err(|full| match full {
                    Full::Identity => Refused::Identity,
                    Full::All => Refused::Full,
                })?;
            line.waiters.insert(ticket, (sender, work));
            // From here on nobody enters at once.
            self.state.fetch_add(ONE_WAITING, Ordering::AcqRel);
            let evicted = evicted.and_then(|evicted| line.waiters.remove(&evicted));
            if evicted.is_some() {
                self.state.fetch_sub(ONE_WAITING, Ordering::AcqRel);
            }
            (ticket, evicted)
        };
        if work.class != Class::Background {
            self.was_full.store(1, Ordering::Relaxed);
        }
        if let Some((evicted, work)) = evicted {
            let why = if work.class == Class::Background { Refused::Full } else { Refused::Identity };
            let _ = evicted.send(Err(why));
        }
        let _waiting = Waiting { of: self, ticket };
        // A place may have come free before it was known that somebody waits.
        self.dispatch();
        granted.await.unwrap_or(Err(Refused::Full))
    }

    /// Gives places to those who wait, as long as there are any.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let mut line = self.line();
            let state = self.state.load(Ordering::Acquire);
            let limit = self.limit.load(Ordering::Relaxed);
            let background = self.background.load(Ordering::Relaxed);
            let places = Places { limit, in_flight: in_flight(state), background };
            let held = |key: Key| self.held(key);
            let Some((ticket, _, key)) = line.queue.start(places, held) else { return };
            // While somebody waits places are only given under the lock, so there is still one.
            let before = self.state.fetch_sub(ONE_WAITING - 1, Ordering::AcqRel);
            self.reaches(in_flight(before) + 1);
            let waiter = line.waiters.remove(&ticket);
            let Some((waiter, work)) = waiter else {
                self.state.fetch_sub(1, Ordering::AcqRel);
                continue;
            };
            let permit = Self::permit(share(self), key, work, self.now_us());
            // One that has gone away meanwhile drops its place, and that takes the lock.
            drop(line);
            let _ = waiter.send(Ok(permit));
        }
    }

    /// What was answered, and how long its first byte took.
    fn answered(&self, pace: Pace, took_us: u64, is_overload: bool) {
        if is_overload {
            self.overloads.fetch_add(1, Ordering::Relaxed);
        }
        if is_overload || !self.samples.add(pace, took_us) {
            self.unmeasured.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Looks at the clock until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_micros(TICK_US));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    fn tick(self: &Arc<Self>) {
        let now_us = self.now_us();
        let is_crowded = waiting(self.state.load(Ordering::Acquire)) > 0;
        self.end_stays(now_us, is_crowded);
        if is_crowded {
            self.expire(now_us);
        }
        let samples = self.samples.count();
        let has_answered = samples > 0 || self.unmeasured.load(Ordering::Relaxed) > 0;
        if has_answered && self.gradient().is_due(now_us, samples) {
            self.end_window(now_us);
        }
    }

    fn end_window(self: &Arc<Self>, now_us: u64) {
        let seen = self.samples.take();
        let measured = seen.iter().map(|seen| seen.count).fold(0, u32::saturating_add);
        let in_flight = in_flight(self.state.load(Ordering::Acquire));
        let window = Window {
            now_us,
            peak: self.peak.swap(in_flight, Ordering::Relaxed),
            was_full: self.was_full.swap(0, Ordering::Relaxed) > 0,
            answers: measured.saturating_add(self.unmeasured.swap(0, Ordering::Relaxed)),
            overloads: self.overloads.swap(0, Ordering::Relaxed),
            seen: &seen,
        };
        let mut gradient = self.gradient();
        let before = gradient.limit();
        let decision = gradient.window(&window);
        let limit = gradient.limit();
        drop(gradient);
        self.limit.store(limit, Ordering::Relaxed);
        self.measures.decided(decision);
        if limit != before {
            tracing::debug!(
                target = self.target,
                limit,
                before,
                ?decision,
                peak = window.peak,
                "the limit of requests in flight"
            );
        }
        if limit > before {
            self.dispatch();
        }
    }

    fn expire(self: &Arc<Self>, now_us: u64) {
        let expired: Vec<_> = {
            let mut line = self.line();
            let expired = line.queue.expire(now_us);
            self.state.fetch_sub(ONE_WAITING * expired.len() as u64, Ordering::AcqRel);
            expired.into_iter().filter_map(|ticket| line.waiters.remove(&ticket)).collect()
        };
        for (waiter, _) in expired {
            let _ = waiter.send(Err(Refused::Waited));
        }
    }

    /// For the admin API.
    pub fn status(&self) -> Value {
        let state = self.state.load(Ordering::Acquire);
        let queued = CLASSES.map(|class| self.line().queue.waiting(class));
        let gradient = self.gradient();
        let Bounds { floor, ceiling } = gradient.bounds();
        let baselines = PACE_NAMES.iter().zip(gradient.baselines_us());
        let baselines: serde_json::Map<_, _> = baselines
            .filter_map(|(name, base)| Some(((*name).to_owned(), json!(base.as_ref()?.round() as u64))))
            .collect();
        let mut status = json!({
            "target": self.target,
            "limit": gradient.limit(),
            "floor": floor,
            "ceiling": ceiling,
            "in_flight": in_flight(state),
            "in_flight_background": self.background.load(Ordering::Relaxed),
            "queued": CLASSES.iter().zip(queued).map(|(class, count)| (class.name(), count)).collect::<HashMap<_, _>>(),
            "baselines_us": baselines,
        });
        self.measures.describe(&mut status);
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use authn::Caller;
    use authn::identity::Standing;
    use common::OwnerId;
    use common::doors::{SystemMonotonic, SystemRandom};

    fn limited(ceiling: u32) -> Arc<Concurrency> {
        Concurrency::here(ceiling, Arc::new(SystemMonotonic), &SystemRandom, &Metrics::default())
    }

    fn get() -> Work {
        Work::of("GetObject", || None)
    }

    async fn acquire(of: &Arc<Concurrency>, key: Key, work: Work) -> std::result::Result<Permit, Refused> {
        Concurrency::acquire(&share(of), key, work).await
    }

    fn is_at_rest(concurrency: &Concurrency) -> bool {
        let line = concurrency.line();
        concurrency.state.load(Ordering::Acquire) == 0
            && line.queue.is_empty()
            && line.waiters.is_empty()
            && concurrency.background.load(Ordering::Relaxed) == 0
            && (0..HOLDERS as u64).all(|key| concurrency.sum_of(key) == 0)
    }

    #[tokio::test]
    async fn whoever_finds_no_room_waits_for_a_place() {
        let concurrency = limited(1);
        let first = acquire(&concurrency, 1, get()).await.expect("room");
        let mut second = Box::pin(acquire(&concurrency, 3, get()));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(concurrency.status()["queued"]["data"], 1);
        drop(first);
        let second = second.await.expect("its turn");
        assert_eq!(concurrency.status()["in_flight"], 1);
        drop(second);
        assert!(is_at_rest(&concurrency));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_the_line_and_gives_back_its_place() {
        let concurrency = limited(1);
        let first = acquire(&concurrency, 1, get()).await.expect("room");
        let (mut gone, mut granted, mut last) = (
            Box::pin(acquire(&concurrency, 3, get())),
            Box::pin(acquire(&concurrency, 5, get())),
            Box::pin(acquire(&concurrency, 7, get())),
        );
        for waiting in [&mut gone, &mut granted, &mut last] {
            assert!(futures::poll!(waiting).is_pending());
        }
        drop(gone);
        drop(first);
        // It has the place, and has not looked.
        assert_eq!(concurrency.status()["in_flight"], 1);
        drop(granted);
        drop(last.await.expect("its turn"));
        assert!(is_at_rest(&concurrency));
    }

    #[tokio::test]
    async fn nobody_waits_for_longer_than_two_seconds() {
        let concurrency = limited(1);
        let watching = tokio::spawn(Arc::clone(&concurrency).run());
        let _first = acquire(&concurrency, 1, get()).await.expect("room");
        let begun_us = concurrency.now_us();
        assert_eq!(acquire(&concurrency, 3, get()).await.err(), Some(Refused::Waited));
        let waited_us = concurrency.now_us() - begun_us;
        assert!((2_000_000..2_500_000).contains(&waited_us), "{waited_us}");
        watching.abort();
    }

    #[tokio::test]
    async fn whoever_is_alone_may_have_the_line_and_makes_room() {
        let concurrency = limited(1);
        let first = acquire(&concurrency, 1, get()).await.expect("room");
        let mut waiting: Vec<_> = (0..queue::WAITING_MAX).map(|_| Box::pin(acquire(&concurrency, 1, get()))).collect();
        for one in &mut waiting {
            assert!(futures::poll!(one).is_pending());
        }
        assert_eq!(acquire(&concurrency, 1, get()).await.err(), Some(Refused::Identity));
        let mut other = Box::pin(acquire(&concurrency, 3, get()));
        assert!(futures::poll!(&mut other).is_pending());
        let newest = waiting.pop().expect("the newest").await;
        assert_eq!(newest.err(), Some(Refused::Identity), "it has made room");
        drop((first, waiting));
        drop(other.await.expect("its turn"));
        assert!(is_at_rest(&concurrency));
        assert_eq!(concurrency.status()["refused"]["identity_full"], 2);
    }

    /// Real threads: never more at work than the limit, nobody lost, and nothing left behind.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_threads_never_exceed_the_limit() {
        let concurrency = limited(3);
        let at_work = Arc::new(AtomicU32::new(0));
        let tasks = (0..60u64).map(|number| {
            let (concurrency, at_work) = (Arc::clone(&concurrency), Arc::clone(&at_work));
            tokio::spawn(async move {
                for round in 0..300 {
                    let work = Work::of(if round % 3 == 0 { "HeadObject" } else { "GetObject" }, || None);
                    let place = acquire(&concurrency, 1 + number % 7 * 2, work);
                    let place = if (number + round) % 5 == 0 {
                        match tokio::time::timeout(Duration::from_micros(round), place).await {
                            Ok(place) => place,
                            Err(_) => continue,
                        }
                    } else {
                        place.await
                    };
                    let place = place.expect("room to wait");
                    assert!(at_work.fetch_add(1, Ordering::AcqRel) < 3);
                    if round % 2 == 0 {
                        tokio::task::yield_now().await;
                    }
                    at_work.fetch_sub(1, Ordering::AcqRel);
                    drop(place);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no assertion failed");
        }
        assert!(is_at_rest(&concurrency));
    }

    /// They would keep it waiting for five seconds, where it waits for two.
    #[tokio::test]
    async fn slow_clients_keep_nobody_out() {
        let concurrency = limited(20);
        let watching = tokio::spawn(Arc::clone(&concurrency).run());
        let arrives = || async {
            let requester = crate::access::Requester::default();
            requester.0.stay.begin(acquire(&concurrency, 1, get()).await.expect("its turn"));
            client_waits(&requester);
            requester
        };
        let slow = futures::future::join_all((0..100).map(|_| arrives()));
        let (slow, other) = futures::join!(slow, async {
            tokio::task::yield_now().await;
            acquire(&concurrency, 1, get()).await
        });
        drop(other.expect("a place in time"));
        drop(slow);
        watching.abort();
        assert!(is_at_rest(&concurrency));
    }

    #[tokio::test]
    async fn a_refusal_by_a_rule_is_no_overload() {
        let concurrency = limited(4);
        let slow_down = |by_rule: bool| {
            let mut answer = http::Response::new(s3s::Body::empty());
            *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            answer.extensions_mut().insert(crate::guard::ErrorCode("SlowDown".to_owned()));
            if by_rule {
                let header = http::HeaderValue::from_static("a");
                answer.headers_mut().insert(crate::rates::RULE_HEADER, header);
            }
            answer
        };
        for (by_rule, overloads) in [(true, 0), (false, 1)] {
            let requester = crate::access::Requester::default();
            requester.0.stay.begin(acquire(&concurrency, 1, get()).await.expect("room"));
            hold(&requester, slow_down(by_rule));
            assert_eq!(concurrency.overloads.load(Ordering::Relaxed), overloads);
            assert!(is_at_rest(&concurrency));
        }
    }

    #[test]
    fn identities_are_principals_and_addresses() {
        let concurrency = limited(1);
        let known = |key: &str, owner: &str, kind: Kind| {
            let caller = Caller {
                access_key: Some(common::AccessKeyId(key.into())),
                owner: OwnerId(owner.into()),
                account: "1".into(),
                tenant: None,
                admin: false,
                kind,
                standing: Standing::default(),
            };
            concurrency.key(&Identity::Known(Arc::new(caller)), None)
        };
        assert_eq!(known("a", "ann", Kind::Root), known("b", "ann", Kind::Root));
        assert_ne!(known("a", "ann", Kind::Root), known("a", "bob", Kind::Root));
        let from = |address: &str| concurrency.key(&Identity::Anonymous, address.parse().ok());
        assert_eq!(from("192.0.2.1"), from("::ffff:192.0.2.1"));
        assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
    }

    #[test]
    fn the_page_of_metrics_has_the_limit_and_the_line() {
        let metrics = Metrics::default();
        let _concurrency = Concurrency::here(7, Arc::new(SystemMonotonic), &SystemRandom, &metrics);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &metrics.registry()).expect("text");
        for line in [
            "weir_concurrency_limit{target=\"here\"} 7\n",
            "weir_concurrency_inflight{target=\"here\"} 0\n",
            "weir_queue_depth{class=\"background\"} 0\n",
            "weir_queue_refused_total{reason=\"waited\"} 0\n",
            "weir_concurrency_decisions_total{decision=\"raised\"} 0\n",
            "weir_queue_wait_seconds_count 0\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
    }
}
