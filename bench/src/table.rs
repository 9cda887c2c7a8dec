//! The table of rows, for a terminal and for a document.

use crate::row::Row;

const COLUMNS: [&str; 14] = [
    "scenario",
    "server",
    "conn",
    "req/s",
    "MiB/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "cpu us/req",
    "client us/req",
    "client core",
    "RSS MiB",
    "disk KiB/req",
    "against weir",
];

/// One line of cells for each row. Rows of a scenario with Weir say how it does beside them.
pub fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    rows.iter().map(|row| cells_of(row, rows)).collect()
}

pub fn cells_of(row: &Row, rows: &[Row]) -> Vec<String> {
    let weir = rows.iter().find(|other| other.scenario.name == row.scenario.name && other.server == "weir");
    let mut cells = vec![row.scenario.name.to_owned(), row.server.clone(), row.scenario.connections.to_string()];
    cells.extend([
        short(row.per_second()),
        short(row.median(|round| round.mib_per_second)),
        short(row.median(|round| round.p50_ms)),
        short(row.median(|round| round.p99_ms)),
        short(row.median(|round| round.p999_ms)),
        short(row.cpu_us()),
        short(row.median(|round| round.client_us)),
        format!("{:.0} %", 100.0 * row.median(|round| round.client_share)),
        short(row.median(|round| round.rss_mib)),
        short(row.median(|round| round.written_kib)),
    ]);
    cells.push(match weir {
        _ if row.errors() > 0 => format!("{} ERRORS", row.errors()),
        Some(weir) if row.server != "weir" => {
            format!("rate {} cpu {}", times(weir.per_second(), row.per_second()), times(row.cpu_us(), weir.cpu_us()))
        }
        _ => String::new(),
    });
    cells
}

/// Nothing divided by nothing says nothing: a round was shorter than the clock of `/proc` can see.
fn times(more: f64, less: f64) -> String {
    if less > 0.0 { format!("x{:.2}", more / less) } else { "-".to_owned() }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

const WIDTHS: [usize; 14] = [11, 12, 5, 9, 9, 9, 9, 9, 11, 14, 12, 8, 13, 24];

pub fn terminal_head() -> String {
    terminal_line(&COLUMNS.map(str::to_owned))
}

pub fn terminal_line(cells: &[String]) -> String {
    let padded = cells.iter().zip(WIDTHS).enumerate().map(|(column, (cell, width))| match column {
        0 | 1 => format!("{cell:<width$}"),
        13 => format!("  {cell}"),
        _ => format!("{cell:>width$}"),
    });
    padded.collect::<String>().trim_end().to_owned()
}

pub fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&COLUMNS.map(str::to_owned));
    text += &format!("|{}\n", "---|".repeat(COLUMNS.len()));
    cells(rows).iter().for_each(|cells| text += &line(cells));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::row_for_test;

    #[test]
    fn a_peer_stands_beside_weir() {
        let rows = [row_for_test("get1k", "weir", 2000.0, 50.0), row_for_test("get1k", "seaweedfs", 500.0, 200.0)];
        assert_eq!(cells_of(&rows[0], &rows).last().unwrap(), "");
        assert_eq!(cells_of(&rows[1], &rows).last().unwrap(), "rate x4.00 cpu x4.00");
        let unseen = [row_for_test("get1k", "weir", 2000.0, 0.0), row_for_test("get1k", "seaweedfs", 500.0, 0.0)];
        assert_eq!(cells_of(&unseen[1], &unseen).last().unwrap(), "rate x4.00 cpu -");
        let text = markdown(&rows);
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("| get1k | seaweedfs | 32 | 500 |"), "{text}");
    }

    #[test]
    fn errors_take_the_place_of_ratios() {
        let mut row = row_for_test("get1k", "seaweedfs", 500.0, 200.0);
        row.rounds[0].errors = 3;
        assert_eq!(cells_of(&row, &[]).last().unwrap(), "3 ERRORS");
    }

    #[test]
    fn three_digits() {
        assert_eq!([0.1234, 12.34, 1234.5].map(short), ["0.12", "12.3", "1234"]);
    }
}
