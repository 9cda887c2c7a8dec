//! Why a web identity would be taken or refused, told step by step: by the code that takes them, whose answer to strangers is short.

use super::assume_role_with_web_identity::{ACTION, context_of, provider, trust_in};
use super::wanted::check_tags;
use super::{Issuers, TAG_SESSION};
use authn::policy::{Asked, Effect, Found, Policy, Purpose, Who};
use authn::web_identity::{Refusal, Unverified, WebIdentity};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cluster::State;
use cluster::iam::{Account, OidcProvider, Role, in_account};
use serde_json::{Value, json};

/// What the session would be called: a role may ask for it.
const SESSION_NAME: &str = "explained";

/// Accounts with the token's issuer that are told of, and roles of each.
const PROVIDERS_MAX: usize = 20;
const ROLES_MAX: usize = 100;

pub async fn web_identity(issuers: &Issuers, state: &State, token: &str, now_ms: u64) -> Value {
    let (header, claims) = unproven(token);
    let mut told =
        json!({ "kind": "web_identity", "header": header, "claims": claims, "accepted": false, "providers": [] });
    let mut refuse = |reason: Refusal, sentence: String| {
        told["step"] = json!(step(reason));
        told["reason"] = json!(sentence);
    };
    let unverified = match Unverified::parse(token) {
        Ok(unverified) => unverified,
        Err(reason) => {
            refuse(reason, sentence(reason, &claims, None, now_ms));
            return told;
        }
    };
    let known = state.iam.accounts.values();
    let known = known.filter_map(|account| Some((account, provider(state, account, &unverified)?)));
    let known: Vec<_> = known.take(PROVIDERS_MAX).collect();
    if known.is_empty() {
        refuse(Refusal::IssuerUnknown, sentence(Refusal::IssuerUnknown, &claims, None, now_ms));
        return told;
    }
    let mut providers = Vec::new();
    for (account, provider) in known {
        let verified = issuers.verify(&unverified, &trust_in(account, provider)).await;
        let mut entry = json!({
            "account": account.number,
            "owner": account.owner.0,
            "provider": provider.arn(&account.number),
            "accepted": verified.is_ok(),
        });
        match &verified {
            Ok(identity) if check_tags(&identity.tags).is_err() => {
                entry["accepted"] = json!(false);
                entry["step"] = json!("tags");
                entry["reason"] = json!("its tags are none that a session may have");
            }
            Ok(identity) => entry["roles"] = json!(roles(state, account, provider, identity, now_ms)),
            Err(reason) => {
                entry["step"] = json!(step(*reason));
                entry["reason"] = json!(sentence(*reason, &claims, Some(provider), now_ms));
            }
        }
        providers.push(entry);
    }
    told["accepted"] = json!(providers.iter().any(|entry| entry["accepted"] == true));
    if told["accepted"] == false {
        (told["step"], told["reason"]) = (providers[0]["step"].clone(), providers[0]["reason"].clone());
    }
    told["providers"] = Value::Array(providers);
    told
}

/// Header and claims as they are written. Nothing of them is proven.
fn unproven(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = BASE64.decode(part).unwrap_or_default();
        serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object).unwrap_or(Value::Null)
    });
    (parts.next().unwrap_or(Value::Null), parts.next().unwrap_or(Value::Null))
}

/// The word that the log has.
fn step(reason: Refusal) -> String {
    match reason {
        Refusal::Malformed(_) => "malformed".to_owned(),
        reason => reason.to_string(),
    }
}

