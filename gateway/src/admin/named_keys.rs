//! Named encryption keys, for administrators. Their bits never leave the key service.

use crate::admin::problem::Problem;
use crate::admin::{AdminParts, Answer};
use authn::kms::is_reserved;
use authn::session::{SEALING_KEYS, sealing_key_name, sealing_key_number};
use cluster::{KmsKey, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// The body of `POST /api/v1/kms`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateNamedKey {
    name: String,
}

pub(super) fn list(state: &State) -> Answer {
    let keys: Vec<Value> = state.kms.values().map(|key| describe(key)).collect();
    Answer::json(StatusCode::OK, json!({ "keys": keys }))
}

pub(super) async fn create(parts: &AdminParts, body: &[u8]) -> Result<Answer, Problem> {
    let asked: CreateNamedKey = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not the JSON of a named key: {error}")))?;
    if authn::kms::parse_name(&asked.name) != Ok(asked.name.as_str()) || asked.name.starts_with('/') {
        return Err(Problem::invalid(authn::KmsError::Name.to_string()));
    }
    if is_reserved(&asked.name) {
        return Err(Problem::invalid("names that begin with weir/ or aws/ are not given by hand"));
    }
    parts.named_keys.create(&asked.name).await?;
    described(parts, &asked.name).await
}

pub(super) async fn rotate(parts: &AdminParts, name: &str) -> Result<Answer, Problem> {
    if name == SEALING_KEYS {
        let number = parts.sessions().rotate().await.map_err(Problem::of_token)?;
        return described(parts, &sealing_key_name(number)).await;
    }
    if sealing_key_number(name).is_some() {
        return Err(Problem::invalid(format!("keys that seal sessions are replaced: rotate {SEALING_KEYS}")));
    }
    parts.named_keys.rotate(name).await?;
    described(parts, name).await
}

async fn described(parts: &AdminParts, name: &str) -> Result<Answer, Problem> {
    let state = parts.control.read().await?;
    let key = state.kms.get(name).ok_or_else(|| cluster::Error::NoSuchKmsKey(name.to_owned()))?;
    Ok(Answer::json(StatusCode::CREATED, describe(key)))
}

fn describe(key: &KmsKey) -> Value {
    json!({ "name": key.name, "versions": key.versions.len(), "created_ms": key.created_ms })
}
