//! Who asks for what, and under what a rule counts it. Pure.

use super::rule::{Matches, Per, Rule};
use super::verb::Verb;
use authn::identity::{Kind, Session, SessionOf};
use authn::{Caller, Identity};
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

/// Where AWS SDKs number their attempts.
const ATTEMPT: HeaderName = HeaderName::from_static("amz-sdk-request");

pub struct Asker<'a> {
    pub identity: &'a Identity,
    pub address: Option<IpAddr>,
    pub bucket: Option<&'a str>,
    pub verb: Verb,
    /// They may say that it was asked before, and refused. Nobody looks before that decides something.
    pub headers: Option<&'a HeaderMap>,
}

impl Asker<'_> {
    pub fn is_repetition(&self) -> bool {
        self.headers.is_some_and(is_repetition)
    }
}

/// What has a limit of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Counted<'a> {
    Key(&'a str),
    Principal(Cow<'a, str>),
    Bucket(&'a str),
    Tenant(&'a str),
    Address(IpAddr),
    Node,
}

/// Why a rule is not about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    Verb,
    Bucket,
    NoBucket,
    Tenant,
    NoTenant,
    Principal,
    AccessKey,
    Address,
    NoAddress,
}

impl Miss {
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Verb => "it is about other verbs",
            Self::Bucket => "it is about other buckets",
            Self::NoBucket => "it counts by bucket, and no bucket is asked for",
            Self::Tenant => "it is about other tenants",
            Self::NoTenant => "it counts by tenant, and the caller has none",
            Self::Principal => "it is about other principals",
            Self::AccessKey => "it is about other access keys",
            Self::Address => "it is about other addresses",
            Self::NoAddress => "it counts by address, and none is known",
        }
    }
}

/// Under what the rule counts the request; an error where it is not about it.
pub fn counted<'a>(rule: &Rule, asker: &Asker<'a>) -> Result<Counted<'a>, Miss> {
    let Matches { tenants, principals, access_keys, buckets, verbs, networks } = &rule.matches;
    let caller = asker.identity.caller();
    let must = |is: bool, miss: Miss| if is { Ok(()) } else { Err(miss) };
    must(verbs.is_empty() || verbs.contains(&asker.verb), Miss::Verb)?;
    let is_in = |bucket: &str| buckets.iter().any(|pattern| pattern.matches(bucket));
    must(buckets.is_empty() || asker.bucket.is_some_and(is_in), Miss::Bucket)?;
    let tenant = caller.and_then(|caller| caller.tenant.as_deref());
    must(tenants.is_empty() || tenant.is_some_and(|own| tenants.iter().any(|name| name == own)), Miss::Tenant)?;
    let key = caller.and_then(|caller| caller.access_key.as_ref()).map(|key| key.0.as_str());
    must(access_keys.is_empty() || key.is_some_and(|own| access_keys.iter().any(|id| id == own)), Miss::AccessKey)?;
    let is_one = |caller: &Caller| {
        let arn = caller.arn();
        principals.iter().any(|pattern| pattern.matches(&arn))
    };
    must(principals.is_empty() || caller.is_some_and(is_one), Miss::Principal)?;
    let is_near = |address: IpAddr| networks.iter().any(|network| network.has(address.to_canonical()));
    must(networks.is_empty() || asker.address.is_some_and(is_near), Miss::Address)?;

    let by_address = || asker.address.map(|address| Counted::Address(counted_address(address))).ok_or(Miss::NoAddress);
    match rule.per {
        Per::Key => key.map_or_else(by_address, |key| Ok(Counted::Key(key))),
        Per::Principal => caller.map_or_else(by_address, |caller| Ok(Counted::Principal(principal(caller)))),
        Per::Bucket => asker.bucket.map(Counted::Bucket).ok_or(Miss::NoBucket),
        Per::Tenant => tenant.map(Counted::Tenant).ok_or(Miss::NoTenant),
        Per::Address => by_address(),
        Per::Node => Ok(Counted::Node),
    }
}

/// Who is behind a caller: of a session whose it is, so that a new session is no new limit.
fn principal(caller: &Caller) -> Cow<'_, str> {
    match &caller.kind {
        Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => Cow::Borrowed(&caller.owner.0),
        Kind::User(name) | Kind::Session(Session { of: SessionOf::User(name), .. }) => Cow::Borrowed(&name.id),
        Kind::Session(Session { of: SessionOf::Role { id, .. }, .. }) => Cow::Borrowed(id),
    }
}

