//! Who is next where there is not room for all. Pure: arrivals, departures and times in, and who starts out.
//!
//! Each identity stands for itself: within a class they take turns (start-time fair queueing: a request's turn is one behind its
//! identity's last, or as many as that cost), so that more connections of one give it no more turns, and one that comes back with
//! its only connection has lost none. One that holds its equal share of the places already lets those go first that do not.
//! Each has its turn: strangers that come after it are in its own turn soon, and then behind it.
//!
//! Classes go by rank, and no class for ever: after 4 starts of higher ones while data waits, or 16 while background work waits, one
//! of it is next. Background work holds a quarter of the places at most.
//!
//! The line is everybody's as long as there is room in it: a client that is alone may have all of it. Where it is full, the
//! background's newest makes room, and then the newest of whoever has the most in it.

use super::class::{CLASSES, Class, Cost};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// An identity, as a number that nobody outside can choose.
pub type Key = u64;
pub type Ticket = u64;

pub const WAITING_MAX: usize = 1000;
/// Whoever has waited for so long is refused.
pub const WAIT_US_MAX: u64 = 2_000_000;

/// Starts of higher classes while one waits, by class.
const PASSED_MAX: [u32; CLASSES.len()] = [u32::MAX, 4, 16];
/// Of the limit: what background work holds at most.
const BACKGROUND_SHARE: u32 = 4;

/// Why one cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The line is full, and nobody has more in it than this one.
    Identity,
    /// The line is full of others that have no more than this one.
    All,
}

/// What there is now.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    pub limit: u32,
    pub in_flight: u32,
    /// Of those, the background's.
    pub background: u32,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    cost: Cost,
    since_us: u64,
}

/// When an identity's next request is to start: turns first, then who has waited for one longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    number: u64,
    since: u64,
}

/// One identity's requests of one class, in their order.
#[derive(Debug)]
struct Flow {
    turn: Turn,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Every identity that has a waiter.
    order: BTreeSet<(Turn, Key)>,
    flows: HashMap<Key, Flow>,
    /// The turn that it is, and the starts in it.
    turn: u64,
    starts: usize,
    /// The next turns of identities without a waiter, where those have not come yet.
    later: HashMap<Key, Turn>,
    /// Starts and arrivals, to tell which was first.
    events: u64,
    /// Starts of higher classes since this one waits.
    passed: u32,
}

#[derive(Debug, Default)]
pub struct Queue {
    lanes: [Lane; CLASSES.len()],
    /// Where each waiter is.
    tickets: HashMap<Ticket, (Class, Key)>,
    /// How many each identity has, and the same by number.
    identities: HashMap<Key, usize>,
    by_number: BTreeSet<(usize, Key)>,
    last: Ticket,
}

impl Queue {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    pub fn waiting(&self, class: Class) -> usize {
        self.lanes[class as usize].flows.values().map(|flow| flow.waiters.len()).sum()
    }

    /// Takes a request in, and says which one had to go for it.
    pub fn arrive(
        &mut self,
        now_us: u64,
        key: Key,
        class: Class,
        cost: Cost,
    ) -> Result<(Ticket, Option<Ticket>), Full> {
        let evicted = if self.tickets.len() < WAITING_MAX { None } else { Some(self.who_goes_for(key, class)?) };
        if let Some(evicted) = evicted {
            self.leave(evicted);
        }
        self.last += 1;
        let ticket = self.last;
        self.lanes[class as usize].take_in(key, Waiter { ticket, cost, since_us: now_us });
        self.tickets.insert(ticket, (class, key));
        self.count(key, |count| count + 1);
        Ok((ticket, evicted))
    }

    /// Of a full line, the one that makes room for a request of this identity.
    fn who_goes_for(&self, key: Key, class: Class) -> Result<Ticket, Full> {
        if class == Class::Background {
            return Err(Full::All);
        }
        if let Some(newest) = self.lanes[Class::Background as usize].newest() {
            return Ok(newest);
        }
        let &(most, greediest) = self.by_number.last().ok_or(Full::All)?;
        let has = self.identities.get(&key).copied().unwrap_or(0);
        // With one that comes it would have as many itself.
        if has + 1 >= most {
            return Err(if has == most { Full::Identity } else { Full::All });
        }
        let newest = self.lanes.iter().filter_map(|lane| lane.flows.get(&greediest)?.waiters.back());
        newest.map(|waiter| waiter.ticket).max().ok_or(Full::All)
    }

