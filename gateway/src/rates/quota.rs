//! How many requests a key of a rule may make: GCRA, computed by governor over the table of `keys.rs`.
//!
//! Two things are added to it. A part of the burst is kept for requests that say they are a repetition (`amz-sdk-request:
//! attempt=2`, as all AWS SDKs do): else the first attempts of a busy client would take all that its own repetitions wait
//! for, and one of them would run out of attempts. Whoever lies about it takes from its own key. And each refusal names a moment
//! of its own, one behind the other, so that those who were refused together do not come back together.

use super::keys::{Place, Table};
use common::Monotonic;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

/// Nobody is told to wait for longer than this, but for what its request costs.
const WAIT_NS_MAX: u64 = 10_000_000_000;

/// The clock of all rules, which a request looks at once for all of them.
#[derive(Clone)]
pub struct RateClock(pub Arc<dyn Monotonic>);

impl RateClock {
    pub fn now_ns(&self) -> u64 {
        self.0.elapsed_ns()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, other: Nanos) -> Self {
        Self(self.0.saturating_add(other.as_u64()))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.as_u64()).unwrap_or(self.0))
    }
}

thread_local! {
    static ASKED_NS: Cell<u64> = const { Cell::new(0) };
}

/// governor looks at a clock of its own for each question. This one shows the moment of the question: a request is judged at one
/// moment by all its rules.
struct AsAsked;

impl Clock for AsAsked {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(ASKED_NS.get())
    }
}

/// One question to governor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ask {
    place: Place,
    now_ns: u64,
    /// What it must leave there, as time.
    leave_ns: u64,
    /// The answer, beside governor's: when all that the key took will have come back.
    until_ns: Cell<u64>,
}

impl Hash for Ask {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

struct Store {
    table: Arc<Table>,
}

impl StateStore for Store {
    type Key = Ask;

    fn measure_and_replace<T, F, E>(&self, ask: &Ask, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.table.update(ask.place, |moment| {
            // What must be left looks as if it were taken, while it is decided.
            let seen = moment.max(ask.now_ns).saturating_add(ask.leave_ns);
            let (decided, next) = decide(Some(seen.into()))?;
            let until_ns = next.as_u64().saturating_sub(ask.leave_ns);
            ask.until_ns.set(until_ns);
            Ok((decided, until_ns))
        })
    }
}

/// What was taken of a key's, and when it has come back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub place: Place,
    cost_ns: u64,
    until_ns: u64,
}

impl Part {
    /// What is left of it to give back: who gave all of it back late would get it twice.
    pub fn left_ns(&self, now_ns: u64) -> u64 {
        self.cost_ns.min(self.until_ns.saturating_sub(now_ns))
    }
}

/// The requests of one rule.
pub struct Limiter {
    governor: RateLimiter<Ask, Store, AsAsked, NoOpMiddleware<Moment>>,
    table: Arc<Table>,
    interval_ns: u64,
    burst: u32,
    /// Of the burst, for repetitions.
    kept: u32,
}

/// Requests a second as the time between two.
pub fn interval_ns(rate: f64) -> u64 {
    (1e9 / rate).round().max(1.0) as u64
}

impl Limiter {
    /// `cost_max`: what one request can cost at most, which the burst must have.
    pub fn new(rate: f64, burst: u32, cost_max: u32, table: Arc<Table>) -> Self {
        let interval_ns = interval_ns(rate);
        let burst = burst.max(cost_max).max(1);
        let quota = Quota::with_period(Duration::from_nanos(interval_ns)).expect("an interval is no zero");
        let quota = quota.allow_burst(NonZeroU32::new(burst).expect("it is 1 at least"));
        // It counts from what its clock shows first: from zero, its moments are those of our clock.
        ASKED_NS.set(0);
        let governor = RateLimiter::new(quota, Store { table: table.clone() }, AsAsked);
        Self { governor, table, interval_ns, burst, kept: (burst - cost_max.max(1).min(burst)) / 2 }
    }

    fn cost_ns(&self, cost: u32) -> u64 {
        self.interval_ns.saturating_mul(u64::from(cost))
    }

