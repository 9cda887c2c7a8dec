//! The policy of a form upload: who signed it, how long it holds, and what the form's fields and file must be. Pure.
//!
//! Source: "POST Policy", Amazon S3 API Reference (sigv4-HTTPPOSTConstructPolicy).

use crate::admission::{self, ProofKind};
use crate::error::{Error, Result};
use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::{Clock, sigv2, sigv4};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Dates of a form may lie this far ahead.
const SKEW_SECONDS: u64 = 900;

/// The fields before the file, with names in lower case.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    pub fn add(&mut self, name: &str, value: String) -> Result<()> {
        let name = name.to_ascii_lowercase();
        if self.0.len() == limits::FORM_FIELDS_MAX {
            return Err(Error::InvalidArgument(format!("a form has at most {} fields", limits::FORM_FIELDS_MAX)));
        }
        // A condition would hold of one value and the object be made with the other.
        if self.get(&name).is_some() {
            return Err(Error::InvalidArgument(format!("POST form has the field {name} twice")));
        }
        self.0.push((name, value));
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn needs(&self, name: &'static str) -> Result<&str> {
        self.get(name).ok_or_else(|| {
            Error::InvalidArgument(format!(
                "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
            ))
        })
    }
}

/// Who signed a form's policy, and the policy as it was signed.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed<'f> {
    pub access_key: &'f str,
    policy: &'f str,
    proof: Proof<'f>,
}

#[derive(Debug, PartialEq, Eq)]
enum Proof<'f> {
    Version4 { scope: sigv4::Scope, date: &'f str, signature: &'f str },
    Version2 { signature: &'f str },
}

impl<'f> Signed<'f> {
    /// `None`: nobody signed the form. `check_scope` is the guard's.
    pub fn of(
        fields: &'f Fields,
        version_2: bool,
        now_ms: u64,
        check_scope: impl Fn(&str) -> Result<()>,
    ) -> Result<Option<Self>> {
        let says_version_4 = ["x-amz-algorithm", "x-amz-credential", "x-amz-signature"];
        let is_version_4 = says_version_4.iter().any(|name| fields.get(name).is_some());
        let is_version_2 = fields.get("awsaccesskeyid").is_some() || fields.get("signature").is_some();
        if is_version_4 && is_version_2 {
            return Err(Error::InvalidArgument("Only one auth mechanism allowed".to_owned()));
        }
        if !is_version_4 && !is_version_2 && fields.get("policy").is_none() {
            return Ok(None);
        }
        let policy = fields.needs("policy")?;
        if !is_version_4 {
            if fields.get("x-amz-security-token").is_some() {
                return Err(Error::InvalidToken);
            }
            if !version_2 {
                return Err(Error::InvalidRequest(
                    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
                        .to_owned(),
                ));
            }
            let access_key = fields.needs("awsaccesskeyid")?;
            return Ok(Some(Self {
                access_key,
                policy,
                proof: Proof::Version2 { signature: fields.needs("signature")? },
            }));
        }
        if fields.needs("x-amz-algorithm")? != sigv4::ALGORITHM {
            return Err(Error::InvalidArgument("X-Amz-Algorithm only supports AWS4-HMAC-SHA256".to_owned()));
        }
        let credential = fields.needs("x-amz-credential")?;
        check_scope(credential)?;
        let malformed = || Error::AuthorizationMalformed("The credential is malformed".to_owned());
        let mut parts = credential.rsplitn(5, '/').skip(1);
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or_else(malformed);
        let (service, region, date, access_key) = (next()?, next()?, next()?, next()?);
        check_date(fields.needs("x-amz-date")?, date, now_ms)?;
        let scope = sigv4::Scope { date: date.to_owned(), region: region.to_owned(), service: service.to_owned() };
        let proof =
            Proof::Version4 { scope, date: fields.needs("x-amz-date")?, signature: fields.needs("x-amz-signature")? };
        Ok(Some(Self { access_key, policy, proof }))
    }

    /// How it is signed, for the decision.
    pub fn proof(&self) -> admission::Proof {
        let (kind, date) = match &self.proof {
            Proof::Version4 { scope: _, date, .. } => (ProofKind::Form, sigv4::parse_timestamp(date)),
            Proof::Version2 { .. } => (ProofKind::OldForm, None),
        };
        admission::Proof { kind, signed_ms: date }
    }

