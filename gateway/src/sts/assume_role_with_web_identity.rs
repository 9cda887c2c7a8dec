//! AssumeRoleWithWebIdentity: a session of a role, for a token of an issuer that the role's account trusts. The request has no
//! signature; the token is the proof.
//!
//! Source: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use super::wanted::{Wanted, check_tags};
use super::{Sts, TAG_SESSION, assumed, bad, credentials, find_role, tag_keys};
use crate::audit;
use crate::query_api::{Call, Refusal, Reply, Xml};
use authn::policy::{Asked, Context, Found, Policy, Purpose, Statement, Who};
use authn::session::{Grant, GrantedTo};
use authn::web_identity::{Refusal as Judged, Trust, Unverified, WebIdentity, condition_keys, provider_name};
use authn::{By, RESOURCE_POLICY, Verdict};
use cluster::State;
use cluster::iam::{Account, OidcProvider, Role};
use http::StatusCode;
use std::sync::Arc;

pub const ACTION: &str = "sts:AssumeRoleWithWebIdentity";

pub async fn answer(sts: &Sts, call: &Call<'_>, state: &State) -> Result<Reply, Refusal> {
    let wanted = Wanted::of(call.form)?;
    let token = call.form.required("WebIdentityToken")?;
    let (account, role) = find_role(state, wanted.role_arn);
    let account = account.and_then(|owner| state.iam.accounts.get(owner));
    let refused = |reason: &dyn std::fmt::Display, refusal: Refusal| {
        tracing::info!(role = wanted.role_arn, %reason, code = refusal.code, "a web identity was refused");
        audit::reason(&call.head.extensions, reason.to_string());
        refusal
    };

    let judged = |reason: Judged| refused(&reason, of_token(reason));
    let unverified = Unverified::parse(token).map_err(judged)?;
    let provider = account.and_then(|account| provider(state, account, &unverified));
    // Only an issuer that the account knows is ever contacted.
    let (Some(account), Some(provider)) = (account, provider) else {
        return Err(judged(Judged::IssuerUnknown));
    };
    let trust = trust_in(account, provider);
    let identity = sts.issuers.verify(&unverified, &trust).await.map_err(judged)?;
    audit::vouched(&call.head.extensions, &provider.url, &identity.subject);
    check_tags(&identity.tags).map_err(|refusal| refused(&"tags", refusal))?;

    let denied = || Refusal::access_denied(format!("Not authorized to perform {ACTION}"));
    let role = role.ok_or_else(|| refused(&"role_unknown", denied()))?;
    let provider_arn = provider.arn(&account.number);
    let tagging = (!identity.tags.is_empty()).then_some(TAG_SESSION);
    for action in [ACTION].into_iter().chain(tagging) {
        let verdict = trusted(role, &provider_arn, &wanted, &identity, action, call.now_ms);
        audit::decided(&call.head.extensions, action, wanted.role_arn, &verdict);
        if verdict.allowed {
            continue;
        }
        // Who is not trusted at all does not hear that there is such a role.
        let refusal = if role.trust.contains(&provider_arn) {
            let why = "The role's trust policy does not allow what the token says";
            Refusal::new(StatusCode::FORBIDDEN, "IDPRejectedClaim", why)
        } else {
            denied()
        };
        return Err(refused(&"trust_policy", refusal));
    }
    let seconds = wanted.seconds(u64::from(role.session_seconds_max))?;
    wanted.check_policies(state, &role.account)?;
    let session = wanted.session_name;
    let given = sts
        .give(Grant {
            owner: role.account.clone(),
            of: GrantedTo::Role { name: role.name.clone(), id: role.id.clone(), session: session.to_owned() },
            issued_ms: call.now_ms,
            expires_ms: call.now_ms + seconds * 1000,
            policy: wanted.policy.map(str::to_owned),
            policy_arns: wanted.policy_arns.iter().map(|arn| (*arn).to_owned()).collect(),
            tags: identity.tags.clone(),
            claims: identity.claims.clone(),
            issuer: Some(provider.url.clone()),
            chained: false,
        })
        .await?;
    audit::issued(&call.head.extensions, &given.opened.access_key.0);
    let mut xml = Xml::default();
    credentials(&mut xml, &given);
    xml.text("SubjectFromWebIdentityToken", &identity.subject);
    assumed(&mut xml, &account.number, role, session, &given);
    xml.text("Provider", &provider_arn);
    let ours = identity.audience.iter().find(|audience| provider.client_ids.contains(*audience));
    xml.text("Audience", ours.map_or("", String::as_str));
    Ok(Some(xml))
}

