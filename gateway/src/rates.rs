//! Rules of who may ask how often and how fast: data of the control store (`rates/rule.rs`), in force a moment after they change.
//!
//! A request meets the rules twice. Before anything of it is believed, those of its address; an address whose authentications
//! fail too often ends here. After its identity is known, and before any policy is asked, all others, from narrow to wide:
//! each takes what the request costs, and where one refuses, what those before it took is given back. What a rule remembers of
//! everybody is in one table of fixed size (`rates/keys.rs`).
//!
//! Where there is no rule, and no address that failed lately, a request costs two loads of one number.

pub mod aistore;
mod asker;
mod bandwidth;
mod explain;
mod failures;
mod held;
mod keys;
mod quota;
mod rule;
mod verb;

pub use asker::{Asker, counted_address};
pub use bandwidth::{Shape, Shaped, Shaper};
pub use held::{Arrival, Taken};
pub use keys::{KEYS_MAX, TABLE_BYTES_MAX};
pub use rule::Rule;
pub use verb::{COST, Verb, cost, cost_of_keys};

use crate::metrics::Metrics;
use crate::own_line::Striped;
use arc_swap::{ArcSwap, Guard};
use asker::{Counted, counted};
use authn::Identity;
use bandwidth::{Direction, Lane, Lanes, Pipe, Rules, Seconds};
use cluster::{ControlPlane, Limit, State};
use common::{Monotonic, Random};
use held::Held;
use http::{HeaderMap, HeaderValue, header};
use keys::{Place, Table};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use quota::{Limiter, RateClock};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Which rule refused a request.
pub const RULE_HEADER: &str = "x-weir-limit";

/// The built-in rule.
pub const FAILED_AUTHENTICATION: &str = "failed-authentication";
/// Its burst is what comes in so many seconds.
pub const FAILED_AUTHENTICATION_SECONDS: u32 = 10;

/// How often it is counted who is remembered.
const LOOK: Duration = Duration::from_secs(10);

/// What there is to ask, in one number.
const BEFORE: u8 = 1;
const AFTER: u8 = 2;
const SHAPES: u8 = 4;
/// An address has failed lately.
const FAILED: u8 = 8;

/// Of a time that a client is told, so many percent more or less, so that clients do not come back in step.
const JITTER_PERCENT: u64 = 20;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    pub rule: Arc<str>,
    pub retry_ms: u64,
}

impl Throttle {
    /// As the audit log says it.
    pub fn reason(&self) -> String {
        format!("limit:{}", self.rule)
    }

