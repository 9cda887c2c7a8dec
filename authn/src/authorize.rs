//! The one decision about what an identity may do: for S3, STS, IAM, the admin API and jobs alike.
//!
//! Source: "Policy evaluation logic", AWS IAM User Guide; "How Amazon S3 authorizes a request", Amazon S3 User Guide.

use crate::identity::{Caller, Identity, Kind, Session, SessionOf};
use crate::policy::{Asked, Context, Found, Named, Policy, Statement, Who};
use common::OwnerId;
use std::sync::Arc;

/// What somebody wants to do with one resource.
#[derive(Debug, Clone)]
pub struct Question<'q> {
    pub identity: &'q Identity,
    /// `s3:GetObject`, `iam:CreateUser`, `weir:Administer`.
    pub action: &'q str,
    /// An ARN: `arn:aws:s3:::bucket/key`.
    pub resource: &'q str,
    pub context: &'q Context,
    /// The account that the resource belongs to; `None` where it has none (ListBuckets, CreateBucket: the caller's own).
    pub owner: Option<&'q OwnerId>,
    /// The policy of the bucket that it is about.
    pub bucket_policy: Option<&'q Policy>,
    /// The bucket's policy lets everybody in, and its public access block restricts that to its own account.
    pub restrict_public: bool,
    /// An access control list grants it to this identity.
    pub acl_grants: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    pub allowed: bool,
    pub by: By,
}

/// What decided, for the explanation and the audit line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// An administrator of the appliance.
    Admin,
    /// The root of the account that owns the resource.
    Root,
    /// A statement: the policy's name, and the statement's Sid or its place from 1 on.
    Statement {
        policy: String,
        statement: String,
    },
    Acl,
    /// No statement and no list allows it.
    Nothing,
    /// The permission boundary, or the session's policy of this name, does not allow it.
    Beyond(String),
    /// Everybody could, but for the public access block.
    PublicAccessBlock,
}

impl Verdict {
    fn allow(by: By) -> Self {
        Self { allowed: true, by }
    }

    fn deny(by: By) -> Self {
        Self { allowed: false, by }
    }
}

/// Decides one question. Pure.
///
/// 1. What any policy denies is denied: the caller's own, its boundary, its session's, the bucket's. Two are above a bucket
///    policy's denial, in the three actions on bucket policies alone, so that nobody is locked out for good: the root of the
///    bucket's account, as in S3, and administrators of the appliance. In everything else it binds administrators too.
/// 2. Administrators and roots have, where no policy limits them, everything from their own side; a root's own side is its account.
/// 3. In one account, the caller's policies or the bucket's must allow it, and boundary and session must not lack it.
///    A bucket policy that names the caller by its own ARN (a user, a session of a role) allows it beyond them, as AWS has it:
///    "How AWS enforcement code logic evaluates requests". One that names the role, or everybody, does not, and one that
///    names the account leaves the decision to the account's own policies. An access control list names accounts, and is
///    like that for all but the root.
/// 4. Between accounts, both sides must allow it. A public access block that restricts a public policy shuts everybody
///    else out.
/// 5. Without a credential, the bucket's policy or a list must allow it.
///
/// `weir:` actions are for administrators, and for those whom a policy of the administrators' account allows it: that is
/// the `owner` of such a question.
pub fn authorize(question: &Question<'_>) -> Verdict {
    let Some(caller) = question.identity.caller() else {
        return anonymous(question);
    };
    let asked = question.asked(Who::Caller(caller));
    let own = match own_side(caller, &asked) {
        Ok(own) => own,
        Err(denied) => return denied,
    };
    let (resource, named) = match bucket_side(question, &asked) {
        Side::Denies(_) if is_above_bucket_policy(question, caller) => (None, None),
        Side::Denies(by) => return Verdict::deny(by),
        Side::Allows(by, named) => (Some(by), Some(named)),
        Side::Silent => (None, None),
    };
    if question.action.starts_with(WEIR_ACTIONS) {
        let at_home = question.owner == Some(&caller.owner);
        let by = if caller.admin { Some(By::Admin) } else { own.statement.filter(|_| at_home) };
        return within(by, own.beyond);
    }
    let listed = question.acl_grants.then_some(By::Acl);
    if question.owner.is_none_or(|owner| *owner == caller.owner) {
        if named == Some(Named::Directly) && !is_limited_session(caller) {
            return resource.map_or_else(|| Verdict::deny(By::Nothing), Verdict::allow);
        }
        let resource = resource.filter(|_| named > Some(Named::Account));
        let listed = listed.filter(|_| is_root(caller));
        return within(own.any().or(resource).or(listed), own.beyond);
    }
    if caller.admin {
        return within(own.any(), own.beyond);
    }
    let Some(granted) = resource.or(listed) else { return Verdict::deny(By::Nothing) };
    match own.any() {
        None => Verdict::deny(By::Nothing),
        Some(_) if question.restrict_public => Verdict::deny(By::PublicAccessBlock),
        Some(_) => within(Some(granted), own.beyond),
    }
}

