//! The command line.

use crate::peers::{Peer, Programs};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
pub struct Options {
    /// The table of scenarios, the goals that need more than a table, or both
    #[arg(value_enum, default_value_t = Part::Load)]
    pub part: Part,
    #[command(flatten)]
    pub programs: Programs,
    /// Where data are written; removed afterwards
    #[arg(long)]
    pub dir: PathBuf,
    /// Scenarios or parts of reach by name, comma-separated
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Peer::Weir, Peer::Nginx, Peer::Seaweedfs])]
    pub servers: Vec<Peer>,
    /// Of each round
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Writes everything to this file
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Writes the tables into the document, between its markers
    #[arg(long, requires = "document", conflicts_with_all = ["only", "short"])]
    pub write: bool,
    /// The document that `--write` writes into
    #[arg(long)]
    pub document: Option<PathBuf>,
    /// Shows in less than a minute that everything works: no errors, whatever the times
    #[arg(long)]
    pub short: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Load,
    Reach,
    All,
}

impl Part {
    pub fn has(self, part: Self) -> bool {
        self == part || self == Self::All
    }
}

/// The experiments of reach, by name.
pub const EXPERIMENTS: [&str; 7] = ["million", "versions", "uploads", "idle", "churn", "tls", "limiter"];

impl Options {
    pub fn round(&self) -> Duration {
        Duration::from_secs_f64(if self.short { 0.2 } else { self.seconds })
    }

    pub fn rounds(&self) -> u32 {
        if self.short { 1 } else { self.rounds }
    }

    pub fn chooses(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}
