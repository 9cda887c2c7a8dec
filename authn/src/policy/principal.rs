//! Whom a statement of a bucket policy or a trust policy means.
//!
//! Source: "AWS JSON policy elements: Principal" and "NotPrincipal", AWS IAM User Guide.

use super::json::Json;
use crate::identity::{Caller, Kind, Session, SessionOf, UserName};

const ACCOUNT_DIGITS: usize = 12;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum Who<'q> {
    Anonymous,
    Caller(&'q Caller),
    /// A web identity, by the ARN of its provider in the role's account.
    Federated(&'q str),
    /// `logging.s3.amazonaws.com`.
    Service(&'q str),
}

/// How closely a statement names who asks: what it grants depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// By the account alone: it leaves to the account's own policies who of it may.
    Account,
    Everyone,
    /// By the role whose session it is.
    Role,
    /// By itself: the user, this very session, the root by its account, the web identity's provider.
    Directly,
}

#[derive(Debug, PartialEq)]
pub(super) struct Principals {
    /// `NotPrincipal`.
    negated: bool,
    items: Box<[Principal]>,
}

#[derive(Debug, PartialEq)]
enum Principal {
    /// `*`.
    Everyone,
    /// A number, or the name of a tenant.
    Account(Box<str>),
    /// `CanonicalUser`.
    Owner(Box<str>),
    /// Its path and name: `/path/name`.
    User {
        account: Box<str>,
        name: Box<str>,
    },
    Role {
        account: Box<str>,
        name: Box<str>,
    },
    RoleSession {
        account: Box<str>,
        role: Box<str>,
        session: Box<str>,
    },
    Federated(Box<str>),
    Service(Box<str>),
}

impl Principals {
    pub fn parse(json: Json, negated: bool) -> Result<Self, String> {
        let mut items = Vec::new();
        match json {
            Json::Text(text) if text == "*" => items.push(Principal::Everyone),
            Json::Map(kinds) => {
                for (kind, values) in kinds {
                    for value in super::statement::texts(&kind, values)? {
                        items.push(principal(&kind, &value)?);
                    }
                }
            }
            other => return Err(format!("has a principal that is neither \"*\" nor a map but {}", other.kind())),
        }
        if items.is_empty() {
            return Err("names no principal".to_owned());
        }
        if negated && items.contains(&Principal::Everyone) {
            return Err("excepts everybody: NotPrincipal cannot be \"*\"".to_owned());
        }
        Ok(Self { negated, items: items.into() })
    }

    /// `None`: it is not about them.
    pub fn names(&self, who: Who<'_>) -> Option<Named> {
        if let ([item], false) = (&*self.items, self.negated) {
            return item.names(who);
        }
        let named = self.items.iter().filter_map(|item| item.names(who)).max();
        if self.negated {
            // Only who is named closely is excepted: an account in the list excepts its root alone.
            return if named >= Some(Named::Role) { None } else { Some(Named::Everyone) };
        }
        named
    }

    /// A role, or its session, whose ARN names no account: there is none, but in test mode.
    pub fn has_role_without_account(&self) -> bool {
        let is_so = |item: &Principal| match item {
            Principal::Role { account, .. } | Principal::RoleSession { account, .. } => account.is_empty(),
            _ => false,
        };
        self.items.iter().any(is_so)
    }

    pub fn has_everyone(&self) -> bool {
        self.negated || self.items.contains(&Principal::Everyone)
    }
}

impl Principal {
    fn names(&self, who: Who<'_>) -> Option<Named> {
        let by = |is: bool, named| is.then_some(named);
        let caller = match (self, who) {
            (Self::Federated(provider), Who::Federated(asking)) => return by(**provider == *asking, Named::Directly),
            (Self::Service(service), Who::Service(asking)) => return by(**service == *asking, Named::Directly),
            // Everybody who calls, with a key or without: a web identity and a service must be named.
            (Self::Everyone, Who::Anonymous | Who::Caller(_)) => return Some(Named::Everyone),
            (_, Who::Caller(caller)) => caller,
            _ => return None,
        };
        match self {
            Self::Account(account) => by(is_account(account, caller), of_account(caller)),
            Self::Owner(owner) => by(**owner == *caller.owner.0, of_account(caller)),
            Self::User { account, name } => by(is_user(account, name, caller), Named::Directly),
            Self::Role { account, name: named } => match &caller.kind {
                Kind::Session(Session { of: SessionOf::Role { name, path, .. }, .. }) => {
                    by(is_account(account, caller) && is_name(named, path, name), Named::Role)
                }
                _ => None,
            },
            Self::RoleSession { account, role, session: named } => match &caller.kind {
                Kind::Session(Session { of: SessionOf::Role { name, session, .. }, .. }) => {
                    by(is_account(account, caller) && **role == **name && **named == **session, Named::Directly)
                }
                _ => None,
            },
            Self::Everyone | Self::Federated(_) | Self::Service(_) => None,
        }
    }
}

/// An account means its root, and lets its users in as far as their own policies do.
fn of_account(caller: &Caller) -> Named {
    match caller.kind {
        Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => Named::Directly,
        _ => Named::Account,
    }
}

fn is_account(account: &str, caller: &Caller) -> bool {
    // No account is called nothing, but for the one that test mode may have.
    account == caller.account || (!account.is_empty() && caller.tenant.as_deref() == Some(account))
}

fn is_name(named: &str, path: &str, name: &str) -> bool {
    named.strip_suffix(name) == Some(path)
}

fn is_user(account: &str, named: &str, caller: &Caller) -> bool {
    match &caller.kind {
        Kind::User(UserName { name, path, .. })
        | Kind::Session(Session { of: SessionOf::User(UserName { name, path, .. }), .. }) => {
            is_account(account, caller) && is_name(named, path, name)
        }
        // Stores whose accounts are users call them so: `arn:aws:iam::TENANT:user/ID`, with an empty tenant too.
        Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => {
            !is_number(account)
                && caller.tenant.as_deref().unwrap_or("") == account
                && named.strip_prefix('/') == Some(&*caller.owner.0)
        }
        Kind::Session(_) => false,
    }
}

fn is_number(account: &str) -> bool {
    account.len() == ACCOUNT_DIGITS && account.bytes().all(|byte| byte.is_ascii_digit())
}

fn principal(kind: &str, value: &str) -> Result<Principal, String> {
    let wrong = || format!("has an invalid principal {value:?}");
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(wrong());
    }
    match kind {
        "AWS" => aws(value).ok_or_else(wrong),
        _ if value.contains(['*', '?']) => Err(wrong()),
        "CanonicalUser" => Ok(Principal::Owner(value.into())),
        "Federated" => Ok(Principal::Federated(value.into())),
        "Service" => Ok(Principal::Service(value.into())),
        _ => Err(format!("has an unknown kind of principal, {kind:?}")),
    }
}

