//! Who holds an access key, with everything that policies say of them, parsed.
//!
//! It depends on the state alone, so what was found out once is kept as long as neither keys nor accounts change: for each key
//! that is used, at its first use. A policy that cannot be parsed any more, or is not there, denies everything: what it was
//! meant to deny is not known.

use crate::error::{Error, Result};
use crate::limits::CALLERS_KEPT_MAX;
use authn::identity::{Kind, Standing, UserName};
use authn::policy::{Policy, Purpose};
use authn::{Caller, builtin};
use cluster::iam::{Attached, BUILT_IN, Iam, User};
use cluster::{AccessKey, State};
use common::{AccessKeyId, OwnerId};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The holder of an access key. One that is inactive is like one that nobody has.
pub fn caller(state: &State, access_key: &str) -> Result<Arc<Caller>> {
    let key = active_key(state, access_key).ok_or(Error::InvalidAccessKeyId)?;
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.follow(state);
    if let Some(caller) = kept.callers.get(&key.id) {
        return Ok(caller.clone());
    }
    drop(kept);
    let found = Arc::new(find(state, key)?);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_of(state) {
        if kept.callers.len() >= CALLERS_KEPT_MAX {
            kept.callers.clear();
        }
        kept.callers.insert(key.id.clone(), found.clone());
    }
    Ok(found)
}

/// A caller to change, for a simulation.
pub fn copy(caller: &Caller) -> Caller {
    let Standing { unlimited, identity, boundary, session } = &caller.standing;
    let (identity, boundary, session) = (identity.clone(), boundary.clone(), session.clone());
    Caller {
        access_key: caller.access_key.clone(),
        owner: caller.owner.clone(),
        account: caller.account.clone(),
        tenant: caller.tenant.clone(),
        admin: caller.admin,
        kind: caller.kind.clone(),
        standing: Standing { unlimited: *unlimited, identity, boundary, session },
    }
}

/// A key that signs.
pub fn active_key<'s>(state: &'s State, access_key: &str) -> Option<&'s AccessKey> {
    state.keys.get(access_key).map(|key| &**key).filter(|key| key.active)
}

/// The policies that are written on, or attached to, a user, a group or a role: for each its name in explanations.
pub fn policies(iam: &Iam, account: &OwnerId, attached: &Attached) -> Vec<(String, Arc<Policy>)> {
    let inline = attached.inline.iter().map(|(name, text)| (name.clone(), parse(name, Some(text))));
    inline.chain(attached.managed.iter().map(|arn| managed(iam, account, arn))).collect()
}

/// A managed policy by its ARN.
pub fn managed(iam: &Iam, account: &OwnerId, arn: &str) -> (String, Arc<Policy>) {
    (arn.to_owned(), parse(arn, managed_text(iam, account, arn).as_deref()))
}

/// The text in force of a managed policy.
pub fn managed_text<'i>(iam: &'i Iam, account: &OwnerId, arn: &str) -> Option<Cow<'i, str>> {
    if arn.starts_with(BUILT_IN) {
        return builtin::document(arn).map(Cow::Owned);
    }
    iam.policy_of_arn(account, arn).map(|policy| policy.document().into())
}

/// The names of the policies that everybody has, in their order.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    builtin::ALL.iter().map(|policy| policy.name)
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// What was found out of one state.
#[derive(Default)]
struct Kept {
    keys: Arc<BTreeMap<AccessKeyId, Arc<AccessKey>>>,
    iam: Iam,
    callers: HashMap<AccessKeyId, Arc<Caller>>,
}

impl Kept {
    /// Whether this is of the same keys and accounts: the very same maps, which are never changed while they are held here.
    fn is_of(&self, state: &State) -> bool {
        Arc::ptr_eq(&self.keys, &state.keys) && self.iam.is_the_same(&state.iam)
    }

    fn follow(&mut self, state: &State) {
        if !self.is_of(state) {
            *self = Self { keys: state.keys.clone(), iam: state.iam.clone(), callers: HashMap::new() };
        }
    }
}

