//! What would be decided about one right, and why: nothing is done. For administrators.

use crate::admin::accounts::{find_account, no_such};
use crate::admin::problem::Problem;
use crate::admin::{AdminParts, Answer};
use crate::admission::action;
use crate::admission::{Explained, explanation};
use crate::directory;
use crate::simulation::{
    QUESTIONS_MAX, Subject, described, given_context, ground_of, nameless_caller, owner_of_number, role_caller,
    user_caller,
};
use authn::Identity;
use authn::policy::{Policy, PolicyError, Purpose};
use authn::simulation::{Ground, ResourcePolicy, keys_of_caller, simulate};
use cluster::State;
use cluster::iam::Account;
use common::OwnerId;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// The body of `POST /api/v1/accounts/{account}/simulations`. One of the first four says of whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentitySimulation {
    user: Option<String>,
    group: Option<String>,
    role: Option<String>,
    access_key: Option<String>,
    /// Texts of policies that it would have, too.
    #[serde(default)]
    policies: Vec<String>,
    /// The text of a boundary, in place of the one that it has.
    boundary: Option<String>,
    /// The text of a policy of the resource, in place of the one that it has.
    bucket_policy: Option<String>,
    /// The number of the account that the resources belong to, in place of theirs.
    resource_owner: Option<String>,
    actions: Vec<String>,
    resources: Vec<String>,
    #[serde(default)]
    context: BTreeMap<String, Vec<String>>,
}

pub(super) fn of_identity(state: &State, account: &str, body: &[u8]) -> Result<Answer, Problem> {
    let asked: IdentitySimulation = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not the JSON of a simulation: {error}")))?;
    let account = find_account(&state.iam, account)?;
    let caller = Arc::new(caller(state, account, &asked)?);
    if asked.actions.is_empty() || asked.resources.is_empty() {
        return Err(Problem::invalid("ask about an action and a resource at least"));
    }
    if asked.actions.len().saturating_mul(asked.resources.len()) > QUESTIONS_MAX {
        return Err(Problem::invalid(format!(
            "ask at most {QUESTIONS_MAX} questions, which are actions times resources"
        )));
    }
    let mut context = given_context(asked.context.iter().map(|(key, values)| (key.as_str(), values.clone())));
    keys_of_caller(&mut context, &caller);
    let identity = Identity::Known(caller);
    let actions = asked.actions.iter().map(|action| authn::policy::action(action)).collect::<Result<Vec<_>, _>>();
    let actions = actions.map_err(|error| Problem::invalid(error.to_string()))?;
    let mut results = Vec::new();
    for resource in &asked.resources {
        let ground = ground(state, &identity, resource, &asked)?;
        for action in &actions {
            let simulated = simulate(&identity, &context, (action, resource), &ground);
            results.push(described(&identity, (action, resource), &simulated));
        }
    }
    let principal = identity.caller().map(|caller| caller.arn());
    Ok(Answer::json(StatusCode::OK, json!({ "principal": principal, "results": Value::Array(results) })))
}

fn caller(state: &State, account: &Account, asked: &IdentitySimulation) -> Result<authn::Caller, Problem> {
    let owner = &account.owner;
    let mut caller = match (&asked.user, &asked.group, &asked.role, &asked.access_key) {
        (Some(name), None, None, None) => {
            let user = state.iam.user(owner, name).ok_or_else(|| no_such(format!("there is no user {name}")))?;
            user_caller(account, user, Subject::of_user(state, user).standing)
        }
        (None, Some(name), None, None) => {
            let group = state.iam.group(owner, name).ok_or_else(|| no_such(format!("there is no group {name}")))?;
            nameless_caller(account, Subject::of_group(state, group).standing)
        }
        (None, None, Some(name), None) => {
            let role = state.iam.role(owner, name).ok_or_else(|| no_such(format!("there is no role {name}")))?;
            role_caller(account, role, Subject::of_role(state, role).standing)
        }
        (None, None, None, Some(key)) => {
            let found = directory::caller(state, key).map_err(|_| no_such(format!("there is no active key {key}")))?;
            directory::copy(&found)
        }
        _ => return Err(Problem::invalid("name one of user, group, role and access_key")),
    };
    for (at, text) in asked.policies.iter().enumerate() {
        let policy = Policy::parse(text, Purpose::Identity).map_err(malformed)?;
        caller.standing.identity.push((format!("policies {}", at + 1), Arc::new(policy)));
    }
    if let Some(text) = &asked.boundary {
        let policy = Policy::parse(text, Purpose::Identity).map_err(malformed)?;
        caller.standing.boundary = Some(("the boundary".to_owned(), Arc::new(policy)));
    }
    Ok(caller)
}

fn ground(state: &State, identity: &Identity, resource: &str, asked: &IdentitySimulation) -> Result<Ground, Problem> {
    let home = identity.owner().cloned().unwrap_or_else(|| OwnerId(String::new()));
    let owner = asked.resource_owner.as_deref().map(|number| owner_of_number(state, number));
    let ground = ground_of(state, resource, owner.as_ref().unwrap_or(&home)).map_err(Problem::of_error)?;
    let Some(text) = &asked.bucket_policy else {
        return Ok(Ground { owner: owner.unwrap_or_else(|| ground.owner.clone()), ..ground });
    };
    let policy = Some(Arc::new(ResourcePolicy::parse(text, resource).map_err(malformed)?));
    Ok(Ground { owner: owner.unwrap_or(ground.owner), policy, restrict_public: false })
}

fn malformed(error: PolicyError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "MalformedPolicyDocument", error.to_string())
}
