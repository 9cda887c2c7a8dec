//! Crash rounds: what was acknowledged must be there, and nothing else may be.
//!
//! Two parts. `twin` cuts the power of the simulated disk at every point of a history; `kill` ends the real server with
//! SIGKILL under load. With `--power-cut` there are others: `power` cuts the power of real file systems under the real
//! server, and lets their disks fail, fill up and slow down. The last line of standard output is the verdict of all that ran.

// The rounds stand outside of the product: they start processes, open sockets and read the clock.
#![allow(clippy::disallowed_methods)]

mod judge;
mod kill;
mod power;
mod s3;
mod server;
mod twin;
mod value;

use clap::{Parser, ValueEnum};
use power::faults;
use power::stack::{self, FileSystem};
use std::fmt;
use std::ops::AddAssign;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Parser)]
struct Options {
    /// Few rounds
    #[arg(long)]
    short: bool,
    /// Gives the same keys, sizes and moments again; the threads' interleaving stays the machine's
    #[arg(long)]
    seed: Option<u64>,
    /// How often the real server is killed [default: 50, short: 3]
    #[arg(long)]
    rounds: Option<u32>,
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Cut the power of real file systems under the real server
    #[arg(long)]
    power_cut: bool,
    /// Of each file system [default: 200, short: 10]
    #[arg(long)]
    cuts: Option<usize>,
    /// Only this one [default: both, short: ext4]
    #[arg(long, value_enum)]
    file_system: Option<FileSystem>,
    /// Let the disk forget so many flushes that it said were done: the check must find losses
    #[arg(long, default_value_t = 0)]
    lying_flushes: usize,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    Twin,
    Kill,
    /// With `--power-cut`: only the power cuts, or only the disks that fail, are full or slow
    Cuts,
    Faults,
}

/// What the rounds saw.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Tally {
    /// Mutations that the store said were done.
    pub acknowledged: u64,
    /// Of those, the ones that are not there afterwards.
    pub lost: u64,
    /// Answers that no allowed history gives: other bytes, a deleted key, an error where data must be.
    pub wrong: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.wrong += other.wrong;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crash: {} acknowledged, lost {}, wrong {}", self.acknowledged, self.lost, self.wrong)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.power_cut {
        let missing = stack::missing();
        if !missing.is_empty() {
            println!("power cut: skipped, because this machine lacks {}", missing.join(", "));
            return if options.short { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        if let Err(error) = stack::enter_private_mounts() {
            println!("power cut: skipped: {error:#}");
            return if options.short { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    // Silent unless asked: thousands of simulated crashes have much to say.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let seed = options.seed.unwrap_or_else(seed_from_clock);
    println!("seed {seed}");
    let mut total = Tally::default();
    let mut complete = true;
    if options.power_cut {
        if options.part != Some(Part::Faults) {
            complete &= report("power cut", power::run(&power_options(&options, seed)), &mut total);
        }
        if options.part != Some(Part::Cuts) {
            complete &= report("bad disks", faults::run(&fault_options(&options, seed)), &mut total);
        }
        println!("{total}");
        return verdict(complete, total);
    }
    if options.part != Some(Part::Kill) {
        complete &= report("twin", twin::run(seed, options.short), &mut total);
    }
    if options.part != Some(Part::Twin) {
        let rounds = options.rounds.unwrap_or(if options.short { 3 } else { 50 });
        complete &= report("kill", kill::run(seed, rounds), &mut total);
    }
    println!("{total}");
    verdict(complete, total)
}

fn verdict(complete: bool, total: Tally) -> ExitCode {
    if complete && total.lost == 0 && total.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn file_systems(options: &Options) -> Vec<FileSystem> {
    let all: &[FileSystem] = if options.short { &[FileSystem::Ext4] } else { &FileSystem::ALL };
    options.file_system.map_or_else(|| all.to_vec(), |only| vec![only])
}

fn fault_options(options: &Options, seed: u64) -> faults::Options {
    faults::Options { seed, short: options.short, file_systems: file_systems(options) }
}

fn power_options(options: &Options, seed: u64) -> power::Options {
    power::Options {
        seed,
        short: options.short,
        file_systems: file_systems(options),
        cuts: options.cuts.unwrap_or(if options.short { 10 } else { 200 }),
        lying_flushes: options.lying_flushes,
    }
}

/// Adds a part's result. A part that could not do its work, or acknowledged too little to prove anything, is a failure.
fn report(part: &str, outcome: anyhow::Result<Finished>, total: &mut Tally) -> bool {
    match outcome {
        Ok(Finished { tally, acknowledged_min }) => {
            println!("{part}: {} acknowledged, lost {}, wrong {}", tally.acknowledged, tally.lost, tally.wrong);
            *total += tally;
            if tally.acknowledged < acknowledged_min {
                println!("{part}: fewer than {acknowledged_min} acknowledged: too little load to prove anything");
            }
            tally.acknowledged >= acknowledged_min
        }
        Err(error) => {
            println!("{part}: {error:#}");
            false
        }
    }
}

/// A part that came to its end.
pub struct Finished {
    pub tally: Tally,
    /// Below this the part has not tested what it says.
    pub acknowledged_min: u64,
}

fn seed_from_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}
