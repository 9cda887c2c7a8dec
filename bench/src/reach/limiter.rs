//! What limits cost: the same requests to a server without any, to one as it comes (places, and a rule for failed
//! authentications), and to one with rules besides.

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

/// One of each kind that a request can meet; none refuses.
const RULES: [&[&str]; 4] =
    [&["address", "--cidr", "127.0.0.0/8"], &["key"], &["bucket", "--bucket", BUCKET], &["node", "--verb", "get"]];

impl Limiter<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let mut rounds = Vec::new();
        for _ in 0..self.processes {
            let free = self.start("free", &["--concurrency-max", "0", "--failed-auth-rate", "0"])?;
            let plain = self.start("plain", &[])?;
            let ruled = self.start("ruled", &[])?;
            for rule in RULES {
                self.set(&ruled, rule)?;
            }
            for number in 0..self.rounds_of_each {
                let mut round = [0.0; 3];
                // Whoever is last finds a warmer machine.
                for turn in 0..3 {
                    let at = if number % 2 == 0 { turn } else { 2 - turn };
                    round[at] = self.cost([&free, &plain, &ruled][at])?;
                }
                rounds.push(round);
            }
        }
        let us = |at: usize| median(rounds.iter().map(|round| round[at]));
        let without =
            format!("{:.2} us without ({} rounds of turns, {} of processes)", us(0), rounds.len(), self.processes);
        let mut row = |name, at: usize, with: String| {
            let ratio = median(rounds.iter().map(|round| round[at] / round[0].max(1e-9)));
            let measured = format!("{:.2} us with {with}", us(at));
            report(Line::new(name, measured, without.clone(), ratio, Wanted::AtMost(1.03)));
        };
        row("cpu get1k as it comes", 1, "the line for places and the rule for failed authentications".to_owned());
        row("cpu get1k under limits", 2, format!("{} rules besides", RULES.len()));
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
