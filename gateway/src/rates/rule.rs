//! A rule, as an administrator writes it: JSON, read strictly, with a sentence for each mistake.

use super::verb::{FAILED_AUTHENTICATION_COST, Verb};
use common::Network;
use serde_json::{Map, Value, json};

/// Requests a second, and at once.
const RATE_MIN: f64 = 0.01;
const RATE_MAX: f64 = 1_000_000.0;
const BURST_MAX: u32 = 1_000_000;
/// Bytes a second. A slower stream could not be told from a broken one.
const BANDWIDTH_MIN: u64 = 1024;
const BANDWIDTH_MAX: u64 = 1 << 40;
/// Of one member of `match`.
const VALUES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 2048;
pub const NAME_BYTES_MAX: usize = 96;

/// What a rule counts together: everybody has a limit of their own, or all have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Per {
    /// The access key; without a credential the address.
    Key,
    /// The user, role or root, with all of its keys and sessions.
    Principal,
    Bucket,
    Tenant,
    /// As a provider gives them out: one of version 4, and a /64 of version 6.
    Address,
    /// All that the rule is about.
    Node,
}

impl Per {
    const ALL: [Self; 6] = [Self::Key, Self::Principal, Self::Bucket, Self::Tenant, Self::Address, Self::Node];

    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Principal => "principal",
            Self::Bucket => "bucket",
            Self::Tenant => "tenant",
            Self::Address => "address",
            Self::Node => "node",
        }
    }
}

/// A text in which stars stand for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t, mut star) = (0, 0, None);
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(byte) if *byte == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    // The last star takes one byte more.
                    let Some((at, taken)) = star else { return false };
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

/// Whom and what a rule is about. What is empty is about everything.
#[derive(Debug, Default, PartialEq)]
pub struct Matches {
    pub tenants: Vec<String>,
    pub principals: Vec<Pattern>,
    pub access_keys: Vec<String>,
    pub buckets: Vec<Pattern>,
    pub verbs: Vec<Verb>,
    pub networks: Vec<Network>,
}

#[derive(Debug, PartialEq)]
pub struct Rule {
    pub name: String,
    pub matches: Matches,
    /// Requests a second, if they are limited.
    pub rate: Option<f64>,
    pub burst: u32,
    /// Bytes a second of what comes, and of what goes.
    pub bytes_in: Option<u64>,
    pub bytes_out: Option<u64>,
    pub per: Per,
    /// It counts only.
    pub dry_run: bool,
}

impl Rule {
    /// Whether it can stand before anything is known of who asks but the address.
    pub fn is_before_identity(&self) -> bool {
        let Matches { tenants, principals, access_keys, buckets, verbs, networks: _ } = &self.matches;
        self.per == Per::Address
            && self.bytes_in.is_none()
            && self.bytes_out.is_none()
            && tenants.is_empty()
            && principals.is_empty()
            && access_keys.is_empty()
            && buckets.is_empty()
            && verbs.is_empty()
    }

    /// The most that one request can cost it.
    pub fn cost_max(&self) -> u32 {
        if self.is_before_identity() {
            return FAILED_AUTHENTICATION_COST;
        }
        let verbs = if self.matches.verbs.is_empty() { &Verb::ALL[..] } else { &self.matches.verbs };
        verbs.iter().map(|verb| verb.cost_max()).max().unwrap_or(1)
    }

    pub fn parse(name: &str, text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| format!("the rule is no JSON: {error}"))?;
        let mut members = Members::of("the rule", value)?;
        check_name(name)?;
        if let Some(given) = members.text("name")?
            && given != name
        {
            return Err(format!("the rule calls itself {given:?}, and the path calls it {name:?}"));
        }
        if members.take("priority").is_some() {
            return Err("priority: rules have none, as nothing would go by it".to_owned());
        }
        let matches = match members.take("match") {
            Some(value) => Matches::parse(value)?,
            None => Matches::default(),
        };
        let per = members.text("per")?.ok_or_else(|| {
            "per is missing: what is counted together, which is key, principal, bucket, tenant, address or node"
                .to_owned()
        })?;
        let per = Per::ALL.into_iter().find(|known| known.name() == per).ok_or_else(|| {
            format!("per is key, principal, bucket, tenant, address or node, and {per:?} is none of them")
        })?;
        let rate = members.number("rate")?;
        let burst = members.whole("burst")?;
        let (mut bytes_in, mut bytes_out) = (None, None);
        if let Some(value) = members.take("bandwidth") {
            let mut bandwidth = Members::of("bandwidth", value)?;
            (bytes_in, bytes_out) = (bandwidth.whole("in")?, bandwidth.whole("out")?);
            bandwidth.end()?;
        }
        let dry_run = members.flag("dry_run")?.unwrap_or(false);
        members.end()?;