/// Whether the identity may assume a role, whose trust policy stands in the question as the bucket's policy: it must let it in,
/// whoever asks. Who is named directly, or by the role that it has, in the role's own account, needs nothing else;
/// everybody else also needs a policy of its own that allows it.
pub fn authorize_assumption(question: &Question<'_>) -> Verdict {
    let Some(caller) = question.identity.caller() else {
        return Verdict::deny(By::Nothing);
    };
    let asked = question.asked(Who::Caller(caller));
    let own = match own_side(caller, &asked) {
        Ok(own) => own,
        Err(denied) => return denied,
    };
    let (trust, named) = match bucket_side(question, &asked) {
        Side::Denies(by) => return Verdict::deny(by),
        Side::Silent => return Verdict::deny(By::Nothing),
        Side::Allows(by, named) => (by, named),
    };
    let at_home = question.owner == Some(&caller.owner);
    if at_home && named == Named::Directly && !is_limited_session(caller) {
        return Verdict::allow(trust);
    }
    let enough = (at_home && named > Named::Account) || own.any().is_some();
    within(enough.then_some(trust), own.beyond)
}

const WEIR_ACTIONS: &str = "weir:";
const POLICY_ACTIONS: [&str; 3] = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"];

impl<'q> Question<'q> {
    fn asked(&self, who: Who<'q>) -> Asked<'q> {
        Asked { who, action: self.action, resource: self.resource, context: self.context }
    }
}

fn anonymous(question: &Question<'_>) -> Verdict {
    let by = match bucket_side(question, &question.asked(Who::Anonymous)) {
        Side::Denies(by) => return Verdict::deny(by),
        Side::Allows(by, _) => by,
        Side::Silent if question.acl_grants => By::Acl,
        Side::Silent => return Verdict::deny(By::Nothing),
    };
    if question.restrict_public { Verdict::deny(By::PublicAccessBlock) } else { Verdict::allow(by) }
}

/// What the caller's own policies say, none of which denies it.
struct Own {
    /// Administrators and roots.
    standing: Option<By>,
    statement: Option<By>,
    /// The boundary or session that does not allow it.
    beyond: Option<String>,
}

impl Own {
    fn any(&self) -> Option<By> {
        self.standing.clone().or_else(|| self.statement.clone())
    }
}

fn own_side(caller: &Caller, asked: &Asked<'_>) -> Result<Own, Verdict> {
    let standing = &caller.standing;
    let statement = first_allowed(&standing.identity, asked)?;
    let mut beyond = None;
    if let Some((name, policy)) = &standing.boundary {
        match policy.evaluate(asked) {
            Found::Deny(statement) => return Err(Verdict::deny(by(name, statement))),
            Found::Allow(..) => {}
            Found::Nothing => beyond = Some(name.clone()),
        }
    }
    if let Some((name, _)) = standing.session.first()
        && first_allowed(&standing.session, asked)?.is_none()
    {
        beyond = beyond.or_else(|| Some(name.clone()));
    }
    let standing = if caller.admin { Some(By::Admin) } else { standing.unlimited.then_some(By::Root) };
    Ok(Own { standing, statement, beyond })
}

/// The first statement of several policies that allows it, if none denies it.
fn first_allowed(policies: &[(String, Arc<Policy>)], asked: &Asked<'_>) -> Result<Option<By>, Verdict> {
    let mut allowed = None;
    for (name, policy) in policies {
        match policy.evaluate(asked) {
            Found::Deny(statement) => return Err(Verdict::deny(by(name, statement))),
            Found::Allow(statement, _) if allowed.is_none() => allowed = Some((name, statement)),
            Found::Allow(..) | Found::Nothing => {}
        }
    }
    Ok(allowed.map(|(name, statement)| by(name, statement)))
}

enum Side {
    Denies(By),
    Allows(By, Named),
    Silent,
}

fn bucket_side(question: &Question<'_>, asked: &Asked<'_>) -> Side {
    let Some(policy) = question.bucket_policy else { return Side::Silent };
    match policy.evaluate(asked) {
        Found::Deny(statement) => Side::Denies(by(RESOURCE_POLICY, statement)),
        Found::Allow(statement, named) => Side::Allows(by(RESOURCE_POLICY, statement), named),
        Found::Nothing => Side::Silent,
    }
}

/// What explanations call the policy of the bucket, or of the role that is assumed.
pub const RESOURCE_POLICY: &str = "resource policy";

fn by(policy: &str, statement: &Statement) -> By {
    By::Statement { policy: policy.to_owned(), statement: statement.name() }
}

fn within(allowed: Option<By>, beyond: Option<String>) -> Verdict {
    match (allowed, beyond) {
        (None, _) => Verdict::deny(By::Nothing),
        (Some(_), Some(name)) => Verdict::deny(By::Beyond(name)),
        (Some(by), None) => Verdict::allow(by),
    }
}

fn is_root(caller: &Caller) -> bool {
    matches!(caller.kind, Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }))
}

