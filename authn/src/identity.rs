//! What a proof (a signature, later a token or a certificate) establishes: one identity per request, for every API.

use crate::policy::Policy;
use common::{AccessKeyId, OwnerId};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub enum Identity {
    /// No credential was shown.
    Anonymous,
    Known(Arc<Caller>),
}

/// Who proved who they are, and all that was given to them. Cheap to share: one is kept per access key.
#[derive(Debug)]
pub struct Caller {
    /// The key that signed.
    pub access_key: Option<AccessKeyId>,
    /// The account that the caller acts for: buckets that it makes are this one's.
    pub owner: OwnerId,
    /// The account's number: twelve digits.
    pub account: String,
    pub tenant: Option<String>,
    /// An administrator of the appliance sees and changes everything.
    pub admin: bool,
    pub kind: Kind,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The account itself.
    Root,
    User(UserName),
    /// A role, a user or a root for a while, with a session token.
    Session(Session),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// `AIDA...`
    pub id: String,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose session it is.
    pub of: SessionOf,
    pub issued_ms: u64,
    pub expires_ms: u64,
    /// `aws:PrincipalTag`: of the role or user, and of the session itself.
    pub tags: BTreeMap<String, String>,
    /// Claims of the web identity that it was given for, as condition keys (`ISSUER:sub`, `jwt:CLAIM`).
    pub claims: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOf {
    Root,
    User(UserName),
    Role {
        name: String,
        path: String,
        /// `AROA...`
        id: String,
        session: String,
    },
}

/// The policies that speak of what a caller may do.
#[derive(Debug, Default)]
pub struct Standing {
    /// A root that no policy limits: it may do everything in its account.
    pub unlimited: bool,
    /// Of the user and its groups, or of the role, with the name that an explanation gives them.
    pub identity: Vec<(String, Arc<Policy>)>,
    /// Nothing beyond it.
    pub boundary: Option<(String, Arc<Policy>)>,
    /// Of the session: nothing beyond them.
    pub session: Vec<(String, Arc<Policy>)>,
}

impl Identity {
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }

    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Anonymous => None,
            Self::Known(caller) => Some(caller),
        }
    }

    pub fn owner(&self) -> Option<&OwnerId> {
        self.caller().map(|caller| &caller.owner)
    }

    pub fn is_admin(&self) -> bool {
        self.caller().is_some_and(|caller| caller.admin)
    }
}

impl Caller {
    /// As in policies, logs and `GetCallerIdentity`.
    pub fn arn(&self) -> String {
        let account = &self.account;
        let user = |user: &UserName| format!("arn:aws:iam::{account}:user{}{}", user.path, user.name);
        match &self.kind {
            Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => format!("arn:aws:iam::{account}:root"),
            Kind::User(name) | Kind::Session(Session { of: SessionOf::User(name), .. }) => user(name),
            Kind::Session(Session { of: SessionOf::Role { name, session, .. }, .. }) => {
                format!("arn:aws:sts::{account}:assumed-role/{name}/{session}")
            }
        }
    }

    /// `aws:userid`.
    pub fn user_id(&self) -> String {
        match &self.kind {
            Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => self.account.clone(),
            Kind::User(name) | Kind::Session(Session { of: SessionOf::User(name), .. }) => name.id.clone(),
            Kind::Session(Session { of: SessionOf::Role { id, session, .. }, .. }) => format!("{id}:{session}"),
        }
    }
}
