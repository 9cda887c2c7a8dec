//! AssumeRole: a session of a role, for who may assume it by the role's trust policy and its own policies.
//!
//! Source: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use super::wanted::Wanted;
use super::{Sts, TAG_SESSION, assumed, credentials, find_role, tag_keys};
use crate::audit;
use crate::iam::context;
use crate::query_api::{Call, Refusal, Reply, Xml};
use authn::identity::{Kind, Session, SessionOf};
use authn::policy::{Context, Policy, Purpose};
use authn::session::{Grant, GrantedTo};
use authn::{Caller, Question, authorize_assumption};
use cluster::State;
use cluster::iam::Role;

/// A role that is assumed by a role's session is so for an hour at most.
const CHAINED_SECONDS_MAX: u64 = 3600;

pub async fn answer(sts: &Sts, call: &Call<'_>, state: &State) -> Result<Reply, Refusal> {
    let caller = call.identity.caller().ok_or_else(Refusal::missing_token)?;
    let wanted = Wanted::of(call.form)?;
    let (_, role) = find_role(state, wanted.role_arn);
    let refusal = |action: &str| {
        Refusal::access_denied(format!(
            "User: {} is not authorized to perform: {action} on resource: {}",
            caller.arn(),
            wanted.role_arn
        ))
    };
    // One answer for a role that is not there and one that is not for the caller.
    let Some(role) = role else {
        tracing::info!(role = wanted.role_arn, reason = "role_unknown", "a session was refused");
        audit::reason(&call.head.extensions, "role_unknown");
        return Err(refusal("sts:AssumeRole"));
    };
    let context = condition_keys(call, caller, role, &wanted);
    let tags = (!wanted.tags.is_empty()).then_some(TAG_SESSION);
    for action in ["sts:AssumeRole"].into_iter().chain(tags) {
        if !may_assume(call, role, wanted.role_arn, action, &context) {
            tracing::info!(
                role = wanted.role_arn,
                caller = caller.arn(),
                reason = "trust_policy",
                "a session was refused"
            );
            audit::reason(&call.head.extensions, "trust_policy");
            return Err(refusal(action));
        }
    }
    let chained = matches!(caller.kind, Kind::Session(Session { of: SessionOf::Role { .. }, .. }));
    let most = u64::from(role.session_seconds_max);
    let seconds = wanted.seconds(if chained { most.min(CHAINED_SECONDS_MAX) } else { most })?;
    wanted.check_policies(state, &role.account)?;
    let given = sts
        .give(Grant {
            owner: role.account.clone(),
            of: GrantedTo::Role {
                name: role.name.clone(),
                id: role.id.clone(),
                session: wanted.session_name.to_owned(),
            },
            issued_ms: call.now_ms,
            expires_ms: call.now_ms + seconds * 1000,
            policy: wanted.policy.map(str::to_owned),
            policy_arns: wanted.policy_arns.iter().map(|arn| (*arn).to_owned()).collect(),
            tags: wanted.tags.clone(),
            claims: Default::default(),
            issuer: None,
            chained,
        })
        .await?;
    let number = state.iam.accounts.get(&role.account).map_or("", |account| account.number.as_str());
    audit::issued(&call.head.extensions, &given.opened.access_key.0);
    let mut xml = Xml::default();
    credentials(&mut xml, &given);
    assumed(&mut xml, number, role, wanted.session_name, &given);
    Ok(Some(xml))
}

fn condition_keys(call: &Call<'_>, caller: &Caller, role: &Role, wanted: &Wanted<'_>) -> Context {
    let mut context = context(caller, call);
    tag_keys(&mut context, role, &wanted.tags);
    context.trust("sts:RoleSessionName", vec![wanted.session_name.to_owned()]);
    if let Some(id) = wanted.external_id {
        context.trust("sts:ExternalId", vec![id.to_owned()]);
    }
    context
}

fn may_assume(call: &Call<'_>, role: &Role, arn: &str, action: &str, context: &Context) -> bool {
    // A trust policy that cannot be read trusts nobody.
    let Ok(trust) = Policy::parse(&role.trust, Purpose::Trust) else { return false };
    let verdict = authorize_assumption(&Question {
        identity: &call.identity,
        action,
        resource: arn,
        context,
        owner: Some(&role.account),
        bucket_policy: Some(&trust),
        restrict_public: false,
        acl_grants: false,
    });
    audit::decided(&call.head.extensions, action, arn, &verdict);
    verdict.allowed
}
