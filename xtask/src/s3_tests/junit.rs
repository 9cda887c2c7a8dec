//! pytest's JUnit report, as far as it is needed: what became of each test. pytest escapes all text in it, so that every
//! `<` is a tag's.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Outcomes by id: `test_s3.py::test_x`.
pub fn parse(report: &str) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    for case in report.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let (Some(class), Some(name)) = (attribute(case, "classname"), attribute(case, "name")) else { continue };
        let file = class.rsplit('.').next().unwrap_or("").to_owned();
        let outcome = if case.contains("<failure") || case.contains("<error") {
            Outcome::Failed
        } else if case.contains("<skipped") {
            Outcome::Skipped
        } else {
            Outcome::Passed
        };
        // A failed clean-up is a case of its own, and counts.
        let known = outcomes.entry(format!("{file}.py::{name}")).or_insert(outcome);
        if outcome == Outcome::Failed {
            *known = outcome;
        }
    }
    outcomes
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let before = if tag.starts_with(name) { format!("{name}=\"") } else { format!(" {name}=\"") };
    let value = tag.split_once(&before)?.1.split_once('"')?.0;
    Some(value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_apart() {
        let report = r#"<testsuites><testsuite><testcase classname="s3tests.functional.test_s3" name="test_a" time="1" />
            <testcase classname="s3tests.functional.test_s3" name="test_b[x-1]" time="1"><failure message="m">t &lt;error
            </failure></testcase><testcase classname="f.test_headers" name="test_c"><skipped message="s" /></testcase>
            <testcase classname="s3tests.functional.test_s3" name="test_d" time="1" />
            <testcase classname="s3tests.functional.test_s3" name="test_d" time="1"><error message="teardown" /></testcase>
            </testsuite></testsuites>"#;
        let outcomes = parse(report);
        assert_eq!(outcomes["test_s3.py::test_a"], Outcome::Passed);
        assert_eq!(outcomes["test_s3.py::test_b[x-1]"], Outcome::Failed);
        assert_eq!(outcomes["test_headers.py::test_c"], Outcome::Skipped);
        assert_eq!(outcomes["test_s3.py::test_d"], Outcome::Failed);
        assert_eq!(outcomes.len(), 4);
    }
}
