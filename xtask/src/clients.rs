//! `cargo xtask clients`: the clients' operations alone, and the table of them in `docs/clients.md`.

use crate::test::Tally;
use crate::{cache, command, crash};
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Options {
    /// Write docs/clients.md instead of comparing it
    #[arg(long)]
    write: bool,
}

/// Clients of one year, of which a Python environment can hold one each.
pub struct Era {
    pub name: &'static str,
    pub requirements: &'static str,
    /// Which tests its clients run; none: all.
    tests: &'static [&'static str],
}

pub const TODAY: Era = Era { name: "today", requirements: "requirements.txt", tests: &[] };

/// Those of before 2025 send no checksums of their own accord.
pub const EARLIER: [Era; 2] = [
    Era { name: "2024", requirements: "requirements-2024.txt", tests: &["test_boto3.py", "test_https.py"] },
    Era { name: "2023", requirements: "requirements-2023.txt", tests: &["test_boto3.py", "test_https.py"] },
];

/// What one run of the client tests needs and collects.
pub struct Session {
    tests: PathBuf,
    document: PathBuf,
    cache: PathBuf,
    server: PathBuf,
    results: PathBuf,
}

impl Session {
    pub fn new(root: &Path, cache: &Path, server: &Path) -> Self {
        Self {
            tests: root.join("tests/s3-compat"),
            document: root.join("docs/clients.md"),
            cache: cache.to_owned(),
            server: server.to_owned(),
            results: cache.join(format!("clients-{}.jsonl", std::process::id())),
        }
    }

    pub fn environment(&self, era: &Era) -> Result<PathBuf> {
        cache::python_environment(&self.cache, &self.tests.join(era.requirements))
    }

    pub fn pytest(&self, era: &Era, arguments: &[&str]) -> Result<Tally> {
        let environment = self.environment(era)?;
        let mut pytest = command::new(environment.join("bin/python"), &self.tests);
        pytest.args(["-m", "pytest", "-q", "-rfEs", "--tb=short", "-p", "no:cacheprovider"]);
        pytest.args(era.tests).args(arguments);
        pytest.env("WEIR_BINARY", &self.server).env("WEIR_MATRIX", &self.results);
        pytest.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        pytest.env("PATH", command::path_with(&environment.join("bin"))?);
        if let Some(modules) = cache::node_modules(&self.cache, &self.tests.join("issuer"))? {
            pytest.env("WEIR_NODE_MODULES", modules);
        }
        let (succeeded, lines) = command::show_and_keep(&mut pytest)?;
        Ok(Tally::of_pytest(succeeded, &lines))
    }

    /// Prints the table of all that ran so far, and compares or writes the document.
    pub fn matrix(&self, write: bool) -> Result<bool> {
        let mut matrix = command::new(self.environment(&TODAY)?.join("bin/python"), &self.tests);
        matrix.arg("matrix.py").arg(&self.results).arg(&self.document).env("PYTHONDONTWRITEBYTECODE", "1");
        if write {
            matrix.arg("--write");
        }
        command::succeeds(&mut matrix)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It is there when a test of the matrix ran.
        let _ = std::fs::remove_file(&self.results);
    }
}

pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let cache = cache::directory()?;
    for line in cache::debian_programs(root, &cache::DEBIAN_CLIENTS) {
        println!("{line}");
    }
    let session = Session::new(root, &cache, &crash::build_server(root, &cache)?);
    let mut passed = true;
    for era in std::iter::once(&TODAY).chain(&EARLIER) {
        passed &= session.pytest(era, &["-m", "operation"])?.failed == 0;
    }
    Ok(session.matrix(options.write)? && passed)
}