    /// Takes what a request costs, or says how long there will not be so much.
    pub fn take(&self, place: Place, cost: u32, is_repetition: bool, now_ns: u64) -> Result<Part, Duration> {
        let cost_ns = self.cost_ns(cost);
        let Some(cost) = NonZeroU32::new(cost) else { return Ok(Part { place, cost_ns, until_ns: now_ns }) };
        let leave = if is_repetition { 0 } else { self.kept };
        let ask = Ask { place, now_ns, leave_ns: self.cost_ns(leave), until_ns: Cell::new(0) };
        ASKED_NS.set(now_ns);
        match self.governor.check_key_n(&ask, cost) {
            Ok(Ok(())) => Ok(Part { place, cost_ns, until_ns: ask.until_ns.get() }),
            Ok(Err(refused)) => Err(refused.wait_time_from(Moment(now_ns))),
            // `rule.rs` refuses such a burst, and `new` does not make one.
            Err(_) => Err(Duration::from_nanos(cost_ns)),
        }
    }

    /// Takes it, or all that there is.
    pub fn charge(&self, place: Place, cost: u32, now_ns: u64) {
        if self.take(place, cost, true, now_ns).is_err() {
            self.table.put(place, now_ns.saturating_add(self.cost_ns(self.burst)));
        }
    }

    /// When who was refused should come again: behind all who were refused before.
    pub fn turn(&self, queue: Place, cost: u32, wait: Duration, now_ns: u64) -> Duration {
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let cost_ns = self.cost_ns(cost);
        let told = self
            .table
            .update(queue, |last| Ok::<_, std::convert::Infallible>(turn_after(last, now_ns, wait_ns, cost_ns)));
        let Ok(told) = told;
        Duration::from_nanos(told)
    }

    /// How much a key could take now, as a repetition.
    pub fn left(&self, place: Place, now_ns: u64) -> f64 {
        let taken_ns = self.table.get(place).saturating_sub(now_ns);
        (f64::from(self.burst) - taken_ns as f64 / self.interval_ns as f64).max(0.0)
    }

    pub fn kept(&self) -> u32 {
        self.kept
    }

    pub fn burst(&self) -> u32 {
        self.burst
    }
}

