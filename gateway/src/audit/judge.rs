//! What a request was and what came of it, as its line says it. Pure.

use super::trail::{Decided, Trail};
use crate::access::Findings;
use crate::admission::ProofKind;
use crate::admission::action::{self, On};
use crate::guard::query_value;
use authn::By;
use authn::audit::Outcome;
use http::{HeaderValue, Method, StatusCode};
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Of users, keys, policies, and of what a bucket is.
    Control,
    /// Of objects.
    Write,
    Read,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Write => "write",
            Self::Read => "read",
        }
    }

    /// What has no name was refused before it had one.
    pub fn of(operation: Option<&str>, method: &Method, listener: &str) -> Self {
        if listener == super::watch::ADMIN {
            return Self::Control;
        }
        let is_safe = method == Method::GET || method == Method::HEAD || method == Method::OPTIONS;
        let Some(operation) = operation else { return if is_safe { Self::Read } else { Self::Write } };
        if operation.contains(':') {
            return Self::Control;
        }
        let reads = ["Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb));
        match action::of(operation) {
            _ if reads => Self::Read,
            None if is_safe => Self::Read,
            Some(rule) if matches!(rule.on, On::Bucket | On::NewBucket | On::Account) => Self::Control,
            _ => Self::Write,
        }
    }
}

/// What came of a request.
#[derive(Debug)]
pub struct Judgement<'f> {
    pub outcome: Outcome,
    pub by: Option<&'f By>,
    /// What the decision was about, where it is no matter of the operation's name.
    pub right: Option<&'f Decided>,
    pub reason: Option<Cow<'f, str>>,
}

impl<'f> Judgement<'f> {
    pub fn of(
        findings: &'f Findings,
        operation: Option<&str>,
        auth: &str,
        (status, code): (StatusCode, Option<&str>),
    ) -> Self {
        let Trail { identity, allowed, denied, reason, .. } = &findings.trail;
        let denial = |by, right, reason| Self { outcome: Outcome::Deny, by, right, reason: Some(reason) };
        let told = reason.get().map(|reason| Cow::Borrowed(reason.as_ref()));
        if operation == Some("PreflightObject") {
            return Self { outcome: Outcome::None, by: None, right: None, reason: None };
        }
        if let Some(decided) = denied.get() {
            let reason = told.unwrap_or(Cow::Borrowed(of_denial(&decided.by)));
            return denial(Some(&decided.by), Some(decided), reason);
        }
        let of_code = code.and_then(of_code);
        let is_refused = status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN;
        if let Some(reason) = told.or(of_code.map(Cow::Borrowed)).filter(|_| !status.is_success()) {
            return denial(None, None, reason);
        }
        if is_refused {
            let reason = match identity.get() {
                // After the decision something else refuses it, such as a lock.
                Some(_) => "operation",
                // Its readers have no credential, and each read of a page is a decision of its own.
                None if operation == Some("Website") => "no_allow",
                // What else is wrong with a presigned URL has a code of its own.
                None if auth == PRESIGNED => "expired",
                None => "credential",
            };
            return denial(None, None, Cow::Borrowed(reason));
        }
        let right = allowed.get();
        // What is decided key by key has no decision as a whole.
        let by = findings.admitted.get().map(|admitted| &admitted.by).filter(|by| **by != By::Nothing);
        let by = right.map(|right| &right.by).or(by);
        let is_decided = by.is_some() || findings.admitted.get().is_some() || status.is_success();
        let outcome = if is_decided { Outcome::Allow } else { Outcome::None };
        Self { outcome, by, right, reason: None }
    }
}

pub fn of_denial(by: &By) -> &'static str {
    match by {
        By::Statement { .. } => "explicit_deny",
        By::Beyond(_) => "boundary",
        By::PublicAccessBlock => "public_access_block",
        By::Nothing | By::Admin | By::Root | By::Acl => "no_allow",
    }
}

