//! Runs scenarios on all servers in turn, A B C, A B C, so that ratios hold when the machine's speed drifts.

use crate::baselines::{Baseline, Work};
use crate::disk;
use crate::generator::{Pace, Run};
use crate::limits;
use crate::peers::{Peer, Programs, Server};
use crate::process::Usage;
use crate::row::{Round, Row};
use crate::scenario::{Kind, Scenario};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

pub struct Bench<'a> {
    pub programs: &'a Programs,
    pub servers: Vec<Peer>,
    pub directory: &'a Path,
    pub payload: &'a [u8],
    pub round: Duration,
    pub rounds: u32,
}

/// How long the closed loop before the first round runs.
const WARM_UP_MAX: Duration = Duration::from_secs(2);

impl Bench<'_> {
    pub fn start(&self, scenario: Option<&Scenario>) -> Result<Vec<Server>> {
        let wanted = |peer: &&Peer| scenario.is_none_or(|scenario| scenario.is_for(**peer));
        let start = |&peer: &Peer| self.programs.start(peer, &self.directory.join(peer.to_string()));
        self.servers.iter().filter(wanted).map(start).collect()
    }

    /// One row for each server.
    pub fn run(&self, scenario: &Scenario, servers: &[Server]) -> Result<Vec<Row>> {
        let servers: Vec<_> = servers.iter().filter(|server| scenario.is_for(server.peer)).collect();
        for server in &servers {
            scenario.prepare(server, self.payload).with_context(|| format!("{} on {}", scenario.name, server.peer))?;
        }
        let mut rows: Vec<Row> = servers.iter().map(|server| new_row(scenario, &server.peer.to_string())).collect();
        // The first requests pay for what comes once: SeaweedFS makes its volumes when the first object comes.
        let mut rates = Vec::new();
        for server in &servers {
            let warm = self.measure(scenario, server, Pace::Closed, self.round.min(WARM_UP_MAX))?;
            if scenario.open {
                rates.push(warm.per_second / 2.0);
            }
        }
        let mut baselines: Vec<Row> =
            scenario.beside.iter().map(|baseline| new_row(scenario, baseline.name())).collect();
        for _ in 0..self.rounds {
            for (index, server) in servers.iter().enumerate() {
                let pace = rates.get(index).map_or(Pace::Closed, |rate| Pace::Open { per_second: *rate });
                let round = self.measure(scenario, server, pace, self.round);
                rows[index].rounds.push(round.with_context(|| format!("{} on {}", scenario.name, server.peer))?);
            }
            for (row, baseline) in baselines.iter_mut().zip(scenario.beside) {
                row.rounds.push(self.baseline(scenario, *baseline)?);
            }
        }
        rows.extend(baselines);
        Ok(rows)
    }

    fn measure(&self, scenario: &Scenario, server: &Server, pace: Pace, time: Duration) -> Result<Round> {
        // Deletes use their objects up; the number fits a round.
        let objects = match scenario.kind {
            Kind::Delete => (scenario.objects as f64 * (time.as_secs_f64() / 3.0).min(1.0)) as u64,
            _ => scenario.objects,
        };
        scenario.prepare_round(server, self.payload, objects)?;
        let mut signer = server.signer();
        let mut requests = scenario.requests(&mut signer, objects);
        let run = Run {
            connections: scenario.connections,
            pace,
            time,
            bytes_out_max: limits::ROUND_BYTES_MAX,
            ..Run::closed(server.address, self.payload)
        };
        settle();
        let (before, written) = (server.process.usage(), disk::written_bytes(self.directory));
        let outcome = run.execute(requests.as_mut())?;
        let used = server.process.usage().since(before);
        settle();
        Ok(Round::new(&outcome, used, disk::written_bytes(self.directory) - written))
    }

    fn baseline(&self, scenario: &Scenario, baseline: Baseline) -> Result<Round> {
        let work = Work {
            directory: &self.directory.join("baseline"),
            threads: scenario.connections,
            time: self.round,
            payload: self.payload,
            bytes: scenario.bytes,
        };
        settle();
        let before = disk::written_bytes(self.directory);
        let mut outcome = baseline.run(&work)?;
        settle();
        let written = disk::written_bytes(self.directory) - before;
        // There is no client: what ran here is the store.
        let cpu = std::mem::take(&mut outcome.client_cpu);
        Ok(Round::new(&outcome, Usage { cpu, rss_bytes: 0 }, written))
    }
}

/// Writes down what others left in the page cache: a server that syncs must not pay for one that does not.
fn settle() {
    rustix::fs::sync();
}

fn new_row(scenario: &Scenario, server: &str) -> Row {
    Row { scenario: *scenario, server: server.to_owned(), rounds: Vec::new() }
}
