//! From the text of a policy to statements. Strict: what is not understood as a whole is refused with a sentence.

use super::json::Json;
use super::statement::{self, Scope, Statement};
use super::{Policy, PolicyError, Purpose};
use crate::limits;
use std::collections::BTreeSet;

const VERSION: &str = "2012-10-17";
/// The first one, and what a policy without a version is: it has no variables.
const VERSION_WITHOUT_VARIABLES: &str = "2008-10-17";

pub(super) fn parse(text: &str, purpose: Purpose<'_>) -> Result<Policy, PolicyError> {
    check_length(text, purpose).map_err(PolicyError)?;
    let Json::Map(elements) = Json::parse(text).map_err(PolicyError)? else {
        return Err(PolicyError("a policy is a JSON map".to_owned()));
    };
    let (mut variables, mut found) = (false, None);
    for (key, value) in elements {
        match (&*key, value) {
            ("Version", Json::Text(version)) if version == VERSION => variables = true,
            ("Version", Json::Text(version)) if version == VERSION_WITHOUT_VARIABLES => {}
            ("Version", _) => {
                let text = format!("the Version must be {VERSION:?} or {VERSION_WITHOUT_VARIABLES:?}");
                return Err(PolicyError(text));
            }
            ("Id", Json::Text(_)) => {}
            ("Id", other) => return Err(PolicyError(format!("the Id is {} where a string belongs", other.kind()))),
            ("Statement", value) => found = Some(value),
            _ => return Err(PolicyError(format!("the policy has an unknown element {key:?}"))),
        }
    }
    let statements = match found {
        Some(Json::List(list)) if !list.is_empty() => list,
        Some(one @ Json::Map(_)) => vec![one],
        Some(Json::List(_)) | None => return Err(PolicyError("the policy has no Statement".to_owned())),
        Some(other) => return Err(PolicyError(format!("the Statement is {} where a list belongs", other.kind()))),
    };
    let mut scopes: Vec<Scope> = Vec::new();
    let mut sids = BTreeSet::new();
    for (index, json) in statements.into_iter().enumerate() {
        let place = index + 1;
        let sid = sid_of(&json).map(str::to_owned);
        let named =
            sid.as_ref().map_or_else(|| format!("statement {place}"), |sid| format!("statement {place} ({sid:?})"));
        if let Some(sid) = sid.filter(|sid| !sid.is_empty())
            && !sids.insert(sid)
        {
            return Err(PolicyError(format!("{named} has the Sid of another one")));
        }
        let scope =
            statement::parse(json, place, purpose, variables).map_err(|why| PolicyError(format!("{named} {why}")))?;
        match scopes.iter_mut().find(|known| known.is_of(&scope)) {
            Some(known) => known.statements.extend(scope.statements),
            None => scopes.push(scope),
        }
    }
    let keys = scopes.iter().flat_map(|scope| scope.keys().chain(scope.statements.iter().flat_map(Statement::keys)));
    let mut keys: Vec<Box<str>> = keys.map(Box::from).collect();
    keys.sort_unstable();
    keys.dedup();
    Ok(Policy { scopes: scopes.into(), keys: keys.into() })
}

fn sid_of(json: &Json) -> Option<&str> {
    let Json::Map(elements) = json else { return None };
    elements.iter().find_map(|(key, value)| match value {
        Json::Text(sid) if key == "Sid" && sid.len() <= limits::SID_BYTES_MAX => Some(&**sid),
        _ => None,
    })
}

fn check_length(text: &str, purpose: Purpose<'_>) -> Result<(), String> {
    let limit = match purpose {
        Purpose::Bucket(_) => {
            let limit = limits::BUCKET_POLICY_BYTES_MAX;
            return if text.len() <= limit {
                Ok(())
            } else {
                Err(format!("a bucket policy has at most {limit} bytes"))
            };
        }
        Purpose::Identity => limits::IDENTITY_POLICY_CHARACTERS_MAX,
        Purpose::Trust => limits::TRUST_POLICY_CHARACTERS_MAX,
    };
    if text.len() > limits::POLICY_TEXT_BYTES_MAX || characters(text) > limit {
        return Err(format!("the policy has more than {limit} characters"));
    }
    Ok(())
}

/// The length of a policy as IAM counts it: without white space.
pub fn characters(text: &str) -> usize {
    text.chars().filter(|letter| !letter.is_whitespace()).count()
}
