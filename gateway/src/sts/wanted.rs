//! What a session is asked to be: the parameters that AssumeRole and its siblings share, checked. Pure.

use super::bad;
use crate::directory;
use crate::query_api::{Form, Refusal};
use authn::policy::{Policy, Purpose};
use cluster::State;
use common::OwnerId;
use std::collections::{BTreeMap, BTreeSet};

pub const SECONDS_MIN: u64 = 900;
const SECONDS_DEFAULT: u64 = 3600;

/// In characters; AWS's.
const ARN_LENGTHS: std::ops::RangeInclusive<usize> = 20..=2048;
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 2..=64;
const POLICY_LENGTH_MAX: usize = 2048;
const POLICY_ARNS_MAX: usize = 10;
const TAGS_MAX: usize = 50;
const TAG_KEY_LENGTH_MAX: usize = 128;
const TAG_VALUE_LENGTH_MAX: usize = 256;
const EXTERNAL_ID_LENGTHS: std::ops::RangeInclusive<usize> = 2..=1224;

#[derive(Debug, PartialEq, Eq)]
pub struct Wanted<'f> {
    pub role_arn: &'f str,
    pub session_name: &'f str,
    seconds: Option<u64>,
    pub policy: Option<&'f str>,
    pub policy_arns: Vec<&'f str>,
    pub tags: BTreeMap<String, String>,
    pub external_id: Option<&'f str>,
}

impl<'f> Wanted<'f> {
    pub fn of(form: &'f Form) -> Result<Self, Refusal> {
        let role_arn = sized(form, "RoleArn", &ARN_LENGTHS)?;
        let session_name = sized(form, "RoleSessionName", &NAME_LENGTHS)?;
        let of_a_name = |character: char| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character);
        if !session_name.chars().all(of_a_name) {
            return Err(pattern("roleSessionName", r"[\w+=,.@-]*"));
        }
        let external_id = form.optional("ExternalId").map(|_| sized(form, "ExternalId", &EXTERNAL_ID_LENGTHS));
        let external_id = external_id.transpose()?;
        if !external_id.unwrap_or("").chars().all(|character| of_a_name(character) || ":/".contains(character)) {
            return Err(pattern("externalId", r"[\w+=,.@:\/-]*"));
        }
        let policy = form.optional("Policy").filter(|policy| !policy.is_empty());
        if let Some(text) = policy {
            if text.chars().count() > POLICY_LENGTH_MAX {
                return Err(bad(
                    "PackedPolicyTooLarge",
                    format!("Policy has more than {POLICY_LENGTH_MAX} characters"),
                ));
            }
            Policy::parse(text, Purpose::Identity)
                .map_err(|error| bad("MalformedPolicyDocument", format!("Policy: {error}")))?;
        }
        Ok(Self {
            role_arn,
            session_name,
            seconds: seconds(form, crate::sessions::SESSION_SECONDS_MAX)?,
            policy,
            policy_arns: policy_arns(form)?,
            tags: tags(form)?,
            external_id,
        })
    }

    /// How long the session is to be, of a role that allows sessions of so many seconds.
    pub fn seconds(&self, most: u64) -> Result<u64, Refusal> {
        let seconds = self.seconds.unwrap_or(SECONDS_DEFAULT.min(most));
        if seconds > most {
            return Err(Refusal::validation(format!(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role, which is {most}"
            )));
        }
        Ok(seconds)
    }

    /// Whether all managed policies are there.
    pub fn check_policies(&self, state: &State, account: &OwnerId) -> Result<(), Refusal> {
        let is_absent = |arn: &&&str| directory::managed_text(&state.iam, account, arn).is_none();
        match self.policy_arns.iter().find(is_absent) {
            Some(arn) => Err(Refusal::validation(format!("PolicyArns: there is no policy {arn}"))),
            None => Ok(()),
        }
    }
}

/// `DurationSeconds`.
pub fn seconds(form: &Form, most: u64) -> Result<Option<u64>, Refusal> {
    let (least, most) = (bounded(SECONDS_MIN), bounded(most));
    Ok(form.number("DurationSeconds", least, most)?.map(u64::from))
}