/// A customer of a provider has a /64 of version 6, and may send from all of it.
pub fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// Whether a client says that it sends a request again.
fn is_repetition(headers: &HeaderMap) -> bool {
    let says = headers.get(ATTEMPT).and_then(|value| value.to_str().ok());
    let attempt = says.and_then(|says| says.split(';').find_map(|part| part.trim().strip_prefix("attempt=")));
    attempt.and_then(|attempt| attempt.parse::<u32>().ok()).is_some_and(|attempt| attempt > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use authn::identity::{Standing, UserName};
    use common::{AccessKeyId, OwnerId};
    use std::sync::Arc;

    fn caller(key: &str, kind: Kind) -> Identity {
        Identity::Known(Arc::new(Caller {
            access_key: Some(AccessKeyId(key.to_owned())),
            owner: OwnerId("ann".to_owned()),
            account: "123456789012".to_owned(),
            tenant: Some("acme".to_owned()),
            admin: false,
            kind,
            standing: Standing::default(),
        }))
    }

    fn user() -> UserName {
        UserName { name: "bob".into(), path: "/".into(), id: "AIDABOB".into(), tags: Default::default() }
    }

    fn rule(text: &str) -> Rule {
        Rule::parse("r", text.as_bytes()).expect("a rule")
    }

    fn asked<'a>(identity: &'a Identity) -> Asker<'a> {
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        Asker { identity, address, bucket: Some("logs-1"), verb: Verb::Get, headers: None }
    }

    #[test]
    fn rules_are_about_whom_they_name() {
        let bob = caller("AKIABOB", Kind::User(user()));
        let said = |matches: &str| {
            let rule = rule(&format!(r#"{{"per": "node", "rate": 10, "match": {matches}}}"#));
            counted(&rule, &asked(&bob)).map(|_| ())
        };
        for matches in [
            "{}",
            r#"{"verb": ["put", "get"]}"#,
            r#"{"bucket": "logs-*"}"#,
            r#"{"tenant": "acme"}"#,
            r#"{"access_key": "AKIABOB"}"#,
            r#"{"principal": "arn:aws:iam::123456789012:user/*"}"#,
            r#"{"cidr": "10.0.0.0/24"}"#,
        ] {
            assert_eq!(said(matches), Ok(()), "{matches}");
        }
        for (matches, miss) in [
            (r#"{"verb": "put"}"#, Miss::Verb),
            (r#"{"bucket": "logs"}"#, Miss::Bucket),
            (r#"{"tenant": "other"}"#, Miss::Tenant),
            (r#"{"access_key": "AKIA"}"#, Miss::AccessKey),
            (r#"{"principal": "arn:aws:iam::123456789012:root"}"#, Miss::Principal),
            (r#"{"cidr": "10.0.1.0/24"}"#, Miss::Address),
        ] {
            assert_eq!(said(matches), Err(miss), "{matches}");
        }
        let about_somebody = rule(r#"{"per": "key", "rate": 10, "match": {"principal": "*"}}"#);
        assert_eq!(counted(&about_somebody, &asked(&Identity::Anonymous)), Err(Miss::Principal));
    }

    #[test]
    fn what_counts_together_has_one_limit() {
        let bob = caller("AKIABOB", Kind::User(user()));
        let (issued_ms, expires_ms) = (0, 1);
        let session = |of| {
            let (tags, claims) = Default::default();
            Kind::Session(Session { of, issued_ms, expires_ms, tags, claims })
        };
        let in_session = caller("ASIA1", session(SessionOf::User(user())));
        let role = |session: &str| SessionOf::Role {
            name: "r".into(),
            path: "/".into(),
            id: "AROA".into(),
            session: session.to_owned(),
        };
        let in_role = caller("ASIA2", session(role("s1")));
        let under = |per: &str, identity| {
            let rule = rule(&format!(r#"{{"per": "{per}", "rate": 10}}"#));
            format!("{:?}", counted(&rule, &asked(identity)))
        };
        assert_eq!(under("key", &bob), "Ok(Key(\"AKIABOB\"))");
        assert_eq!(under("key", &in_session), "Ok(Key(\"ASIA1\"))");
        assert_eq!(under("principal", &bob), "Ok(Principal(\"AIDABOB\"))");
        assert_eq!(under("principal", &in_session), under("principal", &bob), "a session is no new limit");
        assert_eq!(under("principal", &in_role), "Ok(Principal(\"AROA\"))");
        assert_eq!(under("key", &Identity::Anonymous), "Ok(Address(10.0.0.7))");
        assert_eq!(under("principal", &Identity::Anonymous), "Ok(Address(10.0.0.7))");
        assert_eq!(under("bucket", &bob), "Ok(Bucket(\"logs-1\"))");
        assert_eq!(under("tenant", &bob), "Ok(Tenant(\"acme\"))");
        assert_eq!(under("tenant", &Identity::Anonymous), "Err(NoTenant)");
        assert_eq!(under("address", &bob), "Ok(Address(10.0.0.7))");
        assert_eq!(under("node", &bob), "Ok(Node)");
        let nowhere = Asker { bucket: None, address: None, ..asked(&Identity::Anonymous) };
        let missed = |per: &str| counted(&rule(&format!(r#"{{"per": "{per}", "rate": 10}}"#)), &nowhere).err();
        assert_eq!((missed("bucket"), missed("key")), (Some(Miss::NoBucket), Some(Miss::NoAddress)));
    }

    #[test]
    fn addresses_are_counted_as_they_are_given_out() {
        let counted = |text: &str| counted_address(text.parse().expect("an address")).to_string();
        assert_eq!(counted("10.0.0.7"), "10.0.0.7");
        assert_eq!(counted("::ffff:10.0.0.7"), "10.0.0.7");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn repetitions_are_told_by_their_number() {
        let says = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("amz-sdk-request", http::HeaderValue::from_static(text));
            is_repetition(&headers)
        };
        assert!(says("attempt=2; max=5") && says("ttl=20260101T000000Z; attempt=3; max=3"));
        assert!(!says("attempt=1; max=5") && !says("attempt=x") && !says("") && !is_repetition(&HeaderMap::new()));
    }
}