/// Of a credential that is not good.
fn of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "SignatureDoesNotMatch" => "signature",
        "InvalidAccessKeyId" | "InvalidClientTokenId" => "key_unknown",
        "ExpiredToken" | "ExpiredTokenException" => "expired",
        "RequestTimeTooSkewed" => "clock",
        "InvalidToken" | "InvalidIdentityToken" => "token",
        "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" | "IncompleteSignature" => "malformed",
        "MissingAuthenticationToken" | "MissingAuthentication" => "no_credential",
        "IDPRejectedClaim" => "trust_policy",
        "IDPCommunicationError" => "jwks_unavailable",
        _ => return None,
    })
}

const PRESIGNED: &str = "sigv4-query";
/// Whose a URL is that was presigned with version 2.
const OLD_KEY: &str = "AWSAccessKeyId";

/// How a request proved who sent it, or tried to.
pub fn auth_type(
    authorization: Option<&HeaderValue>,
    query: &str,
    proof: Option<ProofKind>,
    operation: Option<&str>,
) -> &'static str {
    match proof {
        Some(ProofKind::Form) => return "sigv4-form",
        Some(ProofKind::OldForm) => return "sigv2-form",
        _ => {}
    }
    if let Some(value) = authorization {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        return match scheme {
            b"AWS4-HMAC-SHA256" => "sigv4-header",
            b"AWS" => "sigv2-header",
            scheme if scheme.eq_ignore_ascii_case(b"bearer") => "bearer",
            _ => "unknown",
        };
    }
    if query.contains("X-Amz-Signature=") {
        return PRESIGNED;
    }
    if query_value(query, OLD_KEY).is_some() {
        return "sigv2-query";
    }
    if operation == Some("sts:AssumeRoleWithWebIdentity") { "web-identity" } else { "anonymous" }
}