        for (what, bytes) in [("in", bytes_in), ("out", bytes_out)] {
            if let Some(bytes) = bytes.filter(|bytes| !(BANDWIDTH_MIN..=BANDWIDTH_MAX).contains(bytes)) {
                return Err(format!(
                    "bandwidth.{what} is bytes a second, from {BANDWIDTH_MIN} to {BANDWIDTH_MAX}, and {bytes} is not"
                ));
            }
        }
        if rate.is_none() && bytes_in.is_none() && bytes_out.is_none() {
            return Err("the rule limits nothing: give it a rate, or bandwidth with in or out".to_owned());
        }
        let mut rule = Self { name: name.to_owned(), matches, rate, burst: 0, bytes_in, bytes_out, per, dry_run };
        rule.burst = rule.checked_burst(burst)?;
        Ok(rule)
    }

    fn checked_burst(&self, burst: Option<u64>) -> Result<u32, String> {
        let Some(rate) = self.rate else {
            return match burst {
                Some(_) => Err("burst is requests at once, and the rule has no rate".to_owned()),
                None => Ok(0),
            };
        };
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            return Err(format!("rate is requests a second, from {RATE_MIN} to {RATE_MAX}, and {rate} is not"));
        }
        let cost_max = self.cost_max();
        let Some(burst) = burst else { return Ok((rate.ceil() as u32).max(cost_max)) };
        let burst = u32::try_from(burst).ok().filter(|burst| (1..=BURST_MAX).contains(burst));
        let burst = burst.ok_or_else(|| format!("burst is requests at once, from 1 to {BURST_MAX}"))?;
        if burst < cost_max {
            let what = if self.is_before_identity() { "a failed authentication" } else { "one request" };
            return Err(format!(
                "burst is {burst}, and {what} can cost {cost_max}: it would never pass. Give it a burst of at least \
                 {cost_max}, or a rule of its own (match.verb)"
            ));
        }
        Ok(burst)
    }

    /// As it is kept and shown.
    pub fn to_json(&self) -> Value {
        let mut matches = Map::new();
        let Matches { tenants, principals, access_keys, buckets, verbs, networks } = &self.matches;
        let patterns = |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.0.clone()).collect::<Vec<_>>();
        let verbs = verbs.iter().map(|verb| verb.name().to_owned()).collect();
        let networks = networks.iter().map(Network::to_string).collect();
        for (name, values) in [
            ("tenant", tenants.clone()),
            ("principal", patterns(principals)),
            ("access_key", access_keys.clone()),
            ("bucket", patterns(buckets)),
            ("verb", verbs),
            ("cidr", networks),
        ] {
            if !values.is_empty() {
                matches.insert(name.to_owned(), json!(values));
            }
        }
        let mut rule = json!({ "name": self.name, "match": matches, "per": self.per.name(), "dry_run": self.dry_run });
        if let Some(rate) = self.rate {
            rule["rate"] = json!(rate);
            rule["burst"] = json!(self.burst);
        }
        let mut bandwidth = Map::new();
        for (name, bytes) in [("in", self.bytes_in), ("out", self.bytes_out)] {
            bandwidth.extend(bytes.map(|bytes| (name.to_owned(), json!(bytes))));
        }
        if !bandwidth.is_empty() {
            rule["bandwidth"] = Value::Object(bandwidth);
        }
        rule
    }

    /// The built-in rule that slows the guessing of keys down.
    pub fn of_failed_authentications(per_second: u32) -> Self {
        let cost = FAILED_AUTHENTICATION_COST;
        let burst = per_second.saturating_mul(cost).saturating_mul(super::FAILED_AUTHENTICATION_SECONDS);
        Self {
            name: super::FAILED_AUTHENTICATION.to_owned(),
            matches: Matches::default(),
            rate: Some(f64::from(per_second.saturating_mul(cost))),
            burst: burst.clamp(cost, BURST_MAX),
            bytes_in: None,
            bytes_out: None,
            per: Per::Address,
            dry_run: false,
        }
    }
}

/// A name is a path's segment, a header's value and a label of metrics.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if name == super::FAILED_AUTHENTICATION {
        return Err(format!("{name} is built in: --failed-auth-rate sets it, and 0 takes it away"));
    }
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && begins && name.bytes().all(is_good) {
        return Ok(());
    }
    Err(format!(
        "a rule's name has 1 to {NAME_BYTES_MAX} lower-case letters, digits, hyphens, underscores and dots, and begins with a \
         letter or a digit"
    ))
}

