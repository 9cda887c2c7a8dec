//! A row of the table: one scenario on one server, all its rounds.

use crate::outcome::Outcome;
use crate::process::Usage;
use crate::scenario::{KIB, MIB, Scenario};
use crate::statistics::median;
use serde_json::{Value, json};
use std::time::Duration;

/// What a round gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    pub operations: u64,
    pub seconds: f64,
    pub per_second: f64,
    pub mib_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub cpu_us: f64,
    pub client_us: f64,
    /// Of one core, how much the generator took.
    pub client_share: f64,
    pub rss_mib: f64,
    /// What went to the disk for an operation, with what was left to write after the round.
    pub written_kib: f64,
    pub errors: u64,
    pub first_error: Option<String>,
    pub statuses: Vec<(u16, u64)>,
}

impl Round {
    /// `used` is the difference of two looks at the server; its memory is that of the second one.
    pub fn new(outcome: &Outcome, used: Usage, written_bytes: u64) -> Self {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / outcome.operations.max(1) as f64;
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        Self {
            operations: outcome.operations,
            seconds,
            per_second: outcome.per_second(),
            mib_per_second: (outcome.bytes_in + outcome.bytes_out) as f64 / MIB as f64 / seconds,
            p50_ms: outcome.quantile_ms(0.5),
            p99_ms: outcome.quantile_ms(0.99),
            p999_ms: outcome.quantile_ms(0.999),
            cpu_us: each(used.cpu),
            client_us: each(outcome.client_cpu),
            client_share: outcome.client_cpu.as_secs_f64() / seconds,
            rss_mib: used.rss_bytes as f64 / MIB as f64,
            written_kib: written_bytes as f64 / KIB as f64 / outcome.operations.max(1) as f64,
            errors: outcome.errors.count,
            first_error: outcome.errors.first.clone(),
            statuses: outcome.errors.statuses.iter().map(|(status, count)| (*status, *count)).collect(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "operations": self.operations,
            "seconds": self.seconds,
            "requests_per_second": self.per_second,
            "mib_per_second": self.mib_per_second,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "p999_ms": self.p999_ms,
            "server_cpu_us": self.cpu_us,
            "client_cpu_us": self.client_us,
            "client_share_of_a_core": self.client_share,
            "rss_mib": self.rss_mib,
            "written_kib": self.written_kib,
            "errors": self.errors,
            "first_error": self.first_error,
            "statuses": self.statuses.iter().map(|(status, count)| (status.to_string(), json!(count)))
                .collect::<serde_json::Map<_, _>>(),
        })
    }
}

#[derive(Debug, Clone)]
pub struct Row {
    pub scenario: Scenario,
    /// A peer's name, or that of a baseline.
    pub server: String,
    pub rounds: Vec<Round>,
}

impl Row {
    pub fn median(&self, field: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(field))
    }

    pub fn per_second(&self) -> f64 {
        self.median(|round| round.per_second)
    }

    pub fn cpu_us(&self) -> f64 {
        self.median(|round| round.cpu_us)
    }

    pub fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.errors).sum()
    }

    pub fn first_error(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.first_error.as_deref())
    }

    pub fn json(&self) -> Value {
        json!({
            "scenario": self.scenario.name,
            "server": self.server,
            "connections": self.scenario.connections,
            "object_bytes": self.scenario.bytes,
            "objects": self.scenario.objects,
            "open_loop": self.scenario.open,
            "requests_per_second": self.per_second(),
            "server_cpu_us": self.cpu_us(),
            "errors": self.errors(),
            "rounds": self.rounds.iter().map(Round::json).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
pub fn row_for_test(name: &str, server: &str, per_second: f64, cpu_us: f64) -> Row {
    let scenario = *crate::scenario::SCENARIOS.iter().find(|scenario| scenario.name == name).expect("its name");
    let mut outcome = Outcome::new();
    outcome.elapsed = Duration::from_secs(1);
    let round = Round { per_second, cpu_us, ..Round::new(&outcome, Usage::default(), 0) };
    Row { scenario, server: server.to_owned(), rounds: vec![round] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_per_operation() {
        let mut outcome = Outcome::new();
        (0..10).for_each(|_| outcome.record(Duration::from_millis(1)));
        outcome.elapsed = Duration::from_secs(2);
        outcome.bytes_in = 4 * MIB;
        outcome.client_cpu = Duration::from_millis(500);
        let used = Usage { cpu: Duration::from_millis(1), rss_bytes: 3 * MIB };
        let round = Round::new(&outcome, used, 40 * KIB);
        assert_eq!((round.per_second, round.mib_per_second, round.rss_mib), (5.0, 2.0, 3.0));
        assert_eq!(round.written_kib, 4.0);
        assert_eq!((round.cpu_us, round.client_us, round.client_share), (100.0, 50_000.0, 0.25));
    }

    #[test]
    fn a_row_is_the_median_of_its_rounds() {
        let mut row = row_for_test("get1k", "weir", 10.0, 5.0);
        for per_second in [30.0, 11.0] {
            let round = Round { per_second, errors: 1, ..row.rounds[0].clone() };
            row.rounds.push(round);
        }
        assert_eq!((row.per_second(), row.errors()), (11.0, 2));
        assert_eq!(row.json()["rounds"].as_array().unwrap().len(), 3);
    }
}
