//! The tasks of this repository: `cargo xtask VERB`, one file per verb.

// The doors are for the product; a task runner starts processes and reads files for a living.
#![allow(clippy::disallowed_methods)]

mod bench;
mod bigtree;
mod cache;
mod clients;
mod command;
mod crash;
mod fuzz;
mod policy_diff;
mod s3_tests;
mod test;
mod tidy;
mod watchdog;

use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The tasks of this repository")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run everything that must pass before a change is merged
    Test,
    /// Check import arrows, doors, file layout and text of the tracked files
    Tidy,
    /// Run the simulated power cuts and kill the real server under load
    Crash(crash::Options),
    /// Measure Weir beside nginx and SeaweedFS
    Bench(bench::Options),
    /// Run the clients' operations alone and compare or write their table, docs/clients.md
    Clients(clients::Options),
    /// Let the fuzz targets run for a while
    Fuzz(fuzz::Options),
    /// Send a large tree up and down with aws, s3cmd and presigned URLs while the server is being killed
    Bigtree(bigtree::Options),
    /// Compare random decisions with those of iam-rs and moto
    PolicyDiff(policy_diff::Options),
    /// Run Ceph's S3 conformance suite against the real server
    S3Tests(s3_tests::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = repository_root();
    let outcome = match arguments.verb {
        Verb::Test => test::run(root),
        Verb::Tidy => tidy::run(root),
        Verb::Crash(options) => crash::run(root, &options),
        Verb::Bench(options) => bench::run(root, &options),
        Verb::Clients(options) => clients::run(root, &options),
        Verb::Fuzz(options) => fuzz::run(root, &options),
        Verb::Bigtree(options) => bigtree::run(root, &options),
        Verb::PolicyDiff(options) => policy_diff::run(root, &options),
        Verb::S3Tests(options) => s3_tests::run(root, &options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}
