//! What is counted, for `GET /metrics` and for the admin API.

use super::class::{CLASSES, Class};
use super::gradient::{DECISIONS, Decision};
use super::{Concurrency, REFUSALS, Refused, in_flight};
use crate::metrics::Metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Seconds.
const WAIT_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5];

pub struct Measures {
    decisions: [AtomicU64; DECISIONS.len()],
    refused: [AtomicU64; REFUSALS.len()],
    /// Those that got a place after a wait, by class, and what they all waited.
    waited: [AtomicU64; CLASSES.len()],
    waited_us: AtomicU64,
    waits: Histogram,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            decisions: Default::default(),
            refused: Default::default(),
            waited: Default::default(),
            waited_us: AtomicU64::new(0),
            waits: Histogram::new(WAIT_BUCKETS),
        }
    }
}

impl Measures {
    pub fn decided(&self, decision: Decision) {
        self.decisions[decision as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn waited(&self, class: Class, us: u64, refused: Option<Refused>) {
        match refused {
            Some(refused) => &self.refused[refused as usize],
            None => &self.waited[class as usize],
        }
        .fetch_add(1, Ordering::Relaxed);
        self.waited_us.fetch_add(us, Ordering::Relaxed);
        self.waits.observe(us as f64 / 1e6);
    }

    pub fn describe(&self, status: &mut Value) {
        let counts = |names: &[&str], counts: &[AtomicU64]| -> Value {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            names.iter().map(|name| (*name).to_owned()).zip(counts.map(Value::from)).collect()
        };
        status["decisions"] = counts(&DECISIONS.map(|(_, name)| name), &self.decisions);
        status["refused"] = counts(&REFUSALS.map(|(_, name)| name), &self.refused);
        status["started_after_wait"] = counts(&CLASSES.map(Class::name), &self.waited);
        status["waited_us_total"] = json!(self.waited_us.load(Ordering::Relaxed));
    }
}

/// Reads what there is when somebody asks: gauges cost nothing on the way of a request.
#[derive(Debug)]
struct Page(Weak<Concurrency>);

pub fn register(concurrency: &Arc<Concurrency>, metrics: &Metrics) {
    let mut registry = metrics.registry();
    let waits = concurrency.measures.waits.clone();
    registry.register("queue_wait_seconds", "How long requests waited that found no room at a target", waits);
    registry.register_collector(Box::new(Page(Arc::downgrade(concurrency))));
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(of) = self.0.upgrade() else { return Ok(()) };
        let target = [("target", of.target)];
        let mut gauge = |name: &str, help: &str, labels: &[(&str, &str)], values: &[i64]| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (label, value) in labels.iter().zip(values) {
                ConstGauge::new(*value).encode(metric.encode_family(&[*label])?)?;
            }
            Ok::<_, std::fmt::Error>(())
        };
        let limit = i64::from(of.limit.load(Ordering::Relaxed));
        let at_work = i64::from(in_flight(of.state.load(Ordering::Acquire)));
        gauge("concurrency_limit", "Requests that a target is given at once", &target, &[limit])?;
        gauge("concurrency_inflight", "Requests that have a place at a target", &target, &[at_work])?;
        let depths = CLASSES.map(|class| of.line().queue.waiting(class) as i64);
        let classes = CLASSES.map(|class| ("class", class.name()));
        gauge("queue_depth", "Requests that wait for a place at a target", &classes, &depths)?;
        let mut counter = |name: &str, help: &str, label: &str, names: &[&str], counts: &[AtomicU64]| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in names.iter().zip(counts) {
                ConstCounter::new(count.load(Ordering::Relaxed)).encode(metric.encode_family(&[(label, *value)])?)?;
            }
            Ok::<_, std::fmt::Error>(())
        };
        let of = &of.measures;
        counter("queue_refused", "Requests that got no place", "reason", &REFUSALS.map(|(_, name)| name), &of.refused)?;
        let names = DECISIONS.map(|(_, name)| name);
        counter("concurrency_decisions", "Windows, by what became of the limit", "decision", &names, &of.decisions)
    }
}