    /// What tells a client when to come again, and an administrator why.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_seconds()));
        headers.insert("x-amz-retry-after", HeaderValue::from(self.retry_ms));
        headers.insert(RULE_HEADER, HeaderValue::from_str(&self.rule).unwrap_or(HeaderValue::from_static("-")));
        headers
    }

    /// `Retry-After` has no smaller unit.
    pub fn retry_seconds(&self) -> u64 {
        self.retry_ms.div_ceil(1000).max(1)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    rule: String,
    decision: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShapedLabels {
    rule: String,
    direction: &'static str,
}

/// Each request counts at each rule that is about it.
type Decisions = Counter<u64, Striped>;

const PASSED: &str = "passed";
const REFUSED: &str = "refused";
const WOULD_REFUSE: &str = "would_refuse";

struct Families {
    decisions: Family<DecisionLabels, Decisions>,
    shaped: Family<ShapedLabels, Seconds>,
    waits: Histogram,
    keys: Gauge,
}

/// A rule at work.
struct Active {
    rule: Rule,
    version: u64,
    name: Arc<str>,
    /// Of the name and the version: a rule that was changed begins anew.
    mark: Place,
    limiter: Option<Limiter>,
    inbound: Option<Arc<Pipe>>,
    outbound: Option<Arc<Pipe>>,
    passed: Decisions,
    /// Or would have been.
    refused: Decisions,
}

#[derive(Default)]
struct InForce {
    /// Of the state that they are from.
    version: u64,
    /// What they were made of.
    limits: Arc<BTreeMap<String, Arc<Limit>>>,
    before: Vec<Active>,
    after: Vec<Active>,
}

/// The rules, for who follows their changes.
struct Standing {
    in_force: ArcSwap<InForce>,
    /// One more with each change.
    generation: AtomicU64,
    table: Arc<Table>,
}

/// The rules as they are for one request's bodies, which may be on their way for hours.
struct Follower {
    standing: Arc<Standing>,
    identity: Identity,
    address: Option<IpAddr>,
    bucket: Option<String>,
    verb: Verb,
}

pub struct Rates {
    asks: AtomicU8,
    standing: Arc<Standing>,
    failures: Option<Active>,
    table: Arc<Table>,
    clock: RateClock,
    random: Arc<dyn Random>,
    families: Families,
    /// Rules that have families. Who has it changes the rules.
    named: Mutex<Vec<String>>,
}

impl Rates {
    /// `failures_per_second`: how many authentications of one address may fail; 0 for no limit.
    pub fn new(
        failures_per_second: u32,
        clock: Arc<dyn Monotonic>,
        random: Arc<dyn Random>,
        metrics: &Metrics,
    ) -> Self {
        let families = Families {
            decisions: Family::default(),
            shaped: Family::default(),
            waits: Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
            keys: Gauge::default(),
        };
        {
            let mut registry = metrics.registry();
            let (decisions, shaped) = (families.decisions.clone(), families.shaped.clone());
            registry.register("ratelimit_decisions", "What rules have decided about requests", decisions);
            let waits = families.waits.clone();
            registry.register("ratelimit_wait_seconds", "How long refused requests were told to wait", waits);
            registry.register("bandwidth_shaped_seconds", "How long bodies were held up", shaped);
            registry.register("ratelimit_keys", "Keys that rules remember", families.keys.clone());
        }
        let table = Arc::new(Table::new(&*random));
        let standing = Standing { in_force: ArcSwap::default(), generation: AtomicU64::new(0), table: table.clone() };
        let mut rates = Self {
            asks: AtomicU8::new(0),
            standing: Arc::new(standing),
            failures: None,
            table,
            clock: RateClock(clock),
            random,
            families,
            named: Mutex::default(),
        };
        let built_in = (failures_per_second > 0).then(|| Rule::of_failed_authentications(failures_per_second));
        rates.failures = built_in.map(|rule| rates.active(rule, 0));
        rates
    }

    /// Follows the control store, and notices when nobody has to be remembered. Ends with it.
    pub async fn run(self: Arc<Self>, control: Arc<dyn ControlPlane>) {
        let mut version = self.follow(&control.current());
        // By a clock of its own: a store that changes all the time would put off what waited for a quiet moment.
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = control.watch(version) => match changed {
                    Ok(state) => version = self.follow(&state),
                    Err(_) => return,
                },
                _ = looks.tick() => self.look(),
            }
        }
    }

    /// Puts the state's rules in force, unless those of a later one are. Gives the version that is.
    pub fn follow(&self, state: &State) -> u64 {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.in_force();
        if state.version < in_force.version {
            return in_force.version;
        }
        let limits = &state.limits;
        if Arc::ptr_eq(&in_force.limits, limits) {
            return state.version;
        }
        let next = self.compiled(state.version, limits.clone());
        let asks = next.asks();
        self.standing.in_force.store(Arc::new(next));
        self.forget_families(&mut named, limits);
        let _ = self.asks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old & FAILED | asks));
        self.standing.generation.fetch_add(1, Ordering::Release);
        state.version
    }

    fn look(&self) {
        let busy = self.keys();
        self.families.keys.set(i64::try_from(busy).unwrap_or(i64::MAX));
        if busy == 0 {
            // Whoever fails right now is remembered when it fails again.
            self.asks.fetch_and(!FAILED, Ordering::Relaxed);
        }
    }

    fn compiled(&self, version: u64, limits: Arc<BTreeMap<String, Arc<Limit>>>) -> InForce {
        let mut in_force = InForce { version, limits: limits.clone(), ..InForce::default() };
        for limit in limits.values() {
            match Rule::parse(&limit.name, limit.document.as_bytes()) {
                Ok(rule) => {
                    let list = if rule.is_before_identity() { &mut in_force.before } else { &mut in_force.after };
                    list.push(self.active(rule, limit.version));
                }
                // Of a newer program, perhaps. The others are in force all the same.
                Err(error) => tracing::error!(limit = limit.name, error, "a limit is not in force"),
            }
        }
        in_force.after.sort_by_key(|active| active.rule.per);
        in_force
    }

    fn active(&self, rule: Rule, version: u64) -> Active {
        let name: Arc<str> = rule.name.as_str().into();
        let limiter = rule.rate.map(|rate| Limiter::new(rate, rule.burst, rule.cost_max(), self.table.clone()));
        let shaped = |direction: Direction| {
            let labels = ShapedLabels { rule: rule.name.clone(), direction: direction.name() };
            self.families.shaped.get_or_create(&labels).clone()
        };
        let pipe = |bytes_a_second: Option<u64>, direction| {
            bytes_a_second.map(|bytes_a_second| {
                Arc::new(Pipe {
                    table: self.table.clone(),
                    clock: self.clock.clone(),
                    bytes_a_second,
                    dry_run: rule.dry_run,
                    shaped: shaped(direction),
                })
            })
        };
        let decisions = |decision| {
            let labels = DecisionLabels { rule: rule.name.clone(), decision };
            self.families.decisions.get_or_create(&labels).clone()
        };
        let (inbound, outbound) = (pipe(rule.bytes_in, Direction::In), pipe(rule.bytes_out, Direction::Out));
        let passed = decisions(PASSED);
        let refused = decisions(if rule.dry_run { WOULD_REFUSE } else { REFUSED });
        let mark = self.table.place((&name, version));
        Active { rule, version, name, mark, limiter, inbound, outbound, passed, refused }
    }

    /// A family never forgets by itself, and rules come and go.
    fn forget_families(&self, known: &mut Vec<String>, limits: &BTreeMap<String, Arc<Limit>>) {
        for rule in known.iter().filter(|rule| !limits.contains_key(*rule)) {
            for decision in [PASSED, REFUSED, WOULD_REFUSE] {
                self.families.decisions.remove(&DecisionLabels { rule: rule.clone(), decision });
            }
            for direction in Direction::BOTH.map(Direction::name) {
                self.families.shaped.remove(&ShapedLabels { rule: rule.clone(), direction });
            }
        }
        *known = limits.keys().cloned().collect();
    }

    fn in_force(&self) -> Guard<Arc<InForce>> {
        self.standing.in_force.load()
    }

    /// A request of an address comes, and nothing else of it is known.
    ///
    /// `only_failures`: for who comes to change the rules, which must not be in the way of that.
    pub fn arrives(
        &self,
        address: Option<IpAddr>,
        headers: &HeaderMap,
        only_failures: bool,
    ) -> Result<Arrival, Throttle> {
        let asks = self.asks.load(Ordering::Relaxed);
        if asks & (BEFORE | FAILED) == 0 {
            return Ok(Arrival::of(address, None));
        }
        let Some(from) = address else { return Ok(Arrival::default()) };
        let held = if asks & FAILED != 0 { self.hold_failure(from)? } else { None };
        if asks & BEFORE != 0 && !only_failures {
            let asker = before_identity(from, Some(headers));
            self.take(&self.in_force().before, &asker, verb::COST, true, self.clock.now_ns())?;
        }
        Ok(Arrival::of(address, held))
    }

    /// Whether anything depends on who asks.
    pub fn asks_by_identity(&self) -> bool {
        self.asks.load(Ordering::Relaxed) & (AFTER | SHAPES) != 0
    }

    /// Whether somebody who is known may ask for this, which costs so much in all, and how fast its bodies pass.
    ///
    /// `before`: what the request has taken when less was known of it. It comes back first, so that the whole cost is there at
    /// the moment for which a refusal says so.
    pub fn admits(&self, asker: &Asker<'_>, cost: u32, before: Taken) -> Result<(Taken, Option<Shape>), Throttle> {
        let is_first = before.is_empty();
        let now_ns = self.clock.now_ns();
        self.give_back_at(before, now_ns);
        let asks = self.asks.load(Ordering::Relaxed);
        if asks & (AFTER | SHAPES) == 0 {
            return Ok((Taken::default(), None));
        }
        let mut taken = Taken::default();
        if asks & AFTER != 0 {
            taken = self.take(&self.in_force().after, asker, cost, is_first, now_ns)?;
        }
        if asks & SHAPES == 0 {
            return Ok((taken, None));
        }
        Ok((taken, self.shape(asker)))
    }

    fn shape(&self, asker: &Asker<'_>) -> Option<Shape> {
        let generation = self.standing.generation();
        let [inbound, outbound] = Direction::BOTH.map(|direction| self.standing.lanes(asker, direction));
        if inbound.is_empty() && outbound.is_empty() {
            return None;
        }
        let rules: Arc<dyn Rules> = Arc::new(Follower {
            standing: self.standing.clone(),
            identity: asker.identity.clone(),
            address: asker.address,
            bucket: asker.bucket.map(str::to_owned),
            verb: asker.verb,
        });
        let follow = |lanes, direction| Lanes::following(lanes, direction, generation, rules.clone());
        Some(Shape { inbound: follow(inbound, Direction::In), outbound: follow(outbound, Direction::Out) })
    }

    /// What a request has taken that is not done after all.
    pub fn give_back(&self, taken: Taken) {
        if !taken.is_empty() {
            self.give_back_at(taken, self.clock.now_ns());
        }
    }

    fn give_back_at(&self, taken: Taken, now_ns: u64) {
        for part in taken {
            self.table.give_back(part.place, part.left_ns(now_ns));
        }
    }

    /// Whether bodies may have to be held up: it is not known yet whose.
    pub fn shapes(&self) -> bool {
        self.asks.load(Ordering::Relaxed) & SHAPES != 0
    }

    /// Takes the cost of a request from all rules that are about it, or from none.
    fn take(
        &self,
        rules: &[Active],
        asker: &Asker<'_>,
        cost: u32,
        is_counted: bool,
        now_ns: u64,
    ) -> Result<Taken, Throttle> {
        let mut taken = Taken::new();
        for active in rules {
            let Some(limiter) = &active.limiter else { continue };
            let Ok(counted) = counted(&active.rule, asker) else { continue };
            let place = self.place(active, &counted);
            let took = match limiter.take(place, cost, false, now_ns) {
                Err(_) if limiter.kept() > 0 && asker.is_repetition() => limiter.take(place, cost, true, now_ns),
                took => took,
            };
            match took {
                Ok(part) => {
                    if is_counted {
                        active.passed.inc();
                    }
                    taken.push(part);
                }
                Err(_) if active.rule.dry_run => {
                    active.refused.inc();
                }
                Err(wait) => {
                    self.give_back_at(taken, now_ns);
                    return Err(self.refuse(active, limiter, (place, cost), wait, now_ns));
                }
            }
        }
        Ok(taken)
    }

    fn refuse(
        &self,
        active: &Active,
        limiter: &Limiter,
        (place, cost): (Place, u32),
        wait: Duration,
        now_ns: u64,
    ) -> Throttle {
        active.refused.inc();
        let wait = limiter.turn(self.table.place(("turn", place)), cost, wait, now_ns);
        let retry_ms = jittered(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1), self.random.u64());
        self.families.waits.observe(retry_ms as f64 / 1000.0);
        Throttle { rule: active.name.clone(), retry_ms }
    }

    fn place(&self, active: &Active, counted: &Counted<'_>) -> Place {
        self.table.place((active.mark, counted))
    }

    fn place_of(&self, active: &Active, address: IpAddr) -> Place {
        self.place(active, &Counted::Address(counted_address(address)))
    }

    /// How many keys have taken something that has not come back.
    pub fn keys(&self) -> usize {
        self.table.busy(self.clock.now_ns())
    }

    /// The rule that nobody has written.
    pub fn built_in(&self) -> Option<&Rule> {
        self.failures.as_ref().map(|active| &active.rule)
    }
}

