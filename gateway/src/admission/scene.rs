//! A request as it is decided about, and the condition keys that are made of it. What Weir itself knows (the proof, the peer,
//! the time, what is stored) is trusted; what a client could write is not.
//!
//! Source: "AWS global condition context keys", AWS IAM User Guide; "Amazon S3 policy keys", Amazon S3 User Guide.

use super::Admitted;
use super::action::{self, Need};
use crate::access::{Findings, Requester};
use crate::guard::{Pair, Peer, query_pairs};
use crate::lenient::Verified;
use crate::s3::{dates, tags};
use authn::Identity;
use authn::identity::{Caller, Kind, Session, SessionOf};
use authn::policy::{Context, Policy};
use common::sigv4;
use http::{Extensions, HeaderMap, Uri, header};
use s3s::dto::{Timestamp, TimestampFormat};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

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
    OldForm,
}

impl Proof {
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
        let pairs = query_pairs(query);
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        if value("X-Amz-Signature").is_none() {
            return Self::NONE;
        }
        Self { kind: ProofKind::Query, signed_ms: value("X-Amz-Date").and_then(sigv4::parse_timestamp) }
    }
}

/// One request.
pub struct Scene<'r> {
    pub operation: &'r str,
    pub bucket: Option<&'r str>,
    pub key: Option<&'r str>,
    pub headers: &'r HeaderMap,
    pub query: &'r str,
    /// The query's, once somebody asks.
    pub pairs: OnceLock<Vec<Pair<'r>>>,
    pub identity: &'r Identity,
    /// Where it is not to be read in the headers and the query.
    pub proof: Option<Proof>,
    pub peer: Option<IpAddr>,
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

/// Which condition keys are made: what no policy in force asks for is not looked up.
#[derive(Debug, Clone)]
pub enum Wanted<'p> {
    Everything,
    By(Vec<&'p Policy>),
}

impl Wanted<'_> {
    fn has(&self, key: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::By(policies) => policies.iter().any(|policy| policy.asks_for(key)),
        }
    }

    /// Whether a key is asked for that goes on like this, with the name of a tag as a rule.
    pub fn has_any(&self, start: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::By(policies) => policies.iter().any(|policy| policy.mentions(start)),
        }
    }
}

/// A context in the making: a value is only made where its key is wanted.
struct Making<'m> {
    context: Context,
    wanted: &'m Wanted<'m>,
}

impl Making<'_> {
    fn trust(&mut self, key: &str, value: impl FnOnce() -> String) {
        if self.wanted.has(key) {
            self.context.trust(key, vec![value()]);
        }
    }

    fn request(&mut self, key: &str, value: impl FnOnce() -> Option<String>) {
        if self.wanted.has(key)
            && let Some(value) = value()
        {
            self.context.request(key, vec![value]);
        }
    }
}

