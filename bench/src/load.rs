//! Runs scenarios on all servers in turn, A B C, A B C, so that ratios hold when the machine's speed drifts.

use crate::generator::{Pace, Run};
use crate::limits;
use crate::peers::{Peer, Programs, Server, file_per_object};
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

pub const FILE_PER_OBJECT: &str = "file/object";

/// How long the closed loop before an open one runs.
const CALIBRATION_MAX: Duration = Duration::from_secs(2);

impl Bench<'_> {
    /// One row for each server. Fresh servers for each scenario: none inherits what another left behind.
    pub fn run(&self, scenario: &Scenario) -> Result<Vec<Row>> {
        let mut servers = Vec::new();
        for &peer in self.servers.iter().filter(|&&peer| scenario.is_for(peer)) {
            let server = self.programs.start(peer, &self.directory.join(peer.to_string()))?;
            scenario.prepare(&server, self.payload).with_context(|| format!("{} on {peer}", scenario.name))?;
            servers.push(server);
        }
        let mut rows: Vec<Row> = servers.iter().map(|server| new_row(scenario, &server.peer.to_string())).collect();
        let mut rates = Vec::new();
        if scenario.open {
            for server in &servers {
                let closed = Scenario { open: false, ..*scenario };
                let round = self.measure(&closed, server, Pace::Closed, self.round.min(CALIBRATION_MAX))?;
                rates.push(round.per_second / 2.0);
            }
        }
        let mut files = scenario.beside_files.then(|| new_row(scenario, FILE_PER_OBJECT));
        for _ in 0..self.rounds {
            for (index, server) in servers.iter().enumerate() {
                let pace = rates.get(index).map_or(Pace::Closed, |rate| Pace::Open { per_second: *rate });
                let round = self.measure(scenario, server, pace, self.round);
                rows[index].rounds.push(round.with_context(|| format!("{} on {}", scenario.name, server.peer))?);
            }
            if let Some(row) = &mut files {
                row.rounds.push(self.files(scenario)?);
            }
        }
        rows.extend(files);
        Ok(rows)
    }

    fn measure(&self, scenario: &Scenario, server: &Server, pace: Pace, time: Duration) -> Result<Round> {
        // Deletes use their objects up; the number fits a round.
        let objects = match scenario.kind {
            Kind::Delete => (scenario.objects as f64 * (time.as_secs_f64() / 4.0).min(1.0)) as u64,
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
        let before = server.process.usage();
        let outcome = run.execute(requests.as_mut())?;
        let after = server.process.usage();
        Ok(Round::new(&outcome, after.cpu.saturating_sub(before.cpu), after.rss_bytes))
    }

    fn files(&self, scenario: &Scenario) -> Result<Round> {
        let directory = self.directory.join("files");
        let body = &self.payload[..scenario.bytes as usize];
        let mut outcome = file_per_object::run(&directory, scenario.connections, self.round, body)?;
        // There is no client: what ran here is the store.
        let cpu = std::mem::take(&mut outcome.client_cpu);
        Ok(Round::new(&outcome, cpu, 0))
    }
}

fn new_row(scenario: &Scenario, server: &str) -> Row {
    Row { scenario: *scenario, server: server.to_owned(), rounds: Vec::new() }
}
