//! Web identities: tokens of other issuers (OpenID Connect), judged. Pure: who calls brings the issuer's keys
//! (`web_identity/keys.rs`), and fetches them when `web_identity/cache.rs` says so.
//!
//! Source: RFC 7515, RFC 7519, RFC 8725; "OpenID Connect Core 1.0".

mod cache;
mod json;
mod keys;

pub use cache::{Answer, KeyCache};
pub use keys::{KeySet, KeySetError};

use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use keys::Algorithm;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Why a token is refused, one for each step. The log says it; the client gets a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("malformed: {0}")]
    Malformed(&'static str),
    #[error("algorithm")]
    Algorithm,
    #[error("issuer_unknown")]
    IssuerUnknown,
    #[error("jwks_unavailable")]
    KeysUnavailable,
    #[error("kid_unknown")]
    KeyUnknown,
    #[error("signature")]
    Signature,
    #[error("expired")]
    Expired,
    #[error("not_yet")]
    NotYet,
    #[error("audience")]
    Audience,
    #[error("revoked")]
    Revoked,
}

/// What is asked of a token of one issuer.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'t> {
    /// As in tokens.
    pub issuer: &'t str,
    /// A token is for one of them at least. `None`: for whomever, which only test mode's account without a number lets pass.
    pub audiences: Option<&'t BTreeSet<String>>,
    /// Tokens issued before this are refused.
    pub not_before_ms: u64,
}

/// A token that was read, of which nothing is proven.
#[derive(Debug)]
pub struct Unverified<'t> {
    /// Header and payload, as they are signed.
    message: &'t str,
    signature: &'t str,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    pub issuer: String,
    pub subject: String,
    pub audience: Vec<String>,
    pub expires_ms: u64,
    /// Claims that are texts, numbers, truth values or lists of them.
    pub claims: BTreeMap<String, Vec<String>>,
    /// The session tags that the issuer gives, by the claim `TAGS`.
    pub tags: BTreeMap<String, String>,
}

/// The claim with the tags that a session gets. Source: "Pass session tags in AWS STS", AWS IAM User Guide.
const TAGS: &str = "https://aws.amazon.com/tags";

/// Clocks may differ by this much.
pub const LEEWAY_MS: u64 = 60_000;

