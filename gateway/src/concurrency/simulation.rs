//! The limit and the queue in front of a simulated target, without sockets and without time: a station of c servers with exponential
//! service times (M/M/c where the arrivals are Poisson's), under closed and open loads, with steps and stalls. The figures are
//! printed: `cargo test -p weir-gateway concurrency::simulation -- --nocapture`.

use super::class::{Class, Pace, Size};
use super::gradient::{Bounds, Decision, Gradient, Window};
use super::queue::{Key, Places, Queue, Ticket};
use super::samples::Samples;
use common::Random;
use common::doors::SeededRandom;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

const SECOND_US: u64 = 1_000_000;
/// How often it is asked whether a window is due, as on the real server.
const TICK_US: u64 = super::TICK_US;
const PACE: Pace = Pace::Read(Size::UpTo64KiB);

/// What a simulation is of. Steps are (from when, value).
struct Case {
    servers: u32,
    service_us: Vec<(u64, f64)>,
    load: Load,
    /// Everything stands still for so long, each so often.
    stall: Option<(u64, u64)>,
    /// A limit that does not adapt, for comparison.
    fixed: Option<u32>,
    order: Order,
    seconds: u64,
}

enum Load {
    /// Connections of each identity, each of which asks again as soon as it is answered.
    Closed(Vec<(u64, Vec<usize>)>),
    /// Requests a second, of ten identities.
    Open(Vec<(u64, f64)>),
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Fair,
    /// What there would be without the queue: one line for all.
    Fifo,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { client: usize },
    Done { client: usize, admitted_us: u64 },
    Tick,
}

struct Done {
    at_us: u64,
    took_us: u64,
    waited_us: u64,
    identity: Key,
}

#[derive(Default)]
struct Outcome {
    done: Vec<Done>,
    refused: u64,
    /// When, what limit, and why.
    windows: Vec<(u64, u32, Decision)>,
    /// Server time that was used, by the second.
    busy_us: BTreeMap<u64, f64>,
}

fn at(steps: &[(u64, f64)], now_us: u64) -> f64 {
    steps.iter().rev().find(|(from, _)| *from <= now_us).map_or(0.0, |(_, value)| *value)
}

struct World {
    case: Case,
    random: Arc<SeededRandom>,
    now_us: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    identities: Vec<Key>,
    queue: Queue,
    fifo: VecDeque<(usize, u64)>,
    tickets: HashMap<Ticket, (usize, u64)>,
    held: HashMap<Key, u32>,
    in_flight: u32,
    peak: u32,
    was_full: bool,
    answers: u32,
    /// Inside of the target: admitted, and no server is free.
    inside: VecDeque<(usize, u64)>,
    busy: u32,
    waited: HashMap<usize, u64>,
    samples: Samples,
    gradient: Gradient,
    outcome: Outcome,
}

