//! `cargo xtask test`: everything that must pass before a change is merged, for people and for CI alike. It installs
//! what it needs, goes on after a failure, and ends with one line `N passed, N failed`.

use crate::clients::{EARLIER, Session, TODAY};
use crate::{cache, command, crash, policy_diff, s3_tests, tidy, watchdog};
use anyhow::Result;
use std::ops::AddAssign;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Several times what the longest step takes on a cold cache and a slow machine.
const STEP_LIMIT: Duration = Duration::from_secs(40 * 60);

const CARGO_DENY_VERSION: &str = "0.20.2";

#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Tally {
    /// A step that has no tests of its own counts as one.
    pub fn of(succeeded: bool) -> Self {
        Self { passed: u64::from(succeeded), failed: u64::from(!succeeded), skipped: 0 }
    }

    pub fn of_pytest(succeeded: bool, lines: &[String]) -> Self {
        let mut tally = lines.iter().rev().find_map(|line| parse_pytest_summary(line)).unwrap_or_default();
        if !succeeded && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }

    fn verdict(self) -> String {
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }
}

pub fn run(root: &Path) -> Result<bool> {
    let cache = cache::directory()?;
    let mut total = Tally::default();
    let mut steps = Steps { total: &mut total, times: Vec::new() };

    let cargo = |arguments: &[&str]| command::succeeds(command::cargo(root, &cache).args(arguments)).map(Tally::of);
    steps.take("format", || cargo(&["fmt", "--all", "--check"]));
    steps.take("clippy", || cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]));
    steps.take("tidy", || tidy::run(root).map(Tally::of));
    steps.take("dependencies", || dependencies(root, &cache));
    steps.take("cargo test", || cargo_test(root, &cache));
    steps.take("policies beside iam-rs and moto", || {
        let options = policy_diff::Options { cases: policy_diff::SHORT_CASES, seed: policy_diff::SEED };
        policy_diff::tally(root, &options)
    });

    let mut server = None;
    steps.take("build weir", || {
        server = Some(crash::build_server(root, &cache)?);
        Ok(Tally::of(true))
    });
    match server {
        Some(server) => steps_with_server(root, &cache, &server, &mut steps),
        None => println!("\nweir does not build: no client tests, no crash rounds, no README commands"),
    }

    println!();
    for (name, time) in &steps.times {
        println!("{:>6} s  {name}", time.as_secs());
    }
    println!("{}", total.verdict());
    Ok(total.failed == 0)
}

fn steps_with_server(root: &Path, cache: &Path, server: &Path, steps: &mut Steps<'_>) {
    let session = Session::new(root, cache, server);
    let mut ready = false;
    steps.take("clients", || {
        for line in cache::debian_programs(root, &cache::DEBIAN_CLIENTS) {
            println!("{line}");
        }
        session.environment(&TODAY)?;
        ready = true;
        Ok(Tally::of(true))
    });
    if !ready {
        println!("\nno Python environment: no client tests, no README commands");
        return;
    }
    steps.take("client tests", || session.pytest(&TODAY, &["--ignore=test_readme.py"]));
    for era in &EARLIER {
        steps.take(&format!("client tests, clients of {}", era.name), || session.pytest(era, &[]));
    }
    steps.take("client matrix", || session.matrix(false).map(Tally::of));
    steps.take("crash", || crash::run(root, &crash::Options { short: true, ..Default::default() }).map(Tally::of));
    steps.take("power cuts", || {
        let options = crash::Options { short: true, power_cut: true, ..Default::default() };
        crash::run(root, &options).map(Tally::of)
    });
    match std::env::var_os("WEIR_S3_TESTS") {
        Some(suite) => steps.take("s3-tests", || {
            let options = s3_tests::Options {
                suite: suite.into(),
                workers: 2,
                all: false,
                only: None,
                https: false,
                publish: false,
            };
            s3_tests::run(root, &options).map(Tally::of)
        }),
        None => println!("\n== s3-tests: skipped, as WEIR_S3_TESTS names no checkout of github.com/ceph/s3-tests"),
    }
    steps.take("README commands", || session.pytest(&TODAY, &["test_readme.py"]));
}

/// Runs steps one after the other and keeps their results and times.
struct Steps<'a> {
    total: &'a mut Tally,
    times: Vec<(String, Duration)>,
}

