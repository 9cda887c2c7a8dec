//! How many requests a target is given at once: a limit that follows what the target shows. Pure: windows in, limit out.
//!
//! Once a window, each pace's median time to first byte is held against its baseline, which is what the pace takes when the
//! target is not loaded. Twice that is taken as normal; beyond it the limit falls by the ratio, at most to a half. As long as
//! the limit is used, it rises by its square root. What overloads a target without making it slow (it says so itself) cuts
//! the limit to 0.7 of it at once, and a second of rest follows.
//!
//! Four things are not congestion, and change nothing:
//! - one slow window alone: a hiccup of a disk is over when it is seen;
//! - a window with hardly a sample, or none: nothing is known of it;
//! - slow answers with hardly anything in flight: waiting is not what they are slow by;
//! - slow answers that fewer requests at once do not make quicker: then the target has become slower, or is shared. The
//!   baseline takes the new time, and the limit rises again.
//!
//! After Netflix's Gradient2 (concurrency-limits) and TCP Vegas; the last of the four is ours.

use super::class::PACES;
use super::samples::Seen;

/// A window is at least so long, ten times as long as what it measures, and goes on until it has enough samples, up to a second.
pub const WINDOW_US_MIN: u64 = 100_000;
pub const WINDOW_US_MAX: u64 = 1_000_000;
const WINDOW_MEDIANS: f64 = 10.0;
const WINDOW_SAMPLES_WANTED: u32 = 32;
/// A pace with fewer has no part in it.
const PACE_SAMPLES_MIN: u32 = 8;

/// So many times its baseline, and this beside it, is a time that is normal.
const TOLERANCE: f64 = 1.5;
const TOLERANCE_US: f64 = 1_000.0;

/// The most that a window takes away.
const GRADIENT_MIN: f64 = 0.5;
/// Near the even point, where a window says little, steps are smaller: upwards behind a slow window, downwards above this gradient.
const CAUTION: f64 = 0.5;
const CAUTION_ABOVE: f64 = 0.7;
/// A limit is used from this share of it on.
const USED_SHARE: f64 = 0.8;
/// With no more than so many in flight nothing is slow by its own number.
pub const IN_FLIGHT_HARMLESS: f64 = 16.0;

/// What remains when a target says that it is overloaded, by at least this share of its answers, and how long that is kept.
const OVERLOAD_FACTOR: f64 = 0.7;
const OVERLOAD_ONE_OF: u32 = 50;
pub const OVERLOAD_HOLD_US: u64 = 1_000_000;

/// A baseline falls by a fifth of the way in each window. It rises by a tenth where hardly anything is in flight, with ten
/// minutes' patience where more is, and not at all where the limit is reached: what is slow by load must not become normal.
const BASELINE_FALL: f64 = 0.2;
const BASELINE_IDLE_RISE: f64 = 0.1;
const BASELINE_RISE_US: f64 = 600e6;

/// How far the number in flight must have come down before it is asked what that has helped, and how many windows it is tried at the floor.
const TRIAL_RATIO: f64 = 0.7;
const TRIAL_FLOOR_WINDOWS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Requests in flight, at least and at most. `floor` is not above `ceiling`, and neither is 0.
    pub floor: u32,
    pub ceiling: u32,
}

/// What happened since the last window.
#[derive(Debug, Clone, Copy)]
pub struct Window<'w> {
    pub now_us: u64,
    /// The most that was in flight at once.
    pub peak: u32,
    /// Whether anyone had to wait.
    pub was_full: bool,
    /// Answers, and those by which the target said that it is overloaded.
    pub answers: u32,
    pub overloads: u32,
    pub seen: &'w [Seen],
}

/// What became of the limit, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Raised,
    /// Times are those of a target that has more to do than it can.
    Lowered,
    /// The target said so itself.
    Cut,
    /// All is well, and the limit is not what holds anyone back.
    Unused,
    /// Within the tolerance, at the ceiling, or where rising and falling are even.
    Kept,
    /// Slow for the first time: perhaps a hiccup.
    Doubted,
    /// In the second after a cut.
    Held,
    /// Too few samples.
    Blind,
    /// Fewer at once were no quicker: what they take is the new baseline.
    Relearned,
}

pub const DECISIONS: [(Decision, &str); 9] = [
    (Decision::Raised, "raised"),
    (Decision::Lowered, "lowered"),
    (Decision::Cut, "cut"),
    (Decision::Unused, "unused"),
    (Decision::Kept, "kept"),
    (Decision::Doubted, "doubted"),
    (Decision::Held, "held"),
    (Decision::Blind, "blind"),
    (Decision::Relearned, "relearned"),
];