impl Standing {
    /// Who reads it before the rules has old rules under a new number at no time.
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What shapes somebody's bodies. A rule that was changed has lanes of its own: those of before are nobody's from then on.
    fn lanes(&self, asker: &Asker<'_>, direction: Direction) -> Vec<Lane> {
        let in_force = self.in_force.load();
        let lane = |active: &Active| {
            let pipe = match direction {
                Direction::In => active.inbound.as_ref(),
                Direction::Out => active.outbound.as_ref(),
            }?;
            let counted = counted(&active.rule, asker).ok()?;
            let place = self.table.place((active.mark, direction.name(), &counted));
            Some(Lane { pipe: pipe.clone(), place })
        };
        in_force.after.iter().filter_map(lane).collect()
    }
}

impl Rules for Follower {
    fn generation(&self) -> u64 {
        self.standing.generation()
    }

    fn lanes(&self, direction: Direction) -> Vec<Lane> {
        let Self { standing, identity, address, bucket, verb } = self;
        let (address, bucket, verb) = (*address, bucket.as_deref(), *verb);
        standing.lanes(&Asker { identity, address, bucket, verb, headers: None }, direction)
    }
}

impl InForce {
    fn asks(&self) -> u8 {
        let is = |holds: bool, flag: u8| if holds { flag } else { 0 };
        let shapes = self.after.iter().any(|active| active.inbound.is_some() || active.outbound.is_some());
        is(!self.before.is_empty(), BEFORE)
            | is(self.after.iter().any(|active| active.limiter.is_some()), AFTER)
            | is(shapes, SHAPES)
    }
}

