//! STS over its query API: sessions for who has a key, a role to assume, or a token of an issuer that the account trusts. One
//! file for each action.
//!
//! The answer says as little as AWS's does; why a session was refused is in the log, in one word.
//!
//! Source: AWS STS API reference, version 2011-06-15.

mod assume_role;
mod assume_role_with_web_identity;
pub mod explain;
mod get_caller_identity;
mod get_session_token;
mod issuers;
mod wanted;

use crate::error::Error;
use crate::query_api::{Call, QueryService, Refusal, Reply, Xml};
use crate::sessions::{Given, Sessions};
use authn::limits::TOKEN_BYTES_MAX;
use authn::policy::Context;
use authn::session::Grant;
use cluster::iam::Role;
use cluster::{ControlPlane, State};
use common::OwnerId;
use http::StatusCode;
pub use issuers::Issuers;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const VERSION: &str = "2011-06-15";

pub struct Sts {
    control: Arc<dyn ControlPlane>,
    sessions: Sessions,
    issuers: Issuers,
}

impl Sts {
    pub fn new(control: Arc<dyn ControlPlane>, sessions: Sessions, issuers: Issuers) -> Self {
        Self { control, sessions, issuers }
    }

    async fn give(&self, grant: Grant) -> Result<Given, Refusal> {
        self.sessions.give(grant).await.map_err(|error| match error {
            Error::PackedPolicyTooLarge { .. } => bad("PackedPolicyTooLarge", error.to_string()),
            error => error.into(),
        })
    }
}

const WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// What an action may have as parameters; `None` for what is no action.
fn parameters(action: &str) -> Option<&'static [&'static str]> {
    Some(match action {
        "GetCallerIdentity" => &[],
        "GetSessionToken" => &["DurationSeconds", "SerialNumber", "TokenCode"],
        "AssumeRole" => &[
            "RoleArn",
            "RoleSessionName",
            "DurationSeconds",
            "Policy",
            "PolicyArns",
            "Tags",
            "TransitiveTagKeys",
            "ExternalId",
            "SerialNumber",
            "TokenCode",
            "SourceIdentity",
            "ProvidedContexts",
        ],
        WEB_IDENTITY => {
            &["RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "PolicyArns", "WebIdentityToken", "ProviderId"]
        }
        _ => return None,
    })
}

/// What is not kept is refused: a session would seem to have it.
const NOT_KEPT: [(&str, &str); 6] = [
    ("TransitiveTagKeys", "Session tags are not handed on to further sessions here: leave TransitiveTagKeys out."),
    ("SourceIdentity", "Source identities are not kept here: leave SourceIdentity out."),
    ("ProvidedContexts", "There are no context providers here: leave ProvidedContexts out."),
    ("SerialNumber", "There are no MFA devices here: leave SerialNumber out."),
    ("TokenCode", "There are no MFA devices here: leave TokenCode out."),
    ("ProviderId", "There are providers of OpenID Connect only: leave ProviderId out."),
];

#[async_trait::async_trait]
impl QueryService for Sts {
    fn service(&self) -> &'static str {
        "sts"
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn namespace(&self) -> &'static str {
        "https://sts.amazonaws.com/doc/2011-06-15/"
    }

    fn is_unsigned(&self, action: &str) -> bool {
        action == WEB_IDENTITY
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Reply, Refusal> {
        let known = parameters(call.action).ok_or_else(|| Refusal::invalid_action(call.action, VERSION))?;
        if let Some(unknown) = call.form.unknown(known) {
            return Err(Refusal::validation(format!("{} has no parameter {unknown}", call.action)));
        }
        for (name, why) in NOT_KEPT {
            let is_there = call.form.optional(name).is_some_and(|value| !value.is_empty())
                || call.form.optional(&format!("{name}.member.1")).is_some()
                || call.form.optional(&format!("{name}.member.1.ProviderArn")).is_some();
            if is_there {
                return Err(Refusal::validation(why));
            }
        }
        let state = self.control.read().await?;
        match call.action {
            "GetCallerIdentity" => get_caller_identity::answer(call),
            "GetSessionToken" => get_session_token::answer(self, call).await,
            "AssumeRole" => assume_role::answer(self, call, &state).await,
            WEB_IDENTITY => assume_role_with_web_identity::answer(self, call, &state).await,
            other => Err(Refusal::invalid_action(other, VERSION)),
        }
    }
}

/// What a session's tags need, besides the session itself.
const TAG_SESSION: &str = "sts:TagSession";

/// The condition keys of a session's tags, and of those that its role has.
fn tag_keys(context: &mut Context, role: &Role, tags: &BTreeMap<String, String>) {
    for (key, value) in tags {
        context.trust(format!("aws:RequestTag/{key}"), vec![value.clone()]);
    }
    if !tags.is_empty() {
        context.trust("aws:TagKeys", tags.keys().cloned().collect());
    }
    crate::iam::resource_tags(context, &role.tags);
}

fn bad(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

/// The account and the role that an ARN names: both are there, or the first alone, or none.
fn find_role<'s>(state: &'s State, arn: &str) -> (Option<&'s OwnerId>, Option<&'s Arc<Role>>) {
    let Some(rest) = arn.strip_prefix("arn:aws:iam::") else { return (None, None) };
    let Some((number, path)) = rest.split_once(":role/") else { return (None, None) };
    let Some(account) = state.iam.account_of_number(number) else { return (None, None) };
    let name = path.rsplit('/').next().unwrap_or(path);
    let role = state.iam.role(&account.owner, name).filter(|role| role.arn(&account.number) == arn);
    (Some(&account.owner), role)
}

/// `Credentials`, as every action that gives a session has it.
fn credentials(xml: &mut Xml, given: &Given) {
    xml.element("Credentials", |xml| {
        xml.text("AccessKeyId", &given.opened.access_key.0);
        xml.text("SecretAccessKey", given.opened.secret.expose());
        xml.text("SessionToken", &given.token);
        xml.date("Expiration", given.opened.grant.expires_ms);
    });
}

/// `AssumedRoleUser`, and how full the token is.
fn assumed(xml: &mut Xml, account: &str, role: &Role, session: &str, given: &Given) {
    xml.element("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", &format!("{}:{session}", role.id));
        xml.text("Arn", &format!("arn:aws:sts::{account}:assumed-role/{}/{session}", role.name));
    });
    let percent = (given.token.len() * 100).div_ceil(TOKEN_BYTES_MAX);
    xml.text("PackedPolicySize", &percent.to_string());
}

#[cfg(test)]
mod tests;
