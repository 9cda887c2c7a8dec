//! The commands that change the state, and what they give back.

use crate::iam::{Group, ManagedPolicy, OidcProvider, Role, User};
use crate::state::{AccessKey, Bucket, Limit, Owner};
use common::{AccessKeyId, BucketId, BucketName, OwnerId, Term};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Applied answer: `Bucket`. `BucketExists` when the name is taken.
    CreateBucket {
        name: BucketName,
        owner: OwnerId,
        region: String,
        created_ms: u64,
        /// Configuration documents that it has from its first moment on.
        documents: BTreeMap<String, Vec<u8>>,
    },
    /// Step 1 of DeleteBucket. Applied answer: `Bucket`, now `Deleting`. Repeating it is no error.
    BeginDeleteBucket {
        name: BucketName,
    },
    /// Step 4 of DeleteBucket: the bucket is gone. The id guards against a name that was created anew; the version is that of
    /// the bucket's document when its emptiness was looked at, and guards against a deletion that was cancelled and begun
    /// again since, with writes in between.
    FinishDeleteBucket {
        name: BucketName,
        id: BucketId,
        version: u64,
    },
    /// Step 4 of DeleteBucket when it was not empty: active again. Applied answer: `Bucket`.
    CancelDeleteBucket {
        name: BucketName,
        id: BucketId,
    },
    /// Sets (`Some`) or removes (`None`) configuration documents, all at once. Applied answer: `Bucket`. The id and the version
    /// are those of the bucket that was decided upon; `BucketChanged` when it is another one by now: decide again.
    SetBucketDocuments {
        name: BucketName,
        id: BucketId,
        version: u64,
        documents: BTreeMap<String, Option<Vec<u8>>>,
    },
    /// An owner that is new becomes an account, too.
    PutOwner {
        owner: Owner,
    },
    /// `KeyExists` if the id is taken; the owner must exist, and the user if there is one.
    CreateKey {
        key: AccessKey,
    },
    DeleteKey {
        id: AccessKeyId,
    },
    SetKeyActive {
        id: AccessKeyId,
        active: bool,
    },
    /// What changes in an account.
    Iam {
        account: OwnerId,
        change: IamChange,
    },
    /// Several commands, each decided on what those before it have done: all of them, or none. Applied answer: the last one's.
    All(Vec<Command>),
    /// A named key with its first version, sealed. `KmsKeyExists` when the name is taken.
    CreateKmsKey {
        name: String,
        created_ms: u64,
        sealed: Vec<u8>,
    },
    /// One more version of a named key, which is to be number `version`: `KmsKeyExists` when there is one.
    RotateKmsKey {
        name: String,
        version: u32,
        sealed: Vec<u8>,
    },
    /// Sets the document of a limit, or with `None` takes the limit away. `expected` is the version that is to be there, 0 that there
    /// is to be none: `LimitChanged` where it is another by now. Applied answer of a limit that is set: `Limit`.
    SetLimit {
        name: String,
        document: Option<String>,
        expected: Option<u64>,
    },
    /// Applied answer: `Term`, greater than `above` and than every one given before.
    NextTerm {
        above: Term,
    },
}

/// One change of an account. Names and paths are checked, and so are quotas; whether a policy is one, its sender has checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IamChange {
    CreateUser(User),
    /// Makes the user where there is none of this name.
    EnsureUser(User),
    /// As an account makes one for itself: a root has no more than a user has, which `Command::CreateKey` does not mind.
    CreateKey(AccessKey),
    /// Its groups and its keys follow a new name.
    UpdateUser {
        name: String,
        new_name: Option<String>,
        new_path: Option<String>,
    },
    /// `DeleteConflict` while it has keys, policies or groups.
    DeleteUser(String),
    CreateGroup(Group),
    UpdateGroup {
        name: String,
        new_name: Option<String>,
        new_path: Option<String>,
    },
    DeleteGroup(String),
    SetMember {
        group: String,
        user: String,
        member: bool,
    },
    CreateRole(Role),
    UpdateRole {
        name: String,
        description: Option<String>,
        session_seconds_max: Option<u32>,
    },
    SetTrust {
        role: String,
        trust: String,
    },
    DeleteRole(String),
    /// With its first version.
    CreatePolicy(ManagedPolicy),
    DeletePolicy(String),
    /// Applied answer: `PolicyVersion`.
    CreatePolicyVersion {
        policy: String,
        document: String,
        created_ms: u64,
        set_default: bool,
    },
    DeletePolicyVersion {
        policy: String,
        version: u32,
    },
    SetDefaultPolicyVersion {
        policy: String,
        version: u32,
    },
    /// `None` takes the inline policy away.
    SetInlinePolicy {
        of: Holder,
        name: String,
        document: Option<String>,
    },
    /// A managed policy, by its ARN.
    SetAttached {
        of: Holder,
        arn: String,
        attached: bool,
    },
    /// Of a user or a role.
    SetBoundary {
        of: Holder,
        arn: Option<String>,
    },
    /// Keys of tags differ by more than case: one that does not replaces, or takes away, the other.
    ChangeTags {
        of: Tagged,
        set: BTreeMap<String, String>,
        remove: BTreeSet<String>,
    },
    /// Sessions that began before are void: of a user, a role, or with `None` of the whole account.
    SetNotBefore {
        of: Option<Holder>,
        not_before_ms: u64,
    },
    SetTenant(Option<String>),
    CreateProvider(OidcProvider),
    /// By URL without its scheme.
    DeleteProvider(String),
    SetClientId {
        provider: String,
        client_id: String,
        known: bool,
    },
    SetThumbprints {
        provider: String,
        thumbprints: BTreeSet<String>,
    },
    /// Tokens of the provider that were issued before are refused.
    SetProviderNotBefore {
        provider: String,
        not_before_ms: u64,
    },
    /// The account's ARNs have an empty account from now on: for tests that expect those of a store without accounts. One
    /// account at most has none.
    DropNumber,
}

/// Who has policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    User(String),
    Group(String),
    Role(String),
}

/// What has tags: a user or a role, a managed policy by its name, or a provider by its URL without the scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tagged {
    Holder(Holder),
    Policy(String),
    Provider(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Nothing,
    PolicyVersion(u32),
    Bucket(Arc<Bucket>),
    Limit(Arc<Limit>),
    Term(Term),
}
