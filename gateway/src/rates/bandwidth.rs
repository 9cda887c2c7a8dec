//! Bandwidth: bytes of bodies that pass at a rule's rate. Nothing is refused: a stream that is too fast waits, and its sender or
//! reader with it, as the connection's own flow control has it.
//!
//! A body passes in slices. For each one its stream books the time that it takes at the rate, behind what others of the same key
//! have booked, and sleeps until then: so streams of one key take turns, and each has its share. A stream holds one frame.

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
use tokio::time::Sleep;

/// How far a stream may be ahead: more than what the runtime's timer sleeps too long.
const SLACK_NS: u64 = 50_000_000;
/// A slice is what passes in this part of a second, within these bounds.
const SLICES_A_SECOND: u64 = 128;
const SLICE_BYTES_MIN: u64 = 1024;
const SLICE_BYTES_MAX: u64 = 256 * 1024;

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
        let Ok(wait_ns) = table.update(self.place, now_ns, |booked| {
            let (wait_ns, next) = booked_behind(booked.unwrap_or(0), now_ns, time_ns);
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

/// The lanes of a request, one for each rule that is about it.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    pub inbound: Arc<[Lane]>,
    pub outbound: Arc<[Lane]>,
}

/// Lets what it is given through in time.
pub struct Shaper {
    lanes: Arc<[Lane]>,
    held: Bytes,
    /// How much of it is booked.
    booked: usize,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Shaper {
    /// None where nothing shapes.
    pub fn of(lanes: &Arc<[Lane]>) -> Option<Self> {
        if lanes.is_empty() {
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
        if self.booked == 0 {
            let slice = self.lanes.iter().map(|lane| lane.pipe.slice_bytes()).min().unwrap_or(SLICE_BYTES_MAX);
            self.booked = self.held.len().min(usize::try_from(slice).unwrap_or(usize::MAX));
            let wait_ns = self.lanes.iter().map(|lane| lane.book(self.booked)).max().unwrap_or(0);
            self.sleep = (wait_ns > 0).then(|| Box::pin(tokio::time::sleep(Duration::from_nanos(wait_ns))));
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        Poll::Ready(self.held.split_to(std::mem::take(&mut self.booked)))
    }
}

impl Drop for Shaper {
    /// What was booked and never passed is for others.
    fn drop(&mut self) {
        if self.booked > 0 {
            for lane in self.lanes.iter() {
                lane.pipe.table.give_back(lane.place, lane.pipe.time_ns(self.booked));
            }
        }
    }
}

/// An answer's body that passes in time.
pub struct Shaped {
    body: Body,
    shaper: Shaper,
}

impl Shaped {
    pub fn answer(lanes: &Arc<[Lane]>, body: Body) -> Body {
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
        let lanes: Arc<[Lane]> = vec![lane.clone()].into();
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
        let lanes: Arc<[Lane]> = vec![lane.clone()].into();
        let mut body = Shaped::answer(&lanes, Body::from(Bytes::from(vec![0; 4096])));
        assert_eq!(body.frame().await.expect("a frame").expect("data").into_data().expect("data").len(), 1024);
        let waiting = tokio::time::timeout(Duration::from_millis(1), body.frame()).await;
        assert!(waiting.is_err());
        let booked = |lane: &Lane| lane.pipe.table.get(lane.place).unwrap() - clock.elapsed();
        assert_eq!(booked(&lane), 2_000_000_000);
        drop(body);
        assert_eq!(booked(&lane), 1_000_000_000);
    }
}
