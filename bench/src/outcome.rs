//! What one run of a load saw.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Two minutes, in nanoseconds: above every time limit of a run.
const LATENCY_MAX_NS: u64 = 120_000_000_000;

pub struct Outcome {
    /// Operations that ended as expected. An upload in parts is one.
    pub operations: u64,
    pub requests: u64,
    /// Bodies only.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Nanoseconds of each operation.
    pub latency: Histogram<u64>,
    pub errors: Errors,
    /// CPU time of the generator's own thread.
    pub client_cpu: Duration,
}

/// One error makes a row worthless.
#[derive(Debug, Default)]
pub struct Errors {
    pub count: u64,
    /// Answers by status, the expected ones too.
    pub statuses: BTreeMap<u16, u64>,
    pub first: Option<String>,
}

impl Errors {
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(what());
        }
    }
}

impl Outcome {
    pub fn new() -> Self {
        Self {
            operations: 0,
            requests: 0,
            bytes_in: 0,
            bytes_out: 0,
            elapsed: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("bounds of which the first is smaller"),
            errors: Errors::default(),
            client_cpu: Duration::ZERO,
        }
    }

    pub fn record(&mut self, latency: Duration) {
        self.operations += 1;
        self.latency.saturating_record(latency.as_nanos().clamp(1, u128::from(LATENCY_MAX_NS)) as u64);
    }

    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Milliseconds within which this share of the operations ended.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_rates() {
        let mut outcome = Outcome::new();
        for milliseconds in 1..=1000 {
            outcome.record(Duration::from_millis(milliseconds));
        }
        outcome.record(Duration::from_secs(9999));
        outcome.elapsed = Duration::from_secs(2);
        assert!((outcome.quantile_ms(0.5) - 500.0).abs() < 2.0, "{}", outcome.quantile_ms(0.5));
        assert!((outcome.quantile_ms(0.99) - 990.0).abs() < 3.0);
        assert!((outcome.per_second() - 500.5).abs() < 0.01);
    }

    #[test]
    fn the_first_error_is_kept() {
        let mut errors = Errors::default();
        errors.add(|| "one".into());
        errors.add(|| "two".into());
        assert_eq!((errors.count, errors.first.as_deref()), (2, Some("one")));
    }
}
