//! Limits of rates and bandwidths: `/api/v1/limits`. What a rule is, `rates/rule.rs` reads; where it stands, the control store.

use crate::admin::problem::Problem;
use crate::admin::routes::Route;
use crate::admin::{AdminParts, Answer};
use crate::directory;
use crate::rates::{self, Asker, KEYS_MAX, Rule, TABLE_BYTES_MAX, Verb};
use authn::Identity;
use cluster::{Applied, Command, Limit, State};
use common::BucketName;
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;

pub(super) async fn answer(
    parts: &AdminParts,
    state: &State,
    (route, name): (Route, &str),
    head: &Head,
    body: &[u8],
) -> Result<Answer, Problem> {
    match route {
        Route::GetLimit => match state.limits.get(name) {
            Some(limit) => Ok(described(limit)),
            None => Err(cluster::Error::NoSuchLimit(name.to_owned()).into()),
        },
        Route::PutLimit => put(parts, name, head, body).await,
        Route::DeleteLimit => delete(parts, name, head).await,
        Route::ExplainLimits => explain(parts, state, body),
        _ => Ok(list(parts, state)),
    }
}

fn list(parts: &AdminParts, state: &State) -> Answer {
    let built_in = parts.rates.as_ref().and_then(|rates| rates.built_in()).map(|rule| {
        let mut shown = rule.to_json();
        shown["built_in"] = json!(true);
        shown
    });
    let limits: Vec<Value> = built_in.into_iter().chain(state.limits.values().map(|limit| shown(limit))).collect();
    let kept = parts.rates.as_ref().map_or(0, |rates| rates.keys());
    let keys = json!({ "kept": kept, "max": KEYS_MAX, "bytes_max": TABLE_BYTES_MAX });
    Answer::json(StatusCode::OK, json!({ "limits": limits, "keys": keys }))
}

async fn put(parts: &AdminParts, name: &str, head: &Head, body: &[u8]) -> Result<Answer, Problem> {
    let mut document: Value =
        serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("the rule is no JSON: {error}")))?;
    // Whoever changes what it has read, and sends it back, says of what it is a change.
    let read = document.as_object_mut().and_then(|document| document.remove("version"));
    let expected = match (expected(&head.headers)?, read) {
        (expected, None) => expected,
        (None, Some(version)) => {
            Some(version.as_u64().ok_or_else(|| Problem::invalid("version is a whole number, and 0 for a new limit"))?)
        }
        _ => return Err(Problem::invalid("the version is in a header or in the body, and not in both")),
    };
    let rule = Rule::parse(name, document.to_string().as_bytes()).map_err(Problem::invalid)?;
    let document = Some(rule.to_json().to_string());
    let command = Command::SetLimit { name: name.to_owned(), document, expected };
    let applied = parts.control.propose(command).await?;
    // In force before its administrator hears of it.
    follow(parts).await?;
    match applied {
        Applied::Limit(limit) => Ok(described(&limit)),
        _ => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "the limit has no version")),
    }
}

async fn delete(parts: &AdminParts, name: &str, head: &Head) -> Result<Answer, Problem> {
    let command = Command::SetLimit { name: name.to_owned(), document: None, expected: expected(&head.headers)? };
    parts.control.propose(command).await?;
    follow(parts).await?;
    Ok(Answer::done())
}

async fn follow(parts: &AdminParts) -> Result<(), Problem> {
    if let Some(rates) = &parts.rates {
        rates.follow(&*parts.control.read().await?);
    }
    Ok(())
}

/// The version that a limit must have: of `If-Match`, or none by `If-None-Match: *`.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or("").trim().to_owned();
    let matches = headers.get(header::IF_MATCH).map(text);
    let none = headers.get(header::IF_NONE_MATCH).map(text);
    match (matches, none) {
        (None, None) => Ok(None),
        (None, Some(none)) if none == "*" => Ok(Some(0)),
        (Some(version), None) => match version.trim_matches('"').parse() {
            Ok(version) if version > 0 => Ok(Some(version)),
            _ => Err(Problem::invalid("If-Match is the version of a limit, like \"17\"")),
        },
        _ => Err(Problem::invalid("If-Match with a version, or If-None-Match: *, and not both")),
    }
}

fn shown(limit: &Limit) -> Value {
    let mut shown: Value = serde_json::from_str(&limit.document).unwrap_or_else(|_| json!({ "name": limit.name }));
    shown["version"] = json!(limit.version);
    shown
}

fn described(limit: &Limit) -> Answer {
    let mut answer = Answer::json(StatusCode::OK, shown(limit));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", limit.version)) {
        answer.headers.insert(header::ETAG, tag);
    }
    answer
}

/// The body of `POST /api/v1/limits/explain`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// Who asks; without it, somebody without a credential.
    access_key: Option<String>,
    verb: String,
    bucket: Option<String>,
    address: Option<IpAddr>,
}

fn explain(parts: &AdminParts, state: &State, body: &[u8]) -> Result<Answer, Problem> {
    let asked: Question = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not the JSON of a question: {error}")))?;
    let verb = Verb::parse(&asked.verb).ok_or_else(|| {
        let names = Verb::ALL.map(Verb::name).join(", ");
        Problem::invalid(format!("a verb is one of {names}, and {:?} is not", asked.verb))
    })?;
    if let Some(bucket) = &asked.bucket {
        BucketName::parse(bucket).map_err(|error| Problem::invalid(error.to_string()))?;
    }
    let identity = match &asked.access_key {
        None => Identity::Anonymous,
        Some(key) => Identity::Known(directory::caller(state, key).map_err(Problem::of_error)?),
    };
    let asker =
        Asker { identity: &identity, address: asked.address, bucket: asked.bucket.as_deref(), verb, headers: None };
    let cost = if verb == Verb::List { verb.cost_max() } else { rates::COST };
    let rates = parts.rates.as_ref().ok_or_else(|| Problem::invalid("there is no data port to ask about"))?;
    Ok(Answer::json(StatusCode::OK, rates.explain(&asker, cost)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_expected_by_headers() {
        let said = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
            expected(&pairs.collect()).map_err(|problem| problem.code)
        };
        assert_eq!(said(&[]), Ok(None));
        assert_eq!((said(&[("if-match", "\"17\"")]), said(&[("if-match", "17")])), (Ok(Some(17)), Ok(Some(17))));
        assert_eq!(said(&[("if-none-match", "*")]), Ok(Some(0)));
        for wrong in [
            &[("if-match", "*")][..],
            &[("if-match", "0")],
            &[("if-match", "x")],
            &[("if-none-match", "\"17\"")],
            &[("if-match", "1"), ("if-none-match", "*")],
        ] {
            assert_eq!(said(wrong), Err("InvalidRequest"), "{wrong:?}");
        }
    }
}
