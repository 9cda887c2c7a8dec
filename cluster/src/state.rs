//! The state that commands change: plain data.

use crate::iam::Iam;
use common::{AccessKeyId, BucketId, BucketName, Epoch, OwnerId, Term};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything the control plane knows, as of one version. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Counts applied commands.
    pub version: u64,
    pub epoch: Epoch,
    pub next_bucket: BucketId,
    /// The greatest term given so far.
    pub last_term: Term,
    pub buckets: Arc<BTreeMap<BucketName, Arc<Bucket>>>,
    pub owners: Arc<BTreeMap<OwnerId, Arc<Owner>>>,
    pub keys: Arc<BTreeMap<AccessKeyId, Arc<AccessKey>>>,
    /// Named keys that wrap data keys, by name.
    pub kms: Arc<BTreeMap<String, Arc<KmsKey>>>,
    /// Limits of rates and bandwidths, by name.
    pub limits: Arc<BTreeMap<String, Arc<Limit>>>,
    /// Accounts, users, groups, roles and policies.
    pub iam: Iam,
}

impl Default for State {
    /// The state of a control plane that has applied nothing. Zero is no bucket's id and no term.
    fn default() -> Self {
        Self {
            version: 0,
            epoch: Epoch(1),
            next_bucket: BucketId(1),
            last_term: Term(0),
            buckets: Arc::default(),
            owners: Arc::default(),
            keys: Arc::default(),
            kms: Arc::default(),
            limits: Arc::default(),
            iam: Iam::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub id: BucketId,
    pub name: BucketName,
    pub owner: OwnerId,
    pub created_ms: u64,
    /// The state's version at which this document last changed.
    pub version: u64,
    pub state: BucketState,
    pub region: String,
    /// Configuration documents by the name of their sub-resource (`cors`, `lifecycle`, ...), as they were put.
    pub documents: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketState {
    Active,
    /// Between the first and the last step of DeleteBucket (engine rule A13).
    Deleting,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub id: OwnerId,
    pub display_name: String,
    pub email: Option<String>,
}

/// A named key of the key service. What is here is sealed: the control plane cannot open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KmsKey {
    pub name: String,
    pub created_ms: u64,
    /// From the first, which is number 1, to the newest. None is ever taken away: it may have wrapped what is still there.
    pub versions: Vec<Vec<u8>>,
}

/// A limit. What its document means knows the gateway, which has checked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub name: String,
    /// The state's version at which it last changed.
    pub version: u64,
    pub document: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    pub id: AccessKeyId,
    pub secret: String,
    pub owner: OwnerId,
    /// An administrator sees and changes everything.
    pub admin: bool,
    pub created_ms: u64,
    /// The user whose key it is; `None` for the account's root.
    pub user: Option<String>,
    /// An inactive key is refused like one that nobody has.
    pub active: bool,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("user", &self.user)
            .field("admin", &self.admin)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
