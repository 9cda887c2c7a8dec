//! Users, groups and roles as they are asked about: with their policies, where each is from, and what a simulation of them says.
//! The decision is `authn`'s (`authn/src/simulation.rs`); the admin API, IAM and the command line tell it, each in its form.

use crate::admission::{BucketPolicy, explanation};
use crate::directory;
use crate::error::{Error, Result};
use crate::s3::put_public_access_block::PublicAccessBlock;
use crate::{documents, sessions};
use authn::identity::{Kind, Standing, UserName};
use authn::policy::{Context, Policy};
use authn::simulation::{Ground, Matched, ResourcePolicy, Simulated, Source, account_of, bucket_of, imagined_caller};
use authn::{Caller, Identity, RESOURCE_POLICY};
use cluster::State;
use cluster::iam::{Account, Attached, BUILT_IN, Group, Role, User};
use common::{BucketName, OwnerId};
use serde_json::{Value, json};
use std::sync::Arc;

/// Questions of one simulation that are answered together: actions times resources.
pub const QUESTIONS_MAX: usize = 1000;

/// The policies of somebody, and where each is from.
#[derive(Default)]
pub(crate) struct Subject {
    pub standing: Standing,
    /// Of the policies in the standing, at the same places.
    pub identity: Vec<Origin>,
    pub boundary: Option<Origin>,
}

/// As IAM's simulator names a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub id: String,
    pub kind: &'static str,
    pub text: Option<String>,
}

impl Subject {
    pub fn of_user(state: &State, user: &User) -> Self {
        let mut subject = Self::default();
        subject.add(state, &user.account, &user.attached, ("user", &user.name));
        for group in state.iam.groups_of(&user.account, &user.name) {
            subject.add(state, &group.account, &group.attached, ("group", &group.name));
        }
        subject.bound(state, &user.account, user.boundary.as_deref());
        subject
    }

    pub fn of_group(state: &State, group: &Group) -> Self {
        let mut subject = Self::default();
        subject.add(state, &group.account, &group.attached, ("group", &group.name));
        subject
    }

    pub fn of_role(state: &State, role: &Role) -> Self {
        let mut subject = Self::default();
        subject.add(state, &role.account, &role.attached, ("role", &role.name));
        subject.bound(state, &role.account, role.boundary.as_deref());
        subject
    }