impl<'t> Unverified<'t> {
    pub fn parse(text: &'t str) -> Result<Self, Refusal> {
        if text.len() > limits::WEB_IDENTITY_BYTES_MAX {
            return Err(Refusal::Malformed("too long"));
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed("not three parts"))?;
        let (header, payload) = message.split_once('.').ok_or(Refusal::Malformed("not three parts"))?;
        // A part with a dot in it is no Base64, and neither is one that is padded or has bits to spare.
        let [header, payload, _] = [header, payload, signature].map(|part| BASE64.decode(part));
        let not_base64 = |_| Refusal::Malformed("not base64url");
        let (header, payload) = (header.map_err(not_base64)?, payload.map_err(not_base64)?);
        if signature.is_empty() || BASE64.decode(signature).is_err() {
            return Err(Refusal::Malformed("no signature"));
        }
        let header = json::object(&header).ok_or(Refusal::Malformed("the header is no JSON object"))?;
        // A token that brings its own key, or says where there is one, proves nothing.
        if ["jku", "jwk", "x5u"].iter().any(|name| header.contains_key(*name)) {
            return Err(Refusal::Malformed("the header brings a key"));
        }
        // "crit" names what must be understood, and nothing is.
        if header.contains_key("crit") || header.contains_key("b64") || header.contains_key("zip") {
            return Err(Refusal::Malformed("the header asks for an extension"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let algorithm = algorithm.ok_or(Refusal::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= limits::KEY_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err(Refusal::Malformed("kid")),
        };
        let claims = json::object(&payload).ok_or(Refusal::Malformed("the payload is no JSON object"))?;
        Ok(Self { message, signature, algorithm, key_id, claims })
    }

    /// Who the token says has issued it. Only to look up whether that one is trusted.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The signature first: of what is not signed nothing is said.
    pub fn verify(&self, keys: &KeySet, trust: &Trust<'_>, now_ms: u64) -> Result<WebIdentity, Refusal> {
        let key = keys.find(self.key_id.as_deref(), self.algorithm).ok_or(Refusal::KeyUnknown)?;
        if !key.has_signed(self.message.as_bytes(), self.signature, self.algorithm) {
            return Err(Refusal::Signature);
        }
        if self.issuer() != Some(trust.issuer) {
            return Err(Refusal::IssuerUnknown);
        }
        let expires_ms = self.time("exp")?.ok_or(Refusal::Malformed("exp"))?;
        if now_ms > expires_ms.saturating_add(LEEWAY_MS) {
            return Err(Refusal::Expired);
        }
        let issued_ms = self.time("iat")?;
        let begins_ms = self.time("nbf")?.into_iter().chain(issued_ms).max();
        if begins_ms.is_some_and(|begins_ms| begins_ms > now_ms.saturating_add(LEEWAY_MS)) {
            return Err(Refusal::NotYet);
        }
        if trust.not_before_ms > 0 && issued_ms.is_none_or(|issued_ms| issued_ms < trust.not_before_ms) {
            return Err(Refusal::Revoked);
        }
        let audience = texts(self.claims.get("aud").unwrap_or(&Value::Null)).unwrap_or_default();
        let is_ours = |ours: &BTreeSet<String>| audience.iter().any(|audience| ours.contains(audience));
        if !trust.audiences.is_none_or(is_ours) {
            return Err(Refusal::Audience);
        }
        let subject = self.claims.get("sub").and_then(Value::as_str);
        let subject = subject.filter(|subject| (1..=limits::SUBJECT_BYTES_MAX).contains(&subject.len()));
        let subject = subject.ok_or(Refusal::Malformed("sub"))?.to_owned();
        let tags = self.claims.get(TAGS).map(tags).transpose()?.unwrap_or_default();
        let claims = self.claims.iter().filter(|(name, _)| !is_of_the_token(name));
        let claims = claims.filter_map(|(name, value)| Some((name.clone(), values(value)?))).collect();
        Ok(WebIdentity { issuer: trust.issuer.to_owned(), subject, audience, expires_ms, claims, tags })
    }

    fn time(&self, name: &'static str) -> Result<Option<u64>, Refusal> {
        const LATEST_SECONDS: f64 = 253_402_300_799.0;
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST_SECONDS).contains(seconds));
        // In range, so that nothing is cut but fractions of a millisecond.
        Ok(Some((seconds.ok_or(Refusal::Malformed(name))? * 1000.0) as u64))
    }
}

/// Claims about the token itself, which no policy asks for.
fn is_of_the_token(name: &str) -> bool {
    ["iss", "exp", "nbf", "iat", "jti", "nonce", "at_hash", "c_hash", "s_hash", "sid", "auth_time"].contains(&name)
}

/// `{"principal_tags": {"Team": ["blue"]}}`. A session's tag has one value; and no tag is handed on to a further session, so that
/// a token that asks for it asks for what would not be.
fn tags(claim: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    const WRONG: Refusal = Refusal::Malformed("tags");
    let claim = claim.as_object().ok_or(WRONG)?;
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    if claim.iter().any(|(name, value)| name != "principal_tags" && !(name == "transitive_tag_keys" && is_empty(value)))
    {
        return Err(WRONG);
    }
    let Some(tags) = claim.get("principal_tags") else { return Ok(BTreeMap::new()) };
    let tag = |(key, value): (&String, &Value)| match texts(value)?.as_slice() {
        [value] => Some((key.clone(), value.clone())),
        _ => None,
    };
    tags.as_object().ok_or(WRONG)?.iter().map(|entry| tag(entry).ok_or(WRONG)).collect()
}

/// One text, or a list of nothing else.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|entry| entry.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn values(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Bool(truth) => Some(vec![truth.to_string()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::String(_) | Value::Array(_) => texts(value),
        Value::Null | Value::Object(_) => None,
    }
}

/// Those that AWS documents as keys of an issuer: see "Available keys for AWS OIDC federation", AWS IAM User Guide.
const OWN_KEYS: [&str; 6] = ["amr", "app_id", "aud", "azp", "email", "sub"];

/// The claims as condition keys: `<issuer without scheme>:sub`, `:aud` and the like, and all as `jwt:<claim>`.
pub fn condition_keys(issuer: &str, claims: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    let issuer = provider_name(issuer);
    let own = OWN_KEYS.iter().filter_map(|name| Some((format!("{issuer}:{name}"), claims.get(*name)?)));
    let all = claims.iter().map(|(name, values)| (format!("jwt:{name}"), values));
    own.chain(all).map(|(name, values)| (name, values.clone())).collect()
}

/// What a provider is called in ARNs and condition keys: its URL without the scheme.
pub fn provider_name(issuer: &str) -> &str {
    issuer.split_once("://").map_or(issuer, |(_, rest)| rest)
}

#[cfg(test)]
mod tests;