    fn count(&mut self, key: Key, change: impl Fn(usize) -> usize) {
        let before = self.identities.get(&key).copied().unwrap_or(0);
        let after = change(before);
        self.by_number.remove(&(before, key));
        if after == 0 {
            self.identities.remove(&key);
        } else {
            self.identities.insert(key, after);
            self.by_number.insert((after, key));
        }
    }

    /// One that goes without having started. Gives whether it was here.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        let Some((class, key)) = self.forget(ticket) else { return false };
        let lane = &mut self.lanes[class as usize];
        if let Some(flow) = lane.flows.get_mut(&key) {
            flow.waiters.retain(|waiter| waiter.ticket != ticket);
            lane.close_empty(key);
        }
        true
    }

    /// Those that have waited too long. They are gone.
    pub fn expire(&mut self, now_us: u64) -> Vec<Ticket> {
        let flows = self.lanes.iter().flat_map(|lane| lane.flows.values());
        let old = |waiter: &&Waiter| now_us.saturating_sub(waiter.since_us) >= WAIT_US_MAX;
        let expired: Vec<_> = flows.flat_map(|flow| flow.waiters.iter().take_while(old)).map(|it| it.ticket).collect();
        for ticket in &expired {
            self.leave(*ticket);
        }
        expired
    }

    /// Who starts now, if there is a place: its ticket, class and key. `held` says how many places an identity has.
    pub fn start(&mut self, places: Places, held: impl Fn(Key) -> u32) -> Option<(Ticket, Class, Key)> {
        if places.in_flight >= places.limit {
            return None;
        }
        let class = self.next_class(places)?;
        let waiting = self.identities.len().max(1) as u32;
        let share = places.limit.div_ceil(waiting).max(1);
        let (ticket, key) = self.lanes[class as usize].next(|key| held(key) < share)?;
        for lower in CLASSES.into_iter().filter(|lower| *lower > class) {
            let lane = &mut self.lanes[lower as usize];
            lane.passed = if lane.order.is_empty() { 0 } else { lane.passed + 1 };
        }
        self.lanes[class as usize].passed = 0;
        self.forget(ticket);
        Some((ticket, class, key))
    }

    fn next_class(&self, places: Places) -> Option<Class> {
        let has_room =
            |class: Class| class != Class::Background || places.background < (places.limit / BACKGROUND_SHARE).max(1);
        let waits = |class: &Class| !self.lanes[*class as usize].order.is_empty() && has_room(*class);
        let is_due = |class: &Class| self.lanes[*class as usize].passed >= PASSED_MAX[*class as usize];
        let mut waiting = CLASSES.into_iter().filter(waits);
        let due = CLASSES.into_iter().rev().find(|class| waits(class) && is_due(class));
        due.or_else(|| waiting.next())
    }

    fn forget(&mut self, ticket: Ticket) -> Option<(Class, Key)> {
        let (class, key) = self.tickets.remove(&ticket)?;
        self.count(key, |count| count.saturating_sub(1));
        Some((class, key))
    }
}

