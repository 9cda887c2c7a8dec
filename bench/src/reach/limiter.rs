//! What limits cost: the same requests to a server without any, to one as it comes (places, and a rule for failed
//! authentications), to one with a rule for each key besides, and to one with a rule of every kind.

use super::{Line, Wanted};
use crate::generator::Run;
use crate::loads::Prepared;
use crate::peers::{ACCESS_KEY, Programs, SECRET_KEY, Server, weir};
use crate::request::Expected;
use crate::scenario::{KIB, fill};
use crate::statistics::median;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub struct Limiter<'a> {
    pub programs: &'a Programs,
    pub directory: &'a Path,
    pub payload: &'a [u8],
    pub processes: u32,
    /// Each server has one turn in each.
    pub rounds_of_each: u32,
}

const BUCKET: &str = "limiter";
const OBJECTS: u64 = 500;
const CONNECTIONS: usize = 32;

/// Two processes of the same program differ by a few in a hundred for as long as they run, and a shared machine is another one each
/// few seconds. So a difference of three in a hundred shows in many short turns, and over several processes.
const TURN: Duration = Duration::from_millis(500);

/// One of each kind that a request can meet; none refuses. The first is the one that most have.
const RULES: [&[&str]; 4] =
    [&["key"], &["address", "--cidr", "127.0.0.0/8"], &["bucket", "--bucket", BUCKET], &["node", "--verb", "get"]];

/// How many of them a server has, and what its row is called. The first server has no limits at all.
const SERVERS: [(&str, Option<usize>); 4] = [
    ("without", None),
    ("cpu get1k as it comes", Some(0)),
    ("cpu get1k under a rule for each key", Some(1)),
    ("cpu get1k under a rule of each kind", Some(RULES.len())),
];

impl Limiter<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let mut rounds = Vec::new();
        for _ in 0..self.processes {
            let mut servers = Vec::new();
            for (at, (_, rules)) in SERVERS.iter().enumerate() {
                let flags: &[&str] =
                    if rules.is_none() { &["--concurrency-max", "0", "--failed-auth-rate", "0"] } else { &[] };
                let server = self.start(&at.to_string(), flags)?;
                for rule in &RULES[..rules.unwrap_or(0)] {
                    self.set(&server, rule)?;
                }
                servers.push(server);
            }
            for number in 0..self.rounds_of_each {
                let mut round = [0.0; SERVERS.len()];
                // Whoever is last finds a warmer machine.
                for turn in 0..SERVERS.len() {
                    let at = if number % 2 == 0 { turn } else { SERVERS.len() - 1 - turn };
                    round[at] = self.cost(&servers[at])?;
                }
                rounds.push(round);
            }
        }
        let us = |at: usize| median(rounds.iter().map(|round| round[at]));
        let without =
            format!("{:.2} us without ({} rounds of turns, {} of processes)", us(0), rounds.len(), self.processes);
        for (at, (name, rules)) in SERVERS.iter().enumerate() {
            let Some(rules) = rules else { continue };
            let ratio = median(rounds.iter().map(|round| round[at] / round[0].max(1e-9)));
            let measured = format!("{:.2} us with places, rules: {}", us(at), rules + 1);
            report(Line::new(*name, measured, without.clone(), ratio, Wanted::AtMost(1.03)));
        }
        Ok(())
    }

    fn start(&self, name: &str, flags: &[&str]) -> Result<Server> {
        let directory = self.directory.join("limiter").join(name);
        std::fs::create_dir_all(&directory)?;
        let server = weir::start_with(&self.programs.weir, &directory, flags)?;
        server.create_bucket(BUCKET)?;
        let path = |number: u64, path: &mut String| path.push_str(&target(number));
        fill(&server, self.payload, &path, 0..OBJECTS, KIB)?;
        Ok(server)
    }

    fn set(&self, server: &Server, rule: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.programs.weir);
        command.args(["limits", "set", rule[0], "--rate", "1000000", "--per"]).args(rule);
        command.env("WEIR_ENDPOINT", format!("http://{}", server.address));
        command.env("WEIR_ADMIN_ACCESS_KEY", ACCESS_KEY).env("WEIR_ADMIN_SECRET_KEY", SECRET_KEY);
        let output = command.output().with_context(|| format!("setting the rule {rule:?}"))?;
        ensure!(output.status.success(), "setting the rule {rule:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Microseconds of the server's CPU for one request.
    fn cost(&self, server: &Server) -> Result<f64> {
        let mut signer = server.signer();
        let heads = (0..OBJECTS).map(|number| signer.new_head("GET", &target(number), "", None)).collect();
        let mut requests = Prepared::new(heads, Expected { body_bytes: Some(KIB), ..Expected::default() });
        let run = Run { connections: CONNECTIONS, time: TURN, ..Run::closed(server.address, self.payload) };
        let before = server.process.usage();
        let outcome = run.execute(&mut requests)?;
        let errors = &outcome.errors;
        ensure!(errors.count == 0, "{} errors, the first: {:?}", errors.count, errors.first);
        ensure!(outcome.requests > 0, "nothing was done");
        Ok(server.process.usage().since(before).cpu.as_secs_f64() * 1e6 / outcome.requests as f64)
    }
}

fn target(number: u64) -> String {
    format!("/{BUCKET}/k/{number:06}")
}