fn before_identity(address: IpAddr, headers: Option<&HeaderMap>) -> Asker<'_> {
    let address = Some(address);
    Asker { identity: &Identity::Anonymous, address, bucket: None, verb: Verb::Get, headers }
}

/// A time, and up to a fifth more or less.
fn jittered(ms: u64, random: u64) -> u64 {
    let span = ms.saturating_mul(JITTER_PERCENT) / 100;
    let offset = random % (2 * span + 1);
    (ms - span).saturating_add(offset).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::ErrorCode;
    use common::doors::{SeededRandom, SimulatedMonotonic};
    use http::HeaderName;
    use std::sync::LazyLock;

    pub(super) const SECOND_NS: u64 = 1_000_000_000;

    pub(super) fn rates(failures_per_second: u32) -> (Rates, Arc<SimulatedMonotonic>) {
        let clock = Arc::new(SimulatedMonotonic::default());
        clock.advance_ns(1 << 40);
        (Rates::new(failures_per_second, clock.clone(), SeededRandom::new(7), &Metrics::default()), clock)
    }

    fn follow(rates: &Rates, version: u64, documents: &[(&str, &str)]) {
        let limit = |(name, document): &(&str, &str)| {
            let (name, document) = ((*name).to_owned(), (*document).to_owned());
            (name.clone(), Arc::new(Limit { name, version, document }))
        };
        let limits = Arc::new(documents.iter().map(limit).collect());
        rates.follow(&State { version, limits, ..State::default() });
    }

    fn asker(verb: Verb) -> Asker<'static> {
        static REPETITION: LazyLock<HeaderMap> = LazyLock::new(|| {
            HeaderMap::from_iter([(HeaderName::from_static("amz-sdk-request"), HeaderValue::from_static("attempt=2"))])
        });
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        Asker { identity: &Identity::Anonymous, address, bucket: Some("b"), verb, headers: Some(&REPETITION) }
    }

    fn refused(rates: &Rates, verb: Verb) -> Option<String> {
        rates.admits(&asker(verb), COST, Taken::default()).err().map(|throttle| throttle.rule.to_string())
    }

    pub(super) fn wrong(rates: &Rates, arrival: &Arrival) {
        rates.ended(Some(arrival), Some(&ErrorCode("SignatureDoesNotMatch".to_owned())));
    }

    #[test]
    fn all_rules_must_let_a_request_through_and_one_that_refuses_takes_nothing_from_the_others() {
        let (rates, clock) = rates(0);
        assert!(!rates.asks_by_identity());
        let narrow = r#"{"per": "key", "rate": 1, "burst": 3, "match": {"verb": "get"}}"#;
        let wide = r#"{"per": "node", "rate": 1, "burst": 2, "match": {"verb": ["get", "head"]}}"#;
        follow(&rates, 1, &[("a-wide", wide), ("b-narrow", narrow)]);
        assert!(rates.asks_by_identity());
        assert_eq!((refused(&rates, Verb::Get), refused(&rates, Verb::Get)), (None, None));
        for _ in 0..10 {
            assert_eq!(refused(&rates, Verb::Get).as_deref(), Some("a-wide"));
        }
        follow(&rates, 2, &[("b-narrow", narrow)]);
        assert_eq!((refused(&rates, Verb::Get), refused(&rates, Verb::Head)), (None, None), "changed, and so anew");
        follow(&rates, 2, &[]);
        assert!(!rates.asks_by_identity());
        clock.advance_ns(1 << 40);
        assert_eq!(rates.keys(), 0);
    }

    #[test]
    fn a_change_of_one_rule_does_not_make_others_forget() {
        let (rates, _) = rates(0);
        let one = r#"{"per": "key", "rate": 1, "burst": 1, "match": {"verb": "get"}}"#;
        follow(&rates, 1, &[("one", one)]);
        assert_eq!(refused(&rates, Verb::Get), None);
        let limit = Arc::new(Limit { name: "one".into(), version: 1, document: one.into() });
        let other = r#"{"per": "node", "rate": 1, "burst": 1, "match": {"verb": "head"}}"#;
        let other = Arc::new(Limit { name: "other".into(), version: 2, document: other.into() });
        let limits = Arc::new([("one".to_owned(), limit), ("other".to_owned(), other)].into());
        rates.follow(&State { version: 2, limits, ..State::default() });
        assert_eq!(refused(&rates, Verb::Get).as_deref(), Some("one"));
        assert_eq!((refused(&rates, Verb::Head), refused(&rates, Verb::Head).as_deref()), (None, Some("other")));
    }

    #[test]
    fn a_dry_run_counts_and_what_cannot_be_read_is_not_in_force() {
        let (rates, _) = rates(0);
        let dry = r#"{"per": "node", "rate": 1, "burst": 1, "match": {"verb": "get"}, "dry_run": true}"#;
        follow(&rates, 1, &[("dry", dry), ("newer", r#"{"per": "galaxy", "rate": 1}"#)]);
        assert!((0..5).all(|_| refused(&rates, Verb::Get).is_none()));
        let in_force = rates.in_force();
        let [dry] = &in_force.after[..] else { panic!("one rule") };
        assert_eq!((dry.passed.get(), dry.refused.get()), (1, 4));
    }

    #[test]
    fn a_deletion_of_many_keys_is_charged_whole_or_not_at_all() {
        let (rates, clock) = rates(0);
        follow(&rates, 1, &[("r", r#"{"per": "node", "rate": 1, "burst": 10, "match": {"verb": "delete"}}"#)]);
        let asker = asker(Verb::Delete);
        let admits = |cost, before| rates.admits(&asker, cost, before).map(|(taken, _)| taken);
        admits(COST, Taken::default()).expect("it is full");
        clock.advance_ns(SECOND_NS / 2);
        let asks = || admits(10, admits(COST, Taken::default()).expect("there is one")).map(drop);
        let throttle = asks().expect_err("half is missing");
        assert!((400..=600).contains(&throttle.retry_ms), "what is missing of all: {throttle:?}");
        let mut attempts = 2;
        // More often than what the first charge costs comes back.
        while asks().is_err() {
            attempts += 1;
            assert!(attempts < 12, "it never ends");
            clock.advance_ns(SECOND_NS / 10);
        }
        assert_eq!(refused(&rates, Verb::Delete).as_deref(), Some("r"), "it cost all");
        let in_force = rates.in_force();
        assert_eq!(in_force.after[0].passed.get(), 1 + attempts, "one for each request");
    }

    #[test]
    fn who_gets_no_place_has_taken_nothing() {
        let (rates, clock) = rates(0);
        follow(&rates, 1, &[("r", r#"{"per": "node", "rate": 1, "burst": 2, "match": {"verb": "get"}}"#)]);
        for _ in 0..20 {
            let (taken, _) = rates.admits(&asker(Verb::Get), COST, Taken::default()).expect("it came back");
            clock.advance_ns(1000);
            rates.give_back(taken);
        }
        let (taken, _) = rates.admits(&asker(Verb::Get), COST, Taken::default()).expect("it came back");
        clock.advance_ns(3 * SECOND_NS);
        assert_eq!((refused(&rates, Verb::Get), refused(&rates, Verb::Get)), (None, None));
        rates.give_back(taken);
        assert!(refused(&rates, Verb::Get).is_some(), "its time was over");
    }

    #[test]
    fn older_rules_do_not_come_back() {
        let (rates, _) = rates(0);
        let rule = r#"{"per": "node", "rate": 1, "burst": 1, "match": {"verb": "get"}}"#;
        follow(&rates, 5, &[]);
        follow(&rates, 4, &[("old", rule)]);
        assert!(!rates.asks_by_identity());
        follow(&rates, 6, &[("new", rule)]);
        follow(&rates, 5, &[]);
        assert!(rates.asks_by_identity());
    }

    #[test]
    fn bodies_under_way_see_what_their_rules_are_now() {
        let (rates, _) = rates(0);
        let rule = |rate: u32| format!(r#"{{"per": "key", "bandwidth": {{"out": {rate}}}}}"#);
        let lanes = |shape: &Shape| {
            let rules = shape.outbound.rules();
            let lanes = rules.lanes(Direction::Out);
            (rules.generation(), lanes.iter().map(|lane| lane.pipe.bytes_a_second).collect::<Vec<_>>())
        };
        follow(&rates, 1, &[("r", &rule(5000))]);
        let shaped = || rates.admits(&asker(Verb::Get), COST, Taken::default()).expect("no rate").1;
        let shape = shaped().expect("a shape");
        let before = lanes(&shape);
        assert_eq!(before.1, [5000]);
        follow(&rates, 2, &[("r", &rule(7000))]);
        let after = lanes(&shape);
        assert_eq!(after.1, [7000]);
        assert!(before.0 != after.0);
        let places = |shape: &Shape| shape.outbound.rules().lanes(Direction::Out)[0].place;
        assert_eq!(places(&shape), places(&shaped().expect("a shape")), "old and new bodies take turns");
        follow(&rates, 3, &[]);
        assert_eq!(lanes(&shape).1, [0; 0]);
        assert!(shaped().is_none());
    }

    /// A store that changes all the time.
    struct Restless;

    #[async_trait::async_trait]
    impl ControlPlane for Restless {
        async fn propose(&self, _: cluster::Command) -> cluster::Result<cluster::Applied> {
            unreachable!("nobody asks")
        }

        async fn read(&self) -> cluster::Result<Arc<State>> {
            unreachable!("nobody asks")
        }

        fn current(&self) -> Arc<State> {
            Arc::default()
        }

        async fn snapshot(&self) -> cluster::Result<Vec<u8>> {
            unreachable!("nobody asks")
        }

        async fn watch(&self, version: u64) -> cluster::Result<Arc<State>> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Arc::new(State { version: version + 1, ..State::default() }))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_need_not_be_remembered_is_forgotten_however_often_the_store_changes() {
        let (rates, clock) = rates(5);
        let rates = Arc::new(rates);
        let following = tokio::spawn(rates.clone().run(Arc::new(Restless)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let arrival = rates.arrives(Some(IpAddr::from([10, 0, 0, 7])), &HeaderMap::new(), false).expect("it may");
        wrong(&rates, &arrival);
        assert!(rates.keys() > 0);
        clock.advance_ns(SECOND_NS);
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(rates.keys(), 0);
        following.abort();
    }

    #[test]
    fn hints_are_spread_by_a_fifth() {
        let hints: Vec<u64> = (0..1000).map(|random| jittered(1000, random)).collect();
        assert!(hints.iter().all(|hint| (800..=1200).contains(hint)));
        assert!(hints.contains(&800) && hints.contains(&1200));
        assert_eq!((jittered(1, 5), jittered(4, 5)), (1, 4));
        let throttle = |retry_ms| Throttle { rule: "r".into(), retry_ms }.retry_seconds();
        assert_eq!((throttle(1), throttle(1000), throttle(1001)), (1, 1, 2));
    }
}