fn find(state: &State, key: &AccessKey) -> Result<Caller> {
    let account = state.iam.accounts.get(&key.owner).ok_or(Error::Internal("an owner has no account"))?;
    let (kind, standing) = match &key.user {
        None => (Kind::Root, Standing { unlimited: true, ..Standing::default() }),
        Some(name) => {
            // A user goes after its keys.
            let user = state.iam.user(&key.owner, name).ok_or(Error::InvalidAccessKeyId)?;
            (Kind::User(user_name(user)), standing(&state.iam, user))
        }
    };
    Ok(Caller {
        access_key: Some(key.id.clone()),
        owner: key.owner.clone(),
        account: account.number.clone(),
        tenant: account.tenant.clone(),
        admin: key.admin && key.user.is_none(),
        kind,
        standing,
    })
}

pub fn user_name(user: &User) -> UserName {
    UserName { name: user.name.clone(), path: user.path.clone(), id: user.id.clone(), tags: user.tags.clone() }
}

/// What policies say of a user: its own, and those of its groups.
pub fn standing(iam: &Iam, user: &User) -> Standing {
    let mut identity = policies(iam, &user.account, &user.attached);
    for group in iam.groups_of(&user.account, &user.name) {
        let named = |(name, policy)| (format!("{name} (group {})", group.name), policy);
        identity.extend(policies(iam, &user.account, &group.attached).into_iter().map(named));
    }
    let boundary = user.boundary.as_ref().map(|arn| managed(iam, &user.account, arn));
    Standing { unlimited: false, identity, boundary, session: Vec::new() }
}

/// The policy of this name; what denies everything, where there is none to read.
pub fn parse(name: &str, text: Option<&str>) -> Arc<Policy> {
    let parsed = match text.map(|text| Policy::parse(text, Purpose::Identity)) {
        Some(Ok(policy)) => return Arc::new(policy),
        Some(Err(error)) => error.to_string(),
        None => "there is none of this name".to_owned(),
    };
    tracing::error!(policy = name, error = parsed, "a policy cannot be read: it denies everything to whoever has it");
    DENIES_ALL.clone()
}

static DENIES_ALL: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let text =
        r#"{"Version":"2012-10-17","Statement":{"Sid":"Unreadable","Effect":"Deny","Action":"*","Resource":"*"}}"#;
    Arc::new(Policy::parse(text, Purpose::Identity).expect("a policy of our own"))
});

#[cfg(test)]
mod tests {
    use super::*;
    use authn::policy::Context;
    use authn::{Identity, Question, authorize};
    use cluster::{Command, Holder, IamChange, Owner, apply};
    use std::collections::BTreeSet;

    fn ann() -> OwnerId {
        OwnerId("ann".into())
    }

    fn after(state: &State, change: IamChange) -> State {
        let command = Command::Iam { account: ann(), change };
        apply(state, &command).expect("it applies").0
    }

    fn key(state: &State, id: &str, user: Option<&str>) -> State {
        let key = AccessKey {
            id: AccessKeyId(id.into()),
            secret: "a secret".into(),
            owner: ann(),
            admin: false,
            created_ms: 1,
            user: user.map(str::to_owned),
            active: true,
        };
        apply(state, &Command::CreateKey { key }).expect("it applies").0
    }