impl World {
    fn uniform(&self) -> f64 {
        (self.random.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&self, mean: f64) -> u64 {
        (-mean * (1.0 - self.uniform()).ln()).max(1.0) as u64
    }

    fn push(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at_us, self.sequence, event)));
    }

    fn limit(&self) -> u32 {
        self.case.fixed.unwrap_or_else(|| self.gradient.limit())
    }

    /// A moment, moved behind the stall that it is in.
    fn unstalled(&self, at_us: u64) -> u64 {
        match self.case.stall {
            Some((every, long)) if at_us >= every && at_us % every < long => at_us - at_us % every + long,
            _ => at_us,
        }
    }

    fn serve(&mut self) {
        while self.busy < self.case.servers {
            let Some((client, admitted_us)) = self.inside.pop_front() else { return };
            self.busy += 1;
            let took = self.exponential(at(&self.case.service_us, self.now_us));
            let end = self.unstalled(self.unstalled(self.now_us) + took);
            *self.outcome.busy_us.entry(self.now_us / SECOND_US).or_default() += (end - self.now_us) as f64;
            self.push(end, Event::Done { client, admitted_us });
        }
    }

    fn admit(&mut self, client: usize, since_us: u64) {
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
        *self.held.entry(self.identities[client]).or_default() += 1;
        self.waited.insert(client, self.now_us - since_us);
        self.inside.push_back((client, self.now_us));
    }

    fn dispatch(&mut self) {
        loop {
            let places = Places { limit: self.limit(), in_flight: self.in_flight, background: 0 };
            let next = match self.case.order {
                Order::Fair => {
                    let held = &self.held;
                    let started = self.queue.start(places, |key| held.get(&key).copied().unwrap_or(0));
                    started.and_then(|(ticket, _, _)| self.tickets.remove(&ticket))
                }
                Order::Fifo if places.in_flight < places.limit => self.fifo.pop_front(),
                Order::Fifo => None,
            };
            let Some((client, since_us)) = next else { return };
            self.admit(client, since_us);
        }
    }

    fn arrive(&mut self, client: usize) {
        let waits = self.queue.len() + self.fifo.len();
        if waits == 0 && self.in_flight < self.limit() {
            return self.admit(client, self.now_us);
        }
        self.was_full = true;
        let took_in = match self.case.order {
            Order::Fair => match self.queue.arrive(self.now_us, self.identities[client], Class::Data, 1) {
                Ok((ticket, _)) => self.tickets.insert(ticket, (client, self.now_us)).is_none(),
                Err(_) => false,
            },
            Order::Fifo => {
                let has_room = self.fifo.len() < super::queue::WAITING_MAX;
                if has_room {
                    self.fifo.push_back((client, self.now_us));
                }
                has_room
            }
        };
        if !took_in {
            self.refuse(client);
        }
    }

    /// Clients with connections come again after a pause, as SDKs do.
    fn refuse(&mut self, client: usize) {
        self.outcome.refused += 1;
        if matches!(self.case.load, Load::Closed(_)) {
            let pause = 50_000 + self.exponential(50_000.0);
            self.push(self.now_us + pause, Event::Arrive { client });
        }
    }

    fn tick(&mut self) {
        for ticket in self.queue.expire(self.now_us) {
            let (client, _) = self.tickets.remove(&ticket).expect("a ticket has a client");
            self.refuse(client);
        }
        if self.gradient.is_due(self.now_us, self.samples.count()) {
            let seen = self.samples.take();
            let (answers, was_full) = (std::mem::take(&mut self.answers), std::mem::take(&mut self.was_full));
            let peak = std::mem::replace(&mut self.peak, self.in_flight);
            let window = Window { now_us: self.now_us, peak, was_full, answers, overloads: 0, seen: &seen };
            let decision = self.gradient.window(&window);
            self.outcome.windows.push((self.now_us, self.gradient.limit(), decision));
        }
    }
}