impl Lane {
    fn take_in(&mut self, key: Key, waiter: Waiter) {
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.waiters.push_back(waiter);
            return;
        }
        self.events += 1;
        let now = Turn { number: self.turn, since: self.events };
        let turn = self.later.remove(&key).filter(|later| later.number >= self.turn).unwrap_or(now);
        self.order.insert((turn, key));
        self.flows.insert(key, Flow { turn, waiters: VecDeque::from([waiter]) });
    }

    /// The next waiter of the first identity that has less than its share, or, if all have theirs, of the first.
    fn next(&mut self, has_less: impl Fn(Key) -> bool) -> Option<(Ticket, Key)> {
        let entitled = self.order.iter().find(|(_, key)| has_less(*key));
        let &(turn, key) = entitled.or_else(|| self.order.first())?;
        self.order.remove(&(turn, key));
        self.comes(turn.number);
        let flow = self.flows.get_mut(&key)?;
        let waiter = flow.waiters.pop_front()?;
        self.events += 1;
        flow.turn = Turn { number: turn.number.max(self.turn) + u64::from(waiter.cost), since: self.events };
        let next = flow.turn;
        if flow.waiters.is_empty() {
            self.flows.remove(&key);
            self.later.insert(key, next);
        } else {
            self.order.insert((next, key));
        }
        Some((waiter.ticket, key))
    }

    /// A start in this turn. When there were as many as there are identities, the next turn begins for those that come new.
    fn comes(&mut self, turn: u64) {
        self.starts += 1;
        let is_long = self.starts > self.flows.len();
        let next = if is_long { turn.max(self.turn + 1) } else { turn };
        if next > self.turn {
            (self.turn, self.starts) = (next, 0);
            self.later.retain(|_, later| later.number > next);
        }
    }

    fn newest(&self) -> Option<Ticket> {
        self.flows.values().filter_map(|flow| flow.waiters.back()).map(|waiter| waiter.ticket).max()
    }

    fn close_empty(&mut self, key: Key) {
        if let Some(flow) = self.flows.get(&key).filter(|flow| flow.waiters.is_empty()) {
            let turn = flow.turn;
            self.order.remove(&(turn, key));
            self.flows.remove(&key);
            // Whoever leaves the line has not paid for what it had by that.
            if turn.number > self.turn {
                self.later.insert(key, turn);
            }
        }
        if self.order.is_empty() {
            self.passed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn places(limit: u32) -> Places {
        Places { limit, in_flight: 0, background: 0 }
    }

    /// Starts as many as there are, in their order, with nothing held.
    fn all(queue: &mut Queue) -> Vec<(Class, Key)> {
        std::iter::from_fn(|| queue.start(places(8), |_| 0)).map(|(_, class, key)| (class, key)).collect()
    }

    fn arrive(queue: &mut Queue, key: Key, class: Class, cost: Cost) -> Ticket {
        queue.arrive(0, key, class, cost).expect("room").0
    }

    #[test]
    fn identities_take_turns() {
        let mut queue = Queue::default();
        for key in [1, 1, 1, 2, 2, 3] {
            arrive(&mut queue, key, Class::Data, 1);
        }
        let order: Vec<Key> = all(&mut queue).into_iter().map(|(_, key)| key).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 1]);
        assert!(queue.is_empty() && queue.lanes.iter().all(|lane| lane.flows.is_empty() && lane.order.is_empty()));
    }

    #[test]
    fn whoever_takes_more_than_a_turn_waits_it_out() {
        let mut queue = Queue::default();
        for _ in 0..8 {
            arrive(&mut queue, 1, Class::Data, 4);
        }
        for _ in 0..32 {
            arrive(&mut queue, 2, Class::Data, 1);
        }
        let first: Vec<Key> = all(&mut queue).into_iter().take(20).map(|(_, key)| key).collect();
        let of_one = first.iter().filter(|key| **key == 1).count();
        assert_eq!(of_one, 4, "of a cost of 20, half: {first:?}");
    }

    #[test]
    fn whoever_has_less_than_its_share_goes_first() {
        let mut queue = Queue::default();
        for key in [1, 2] {
            arrive(&mut queue, key, Class::Data, 1);
        }
        let started = queue.start(Places { limit: 8, in_flight: 7, background: 0 }, |key| if key == 1 { 7 } else { 0 });
        assert_eq!(started.map(|(_, _, key)| key), Some(2));
        assert!(queue.start(Places { limit: 8, in_flight: 8, background: 0 }, |_| 0).is_none());
        let started = queue.start(Places { limit: 8, in_flight: 7, background: 0 }, |_| 7);
        assert_eq!(started.map(|(_, _, key)| key), Some(1), "no place stays empty");
    }

    #[test]
    fn no_class_waits_for_ever() {
        let mut queue = Queue::default();
        for key in 0..2 {
            for _ in 0..32 {
                arrive(&mut queue, key, Class::Metadata, 1);
            }
        }
        for _ in 0..32 {
            arrive(&mut queue, 2, Class::Data, 1);
        }
        arrive(&mut queue, 3, Class::Background, 1);
        let order: Vec<Class> = all(&mut queue).into_iter().map(|(class, _)| class).collect();
        assert_eq!(order[..5], [Class::Metadata, Class::Metadata, Class::Metadata, Class::Metadata, Class::Data]);
        assert_eq!(order.iter().position(|class| *class == Class::Background), Some(16));
    }

    #[test]
    fn background_work_has_a_quarter_and_makes_room() {
        let mut queue = Queue::default();
        arrive(&mut queue, 9, Class::Background, 1);
        let full = Places { limit: 8, in_flight: 2, background: 2 };
        assert!(queue.start(full, |_| 0).is_none());
        assert!(queue.start(Places { background: 1, ..full }, |_| 0).is_some());
        let last = (0..5).map(|_| arrive(&mut queue, 9, Class::Background, 1)).last();
        let mut key = 100;
        while queue.len() < WAITING_MAX {
            key += 1;
            arrive(&mut queue, key, Class::Data, 1);
        }
        assert_eq!(queue.arrive(0, 1, Class::Background, 1), Err(Full::All));
        let (_, evicted) = queue.arrive(0, 1, Class::Data, 1).expect("room is made");
        assert_eq!((evicted, queue.len()), (last, WAITING_MAX));
        (0..4).for_each(|key| assert!(queue.arrive(0, 2000 + key, Class::Data, 1).is_ok()));
        assert_eq!(queue.arrive(0, 3000, Class::Data, 1), Err(Full::All));
        assert_eq!(queue.arrive(0, 2000, Class::Data, 1), Err(Full::Identity), "as many as anybody");
    }

    #[test]
    fn whoever_has_the_most_in_a_full_line_makes_room() {
        let mut queue = Queue::default();
        let mine: Vec<_> = (0..WAITING_MAX).map(|_| arrive(&mut queue, 1, Class::Data, 1)).collect();
        assert_eq!(queue.arrive(0, 1, Class::Metadata, 1), Err(Full::Identity), "over all classes");
        for at in 1..=WAITING_MAX / 2 {
            let (_, evicted) = queue.arrive(0, 2, Class::Data, 1).expect("room is made");
            assert_eq!(evicted, Some(mine[WAITING_MAX - at]), "the newest");
        }
        for key in [1, 2] {
            assert_eq!(queue.arrive(0, key, Class::Data, 1), Err(Full::Identity), "they have the same");
        }
        assert!(queue.arrive(0, 3, Class::Data, 1).is_ok());
        assert_eq!(queue.len(), WAITING_MAX);
    }

    #[test]
    fn leaving_the_line_pays_for_nothing() {
        let mut queue = Queue::default();
        let (_large, small) = (arrive(&mut queue, 1, Class::Data, 8), arrive(&mut queue, 1, Class::Data, 1));
        arrive(&mut queue, 2, Class::Data, 1);
        let mut next = || queue.start(places(8), |_| 0).map(|(_, _, key)| key);
        assert_eq!(next(), Some(1));
        assert!(queue.leave(small));
        arrive(&mut queue, 1, Class::Data, 1);
        for _ in 0..5 {
            arrive(&mut queue, 2, Class::Data, 1);
        }
        let order: Vec<Key> = all(&mut queue).into_iter().map(|(_, key)| key).collect();
        assert_eq!(order, [2, 2, 2, 2, 2, 2, 1]);
    }

    #[test]
    fn waiting_ends_in_time_and_is_bounded() {
        let mut queue = Queue::default();
        let tickets: Vec<_> =
            (0..10).map(|at| queue.arrive(at * 100_000, 1, Class::Data, 1).expect("room").0).collect();
        assert!(queue.expire(WAIT_US_MAX - 1).is_empty());
        assert_eq!(queue.expire(WAIT_US_MAX + 100_000), tickets[..2]);
        assert!(queue.leave(tickets[2]) && !queue.leave(tickets[2]) && !queue.leave(tickets[0]));
        assert_eq!(queue.len(), 7);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Arrive { key: Key, class: usize, cost: Cost },
        Leave(usize),
        Finish(usize),
        Limit(u32),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..6u64, 0..3usize, 1..9u16).prop_map(|(key, class, cost)| Step::Arrive { key, class, cost }),
            1 => (0..64usize).prop_map(Step::Leave),
            5 => (0..64usize).prop_map(Step::Finish),
            1 => (1..12u32).prop_map(Step::Limit),
            1 => (0..700_000u64).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 1..400)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        /// Never more in flight than the limit, nobody is lost or started twice, nobody waits longer than it may, a place
        /// is never empty while a client waits, and counts come back to zero.
        #[test]
        fn histories(steps in steps()) {
            let mut queue = Queue::default();
            let (mut limit, mut now_us) = (4, 0);
            let mut waiting: Vec<(Ticket, u64)> = Vec::new();
            let mut running: Vec<(Class, Key)> = Vec::new();
            let mut known = HashSet::new();
            let drain = steps.len();
            let end = (0..drain * 2).map(|_| Step::Finish(0));
            for step in steps.iter().cloned().chain(end) {
                match step {
                    Step::Arrive { key, class, cost } => match queue.arrive(now_us, key, CLASSES[class], cost) {
                        Ok((ticket, evicted)) => {
                            prop_assert!(known.insert(ticket) && evicted.is_none());
                            waiting.push((ticket, now_us));
                        }
                        Err(full) => prop_assert!(false, "{:?} with {} waiting", full, waiting.len()),
                    },
                    Step::Leave(at) if !waiting.is_empty() => {
                        let (ticket, _) = waiting.remove(at % waiting.len());
                        prop_assert!(queue.leave(ticket));
                    }
                    Step::Finish(at) if !running.is_empty() => drop(running.remove(at % running.len())),
                    Step::Limit(to) => limit = to,
                    Step::Pass(us) => now_us += us,
                    _ => {}
                }
                for ticket in queue.expire(now_us) {
                    let at = waiting.iter().position(|(waiter, _)| *waiter == ticket).expect("one that waits");
                    let (_, since) = waiting.remove(at);
                    prop_assert!(now_us - since >= WAIT_US_MAX);
                }
                prop_assert!(waiting.iter().all(|(_, since)| now_us - since < WAIT_US_MAX));
                loop {
                    let background = running.iter().filter(|(class, _)| *class == Class::Background).count() as u32;
                    let places = Places { limit, in_flight: running.len() as u32, background };
                    let held = |key: Key| running.iter().filter(|(_, holder)| *holder == key).count() as u32;
                    let Some((ticket, class, key)) = queue.start(places, held) else {
                        let clients = queue.waiting(Class::Metadata) + queue.waiting(Class::Data);
                        prop_assert!(places.in_flight >= limit || clients == 0);
                        break;
                    };
                    let at = waiting.iter().position(|(waiter, _)| *waiter == ticket).expect("one that waits");
                    waiting.remove(at);
                    prop_assert!(places.in_flight < limit);
                    running.push((class, key));
                }
                prop_assert_eq!(queue.len(), waiting.len());
                prop_assert_eq!(CLASSES.map(|class| queue.waiting(class)).iter().sum::<usize>(), waiting.len());
            }
            prop_assert!(queue.is_empty() && running.is_empty());
            prop_assert!(queue.identities.is_empty() && queue.by_number.is_empty());
            prop_assert!(queue.lanes.iter().all(|lane| lane.flows.is_empty() && lane.order.is_empty()));
        }

        /// With one place, a waiter of a class alone starts after no more than one round of turns for each that is before it in
        /// its identity's line and what costs make of that.
        #[test]
        fn nobody_waits_for_more_than_rounds(lines in proptest::collection::vec(1..20usize, 1..12), cost in 1..4u16) {
            let mut queue = Queue::default();
            for (key, line) in lines.iter().enumerate() {
                for _ in 0..*line {
                arrive(&mut queue, key as Key, Class::Data, cost);
            }
            }
            let mut starts = vec![0usize; lines.len()];
            for (at, (_, key)) in all(&mut queue).into_iter().enumerate() {
                let before = starts[key as usize];
                prop_assert!(at <= (before + 1) * lines.len(), "start {} of {} was the {}th of all", before, key, at);
                starts[key as usize] += 1;
            }
            prop_assert_eq!(starts, lines);
        }
    }
}
