//! A request as it is decided about, and the condition keys that are made of it. What Weir itself knows (the proof, the peer,
//! the time, what is stored) is trusted; what a client could write is not.
//!
//! Source: "AWS global condition context keys", AWS IAM User Guide; "Amazon S3 policy keys", Amazon S3 User Guide.

use super::Admitted;
use super::action::{self, Need};
use crate::access::{Findings, Requester};
use crate::audit::Decided;
use crate::guard::query_value;
use crate::lenient::Verified;
use crate::peer::Peer;
use crate::s3::{dates, tags};
use crate::tls::Secure;
use authn::identity::{Kind, Session, SessionOf};
use authn::policy::Context;
use authn::{By, Identity};
use common::sigv4;
use http::{Extensions, HeaderMap, Uri, header};
use s3s::dto::{Timestamp, TimestampFormat};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

/// How a request proved who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    pub kind: ProofKind,
    /// When it was signed, as the proof says.
    pub signed_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofKind {
    Nothing,
    Header,
    Query,
    Form,
    /// Of Signature Version 2.
    OldHeader,
    OldQuery,
    OldForm,
}

impl Proof {
    /// How policies call its place and its version.
    fn shape(self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            ProofKind::Nothing => None,
            ProofKind::Header => Some(("REST-HEADER", sigv4::ALGORITHM)),
            ProofKind::Query => Some(("REST-QUERY-STRING", sigv4::ALGORITHM)),
            ProofKind::Form => Some(("POST", sigv4::ALGORITHM)),
            ProofKind::OldHeader => Some(("REST-HEADER", "AWS")),
            ProofKind::OldQuery => Some(("REST-QUERY-STRING", "AWS")),
            ProofKind::OldForm => Some(("POST", "AWS")),
        }
    }

    pub const NONE: Self = Self { kind: ProofKind::Nothing, signed_ms: None };

    /// Of a request that the guard let through: it has one proof, or none.
    pub fn of(headers: &HeaderMap, query: &str) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if headers.contains_key(header::AUTHORIZATION) {
            return Self { kind: ProofKind::Header, signed_ms: header("x-amz-date").and_then(sigv4::parse_timestamp) };
        }
        if !query.contains("X-Amz-Signature") {
            return Self::NONE;
        }
        if query_value(query, "X-Amz-Signature").is_none() {
            return Self::NONE;
        }
        let signed_ms = query_value(query, "X-Amz-Date").and_then(|date| sigv4::parse_timestamp(&date));
        Self { kind: ProofKind::Query, signed_ms }
    }
}

/// One request.
pub struct Scene<'r> {
    pub operation: &'r str,
    pub bucket: Option<&'r str>,
    pub key: Option<&'r str>,
    pub headers: &'r HeaderMap,
    pub query: &'r str,
    pub identity: &'r Identity,
    /// Where it is not to be read in the headers and the query.
    pub proof: Option<Proof>,
    pub peer: Option<IpAddr>,
    pub is_secure: bool,
    /// The version of TLS that it came by: `1.2` or `1.3`.
    pub tls_version: Option<&'static str>,
    /// Keys that the request's document speaks of, with their values.
    pub document: Vec<(String, Vec<String>)>,
    /// Where the decision is told.
    pub findings: Option<Arc<Findings>>,
}

/// What of a request's condition keys is no matter of the request.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'s> {
    pub now_ms: u64,
    /// The number of the account that the bucket belongs to.
    pub account: Option<&'s str>,
    /// The tags of the object, where a policy asks for them.
    pub tags: &'s [(String, String)],
}