fn simulate(case: Case, seed: u64) -> Outcome {
    let ceiling = 1024;
    let bounds = Bounds { floor: 4, ceiling };
    let mut world = World {
        random: SeededRandom::new(seed),
        now_us: 0,
        events: BinaryHeap::new(),
        sequence: 0,
        identities: Vec::new(),
        queue: Queue::default(),
        fifo: VecDeque::new(),
        tickets: HashMap::new(),
        held: HashMap::new(),
        in_flight: 0,
        peak: 0,
        was_full: false,
        answers: 0,
        inside: VecDeque::new(),
        busy: 0,
        waited: HashMap::new(),
        samples: Samples::default(),
        gradient: Gradient::new(bounds, 0),
        outcome: Outcome::default(),
        case,
    };
    let mut begins = Vec::new();
    if let Load::Closed(steps) = &world.case.load {
        for (from, connections) in steps {
            for (identity, count) in connections.iter().enumerate() {
                for _ in 0..*count {
                    begins.push(*from);
                    world.identities.push(identity as Key);
                }
            }
        }
    }
    for (client, from) in begins.into_iter().enumerate() {
        world.push(from, Event::Arrive { client });
    }
    let is_open = matches!(world.case.load, Load::Open(_));
    if is_open {
        world.identities.push(0);
        world.push(1, Event::Arrive { client: 0 });
    }
    world.push(TICK_US, Event::Tick);
    let end = world.case.seconds * SECOND_US;
    while let Some(Reverse((now_us, _, event))) = world.events.pop() {
        if now_us > end {
            break;
        }
        world.now_us = now_us;
        match event {
            Event::Arrive { client } => {
                if let Load::Open(steps) = &world.case.load {
                    let rate = at(steps, now_us);
                    let next = world.identities.len();
                    world.identities.push(world.random.u64() % 10);
                    let pause = world.exponential(1e6 / rate);
                    world.push(now_us + pause, Event::Arrive { client: next });
                }
                world.arrive(client);
            }
            Event::Done { client, admitted_us } => {
                let identity = world.identities[client];
                world.busy -= 1;
                world.in_flight -= 1;
                world.answers += 1;
                world.samples.add(PACE, now_us - admitted_us);
                *world.held.get_mut(&identity).expect("it was admitted") -= 1;
                let waited_us = world.waited.remove(&client).unwrap_or(0);
                world.outcome.done.push(Done { at_us: now_us, took_us: now_us - admitted_us, waited_us, identity });
                if !is_open {
                    world.push(now_us, Event::Arrive { client });
                }
            }
            Event::Tick => {
                world.tick();
                world.push(now_us + TICK_US, Event::Tick);
            }
        }
        world.dispatch();
        world.serve();
        assert!(world.in_flight >= world.busy);
    }
    world.outcome
}

/// What a stretch of time looks like.
struct Phase {
    /// Windows until the limit stays within a quarter of where it ends.
    settled_after: usize,
    limit: f64,
    /// The largest distance from that once it is settled, as a share.
    swing: f64,
    utilisation: f64,
    p99_us: u64,
    wait_p99_us: u64,
}

impl Outcome {
    fn phase(&self, from_s: u64, to_s: u64, servers: u32) -> Phase {
        let within = |at_us: u64| (from_s * SECOND_US..to_s * SECOND_US).contains(&at_us);
        let limits: Vec<f64> =
            self.windows.iter().filter(|(at, ..)| within(*at)).map(|(_, limit, _)| f64::from(*limit)).collect();
        let half = &limits[limits.len() / 2..];
        let limit = half.iter().sum::<f64>() / half.len() as f64;
        let away = |value: &f64| (value - limit).abs() / limit;
        let settled_after = limits.iter().rposition(|value| away(value) > 0.25).map_or(0, |last| last + 1);
        let swing = limits[settled_after.min(limits.len() - 1)..].iter().map(away).fold(0.0, f64::max);
        // What is measured is measured once it is settled: from the second half on.
        let middle = (from_s + to_s).div_ceil(2);
        let busy: f64 = (middle..to_s).filter_map(|second| self.busy_us.get(&second)).sum();
        let utilisation = busy / ((to_s - middle) as f64 * 1e6 * f64::from(servers));
        let later: Vec<&Done> =
            self.done.iter().filter(|done| (middle * SECOND_US..to_s * SECOND_US).contains(&done.at_us)).collect();
        let p99 = |of: &dyn Fn(&Done) -> u64| {
            let mut values: Vec<u64> = later.iter().map(|done| of(done)).collect();
            values.sort_unstable();
            values.get(values.len() * 99 / 100).copied().unwrap_or(0)
        };
        let (p99_us, wait_p99_us) = (p99(&|done| done.took_us), p99(&|done| done.waited_us));
        Phase { settled_after, limit, swing, utilisation, p99_us, wait_p99_us }
    }

    /// Requests that each identity had answered, between two seconds.
    fn rates(&self, from_s: u64, to_s: u64) -> Vec<f64> {
        let mut counts: BTreeMap<Key, f64> = BTreeMap::new();
        for done in self.done.iter().filter(|it| (from_s * SECOND_US..to_s * SECOND_US).contains(&it.at_us)) {
            *counts.entry(done.identity).or_default() += 1.0 / (to_s - from_s) as f64;
        }
        counts.into_values().collect()
    }

