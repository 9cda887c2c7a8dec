//! `cargo xtask bigtree`: the show with real data. Too long for every change, so it is a verb of its own.

use crate::{cache, command, crash};
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Options {
    /// The tree to send; default: the Rust toolchain
    #[arg(long)]
    tree: Option<PathBuf>,
    /// A folder for the copies and the server's data; needs about six times the tree
    #[arg(long)]
    work_dir: Option<PathBuf>,
}

pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let cache = cache::directory()?;
    for line in cache::debian_programs(root, &cache::DEBIAN_CLIENTS) {
        println!("{line}");
    }
    let environment = cache::python_environment(&cache, &root.join("tests/s3-compat/requirements.txt"))?;
    let server = crash::build_server(root, &cache)?;
    let mut show = command::new(environment.join("bin/python"), root);
    show.arg("tests/s3-compat/bigtree.py").env("WEIR_BINARY", server).env("PYTHONUNBUFFERED", "1");
    show.env("PATH", command::path_with(&environment.join("bin"))?);
    if let Some(tree) = &options.tree {
        show.arg("--tree").arg(tree);
    }
    if let Some(directory) = &options.work_dir {
        show.arg("--work-dir").arg(directory);
    }
    command::succeeds(&mut show)
}
