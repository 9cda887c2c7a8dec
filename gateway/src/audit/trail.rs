//! What is found out about a request on its way, for its line. It is part of the findings that every request has; what would
//! cost something is told only where somebody will read it, or where something was denied.

use crate::access::{OperationName, Requester};
use crate::access_log::DeletedKeys;
use crate::admission::ProofKind;
use authn::{By, Identity, Verdict};
use http::Extensions;
use std::borrow::Cow;
use std::sync::{Mutex, OnceLock};

/// What is asked about a request, which the watch holds too: in the extensions of each one that is watched.
#[derive(Clone, Default)]
pub struct Asked {
    pub operation: OperationName,
    pub requester: Requester,
    pub deleted: DeletedKeys,
}

impl Asked {
    /// Tells of the one decision of the admin API.
    pub fn administers(&self, identity: &Identity, path: &str, verdict: &Verdict) {
        let trail = &self.requester.0.trail;
        let _ = trail.identity.set(identity.clone());
        let cell = if verdict.allowed { &trail.allowed } else { &trail.denied };
        let (action, by) = (Cow::Borrowed("weir:Administer"), verdict.by.clone());
        let _ = cell.set(Decided { action, resource: path.to_owned(), version: None, by });
    }
}

/// What decided about one right.
#[derive(Debug, Clone)]
pub struct Decided {
    pub action: Cow<'static, str>,
    pub resource: String,
    pub version: Option<String>,
    pub by: By,
}

#[derive(Debug, Default)]
pub struct Trail {
    /// Who has proved who they are.
    pub identity: OnceLock<Identity>,
    /// The access key of a proof that stands in the body.
    pub claimed_key: OnceLock<String>,
    /// A proof that stands in the body.
    pub proof: OnceLock<ProofKind>,
    /// The web identity that a session is asked for with: its issuer, and its name there.
    pub subject: OnceLock<String>,
    /// The access key that was given out.
    pub issued_key: OnceLock<String>,
    /// The bucket and the key that the request names.
    pub place: OnceLock<(Option<String>, Option<String>)>,
    /// The key that a form names.
    pub key: OnceLock<String>,
    /// The first right that was allowed, where that is no matter of S3.
    pub allowed: OnceLock<Decided>,
    /// The right that was denied.
    pub denied: OnceLock<Decided>,
    /// Of a request for many keys.
    pub denied_keys: Mutex<Vec<Decided>>,
    /// Why, in one word, where the error's code does not say it.
    pub reason: OnceLock<Cow<'static, str>>,
}

impl Trail {
    /// Tells what stands in the body of a form.
    pub fn of_form(&self, proof: ProofKind, access_key: Option<&str>, key: Option<&str>) {
        let _ = self.proof.set(proof);
        if let Some(access_key) = access_key.filter(|id| authn::parse_access_key_id(id).is_ok()) {
            let _ = self.claimed_key.set(access_key.to_owned());
        }
        if let Some(key) = key {
            let _ = self.key.set(key.to_owned());
        }
    }
}

/// Tells of a decision that is not `admission.rs`'s.
pub fn decided(extensions: &Extensions, action: &str, resource: &str, verdict: &Verdict) {
    let Some(trail) = of(extensions) else { return };
    let cell = if verdict.allowed { &trail.allowed } else { &trail.denied };
    let _ = cell.set(Decided {
        action: Cow::Owned(action.to_owned()),
        resource: resource.to_owned(),
        version: None,
        by: verdict.by.clone(),
    });
}

/// Tells who has proved who they are.
pub fn identified(extensions: &Extensions, identity: &Identity) {
    if let Some(trail) = of(extensions) {
        let _ = trail.identity.set(identity.clone());
    }
}

/// Tells why the request's credential is not good.
pub fn reason(extensions: &Extensions, reason: impl Into<Cow<'static, str>>) {
    if let Some(trail) = of(extensions) {
        let _ = trail.reason.set(reason.into());
    }
}

/// Tells whom an issuer of web identities vouches for.
pub fn vouched(extensions: &Extensions, issuer: &str, subject: &str) {
    if let Some(trail) = of(extensions) {
        let _ = trail.subject.set(format!("{issuer} {subject}"));
    }
}

/// Tells which access key was given out.
pub fn issued(extensions: &Extensions, access_key: &str) {
    if let Some(trail) = of(extensions) {
        let _ = trail.issued_key.set(access_key.to_owned());
    }
}

fn of(extensions: &Extensions) -> Option<&Trail> {
    let requester = extensions.get::<Requester>();
    let requester = requester.or_else(|| extensions.get::<Asked>().map(|asked| &asked.requester));
    requester.map(|requester| &requester.0.trail)
}
