//! `cargo xtask crash`: builds the server and the crash rounds, runs them, and passes on their verdict. With `--power-cut`
//! the rounds are those on real file systems, which need root, FUSE, loop devices and `qemu-storage-daemon`.

use crate::{cache, command};
use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Default)]
pub struct Options {
    /// Few rounds, for every change
    #[arg(long)]
    pub short: bool,
    /// The seed that gives the same keys, sizes and moments again
    #[arg(long)]
    pub seed: Option<u64>,
    /// How often the real server is killed
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Only the simulated power cuts (twin) or only the real server (kill)
    #[arg(long)]
    pub part: Option<String>,
    /// Cut the power of real file systems under the real server, and let their disks fail, fill up and slow down
    #[arg(long)]
    pub power_cut: bool,
    /// Power cuts of each file system [default: 200, short: 10]
    #[arg(long)]
    pub cuts: Option<usize>,
    /// Only ext4 or only xfs [default: both, short: ext4]
    #[arg(long)]
    pub file_system: Option<String>,
    /// Let the disk forget so many flushes that it said were done: the check must find losses
    #[arg(long)]
    pub lying_flushes: Option<usize>,
}

pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let cache = cache::directory()?;
    let server = build_server(root, &cache)?;
    let built = command::succeeds(command::cargo(root, &cache).args(["build", "--quiet", "--package", "weir-crash"]))?;
    anyhow::ensure!(built, "weir-crash does not build");

    let mut rounds = command::new(command::target_directory(&cache).join("debug/crash"), root);
    rounds.env("WEIR_BINARY", server);
    if options.short {
        rounds.arg("--short");
    }
    if let Some(seed) = options.seed {
        rounds.args(["--seed", &seed.to_string()]);
    }
    if let Some(count) = options.rounds {
        rounds.args(["--rounds", &count.to_string()]);
    }
    if let Some(part) = &options.part {
        rounds.args(["--part", part]);
    }
    if options.power_cut {
        for line in cache::debian_programs(root, &cache::POWER_CUT_PROGRAMS) {
            println!("{line}");
        }
        rounds.arg("--power-cut");
    }
    if let Some(cuts) = options.cuts {
        rounds.args(["--cuts", &cuts.to_string()]);
    }
    if let Some(file_system) = &options.file_system {
        rounds.args(["--file-system", file_system]);
    }
    if let Some(flushes) = options.lying_flushes {
        rounds.args(["--lying-flushes", &flushes.to_string()]);
    }
    let (succeeded, lines) = command::show_and_keep(&mut rounds)?;
    if options.short && succeeded && lines.last().is_some_and(|line| line.starts_with("power cut: skipped")) {
        return Ok(true);
    }
    let verdict = lines.last().and_then(|line| parse_verdict(line)).context("the last line is not the verdict")?;
    Ok(succeeded && verdict.acknowledged > 0 && verdict.lost == 0 && verdict.wrong == 0)
}

/// The debug binary `weir`, freshly built.
pub fn build_server(root: &Path, cache: &Path) -> Result<PathBuf> {
    let built = command::succeeds(command::cargo(root, cache).args(["build", "--quiet", "--package", "weir"]))?;
    anyhow::ensure!(built, "weir does not build");
    Ok(command::target_directory(cache).join("debug/weir"))
}

#[derive(Debug, PartialEq)]
struct Verdict {
    acknowledged: u64,
    lost: u64,
    wrong: u64,
}

fn parse_verdict(line: &str) -> Option<Verdict> {
    let (acknowledged, rest) = line.strip_prefix("crash: ")?.split_once(" acknowledged, lost ")?;
    let (lost, wrong) = rest.split_once(", wrong ")?;
    Some(Verdict { acknowledged: acknowledged.parse().ok()?, lost: lost.parse().ok()?, wrong: wrong.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_read_and_nothing_else_is() {
        let verdict = Verdict { acknowledged: 812, lost: 0, wrong: 3 };
        assert_eq!(parse_verdict("crash: 812 acknowledged, lost 0, wrong 3"), Some(verdict));
        assert_eq!(parse_verdict("crash: 812 acknowledged, lost 0"), None);
        assert_eq!(parse_verdict("crash: many acknowledged, lost 0, wrong 0"), None);
        assert_eq!(parse_verdict(""), None);
    }
}
