//! What would be decided about one right, and why: nothing is done. For administrators.

use crate::admin::problem::Problem;
use crate::admin::{AdminParts, Answer};
use crate::admission::action;
use crate::admission::{Explained, explanation};
use crate::directory;
use authn::Identity;
use cluster::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The body of `POST /api/v1/policy/simulate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Simulation {
    /// Who asks; without it, somebody without a credential.
    access_key: Option<String>,
    action: String,
    bucket: String,
    key: Option<String>,
    version: Option<String>,
    /// Condition keys that the request would have, beside those that Weir knows.
    #[serde(default)]
    context: BTreeMap<String, Vec<String>>,
}

pub(super) async fn answer(parts: &AdminParts, state: &State, body: &[u8]) -> Result<Answer, Problem> {
    let asked: Simulation = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not the JSON of a question: {error}")))?;
    let action = action::by_name(&asked.action).ok_or_else(|| {
        Problem::invalid(format!("no operation on a bucket or an object asks for {:?}", asked.action))
    })?;
    let admission = parts.admission.as_ref().ok_or_else(|| Problem::invalid("there is no data port to ask about"))?;
    let identity = match &asked.access_key {
        None => Identity::Anonymous,
        Some(key) => Identity::Known(directory::caller(state, key).map_err(Problem::of_error)?),
    };
    let explained = Explained {
        identity: &identity,
        action,
        bucket: &asked.bucket,
        key: asked.key.as_deref(),
        version: asked.version.as_deref(),
        context: asked.context.into_iter().collect(),
    };
    let verdict = admission.explain(explained).await.map_err(Problem::of_error)?;
    let who = identity.caller().map_or_else(|| "anonymous".to_owned(), |caller| caller.arn());
    Ok(Answer::json(
        StatusCode::OK,
        json!({
            "allowed": verdict.allowed,
            "principal": who,
            "action": action,
            "decided_by": explanation::kind(&verdict.by),
            "policy": explanation::policy(&verdict.by),
            "statement": explanation::statement(&verdict.by),
            "reason": explanation::sentence(&verdict),
        }),
    ))
}
