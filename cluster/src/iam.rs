//! What the control plane keeps of identities: plain data. Policies are kept as the text that was put; whoever decides parses
//! them (`authn/src/policy.rs`).
//!
//! An account is an `Owner` with a number: buckets belong to accounts, and so do users, groups, roles and policies, by name.
//! The access keys of an account that name no user are its root's.

use common::OwnerId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The names of users, groups, roles, policies are unique in their account, whatever their path.
pub type Named = (OwnerId, String);

/// Where AWS keeps the managed policies that everybody has: those that Weir knows are in `authn`.
pub const BUILT_IN: &str = "arn:aws:iam::aws:policy/";

/// Everything about identities that is no owner and no access key. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Iam {
    pub accounts: Arc<BTreeMap<OwnerId, Arc<Account>>>,
    pub users: Arc<BTreeMap<Named, Arc<User>>>,
    pub groups: Arc<BTreeMap<Named, Arc<Group>>>,
    pub policies: Arc<BTreeMap<Named, Arc<ManagedPolicy>>>,
    pub roles: Arc<BTreeMap<Named, Arc<Role>>>,
    /// By account and URL, without the scheme.
    pub providers: Arc<BTreeMap<Named, Arc<OidcProvider>>>,
}

impl Iam {
    /// Whether these are the very same records, and not only equal ones.
    pub fn is_the_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.accounts, &other.accounts)
            && Arc::ptr_eq(&self.users, &other.users)
            && Arc::ptr_eq(&self.groups, &other.groups)
            && Arc::ptr_eq(&self.policies, &other.policies)
            && Arc::ptr_eq(&self.roles, &other.roles)
            && Arc::ptr_eq(&self.providers, &other.providers)
    }

    pub fn user(&self, account: &OwnerId, name: &str) -> Option<&Arc<User>> {
        find(&self.users, account, name)
    }

    pub fn group(&self, account: &OwnerId, name: &str) -> Option<&Arc<Group>> {
        find(&self.groups, account, name)
    }

    pub fn role(&self, account: &OwnerId, name: &str) -> Option<&Arc<Role>> {
        find(&self.roles, account, name)
    }

    /// The provider of this URL, without its scheme.
    pub fn provider(&self, account: &OwnerId, url: &str) -> Option<&Arc<OidcProvider>> {
        find(&self.providers, account, url)
    }

    pub fn account_of_number(&self, number: &str) -> Option<&Arc<Account>> {
        self.accounts.values().find(|account| account.number == number)
    }

    /// The groups that a user is in.
    pub fn groups_of<'a>(&'a self, account: &'a OwnerId, user: &'a str) -> impl Iterator<Item = &'a Arc<Group>> {
        in_account(&self.groups, account).filter(move |group| group.members.contains(user))
    }

    /// The account's own managed policy of this ARN.
    pub fn policy_of_arn(&self, account: &OwnerId, arn: &str) -> Option<&Arc<ManagedPolicy>> {
        let (_, name) = arn.rsplit_once('/')?;
        let number = &self.accounts.get(account)?.number;
        find(&self.policies, account, name).filter(|policy| arn == policy.arn(number))
    }

    /// How many users, groups and roles have this managed policy, and of how many it is the boundary.
    pub fn uses_of_policy(&self, account: &OwnerId, arn: &str) -> (usize, usize) {
        let users = || in_account(&self.users, account);
        let roles = || in_account(&self.roles, account);
        let groups = in_account(&self.groups, account);
        let has = |attached: &Attached| attached.managed.contains(arn);
        let attached = users().filter(|user| has(&user.attached)).count()
            + roles().filter(|role| has(&role.attached)).count()
            + groups.filter(|group| has(&group.attached)).count();
        let bounds = |boundary: &Option<String>| boundary.as_deref() == Some(arn);
        let boundary = users().filter(|user| bounds(&user.boundary)).count()
            + roles().filter(|role| bounds(&role.boundary)).count();
        (attached, boundary)
    }
}

fn find<'m, T>(map: &'m BTreeMap<Named, T>, account: &OwnerId, name: &str) -> Option<&'m T> {
    map.get(&(account.clone(), name.to_owned()))
}

/// What an account has of one table, by name.
pub fn in_account<'m, T>(map: &'m BTreeMap<Named, T>, account: &'m OwnerId) -> impl Iterator<Item = &'m T> {
    let rows = map.range((account.clone(), String::new())..);
    rows.take_while(move |((owner, _), _)| owner == account).map(|(_, record)| record)
}

impl User {
    pub fn arn(&self, account: &str) -> String {
        format!("arn:aws:iam::{account}:user{}{}", self.path, self.name)
    }
}

impl Group {
    pub fn arn(&self, account: &str) -> String {
        format!("arn:aws:iam::{account}:group{}{}", self.path, self.name)
    }
}

impl Role {
    pub fn arn(&self, account: &str) -> String {
        format!("arn:aws:iam::{account}:role{}{}", self.path, self.name)
    }
}

impl ManagedPolicy {
    pub fn arn(&self, account: &str) -> String {
        format!("arn:aws:iam::{account}:policy{}{}", self.path, self.name)
    }

