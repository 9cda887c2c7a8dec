//! Whose a token is, and whether it would be taken: of a session of Weir, or of an issuer of web identities. For administrators.
//! Neither the token nor a secret in it stands in an answer or in the log.

use crate::admin::problem::Problem;
use crate::admin::{AdminParts, Answer};
use crate::sts::explain;
use authn::session::{self, GrantedTo};
use cluster::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// The body of `POST /api/v1/auth/explain-token`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    token: String,
    /// The key that a session token was given with. Without it nobody opens one.
    access_key: Option<String>,
}

pub(super) async fn answer(parts: &AdminParts, state: &State, body: &[u8]) -> Result<Answer, Problem> {
    // Not the parser's own words: they may quote the token.
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::invalid(format!("the body is not the JSON of a question (line {line}, column {column})"))
    })?;
    let token = asked.token.trim();
    let told = if token.contains('.') {
        let issuers = parts.issuers.as_ref().ok_or_else(|| Problem::invalid("there is no data port to ask about"))?;
        explain::web_identity(issuers, state, token, parts.clock.now_ms()).await
    } else {
        of_session(parts, token, asked.access_key.as_deref())
    };
    Ok(Answer::json(StatusCode::OK, told))
}

fn of_session(parts: &AdminParts, token: &str, access_key: Option<&str>) -> Value {
    let refused =
        |step: &str, reason: &str| json!({ "kind": "session", "accepted": false, "step": step, "reason": reason });
    let Ok(number) = session::key_number(token) else {
        return json!({
            "kind": "unknown", "accepted": false, "step": "malformed",
            "reason": "it is neither a JWT, which has dots, nor a session token of Weir",
        });
    };
    let Some(access_key) = access_key else {
        return refused("access_key", "a session token opens together with its access key only: name that (ASIA...)");
    };
    let explained = match parts.sessions().explain(access_key, token) {
        Ok(explained) => explained,
        Err(_) => {
            let mut told = refused(
                "seal",
                "it is not the token of this access key, or it was sealed elsewhere, or its sealing key is used no more",
            );
            told["sealing_key"] = json!(number);
            return told;
        }
    };
    let grant = &explained.grant;
    let (kind, name, session) = match &grant.of {
        GrantedTo::Root { .. } => ("root", None, None),
        GrantedTo::User { name, .. } => ("user", Some(name), None),
        GrantedTo::Role { name, session, .. } => ("role", Some(name), Some(session)),
    };
    let reason = match explained.wrong {
        None => "it is taken",
        Some("revoked") => "sessions that began before were revoked: of its role, user, account or issuer",
        Some("gone") => {
            "its role, user, account or issuer is gone, or was made anew, or a policy of the session is gone"
        }
        Some(_) => "it has ended",
    };
    json!({
        "kind": "session",
        "accepted": explained.wrong.is_none(),
        "step": explained.wrong,
        "reason": reason,
        "sealing_key": number,
        "principal": explained.caller,
        "account": grant.owner.0,
        "of": kind,
        "name": name,
        "session": session,
        "issued_ms": grant.issued_ms,
        "expires_ms": grant.expires_ms,
        "has_policy": grant.policy.is_some(),
        "policies": grant.policy_arns,
        "tags": grant.tags,
        "issuer": grant.issuer,
        "claims": grant.claims,
    })
}
