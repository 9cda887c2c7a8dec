//! The lines of the goal list: what was measured, against what, and whether it is reached.

pub mod churn;
pub mod idle;
pub mod limiter;
pub mod million;
pub mod rows;
pub mod tls;
pub mod uploads;
pub mod versions;

use serde_json::{Value, json};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    /// Both sides of the ratio, with their units.
    pub measured: String,
    pub against: String,
    pub ratio: f64,
    pub wanted: Wanted,
}

impl Line {
    pub fn new(
        name: impl Into<String>,
        measured: impl Into<String>,
        against: impl Into<String>,
        ratio: f64,
        wanted: Wanted,
    ) -> Self {
        Self { name: name.into(), measured: measured.into(), against: against.into(), ratio, wanted }
    }

    pub fn is_met(&self) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => self.ratio >= least,
            Wanted::AtMost(most) => self.ratio <= most,
        }
    }

    pub fn json(&self) -> Value {
        let (side, bound) = match self.wanted {
            Wanted::AtLeast(bound) => ("at least", bound),
            Wanted::AtMost(bound) => ("at most", bound),
        };
        json!({
            "name": self.name,
            "measured": self.measured,
            "against": self.against,
            "ratio": self.ratio,
            "wanted": format!("{side} {bound}"),
            "met": self.is_met(),
        })
    }

    pub fn cells(&self) -> [String; 6] {
        let ratio = format!("{:.2}", self.ratio);
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        [&self.name, &self.measured, &self.against, &ratio, &self.wanted.to_string(), verdict].map(ToString::to_string)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, measured, against, ratio, wanted, verdict] = self.cells();
        write!(f, "reach {name}: measured {measured} against {against} = {ratio} (wanted {wanted}) {verdict}")
    }
}

pub fn markdown(lines: &[Line]) -> String {
    let mut text = String::from("| | measured | against | ratio | wanted | |\n|---|---|---|---|---|---|\n");
    for line in lines {
        text += &format!("| {} |\n", line.cells().join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_both_sides_and_the_verdict() {
        let line = Line::new("rate get1k", "20 req/s", "5 req/s of x", 4.0, Wanted::AtLeast(2.0));
        assert_eq!(
            line.to_string(),
            "reach rate get1k: measured 20 req/s against 5 req/s of x = 4.00 (wanted at least 2) met"
        );
        let line = Line::new("memory", "200 MiB", "150 MiB", 200.0 / 150.0, Wanted::AtMost(1.0));
        assert_eq!(line.to_string(), "reach memory: measured 200 MiB against 150 MiB = 1.33 (wanted at most 1) MISSED");
        assert!(markdown(&[line]).ends_with("| memory | 200 MiB | 150 MiB | 1.33 | at most 1 | MISSED |\n"));
    }
}