/// Headers that are condition keys by their own name, behind `s3:`.
const HEADERS: [&str; 14] = [
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

fn decided(need: &Need<'_>, by: &By) -> Decided {
    let version = need.version.map(str::to_owned);
    Decided { action: need.action.into(), resource: need.resource(), version, by: by.clone() }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl<'r> Scene<'r> {
    /// Of a request as s3s has it.
    pub fn new(
        operation: &'r str,
        (bucket, key): (Option<&'r str>, Option<&'r str>),
        headers: &'r HeaderMap,
        uri: &'r Uri,
        extensions: &Extensions,
        identity: &'r Identity,
    ) -> Self {
        let peer = extensions.get::<Peer>();
        Self {
            operation,
            bucket,
            key,
            headers,
            query: uri.query().unwrap_or(""),
            identity,
            proof: extensions.get::<Verified>().map(|verified| verified.1),
            peer: peer.map(|peer| peer.address),
            is_secure: peer.is_some_and(|peer| peer.is_secure),
            tls_version: peer.and_then(|peer| peer.tls.as_ref()).map(Secure::version),
            document: Vec::new(),
            findings: extensions.get::<Requester>().map(|requester| requester.0.clone()),
        }
    }

    pub fn version(&self) -> Option<Cow<'r, str>> {
        query_value(self.query, "versionId")
    }

    /// Tells what was decided.
    pub fn record(&self, admitted: Admitted) {
        if let Some(findings) = &self.findings {
            let _ = findings.admitted.set(admitted);
        }
    }

    /// Tells what was denied, for the audit log.
    pub fn denies(&self, need: &Need<'_>, by: &By) {
        if let Some(findings) = &self.findings {
            let _ = findings.trail.denied.set(decided(need, by));
        }
    }

    /// The same of one key of a request for many, which goes on.
    pub fn denies_key(&self, need: &Need<'_>, by: &By) {
        if let Some(findings) = &self.findings {
            let mut keys = findings.trail.denied_keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.push(decided(need, by));
        }
    }

    /// Whether the header of a copy's source is one.
    fn copies(&self) -> bool {
        action::of(self.operation).is_some_and(action::Rule::has_source)
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// These condition keys (in lower case, as policies in force ask for them), for one of the rights that the request
    /// needs. One that is not asked for is not made.
    pub fn context<'k>(&self, keys: impl Iterator<Item = &'k str>, need: &Need<'_>, stored: Stored<'_>) -> Context {
        let mut context = Context::default();
        for key in keys {
            if context.get(key).is_some() {
                continue;
            }
            if let Some(values) = self.trusted(key, stored) {
                context.trust(key, values);
            } else if let Some(values) = self.requested(key, need, stored.now_ms) {
                context.request(key, values);
            }
        }
        context
    }

    fn trusted(&self, key: &str, stored: Stored<'_>) -> Option<Vec<String>> {
        let value = match key {
            "aws:currenttime" => dates::iso_date(&dates::timestamp(stored.now_ms)),
            "aws:epochtime" => (stored.now_ms / 1000).to_string(),
            "aws:securetransport" => self.is_secure.to_string(),
            "s3:tlsversion" => self.tls_version?.to_owned(),
            "aws:sourceip" => self.peer?.to_canonical().to_string(),
            "s3:resourceaccount" => stored.account?.to_owned(),
            "s3:authtype" => self.proof().shape()?.0.to_owned(),
            "s3:signatureversion" => self.proof().shape()?.1.to_owned(),
            "s3:signatureage" => stored.now_ms.saturating_sub(self.proof().signed_ms?).to_string(),
            _ => match key.strip_prefix("s3:existingobjecttag/") {
                Some(tag) => tagged(stored.tags.iter().map(|(key, value)| (key, value)), tag)?,
                None => return self.of_caller(key),
            },
        };
        Some(vec![value])
    }

    fn proof(&self) -> Proof {
        self.proof.unwrap_or_else(|| Proof::of(self.headers, self.query))
    }

    fn requested(&self, key: &str, need: &Need<'_>, now_ms: u64) -> Option<Vec<String>> {
        let until = || self.header("x-amz-object-lock-retain-until-date");
        let value = match key {
            "aws:useragent" => self.header("user-agent"),
            "aws:referer" => self.header("referer"),
            "s3:prefix" | "s3:delimiter" | "s3:max-keys" if need.key.is_none() => {
                query_value(self.query, &key["s3:".len()..]).map(Cow::into_owned)
            }
            "s3:versionid" => need.version.map(str::to_owned),
            "s3:x-amz-copy-source" => {
                let source = self.copies().then(|| action::Source::of_copy(self.headers).ok()).flatten();
                source.map(|source| format!("{}/{}", source.bucket, source.key))
            }
            "s3:object-lock-mode" => self.header("x-amz-object-lock-mode"),
            "s3:object-lock-legal-hold" => self.header("x-amz-object-lock-legal-hold"),
            "s3:object-lock-retain-until-date" => until(),
            "s3:object-lock-remaining-retention-days" => {
                until().and_then(|until| remaining_days(&until, now_ms)).map(|days| days.to_string())
            }
            _ => {
                let header = key.strip_prefix("s3:").filter(|header| HEADERS.contains(header));
                header.and_then(|header| self.header(header))
            }
        };
        let named = |all: &[(String, Vec<String>)]| {
            all.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, values)| values.clone())
        };
        value.map(|value| vec![value]).or_else(|| {
            let of_header = || named(&of_tags(&tags::of_header(self.headers).unwrap_or_default()));
            key.starts_with("s3:requestobjecttag").then(of_header).flatten().or_else(|| named(&self.document))
        })
    }

    fn of_caller(&self, key: &str) -> Option<Vec<String>> {
        let Some(caller) = self.identity.caller() else {
            return (key == "aws:principaltype").then(|| vec!["Anonymous".to_owned()]);
        };
        let (user, session) = match &caller.kind {
            Kind::Root => (None, None),
            Kind::User(user) => (Some(user), None),
            Kind::Session(session) => match &session.of {
                SessionOf::User(user) => (Some(user), Some(session)),
                SessionOf::Root | SessionOf::Role { .. } => (None, Some(session)),
            },
        };
        let value = match key {
            "aws:userid" => caller.user_id(),
            "aws:principalaccount" => caller.account.clone(),
            "aws:username" => user?.name.clone(),
            "aws:principaltype" => match &caller.kind {
                Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => "Account".to_owned(),
                Kind::User(_) | Kind::Session(Session { of: SessionOf::User(_), .. }) => "User".to_owned(),
                Kind::Session(Session { of: SessionOf::Role { .. }, .. }) => "AssumedRole".to_owned(),
            },
            "aws:principalarn" => match &caller.kind {
                // The role itself, and not one of its sessions.
                Kind::Session(Session { of: SessionOf::Role { name, path, .. }, .. }) => {
                    format!("arn:aws:iam::{}:role{path}{name}", caller.account)
                }
                _ => caller.arn(),
            },
            "aws:tokenissuetime" => dates::iso_date(&dates::timestamp(session?.issued_ms)),
            _ => match key.strip_prefix("aws:principaltag/") {
                // A session has its user's tags, and its own.
                Some(tag) => match session {
                    Some(session) => tagged(session.tags.iter(), tag)?,
                    None => tagged(user?.tags.iter(), tag)?,
                },
                None => {
                    let mut claims = session?.claims.iter();
                    return claims.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, values)| values.clone());
                }
            },
        };
        Some(vec![value])
    }
}