    fn print_windows(&self, from_s: u64, to_s: u64) {
        let within = |at: u64| (from_s * SECOND_US..to_s * SECOND_US).contains(&at);
        let shown = self.windows.iter().filter(|(at, ..)| within(*at)).take(40);
        println!("    {:?}", shown.map(|(_, limit, decision)| format!("{limit} {decision:?}")).collect::<Vec<_>>());
    }
}

impl Phase {
    fn print(&self, name: &str, unloaded_p99_us: u64) {
        println!(
            "{name}: limit {:.0}, settled after {} windows, swing {:.0} %, utilisation {:.1} %, p99 {:.1} ms = {:.2} of unloaded, \
             wait p99 {:.0} ms",
            self.limit,
            self.settled_after,
            self.swing * 100.0,
            self.utilisation * 100.0,
            self.p99_us as f64 / 1e3,
            self.p99_us as f64 / unloaded_p99_us as f64,
            self.wait_p99_us as f64 / 1e3,
        );
    }

    fn check(&self, unloaded_p99_us: u64) {
        assert!(self.settled_after <= 20, "{}", self.settled_after);
        assert!(self.swing <= 0.25, "{}", self.swing);
        assert!(self.utilisation > 0.85, "{}", self.utilisation);
        assert!((self.p99_us as f64) < 3.0 * unloaded_p99_us as f64, "{}", self.p99_us);
    }
}

const SERVERS: u32 = 16;
const SERVICE_US: f64 = 10_000.0;

fn case(load: Load, seconds: u64) -> Case {
    Case {
        servers: SERVERS,
        service_us: vec![(0, SERVICE_US)],
        load,
        stall: None,
        fixed: None,
        order: Order::Fair,
        seconds,
    }
}

/// Of a third of what the target can.
fn unloaded_p99_us(service_us: f64) -> u64 {
    let rate = f64::from(SERVERS) / service_us * 1e6 / 3.0;
    let outcome = simulate(Case { service_us: vec![(0, service_us)], ..case(Load::Open(vec![(0, rate)]), 60) }, 1);
    outcome.phase(0, 60, SERVERS).p99_us
}

/// Twenty identities, so that more wait than one may have waiting.
fn many(connections: usize) -> Vec<usize> {
    vec![connections / 20; 20]
}

#[test]
fn a_closed_loop_settles_and_follows_steps_of_load() {
    let unloaded = unloaded_p99_us(SERVICE_US);
    // A light load first, as a server has that was not started under fire.
    let load = vec![(0, vec![4]), (10 * SECOND_US, many(400)), (30 * SECOND_US, many(200))];
    let outcome = simulate(case(Load::Closed(load), 50), 2);
    for (name, from, to) in [("closed, 400 connections", 10, 30), ("closed, 600 connections", 30, 50)] {
        outcome.print_windows(from, to);
        let phase = outcome.phase(from, to, SERVERS);
        phase.print(name, unloaded);
        phase.check(unloaded);
    }
}

#[test]
fn an_overload_from_outside_settles_and_follows_steps_of_load() {
    let unloaded = unloaded_p99_us(SERVICE_US);
    let full = f64::from(SERVERS) / SERVICE_US * 1e6;
    let load =
        vec![(0, full * 0.3), (10 * SECOND_US, full * 1.3), (30 * SECOND_US, full * 3.0), (50 * SECOND_US, full * 0.9)];
    let outcome = simulate(case(Load::Open(load), 70), 3);
    for (name, from, to) in [("open, 130 %", 10, 30), ("open, 300 %", 30, 50)] {
        outcome.print_windows(from, to);
        let phase = outcome.phase(from, to, SERVERS);
        phase.print(name, unloaded);
        phase.check(unloaded);
    }
    // Nothing is refused, and little waits, where there is enough for all.
    let phase = outcome.phase(50, 70, SERVERS);
    phase.print("open, 90 %", unloaded);
    assert!(phase.utilisation > 0.85 && phase.wait_p99_us + phase.p99_us < 3 * unloaded);
}

