//! The `weir` binary: parse, run one command, exit with a documented status (`error.rs`).

#![forbid(unsafe_code)]

mod admin_client;
mod args;
mod audit;
mod commands;
mod config;
mod credentials;
mod error;
mod output;
mod root_key;
mod s3_client;
mod signed;
mod terms;
mod trust;

use args::{Args, Command};
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Where an appliance listens that nobody told otherwise, and what region it has.
const DATA_ENDPOINT: &str = "http://127.0.0.1:9000";
const REGION: &str = "us-east-1";

/// Weir's own crates, and of the others what is wrong. s3s reports each refused request as an error of its own; the gateway
/// logs the same request, with its id and as what it is.
const LOG: &str = "warn,weir=info,s3s=off";

/// A given filter leaves s3s out too, unless it names it: s3s prints requests as they came, and the signatures that would have
/// been right.
fn without_s3s(given: &str) -> String {
    let target = |directive: &str| directive.split(['=', '[']).next().unwrap_or("").trim() == "s3s";
    if given.split(',').any(target) { given.to_owned() } else { format!("{given},s3s=off") }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = start_log() {
        eprintln!("weir: {error}");
        return ExitCode::from(error.exit_status());
    }

    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("weir: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match args.command {
            Command::Serve(args) => commands::serve::run(*args).await,
            Command::Key(args) => commands::key::run(args).await,
            Command::User(args) => commands::user::run(args).await,
            Command::Group(args) => commands::group::run(args).await,
            Command::Policy(args) => commands::policy::run(args).await,
            Command::Role(args) => commands::role::run(args).await,
            Command::Session(args) => commands::session::run(args).await,
            Command::Backup(args) => commands::backup::run(args).await,
            Command::Kms(args) => commands::kms::run(args).await,
            Command::Bucket(args) => commands::bucket::run(args).await,
            Command::Limits(args) => commands::limits::run(args).await,
            Command::Disk(args) => commands::disk::run(args),
            Command::Audit(args) => commands::audit::run(args),
            Command::Tls(args) => commands::tls::run(args).await,
            Command::Why(args) => commands::why::run(args).await,
            Command::Auth(args) => commands::auth::run(args).await,
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

/// To standard error, filtered by `WEIR_LOG`, else by `RUST_LOG`.
fn start_log() -> Result<(), error::Error> {
    let given = ["WEIR_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let filter = match given {
        None => EnvFilter::new(LOG),
        Some((name, value)) => EnvFilter::try_new(without_s3s(&value)).map_err(|why| {
            error::Error::Usage(format!("{name} is no filter of a log: {why}. Write info, or weir_storage=debug,info"))
        })?,
    };
    let is_colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_colored).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_filter_leaves_s3s_out_unless_it_names_it() {
        for given in ["debug", "trace,weir=debug", "weir_gateway[call{a=1}]=trace", "s3s_fs=info", "s3s::ops=debug"] {
            assert_eq!(without_s3s(given), format!("{given},s3s=off"));
        }
        for given in ["s3s=debug", "info, s3s=trace", "s3s", "s3s[prepare]=debug,warn"] {
            assert_eq!(without_s3s(given), given);
        }
    }
}
