//! GetSessionToken: a session with the rights of the key that asks, user or root.
//!
//! Source: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>

use super::wanted::seconds;
use super::{Sts, credentials};
use crate::audit;
use crate::query_api::{Call, Refusal, Reply, Xml};
use crate::sessions::SESSION_SECONDS_MAX;
use authn::identity::Kind;
use authn::policy::Context;
use authn::session::{Grant, GrantedTo};
use authn::{By, Caller, Question, authorize};

/// Of a root, whatever it asks for.
const ROOT_SECONDS_MAX: u64 = 3600;

pub async fn answer(sts: &Sts, call: &Call<'_>) -> Result<Reply, Refusal> {
    let caller = call.identity.caller().ok_or_else(Refusal::missing_token)?;
    let wanted = seconds(call.form, SESSION_SECONDS_MAX)?.unwrap_or(SESSION_SECONDS_MAX);
    let (of, seconds) = granted_to(caller, wanted)?;
    if is_denied(call, caller) {
        return Err(Refusal::access_denied(format!(
            "User: {} is not authorized to perform: sts:GetSessionToken",
            caller.arn()
        )));
    }
    let given = sts
        .give(Grant {
            owner: caller.owner.clone(),
            of,
            issued_ms: call.now_ms,
            expires_ms: call.now_ms + seconds * 1000,
            policy: None,
            policy_arns: Vec::new(),
            tags: Default::default(),
            claims: Default::default(),
            issuer: None,
            chained: false,
        })
        .await?;
    audit::issued(&call.head.extensions, &given.opened.access_key.0);
    let mut xml = Xml::default();
    credentials(&mut xml, &given);
    Ok(Some(xml))
}

/// A session cannot be prolonged by itself.
fn granted_to(caller: &Caller, wanted: u64) -> Result<(GrantedTo, u64), Refusal> {
    match &caller.kind {
        Kind::Root => Ok((GrantedTo::Root { admin: caller.admin }, wanted.min(ROOT_SECONDS_MAX))),
        Kind::User(user) => Ok((GrantedTo::User { name: user.name.clone(), id: user.id.clone() }, wanted)),
        Kind::Session(_) => Err(Refusal::access_denied("Cannot call GetSessionToken with session credentials")),
    }
}

/// It needs no permission; a policy that denies it counts.
fn is_denied(call: &Call<'_>, caller: &Caller) -> bool {
    let verdict = authorize(&Question {
        identity: &call.identity,
        action: "sts:GetSessionToken",
        resource: "*",
        context: &Context::default(),
        owner: Some(&caller.owner),
        bucket_policy: None,
        restrict_public: false,
        acl_grants: false,
    });
    let is_denied = !verdict.allowed && matches!(verdict.by, By::Statement { .. });
    if is_denied {
        audit::decided(&call.head.extensions, "sts:GetSessionToken", "*", &verdict);
    }
    is_denied
}
