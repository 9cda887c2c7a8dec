//! Starting other programs. Nothing ever waits for a person: standard input is empty.

use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub fn new(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    command
}

/// Cargo for a sub-build. It has a target directory of its own, because the one that holds this running program is
/// locked by whoever started it, and because a clone should stay small.
pub fn cargo(root: &Path, cache: &Path) -> Command {
    let mut command = new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), root);
    command.env("CARGO_TARGET_DIR", target_directory(cache));
    command
}

pub fn target_directory(cache: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache.join("target"), Into::into)
}

/// Runs to the end with the caller's output. True: exit status 0.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("starting {:?}", command.get_program()))?;
    Ok(status.success())
}

/// Runs to the end, shows each line of standard output as it comes and returns them all.
pub fn show_and_keep(command: &mut Command) -> Result<(bool, Vec<String>)> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
    let stdout = child.stdout.take().context("standard output was asked for")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        lines.push(line);
    }
    Ok((child.wait()?.success(), lines))
}

/// Runs to the end and returns standard output; a failure is an error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {:?}", command.get_program()))?;
    anyhow::ensure!(
        output.status.success(),
        "{:?} failed: {}",
        command.get_program(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// `PATH` with a folder before all others.
pub fn path_with(first: &Path) -> Result<OsString> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from(first)).chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).context("a folder of PATH holds a colon")
}