    fn add(&mut self, state: &State, account: &OwnerId, attached: &Attached, (kind, name): (&'static str, &str)) {
        let told = |policy: &str| if kind == "group" { format!("{policy} (group {name})") } else { policy.to_owned() };
        for (policy, text) in &attached.inline {
            self.standing.identity.push((told(policy), directory::parse(policy, Some(text))));
            self.identity.push(Origin { id: format!("{kind}_{name}_{policy}"), kind, text: Some(text.clone()) });
        }
        for arn in &attached.managed {
            let (_, policy) = directory::managed(&state.iam, account, arn);
            self.standing.identity.push((told(arn), policy));
            self.identity.push(managed_origin(state, account, arn));
        }
    }

    fn bound(&mut self, state: &State, account: &OwnerId, arn: Option<&str>) {
        self.standing.boundary = arn.map(|arn| directory::managed(&state.iam, account, arn));
        self.boundary = arn.map(|arn| managed_origin(state, account, arn));
    }

    /// One more policy of the same side, which was given and is nobody's.
    pub fn push(&mut self, (name, policy): (String, Policy), origin: Origin) {
        self.standing.identity.push((name, Arc::new(policy)));
        self.identity.push(origin);
    }
}

fn managed_origin(state: &State, account: &OwnerId, arn: &str) -> Origin {
    let kind = if arn.starts_with(BUILT_IN) { "aws-managed" } else { "user-managed" };
    let text = directory::managed_text(&state.iam, account, arn).map(|text| text.into_owned());
    Origin { id: arn.rsplit('/').next().unwrap_or(arn).to_owned(), kind, text }
}

/// A user as the caller of what is simulated.
pub(crate) fn user_caller(account: &Account, user: &User, standing: Standing) -> Caller {
    caller(account, Kind::User(directory::user_name(user)), standing)
}

/// Somebody of the account without a name: who has a group's policies, or some that were given.
pub(crate) fn nameless_caller(account: &Account, standing: Standing) -> Caller {
    let name = UserName { name: String::new(), path: "/".to_owned(), id: String::new(), tags: Default::default() };
    caller(account, Kind::User(name), standing)
}

pub(crate) fn role_caller(account: &Account, role: &Role, standing: Standing) -> Caller {
    caller(account, sessions::imagined(role), standing)
}

fn caller(account: &Account, kind: Kind, standing: Standing) -> Caller {
    Caller {
        access_key: None,
        owner: account.owner.clone(),
        account: account.number.clone(),
        tenant: account.tenant.clone(),
        admin: false,
        kind,
        standing,
    }
}

/// The caller of an ARN: who is there if it is, else imagined.
pub(crate) fn caller_of_arn(state: &State, arn: &str, standing: Standing) -> Option<Caller> {
    let mut caller = imagined_caller(arn, standing)?;
    if let Some(account) = state.iam.account_of_number(&caller.account) {
        caller.owner = account.owner.clone();
        caller.tenant = account.tenant.clone();
        let user = arn.rsplit('/').next().and_then(|name| state.iam.user(&account.owner, name));
        if let Some(user) = user.filter(|user| user.arn(&account.number) == arn) {
            caller.kind = Kind::User(directory::user_name(user));
        }
    }
    Some(caller)
}

/// The account of a number as the control plane knows it; one that it does not know is the number itself.
pub(crate) fn owner_of_number(state: &State, number: &str) -> OwnerId {
    let known = state.iam.account_of_number(number).map(|account| account.owner.clone());
    known.unwrap_or_else(|| OwnerId(number.to_owned()))
}

/// What a resource is as it stands: a bucket with its owner, its policy and its public access block, a role with its trust policy,
/// and for everything else the account that its ARN names, or `default`. Access control lists are left out: `weir why` knows them.
pub(crate) fn ground_of(state: &State, arn: &str, default: &OwnerId) -> Result<Ground> {
    let bucket = bucket_of(arn).and_then(|name| BucketName::parse(name).ok());
    let bucket = bucket.and_then(|name| state.buckets.get(&name));
    let Some(bucket) = bucket else {
        let owner = account_of(arn).map_or_else(|| default.clone(), |number| owner_of_number(state, number));
        let role = arn.rsplit('/').next().and_then(|name| state.iam.role(&owner, name));
        let role = role.filter(|role| account_of(arn).is_some_and(|number| role.arn(number) == arn));
        let policy = role.map(|role| ResourcePolicy::parse(&role.trust, arn)).transpose();
        let policy = policy.map_err(|error| Error::MalformedPolicy(error.to_string()))?.map(Arc::new);
        return Ok(Ground { owner, policy, restrict_public: false });
    };
    let text = bucket.documents.get(documents::POLICY);
    let parsed = text.map(|text| BucketPolicy::parse(&String::from_utf8_lossy(text), bucket)).transpose()?;
    let restrict_public =
        parsed.as_ref().is_some_and(|policy| policy.is_public) && PublicAccessBlock::of(bucket)?.restricts;
    let policy = parsed.map(|parsed| Arc::new(ResourcePolicy::Bucket(parsed.policy)));
    Ok(Ground { owner: bucket.owner.clone(), policy, restrict_public })
}

/// The condition keys that were given. Those of the caller, which come behind, fill in what is absent.
pub fn given_context<'g>(given: impl IntoIterator<Item = (&'g str, Vec<String>)>) -> Context {
    let mut context = Context::default();
    given.into_iter().for_each(|(key, values)| context.trust(key, values));
    context
}

/// One answer for people and programs.
pub fn described(identity: &Identity, (action, resource): (&str, &str), simulated: &Simulated) -> Value {
    let by = &simulated.verdict.by;
    let matched: Vec<Value> = simulated.matched.iter().map(|matched| told(identity, matched)).collect();
    json!({
        "action": action,
        "resource": resource,
        "decision": simulated.decision.word(),
        "decided_by": explanation::kind(by),
        "policy": explanation::policy(by),
        "statement": explanation::statement(by),
        "reason": explanation::sentence(&simulated.verdict),
        "matched": matched,
        "missing": simulated.missing,
    })
}

fn told(identity: &Identity, matched: &Matched) -> Value {
    let standing = identity.caller().map(|caller| &caller.standing);
    let name = standing.and_then(|standing| match matched.source {
        Source::Identity(at) => standing.identity.get(at),
        Source::Boundary => standing.boundary.as_ref(),
        Source::Session(at) => standing.session.get(at),
        Source::Resource => None,
    });
    json!({ "policy": name.map_or(RESOURCE_POLICY, |(name, _)| name), "statement": matched.name, "place": matched.place })
}