/// The account's provider that the token says has issued it.
pub fn provider<'s>(state: &'s State, account: &Account, token: &Unverified<'_>) -> Option<&'s Arc<OidcProvider>> {
    let issuer = token.issuer()?;
    let provider = state.iam.providers.get(&(account.owner.clone(), provider_name(issuer).to_owned()))?;
    (provider.url == issuer).then_some(provider)
}

/// What is asked of a provider's tokens.
pub fn trust_in<'p>(account: &Account, provider: &'p OidcProvider) -> Trust<'p> {
    // In the one account without a number, of test mode, an issuer without audiences is for all of them, as in Ceph.
    let is_for_all = account.number.is_empty() && provider.client_ids.is_empty();
    let audiences = Some(&provider.client_ids).filter(|_| !is_for_all);
    Trust { issuer: &provider.url, audiences, not_before_ms: provider.not_before_ms }
}

/// Whether the role's trust policy lets this identity do this.
fn trusted(
    role: &Role,
    provider_arn: &str,
    wanted: &Wanted<'_>,
    identity: &WebIdentity,
    action: &str,
    now_ms: u64,
) -> Verdict {
    // A trust policy that cannot be read trusts nobody.
    let Ok(trust) = Policy::parse(&role.trust, Purpose::Trust) else {
        return Verdict { allowed: false, by: By::Nothing };
    };
    let context = context_of(role, provider_arn, wanted.session_name, identity, now_ms);
    let asked = Asked { who: Who::Federated(provider_arn), action, resource: "*", context: &context };
    let by = |statement: &Statement| By::Statement { policy: RESOURCE_POLICY.to_owned(), statement: statement.name() };
    match trust.evaluate(&asked) {
        Found::Allow(statement, _) => Verdict { allowed: true, by: by(statement) },
        Found::Deny(statement) => Verdict { allowed: false, by: by(statement) },
        Found::Nothing => Verdict { allowed: false, by: By::Nothing },
    }
}

/// The condition keys of a request with a web identity.
pub fn context_of(role: &Role, provider_arn: &str, session_name: &str, identity: &WebIdentity, now_ms: u64) -> Context {
    let mut context = Context::default();
    for (key, values) in condition_keys(&identity.issuer, &identity.claims) {
        context.trust(key, values);
    }
    tag_keys(&mut context, role, &identity.tags);
    context.trust("sts:RoleSessionName", vec![session_name.to_owned()]);
    context.trust("aws:FederatedProvider", vec![provider_arn.to_owned()]);
    context.trust("aws:EpochTime", vec![(now_ms / 1000).to_string()]);
    let date = crate::s3::dates::iso_date(&crate::s3::dates::timestamp(now_ms));
    context.trust("aws:CurrentTime", vec![date]);
    context
}

/// What the client hears of a token that is not good.
fn of_token(reason: Judged) -> Refusal {
    match reason {
        Judged::Expired => bad("ExpiredTokenException", "Token expired: the current date/time must be before its exp"),
        Judged::KeysUnavailable => {
            bad("IDPCommunicationError", "The keys of the token's issuer could not be fetched: try again")
        }
        Judged::Audience => bad("InvalidIdentityToken", "Incorrect token audience"),
        Judged::IssuerUnknown => {
            bad("InvalidIdentityToken", "No OpenIDConnect provider found in your account for the token's issuer")
        }
        Judged::Malformed(_)
        | Judged::Algorithm
        | Judged::KeyUnknown
        | Judged::Signature
        | Judged::NotYet
        | Judged::Revoked => {
            bad("InvalidIdentityToken", "The web identity token that was passed could not be validated")
        }
    }
}
