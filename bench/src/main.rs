//! Load on Weir and on its peers: own generator, rounds in turn, figures as ratios taken in one run.

// The bench stands outside of the product: it starts processes, opens sockets and files, and reads the clock.
#![allow(clippy::disallowed_methods)]

mod answer;
mod baselines;
mod connection;
mod disk;
mod document;
mod exchange;
mod generator;
mod limits;
mod load;
mod loads;
mod machine;
mod options;
mod outcome;
mod peers;
mod presign;
mod process;
mod reach;
mod request;
mod row;
mod scenario;
mod session;
mod signer;
mod statistics;
mod table;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match session::run(&options::Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
