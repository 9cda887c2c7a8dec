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
    use crate::identity::{Standing, UserName};
    use crate::policy::Purpose;
    use common::AccessKeyId;
    use std::collections::BTreeMap;

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

    const BUCKET: &str = "pics";
    const OBJECT: &str = "arn:aws:s3:::pics/x";

    fn policy(statement: &str, purpose: Purpose<'_>) -> Arc<Policy> {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        Arc::new(Policy::parse(&text, purpose).expect(statement))
    }

    fn own(effect: &str, action: &str) -> Arc<Policy> {
        policy(&format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"*"}}"#), Purpose::Identity)
    }

    fn of_bucket(effect: &str, principal: &str, action: &str) -> Arc<Policy> {
        let statement = format!(
            r#"{{"Sid":"B","Effect":"{effect}","Principal":{principal},"Action":"{action}",
            "Resource":["arn:aws:s3:::pics","arn:aws:s3:::pics/*"]}}"#
        );
        policy(&statement, Purpose::Bucket(BUCKET))
    }

    fn user(owner: &str, account: &str) -> Caller {
        let name = UserName { name: "bob".into(), path: "/".into(), id: "AIDA1".into(), tags: BTreeMap::new() };
        Caller {
            access_key: None,
            owner: OwnerId(owner.into()),
            account: account.to_owned(),
            tenant: None,
            admin: false,
            kind: Kind::User(name),
            standing: Standing::default(),
        }
    }

    fn session(owner: &str, account: &str) -> Caller {
        let of = SessionOf::Role { name: "reader".into(), path: "/".into(), id: "AROA1".into(), session: "s1".into() };
        let session = Session { of, issued_ms: 0, expires_ms: 1, tags: BTreeMap::new(), claims: BTreeMap::new() };
        Caller { kind: Kind::Session(session), ..user(owner, account) }
    }

    fn root(owner: &str, account: &str, admin: bool) -> Caller {
        let standing = Standing { unlimited: true, ..Standing::default() };
        Caller { kind: Kind::Root, standing, admin, ..user(owner, account) }
    }

    const HOME: &str = "111111111111";
    const AWAY: &str = "222222222222";

    #[derive(Default)]
    struct Case {
        bucket: Option<Arc<Policy>>,
        restrict_public: bool,
        acl_grants: bool,
    }

    /// About an object of ann's.
    fn ask(identity: &Identity, action: &str, case: &Case) -> Verdict {
        let (owner, context) = (OwnerId("ann".into()), Context::default());
        authorize(&Question {
            identity,
            action,
            resource: OBJECT,
            context: &context,
            owner: Some(&owner),
            bucket_policy: case.bucket.as_deref(),
            restrict_public: case.restrict_public,
            acl_grants: case.acl_grants,
        })
    }

    fn get(caller: Caller, case: &Case) -> Verdict {
        ask(&Identity::Known(Arc::new(caller)), "s3:GetObject", case)
    }

    fn with(mut caller: Caller, give: impl FnOnce(&mut Standing)) -> Caller {
        give(&mut caller.standing);
        caller
    }

    fn allowing(standing: &mut Standing) {
        standing.identity.push(("reading".to_owned(), own("Allow", "s3:Get*")));
    }

    fn bounded(standing: &mut Standing) {
        standing.boundary = Some(("fence".to_owned(), own("Allow", "s3:Put*")));
    }

    fn limited(standing: &mut Standing) {
        standing.session.push(("session".to_owned(), own("Allow", "s3:Put*")));
    }

    fn statement(policy: &str, statement: &str) -> By {
        By::Statement { policy: policy.into(), statement: statement.into() }
    }

    const BOB: &str = r#"{"AWS":"arn:aws:iam::111111111111:user/bob"}"#;
    const BOB_AWAY: &str = r#"{"AWS":"arn:aws:iam::222222222222:user/bob"}"#;

    #[test]
    fn in_one_account_either_side_is_enough() {
        let nothing = Case::default();
        let bucket = |effect: &str, principal: &str| Case {
            bucket: Some(of_bucket(effect, principal, "s3:Get*")),
            ..Case::default()
        };
        let bob = || user("ann", HOME);
        assert_eq!(get(bob(), &nothing), Verdict::deny(By::Nothing));
        assert_eq!(get(with(bob(), allowing), &nothing), Verdict::allow(statement("reading", "1")));
        assert_eq!(get(bob(), &bucket("Allow", BOB)), Verdict::allow(statement(RESOURCE_POLICY, "B")));
        assert_eq!(get(bob(), &bucket("Allow", "\"*\"")), Verdict::allow(statement(RESOURCE_POLICY, "B")));
        // Who is let in by the account is let in as far as its own policies do, and the root is the account.
        let account = bucket("Allow", r#"{"AWS":"111111111111"}"#);
        assert_eq!(get(bob(), &account), Verdict::deny(By::Nothing));
        let limited_root = Caller { standing: Standing::default(), ..root("ann", HOME, false) };
        assert_eq!(get(limited_root, &account), Verdict::allow(statement(RESOURCE_POLICY, "B")));
        // A list names accounts, too.
        let listed = Case { acl_grants: true, ..Case::default() };
        assert_eq!(get(bob(), &listed), Verdict::deny(By::Nothing));
        // Denials anywhere.
        let denied = Verdict::deny(statement(RESOURCE_POLICY, "B"));
        assert_eq!(get(with(bob(), allowing), &bucket("Deny", "\"*\"")), denied);
        assert_eq!(get(root("ann", HOME, false), &bucket("Deny", "\"*\"")), denied);
        assert_eq!(get(root("root", AWAY, true), &bucket("Deny", "\"*\"")), denied);
        let refusing = |standing: &mut Standing| standing.identity.push(("no".to_owned(), own("Deny", "*")));
        let both = with(with(bob(), allowing), refusing);
        assert_eq!(get(both, &nothing), Verdict::deny(statement("no", "1")));
        assert_eq!(get(with(bob(), refusing), &bucket("Allow", BOB)), Verdict::deny(statement("no", "1")));
        // Public access blocks do not concern the bucket's own account.
        let blocked = Case { restrict_public: true, ..bucket("Allow", "\"*\"") };
        assert!(get(bob(), &blocked).allowed);
    }

    #[test]
    fn boundaries_and_sessions_limit_what_does_not_name_the_caller_itself() {
        let bucket =
            |principal: &str| Case { bucket: Some(of_bucket("Allow", principal, "s3:Get*")), ..Case::default() };
        let nothing = Case::default();
        let bob = || user("ann", HOME);
        let beyond = |name: &str| Verdict::deny(By::Beyond(name.to_owned()));
        assert_eq!(get(with(with(bob(), allowing), bounded), &nothing), beyond("fence"));
        assert_eq!(get(with(bob(), bounded), &bucket("\"*\"")), beyond("fence"));
        assert!(get(with(bob(), bounded), &bucket(BOB)).allowed);
        assert_eq!(get(with(bob(), bounded), &nothing), Verdict::deny(By::Nothing));
        let forbidden = |standing: &mut Standing| standing.boundary = Some(("fence".to_owned(), own("Deny", "*")));
        assert_eq!(get(with(bob(), forbidden), &bucket(BOB)), Verdict::deny(statement("fence", "1")));

        let reader = || session("ann", HOME);
        let (role, itself) = (
            r#"{"AWS":"arn:aws:iam::111111111111:role/reader"}"#,
            r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/reader/s1"}"#,
        );
        assert!(get(reader(), &bucket(role)).allowed);
        assert_eq!(get(with(reader(), limited), &bucket(role)), beyond("session"));
        assert_eq!(get(with(reader(), bounded), &bucket(role)), beyond("fence"));
        assert!(get(with(with(reader(), limited), bounded), &bucket(itself)).allowed);
        assert_eq!(get(with(with(reader(), allowing), limited), &nothing), beyond("session"));
        // One of a session's policies is enough.
        let two = |standing: &mut Standing| {
            standing.session = vec![("a".to_owned(), own("Allow", "s3:Put*")), ("b".to_owned(), own("Allow", "s3:*"))];
        };
        assert!(get(with(with(reader(), allowing), two), &nothing).allowed);
        // A session of the user, with a policy of its own, is not the user.
        let name = UserName { name: "bob".into(), path: "/".into(), id: "AIDA1".into(), tags: BTreeMap::new() };
        let Kind::Session(inner) = session("ann", HOME).kind else { panic!("a session") };
        let kind = Kind::Session(Session { of: SessionOf::User(name), ..inner });
        assert_eq!(get(with(Caller { kind, ..bob() }, limited), &bucket(BOB)), beyond("session"));
        // Neither are sessions of a root and of an administrator above theirs.
        let kind = Kind::Session(Session {
            of: SessionOf::Root,
            issued_ms: 0,
            expires_ms: 1,
            tags: BTreeMap::new(),
            claims: BTreeMap::new(),
        });
        assert_eq!(get(with(Caller { kind, ..root("ann", HOME, true) }, limited), &nothing), beyond("session"));
    }

    #[test]
    fn between_accounts_both_sides_must_allow_it() {
        let bucket =
            |principal: &str| Case { bucket: Some(of_bucket("Allow", principal, "s3:Get*")), ..Case::default() };
        let bob = || user("bob", AWAY);
        let granted = Verdict::allow(statement(RESOURCE_POLICY, "B"));
        let account = r#"{"AWS":"222222222222"}"#;
        let nothing = Verdict::deny(By::Nothing);
        for principal in ["\"*\"", account, BOB_AWAY] {
            assert_eq!(get(bob(), &bucket(principal)), nothing, "{principal}");
            assert_eq!(get(with(bob(), allowing), &bucket(principal)), granted, "{principal}");
            let fenced = get(with(with(bob(), allowing), bounded), &bucket(principal));
            assert_eq!(fenced, Verdict::deny(By::Beyond("fence".to_owned())), "{principal}");
        }
        assert_eq!(get(with(bob(), allowing), &Case::default()), nothing);
        assert_eq!(get(with(bob(), allowing), &bucket(BOB)), nothing);
        assert_eq!(get(root("bob", AWAY, false), &Case::default()), nothing);
        assert_eq!(get(root("bob", AWAY, false), &bucket(account)), granted);
        assert_eq!(get(root("adm", AWAY, true), &Case::default()), Verdict::allow(By::Admin));
        let listed = Case { acl_grants: true, ..Case::default() };
        assert_eq!(get(root("bob", AWAY, false), &listed), Verdict::allow(By::Acl));
        assert_eq!(get(bob(), &listed), nothing);
        let blocked = Case { restrict_public: true, ..bucket("\"*\"") };
        assert_eq!(get(root("bob", AWAY, false), &blocked), Verdict::deny(By::PublicAccessBlock));
        assert!(get(root("adm", AWAY, true), &blocked).allowed);
    }

    #[test]
    fn without_a_credential_the_bucket_decides() {
        let anonymous = |case: &Case| ask(&Identity::Anonymous, "s3:GetObject", case);
        let bucket = |effect: &str, principal: &str| Case {
            bucket: Some(of_bucket(effect, principal, "s3:Get*")),
            ..Case::default()
        };
        assert_eq!(anonymous(&Case::default()), Verdict::deny(By::Nothing));
        assert_eq!(anonymous(&bucket("Allow", "\"*\"")), Verdict::allow(statement(RESOURCE_POLICY, "B")));
        assert_eq!(anonymous(&bucket("Allow", BOB)), Verdict::deny(By::Nothing));
        let listed = Case { acl_grants: true, ..Case::default() };
        assert_eq!(anonymous(&listed), Verdict::allow(By::Acl));
        let denied = Case { acl_grants: true, ..bucket("Deny", "\"*\"") };
        assert_eq!(anonymous(&denied), Verdict::deny(statement(RESOURCE_POLICY, "B")));
        let blocked = Case { restrict_public: true, ..bucket("Allow", "\"*\"") };
        assert_eq!(anonymous(&blocked), Verdict::deny(By::PublicAccessBlock));
        assert!(!ask(&Identity::Anonymous, "s3:PutObject", &bucket("Allow", "\"*\"")).allowed);
    }

    #[test]
    fn a_policy_locks_nobody_out_for_good() {
        let all = Case { bucket: Some(of_bucket("Deny", "\"*\"", "s3:*")), ..Case::default() };
        let asks = |caller: Caller, action: &str| ask(&Identity::Known(Arc::new(caller)), action, &all).allowed;
        for action in POLICY_ACTIONS {
            assert!(asks(root("ann", HOME, false), action), "{action}");
            assert!(asks(root("adm", AWAY, true), action), "{action}");
            assert!(!asks(with(user("ann", HOME), |all| all.identity.push(("all".into(), own("Allow", "*")))), action));
            assert!(!asks(root("bob", AWAY, false), action), "{action}");
        }
        for action in ["s3:GetObject", "s3:DeleteBucket", "s3:GetBucketPolicyStatus"] {
            assert!(!asks(root("ann", HOME, false), action), "{action}");
            assert!(!asks(root("adm", AWAY, true), action), "{action}");
        }
    }

    #[test]
    fn the_appliance_is_for_administrators_and_whom_their_account_lets() {
        let administer =
            |caller: Caller| ask(&Identity::Known(Arc::new(caller)), "weir:Administer", &Case::default()).allowed;
        let may = |standing: &mut Standing| standing.identity.push(("ops".to_owned(), own("Allow", "weir:*")));
        // The administrators' account is ann's here.
        assert!(administer(root("ann", HOME, true)));
        assert!(!administer(root("ann", HOME, false)));
        assert!(!administer(user("ann", HOME)));
        assert!(administer(with(user("ann", HOME), may)));
        assert!(!administer(with(user("bob", AWAY), may)));
        assert!(!administer(with(with(user("ann", HOME), may), bounded)));
        let public = Case { bucket: Some(of_bucket("Allow", "\"*\"", "*")), ..Case::default() };
        assert!(!ask(&Identity::Anonymous, "weir:Administer", &Case::default()).allowed);
        assert!(!ask(&Identity::Known(Arc::new(user("ann", HOME))), "weir:Administer", &public).allowed);
    }

    #[test]
    fn roles_are_assumed_by_whom_they_trust() {
        let assume = |caller: Caller, principal: &str| {
            let statement = format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}"#);
            let trust = policy(&statement, Purpose::Trust);
            let (owner, context) = (OwnerId("ann".into()), Context::default());
            let identity = Identity::Known(Arc::new(caller));
            let question = Question {
                identity: &identity,
                action: "sts:AssumeRole",
                resource: "arn:aws:iam::111111111111:role/reader",
                context: &context,
                owner: Some(&owner),
                bucket_policy: Some(&trust),
                restrict_public: false,
                acl_grants: false,
            };
            authorize_assumption(&question).allowed
        };
        let may = |standing: &mut Standing| standing.identity.push(("a".to_owned(), own("Allow", "sts:AssumeRole")));
        let (home, away) = (r#"{"AWS":"111111111111"}"#, r#"{"AWS":"222222222222"}"#);
        assert!(assume(user("ann", HOME), BOB));
        assert!(!assume(user("ann", HOME), home));
        assert!(assume(with(user("ann", HOME), may), home));
        assert!(assume(root("ann", HOME, false), home));
        assert!(!assume(root("ann", HOME, false), BOB));
        assert!(!assume(root("ann", HOME, true), BOB));
        assert!(!assume(user("bob", AWAY), BOB_AWAY));
        assert!(assume(with(user("bob", AWAY), may), BOB_AWAY));
        assert!(assume(root("bob", AWAY, false), away));
        assert!(!assume(with(user("bob", AWAY), may), BOB));
    }
}
