//! AIStore's limits of a bucket as rules.
//!
//! AIStore's `rate_limit.frontend` has `interval`, `max_tokens` in it, `burst_size` and `per_op_max_tokens` (`get=200,put=100`), of
//! which each proxy takes its part. Here they are rules for the bucket: one for all verbs, or one for each verb that
//! `per_op_max_tokens` names and one for the rest.

use super::rule::Rule;
use super::verb::Verb;
use serde_json::json;
use std::time::Duration;

/// As `ais bucket props` has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontend<'a> {
    pub interval: Duration,
    pub max_tokens: u32,
    pub burst_size: u32,
    pub per_op_max_tokens: &'a str,
    pub enabled: bool,
}

/// The rules for one bucket; none where AIStore has it off.
pub fn rules_of(bucket: &str, frontend: &Frontend<'_>) -> Result<Vec<Rule>, String> {
    let Frontend { interval, max_tokens, burst_size, per_op_max_tokens, enabled } = frontend;
    if !enabled {
        return Ok(Vec::new());
    }
    if interval.is_zero() {
        return Err("interval is no time".to_owned());
    }
    let mut named: Vec<(Verb, u32)> = Vec::new();
    for part in per_op_max_tokens.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || format!("per_op_max_tokens has parts like get=100, and {part:?} is none");
        let (operation, tokens) = part.split_once(['=', ':']).ok_or_else(wrong)?;
        let verb = match operation.trim().to_ascii_lowercase().as_str() {
            "del" => Verb::Delete,
            name => Verb::parse(name).ok_or_else(wrong)?,
        };
        if named.iter().any(|(known, _)| *known == verb) {
            return Err(format!("per_op_max_tokens names {operation} twice"));
        }
        named.push((verb, tokens.trim().parse().map_err(|_| wrong())?));
    }
    let data = [Verb::List, Verb::Get, Verb::Head, Verb::Put, Verb::Delete, Verb::MultipartControl];
    let rest: Vec<Verb> = data.into_iter().filter(|verb| named.iter().all(|(named, _)| named != verb)).collect();
    let groups = named.iter().map(|(verb, tokens)| (verb.name(), vec![*verb], *tokens));
    let groups = groups.chain(std::iter::once(("rest", rest, *max_tokens)));
    groups
        .filter(|(_, verbs, _)| !verbs.is_empty())
        .map(|(name, verbs, tokens)| {
            let verbs: Vec<&str> = verbs.into_iter().map(Verb::name).collect();
            let rate = f64::from(tokens) / interval.as_secs_f64();
            // AIStore counts requests alike; here the dearest of them must fit.
            let dearest = verbs.iter().filter_map(|verb| Verb::parse(verb)).map(Verb::cost_max).max().unwrap_or(1);
            let rule = json!({
                "match": { "bucket": bucket, "verb": verbs },
                "rate": rate,
                "burst": (*burst_size).max(dearest),
                "per": "bucket",
            });
            Rule::parse(&format!("ais-{bucket}-{name}"), rule.to_string().as_bytes())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Frontend<'_> = Frontend {
        interval: Duration::from_secs(60),
        max_tokens: 1000,
        burst_size: 375,
        per_op_max_tokens: "",
        enabled: true,
    };

    #[test]
    fn a_buckets_limit_is_a_rule() {
        let rules = rules_of("photos", &DEFAULTS).expect("rules");
        let [rule] = &rules[..] else { panic!("one rule and not {rules:?}") };
        assert_eq!((rule.name.as_str(), rule.burst, rule.per.name()), ("ais-photos-rest", 375, "bucket"));
        assert!((rule.rate.expect("a rate") - 1000.0 / 60.0).abs() < 1e-9);
        assert_eq!(rule.matches.verbs.len(), 6, "data, and not the administration");
        assert_eq!(rules_of("photos", &Frontend { enabled: false, ..DEFAULTS }), Ok(Vec::new()));
    }

    #[test]
    fn operations_have_limits_of_their_own() {
        let named = Frontend { per_op_max_tokens: "GET=6000, put=60,del=1", burst_size: 3, ..DEFAULTS };
        let rules = rules_of("photos", &named).expect("rules");
        let told: Vec<_> = rules.iter().map(|rule| (rule.name.as_str(), rule.rate, rule.burst)).collect();
        let sixtieth = Some(1.0 / 60.0);
        assert_eq!(
            told[..3],
            [("ais-photos-get", Some(100.0), 3), ("ais-photos-put", Some(1.0), 3), ("ais-photos-delete", sixtieth, 10)]
        );
        assert_eq!(rules[3].matches.verbs, [Verb::List, Verb::Head, Verb::MultipartControl]);
        for wrong in ["get", "get=x", "fetch=5", "get=1,get=2"] {
            assert!(rules_of("photos", &Frontend { per_op_max_tokens: wrong, ..DEFAULTS }).is_err(), "{wrong}");
        }
        assert!(rules_of("photos", &Frontend { interval: Duration::ZERO, ..DEFAULTS }).is_err());
    }
}