    fn allow(action: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"{action}","Resource":"*"}}}}"#)
    }

    fn start() -> State {
        let owner = Owner { id: ann(), display_name: "Ann".into(), email: None };
        let (state, _) = apply(&State::default(), &Command::PutOwner { owner }).expect("it applies");
        let user = User {
            account: ann(),
            name: "bob".into(),
            path: "/team/".into(),
            id: "AIDABOB".into(),
            created_ms: 1,
            attached: Attached::default(),
            boundary: None,
            tags: BTreeMap::new(),
            not_before_ms: 0,
        };
        let group = cluster::iam::Group {
            account: ann(),
            name: "writers".into(),
            path: "/".into(),
            id: "AGPA".into(),
            created_ms: 1,
            attached: Attached::default(),
            members: BTreeSet::new(),
        };
        let state = after(&after(&state, IamChange::CreateUser(user)), IamChange::CreateGroup(group));
        key(&key(&state, "root-key", None), "bob-key", Some("bob"))
    }

    fn may(state: &State, access_key: &str, action: &str) -> bool {
        let identity = Identity::Known(caller(state, access_key).expect("known"));
        let (context, owner) = (Context::default(), ann());
        let question = Question {
            identity: &identity,
            action,
            resource: "arn:aws:s3:::b/k",
            context: &context,
            owner: Some(&owner),
            bucket_policy: None,
            restrict_public: false,
            acl_grants: false,
        };
        authorize(&question).allowed
    }

    #[test]
    fn keys_are_their_users() {
        let state = start();
        let root = caller(&state, "root-key").expect("known");
        assert_eq!((root.arn(), root.standing.unlimited), ("arn:aws:iam::648421453870:root".into(), true));
        let bob = caller(&state, "bob-key").expect("known");
        assert_eq!((bob.arn(), bob.standing.unlimited), ("arn:aws:iam::648421453870:user/team/bob".into(), false));
        assert_eq!((bob.user_id(), bob.admin), ("AIDABOB".into(), false));
        // Other tests' states come between, now and then: there is one place for all.
        let bob = || caller(&state, "bob-key").expect("known");
        assert!((0..1000).any(|_| Arc::ptr_eq(&bob(), &bob())), "it is found once");
        assert!(matches!(caller(&state, "nobodys"), Err(Error::InvalidAccessKeyId)));
        let off = Command::SetKeyActive { id: AccessKeyId("bob-key".into()), active: false };
        let (state, _) = apply(&state, &off).expect("it applies");
        assert!(matches!(caller(&state, "bob-key"), Err(Error::InvalidAccessKeyId)));
    }

    #[test]
    fn policies_of_users_groups_and_boundaries_count_at_once() {
        let state = start();
        assert!(!may(&state, "bob-key", "s3:GetObject") && may(&state, "root-key", "s3:GetObject"));
        let (bob, writers) = (Holder::User("bob".into()), Holder::Group("writers".into()));
        let inline = |of: &Holder, text: &str| IamChange::SetInlinePolicy {
            of: of.clone(),
            name: "p".into(),
            document: Some(text.to_owned()),
        };
        let state = after(&state, inline(&bob, &allow("s3:GetObject")));
        assert!(may(&state, "bob-key", "s3:GetObject") && !may(&state, "bob-key", "s3:PutObject"));
        let state = after(&state, inline(&writers, &allow("s3:PutObject")));
        assert!(!may(&state, "bob-key", "s3:PutObject"));
        let joins = IamChange::SetMember { group: "writers".into(), user: "bob".into(), member: true };
        let joined = after(&state, joins);
        assert!(may(&joined, "bob-key", "s3:GetObject") && may(&joined, "bob-key", "s3:PutObject"));

        let version = cluster::iam::PolicyVersion { document: allow("s3:PutObject"), created_ms: 1 };
        let policy = cluster::iam::ManagedPolicy {
            account: ann(),
            name: "only-puts".into(),
            path: "/".into(),
            id: "ANPA".into(),
            description: String::new(),
            created_ms: 1,
            updated_ms: 1,
            default_version: 1,
            versions: [(1, version)].into(),
            last_version: 1,
            tags: BTreeMap::new(),
        };
        let arn = Some("arn:aws:iam::648421453870:policy/only-puts".to_owned());
        let bound = after(&joined, IamChange::CreatePolicy(policy));
        let bound = after(&bound, IamChange::SetBoundary { of: bob, arn });
        assert!(!may(&bound, "bob-key", "s3:GetObject") && may(&bound, "bob-key", "s3:PutObject"));
        assert!(may(&state, "bob-key", "s3:GetObject"), "another state has other callers");

        // The control plane does not read policies: what is none denies what the others allow.
        let broken = after(&joined, inline(&writers, "{}"));
        assert!(!may(&broken, "bob-key", "s3:GetObject") && may(&broken, "root-key", "s3:GetObject"));
    }
}
