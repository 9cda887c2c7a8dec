//! One call of the bench: what was chosen, in order, with what it found on standard output, in JSON and in a document.

use crate::limits::PAYLOAD_BYTES;
use crate::load::Bench;
use crate::machine::Machine;
use crate::options::{EXPERIMENTS, Options, Part};
use crate::reach::churn::Churn;
use crate::reach::idle::Idle;
use crate::reach::limiter::Limiter;
use crate::reach::million::{self, Million};
use crate::reach::tls::Tls;
use crate::reach::uploads::Uploads;
use crate::reach::versions::Versions;
use crate::reach::{self, Line};
use crate::row::Row;
use crate::scenario::{MIB, SCENARIOS};
use crate::{document, table};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// True: no request went wrong. Goals that are missed are reported, and no failure of the run.
pub fn run(options: &Options) -> Result<bool> {
    check_names(&options.only)?;
    let start = Instant::now();
    let machine = Machine::look();
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir)?;
    let payload = payload();
    println!("{}", machine.sentence());

    let mut found = Found { sound: true, ..Found::default() };
    if options.part.has(Part::Load) {
        load(options, directory.path(), &payload, &mut found)?;
        // The bodies of a short run are smaller than their names say.
        found.goals = if options.short { Vec::new() } else { reach::rows::lines(&found.rows) };
        found.goals.iter().for_each(|line| println!("{line}"));
    }
    if options.part.has(Part::Reach) {
        experiments(options, directory.path(), &payload, &mut found);
    }
    let lines: Vec<_> = found.goals.iter().chain(&found.reach).collect();
    println!(
        "bench: {} rows, {} goals, {} missed, {} s{}",
        found.rows.len(),
        lines.len(),
        lines.iter().filter(|line| !line.is_met()).count(),
        start.elapsed().as_secs(),
        if found.sound { "" } else { ", WITH ERRORS" }
    );

    let where_from = format!("{}, {} after it", machine.sentence(), Machine::look().load);
    if let Some(path) = &options.json {
        let all = json!({
            "machine": machine.json(),
            "load_after": Machine::look().load,
            "rows": found.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "reach": lines.iter().map(|line| line.json()).collect::<Vec<_>>(),
        });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = options.document.as_ref().filter(|_| options.write) {
        if options.part.has(Part::Load) {
            let (rounds, seconds) = (options.rounds(), options.round().as_secs_f64());
            let how = format!("{where_from}. Medians of {rounds} rounds of {seconds} s.");
            document::write(path, "bench: rows", &format!("{how}\n\n{}", table::markdown(&found.rows)))?;
            document::write(path, "bench: goals", &format!("{where_from}.\n\n{}", reach::markdown(&found.goals)))?;
        }
        if options.part.has(Part::Reach) {
            document::write(path, "bench: reach", &format!("{where_from}.\n\n{}", reach::markdown(&found.reach)))?;
        }
    }
    Ok(found.sound)
}

#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// What the rows say about the goals.
    goals: Vec<Line>,
    /// What experiments say about the others.
    reach: Vec<Line>,
    /// No request went wrong, and nothing broke off.
    sound: bool,
}

fn check_names(only: &[String]) -> Result<()> {
    let known: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).chain(EXPERIMENTS).collect();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no {unknown}, but {}", known.join(", "));
    }
    Ok(())
}

/// A scenario that breaks off is reported, and the others still run.
fn load(options: &Options, directory: &Path, payload: &[u8], found: &mut Found) -> Result<()> {
    let mut servers = Vec::new();
    for &peer in &options.servers {
        if options.programs.has(peer) {
            servers.push(peer);
        } else {
            println!("{peer} is not there: its rows are left out");
        }
    }
    let bench = Bench {
        programs: &options.programs,
        servers,
        directory,
        payload,
        round: options.round(),
        rounds: options.rounds(),
    };
    // Fresh servers for each scenario: none inherits what another left behind. A short run cannot wait for so many starts.
    let kept = if options.short { bench.start(None)? } else { Vec::new() };
    println!("{}", table::terminal_head());
    for scenario in SCENARIOS.iter().filter(|scenario| options.chooses(scenario.name)) {
        let outcome = if options.short {
            bench.run(&scenario.shortened(), &kept)
        } else {
            bench.start(Some(scenario)).and_then(|servers| bench.run(scenario, &servers))
        };
        let fresh = outcome.unwrap_or_else(|error| {
            println!("{}: FAILED: {error:#}", scenario.name);
            found.sound = false;
            Vec::new()
        });
        for row in &fresh {
            println!("{}", table::terminal_line(&table::cells_of(row, &fresh)));
            if let Some(error) = row.first_error() {
                println!("    {error}");
                found.sound = false;
            }
        }
        found.rows.extend(fresh);
    }
    Ok(())
}

/// An experiment that fails is reported, and the others still run.
fn experiments(options: &Options, directory: &Path, payload: &[u8], found: &mut Found) {
    let programs = &options.programs;
    let short = options.short;
    let Found { reach, sound, .. } = found;
    let mut report = |line: Line| {
        println!("{line}");
        reach.push(line);
    };
    for name in EXPERIMENTS.into_iter().filter(|name| options.chooses(name)) {
        let start = Instant::now();
        let outcome = match name {
            "million" => Million {
                programs,
                directory,
                payload,
                size: if short { million::SHORT } else { million::WHOLE },
                round: options.round(),
                rounds: options.rounds(),
            }
            .run(&mut report),
            "versions" => Versions {
                programs,
                directory,
                payload,
                objects: if short { million::SHORT } else { million::WHOLE }.objects,
                round: options.round(),
                rounds: options.rounds(),
            }
            .run(&mut report),
            "uploads" => Uploads {
                programs,
                directory,
                payload,
                uploads: if short { 8 } else { 256 },
                sent_bytes: if short { 2 * MIB } else { 64 * MIB },
            }
            .run(&mut report),
            "idle" => Idle { programs, directory, connections: if short { 1_000 } else { 10_000 } }.run(&mut report),
            "tls" => {
                Tls { programs, directory, payload, round: options.round(), rounds: options.rounds() }.run(&mut report)
            }
            "limiter" => {
                let (processes, rounds_of_each) = if short { (1, 2) } else { (5, 16) };
                Limiter { programs, directory, payload, processes, rounds_of_each }.run(&mut report)
            }
            _ => Churn {
                programs,
                directory,
                payload,
                time: Duration::from_secs(if short { 1 } else { 25 }),
                live_objects: if short { 500 } else { 8_000 },
            }
            .run(&mut report),
        };
        if let Err(error) = outcome {
            println!("reach {name}: FAILED after {} s: {error:#}", start.elapsed().as_secs());
            *sound = false;
        }
    }
}

/// Bytes that nothing can compress. Splitmix64, Steele et al. 2014.
fn payload() -> Vec<u8> {
    let mut state = 0_u64;
    let mut bytes = Vec::with_capacity(PAYLOAD_BYTES);
    while bytes.len() < PAYLOAD_BYTES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes
}