fn sentence(reason: Refusal, claims: &Value, provider: Option<&OidcProvider>, now_ms: u64) -> String {
    let claim = |name: &str| if claims[name].is_null() { "absent".to_owned() } else { claims[name].to_string() };
    let now = now_ms / 1000;
    match reason {
        Refusal::Malformed(what) => format!("it is malformed: {what}"),
        Refusal::Algorithm => "its alg is none of RS256, ES256 and EdDSA, or not that of its key".to_owned(),
        Refusal::IssuerUnknown => {
            format!("its iss is {}, and no account has a provider of exactly this URL", claim("iss"))
        }
        Refusal::KeysUnavailable => "the keys of its issuer could not be fetched: the server's log says why".to_owned(),
        Refusal::KeyUnknown => {
            "its issuer has no key of its kid for its alg, or without a kid more than one".to_owned()
        }
        Refusal::Signature => "its signature is not of its issuer's key".to_owned(),
        Refusal::Expired => format!("its exp is {}, and now is {now}", claim("exp")),
        Refusal::NotYet => format!("its nbf is {} and its iat {}, and now is {now}", claim("nbf"), claim("iat")),
        Refusal::Audience => {
            let known = provider.into_iter().flat_map(|provider| &provider.client_ids);
            let known = known.map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ");
            format!("its aud is {}, and the provider's client ids are {known}", claim("aud"))
        }
        Refusal::Revoked => {
            let since = provider.map_or(0, |provider| provider.not_before_ms / 1000);
            format!("its iat is {}, and tokens of before {since} were revoked", claim("iat"))
        }
    }
}

/// What the trust policy of each role that names the provider makes of it.
fn roles(state: &State, account: &Account, provider: &OidcProvider, identity: &WebIdentity, now_ms: u64) -> Vec<Value> {
    let arn = provider.arn(&account.number);
    let judge = |role: &Role| {
        let trust = Policy::parse(&role.trust, Purpose::Trust).ok()?;
        let context = context_of(role, &arn, SESSION_NAME, identity, now_ms);
        let asked = |action| Asked { who: Who::Federated(&arn), action, resource: "*", context: &context };
        let mut denied = false;
        let mut allowed = false;
        let statements: Vec<Value> = trust
            .examined(&asked(ACTION))
            .iter()
            .map(|examined| {
                let holds = examined.conditions.iter().all(|(_, holds)| *holds);
                let denies = examined.statement.effect() == Effect::Deny;
                denied |= holds && denies;
                allowed |= holds && !denies;
                let condition =
                    |(key, holds): &(&str, bool)| json!({ "key": key, "met": holds, "value": context.get(key) });
                json!({
                    "statement": examined.statement.name(),
                    "effect": if denies { "Deny" } else { "Allow" },
                    "conditions": examined.conditions.iter().map(condition).collect::<Vec<_>>(),
                })
            })
            .collect();
        // A token with tags also needs to be let give them.
        let tags = identity.tags.is_empty() || matches!(trust.evaluate(&asked(TAG_SESSION)), Found::Allow(..));
        let trusted = allowed && !denied && tags;
        (!statements.is_empty())
            .then(|| json!({ "role": role.arn(&account.number), "trusted": trusted, "statements": statements }))
    };
    in_account(&state.iam.roles, &account.owner).filter_map(|role| judge(role)).take(ROLES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_told_and_nothing_else() {
        let part = |text: &str| BASE64.encode(text);
        let token = format!("{}.{}.x", part(r#"{"alg":"none"}"#), part(r#"{"iss":"a"}"#));
        assert_eq!(unproven(&token), (json!({ "alg": "none" }), json!({ "iss": "a" })));
        for strange in ["", "a", "..", "a.b", &format!("{}.{}", part("[]"), part("{"))] {
            assert_eq!(unproven(strange), (Value::Null, Value::Null), "{strange}");
        }
    }

    #[test]
    fn sentences_name_what_does_not_fit() {
        let claims = json!({ "iss": "https://a", "exp": 5, "aud": ["x"] });
        let of = |reason| sentence(reason, &claims, None, 9000);
        assert_eq!(of(Refusal::Expired), "its exp is 5, and now is 9");
        assert_eq!(of(Refusal::NotYet), "its nbf is absent and its iat absent, and now is 9");
        assert!(of(Refusal::IssuerUnknown).contains("\"https://a\"") && of(Refusal::Audience).contains("[\"x\"]"));
        assert_eq!(
            (step(Refusal::Malformed("kid")), step(Refusal::KeyUnknown)),
            ("malformed".into(), "kid_unknown".into())
        );
    }
}