/// The access key that a request claims. Whatever else stands in its place may be a secret, and is nobody's id.
pub fn claimed_key(authorization: Option<&HeaderValue>, query: &str) -> Option<String> {
    let text = authorization.and_then(|value| value.to_str().ok());
    let claimed = match text {
        Some(text) => match text.strip_prefix("AWS ") {
            Some(rest) => rest.split(':').next().map(str::to_owned),
            None => {
                let credential = text.split([',', ' ']).find_map(|part| part.strip_prefix("Credential="));
                credential.and_then(|credential| credential.split('/').next()).map(str::to_owned)
            }
        },
        None => {
            let credential = query_value(query, "X-Amz-Credential");
            let id = credential.and_then(|credential| credential.split('/').next().map(str::to_owned));
            id.or_else(|| query_value(query, OLD_KEY).map(Cow::into_owned))
        }
    };
    claimed.filter(|id| authn::parse_access_key_id(id).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admitted;
    use authn::Identity;

    fn admitted(by: By) -> Admitted {
        Admitted { by, sees_absence: true, bypasses_governance: true, moves_tags: true }
    }

    #[test]
    fn requests_have_a_class() {
        let of = |operation: &str, method: Method| Class::of(Some(operation), &method, "data");
        for (operation, method, class) in [
            ("GetObject", Method::GET, Class::Read),
            ("ListBuckets", Method::GET, Class::Read),
            ("GetBucketPolicy", Method::GET, Class::Read),
            ("Website", Method::GET, Class::Read),
            ("PutObject", Method::PUT, Class::Write),
            ("DeleteObjects", Method::POST, Class::Write),
            ("PostObject", Method::POST, Class::Write),
            ("SelectObjectContent", Method::POST, Class::Write),
            ("CreateBucket", Method::PUT, Class::Control),
            ("PutBucketPolicy", Method::PUT, Class::Control),
            ("DeleteBucket", Method::DELETE, Class::Control),
            ("iam:GetUser", Method::POST, Class::Control),
            ("sts:AssumeRole", Method::POST, Class::Control),
        ] {
            assert_eq!(of(operation, method), class, "{operation}");
        }
        assert_eq!(Class::of(None, &Method::GET, "data"), Class::Read);
        assert_eq!(Class::of(None, &Method::PUT, "data"), Class::Write);
        assert_eq!(Class::of(None, &Method::GET, "admin"), Class::Control);
        // Every operation that changes something is no read.
        for rule in action::RULES {
            let changes = ["Put", "Delete", "Create", "Abort", "Complete", "Copy", "Upload", "Rename", "Post"];
            if changes.iter().any(|verb| rule.operation.starts_with(verb)) {
                assert_ne!(of(rule.operation, Method::GET), Class::Read, "{}", rule.operation);
            }
        }
    }

    #[test]
    fn judgements_say_what_decided() {
        let judged = |findings: &Findings, status: u16, code: Option<&str>| {
            let status = StatusCode::from_u16(status).expect("a status");
            let Judgement { outcome, by, reason, .. } =
                Judgement::of(findings, Some("GetObject"), "sigv4-header", (status, code));
            (outcome, by.cloned(), reason.map(Cow::into_owned))
        };
        let word = |word: &str| Some(word.to_owned());
        let nothing = Findings::default();
        assert_eq!(judged(&nothing, 404, Some("NoSuchBucket")), (Outcome::None, None, None));
        assert_eq!(judged(&nothing, 403, Some("SignatureDoesNotMatch")), (Outcome::Deny, None, word("signature")));
        assert_eq!(judged(&nothing, 403, Some("AccessDenied")), (Outcome::Deny, None, word("credential")));
        let status = (StatusCode::FORBIDDEN, Some("AccessDenied"));
        let expired = Judgement::of(&nothing, Some("GetObject"), PRESIGNED, status).reason;
        assert_eq!(expired.as_deref(), Some("expired"));
        let allowed = Findings::default();
        let _ = allowed.admitted.set(admitted(By::Root));
        let _ = allowed.trail.identity.set(Identity::Anonymous);
        assert_eq!(judged(&allowed, 200, None), (Outcome::Allow, Some(By::Root), None));
        assert_eq!(judged(&allowed, 404, Some("NoSuchKey")), (Outcome::Allow, Some(By::Root), None));
        assert_eq!(judged(&allowed, 403, Some("AccessDenied")), (Outcome::Deny, None, word("operation")));
        let denied = Findings::default();
        let by = By::Statement { policy: "p".into(), statement: "s".into() };
        let right = Decided { action: "s3:GetObject".into(), resource: "arn".into(), version: None, by: by.clone() };
        let _ = denied.trail.denied.set(right);
        assert_eq!(judged(&denied, 404, Some("NoSuchKey")), (Outcome::Deny, Some(by), word("explicit_deny")));
    }

    #[test]
    fn credentials_are_named_and_never_repeated() {
        let header = |text: &str| HeaderValue::from_str(text).expect("a value");
        let signed = header(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=ab",
        );
        let query = "X-Amz-Credential=AKIDQUERY%2F20260101%2Fr%2Fs3%2Faws4_request&X-Amz-Signature=ab";
        assert_eq!(claimed_key(Some(&signed), "").as_deref(), Some("AKIDEXAMPLE"));
        assert_eq!(claimed_key(Some(&header("AWS AKIDOLD:c2ln")), "").as_deref(), Some("AKIDOLD"));
        assert_eq!(claimed_key(None, query).as_deref(), Some("AKIDQUERY"));
        assert_eq!(claimed_key(Some(&header("Bearer eyJhbGciOi")), query), None);
        assert_eq!(claimed_key(Some(&header("AWS4-HMAC-SHA256 Credential=wJalr+XUtn==/x")), ""), None);
        assert_eq!(auth_type(Some(&signed), "", None, None), "sigv4-header");
        assert_eq!(auth_type(None, query, None, None), "sigv4-query");
        let old = "AWSAccessKeyId=AKIDOLDQUERY&Expires=1&Signature=x";
        assert_eq!(
            (auth_type(None, old, None, None), claimed_key(None, old).as_deref()),
            ("sigv2-query", Some("AKIDOLDQUERY"))
        );
        assert_eq!(auth_type(None, "", Some(ProofKind::Form), Some("PostObject")), "sigv4-form");
        assert_eq!(auth_type(Some(&header("Bearer x")), "", None, None), "bearer");
        assert_eq!(auth_type(None, "", None, Some("sts:AssumeRoleWithWebIdentity")), "web-identity");
        assert_eq!(auth_type(None, "", None, None), "anonymous");
    }
}
