//! Bandwidth: bytes of bodies that pass at a rule's rate. Nothing is refused: a stream that is too fast waits, and its sender or
//! reader with it, as the connection's own flow control has it.
//!
//! A body passes in slices. For each one its stream books the time that it takes at the rate, behind what others of the same key
//! have booked, and sleeps until then: so streams of one key take turns, and each has its share. A stream holds one frame.
//!
//! A body may be on its way for hours, and its rules change: it looks for that before each slice, and while it sleeps.

use super::keys::{Place, Table};
use super::quota::RateClock;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use s3s::{Body, StdError};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How far a stream may be ahead: more than what the runtime's timer sleeps too long.
const SLACK_NS: u64 = 50_000_000;
/// A slice is what passes in this part of a second, within these bounds.
const SLICES_A_SECOND: u64 = 128;
const SLICE_BYTES_MIN: u64 = 1024;
const SLICE_BYTES_MAX: u64 = 256 * 1024;

/// How often who sleeps looks whether the rules have changed.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

impl Direction {
    pub const BOTH: [Self; 2] = [Self::In, Self::Out];

    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

pub type Seconds = Counter<f64, AtomicU64>;

/// One direction of a rule.
pub struct Pipe {
    pub table: Arc<Table>,
    pub clock: RateClock,
    pub bytes_a_second: u64,
    /// Nobody waits; what they would have is counted.
    pub dry_run: bool,
    /// How long streams have waited.
    pub shaped: Seconds,
}

impl Pipe {
    fn time_ns(&self, bytes: usize) -> u64 {
        let time = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_a_second.max(1));
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    fn slice_bytes(&self) -> u64 {
        (self.bytes_a_second / SLICES_A_SECOND).clamp(SLICE_BYTES_MIN, SLICE_BYTES_MAX)
    }
}

/// A pipe as one key has it.
#[derive(Clone)]
pub struct Lane {
    pub pipe: Arc<Pipe>,
    pub place: Place,
}

impl Lane {
    /// How long so many bytes have to wait, whose time is taken.
    fn book(&self, bytes: usize) -> u64 {
        let Pipe { table, clock, dry_run, shaped, .. } = &*self.pipe;
        let (now_ns, time_ns) = (clock.now_ns(), self.pipe.time_ns(bytes));
        let Ok(wait_ns) = table.update(self.place, |booked| {
            let (wait_ns, next) = booked_behind(booked, now_ns, time_ns);
            // In a dry run nobody is held up, so that what is booked does not run away.
            let next = if *dry_run { next.min(now_ns.saturating_add(SLACK_NS).saturating_add(time_ns)) } else { next };
            Ok::<_, Infallible>((wait_ns, next))
        });
        if wait_ns > 0 {
            shaped.inc_by(wait_ns as f64 / 1e9);
        }
        if *dry_run { 0 } else { wait_ns }
    }
}

/// How long a slice waits that comes now, and until when its lane is booked then.
fn booked_behind(booked: u64, now_ns: u64, time_ns: u64) -> (u64, u64) {
    let begin = booked.max(now_ns);
    ((begin - now_ns).saturating_sub(SLACK_NS), begin.saturating_add(time_ns))
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("bytes_a_second", &self.pipe.bytes_a_second).finish_non_exhaustive()
    }
}

/// The rules that are about a request, as they are at the moment.
pub trait Rules: Send + Sync {
    /// Another one after each change of theirs.
    fn generation(&self) -> u64;
    fn lanes(&self, direction: Direction) -> Vec<Lane>;
}

/// The lanes of a body, one for each rule that is about it.
#[derive(Clone)]
pub struct Lanes {
    lanes: Arc<[Lane]>,
    direction: Direction,
    generation: u64,
    rules: Arc<dyn Rules>,
}

impl Lanes {
    /// `generation`: of the rules, from before these lanes were made of them.
    pub fn following(lanes: Vec<Lane>, direction: Direction, generation: u64, rules: Arc<dyn Rules>) -> Self {
        Self { lanes: lanes.into(), direction, generation, rules }
    }

    #[cfg(test)]
    pub fn rules(&self) -> &dyn Rules {
        &*self.rules
    }

    fn are_old(&self) -> bool {
        self.generation != self.rules.generation()
    }