    /// The text in force.
    pub fn document(&self) -> &str {
        self.versions.get(&self.default_version).map_or("", |version| &version.document)
    }
}

impl OidcProvider {
    /// Its URL without the scheme: what ARNs and condition keys say.
    pub fn host_and_path(&self) -> &str {
        self.url.split_once("://").map_or(&self.url, |(_, rest)| rest)
    }

    pub fn arn(&self, account: &str) -> String {
        format!("arn:aws:iam::{account}:oidc-provider/{}", self.host_and_path())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub owner: OwnerId,
    /// Twelve digits, unlike every other account's: the account in ARNs. In test mode one account may have none.
    pub number: String,
    /// The tenant that it belongs to, for stores that were told of tenants.
    pub tenant: Option<String>,
    /// Sessions of its root that began before this are void.
    pub not_before_ms: u64,
}

/// The policies that are written on, or attached to, a user, a group or a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Inline policies: the text by name.
    pub inline: BTreeMap<String, String>,
    /// ARNs of managed policies, of the account or built in (`arn:aws:iam::aws:policy/NAME`).
    pub managed: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub account: OwnerId,
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// `AIDA` and seventeen characters: another one when the name is given anew.
    pub id: String,
    pub created_ms: u64,
    pub attached: Attached,
    /// The ARN of a managed policy.
    pub boundary: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Sessions that began before this are void.
    pub not_before_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub account: OwnerId,
    pub name: String,
    pub path: String,
    /// `AGPA...`
    pub id: String,
    pub created_ms: u64,
    pub attached: Attached,
    /// Names of users.
    pub members: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    pub account: OwnerId,
    pub name: String,
    pub path: String,
    /// `ANPA...`
    pub id: String,
    pub description: String,
    pub created_ms: u64,
    pub updated_ms: u64,
    /// The version in force, one of `versions`.
    pub default_version: u32,
    /// By number: `v1` is 1. Five at most, as in AWS.
    pub versions: BTreeMap<u32, PolicyVersion>,
    /// The greatest number given so far: none is given twice.
    pub last_version: u32,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    pub document: String,
    pub created_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub account: OwnerId,
    pub name: String,
    pub path: String,
    /// `AROA...`
    pub id: String,
    pub description: String,
    pub created_ms: u64,
    /// Who may assume it: the text of its trust policy.
    pub trust: String,
    pub attached: Attached,
    pub boundary: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// 3600 to 43200.
    pub session_seconds_max: u32,
    /// Sessions that began before this are void.
    pub not_before_ms: u64,
}

/// An issuer of web identities that the account trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OidcProvider {
    pub account: OwnerId,
    /// As in tokens: with its scheme.
    pub url: String,
    pub client_ids: BTreeSet<String>,
    pub thumbprints: BTreeSet<String>,
    pub created_ms: u64,
    /// Tokens issued before this are refused.
    pub not_before_ms: u64,
    pub tags: BTreeMap<String, String>,
}

#[cfg(test)]
pub(crate) mod records {
    use super::*;

    pub fn user(account: &OwnerId, name: &str) -> User {
        User {
            account: account.clone(),
            name: name.into(),
            path: "/".into(),
            id: format!("AIDA{name}"),
            created_ms: 1,
            attached: Attached::default(),
            boundary: None,
            tags: BTreeMap::new(),
            not_before_ms: 0,
        }
    }

    pub fn group(account: &OwnerId, name: &str) -> Group {
        let (account, attached) = (account.clone(), Attached::default());
        let (id, path) = (format!("AGPA{name}"), "/".into());
        Group { account, name: name.into(), path, id, created_ms: 1, attached, members: BTreeSet::new() }
    }

    pub fn role(account: &OwnerId, name: &str) -> Role {
        Role {
            account: account.clone(),
            name: name.into(),
            path: "/".into(),
            id: format!("AROA{name}"),
            description: String::new(),
            created_ms: 1,
            trust: "{}".into(),
            attached: Attached::default(),
            boundary: None,
            tags: BTreeMap::new(),
            session_seconds_max: 3600,
            not_before_ms: 0,
        }
    }

    pub fn policy(account: &OwnerId, name: &str, document: &str) -> ManagedPolicy {
        let version = PolicyVersion { document: document.into(), created_ms: 1 };
        ManagedPolicy {
            account: account.clone(),
            name: name.into(),
            path: "/".into(),
            id: format!("ANPA{name}"),
            description: String::new(),
            created_ms: 1,
            updated_ms: 1,
            default_version: 1,
            versions: [(1, version)].into(),
            last_version: 1,
            tags: BTreeMap::new(),
        }
    }

    pub fn provider(account: &OwnerId, url: &str) -> OidcProvider {
        OidcProvider {
            account: account.clone(),
            url: url.into(),
            client_ids: ["client".to_owned()].into(),
            thumbprints: BTreeSet::new(),
            created_ms: 1,
            not_before_ms: 0,
            tags: BTreeMap::new(),
        }
    }
}