fn aws(value: &str) -> Option<Principal> {
    if value == "*" {
        return Some(Principal::Everyone);
    }
    if is_number(value) {
        return Some(Principal::Account(value.into()));
    }
    let mut parts = value.strip_prefix("arn:aws:")?.splitn(4, ':');
    let (service, region, account, entity) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let tenant = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !region.is_empty() || value.contains(['*', '?']) || !(is_number(account) || account.bytes().all(tenant)) {
        return None;
    }
    let account: Box<str> = account.into();
    match (service, entity.split_once('/')) {
        ("iam", None) if entity == "root" && !account.is_empty() => Some(Principal::Account(account)),
        ("iam", Some(("user", name))) if is_path_and_name(name) => {
            Some(Principal::User { account, name: format!("/{name}").into() })
        }
        ("iam", Some(("role", name))) if is_path_and_name(name) => {
            Some(Principal::Role { account, name: format!("/{name}").into() })
        }
        ("sts", Some(("assumed-role", named))) if !account.is_empty() => role_session(account, named),
        // As Ceph writes it.
        ("iam", Some(("assumed-role", named))) if account.is_empty() => role_session(account, named),
        _ => None,
    }
}

fn role_session(account: Box<str>, named: &str) -> Option<Principal> {
    let (role, session) = named.split_once('/')?;
    let sound = !role.is_empty() && !session.is_empty() && !session.contains('/');
    sound.then(|| Principal::RoleSession { account, role: role.into(), session: session.into() })
}