impl Steps<'_> {
    fn take(&mut self, name: &str, step: impl FnOnce() -> Result<Tally>) {
        println!("\n== {name}");
        let start = Instant::now();
        let (tally, was_ended) = watchdog::guard(name, STEP_LIMIT, step);
        let mut tally = tally.unwrap_or_else(|error| {
            println!("{error:#}");
            Tally::of(false)
        });
        if was_ended && tally.failed == 0 {
            tally.failed = 1;
        }
        let time = start.elapsed();
        println!("== {name}: {} in {} s", if tally.failed == 0 { "passed" } else { "FAILED" }, time.as_secs());
        *self.total += tally;
        self.times.push((name.to_owned(), time));
    }
}

fn dependencies(root: &Path, cache: &Path) -> Result<Tally> {
    let deny = cache::cargo_tool(root, cache, "cargo-deny", CARGO_DENY_VERSION)?;
    let mut check = command::new(deny, root);
    check.args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    // The fuzz targets have a workspace and a lock of their own, which nothing else here reads.
    let mut fuzz = command::cargo(root, cache);
    fuzz.args(["metadata", "--locked", "--format-version", "1", "--manifest-path", "fuzz/Cargo.toml"]);
    fuzz.stdout(Stdio::null());
    Ok(Tally::of(command::succeeds(&mut check)? & command::succeeds(&mut fuzz)?))
}

fn cargo_test(root: &Path, cache: &Path) -> Result<Tally> {
    let mut tests = command::cargo(root, cache);
    tests.args(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    let (succeeded, lines) = command::show_and_keep(&mut tests)?;
    let mut tally = Tally::default();
    for result in lines.iter().filter_map(|line| parse_cargo_result(line)) {
        tally += result;
    }
    // A test binary that does not build or is killed prints no result line.
    if !succeeded && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
fn parse_cargo_result(line: &str) -> Option<Tally> {
    let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut tally = Tally::default();
    for item in counts.split("; ") {
        match item.split_once(' ') {
            Some((count, "passed")) => tally.passed = count.parse().ok()?,
            Some((count, "failed")) => tally.failed = count.parse().ok()?,
            Some((count, "ignored")) => tally.skipped = count.parse().ok()?,
            _ => {}
        }
    }
    Some(tally)
}

/// `3 failed, 40 passed, 2 skipped, 1 error in 12.34s (0:00:12)`
fn parse_pytest_summary(line: &str) -> Option<Tally> {
    let (counts, time) = line.trim_matches([' ', '=']).rsplit_once(" in ")?;
    if !time.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let mut tally = Tally::default();
    let mut known = false;
    for item in counts.split(", ") {
        let (count, word) = item.split_once(' ')?;
        let count: u64 = count.parse().ok()?;
        match word {
            "passed" | "xfailed" => tally.passed += count,
            // A test that passes although it is expected to fail has lost its mark's reason.
            "failed" | "error" | "errors" | "xpassed" => tally.failed += count,
            "skipped" => tally.skipped += count,
            _ => continue,
        }
        known = true;
    }
    known.then_some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn cargo_results_are_counted() {
        let ok = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(parse_cargo_result(ok), Some(tally(12, 0, 1)));
        let failed = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(parse_cargo_result(failed), Some(tally(3, 2, 0)));
        assert_eq!(parse_cargo_result("test object::put ... ok"), None);
    }

    #[test]
    fn pytest_summaries_are_counted() {
        assert_eq!(parse_pytest_summary("40 passed in 12.34s"), Some(tally(40, 0, 0)));
        let mixed = "== 3 failed, 40 passed, 2 skipped, 4 deselected, 1 error in 62.1s (0:01:02) ==";
        assert_eq!(parse_pytest_summary(mixed), Some(tally(40, 4, 2)));
        assert_eq!(parse_pytest_summary("no tests ran in 0.01s"), None);
        assert_eq!(parse_pytest_summary("1 object in bucket"), None);
        assert_eq!(parse_pytest_summary("E   AssertionError: 3 keys in 2"), None);
    }

    #[test]
    fn the_last_line_names_skips_only_when_there_are_some() {
        assert_eq!(tally(5, 0, 0).verdict(), "5 passed, 0 failed");
        assert_eq!(tally(5, 1, 2).verdict(), "5 passed, 1 failed, 2 skipped");
    }
}
