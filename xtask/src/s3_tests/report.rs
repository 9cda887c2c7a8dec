//! What a run says: the table by group, what is not as the lists have it, and the page for people.

use super::REVISION;
use super::junit::Outcome;
use super::lists::Lists;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The groups that the total is of, in the table's order.
const GROUPS: [&str; 24] = [
    "list",
    "bucket",
    "object",
    "range",
    "conditional",
    "delete-multi",
    "multipart",
    "copy",
    "presigned",
    "post-object",
    "attributes",
    "versioning",
    "object-lock",
    "tagging",
    "lifecycle",
    "cors",
    "sse",
    "headers",
    "headers-sigv2",
    "acl",
    "ownership",
    "policy",
    "iam",
    "sts",
];

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: usize,
    total: usize,
    out_of_scope: usize,
}

#[derive(Debug, Default)]
pub struct Summary {
    groups: BTreeMap<String, Count>,
    /// In scope, failed, and not known to.
    failed: Vec<String>,
    /// Known to fail, and passed.
    mended: Vec<String>,
    /// In scope, and not in the report.
    missing: Vec<String>,
    /// Out of scope, and passed.
    promotable: Vec<String>,
}

impl Summary {
    pub fn of(lists: &Lists, results: &BTreeMap<String, Outcome>) -> Self {
        let mut summary = Self::default();
        for (id, group) in &lists.in_scope {
            let count = summary.groups.entry(group.clone()).or_default();
            count.total += 1;
            let known = lists.known_failures.contains_key(id);
            match results.get(id) {
                Some(Outcome::Passed) => {
                    count.passed += 1;
                    if known {
                        summary.mended.push(id.clone());
                    }
                }
                Some(Outcome::Failed | Outcome::Skipped) if known => {}
                Some(Outcome::Failed | Outcome::Skipped) => summary.failed.push(id.clone()),
                None => summary.missing.push(id.clone()),
            }
        }
        for (id, (group, _)) in &lists.out_of_scope {
            summary.groups.entry(group.clone()).or_default().out_of_scope += 1;
            if results.get(id) == Some(&Outcome::Passed) {
                summary.promotable.push(id.clone());
            }
        }
        summary
    }

    pub fn table(&self) -> String {
        let mut text = "| group | passed | in scope | out of scope |\n|---|---|---|---|\n".to_owned();
        let mut line = |name: &str, count: Count| {
            let Count { passed, total, out_of_scope } = count;
            writeln!(text, "| {name} | {passed} | {total} | {out_of_scope} |").expect("a string takes all text");
        };
        for group in GROUPS {
            line(group, self.of_group(group));
        }
        line("all of these", self.total());
        text
    }

    fn of_group(&self, group: &str) -> Count {
        self.groups.get(group).copied().unwrap_or_default()
    }

    fn total(&self) -> Count {
        GROUPS.iter().map(|group| self.of_group(group)).fold(Count::default(), |all, count| Count {
            passed: all.passed + count.passed,
            total: all.total + count.total,
            out_of_scope: all.out_of_scope + count.out_of_scope,
        })
    }

    pub fn complaints(&self) -> Vec<String> {
        let say = |ids: &[String], what: &str| ids.iter().map(|id| format!("{id} {what}")).collect::<Vec<_>>();
        [
            say(&self.failed, "failed, and is not a known failure"),
            say(&self.mended, "passed: take it off the known failures"),
            say(&self.missing, "did not run"),
        ]
        .concat()
    }

    pub fn promotable(&self) -> Vec<String> {
        self.promotable.iter().map(|id| format!("{id} passed, and is out of scope")).collect()
    }

    pub fn verdict(&self) -> String {
        let Count { passed, total, .. } = self.total();
        let permille = passed * 1000 / total.max(1);
        format!("s3-tests: {passed} of {total} in scope passed ({}.{} %)", permille / 10, permille % 10)
    }

    /// `docs/s3-conformance.md`.
    pub fn document(&self, lists: &Lists) -> String {
        let mut text = format!(
            "# S3 conformance\n\n\
             Written by `cargo xtask s3-tests --suite DIR --publish`: the suite of ceph/s3-tests at revision `{}`, unmodified, over\n\
             HTTP against the debug binary. Every one of its tests stands in a list under `tests/s3-tests/`.\n\n{}\n{}\n\n\
             The server runs with `--signature-v2 all`, because the suite signs all of its forms that way and tests it, and\n\
             with `--test-mode --test-ssec-plain-http`, because it sends customers' keys over plain HTTP.\n\n\
             Most tests of STS, and one of IAM, want ARNs without an account (`arn:aws:iam:::role/NAME`) and an issuer\n\
             without audiences, as Ceph has them outside of its accounts. They run in an account that only\n\
             `--test-mode --test-account-without-number` makes, with an issuer that signs what Keycloak would.\n\n\
             ## In scope and failing\n\n| test | reason |\n|---|---|\n",
            &REVISION[..7],
            self.table(),
            self.verdict()
        );
        let mut line = |cells: &[&str]| {
            writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes all text");
        };
        for (id, reason) in &lists.known_failures {
            line(&[&format!("`{}`", short(id)), reason]);
        }
        line(&[]);
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, reason) in lists.out_of_scope.values() {
            *reasons.entry(reason).or_default() += 1;
        }
        let mut text = text.trim_end_matches("|  |\n").to_owned();
        text.push_str("\n## Over HTTPS\n\nThe same (`--https`), but for these:\n\n| test | fails only over | because |\n|---|---|---|\n");
        for (id, (scheme, reason)) in &lists.of_one_scheme {
            writeln!(text, "| `{}` | {} | {reason} |", short(id), scheme.to_uppercase())
                .expect("a string takes all text");
        }
        text.push_str("\n## Out of scope\n\n| needs | tests |\n|---|---|\n");
        for (reason, count) in reasons {
            writeln!(text, "| {reason} | {count} |").expect("a string takes all text");
        }
        text
    }
}

fn short(id: &str) -> &str {
    id.split_once("::").map_or(id, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_as_listed_is_complained_of() {
        let entry = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let lists = Lists {
            in_scope: entry(&[("a", "list"), ("b", "list"), ("c", "list"), ("d", "copy"), ("e", "copy")]),
            out_of_scope: [("f".to_owned(), ("list".to_owned(), "ACL".to_owned()))].into(),
            known_failures: entry(&[("b", "why"), ("c", "why")]),
            of_one_scheme: BTreeMap::new(),
        };
        let results = [("a", Outcome::Passed), ("b", Outcome::Failed), ("c", Outcome::Passed), ("d", Outcome::Skipped)];
        let mut results: BTreeMap<_, _> = results.into_iter().map(|(id, outcome)| (id.to_owned(), outcome)).collect();
        results.insert("f".to_owned(), Outcome::Passed);
        let summary = Summary::of(&lists, &results);
        assert_eq!(
            summary.complaints(),
            ["d failed, and is not a known failure", "c passed: take it off the known failures", "e did not run"]
        );
        assert_eq!(summary.promotable(), ["f passed, and is out of scope"]);
        assert_eq!(summary.verdict(), "s3-tests: 2 of 5 in scope passed (40.0 %)");
        assert!(summary.table().contains("| list | 2 | 3 | 1 |"));
        let page = summary.document(&lists);
        assert!(page.contains("| `b` | why |") && page.contains("| ACL | 1 |"));
    }
}