/// A session of a user or a root with policies of its own: they limit what names the user, too. Those of a role's session do
/// not limit what names that very session.
fn is_limited_session(caller: &Caller) -> bool {
    let of_role = matches!(caller.kind, Kind::Session(Session { of: SessionOf::Role { .. }, .. }));
    !of_role && !caller.standing.session.is_empty()
}

fn is_above_bucket_policy(question: &Question<'_>, caller: &Caller) -> bool {
    let owns = is_root(caller) && question.owner == Some(&caller.owner);
    POLICY_ACTIONS.contains(&question.action) && (caller.admin || owns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Standing;
    use common::AccessKeyId;

    #[test]
    fn ownership_decides() {
        let key = |owner: &str, admin| {
            Identity::Known(Arc::new(Caller {
                access_key: Some(AccessKeyId("WK".into())),
                owner: OwnerId(owner.into()),
                account: "123456789012".to_owned(),
                tenant: None,
                admin,
                kind: Kind::Root,
                standing: Standing { unlimited: true, ..Standing::default() },
            }))
        };
        let (root, ann, bob) = (key("root", true), key("ann", false), key("bob", false));
        let ask = |identity: &Identity, action, owner: Option<&str>| {
            let owner = owner.map(|owner| OwnerId(owner.into()));
            let context = Context::default();
            authorize(&Question {
                identity,
                action,
                resource: "arn:aws:s3:::b",
                context: &context,
                owner: owner.as_ref(),
                bucket_policy: None,
                restrict_public: false,
                acl_grants: false,
            })
            .allowed
        };
        let allowed = |identity: &Identity, owner| {
            ["s3:ListAllMyBuckets", "s3:GetObject", "weir:Administer"]
                .map(|action| ask(identity, action, if action == "s3:ListAllMyBuckets" { None } else { owner }))
        };
        assert_eq!(allowed(&root, Some("ann")), [true, true, true]);
        assert_eq!(allowed(&ann, Some("ann")), [true, true, false]);
        assert_eq!(allowed(&bob, Some("ann")), [true, false, false]);
        assert_eq!(allowed(&Identity::Anonymous, Some("ann")), [false; 3]);
        assert_eq!((root.is_admin(), ann.is_admin(), Identity::Anonymous.is_admin()), (true, false, false));
        assert_eq!((ann.owner(), Identity::Anonymous.owner()), (Some(&OwnerId("ann".into())), None));
    }
}