#[test]
fn a_target_that_becomes_slower_or_quicker_is_followed() {
    let service_us = vec![(0, SERVICE_US), (20 * SECOND_US, 3.0 * SERVICE_US), (50 * SECOND_US, SERVICE_US)];
    let load = vec![(0, vec![4]), (5 * SECOND_US, many(400))];
    let outcome = simulate(Case { service_us, ..case(Load::Closed(load), 70) }, 4);
    for (name, from, to, service) in [
        ("service 10 ms", 5, 20, SERVICE_US),
        ("service 30 ms", 20, 50, 3.0 * SERVICE_US),
        ("service 10 ms again", 50, 70, SERVICE_US),
    ] {
        let unloaded = unloaded_p99_us(service);
        outcome.print_windows(from, to);
        let phase = outcome.phase(from, to, SERVERS);
        phase.print(name, unloaded);
        phase.check(unloaded);
    }
}

/// Without the limit: all connections are inside of the target.
#[test]
fn without_the_limit_the_same_load_is_slow() {
    let unloaded = unloaded_p99_us(SERVICE_US);
    let load = vec![(0, many(400))];
    let outcome = simulate(Case { fixed: Some(1024), ..case(Load::Closed(load), 20) }, 2);
    let phase = outcome.phase(0, 20, SERVERS);
    phase.print("closed, 400 connections, no limit", unloaded);
    assert!(phase.p99_us > 3 * unloaded);
}

#[test]
fn a_hiccup_is_not_congestion() {
    let unloaded = unloaded_p99_us(SERVICE_US);
    // 60 connections on a target of 64 that stands still for 100 ms each second.
    let servers = 64;
    let load = || Load::Closed(vec![(0, vec![3; 20])]);
    let with = |stall, seed| simulate(Case { servers, stall, ..case(load(), 40) }, seed);
    let (calm, stalled) = (with(None, 5), with(Some((SECOND_US, 100_000)), 5));
    stalled.print_windows(10, 14);
    for (name, outcome) in [("no stalls", &calm), ("stalls", &stalled)] {
        let phase = outcome.phase(0, 40, servers);
        phase.print(name, unloaded);
        let least = outcome.windows.iter().map(|(_, limit, _)| *limit).min().expect("windows");
        println!("{name}: the limit was never below {least}");
        assert!(least >= 60 && outcome.refused == 0);
    }
    let rate = |outcome: &Outcome| outcome.rates(10, 40).iter().sum::<f64>();
    println!("requests/s: {:.0} without stalls, {:.0} with", rate(&calm), rate(&stalled));
    assert!(rate(&stalled) > 0.85 * rate(&calm));
}

/// (Σx)² / n·Σx²: 1 where all are equal, 1/n where one has everything.
fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    sum * sum / (rates.len() as f64 * rates.iter().map(|rate| rate * rate).sum::<f64>())
}

#[test]
fn connections_do_not_buy_turns() {
    for (servers, service_us) in [(1, 2_000.0), (2, 4_000.0)] {
        let of = |order, seed| {
            let load = Load::Closed(vec![(0, vec![1, 10, 100])]);
            let fixed = Some(servers);
            let case = Case { servers, service_us: vec![(0, service_us)], fixed, order, ..case(load, 30) };
            simulate(case, seed).rates(10, 30)
        };
        let (fair, fifo) = (of(Order::Fair, 6), of(Order::Fifo, 6));
        let (fair_index, fifo_index) = (jain(&fair), jain(&fifo));
        println!(
            "{servers} places, 1, 10 and 100 connections: fair {fair:.0?}, Jain {fair_index:.3}; FIFO {fifo:.0?}, Jain {fifo_index:.3}"
        );
        assert!(fair_index > 0.95 && fifo_index < 0.6);
        let mean = fair.iter().sum::<f64>() / 3.0;
        assert!(fair.iter().all(|rate| (rate / mean - 1.0).abs() < 0.2), "{fair:?}");
    }
}
