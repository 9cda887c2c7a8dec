//! Conditions: operators over the keys of a request.
//!
//! Source: "IAM JSON policy elements: Condition operators", "Conditions with multiple context keys or values" and "Multivalued
//! context keys", AWS IAM User Guide.

use super::context::{Context, Fact};
use super::json::Json;
use super::keys;
use super::variables::{Filled, Syntax};
use super::wildcard::{ArnPattern, Pattern};
use common::Network;
use std::cmp::Ordering;
use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime};

/// One operator over one key: all of them must hold.
#[derive(Debug, PartialEq)]
pub(super) struct Condition {
    /// In lower case.
    key: Box<str>,
    each: Each,
    if_exists: bool,
    /// The operator is one with `Not`: none of the values may fit.
    negated: bool,
    values: Values,
}

/// Which of the request's values must do it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Each {
    /// No set operator: the key has one value. If it has several, any must fit, or none for a negated operator.
    One,
    /// `ForAllValues`: true, too, if there are none.
    All,
    /// `ForAnyValue`: false if there are none.
    Any,
}

#[derive(Debug, PartialEq)]
enum Values {
    Texts {
        texts: Box<[Filled<Pattern>]>,
        ignore_case: bool,
    },
    Arns(Box<[Filled<ArnPattern>]>),
    /// The number, and what its comparison with the policy's must give.
    Numbers(Comparison, Box<[Decimal]>),
    /// In milliseconds since 1970.
    Times(Comparison, Box<[i128]>),
    Flags(Box<[bool]>),
    /// As Base64: there is one way to write the same bytes.
    Bytes(Box<[Box<str>]>),
    Networks(Box<[Network]>),
    /// `Null`: whether the key has to be missing.
    Missing(Box<[bool]>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Condition {
    pub fn holds(&self, context: &Context) -> bool {
        let fact = context.fact(&self.key).filter(|fact| !fact.values.is_empty());
        if let Values::Missing(wanted) = &self.values {
            return wanted.contains(&fact.is_none());
        }
        let Some(fact) = fact else {
            return match self.each {
                _ if self.if_exists => true,
                Each::All => true,
                Each::Any => false,
                Each::One => self.negated,
            };
        };
        // Most keys have one value, of which all and any say the same.
        if fact.values.len() == 1 {
            return self.values.fit(fact, 0, context) != self.negated;
        }
        let mut fits = (0..fact.values.len()).map(|at| self.values.fit(fact, at, context) != self.negated);
        match (self.each, self.negated) {
            (Each::All, _) | (Each::One, true) => fits.all(|fits| fits),
            (Each::Any, _) | (Each::One, false) => fits.any(|fits| fits),
        }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key that it is about, and those of variables.
    pub fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        let own = std::iter::once(&*self.key);
        match &self.values {
            Values::Texts { texts, .. } => Box::new(own.chain(texts.iter().flat_map(Filled::keys))),
            Values::Arns(arns) => Box::new(own.chain(arns.iter().flat_map(Filled::keys))),
            _ => Box::new(own),
        }
    }

    /// Keys of variables that must have a value.
    pub fn required(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.values {
            Values::Texts { texts, .. } => Box::new(texts.iter().flat_map(Filled::required)),
            Values::Arns(arns) => Box::new(arns.iter().flat_map(Filled::required)),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Whether only who has one of a few fixed values can meet it, in the meaning that "public" has for S3.
    ///
    /// Source: "Blocking public access to your Amazon S3 storage", "The meaning of public", Amazon S3 User Guide.
    pub fn fixes(&self) -> bool {
        // A missing key would meet these.
        if self.negated || self.if_exists || self.each == Each::All {
            return false;
        }
        let key = &*self.key;
        let is_fixed_key = FIXED_KEYS.contains(&key);
        match &self.values {
            Values::Networks(networks) => {
                key == "aws:sourceip"
                    && networks.iter().all(|network| network.bits() >= widest_that_is_not_public(network))
            }
            Values::Texts { texts, .. } => {
                let fixed = |text: &Filled<Pattern>| match text {
                    Filled::Fixed(Pattern::Exact(_)) => true,
                    // The name of an access point may be anything if its account is fixed.
                    Filled::Fixed(Pattern::Prefix(prefix)) => key == ACCESS_POINT && has_account(prefix),
                    _ => false,
                };
                let is_role = |text: &Filled<Pattern>| match text {
                    Filled::Fixed(Pattern::Exact(text)) => key == "aws:userid" && text.ends_with(":*"),
                    _ => false,
                };
                is_fixed_key && texts.iter().all(|text| fixed(text) && !is_role(text))
            }
            Values::Arns(arns) => {
                let fixed = |arn: &Filled<ArnPattern>| match arn {
                    Filled::Fixed(ArnPattern::Whole(Pattern::Exact(_))) => true,
                    Filled::Fixed(ArnPattern::Whole(Pattern::Prefix(prefix))) => {
                        key == ACCESS_POINT && has_account(prefix)
                    }
                    _ => false,
                };
                is_fixed_key && arns.iter().all(fixed)
            }
            _ => false,
        }
    }
}

const ACCESS_POINT: &str = "s3:dataaccesspointarn";
const FIXED_KEYS: [&str; 13] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:username",
    "s3:dataaccesspointaccount",
    ACCESS_POINT,
];

fn has_account(arn: &str) -> bool {
    arn.split(':').nth(4).is_some_and(|account| account.len() == 12) && arn.split(':').count() > 5
}

impl Values {
    /// Whether one of the policy's values fits the one at this place of the request's.
    fn fit(&self, fact: &Fact, at: usize, context: &Context) -> bool {
        let value = &*fact.values[at];
        match self {
            Self::Texts { texts, ignore_case: false } => texts.iter().any(|text| text.matches(value, context, false)),
            Self::Texts { texts, ignore_case: true } => {
                let value = value.to_lowercase();
                texts.iter().any(|text| text.matches(&value, context, true))
            }
            Self::Arns(arns) => arns.iter().any(|arn| arn.matches(value, context)),
            Self::Numbers(comparison, numbers) => Decimal::parse(value)
                .is_some_and(|value| numbers.iter().any(|number| comparison.holds(value.cmp(number)))),
            Self::Times(comparison, times) => {
                fact.times_ms()[at].is_some_and(|value| times.iter().any(|time| comparison.holds(value.cmp(time))))
            }
            Self::Flags(flags) => flag(value).is_some_and(|value| flags.contains(&value)),
            Self::Bytes(all) => all.iter().any(|bytes| **bytes == *value),
            Self::Networks(networks) => {
                fact.addresses()[at].is_some_and(|address| networks.iter().any(|network| network.has(address)))
            }
            Self::Missing(_) => false,
        }
    }
}

pub(super) fn parse(json: Json, variables: bool) -> Result<Vec<Condition>, String> {
    let Json::Map(operators) = json else {
        return Err(format!("has a Condition that is {} and no map", json.kind()));
    };
    let mut conditions = Vec::new();
    for (operator, json) in operators {
        let Json::Map(keys) = json else {
            return Err(format!("has {} under {operator} where a map of keys belongs", json.kind()));
        };
        if keys.is_empty() {
            return Err(format!("has no key under {operator}"));
        }
        for (key, json) in keys {
            if !keys::is_known(&key) {
                return Err(format!("has an unknown condition key {key:?}"));
            }
            let values = values(&operator, json)?;
            conditions.push(condition(&operator, &key, &values, variables)?);
        }
    }
    Ok(conditions)
}

/// Numbers and booleans may stand without quotes.
fn values(operator: &str, json: Json) -> Result<Vec<String>, String> {
    let value = |json| match json {
        Json::Text(text) | Json::Number(text) => Ok(text),
        Json::Bool(flag) => Ok(flag.to_string()),
        other => Err(format!("has {} under {operator} where a value belongs", other.kind())),
    };
    match json {
        Json::List(items) if items.is_empty() => Err(format!("has no value under {operator}")),
        Json::List(items) => items.into_iter().map(value).collect(),
        one => Ok(vec![value(one)?]),
    }
}

fn condition(operator: &str, key: &str, values: &[String], variables: bool) -> Result<Condition, String> {
    let (each, name) = match operator.split_once(':') {
        Some(("ForAllValues", name)) => (Each::All, name),
        Some(("ForAnyValue", name)) => (Each::Any, name),
        _ => (Each::One, operator),
    };
    let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
    let unknown = || format!("has an unknown condition operator {operator:?}");
    let wrong = |value: &str| format!("has {value:?} under {operator}, which it cannot compare");
    let negated = name.contains("Not");
    let like = Syntax { variables, wildcards: true, lower_case: false };
    let equal = Syntax { wildcards: false, ..like };
    let lower = Syntax { lower_case: true, ..equal };
    let texts = |syntax: Syntax| {
        let text = |value: &String| {
            let parsed = Filled::<Pattern>::parse(value, syntax).map_err(|why| format!("{}: {why}", wrong(value)))?;
            check_variables(&parsed)?;
            Ok(parsed)
        };
        values
            .iter()
            .map(text)
            .collect::<Result<_, String>>()
            .map(|texts| Values::Texts { texts, ignore_case: syntax.lower_case })
    };
    let values = match name {
        "StringEquals" | "StringNotEquals" => texts(equal)?,
        "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => texts(lower)?,
        "StringLike" | "StringNotLike" => texts(like)?,
        // The same, in the source's words.
        "ArnEquals" | "ArnLike" | "ArnNotEquals" | "ArnNotLike" => {
            let arn = |value: &String| {
                let parsed =
                    Filled::<ArnPattern>::parse(value, like).map_err(|why| format!("{}: {why}", wrong(value)))?;
                check_variables(&parsed)?;
                Ok(parsed)
            };
            Values::Arns(values.iter().map(arn).collect::<Result<_, String>>()?)
        }
        "Bool" => Values::Flags(each_of(values, flag).map_err(wrong)?),
        "BinaryEquals" => Values::Bytes(each_of(values, base64).map_err(wrong)?),
        "IpAddress" | "NotIpAddress" => Values::Networks(each_of(values, Network::parse).map_err(wrong)?),
        "Null" if each == Each::One && !if_exists => Values::Missing(each_of(values, flag).map_err(wrong)?),
        _ => {
            let (date, rest) = match (name.strip_prefix("Date"), name.strip_prefix("Numeric")) {
                (Some(rest), _) => (true, rest),
                (_, Some(rest)) => (false, rest),
                _ => return Err(unknown()),
            };
            let comparison = match rest {
                "Equals" | "NotEquals" => Comparison::Equal,
                "LessThan" => Comparison::Less,
                "LessThanEquals" => Comparison::LessOrEqual,
                "GreaterThan" => Comparison::Greater,
                "GreaterThanEquals" => Comparison::GreaterOrEqual,
                _ => return Err(unknown()),
            };
            if date {
                Values::Times(comparison, each_of(values, time_ms).map_err(wrong)?)
            } else {
                Values::Numbers(comparison, each_of(values, Decimal::parse).map_err(wrong)?)
            }
        }
    };
    Ok(Condition { key: key.to_ascii_lowercase().into(), each, if_exists, negated, values })
}

/// The value itself, if one of them is none.
fn each_of<T>(values: &[String], parse: impl Fn(&str) -> Option<T>) -> Result<Box<[T]>, &str> {
    values.iter().map(|value| parse(value).ok_or(&**value)).collect()
}

pub(super) fn check_variables<P>(filled: &Filled<P>) -> Result<(), String> {
    match filled.keys().find(|key| !keys::is_known(key)) {
        Some(key) => Err(format!("has a variable of an unknown key {key:?}")),
        None => Ok(()),
    }
}

fn flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

fn base64(text: &str) -> Option<Box<str>> {
    let unpadded = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    (text.len().is_multiple_of(4) && unpadded.bytes().all(sound)).then(|| text.into())
}

/// A number without an exponent, exact: billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Decimal(i128);

impl Decimal {
    const WHOLE_DIGITS_MAX: usize = 20;
    const FRACTION_DIGITS: usize = 9;

    fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let sound = |digits: &str, limit: usize| {
            (1..=limit).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !sound(whole, Self::WHOLE_DIGITS_MAX) || !sound(fraction, Self::FRACTION_DIGITS) {
            return None;
        }
        let scaled: i128 = format!("{whole}{fraction:0<width$}", width = Self::FRACTION_DIGITS).parse().ok()?;
        Some(Self(if negative { -scaled } else { scaled }))
    }
}

/// A date, a time with its offset, or seconds since 1970.
pub(super) fn time_ms(text: &str) -> Option<i128> {
    if let Some(Decimal(billionths)) = Decimal::parse(text) {
        return Some(billionths / 1_000_000);
    }
    let time = match OffsetDateTime::parse(text, &Iso8601::PARSING) {
        Ok(time) => time,
        Err(_) => Date::parse(text, &Iso8601::DATE).ok()?.midnight().assume_utc(),
    };
    Some(time.unix_timestamp_nanos() / 1_000_000)
}

/// Wider ones hold addresses of everybody.
fn widest_that_is_not_public(network: &Network) -> u32 {
    if network.is_ipv4() { 8 } else { 32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<Vec<Condition>, String> {
        parse(Json::parse(json).expect("JSON"), true)
    }

    /// Whether `{operator: {key: values}}` holds for a request in which the key has these values; `None`: it is missing.
    fn holds(operator: &str, values: &str, request: Option<&[&str]>) -> bool {
        let conditions = parsed(&format!(r#"{{"{operator}":{{"s3:prefix":{values}}}}}"#)).expect(operator);
        let mut context = Context::default();
        context.trust("aws:username", vec!["bob".to_owned()]);
        if let Some(values) = request {
            context.request("s3:Prefix", values.iter().map(|value| (*value).to_owned()).collect());
        }
        conditions.iter().all(|condition| condition.holds(&context))
    }

    #[test]
    fn operators_compare_values() {
        for (operator, policy, request, expected) in [
            ("StringEquals", r#""a""#, "a", true),
            ("StringEquals", r#""a""#, "A", false),
            ("StringEquals", r#"["a","b"]"#, "b", true),
            ("StringEquals", r#""a*""#, "ab", false),
            ("StringEquals", r#""a*""#, "a*", true),
            ("StringEquals", r#""${aws:username}""#, "bob", true),
            ("StringEquals", "true", "true", true),
            ("StringNotEquals", r#"["a","b"]"#, "b", false),
            ("StringNotEquals", r#"["a","b"]"#, "c", true),
            ("StringEqualsIgnoreCase", r#""Äb""#, "äB", true),
            ("StringEqualsIgnoreCase", r#""X${aws:username}""#, "xBOB", true),
            ("StringNotEqualsIgnoreCase", r#""a""#, "A", false),
            ("StringLike", r#""home/${aws:username}/*""#, "home/bob/x", true),
            ("StringLike", r#""a?c""#, "abc", true),
            ("StringNotLike", r#""a*""#, "abc", false),
            ("NumericEquals", "10", "10.0", true),
            ("NumericNotEquals", "10", "11", true),
            ("NumericLessThan", "10", "9.999999999", true),
            ("NumericLessThan", "10", "10", false),
            ("NumericLessThanEquals", r#""10""#, "10", true),
            ("NumericGreaterThan", "-1", "0", true),
            ("NumericGreaterThanEquals", "1", "0", false),
            ("NumericLessThan", "10", "x", false),
            ("NumericEquals", "9007199254740993", "9007199254740992", false),
            ("DateGreaterThan", r#""2026-01-01T00:00:00Z""#, "2026-01-01T00:00:01Z", true),
            ("DateGreaterThan", r#""2026-01-01T00:00:00+02:00""#, "2025-12-31T22:00:01Z", true),
            ("DateLessThan", r#""2026-01-01""#, "2025-12-31T23:59:59Z", true),
            ("DateEquals", "1767225600", "2026-01-01T00:00:00Z", true),
            ("DateNotEquals", "1767225600", "2026-01-01T00:00Z", false),
            ("Bool", "false", "false", true),
            ("Bool", r#""TRUE""#, "true", true),
            ("Bool", "true", "yes", false),
            ("BinaryEquals", r#""QmluYXJ5""#, "QmluYXJ5", true),
            ("BinaryEquals", r#""QmluYXJ5""#, "qmluyxj5", false),
            ("IpAddress", r#""203.0.113.0/24""#, "203.0.113.9", true),
            ("IpAddress", r#""203.0.113.0/24""#, "203.0.114.9", false),
            ("IpAddress", r#""203.0.113.9""#, "::ffff:203.0.113.9", true),
            ("IpAddress", r#""0.0.0.0/0""#, "1.2.3.4", true),
            ("IpAddress", r#""::/0""#, "1.2.3.4", false),
            ("IpAddress", r#""2001:db8::/32""#, "2001:db8:1::1", true),
            ("IpAddress", r#""2001:db8::/32""#, "2001:db9::1", false),
            ("IpAddress", r#""::ffff:10.0.0.0/104""#, "10.1.2.3", true),
            ("IpAddress", r#""10.0.0.0/8""#, "x", false),
            ("NotIpAddress", r#"["10.0.0.0/8","192.168.0.0/16"]"#, "192.168.1.1", false),
            ("NotIpAddress", r#"["10.0.0.0/8","192.168.0.0/16"]"#, "172.16.0.1", true),
            ("ArnEquals", r#""arn:aws:iam::*:role/r*""#, "arn:aws:iam::1:role/reader", true),
            ("ArnLike", r#""arn:aws:*::1:role/r*""#, "arn:aws:iam::1:role/r", true),
            ("ArnNotLike", r#""arn:aws:iam::1:*""#, "arn:aws:iam::1:user/x", false),
            ("Null", "true", "x", false),
            ("Null", "false", "x", true),
        ] {
            assert_eq!(holds(operator, policy, Some(&[request])), expected, "{operator} {policy} {request}");
        }
    }

    #[test]
    fn missing_keys_and_several_values() {
        for (operator, policy, request, expected) in [
            ("StringEquals", r#""a""#, None, false),
            ("StringNotEquals", r#""a""#, None, true),
            ("StringEqualsIfExists", r#""a""#, None, true),
            ("StringEqualsIfExists", r#""a""#, Some(&["b"][..]), false),
            ("StringNotEqualsIfExists", r#""a""#, Some(&["a"]), false),
            ("Bool", "false", None, false),
            ("BoolIfExists", "false", None, true),
            ("Null", "true", None, true),
            ("Null", "true", Some(&[]), true),
            ("Null", "false", None, false),
            ("ForAllValues:StringEquals", r#"["a","b"]"#, Some(&["a", "b"]), true),
            ("ForAllValues:StringEquals", r#"["a","b"]"#, Some(&["a", "c"]), false),
            ("ForAllValues:StringEquals", r#"["a","b"]"#, Some(&["c"]), false),
            ("ForAllValues:StringEquals", r#"["a","b"]"#, None, true),
            ("ForAnyValue:StringEquals", r#"["a","b"]"#, Some(&["a", "c"]), true),
            ("ForAnyValue:StringEquals", r#"["a","b"]"#, Some(&["c", "d"]), false),
            ("ForAnyValue:StringEquals", r#"["a","b"]"#, None, false),
            ("ForAnyValue:StringEqualsIfExists", r#"["a","b"]"#, None, true),
            // Partly overlapping sets tell the negated ones apart.
            ("ForAllValues:StringNotEquals", r#"["a","b"]"#, Some(&["a", "c"]), false),
            ("ForAllValues:StringNotEquals", r#"["a","b"]"#, Some(&["c", "d"]), true),
            ("ForAllValues:StringNotEquals", r#"["a","b"]"#, None, true),
            ("ForAnyValue:StringNotEquals", r#"["a","b"]"#, Some(&["a", "c"]), true),
            ("ForAnyValue:StringNotEquals", r#"["a","b"]"#, Some(&["a", "b"]), false),
            ("ForAnyValue:StringNotEquals", r#"["a","b"]"#, None, false),
            ("ForAllValues:StringNotLike", r#"["a*"]"#, Some(&["ax", "c"]), false),
            // Without a set operator.
            ("StringEquals", r#""a""#, Some(&["a", "b"]), true),
            ("StringNotEquals", r#""a""#, Some(&["a", "b"]), false),
        ] {
            assert_eq!(holds(operator, policy, request), expected, "{operator} {policy} {request:?}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for bad in [
            "[]",
            r#"{"StringEquals":"x"}"#,
            r#"{"StringEquals":{}}"#,
            r#"{"StringEquals":{"aws:username":[]}}"#,
            r#"{"StringEquals":{"aws:username":null}}"#,
            r#"{"StringEquals":{"aws:username":[["x"]]}}"#,
            r#"{"StringEquals":{"aws:usrname":"x"}}"#,
            r#"{"StringEquals":{"aws:username":"${aws:usrname}"}}"#,
            r#"{"StringIs":{"aws:username":"x"}}"#,
            r#"{"stringequals":{"aws:username":"x"}}"#,
            r#"{"ForSomeValues:StringEquals":{"aws:username":"x"}}"#,
            r#"{"StringEqualsIfExistsIfExists":{"aws:username":"x"}}"#,
            r#"{"NotStringEquals":{"aws:username":"x"}}"#,
            r#"{"NumericEquals":{"s3:max-keys":"ten"}}"#,
            r#"{"NumericEquals":{"s3:max-keys":"1e3"}}"#,
            r#"{"NumericLike":{"s3:max-keys":"1"}}"#,
            r#"{"DateEquals":{"aws:CurrentTime":"yesterday"}}"#,
            r#"{"Bool":{"aws:SecureTransport":"no"}}"#,
            r#"{"BoolNot":{"aws:SecureTransport":"true"}}"#,
            r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#,
            r#"{"IpAddress":{"aws:SourceIp":"10.0.0/8"}}"#,
            r#"{"IpAddress":{"aws:SourceIp":"${aws:SourceIp}"}}"#,
            r#"{"BinaryEquals":{"s3:prefix":"QQ"}}"#,
            r#"{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam"}}"#,
            // No wildcard stands for several parts.
            r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:*:1:role/r"}}"#,
            r#"{"NullIfExists":{"aws:username":"true"}}"#,
            r#"{"ForAllValues:Null":{"aws:username":"true"}}"#,
            r#"{"Null":{"aws:username":"x"}}"#,
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
