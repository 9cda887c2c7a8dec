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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub owner: OwnerId,
    /// Twelve digits, unlike every other account's: the account in ARNs.
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
