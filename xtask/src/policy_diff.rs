//! `cargo xtask policy-diff`: random policies and questions, decided by Weir, by iam-rs and by moto.

use crate::test::Tally;
use crate::{cache, command};
use anyhow::Result;
use clap::Args;
use std::path::Path;

#[derive(Args)]
pub struct Options {
    /// Pairs of a policy and a question
    #[arg(long, default_value_t = 100_000)]
    pub cases: u64,
    /// Where the random numbers begin
    #[arg(long, default_value_t = SEED)]
    pub seed: u64,
}

/// Of the round that everything is tested with.
pub const SHORT_CASES: u64 = 5000;
pub const SEED: u64 = 20_260_101;

pub fn run(root: &Path, options: &Options) -> Result<bool> {
    Ok(tally(root, options)?.failed == 0)
}

pub fn tally(root: &Path, options: &Options) -> Result<Tally> {
    let cache = cache::directory()?;
    let environment = cache::python_environment(&cache, &root.join("tests/policy/requirements.txt"))?;
    let mut rounds = command::cargo(root, &cache);
    rounds.args(["test", "--quiet", "--package", "weir-authn", "--test", "differential", "--", "--include-ignored"]);
    rounds.args(["--nocapture", "--test-threads=1"]);
    rounds.env("WEIR_POLICY_CASES", options.cases.to_string()).env("WEIR_POLICY_SEED", options.seed.to_string());
    rounds.env("WEIR_MOTO_PYTHON", environment.join("bin/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command::succeeds(&mut rounds).map(Tally::of)
}
