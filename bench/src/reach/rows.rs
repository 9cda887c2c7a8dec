//! The lines that come out of the table of rows.

use super::{Line, Wanted};
use crate::baselines::Baseline;
use crate::row::Row;

/// The rows of the outside witness.
const WITNESSED: [&str; 9] = ["get1k", "get64k", "get1m", "get64m", "put4k", "put64k", "put1m", "put16m", "list"];

/// Garage's server CPU for a request, in microseconds, taken earlier on this kind of machine; it cannot be installed from a
/// package registry. A page of the list has 1,000 keys.
const GARAGE_CPU_US: [(&str, f64); 8] = [
    ("get1k", 177.0),
    ("get64k", 1_100.0),
    ("get1m", 3_200.0),
    ("get64m", 182_000.0),
    ("put4k", 2_500.0),
    ("put64k", 3_500.0),
    ("put1m", 9_200.0),
    ("list", 7_600.0),
];

/// Here the client is the limit, and nginx what it can take.
const CLIENT_BOUND: [(&str, f64); 2] = [("get1m", 2.5), ("get64m", 2.0)];

/// What encryption may cost, against the same without it.
const ENCRYPTED: [(&str, &str, f64); 2] = [("get1m-sse", "get1m", 1.6), ("put1m-sse", "put1m", 1.6)];

/// What a hundred statements may cost, against one.
const STATEMENTS: (&str, &str, f64) = ("get1k-policy100", "get1k-policy1", 1.1);

const GB: f64 = 1e9;

pub fn lines(rows: &[Row]) -> Vec<Line> {
    // A row with errors proves nothing.
    let find = |scenario: &str, server: &str| {
        rows.iter().find(|row| row.scenario.name == scenario && row.server == server && row.errors() == 0)
    };
    let mut lines = Vec::new();
    for name in WITNESSED {
        let (Some(weir), Some(other)) = (find(name, "weir"), find(name, "seaweedfs")) else { continue };
        lines.push(cpu(name, weir.cpu_us(), other.cpu_us(), "SeaweedFS", 2.0));
    }
    for (name, us) in GARAGE_CPU_US {
        let Some(weir) = find(name, "weir") else { continue };
        lines.push(cpu(name, weir.cpu_us(), us, "Garage's constant", 1.5));
    }
    for name in WITNESSED {
        if CLIENT_BOUND.iter().any(|(bound, _)| *bound == name) {
            continue;
        }
        let (Some(weir), Some(other)) = (find(name, "weir"), find(name, "seaweedfs")) else { continue };
        lines.push(rate(&format!("rate {name}"), weir, other, "SeaweedFS", 2.0));
    }
    for (name, _) in CLIENT_BOUND {
        let (Some(weir), Some(nginx)) = (find(name, "weir"), find(name, "nginx")) else { continue };
        lines.push(rate(&format!("rate {name}"), weir, nginx, "nginx", 0.9));
    }
    for (name, most) in CLIENT_BOUND {
        let (Some(weir), Some(nginx)) = (find(name, "weir"), find(name, "nginx")) else { continue };
        let per_gb = |row: &Row| row.cpu_us() / 1e6 / (row.scenario.bytes as f64 / GB);
        lines.push(Line::new(
            format!("cpu per GB {name}"),
            format!("{:.2} s/GB", per_gb(weir)),
            format!("{:.2} s/GB of nginx", per_gb(nginx)),
            per_gb(weir) / per_gb(nginx).max(1e-9),
            Wanted::AtMost(most),
        ));
    }
    for (name, plain, most) in ENCRYPTED {
        let (Some(weir), Some(other)) = (find(name, "weir"), find(plain, "weir")) else { continue };
        lines.push(Line::new(
            format!("cpu {name}"),
            format!("{:.0} us", weir.cpu_us()),
            format!("{:.0} us without encryption", other.cpu_us()),
            weir.cpu_us() / other.cpu_us().max(1e-9),
            Wanted::AtMost(most),
        ));
    }
    let (name, one, most) = STATEMENTS;
    if let (Some(weir), Some(other)) = (find(name, "weir"), find(one, "weir")) {
        lines.push(Line::new(
            format!("cpu {name}"),
            format!("{:.1} us", weir.cpu_us()),
            format!("{:.1} us with one statement", other.cpu_us()),
            weir.cpu_us() / other.cpu_us().max(1e-9),
            Wanted::AtMost(most),
        ));
    }
    if let (Some(weir), Some(files)) = (find("put4k64", "weir"), find("put4k64", Baseline::FilePerObject.name())) {
        lines.push(rate("put4k with 64 connections", weir, files, "a file per object", 5.0));
    }
    let alone = |baseline: Baseline| find("put64m", baseline.name());
    if let (Some(weir), Some(md5), Some(disk)) = (find("put64m", "weir"), alone(Baseline::Md5), alone(Baseline::Disk)) {
        let p50 = |row: &Row| row.median(|round| round.p50_ms);
        let larger = if p50(md5) > p50(disk) { "MD5" } else { "the disk" };
        lines.push(Line::new(
            "put64m",
            format!("{:.0} ms", p50(weir)),
            format!("{:.0} ms of {larger} (MD5 {:.0}, disk {:.0})", p50(md5).max(p50(disk)), p50(md5), p50(disk)),
            p50(weir) / p50(md5).max(p50(disk)).max(1e-9),
            Wanted::AtMost(1.3),
        ));
        if let Some(eight) = find("put64m8", "weir") {
            lines.push(hashing(eight.cpu_us(), weir.cpu_us(), md5.cpu_us()));
        }
    }
    lines
}

