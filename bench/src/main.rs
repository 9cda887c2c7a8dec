//! Load on Weir and on its peers: own generator, rounds in turn, figures as ratios taken in one run.

// The bench stands outside of the product: it starts processes, opens sockets and files, and reads the clock.
#![allow(clippy::disallowed_methods)]

mod answer;
mod connection;
mod exchange;
mod generator;
mod limits;
mod load;
mod loads;
mod outcome;
mod peers;
mod presign;
mod process;
mod request;
mod row;
mod scenario;
mod signer;
mod statistics;
mod table;

use anyhow::{Context, Result, bail};
use clap::Parser;
use peers::{Peer, Programs};
use scenario::{SCENARIOS, Scenario};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Where data are written; removed afterwards
    #[arg(long)]
    dir: PathBuf,
    /// Scenarios by name, comma-separated
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Peer::Weir, Peer::Nginx, Peer::Seaweedfs])]
    servers: Vec<Peer>,
    /// Of each round
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Writes everything to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Shows in less than a minute that everything works: no errors, whatever the times
    #[arg(long)]
    short: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let start = Instant::now();
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir)?;
    let payload = payload();
    let mut servers = Vec::new();
    for &peer in &options.servers {
        if options.programs.has(peer) {
            servers.push(peer);
        } else {
            println!("{peer} is not there: its rows are left out");
        }
    }
    let (rounds, seconds) = if options.short { (1, 0.5) } else { (options.rounds, options.seconds) };
    let bench = load::Bench {
        programs: &options.programs,
        servers,
        directory: directory.path(),
        payload: &payload,
        round: Duration::from_secs_f64(seconds),
        rounds,
    };
    let mut rows = Vec::new();
    println!("{}", table::terminal_head());
    for scenario in chosen(&options.only)? {
        let fresh = bench.run(&scenario)?;
        for row in &fresh {
            println!("{}", table::terminal_line(&table::cells_of(row, &fresh)));
            if let Some(error) = row.first_error() {
                println!("    {error}");
            }
        }
        rows.extend(fresh);
    }
    println!("bench: {} rows in {} s", rows.len(), start.elapsed().as_secs());
    if let Some(path) = &options.json {
        let all = json!({ "rows": rows.iter().map(row::Row::json).collect::<Vec<_>>() });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(rows.iter().all(|row| row.errors() == 0))
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>> {
    if let Some(unknown) = only.iter().find(|name| !SCENARIOS.iter().any(|scenario| scenario.name == **name)) {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("no scenario {unknown}; there are {}", names.join(", "));
    }
    let is_chosen = |scenario: &&Scenario| only.is_empty() || only.iter().any(|name| name == scenario.name);
    Ok(SCENARIOS.iter().filter(is_chosen).copied().collect())
}

/// Bytes that nothing can compress. Splitmix64, Steele et al. 2014.
fn payload() -> Vec<u8> {
    let mut state = 0_u64;
    let mut bytes = Vec::with_capacity(limits::PAYLOAD_BYTES);
    while bytes.len() < limits::PAYLOAD_BYTES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes
}
