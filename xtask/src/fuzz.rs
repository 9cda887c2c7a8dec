//! `cargo xtask fuzz`: builds the targets of `fuzz/` with libFuzzer's counters and lets each run for a while. Counters are a
//! pass of the stable compiler; there is no sanitizer, as there is no `unsafe` to watch. The kept seeds also run without any
//! of this, in the tests of the crates that own the targets.

use crate::{cache, command};
use anyhow::{Context, Result};
use clap::Args;
use std::path::Path;

/// The build is for this one, named so that build scripts stay without counters.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

#[derive(Args)]
pub struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// Only this target
    #[arg(long)]
    pub target: Option<String>,
}

pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let cache = cache::directory()?;
    let fuzz = root.join("fuzz");
    let all = targets(&std::fs::read_to_string(fuzz.join("Cargo.toml")).context("reading fuzz/Cargo.toml")?);
    let chosen: Vec<&String> =
        all.iter().filter(|name| options.target.as_ref().is_none_or(|wanted| wanted == *name)).collect();
    anyhow::ensure!(!chosen.is_empty(), "the targets are {}", all.join(", "));

    // A target directory of its own: these flags would have everything else built again.
    let binaries = cache.join("fuzz-target");
    let mut build = command::cargo(&fuzz, &cache);
    build.env("CARGO_TARGET_DIR", &binaries).env("RUSTFLAGS", FLAGS);
    build.args(["build", "--quiet", "--release", "--locked", "--target", TRIPLE]);
    anyhow::ensure!(command::succeeds(&mut build)?, "the fuzz targets do not build");

    let mut failed = Vec::new();
    for name in &chosen {
        println!("\n== {name}");
        // What libFuzzer finds new goes into the first folder and stays in the cache.
        let corpus = cache.join("fuzz-corpus").join(name.as_str());
        std::fs::create_dir_all(&corpus)?;
        let mut round = command::new(binaries.join(TRIPLE).join("release").join(name.as_str()), &cache);
        round.arg(format!("-max_total_time={}", options.seconds));
        round.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1", "-verbosity=0"]);
        round
            .arg(format!("-artifact_prefix={}-", corpus.display()))
            .arg(&corpus)
            .arg(fuzz.join("seeds").join(name.as_str()));
        if !command::succeeds(&mut round)? {
            failed.push(name.as_str());
        }
    }
    match failed[..] {
        [] => println!("\n{} targets, nothing found", chosen.len()),
        _ => println!("\nfound something: {}", failed.join(", ")),
    }
    Ok(failed.is_empty())
}

/// The names of a manifest's programs.
fn targets(manifest: &str) -> Vec<String> {
    let programs = manifest.split("[[bin]]").skip(1);
    programs.filter_map(|program| Some(program.split("name = \"").nth(1)?.split('"').next()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let targets = targets(&std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest"));
        assert!(targets.len() >= 13, "{targets:?}");
        for target in targets {
            assert!(fuzz.join("seeds").join(&target).is_dir(), "{target} has no seeds");
            assert!(fuzz.join("fuzz_targets").join(format!("{target}.rs")).is_file(), "{target} has no source");
        }
    }
}