    /// The policy, if the holder of `secret` signed it. Every wrong signature takes the same time.
    pub fn verify(&self, secret: &str) -> Result<Policy> {
        let right = match &self.proof {
            Proof::Version4 { scope, signature, .. } => {
                sigv4::policy_signature(secret, scope, self.policy).as_bytes().ct_eq(signature.as_bytes())
            }
            Proof::Version2 { signature } => {
                BASE64.encode(sigv2::signature(secret, self.policy)).as_bytes().ct_eq(signature.as_bytes())
            }
        };
        if !bool::from(right) {
            return Err(Error::SignatureDoesNotMatch);
        }
        Policy::parse(self.policy)
    }
}

/// The form's date is that of its credential, and the key that signed with it is still good.
fn check_date(text: &str, credential_date: &str, now_ms: u64) -> Result<()> {
    let malformed = || Error::AuthorizationMalformed("X-Amz-Date must be in the ISO8601 Long Format".to_owned());
    let date_ms = sigv4::parse_timestamp(text).ok_or_else(malformed)?;
    if !text.starts_with(credential_date) || credential_date.len() != 8 {
        return Err(Error::AuthorizationMalformed("The date of the credential is not that of X-Amz-Date".to_owned()));
    }
    let ahead = date_ms > now_ms.saturating_add(SKEW_SECONDS * 1000);
    if ahead || now_ms.saturating_sub(date_ms) > limits::FORM_AGE_SECONDS_MAX * 1000 {
        return Err(Error::PolicyRefused("its date is too far from now.".to_owned()));
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    expires: OffsetDateTime,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Equals { field: String, value: String },
    StartsWith { field: String, prefix: String },
    Length(RangeInclusive<u64>),
}

impl Policy {
    fn parse(encoded: &str) -> Result<Self> {
        let wrong = Error::InvalidPolicyDocument;
        // Encoders of mail break lines.
        let text: Vec<u8> = encoded.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let json = BASE64.decode(text).map_err(|_| wrong("it is not base64."))?;
        let document: Map<String, Value> = serde_json::from_slice(&json).map_err(|_| wrong("Invalid JSON."))?;
        if document.keys().any(|name| name != "expiration" && name != "conditions") {
            return Err(wrong("Unexpected element."));
        }
        let expiration =
            document.get("expiration").and_then(Value::as_str).ok_or(wrong("Policy missing expiration."))?;
        // The library takes any character where ISO 8601 has its T.
        let expires = OffsetDateTime::parse(expiration, &Rfc3339).ok().filter(|_| expiration.as_bytes()[10] == b'T');
        let expires = expires.ok_or(wrong("Invalid 'expiration' value."))?;
        let conditions =
            document.get("conditions").and_then(Value::as_array).ok_or(wrong("Policy missing conditions."))?;
        let conditions = conditions.iter().map(condition).collect::<Result<Vec<_>>>()?;
        Ok(Self { expires, conditions: conditions.into_iter().flatten().collect() })
    }

    /// Whether it still holds, and holds of these fields. Every field has to be named by a condition.
    pub fn check(&self, fields: &Fields, bucket: &str, clock: &dyn Clock) -> Result<()> {
        let now_ms = i128::from(clock.now_ms());
        if self.expires.unix_timestamp_nanos() / 1_000_000 <= now_ms {
            return Err(Error::PolicyRefused("Policy expired.".to_owned()));
        }
        // The bucket is in the URL, and a form may say it again.
        let value = |field: &str| if field == "bucket" { Some(bucket) } else { fields.get(field) };
        for condition in &self.conditions {
            if !condition.holds(value) {
                return Err(Error::PolicyRefused(format!("Policy Condition failed: {condition}")));
            }
        }
        let named = |name: &str| self.conditions.iter().any(|condition| condition.field() == Some(name));
        let must = fields.iter().map(|(name, _)| name).filter(|name| !is_exempt(name)).chain(["bucket"]);
        match must.into_iter().find(|name| !named(name)) {
            Some(name) => Err(Error::PolicyRefused(format!("Extra input fields: {name}"))),
            None if fields.get("bucket").is_some_and(|named| named != bucket) => {
                Err(Error::PolicyRefused("the field bucket is not the bucket of the request.".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// The lengths in bytes that the file may have.
    pub fn lengths(&self) -> RangeInclusive<u64> {
        let ranges = self.conditions.iter().filter_map(|condition| match condition {
            Condition::Length(range) => Some(range),
            Condition::Equals { .. } | Condition::StartsWith { .. } => None,
        });
        ranges
            .fold(0..=limits::PUT_BYTES_MAX, |all, range| *all.start().max(range.start())..=*all.end().min(range.end()))
    }
}

/// Fields that no condition need name: the signature itself, what clients mark so, and a checksum, which can only make
/// the upload fail.
fn is_exempt(name: &str) -> bool {
    ["policy", "signature", "awsaccesskeyid", "x-amz-signature"].contains(&name)
        || name.starts_with("x-ignore-")
        || name.starts_with("x-amz-checksum-")
}

fn condition(value: &Value) -> Result<Vec<Condition>> {
    let wrong = Error::InvalidPolicyDocument("Invalid Condition.");
    match value {
        Value::Object(pairs) if !pairs.is_empty() => pairs
            .iter()
            .map(|(field, value)| {
                let value = value.as_str().ok_or(Error::InvalidPolicyDocument("Invalid Simple-Condition."))?;
                Ok(Condition::Equals { field: field.to_ascii_lowercase(), value: value.to_owned() })
            })
            .collect(),
        Value::Array(items) => match items.as_slice() {
            [operator, first, second] => Ok(vec![three(operator.as_str().unwrap_or(""), first, second)?]),
            _ => Err(wrong),
        },
        _ => Err(wrong),
    }
}

fn three(operator: &str, first: &Value, second: &Value) -> Result<Condition> {
    let wrong = || Error::InvalidPolicyDocument("Invalid Condition.");
    let text = || Some((first.as_str()?.strip_prefix('$')?.to_ascii_lowercase(), second.as_str()?.to_owned()));
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    match operator.to_ascii_lowercase().as_str() {
        "eq" => text().map(|(field, value)| Condition::Equals { field, value }).ok_or_else(wrong),
        "starts-with" => text().map(|(field, prefix)| Condition::StartsWith { field, prefix }).ok_or_else(wrong),
        "content-length-range" => {
            let range = number(first).zip(number(second)).ok_or_else(wrong)?;
            Ok(Condition::Length(range.0..=range.1))
        }
        _ => Err(wrong()),
    }
}

impl Condition {
    fn field(&self) -> Option<&str> {
        match self {
            Self::Equals { field, .. } | Self::StartsWith { field, .. } => Some(field),
            Self::Length(_) => None,
        }
    }

    /// The file's length is seen when it has come.
    fn holds<'f>(&self, value_of: impl Fn(&str) -> Option<&'f str>) -> bool {
        match self {
            Self::Equals { field, value } => value_of(field) == Some(value),
            // Several types in one field each have to begin so.
            Self::StartsWith { field, prefix } if field == "content-type" => value_of(field)
                .is_some_and(|types| types.split(',').all(|one| one.trim_start().starts_with(prefix.as_str()))),
            // Any value will do where the prefix is empty, and so will none.
            Self::StartsWith { field, prefix } => value_of(field).unwrap_or("").starts_with(prefix.as_str()),
            Self::Length(_) => true,
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Equals { field, value } => write!(f, "[\"eq\", \"${field}\", \"{value}\"]"),
            Self::StartsWith { field, prefix } => write!(f, "[\"starts-with\", \"${field}\", \"{prefix}\"]"),
            Self::Length(range) => write!(f, "[\"content-length-range\", {}, {}]", range.start(), range.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SimulatedClock;

    const NOW_MS: u64 = 1_767_323_045_000; // 2026-01-02T03:04:05Z
    const SECRET: &str = "a secret";

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).expect("once");
        }
        fields
    }

    fn policy(conditions: &str) -> Result<Policy> {
        let json = format!("{{\"expiration\": \"2026-01-02T04:00:00Z\", \"conditions\": [{conditions}]}}");
        Policy::parse(&BASE64.encode(json))
    }

    fn outcome(conditions: &str, pairs: &[(&str, &str)]) -> String {
        let clock = SimulatedClock::starting_at(NOW_MS);
        let checked = policy(conditions).and_then(|policy| policy.check(&fields(pairs), "b", &*clock));
        checked.map_or_else(|error| format!("{} {error}", error.answer().code), |()| "ok".to_owned())
    }

    #[test]
    fn every_condition_must_hold_and_every_field_be_named() {
        let bucket = r#"{"bucket": "b"}"#;
        let key = r#"["starts-with", "$KEY", "foo"]"#;
        let with = |more: &str, pairs: &[(&str, &str)]| outcome(&format!("{bucket}, {key}{more}"), pairs);
        assert_eq!(with("", &[("Key", "foo.txt")]), "ok");
        assert!(
            with("", &[("Key", "bar.txt")]).contains("Policy Condition failed: [\"starts-with\", \"$key\", \"foo\"]")
        );
        assert!(with("", &[("key", "foo"), ("x-amz-meta-a", "1")]).contains("Extra input fields: x-amz-meta-a"));
        assert!(with(r#", ["eq", "$x-amz-meta-a", "1"]"#, &[("key", "foo")]).starts_with("AccessDenied"));
        assert_eq!(with(r#", ["eq", "$x-amz-meta-a", "1"]"#, &[("key", "foo"), ("X-Amz-Meta-A", "1")]), "ok");
        let exempt = [("key", "foo"), ("x-ignore-me", "1"), ("signature", "s"), ("x-amz-checksum-crc32", "AAAAAA==")];
        assert_eq!(with("", &exempt), "ok");
        let types = r#", ["starts-with", "$Content-Type", "image/"]"#;
        assert_eq!(with(types, &[("key", "foo"), ("content-type", "image/png, image/gif")]), "ok");
        assert!(with(types, &[("key", "foo"), ("content-type", "image/png,text/html")]).starts_with("AccessDenied"));
        assert!(outcome(key, &[("key", "foo")]).contains("Extra input fields: bucket"));
        assert!(outcome(r#"{"bucket": "other"}"#, &[]).starts_with("AccessDenied"));
        assert!(with("", &[("key", "foo"), ("bucket", "c")]).starts_with("AccessDenied"));
    }

    #[test]
    fn lengths_are_what_all_ranges_allow() {
        let lengths = |conditions: &str| policy(conditions).expect("valid").lengths();
        assert_eq!(lengths(""), 0..=limits::PUT_BYTES_MAX);
        assert_eq!(lengths(r#"["content-length-range", 5, "10"]"#), 5..=10);
        assert_eq!(lengths(r#"["content-length-range", 5, 10], ["content-length-range", 0, 7]"#), 5..=7);
        for wrong in ["-1, 0", "0", "1, 2, 3", "\"a\", 2", "1.5, 2"] {
            assert!(policy(&format!("[\"content-length-range\", {wrong}]")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn malformed_policies_are_refused() {
        let code = |json: &str| Policy::parse(&BASE64.encode(json)).expect_err("refused").answer().code;
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"expiration": "2026-01-02T04:00:00Z"}"#,
            r#"{"expiration": "2026-01-02 04:00:00+00:00", "conditions": []}"#,
            r#"{"EXPIRATION": "2026-01-02T04:00:00Z", "conditions": []}"#,
            r#"{"expiration": "2026-01-02T04:00:00Z", "CONDITIONS": []}"#,
            r#"{"expiration": "2026-01-02T04:00:00Z", "conditions": [{}]}"#,
            r#"{"expiration": "2026-01-02T04:00:00Z", "conditions": [["ends-with", "$key", "a"]]}"#,
            r#"{"expiration": "2026-01-02T04:00:00Z", "conditions": [["eq", "key", "a"]]}"#,
            r#"{"expiration": "2026-01-02T04:00:00Z", "conditions": [{"key": 1}]}"#,
        ] {
            assert_eq!(code(wrong), "InvalidPolicyDocument", "{wrong}");
        }
        assert_eq!(Policy::parse("!").expect_err("refused").answer().code, "InvalidPolicyDocument");
    }

    #[test]
    fn policies_expire() {
        let late = SimulatedClock::starting_at(NOW_MS + 3_600_000);
        let checked = policy(r#"{"bucket": "b"}"#).expect("valid").check(&Fields::default(), "b", &*late);
        assert!(checked.expect_err("expired").to_string().contains("expired"));
    }

    fn code(pairs: &[(&str, &str)], version_2: bool) -> &'static str {
        let fields = fields(pairs);
        let signed = Signed::of(&fields, version_2, NOW_MS, |_| Ok(()));
        match signed.and_then(|signed| signed.map(|signed| signed.verify(SECRET)).transpose()) {
            Ok(Some(_)) => "ok",
            Ok(None) => "anonymous",
            Err(error) => error.answer().code,
        }
    }

    fn form<'p>(policy: &'p str, signature: &'p str, date: &'p str) -> [(&'static str, &'p str); 5] {
        [
            ("policy", policy),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", "AK/20260102/us-east-1/s3/aws4_request"),
            ("x-amz-date", date),
            ("x-amz-signature", signature),
        ]
    }

    #[test]
    fn signatures_of_version_4_are_verified() {
        let policy = BASE64.encode(r#"{"expiration": "2026-01-02T04:00:00Z", "conditions": []}"#);
        let scope =
            sigv4::Scope { date: "20260102".to_owned(), region: "us-east-1".to_owned(), service: "s3".to_owned() };
        let signature = sigv4::policy_signature(SECRET, &scope, &policy);
        let date = "20260102T030000Z";
        assert_eq!(code(&form(&policy, &signature, date), false), "ok");
        assert_eq!(code(&form(&policy, &"0".repeat(64), date), false), "SignatureDoesNotMatch");
        assert_eq!(code(&form(&policy, "", date), false), "SignatureDoesNotMatch");
        let other = BASE64.encode("{}");
        assert_eq!(code(&form(&other, &signature, date), false), "SignatureDoesNotMatch");
        assert_eq!(code(&form(&policy, &signature, "20260101T030000Z"), false), "AuthorizationHeaderMalformed");
        assert_eq!(code(&form(&policy, &signature, "20260102T040000Z"), false), "AccessDenied");
        assert_eq!(code(&form(&policy, &signature, date)[..4], false), "InvalidArgument");
        assert_eq!(code(&form(&policy, &signature, date)[1..], false), "InvalidArgument");
        assert_eq!(code(&[], false), "anonymous");
        assert_eq!(code(&[("key", "a")], false), "anonymous");
        let mut with_token = form(&policy, &signature, date).to_vec();
        with_token.push(("x-amz-security-token", "t"));
        // Whether it is one decides who looks the secret up.
        assert_eq!(code(&with_token, false), "ok");
    }

    #[test]
    fn signatures_of_version_2_need_a_switch() {
        let policy = BASE64.encode(r#"{"expiration": "2026-01-02T04:00:00Z", "conditions": []}"#);
        let signature = BASE64.encode(sigv2::signature(SECRET, &policy));
        let form = [("policy", policy.as_str()), ("AWSAccessKeyId", "AK"), ("signature", signature.as_str())];
        assert_eq!(code(&form, false), "InvalidRequest");
        assert_eq!(code(&form, true), "ok");
        assert_eq!(code(&form[..2], true), "InvalidArgument");
        assert_eq!(code(&[form[0], form[1], form[2], ("x-amz-security-token", "t")], true), "InvalidToken");
        assert_eq!(code(&[form[0], form[1], ("signature", "AAAA")], true), "SignatureDoesNotMatch");
        assert_eq!(
            code(&[form[0], form[1], form[2], ("x-amz-algorithm", "AWS4-HMAC-SHA256")], true),
            "InvalidArgument"
        );
    }

    #[test]
    fn a_field_is_there_once() {
        let mut fields = fields(&[("Key", "a")]);
        assert!(fields.add("key", "b".to_owned()).is_err());
        assert_eq!(fields.get("key"), Some("a"));
    }
}
