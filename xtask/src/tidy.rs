//! `cargo xtask tidy`: the rules of the house that no compiler checks. Each message names file and line and says what
//! to do instead. The rules are in one file per subject below `tidy/`.

mod documents;
mod imports;
mod sources;
mod text;

use crate::command;
use anyhow::{Context, Result};
use std::path::Path;

/// One broken rule.
#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    /// From 1; 0: the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

pub fn run(root: &Path) -> Result<bool> {
    let files = Files::read(root)?;
    let mut findings = imports::check(&metadata(root)?)?;
    findings.extend(sources::check(&files));
    findings.extend(text::check(&files));
    findings.extend(documents::check(&files));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        match finding.line {
            0 => println!("{}: {}", finding.path, finding.message),
            line => println!("{}:{line}: {}", finding.path, finding.message),
        }
    }
    println!("tidy: {} files, {} findings", files.paths.len(), findings.len());
    Ok(findings.is_empty())
}

fn metadata(root: &Path) -> Result<serde_json::Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let json = command::output(command::new(cargo, root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    Ok(serde_json::from_str(&json)?)
}

/// The files that a clone would have, and those that are about to be added.
struct Files {
    paths: Vec<String>,
    /// Those of `paths` that are text.
    texts: Vec<(String, String)>,
}

impl Files {
    fn read(root: &Path) -> Result<Self> {
        // A clone that belongs to another user is still to be checked.
        let list = command::output(command::new("git", root).args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))
        .context("tidy checks the files that git knows")?;
        let mut files = Self { paths: Vec::new(), texts: Vec::new() };
        for path in list.split_terminator('\0') {
            let Ok(bytes) = std::fs::read(root.join(path)) else {
                continue; // deleted, and not yet staged
            };
            files.paths.push(path.to_owned());
            if let Ok(text) = String::from_utf8(bytes) {
                files.texts.push((path.to_owned(), text));
            }
        }
        anyhow::ensure!(!files.texts.is_empty(), "git lists no file");
        Ok(files)
    }

    #[cfg(test)]
    fn of(texts: &[(&str, &str)]) -> Self {
        Self {
            paths: texts.iter().map(|(path, _)| (*path).to_owned()).collect(),
            texts: texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
        }
    }

    fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| (path.as_str(), text.as_str()))
    }
}