impl Matches {
    fn parse(value: Value) -> Result<Self, String> {
        let mut members = Members::of("match", value)?;
        let patterns = |values: Vec<String>| values.into_iter().map(Pattern).collect();
        let verbs = members.texts("verb")?.into_iter().map(|verb| {
            let names = Verb::ALL.map(Verb::name).join(", ");
            Verb::parse(&verb).ok_or_else(|| format!("match.verb is one of {names}, and {verb:?} is not"))
        });
        let verbs = verbs.collect::<Result<Vec<_>, _>>()?;
        let networks = members.texts("cidr")?.into_iter().map(|text| {
            Network::parse(&text)
                .ok_or_else(|| format!("match.cidr is an address or a network like 10.0.0.0/8, and {text:?} is not"))
        });
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        let matches = Self {
            tenants: members.texts("tenant")?,
            principals: patterns(members.texts("principal")?),
            access_keys: members.texts("access_key")?,
            buckets: patterns(members.texts("bucket")?),
            verbs,
            networks,
        };
        if !matches.principals.is_empty() && !matches.access_keys.is_empty() {
            return Err("match.principal and match.access_key: one of them".to_owned());
        }
        members.end()?;
        Ok(matches)
    }
}

/// An object of JSON, of which every member is taken once.
struct Members {
    of: &'static str,
    members: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Members {
    fn of(of: &'static str, value: Value) -> Result<Self, String> {
        match value {
            Value::Object(members) => Ok(Self { of, members, known: Vec::new() }),
            _ => Err(format!("{of} is no JSON object")),
        }
    }

    /// What is `null` is not there.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn path(&self, name: &str) -> String {
        if self.of == "the rule" { name.to_owned() } else { format!("{}.{name}", self.of) }
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{} is a text", self.path(name))),
        }
    }

    fn number(&mut self, name: &'static str) -> Result<Option<f64>, String> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| format!("{} is a number", self.path(name)))
    }

    fn whole(&mut self, name: &'static str) -> Result<Option<u64>, String> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| format!("{} is a whole number", self.path(name)))
    }

    fn flag(&mut self, name: &'static str) -> Result<Option<bool>, String> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| format!("{} is true or false", self.path(name)))
    }

    /// One text, or a list of them.
    fn texts(&mut self, name: &'static str) -> Result<Vec<String>, String> {
        let path = self.path(name);
        let wrong = || format!("{path} is a text or a list of texts");
        let values = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
        };
        // An empty list would be about everything, which nobody means who writes one.
        if values.is_empty() || values.len() > VALUES_MAX {
            return Err(format!("{path} has 1 to {VALUES_MAX} values: leave it out for all"));
        }
        let text = |value: Value| match value {
            Value::String(text) if (1..=VALUE_BYTES_MAX).contains(&text.len()) => Ok(text),
            Value::String(_) => Err(format!("a value of {path} has 1 to {VALUE_BYTES_MAX} bytes")),
            _ => Err(wrong()),
        };
        values.into_iter().map(text).collect()
    }

    fn end(self) -> Result<(), String> {
        let Some(unknown) = self.members.keys().next() else { return Ok(()) };
        let of = if self.of == "the rule" { "a rule" } else { self.of };
        Err(format!("{of} has no member {unknown:?}: it has {}", self.known.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Rule, String> {
        Rule::parse("r", text.as_bytes())
    }

    #[test]
    fn a_rule_is_read_and_shown() {
        let text = r#"{"name": "r", "match": {"tenant": "t", "principal": ["arn:aws:iam::*:user/a*"], "bucket": "logs-*",
            "verb": ["get", "list"], "cidr": ["10.0.0.0/8", "2001:db8::1"]}, "rate": 2.5, "burst": 20,
            "bandwidth": {"in": 1048576, "out": 2048}, "per": "bucket", "dry_run": true}"#;
        let rule = parse(text).expect("a rule");
        assert_eq!((rule.rate, rule.burst, rule.per, rule.dry_run), (Some(2.5), 20, Per::Bucket, true));
        assert_eq!((rule.bytes_in, rule.bytes_out), (Some(1 << 20), Some(2048)));
        let again = Rule::parse("r", rule.to_json().to_string().as_bytes()).expect("the same");
        assert_eq!(again, rule);
        let short = parse(r#"{"rate": 100, "per": "key", "match": {"verb": "get"}}"#).expect("a rule");
        assert_eq!(short.burst, 100, "one second of it");
        assert_eq!(parse(r#"{"rate": 0.5, "per": "node"}"#).expect("a rule").burst, 10, "the dearest request passes");
    }

    #[test]
    fn address_rules_stand_before_identity() {
        let before = |text: &str| parse(text).expect("a rule").is_before_identity();
        assert!(before(r#"{"per": "address", "rate": 100}"#));
        assert!(before(r#"{"per": "address", "rate": 100, "match": {"cidr": "10.0.0.0/8"}}"#));
        assert!(!before(r#"{"per": "address", "rate": 100, "match": {"verb": "get"}}"#));
        assert!(!before(r#"{"per": "address", "rate": 100, "bandwidth": {"out": 5000}}"#));
        assert!(!before(r#"{"per": "node", "rate": 100}"#));
    }

    #[test]
    fn stars_stand_for_anything() {
        let matches = |pattern: &str, text: &str| Pattern(pattern.to_owned()).matches(text);
        for (pattern, text) in
            [("a", "a"), ("*", ""), ("a*", "a"), ("*b*d", "abcbcd"), ("a**c", "abc"), ("*.log", ".log")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a", ""), ("a*", "ba"), ("*b", "bc"), ("", "a"), ("a*c", "ab")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn each_mistake_has_a_sentence() {
        for (text, sentence) in [
            ("{", "no JSON"),
            ("[]", "the rule is no JSON object"),
            (r#"{"rate": 5}"#, "per is missing"),
            (r#"{"rate": 5, "per": "planet"}"#, "\"planet\" is none of them"),
            (r#"{"per": "key"}"#, "limits nothing"),
            (r#"{"per": "key", "bandwidth": {}}"#, "limits nothing"),
            (r#"{"per": "key", "rate": 0}"#, "rate is requests a second"),
            (r#"{"per": "key", "rate": -1}"#, "rate is requests a second"),
            (r#"{"per": "key", "rate": "5"}"#, "rate is a number"),
            (r#"{"per": "key", "rate": 5, "burst": 0}"#, "burst is requests at once"),
            (r#"{"per": "key", "rate": 5, "burst": 2.5}"#, "burst is a whole number"),
            (r#"{"per": "key", "rate": 5, "burst": 9}"#, "one request can cost 10: it would never pass"),
            (r#"{"per": "key", "rate": 5, "burst": 4, "match": {"verb": "list"}}"#, "can cost 5"),
            (r#"{"per": "address", "rate": 5, "burst": 9}"#, "a failed authentication can cost 10"),
            (r#"{"per": "key", "bandwidth": {"in": 5}}"#, "bandwidth.in is bytes a second"),
            (r#"{"per": "key", "bandwidth": {"in": 5000}, "burst": 7}"#, "the rule has no rate"),
            (r#"{"per": "key", "bandwidth": {"up": 5}}"#, "bandwidth has no member \"up\": it has in, out"),
            (r#"{"per": "key", "rate": 5, "brust": 7}"#, "a rule has no member \"brust\""),
            (r#"{"per": "key", "rate": 5, "match": {"user": "x"}}"#, "match has no member \"user\""),
            (r#"{"per": "key", "rate": 5, "match": {"verb": "fetch"}}"#, "\"fetch\" is not"),
            (r#"{"per": "key", "rate": 5, "match": {"cidr": "10.0.0/8"}}"#, "match.cidr is an address"),
            (r#"{"per": "key", "rate": 5, "match": {"bucket": []}}"#, "match.bucket has 1 to 64 values"),
            (r#"{"per": "key", "rate": 5, "match": {"bucket": [5]}}"#, "match.bucket is a text or a list"),
            (r#"{"per": "key", "rate": 5, "match": {"access_key": "a", "principal": "b"}}"#, "one of them"),
            (r#"{"per": "key", "rate": 5, "dry_run": "yes"}"#, "dry_run is true or false"),
            (r#"{"per": "key", "rate": 5, "name": "other"}"#, "the rule calls itself \"other\""),
            (r#"{"per": "key", "rate": 5, "priority": 3}"#, "priority: rules have none"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(sentence), "{text}: {error}");
        }
        for name in ["", "A", "a b", "-a", "a/b", "a\n", &"a".repeat(97), super::super::FAILED_AUTHENTICATION] {
            assert!(Rule::parse(name, br#"{"per": "key", "rate": 5}"#).is_err(), "{name}");
        }
    }
}