    fn follow(&mut self) {
        let generation = self.rules.generation();
        if generation != self.generation {
            self.lanes = self.rules.lanes(self.direction).into();
            self.generation = generation;
        }
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

/// What shapes the bodies of a request.
#[derive(Debug, Clone)]
pub struct Shape {
    pub inbound: Lanes,
    pub outbound: Lanes,
}

/// Lets what it is given through in time.
pub struct Shaper {
    lanes: Lanes,
    held: Bytes,
    /// How much of it is booked.
    booked: usize,
    /// Until then, or until it looks for changes.
    sleep: Option<(Pin<Box<Sleep>>, Instant)>,
}

impl Shaper {
    /// None where nothing shapes.
    pub fn of(lanes: &Lanes) -> Option<Self> {
        if lanes.lanes.is_empty() {
            return None;
        }
        Some(Self { lanes: lanes.clone(), held: Bytes::new(), booked: 0, sleep: None })
    }

    pub fn holds(&self) -> usize {
        self.held.len()
    }

    /// The next frame, after the one before has passed.
    pub fn hold(&mut self, bytes: Bytes) {
        self.held = bytes;
    }

    /// The next slice of what is held, of which there is some.
    pub fn poll_pass(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            if self.booked == 0 {
                self.book();
            }
            let Some((sleep, due)) = &mut self.sleep else { break };
            ready!(sleep.as_mut().poll(context));
            let slept_until = sleep.deadline();
            if slept_until >= *due {
                break;
            }
            if self.lanes.are_old() {
                self.give_back();
            } else {
                sleep.as_mut().reset((slept_until + LOOK).min(*due));
            }
        }
        self.sleep = None;
        Poll::Ready(self.held.split_to(std::mem::take(&mut self.booked)))
    }

    /// Takes the time of a slice.
    fn book(&mut self) {
        self.lanes.follow();
        let lanes = &self.lanes.lanes;
        let slice = lanes.iter().map(|lane| lane.pipe.slice_bytes()).min().unwrap_or(SLICE_BYTES_MAX);
        self.booked = self.held.len().min(usize::try_from(slice).unwrap_or(usize::MAX));
        let wait = Duration::from_nanos(lanes.iter().map(|lane| lane.book(self.booked)).max().unwrap_or(0));
        self.sleep = (!wait.is_zero()).then(|| {
            let first = wait.min(LOOK);
            let sleep = Box::pin(tokio::time::sleep(first));
            // Nobody waits for longer than a clock has room for.
            let due = sleep.deadline().checked_add(wait - first).unwrap_or(sleep.deadline());
            (sleep, due)
        });
    }

    /// What was booked and has not passed is for others.
    fn give_back(&mut self) {
        self.sleep = None;
        let booked = std::mem::take(&mut self.booked);
        if booked > 0 {
            for lane in self.lanes.lanes.iter() {
                lane.pipe.table.give_back(lane.place, lane.pipe.time_ns(booked));
            }
        }
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// An answer's body that passes in time.
pub struct Shaped {
    body: Body,
    shaper: Shaper,
}

impl Shaped {
    pub fn answer(lanes: &Lanes, body: Body) -> Body {
        match Shaper::of(lanes) {
            Some(shaper) if !http_body::Body::is_end_stream(&body) => Body::http_body(Self { body, shaper }),
            _ => body,
        }
    }
}

impl http_body::Body for Shaped {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        if this.shaper.holds() == 0 {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) if !bytes.is_empty() => this.shaper.hold(bytes),
                Some(Ok(Ok(bytes))) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let slice = ready!(this.shaper.poll_pass(context));
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.shaper.holds() == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, held) = (http_body::Body::size_hint(&self.body), self.shaper.holds() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::{SeededRandom, SimulatedMonotonic};
    use http_body_util::BodyExt;
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    /// Rules that a test changes.
    #[derive(Default)]
    struct Changing {
        generation: AtomicU64,
        lanes: Mutex<Vec<Lane>>,
    }

    impl Changing {
        fn change(&self, lanes: Vec<Lane>) {
            *self.lanes.lock().unwrap() = lanes;
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Rules for Changing {
        fn generation(&self) -> u64 {
            self.generation.load(Ordering::Relaxed)
        }

        fn lanes(&self, _: Direction) -> Vec<Lane> {
            self.lanes.lock().unwrap().clone()
        }
    }

    fn following(lane: &Lane) -> (Lanes, Arc<Changing>) {
        let rules = Arc::new(Changing::default());
        rules.change(vec![lane.clone()]);
        (Lanes::following(vec![lane.clone()], Direction::Out, 1, rules.clone()), rules)
    }

    /// The same place at another rate, or another one.
    fn changed(lane: &Lane, bytes_a_second: u64, place: Place) -> Lane {
        let Pipe { table, clock, .. } = &*lane.pipe;
        let (table, clock) = (table.clone(), clock.clone());
        let pipe = Pipe { table, clock, bytes_a_second, dry_run: false, shaped: Seconds::default() };
        Lane { pipe: Arc::new(pipe), place }
    }

    fn lane(bytes_a_second: u64, dry_run: bool) -> (Lane, Arc<SimulatedMonotonic>) {
        let clock = Arc::new(SimulatedMonotonic::default());
        clock.advance_ns(1 << 40);
        let table = Arc::new(Table::new(&*SeededRandom::new(1)));
        let place = table.place("somebody");
        let clocked = RateClock(clock.clone());
        let pipe = Pipe { table, clock: clocked, bytes_a_second, dry_run, shaped: Seconds::default() };
        (Lane { pipe: Arc::new(pipe), place }, clock)
    }

    /// How many bytes each of so many streams gets through in a time, where each sends slices as soon as it may.
    fn simulated(bytes_a_second: u64, slices: &[usize], seconds: u64) -> Vec<u64> {
        let (lane, clock) = lane(bytes_a_second, false);
        let start = clock.elapsed();
        let mut due: Vec<u64> = slices.iter().map(|_| start).collect();
        let mut passed = vec![0; slices.len()];
        loop {
            let next = (0..slices.len()).min_by_key(|stream| due[*stream]).unwrap();
            if due[next] > start + seconds * 1_000_000_000 {
                return passed;
            }
            clock.advance_ns(due[next].saturating_sub(clock.elapsed()));
            passed[next] += slices[next] as u64;
            due[next] = clock.elapsed() + lane.book(slices[next]);
        }
    }

    trait Elapsed {
        fn elapsed(&self) -> u64;
    }

    impl Elapsed for SimulatedMonotonic {
        fn elapsed(&self) -> u64 {
            common::Monotonic::elapsed_ns(self)
        }
    }

    #[test]
    fn bytes_pass_at_the_rate_and_streams_have_equal_shares() {
        for streams in [1, 2, 10] {
            let passed = simulated(10_000_000, &vec![65_536; streams], 5);
            let sum: u64 = passed.iter().sum();
            assert!((49_000_000..=51_500_000).contains(&sum), "{streams}: {sum}");
            let (least, most) = (passed.iter().min().unwrap(), passed.iter().max().unwrap());
            // Whoever came first had the slack.
            assert!(most - least <= 600_000, "{streams}: {passed:?}");
        }
    }

    #[test]
    fn a_quiet_lane_saves_nothing_up() {
        let (lane, clock) = lane(1_000_000, false);
        clock.advance_ns(3_600_000_000_000);
        let mut free = 0;
        while lane.book(10_000) == 0 {
            free += 10_000;
        }
        assert_eq!(free, 60_000, "50 ms of it, and the slice that goes over");
        assert_eq!(lane.book(10_000), 20_000_000);
    }

    #[test]
    fn a_dry_run_holds_nobody_up() {
        let (lane, _) = lane(1_000_000, true);
        assert!((0..1000).all(|_| lane.book(100_000) == 0));
        assert!(lane.pipe.shaped.get() > 90.0);
    }

    #[test]
    fn slices_fit_the_rate() {
        let slice = |rate| lane(rate, false).0.pipe.slice_bytes();
        assert_eq!((slice(1024), slice(10_000_000), slice(1 << 34)), (1024, 78_125, 262_144));
    }

    #[tokio::test]
    async fn a_body_passes_in_time_and_unchanged() {
        let (lane, _) = lane(1_000_000, false);
        let (lanes, _) = following(&lane);
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        let body = Shaped::answer(&lanes, Body::from(Bytes::from(bytes.clone())));
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(100_000));
        let begun = tokio::time::Instant::now();
        let came = body.collect().await.expect("a body").to_bytes();
        assert_eq!(came, bytes);
        // The simulated clock stands still, so that every slice is booked behind all others: the waits add up.
        assert!(begun.elapsed() > Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_is_given_up_is_for_others() {
        let (lane, clock) = lane(1024, false);
        let (lanes, _) = following(&lane);
        let mut body = Shaped::answer(&lanes, Body::from(Bytes::from(vec![0; 4096])));
        assert_eq!(body.frame().await.expect("a frame").expect("data").into_data().expect("data").len(), 1024);
        let waiting = tokio::time::timeout(Duration::from_millis(1), body.frame()).await;
        assert!(waiting.is_err());
        let booked = |lane: &Lane| lane.pipe.table.get(lane.place) - clock.elapsed();
        assert_eq!(booked(&lane), 2_000_000_000);
        drop(body);
        assert_eq!(booked(&lane), 1_000_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_under_way_follows_its_rules() {
        let (old, clock) = lane(1024, false);
        let (lanes, rules) = following(&old);
        let mut body = Shaped::answer(&lanes, Body::from(Bytes::from(vec![0; 40 * 1024])));
        let booked = |lane: &Lane| lane.pipe.table.get(lane.place).saturating_sub(clock.elapsed());
        async fn next(body: &mut Body) -> (usize, Duration) {
            let begun = tokio::time::Instant::now();
            let frame = body.frame().await.expect("a frame").expect("data").into_data().expect("data");
            (frame.len(), begun.elapsed())
        }
        assert_eq!(next(&mut body).await.0, 1024);
        // The simulated clock stands still: what is booked adds up, and the fourth slice would wait for three seconds.
        next(&mut body).await;
        next(&mut body).await;
        let new = changed(&old, 4096, old.place ^ 1);
        let (length, waited) = {
            let changing = async {
                tokio::time::sleep(Duration::from_millis(600)).await;
                rules.change(vec![new.clone()]);
            };
            tokio::join!(next(&mut body), changing).0
        };
        assert!(length == 1024 && (600..=800).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!((booked(&old), booked(&new)), (3_000_000_000, 250_000_000), "one of the two has the slice");
        next(&mut body).await;
        assert_eq!((booked(&old), booked(&new)), (3_000_000_000, 500_000_000));
        rules.change(Vec::new());
        let (length, waited) = next(&mut body).await;
        assert_eq!((length, waited), (35 * 1024, Duration::ZERO), "nothing holds it up any more");
    }
}