fn cpu(name: &str, weir_us: f64, other_us: f64, other: &str, least: f64) -> Line {
    Line::new(
        format!("cpu {name}"),
        format!("{weir_us:.0} us"),
        format!("{other_us:.0} us of {other}"),
        other_us / weir_us.max(1e-9),
        Wanted::AtLeast(least),
    )
}

fn rate(name: &str, weir: &Row, other: &Row, whose: &str, least: f64) -> Line {
    Line::new(
        name,
        format!("{:.1} req/s", weir.per_second()),
        format!("{:.1} req/s of {whose}", other.per_second()),
        weir.per_second() / other.per_second().max(1e-9),
        Wanted::AtLeast(least),
    )
}

/// From outside, hashing cannot be told from the rest. A single stream has nothing to share lanes with: what is left of its
/// CPU without MD5 is taken for the rest, and taken off that of eight streams.
fn hashing(eight_us: f64, one_us: f64, md5_us: f64) -> Line {
    let rest = (one_us - md5_us).max(0.0);
    let hashing = (eight_us - rest).max(0.0);
    Line::new(
        "hashing of eight streams",
        format!(
            "about {:.0} ms for each PUT of 64 MiB (all {:.0}, rest {:.0})",
            hashing / 1e3,
            eight_us / 1e3,
            rest / 1e3
        ),
        format!("{:.0} ms of MD5 on one core", md5_us / 1e3),
        hashing / md5_us.max(1e-9),
        Wanted::AtMost(0.5),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::row_for_test;
    use crate::scenario::SCENARIOS;

    #[test]
    fn all_names_are_scenarios() {
        let names = WITNESSED.iter().copied().chain(GARAGE_CPU_US.iter().map(|(name, _)| *name));
        let is_known = |name: &str| SCENARIOS.iter().any(|scenario| scenario.name == name);
        let encrypted = ENCRYPTED.iter().flat_map(|(name, plain, _)| [*name, *plain]);
        assert!(
            names.chain(encrypted).chain(["put64m", "put64m8", "put4k64", STATEMENTS.0, STATEMENTS.1]).all(is_known)
        );
    }

    #[test]
    fn ratios_say_how_much_better_weir_is() {
        let rows = [row_for_test("get1k", "weir", 2000.0, 50.0), row_for_test("get1k", "seaweedfs", 500.0, 200.0)];
        let text: Vec<_> = lines(&rows).iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "reach cpu get1k: measured 50 us against 200 us of SeaweedFS = 4.00 (wanted at least 2) met",
                "reach cpu get1k: measured 50 us against 177 us of Garage's constant = 3.54 (wanted at least 1.5) met",
                "reach rate get1k: measured 2000.0 req/s against 500.0 req/s of SeaweedFS = 4.00 (wanted at least 2) met",
            ]
        );
    }

    #[test]
    fn a_row_with_errors_gives_no_line() {
        let mut weir = row_for_test("get1k", "weir", 2000.0, 50.0);
        weir.rounds[0].errors = 1;
        assert_eq!(lines(&[weir, row_for_test("get1k", "seaweedfs", 500.0, 200.0)]), []);
    }

    #[test]
    fn large_bodies_are_held_against_nginx() {
        let rows = [row_for_test("get64m", "weir", 18.0, 60_000.0), row_for_test("get64m", "nginx", 20.0, 20_000.0)];
        let lines = lines(&rows);
        assert!(lines[1].to_string().ends_with("= 0.90 (wanted at least 0.9) met"), "{}", lines[1]);
        assert!(lines[2].to_string().ends_with("= 3.00 (wanted at most 2) MISSED"), "{}", lines[2]);
    }

    #[test]
    fn encryption_is_held_against_the_same_without_it() {
        let rows = [row_for_test("get1m-sse", "weir", 900.0, 480.0), row_for_test("get1m", "weir", 1000.0, 320.0)];
        let text = lines(&rows).pop().map(|line| line.to_string());
        let expected =
            "reach cpu get1m-sse: measured 480 us against 320 us without encryption = 1.50 (wanted at most 1.6) met";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn hashing_is_what_the_rest_leaves() {
        let line = hashing(80_000.0, 150_000.0, 100_000.0);
        assert!((line.ratio - 0.3).abs() < 1e-9 && line.is_met(), "{line}");
    }
}
