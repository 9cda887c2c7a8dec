//! The `weir` binary: parse, run one command, exit with a documented status (`error.rs`).

#![forbid(unsafe_code)]

mod admin_client;
mod args;
mod commands;
mod config;
mod credentials;
mod error;
mod output;
mod terms;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("weir: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match args.command {
            Command::Serve(args) => commands::serve::run(args).await,
            Command::Key(args) => commands::key::run(args).await,
        }
    });
    // What still runs now was given its time to end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}