/// Headers that are condition keys by their own name, behind `s3:`.
const HEADERS: [&str; 14] = [
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read",
    "s3:x-amz-grant-read-acp",
    "s3:x-amz-grant-write",
    "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-object-ownership",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
];

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
        Self {
            operation,
            bucket,
            key,
            headers,
            query: uri.query().unwrap_or(""),
            pairs: OnceLock::new(),
            identity,
            proof: extensions.get::<Verified>().map(|verified| verified.1),
            peer: extensions.get::<Peer>().map(|peer| peer.0),
            document: Vec::new(),
            findings: extensions.get::<Requester>().map(|requester| requester.0.clone()),
        }
    }

    pub fn version(&self) -> Option<&str> {
        self.value("versionId")
    }

    fn value(&self, name: &str) -> Option<&str> {
        let pairs = self.pairs.get_or_init(|| query_pairs(self.query));
        pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// Tells what was decided.
    pub fn record(&self, admitted: Admitted) {
        if let Some(findings) = &self.findings {
            let _ = findings.admitted.set(admitted);
        }
    }

    /// Whether the header of a copy's source is one.
    fn copies(&self) -> bool {
        action::of(self.operation).is_some_and(action::Rule::has_source)
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The condition keys that are wanted, for one of the rights that the request needs.
    pub fn context(&self, need: &Need<'_>, stored: Stored<'_>, wanted: &Wanted<'_>) -> Context {
        let mut making = Making { context: Context::default(), wanted };
        self.trusted(&mut making, stored);
        self.requested(&mut making, need, stored.now_ms);
        making.context
    }

    fn trusted(&self, making: &mut Making<'_>, stored: Stored<'_>) {
        making.trust("aws:CurrentTime", || dates::iso_date(&dates::timestamp(stored.now_ms)));
        making.trust("aws:EpochTime", || (stored.now_ms / 1000).to_string());
        // There is no TLS yet.
        making.trust("aws:SecureTransport", || "false".to_owned());
        if let Some(peer) = self.peer {
            making.trust("aws:SourceIp", || peer.to_canonical().to_string());
        }
        if let Some(account) = stored.account {
            making.trust("s3:ResourceAccount", || account.to_owned());
        }
        for (key, value) in stored.tags {
            making.trust(&format!("s3:ExistingObjectTag/{key}"), || value.clone());
        }
        if making.wanted.has("s3:authType") || making.wanted.has_any("s3:signature") {
            self.of_proof(making, stored.now_ms);
        }
        match self.identity.caller() {
            Some(caller) => of_caller(making, caller),
            None => making.trust("aws:PrincipalType", || "Anonymous".to_owned()),
        }
    }

    fn of_proof(&self, making: &mut Making<'_>, now_ms: u64) {
        let proof = self.proof.unwrap_or_else(|| Proof::of(self.headers, self.query));
        let Proof { kind, signed_ms } = proof;
        let proof = match kind {
            ProofKind::Nothing => None,
            ProofKind::Header => Some(("REST-HEADER", sigv4::ALGORITHM)),
            ProofKind::Query => Some(("REST-QUERY-STRING", sigv4::ALGORITHM)),
            ProofKind::Form => Some(("POST", sigv4::ALGORITHM)),
            ProofKind::OldForm => Some(("POST", "AWS")),
        };
        if let Some((kind, version)) = proof {
            making.trust("s3:authType", || kind.to_owned());
            making.trust("s3:signatureversion", || version.to_owned());
        }
        if let Some(signed_ms) = signed_ms {
            making.trust("s3:signatureAge", || now_ms.saturating_sub(signed_ms).to_string());
        }
    }

    fn requested(&self, making: &mut Making<'_>, need: &Need<'_>, now_ms: u64) {
        making.request("aws:UserAgent", || self.header("user-agent"));
        making.request("aws:Referer", || self.header("referer"));
        for key in HEADERS {
            making.request(key, || self.header(&key["s3:".len()..]));
        }
        if need.key.is_none() {
            for key in ["s3:prefix", "s3:delimiter", "s3:max-keys"] {
                making.request(key, || self.value(&key["s3:".len()..]).map(str::to_owned));
            }
        }
        making.request("s3:VersionId", || need.version.map(str::to_owned));
        making.request("s3:x-amz-copy-source", || {
            let source = self.copies().then(|| action::Source::of_copy(self.headers).ok()).flatten()?;
            Some(format!("{}/{}", source.bucket, source.key))
        });
        making.request("s3:object-lock-mode", || self.header("x-amz-object-lock-mode"));
        making.request("s3:object-lock-legal-hold", || self.header("x-amz-object-lock-legal-hold"));
        let until = || self.header("x-amz-object-lock-retain-until-date");
        making.request("s3:object-lock-retain-until-date", until);
        making.request("s3:object-lock-remaining-retention-days", || {
            remaining_days(&until()?, now_ms).map(|days| days.to_string())
        });
        if making.wanted.has_any("s3:RequestObjectTag") {
            for (key, values) in of_tags(&tags::of_header(self.headers).unwrap_or_default()) {
                making.context.request(key, values);
            }
        }
        for (key, values) in &self.document {
            making.context.request(key.as_str(), values.clone());
        }
    }
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

fn of_caller(making: &mut Making<'_>, caller: &Caller) {
    making.trust("aws:userid", || caller.user_id());
    making.trust("aws:PrincipalAccount", || caller.account.clone());
    let kind = match &caller.kind {
        Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => "Account",
        Kind::User(name) => {
            making.trust("aws:username", || name.name.clone());
            for (key, value) in &name.tags {
                making.trust(&format!("aws:PrincipalTag/{key}"), || value.clone());
            }
            "User"
        }
        Kind::Session(Session { of: SessionOf::User(name), .. }) => {
            making.trust("aws:username", || name.name.clone());
            "User"
        }
        Kind::Session(Session { of: SessionOf::Role { .. }, .. }) => "AssumedRole",
    };
    making.trust("aws:PrincipalType", || kind.to_owned());
    making.trust("aws:PrincipalArn", || match &caller.kind {
        // The role itself, and not one of its sessions.
        Kind::Session(Session { of: SessionOf::Role { name, path, .. }, .. }) => {
            format!("arn:aws:iam::{}:role{path}{name}", caller.account)
        }
        _ => caller.arn(),
    });
    if let Kind::Session(session) = &caller.kind {
        making.trust("aws:TokenIssueTime", || dates::iso_date(&dates::timestamp(session.issued_ms)));
        for (key, value) in &session.tags {
            making.trust(&format!("aws:PrincipalTag/{key}"), || value.clone());
        }
        for (key, values) in &session.claims {
            making.context.trust(key.as_str(), values.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::action::Place;
    use super::*;
    use authn::identity::{Standing, UserName};
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

    fn context(identity: &Identity, uri: &str, pairs: &[(&'static str, &'static str)], key: Option<&str>) -> Context {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let uri: Uri = uri.parse().expect("a URI");
        let mut extensions = Extensions::new();
        extensions.insert(Peer("::ffff:10.1.2.3".parse().expect("an address")));
        let scene = Scene::new("CopyObject", (Some("b"), key), &headers, &uri, &extensions, identity);
        let need = Need { action: "s3:PutObject", bucket: "b", key, version: scene.version(), place: Place::Target };
        let tags = [("kind".to_owned(), "raw".to_owned())];
        let stored = Stored { now_ms: NOW_MS, account: Some("999999999999"), tags: &tags };
        scene.context(&need, stored, &Wanted::Everything)
    }

    fn value(context: &Context, key: &str) -> Option<String> {
        context.get(key).map(|values| values.join(","))
    }

    #[test]
    fn what_weir_knows_is_trusted() {
        let pairs = [("authorization", "AWS4-HMAC-SHA256 ..."), ("x-amz-date", "20260102T030305Z")];
        let context = context(&caller(Kind::User(name())), "/b/k", &pairs, Some("k"));
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
            assert_eq!(value(&context, key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(value(&context, "aws:TokenIssueTime"), None);
        assert_eq!(value(&context, "s3:TlsVersion"), None);
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
        let context = context(&caller(Kind::Session(session)), "/b/k", &[], Some("k"));
        for (key, expected) in [
            ("aws:PrincipalArn", "arn:aws:iam::123456789012:role/p/r"),
            ("aws:PrincipalType", "AssumedRole"),
            ("aws:userid", "AROA1:s"),
            ("aws:TokenIssueTime", "2026-01-02T03:04:00.000Z"),
            ("aws:PrincipalTag/team", "red"),
            ("jwt:sub", "x"),
        ] {
            assert_eq!(value(&context, key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(value(&context, "aws:username"), None);
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
        let context = context(&Identity::Anonymous, "/b/k?versionId=7&prefix=x", &pairs, Some("k"));
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
            assert_eq!(value(&context, key).as_deref(), Some(expected), "{key}");
        }
        for absent in ["s3:prefix", "aws:userid", "aws:PrincipalArn", "s3:authType", "s3:signatureAge"] {
            assert_eq!(value(&context, absent), None, "{absent}");
        }
    }

    #[test]
    fn only_what_a_policy_asks_for_is_made() {
        let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*",
            "Condition":{"StringEquals":{"AWS:PrincipalTag/team":"blue","s3:signatureVersion":"x"},"Null":{"s3:x-amz-acl":"true"}}}]}"#;
        let policy = Policy::parse(text, authn::policy::Purpose::Identity).expect("a policy");
        let headers: HeaderMap =
            [(HeaderName::from_static("x-amz-acl"), HeaderValue::from_static("private"))].into_iter().collect();
        let uri: Uri = "/b/k?X-Amz-Signature=0".parse().expect("a URI");
        let identity = caller(Kind::User(name()));
        let scene = Scene::new("GetObject", (Some("b"), Some("k")), &headers, &uri, &Extensions::new(), &identity);
        let need = Need { action: "s3:GetObject", bucket: "b", key: Some("k"), version: None, place: Place::Target };
        let stored = Stored { now_ms: NOW_MS, account: None, tags: &[] };
        let of = |wanted| {
            let context = scene.context(&need, stored, &wanted);
            ["aws:principaltag/team", "s3:signatureversion", "s3:x-amz-acl", "aws:username", "aws:CurrentTime"]
                .map(|key| value(&context, key).is_some())
        };
        assert_eq!(of(Wanted::By(vec![&policy])), [true, true, true, false, false]);
        assert_eq!(of(Wanted::By(Vec::new())), [false; 5]);
        assert_eq!(of(Wanted::Everything), [true; 5]);
    }

    #[test]
    fn listings_have_a_prefix() {
        let context = context(&Identity::Anonymous, "/b?list-type=2&prefix=a%2F&delimiter=/&max-keys=9", &[], None);
        let values = ["s3:prefix", "s3:delimiter", "s3:max-keys"].map(|key| value(&context, key).expect("there"));
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