/// Whether it helps to have fewer in flight: from where on it is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trial {
    in_flight: f64,
    slowness: f64,
    windows: u32,
}

#[derive(Debug, Clone)]
pub struct Gradient {
    bounds: Bounds,
    limit: f64,
    /// In µs, by pace.
    baselines: [Option<f64>; PACES],
    /// The last judged window was slow.
    was_slow: bool,
    /// What the last judged window took on average.
    took_us: f64,
    begun_us: u64,
    hold_until_us: u64,
    trial: Option<Trial>,
}

impl Gradient {
    /// Begins at the ceiling: who starts with many clients is not refused before anything is known.
    pub fn new(bounds: Bounds, now_us: u64) -> Self {
        Self {
            bounds,
            limit: f64::from(bounds.ceiling),
            baselines: [None; PACES],
            was_slow: false,
            took_us: 0.0,
            begun_us: now_us,
            hold_until_us: 0,
            trial: None,
        }
    }

    pub fn limit(&self) -> u32 {
        (self.limit as u32).clamp(self.bounds.floor, self.bounds.ceiling)
    }

    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub fn baselines_us(&self) -> &[Option<f64>; PACES] {
        &self.baselines
    }

    /// Whether the window may end, with so many samples in it.
    pub fn is_due(&self, now_us: u64, samples: u32) -> bool {
        let long_us = now_us.saturating_sub(self.begun_us);
        let long_us_min = WINDOW_US_MIN.max((WINDOW_MEDIANS * self.took_us) as u64);
        long_us >= WINDOW_US_MAX || (long_us >= long_us_min && samples >= WINDOW_SAMPLES_WANTED)
    }

    pub fn window(&mut self, window: &Window<'_>) -> Decision {
        let long_us = window.now_us.saturating_sub(self.begun_us);
        self.begun_us = window.now_us;
        if window.now_us < self.hold_until_us {
            return Decision::Held;
        }
        // Of a limit that is not reached nothing is known but that so many were in flight.
        let at_work = self.limit.min(f64::from(window.peak).max(IN_FLIGHT_HARMLESS));
        if window.overloads > 0 && window.overloads * OVERLOAD_ONE_OF >= window.answers {
            self.hold_until_us = window.now_us + OVERLOAD_HOLD_US;
            self.set(OVERLOAD_FACTOR * at_work);
            (self.trial, self.was_slow) = (None, false);
            return Decision::Cut;
        }
        let seen = || window.seen.iter().filter(|seen| seen.count >= PACE_SAMPLES_MIN);
        let weight: f64 = seen().map(|seen| f64::from(seen.count)).sum();
        if weight == 0.0 {
            return Decision::Blind;
        }
        let mean = |of: &dyn Fn(&Seen, f64) -> f64| {
            let one =
                |seen: &Seen| f64::from(seen.count) * of(seen, self.baselines[seen.pace].unwrap_or(seen.median_us));
            seen().map(one).sum::<f64>() / weight
        };
        let normal = |base: f64| base * TOLERANCE + TOLERANCE_US;
        let gradient = mean(&|seen, base| (normal(base) / seen.median_us).clamp(GRADIENT_MIN, 1.0));
        let slowness = mean(&|seen, base| seen.median_us / base);
        self.took_us = mean(&|seen, _| seen.median_us);
        let is_slow = gradient < 1.0;
        let is_first = !std::mem::replace(&mut self.was_slow, is_slow);
        let is_harmless = f64::from(window.peak) < IN_FLIGHT_HARMLESS && f64::from(window.peak) * 2.0 < self.limit;
        let is_used = window.was_full || f64::from(window.peak) >= USED_SHARE * self.limit;
        self.learn(window.seen, long_us, is_harmless, is_slow, is_used);
        if !is_slow {
            self.trial = None;
            return self.rise(is_used, if is_first { 1.0 } else { CAUTION });
        }
        if is_harmless {
            return Decision::Unused;
        }
        if is_first {
            return Decision::Doubted;
        }
        // Little's law, as the peak may be from before the limit fell.
        let in_flight = f64::from(window.answers) * self.took_us / long_us.max(1) as f64;
        if self.judge_trial(in_flight, slowness) {
            for seen in window.seen.iter().filter(|seen| seen.count >= PACE_SAMPLES_MIN) {
                self.baselines[seen.pace] = Some(seen.median_us);
            }
            (self.trial, self.was_slow) = (None, false);
            return Decision::Relearned;
        }
        let before = self.limit();
        let next = gradient * at_work + at_work.sqrt();
        if next > self.limit {
            return self.rise(is_used, CAUTION);
        }
        let share = if gradient > CAUTION_ABOVE { CAUTION } else { 1.0 };
        self.set(self.limit.min(at_work + (next - at_work) * share));
        if self.limit() < before { Decision::Lowered } else { Decision::Kept }
    }

