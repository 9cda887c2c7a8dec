//! `x-amz-expiration`: when an object will be gone, said with the object. Always in real days, as clients count.

use super::evaluate::{Days, expiration};
use super::rules::Rule;
use crate::s3::dates::http_date;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `None` when no rule ends the object.
pub fn value(rules: &[Rule], key: &str, size: u64, tags: &[(String, String)], modified_ms: u64) -> Option<String> {
    let rules = rules.iter().filter(|rule| rule.filter.takes(key, size, tags));
    let (due_ms, rule) = expiration(rules, modified_ms, Days::Real)?;
    Some(format!("expiry-date=\"{}\", rule-id=\"{}\"", http_date(due_ms), utf8_percent_encode(&rule.id, ENCODED)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::rules::{Filter, When};

    #[test]
    fn the_earliest_rule_is_named() {
        let rule = |id: &str, prefix: &str, days| Rule {
            id: id.to_owned(),
            filter: Filter { prefix: prefix.to_owned(), ..Filter::default() },
            expiration: Some(When::Days(days)),
            ..Rule::default()
        };
        let rules = [rule("later", "", 9), rule("a b/ü", "x/", 1), rule("other", "y/", 0)];
        let told = value(&rules, "x/key", 1, &[], 784_111_777_000);
        let expected = "expiry-date=\"Tue, 08 Nov 1994 00:00:00 GMT\", rule-id=\"a%20b%2F%C3%BC\"";
        assert_eq!(told.as_deref(), Some(expected));
        assert_eq!(value(&rules[1..], "z", 1, &[], 0), None);
    }
}