/// How long one waits whose predecessor was told `last`, and what its successor will find.
fn turn_after(last: u64, now_ns: u64, wait_ns: u64, cost_ns: u64) -> (u64, u64) {
    let earliest = now_ns.saturating_add(wait_ns);
    let turn = last.max(earliest);
    if turn.saturating_sub(now_ns) > WAIT_NS_MAX.max(wait_ns) {
        return (WAIT_NS_MAX.max(wait_ns), last);
    }
    (turn - now_ns, turn.saturating_add(cost_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::{SeededRandom, SimulatedMonotonic};

    const SECOND_NS: u64 = 1_000_000_000;

    fn limiter(rate: f64, burst: u32, cost_max: u32) -> (Limiter, Arc<SimulatedMonotonic>, Place) {
        let clock = Arc::new(SimulatedMonotonic::default());
        clock.advance_ns(7 * SECOND_NS);
        let table = Arc::new(Table::new(&*SeededRandom::new(1)));
        let place = table.place("somebody");
        let limiter = Limiter::new(rate, burst, cost_max, table);
        (limiter, clock, place)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (limiter, clock, place) = limiter(50.0, 10, 1);
        let passes = |repeats| (0..100).filter(|_| limiter.take(place, 1, repeats, clock.elapsed_ns()).is_ok()).count();
        assert_eq!(passes(true), 10);
        for seconds in 1..=3 {
            let mut passed = 0;
            for _ in 0..1000 {
                clock.advance_ns(SECOND_NS / 1000);
                passed += passes(true);
            }
            assert_eq!(passed, 50, "in second {seconds}");
        }
        clock.advance_ns(1000 * SECOND_NS);
        assert_eq!(passes(true), 10, "no more than the burst, however long it was quiet");
    }

    #[test]
    fn a_part_of_the_burst_is_for_repetitions() {
        let (limiter, clock, place) = limiter(10.0, 11, 1);
        let passes = |repeats| (0..100).filter(|_| limiter.take(place, 1, repeats, clock.elapsed_ns()).is_ok()).count();
        assert_eq!(limiter.kept(), 5);
        assert_eq!((passes(false), passes(true), passes(false)), (6, 5, 0));
        clock.advance_ns(SECOND_NS / 2);
        assert_eq!((passes(false), passes(true)), (0, 5), "what comes back is for repetitions first");
        clock.advance_ns(60 * SECOND_NS);
        assert_eq!((passes(false), passes(true)), (6, 5));
    }

    #[test]
    fn costs_are_all_or_nothing_and_can_be_given_back() {
        let (limiter, clock, place) = limiter(1.0, 10, 10);
        let now_ns = clock.elapsed_ns();
        let give_back = |part: Part| limiter.table.give_back(part.place, part.left_ns(now_ns));
        assert_eq!(limiter.kept(), 0);
        let five = limiter.take(place, 5, false, now_ns).expect("it is full");
        assert_eq!(limiter.take(place, 6, false, now_ns), Err(Duration::from_secs(1)));
        assert_eq!(limiter.left(place, now_ns), 5.0);
        give_back(five);
        assert_eq!(limiter.left(place, now_ns), 10.0);
        let four = limiter.take(place, 4, false, now_ns).expect("it is full again");
        limiter.take(place, 6, false, now_ns).expect("all of it");
        give_back(four);
        limiter.charge(place, 10, now_ns);
        assert_eq!(limiter.left(place, clock.elapsed_ns()), 0.0, "a charge takes what is there");
    }

    #[test]
    fn what_has_come_back_by_itself_is_not_given_back_again() {
        let (limiter, clock, place) = limiter(1.0, 10, 10);
        let first = limiter.take(place, 4, true, clock.elapsed_ns()).expect("it is full");
        let second = limiter.take(place, 2, true, clock.elapsed_ns()).expect("there is enough");
        let left = |part: Part, clock: &SimulatedMonotonic| part.left_ns(clock.elapsed_ns()) / SECOND_NS;
        assert_eq!((left(first, &clock), left(second, &clock)), (4, 2));
        clock.advance_ns(3 * SECOND_NS);
        assert_eq!((left(first, &clock), left(second, &clock)), (1, 2));
        clock.advance_ns(2 * SECOND_NS);
        assert_eq!((left(first, &clock), left(second, &clock)), (0, 1));
    }

    #[test]
    fn who_is_refused_has_a_turn_of_its_own() {
        let (limiter, clock, place) = limiter(10.0, 1, 1);
        assert!(limiter.take(place, 1, true, clock.elapsed_ns()).is_ok());
        let queue = place ^ 1;
        let told: Vec<u64> = (0..3)
            .map(|_| {
                let wait = limiter.take(place, 1, false, clock.elapsed_ns()).expect_err("it is empty");
                limiter.turn(queue, 1, wait, clock.elapsed_ns()).as_millis() as u64
            })
            .collect();
        assert_eq!(told, [100, 200, 300]);
        for _ in 0..3 {
            clock.advance_ns(SECOND_NS / 10);
            assert!(
                limiter.take(place, 1, true, clock.elapsed_ns()).is_ok(),
                "each finds at its turn what it waited for"
            );
        }
        for _ in 0..1000 {
            limiter.turn(queue, 1, Duration::ZERO, clock.elapsed_ns());
        }
        assert_eq!(limiter.turn(queue, 1, Duration::ZERO, clock.elapsed_ns()).as_secs(), 10, "nobody waits for longer");
    }

    #[test]
    fn the_first_request_passes_however_small_the_burst() {
        let table = Arc::new(Table::new(&*SeededRandom::new(1)));
        let limiter = Limiter::new(0.01, 1, 1, table.clone());
        for somebody in 0..100 {
            let now_ns = 1000 * somebody;
            assert!(limiter.take(table.place(somebody), 1, false, now_ns).is_ok());
        }
        assert!(limiter.take(table.place(0_u64), 1, true, 1000).is_err());
    }

    #[test]
    fn limiters_of_one_thread_do_not_share_their_moments() {
        let (one, clock, place) = limiter(1.0, 1, 1);
        let now_ns = clock.elapsed_ns();
        assert!(one.take(place, 1, false, now_ns).is_ok());
        let table = Arc::new(Table::new(&*SeededRandom::new(1)));
        let other = Limiter::new(1.0, 1, 1, table);
        for seconds in 1..=3 {
            assert_eq!(
                other.take(place, 1, false, seconds * SECOND_NS).map(|part| part.until_ns),
                Ok((seconds + 1) * SECOND_NS)
            );
        }
        assert_eq!(one.take(place, 1, false, now_ns), Err(Duration::from_secs(1)));
    }

    #[test]
    fn rates_are_intervals() {
        assert_eq!((interval_ns(50.0), interval_ns(0.5), interval_ns(1e12)), (20_000_000, 2 * SECOND_NS, 1));
    }
}