    /// Gives whether fewer in flight have not made anything quicker.
    fn judge_trial(&mut self, in_flight: f64, slowness: f64) -> bool {
        let begun = Trial { in_flight, slowness, windows: 0 };
        let trial = self.trial.get_or_insert(begun);
        trial.windows += 1;
        if self.limit <= f64::from(self.bounds.floor) && trial.windows >= TRIAL_FLOOR_WINDOWS {
            return true;
        }
        let ratio = in_flight / trial.in_flight;
        if ratio > TRIAL_RATIO {
            return false;
        }
        // Were it all waiting, the time would have fallen as the number did. Less than a quarter of that is nothing.
        let has_helped = slowness <= trial.slowness * (1.0 - (1.0 - ratio) / 4.0);
        self.trial = Some(begun);
        !has_helped
    }

    fn rise(&mut self, is_used: bool, share: f64) -> Decision {
        if !is_used {
            return Decision::Unused;
        }
        let before = self.limit();
        self.set(self.limit + self.limit.sqrt() * share);
        if self.limit() > before { Decision::Raised } else { Decision::Kept }
    }

    fn learn(&mut self, seen: &[Seen], long_us: u64, is_harmless: bool, is_slow: bool, is_used: bool) {
        for seen in seen.iter().filter(|seen| seen.count >= PACE_SAMPLES_MIN) {
            let Some(base) = &mut self.baselines[seen.pace] else {
                self.baselines[seen.pace] = Some(seen.median_us);
                continue;
            };
            let share = match seen.median_us < *base {
                true => BASELINE_FALL,
                // One slow window is no news here either.
                false if is_harmless && !is_slow => BASELINE_IDLE_RISE,
                false if is_harmless => BASELINE_IDLE_RISE / 4.0,
                false if is_used => 0.0,
                false => (long_us as f64 / BASELINE_RISE_US).min(1.0),
            };
            *base += (seen.median_us - *base) * share;
        }
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(f64::from(self.bounds.floor), f64::from(self.bounds.ceiling));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_US: u64 = WINDOW_US_MIN;

    struct Bench {
        gradient: Gradient,
        now_us: u64,
    }

    impl Bench {
        /// With a limit of 256 and a baseline of 10 ms.
        fn new() -> Self {
            let mut bench = Self { gradient: Gradient::new(Bounds { floor: 4, ceiling: 256 }, 0), now_us: 0 };
            assert_eq!(bench.window(10_000.0, 40), Decision::Unused);
            bench
        }

        fn window(&mut self, median_us: f64, peak: u32) -> Decision {
            self.with(&[Seen { pace: 2, count: 100, median_us }], peak, 0)
        }

        fn with(&mut self, seen: &[Seen], peak: u32, overloads: u32) -> Decision {
            self.now_us += STEP_US;
            let answers = seen.iter().map(|seen| seen.count).sum::<u32>() + overloads;
            let window = Window { now_us: self.now_us, peak, was_full: false, answers, overloads, seen };
            self.gradient.window(&window)
        }

        fn base(&self) -> f64 {
            self.gradient.baselines_us()[2].expect("a baseline")
        }
    }

    #[test]
    fn nothing_is_learned_without_load() {
        let mut bench = Bench::new();
        for _ in 0..100 {
            assert_eq!(bench.with(&[], 0, 0), Decision::Blind);
            assert_eq!(bench.with(&[Seen { pace: 2, count: 7, median_us: 1e6 }], 100, 0), Decision::Blind);
        }
        assert_eq!((bench.gradient.limit(), bench.base()), (256, 10_000.0));
        // With few samples a window goes on for a second.
        let begun_us = bench.now_us;
        assert!(!bench.gradient.is_due(begun_us + STEP_US, 31));
        assert!(bench.gradient.is_due(begun_us + WINDOW_US_MAX, 1));
        assert!(bench.gradient.is_due(begun_us + STEP_US, 32));
    }

    #[test]
    fn a_limit_that_is_not_used_does_not_rise() {
        let mut bench = Bench::new();
        bench.gradient.limit = 100.0;
        assert_eq!(bench.window(10_000.0, 79), Decision::Unused);
        assert_eq!(bench.gradient.limit(), 100);
        assert_eq!(bench.window(10_000.0, 80), Decision::Raised);
        assert_eq!(bench.gradient.limit(), 110);
        for _ in 0..100 {
            bench.window(10_000.0, 256);
        }
        assert_eq!(bench.gradient.limit(), 256, "the ceiling");
    }

    #[test]
    fn one_slow_window_is_a_hiccup_and_two_are_not() {
        let mut bench = Bench::new();
        for _ in 0..20 {
            assert_eq!(bench.window(120_000.0, 256), Decision::Doubted);
            assert_eq!(bench.window(10_000.0, 40), Decision::Unused);
        }
        assert_eq!(bench.gradient.limit(), 256);
        assert!(bench.base() < 10_500.0);
        assert_eq!(bench.window(120_000.0, 256), Decision::Doubted);
        assert_eq!(bench.window(120_000.0, 256), Decision::Lowered);
        assert_eq!(bench.gradient.limit(), 144, "a half, and the square root");
    }

    #[test]
    fn few_in_flight_are_not_what_is_slow() {
        let mut bench = Bench::new();
        for _ in 0..20 {
            assert_eq!(bench.window(120_000.0, 3), Decision::Unused);
        }
        assert_eq!(bench.gradient.limit(), 256);
    }

    #[test]
    fn congestion_is_counted_from_what_was_in_flight() {
        let mut bench = Bench::new();
        bench.window(60_000.0, 64);
        assert_eq!(bench.window(60_000.0, 64), Decision::Lowered);
        assert_eq!(bench.gradient.limit(), 40);
    }

    #[test]
    fn overload_cuts_at_once_and_rests() {
        let mut bench = Bench::new();
        let seen = [Seen { pace: 2, count: 100, median_us: 10_000.0 }];
        assert_eq!(bench.with(&seen, 100, 1), Decision::Unused, "one of a hundred is no overload");
        let fewer = [Seen { count: 98, ..seen[0] }];
        assert_eq!(bench.with(&fewer, 100, 1), Decision::Unused, "nor is one of 99");
        assert_eq!(bench.with(&seen, 100, 10), Decision::Cut);
        assert_eq!(bench.gradient.limit(), 70);
        let until_us = bench.now_us + OVERLOAD_HOLD_US;
        while bench.now_us + STEP_US < until_us {
            assert_eq!(bench.with(&seen, 70, 50), Decision::Held);
        }
        assert_eq!(bench.with(&seen, 70, 0), Decision::Raised);
        for _ in 0..100 {
            bench.with(&[], 0, 10);
        }
        assert!(bench.gradient.limit() >= 4, "the floor");
    }

    #[test]
    fn what_fewer_do_not_make_quicker_is_the_new_time() {
        let mut bench = Bench::new();
        // Three times as slow, whatever the limit: by Little's law the more in flight, the more answers.
        let mut decisions = Vec::new();
        while decisions.last() != Some(&Decision::Relearned) {
            let limit = bench.gradient.limit();
            let count = (f64::from(limit) * STEP_US as f64 / 30_000.0) as u32;
            decisions.push(bench.with(&[Seen { pace: 2, count, median_us: 30_000.0 }], limit, 0));
            assert!(decisions.len() < 10, "{decisions:?}");
        }
        assert_eq!(bench.base(), 30_000.0);
        assert!(bench.gradient.limit() > 64, "{decisions:?}");
    }

    #[test]
    fn what_is_slow_by_load_does_not_become_normal() {
        let mut bench = Bench::new();
        // A target of 16: the time is in proportion to what is in flight, the answers are as many as ever.
        for _ in 0..6000 {
            let limit = bench.gradient.limit();
            let median_us = 10_000.0 * (f64::from(limit) / 16.0).max(1.0);
            bench.with(&[Seen { pace: 2, count: 160, median_us }], limit, 0);
        }
        assert!(bench.base() <= 10_000.0, "{} after ten minutes", bench.base());
        assert!((16..64).contains(&bench.gradient.limit()), "{}", bench.gradient.limit());
    }

    #[test]
    fn kinds_are_compared_with_themselves() {
        let mut bench = Bench::new();
        let large = |count| Seen { pace: 5, count, median_us: 2e6 };
        let small = |count| Seen { pace: 2, count, median_us: 10_000.0 };
        for round in 0..20 {
            // What was small becomes large by and by.
            let seen = [small(100 - 5 * round), large(5 * round)];
            assert_eq!(bench.with(&seen, 250, 0), Decision::Kept, "round {round}");
        }
        assert_eq!(bench.gradient.limit(), 256);
    }
}