fn bounded(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn policy_arns(form: &Form) -> Result<Vec<&str>, Refusal> {
    let entries = form.entries("PolicyArns", &["arn"])?;
    if entries.len() > POLICY_ARNS_MAX {
        return Err(Refusal::validation(format!("PolicyArns has more than {POLICY_ARNS_MAX} members")));
    }
    let arns = entries.into_iter().map(|entry| entry.first().copied().flatten());
    arns.map(|arn| arn.ok_or_else(|| Refusal::validation("PolicyArns has a member without arn"))).collect()
}

fn tags(form: &Form) -> Result<BTreeMap<String, String>, Refusal> {
    let tags = form.tags("Tags")?;
    check_tags(&tags)?;
    Ok(tags)
}

/// Whether a session may have these tags.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if tags.len() > TAGS_MAX {
        return Err(Refusal::validation(format!("Tags has more than {TAGS_MAX} members")));
    }
    let lower: BTreeSet<String> = tags.keys().map(|key| key.to_lowercase()).collect();
    if lower.len() < tags.len() {
        return Err(bad("InvalidParameterValue", "Duplicate tag keys found: tag keys differ by more than case."));
    }
    for (key, value) in tags {
        let in_key = (1..=TAG_KEY_LENGTH_MAX).contains(&key.chars().count());
        let sound = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
        let in_value = value.chars().count() <= TAG_VALUE_LENGTH_MAX;
        if !in_key || !in_value || !sound(key) || !sound(value) || key.to_lowercase().starts_with("aws:") {
            return Err(Refusal::validation(format!("Tags: {key} is no tag's key, or its value is none")));
        }
    }
    Ok(())
}

fn sized<'f>(form: &'f Form, name: &str, lengths: &std::ops::RangeInclusive<usize>) -> Result<&'f str, Refusal> {
    let value = form.required(name)?;
    if !lengths.contains(&value.chars().count()) {
        return Err(Refusal::validation(format!(
            "Value at '{}' failed to satisfy constraint: Member must have length between {} and {}",
            crate::query_api::camel(name),
            lengths.start(),
            lengths.end()
        )));
    }
    Ok(value)
}

fn pattern(name: &str, pattern: &str) -> Refusal {
    Refusal::validation(format!(
        "Value at '{name}' failed to satisfy constraint: Member must satisfy regular expression pattern: {pattern}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "RoleArn=arn:aws:iam::123456789012:role/reader";

    fn wanted(rest: &str) -> Result<(u64, usize, usize), &'static str> {
        let form = Form::parse(ROLE, rest.as_bytes()).expect("a form");
        let wanted = Wanted::of(&form).map_err(|refusal| refusal.code)?;
        let seconds = wanted.seconds(7200).map_err(|refusal| refusal.code)?;
        Ok((seconds, wanted.policy_arns.len(), wanted.tags.len()))
    }

    #[test]
    fn sessions_are_asked_for_within_bounds() {
        assert_eq!(wanted("RoleSessionName=a@b"), Ok((3600, 0, 0)));
        assert_eq!(wanted("RoleSessionName=ab&DurationSeconds=900"), Ok((900, 0, 0)));
        assert_eq!(wanted("RoleSessionName=ab&DurationSeconds=7200"), Ok((7200, 0, 0)));
        let arns = "PolicyArns.member.1.arn=arn:aws:iam::aws:policy/x&PolicyArns.member.2.arn=y";
        let tags = "Tags.member.1.Key=Team&Tags.member.1.Value=blue";
        assert_eq!(wanted(&format!("RoleSessionName=ab&{arns}&{tags}&ExternalId=a:b/c")), Ok((3600, 2, 1)));
        for bad in [
            "",
            "RoleSessionName=a",
            "RoleSessionName=a/b",
            "RoleSessionName=a%20b",
            &format!("RoleSessionName={}", "a".repeat(65)),
            "RoleSessionName=ab&DurationSeconds=899",
            "RoleSessionName=ab&DurationSeconds=7201",
            "RoleSessionName=ab&DurationSeconds=43201",
            "RoleSessionName=ab&DurationSeconds=1e3",
            "RoleSessionName=ab&DurationSeconds=-900",
            "RoleSessionName=ab&ExternalId=a",
            "RoleSessionName=ab&ExternalId=a%20b",
            "RoleSessionName=ab&PolicyArns.member.1.other=x",
            "RoleSessionName=ab&Tags.member.1.Key=aws:x&Tags.member.1.Value=y",
            "RoleSessionName=ab&Tags.member.1.Key=&Tags.member.1.Value=y",
            "RoleSessionName=ab&Tags.member.1.Key=a%00b&Tags.member.1.Value=y",
        ] {
            assert_eq!(wanted(bad), Err("ValidationError"), "{bad}");
        }
        let cases =
            "RoleSessionName=ab&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Key=A&Tags.member.2.Value=";
        assert_eq!(wanted(cases), Err("InvalidParameterValue"));
        // Also where another one stands between them.
        let apart = |keys: &[&str]| check_tags(&keys.iter().map(|key| ((*key).to_owned(), String::new())).collect());
        assert_eq!(apart(&["A", "B", "a"]).map_err(|refusal| refusal.code), Err("InvalidParameterValue"));
        assert!(apart(&["A", "B", "c"]).is_ok());
        assert_eq!(wanted("RoleSessionName=ab&Policy=%7B"), Err("MalformedPolicyDocument"));
        let long = format!("RoleSessionName=ab&Policy={}", "x".repeat(2049));
        assert_eq!(wanted(&long), Err("PackedPolicyTooLarge"));
    }
}