fn is_path_and_name(name: &str) -> bool {
    !name.is_empty() && !name.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Standing;
    use common::OwnerId;
    use std::collections::BTreeMap;

    fn caller(kind: Kind) -> Caller {
        Caller {
            access_key: None,
            owner: OwnerId("ann".into()),
            account: "111111111111".to_owned(),
            tenant: Some("lab".to_owned()),
            admin: false,
            kind,
            standing: Standing::default(),
        }
    }

    fn user(path: &str, name: &str) -> UserName {
        UserName { name: name.into(), path: path.into(), id: "AIDA1".into(), tags: BTreeMap::new() }
    }

    fn session(of: SessionOf) -> Kind {
        Kind::Session(Session { of, issued_ms: 0, expires_ms: 1, tags: BTreeMap::new(), claims: BTreeMap::new() })
    }

    fn names(json: &str, negated: bool, who: Who<'_>) -> Option<Named> {
        Principals::parse(Json::parse(json).expect("JSON"), negated).expect("principals").names(who)
    }

    #[test]
    fn callers_are_found_by_what_names_them() {
        let root = caller(Kind::Root);
        let bob = caller(Kind::User(user("/eng/", "bob")));
        let role = |session_name: &str| SessionOf::Role {
            name: "reader".into(),
            path: "/".into(),
            id: "AROA1".into(),
            session: session_name.into(),
        };
        let reader = caller(session(role("s1")));
        let of_bob = caller(session(SessionOf::User(user("/eng/", "bob"))));
        let aws = |value: &str| format!("{{\"AWS\":\"{value}\"}}");
        for (who, value, expected) in [
            (&root, "*", Some(Named::Everyone)),
            (&root, "111111111111", Some(Named::Directly)),
            (&root, "arn:aws:iam::111111111111:root", Some(Named::Directly)),
            (&root, "arn:aws:iam::lab:root", Some(Named::Directly)),
            (&root, "arn:aws:iam::lab:user/ann", Some(Named::Directly)),
            (&root, "arn:aws:iam:::user/ann", None),
            (&root, "arn:aws:iam::222222222222:root", None),
            (&bob, "arn:aws:iam::111111111111:root", Some(Named::Account)),
            (&bob, "arn:aws:iam::111111111111:user/eng/bob", Some(Named::Directly)),
            (&bob, "arn:aws:iam::111111111111:user/bob", None),
            (&bob, "arn:aws:iam::111111111111:user/eng/bobby", None),
            (&bob, "arn:aws:iam::222222222222:user/eng/bob", None),
            (&bob, "arn:aws:iam:::user/eng/bob", None),
            (&bob, "arn:aws:iam::lab:user/ann", None),
            (&of_bob, "arn:aws:iam::111111111111:user/eng/bob", Some(Named::Directly)),
            (&reader, "arn:aws:iam::111111111111:role/reader", Some(Named::Role)),
            (&reader, "arn:aws:sts::111111111111:assumed-role/reader/s1", Some(Named::Directly)),
            (&reader, "arn:aws:sts::111111111111:assumed-role/reader/s2", None),
            (&reader, "arn:aws:iam::111111111111:user/reader", None),
            (&reader, "111111111111", Some(Named::Account)),
        ] {
            assert_eq!(names(&aws(value), false, Who::Caller(who)), expected, "{} {value}", who.arn());
        }
        assert_eq!(names(r#"{"CanonicalUser":"ann"}"#, false, Who::Caller(&root)), Some(Named::Directly));
        assert_eq!(names(r#"{"CanonicalUser":"ann"}"#, false, Who::Caller(&bob)), Some(Named::Account));
        assert_eq!(names("\"*\"", false, Who::Anonymous), Some(Named::Everyone));
        assert_eq!(names(&aws("111111111111"), false, Who::Anonymous), None);
        let provider = "arn:aws:iam::111111111111:oidc-provider/idp";
        let federated = format!("{{\"Federated\":\"{provider}\"}}");
        assert_eq!(names(&federated, false, Who::Federated(provider)), Some(Named::Directly));
        assert_eq!(names("\"*\"", false, Who::Federated(provider)), None);
        assert_eq!(names(&federated, false, Who::Caller(&root)), None);
        let service = r#"{"Service":["logging.s3.amazonaws.com"]}"#;
        assert_eq!(names(service, false, Who::Service("logging.s3.amazonaws.com")), Some(Named::Directly));

        // A list of exceptions.
        let bobs = r#"{"AWS":["arn:aws:iam::111111111111:user/eng/bob","111111111111"]}"#;
        assert_eq!(names(bobs, true, Who::Caller(&bob)), None);
        assert_eq!(names(bobs, true, Who::Caller(&root)), None);
        assert_eq!(names(bobs, true, Who::Caller(&reader)), Some(Named::Everyone));
        assert_eq!(names(bobs, true, Who::Anonymous), Some(Named::Everyone));
    }

    #[test]
    fn the_account_without_a_number_is_called_nothing() {
        let mut reader = caller(session(SessionOf::Role {
            name: "reader".into(),
            path: "/".into(),
            id: "AROA1".into(),
            session: "s1".into(),
        }));
        let aws = |value: &str| format!("{{\"AWS\":\"{value}\"}}");
        for number in ["111111111111", ""] {
            reader.account = number.to_owned();
            for (value, named) in
                [("arn:aws:iam:::role/reader", Named::Role), ("arn:aws:iam:::assumed-role/reader/s1", Named::Directly)]
            {
                let named = Some(named).filter(|_| number.is_empty());
                assert_eq!(names(&aws(value), false, Who::Caller(&reader)), named, "{number} {value}");
            }
        }
        let has = |value: &str| {
            Principals::parse(Json::parse(&aws(value)).expect("JSON"), false).expect(value).has_role_without_account()
        };
        assert!(has("arn:aws:iam:::role/reader") && has("arn:aws:iam:::assumed-role/reader/s1"));
        assert!(!has("arn:aws:iam::111111111111:role/reader") && !has("arn:aws:iam:::user/ann") && !has("*"));
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for bad in [
            "\"arn:aws:iam::111111111111:root\"",
            "{}",
            "[]",
            "null",
            r#"{"AWS":[]}"#,
            r#"{"AWS":""}"#,
            r#"{"AWS":1}"#,
            r#"{"aws":"*"}"#,
            r#"{"AWS":"11111111111"}"#,
            r#"{"AWS":"arn:aws:iam::111111111111:user/*"}"#,
            r#"{"AWS":"arn:aws:iam::*:root"}"#,
            r#"{"AWS":"arn:aws:iam::111111111111:user/"}"#,
            r#"{"AWS":"arn:aws:iam::111111111111:group/x"}"#,
            r#"{"AWS":"arn:aws:iam::111111111111:user"}"#,
            r#"{"AWS":"arn:aws:iam:us-east-1:111111111111:root"}"#,
            r#"{"AWS":"arn:aws:iam:::root"}"#,
            r#"{"AWS":"arn:aws:sts:::assumed-role/x/y"}"#,
            r#"{"AWS":"arn:aws:iam::111111111111:assumed-role/x/y"}"#,
            r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/x"}"#,
            r#"{"AWS":"arn:aws-cn:iam::111111111111:root"}"#,
            r#"{"Service":"*"}"#,
        ] {
            assert!(Principals::parse(Json::parse(bad).expect("JSON"), false).is_err(), "{bad}");
        }
        assert!(Principals::parse(Json::Text("*".into()), true).is_err());
    }
}