/// The value of a tag. Condition keys know no case.
fn tagged<'t>(mut tags: impl Iterator<Item = (&'t String, &'t String)>, name: &str) -> Option<String> {
    tags.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
}

/// The condition keys of tags that a request gives an object.
pub fn of_tags(tags: &[(String, String)]) -> Vec<(String, Vec<String>)> {
    let mut keys: Vec<(String, Vec<String>)> =
        tags.iter().map(|(key, value)| (format!("s3:RequestObjectTag/{key}"), vec![value.clone()])).collect();
    if !tags.is_empty() {
        keys.push(("s3:RequestObjectTagKeys".to_owned(), tags.iter().map(|(key, _)| key.clone()).collect()));
    }
    keys
}

/// A day that has begun is a day.
pub fn remaining_days(until: &str, now_ms: u64) -> Option<u64> {
    let until = Timestamp::parse(TimestampFormat::DateTime, until).ok()?;
    let until_ms = u64::try_from(dates::seconds(&until)).ok()?.checked_mul(1000)?;
    Some(until_ms.saturating_sub(now_ms).div_ceil(DAY_MS))
}

#[cfg(test)]
mod tests {
    use super::super::action::Place;
    use super::*;
    use authn::identity::{Caller, Standing, UserName};
    use common::{AccessKeyId, OwnerId};
    use http::{HeaderName, HeaderValue};

    const NOW_MS: u64 = 1_767_323_045_999;

    fn caller(kind: Kind) -> Identity {
        Identity::Known(Arc::new(Caller {
            access_key: Some(AccessKeyId("WK".into())),
            owner: OwnerId("ann".into()),
            account: "123456789012".to_owned(),
            tenant: None,
            admin: false,
            kind,
            standing: Standing::default(),
        }))
    }

    fn name() -> UserName {
        let tags = [("team".to_owned(), "blue".to_owned())].into();
        UserName { name: "joe".into(), path: "/x/".into(), id: "AIDA1".into(), tags }
    }

    /// The value of a key in a request, as a policy would find it that asks for nothing else.
    fn value(
        identity: &Identity,
        uri: &str,
        pairs: &[(&'static str, &'static str)],
        key: Option<&str>,
        asked: &str,
    ) -> Option<String> {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let uri: Uri = uri.parse().expect("a URI");
        let mut extensions = Extensions::new();
        extensions.insert(Peer::plain("::ffff:10.1.2.3".parse().expect("an address")));
        let scene = Scene::new("CopyObject", (Some("b"), key), &headers, &uri, &extensions, identity);
        let version = scene.version();
        let need = Need { action: "s3:PutObject", bucket: "b", key, version: version.as_deref(), place: Place::Target };
        let tags = [("kind".to_owned(), "raw".to_owned())];
        let stored = Stored { now_ms: NOW_MS, account: Some("999999999999"), tags: &tags };
        let lower = asked.to_ascii_lowercase();
        let context = scene.context([&*lower].into_iter(), &need, stored);
        context.get(asked).map(|values| values.join(","))
    }

