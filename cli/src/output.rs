//! What goes to standard output. A reader that has gone away (`weir key list | head -1`) is no error.

use serde_json::Value;
use std::io::Write;

pub fn line(text: impl std::fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

pub fn line_of(text: &dyn std::fmt::Display) {
    line(text);
}

/// To standard error, where standard output is for something else.
pub fn error_line(text: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

pub fn json(value: &Value) {
    line(format_args!("{value:#}"));
}

/// What was made: all of it, or its name.
pub fn made(made: &Value, as_json: bool) {
    if as_json { json(made) } else { line(format_args!("created {}", cell(&made["name"]))) }
}

/// A table of these members of each record, under these headings.
pub fn listing(records: &Value, columns: &[(&str, &str)]) {
    let heading = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let row = |record: &Value| columns.iter().map(|(_, member)| cell(&record[*member])).collect();
    let rows = records.as_array().into_iter().flatten().map(row);
    table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
}

/// Lists with commas, and a dash for nothing.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        _ => String::new(),
    };
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Columns as wide as their widest cell; the first row is the heading.
pub fn table(rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