    #[test]
    fn what_weir_knows_is_trusted() {
        let pairs = [("authorization", "AWS4-HMAC-SHA256 ..."), ("x-amz-date", "20260102T030305Z")];
        let identity = caller(Kind::User(name()));
        let value = |key: &str| value(&identity, "/b/k", &pairs, Some("k"), key);
        for (key, expected) in [
            ("aws:SourceIp", "10.1.2.3"),
            ("aws:SecureTransport", "false"),
            ("aws:CurrentTime", "2026-01-02T03:04:05.000Z"),
            ("aws:EpochTime", "1767323045"),
            ("aws:username", "joe"),
            ("aws:userid", "AIDA1"),
            ("aws:PrincipalArn", "arn:aws:iam::123456789012:user/x/joe"),
            ("aws:PrincipalAccount", "123456789012"),
            ("aws:PrincipalType", "User"),
            ("aws:PrincipalTag/team", "blue"),
            ("s3:ResourceAccount", "999999999999"),
            ("s3:ExistingObjectTag/kind", "raw"),
            ("s3:authType", "REST-HEADER"),
            ("s3:signatureversion", "AWS4-HMAC-SHA256"),
            ("s3:signatureAge", "60999"),
        ] {
            assert_eq!(value(key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(value("aws:TokenIssueTime"), None);
        assert_eq!(value("s3:TlsVersion"), None);
    }

    #[test]
    fn sessions_are_of_their_role() {
        let role = SessionOf::Role { name: "r".into(), path: "/p/".into(), id: "AROA1".into(), session: "s".into() };
        let session = Session {
            of: role,
            issued_ms: NOW_MS - 5999,
            expires_ms: NOW_MS,
            tags: [("team".to_owned(), "red".to_owned())].into(),
            claims: [("jwt:sub".to_owned(), vec!["x".to_owned()])].into(),
        };
        let identity = caller(Kind::Session(session));
        let value = |key: &str| value(&identity, "/b/k", &[], Some("k"), key);
        for (key, expected) in [
            ("aws:PrincipalArn", "arn:aws:iam::123456789012:role/p/r"),
            ("aws:PrincipalType", "AssumedRole"),
            ("aws:userid", "AROA1:s"),
            ("aws:TokenIssueTime", "2026-01-02T03:04:00.000Z"),
            ("aws:PrincipalTag/team", "red"),
            ("jwt:sub", "x"),
        ] {
            assert_eq!(value(key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(value("aws:username"), None);
    }

    #[test]
    fn what_a_client_says_is_asked() {
        let pairs = [
            ("user-agent", "curl"),
            ("referer", "http://a/"),
            ("x-amz-acl", "public-read"),
            ("x-amz-copy-source", "/src/a%2Fb?versionId=v"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-tagging", "a=1&b=2"),
            ("x-amz-object-lock-retain-until-date", "2026-01-04T03:04:06Z"),
        ];
        let value = |key: &str| value(&Identity::Anonymous, "/b/k?versionId=7&prefix=x", &pairs, Some("k"), key);
        for (key, expected) in [
            ("aws:UserAgent", "curl"),
            ("aws:Referer", "http://a/"),
            ("aws:PrincipalType", "Anonymous"),
            ("s3:VersionId", "7"),
            ("s3:x-amz-acl", "public-read"),
            ("s3:x-amz-copy-source", "src/a/b"),
            ("s3:x-amz-server-side-encryption", "AES256"),
            ("s3:RequestObjectTag/a", "1"),
            ("s3:RequestObjectTagKeys", "a,b"),
            ("s3:object-lock-remaining-retention-days", "3"),
        ] {
            assert_eq!(value(key).as_deref(), Some(expected), "{key}");
        }
        for absent in ["s3:prefix", "aws:userid", "aws:PrincipalArn", "s3:authType", "s3:signatureAge"] {
            assert_eq!(value(absent), None, "{absent}");
        }
    }

    #[test]
    fn listings_have_a_prefix() {
        let query = "/b?list-type=2&prefix=a%2F&delimiter=/&max-keys=9";
        let values = ["s3:prefix", "s3:delimiter", "s3:max-keys"];
        let values = values.map(|key| value(&Identity::Anonymous, query, &[], None, key).expect("there"));
        assert_eq!(values, ["a/", "/", "9"]);
    }

    #[test]
    fn proofs_are_told_apart() {
        let of = |query: &str| Proof::of(&HeaderMap::new(), query);
        assert_eq!(of("X-Amz-Signature=0&X-Amz-Date=20260102T030405Z").kind, ProofKind::Query);
        assert_eq!(of("prefix=X-Amz-Signature"), Proof::NONE);
        assert_eq!(of(""), Proof::NONE);
    }
}
