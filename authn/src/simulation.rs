//! What policies would say, told in full: the decision of `authorize`, every statement that has a part in it, and the condition
//! keys that were asked for and are not there. Pure, and nothing is decided here.
//!
//! Source: `SimulateCustomPolicy` and `SimulatePrincipalPolicy`, AWS IAM API reference.

use crate::authorize::{By, Question, Verdict, authorize, authorize_assumption};
use crate::identity::{Caller, Identity, Kind, Session, SessionOf, Standing, UserName};
use crate::policy::{Asked, Context, Effect, Policy, PolicyError, Purpose, Who};
use common::OwnerId;
use std::sync::Arc;

/// A decision in the words of IAM's simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    /// A statement denies it.
    ExplicitDeny,
    /// Nothing allows it, or not all that must.
    ImplicitDeny,
}

impl Decision {
    pub fn of(verdict: &Verdict) -> Self {
        match (verdict.allowed, &verdict.by) {
            (true, _) => Self::Allowed,
            (false, By::Statement { .. }) => Self::ExplicitDeny,
            (false, _) => Self::ImplicitDeny,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::ExplicitDeny => "explicitDeny",
            Self::ImplicitDeny => "implicitDeny",
        }
    }
}

/// Whose policy a statement is of, by its place in the caller's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Identity(usize),
    Boundary,
    Session(usize),
    Resource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    pub source: Source,
    /// The statement's, from 1 on.
    pub place: usize,
    /// Its Sid, else its place.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    pub verdict: Verdict,
    pub decision: Decision,
    /// The statements that deny it, if any does; else those that allow it, each from its own side.
    pub matched: Vec<Matched>,
    /// Condition keys that statements about this ask for and did not get, each once.
    pub missing: Vec<String>,
    /// Whether the boundary allows it, if there is one.
    pub boundary_allows: Option<bool>,
}

/// The policy of a resource: a bucket's, or the trust policy of a role.
#[derive(Debug)]
pub enum ResourcePolicy {
    Bucket(Policy),
    Trust(Policy),
}

impl ResourcePolicy {
    /// Of the resource with this ARN.
    pub fn parse(text: &str, arn: &str) -> Result<Self, PolicyError> {
        if let Some(bucket) = bucket_of(arn) {
            return Policy::parse(text, Purpose::Bucket(bucket)).map(Self::Bucket);
        }
        if arn.starts_with("arn:aws:iam::") && arn.contains(":role/") {
            return Policy::parse(text, Purpose::Trust).map(Self::Trust);
        }
        Err(PolicyError(format!(
            "only a bucket, its objects and a role have a policy of their own, and {arn:?} is none"
        )))
    }
}

/// The bucket that an ARN of S3 names, itself or by one of its objects.
pub fn bucket_of(arn: &str) -> Option<&str> {
    let rest = arn.strip_prefix("arn:aws:s3:::")?;
    let bucket = rest.split_once('/').map_or(rest, |(bucket, _)| bucket);
    (!bucket.is_empty() && !bucket.contains(['*', '?'])).then_some(bucket)
}

/// What a resource is, for one question.
#[derive(Debug)]
pub struct Ground {
    /// The account that it belongs to.
    pub owner: OwnerId,
    pub policy: Option<Arc<ResourcePolicy>>,
    /// As in a question.
    pub restrict_public: bool,
}

/// The number of the account that an ARN names.
pub fn account_of(arn: &str) -> Option<&str> {
    let number = arn.strip_prefix("arn:")?.split(':').nth(3)?;
    (number.len() == 12 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

/// Asks the one decision, and looks who had a part in it. A role's trust policy is about assuming it, and nothing else.
pub fn simulate(
    identity: &Identity,
    context: &Context,
    (action, resource): (&str, &str),
    ground: &Ground,
) -> Simulated {
    let policy = ground.policy.as_deref();
    let is_assumption = matches!(policy, Some(ResourcePolicy::Trust(_))) && action.starts_with("sts:");
    let policy = match policy {
        Some(ResourcePolicy::Trust(policy)) if is_assumption => Some(policy),
        Some(ResourcePolicy::Bucket(policy)) => Some(policy),
        Some(ResourcePolicy::Trust(_)) | None => None,
    };
    let question = Question {
        identity,
        action,
        resource,
        context,
        owner: Some(&ground.owner),
        bucket_policy: policy,
        restrict_public: ground.restrict_public,
        acl_grants: false,
    };
    explain(&question, is_assumption)
}

fn explain(question: &Question<'_>, is_assumption: bool) -> Simulated {
    let verdict = if is_assumption { authorize_assumption(question) } else { authorize(question) };
    let decision = Decision::of(&verdict);
    let who = question.identity.caller().map_or(Who::Anonymous, Who::Caller);
    let asked = Asked { who, action: question.action, resource: question.resource, context: question.context };
    let effect = if decision == Decision::ExplicitDeny { Effect::Deny } else { Effect::Allow };
    let mut matched = Vec::new();
    let mut missing: Vec<String> = Vec::new();
    for (source, policy) in sources(question) {
        let applying = policy.applying(&asked).into_iter().filter(|statement| statement.effect() == effect);
        matched.extend(applying.map(|found| Matched { source, place: found.place(), name: found.name() }));
        for key in policy.examined(&asked).iter().flat_map(|examined| examined.missing(question.context)) {
            if !missing.contains(&key) {
                missing.push(key);
            }
        }
    }
    let boundary = question.identity.caller().and_then(|caller| caller.standing.boundary.as_ref());
    let boundary_allows = boundary.map(|(_, policy)| {
        let applying = policy.applying(&asked);
        !applying.is_empty() && applying.iter().all(|statement| statement.effect() == Effect::Allow)
    });
    Simulated { verdict, decision, matched, missing, boundary_allows }
}

fn sources<'q>(question: &'q Question<'_>) -> impl Iterator<Item = (Source, &'q Policy)> {
    let standing = question.identity.caller().map(|caller| &caller.standing);
    let own = standing.into_iter().flat_map(|standing| {
        let identity = standing.identity.iter().enumerate().map(|(at, (_, policy))| (Source::Identity(at), &**policy));
        let boundary = standing.boundary.iter().map(|(_, policy)| (Source::Boundary, &**policy));
        let session = standing.session.iter().enumerate().map(|(at, (_, policy))| (Source::Session(at), &**policy));
        identity.chain(boundary).chain(session)
    });
    own.chain(question.bucket_policy.map(|policy| (Source::Resource, policy)))
}

/// A caller who is not there: a user, a role (by itself or by one of its sessions), with the policies that it would have. Its
/// account's id is the number in the ARN.
pub fn imagined_caller(arn: &str, standing: Standing) -> Option<Caller> {
    let mut parts = arn.splitn(6, ':');
    let (head, service) = ((parts.next()?, parts.next()?), parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    if head != ("arn", "aws") || !region.is_empty() || !is_number {
        return None;
    }
    let role = |name: &str, path: &str, session: &str| {
        let (name, path, session) = (name.to_owned(), path.to_owned(), session.to_owned());
        let of = SessionOf::Role { name, path, id: String::new(), session };
        Kind::Session(Session { of, issued_ms: 0, expires_ms: 0, tags: Default::default(), claims: Default::default() })
    };
    let named = |rest: &'_ str| {
        let at = rest.rfind('/')?;
        let (path, name) = rest.split_at(at + 1);
        (!name.is_empty()).then(|| (path.to_owned(), name.to_owned()))
    };
    let kind = match (service, resource) {
        ("iam", resource) if resource.starts_with("user/") => {
            let (path, name) = named(&resource["user".len()..])?;
            Kind::User(UserName { name, path, id: String::new(), tags: Default::default() })
        }
        ("iam", resource) if resource.starts_with("role/") => {
            let (path, name) = named(&resource["role".len()..])?;
            role(&name, &path, IMAGINED_SESSION)
        }
        ("sts", resource) => match resource.strip_prefix("assumed-role/")?.split_once('/')? {
            (name, session) if !name.is_empty() && !session.is_empty() => role(name, "/", session),
            _ => return None,
        },
        _ => return None,
    };
    Some(Caller {
        access_key: None,
        owner: OwnerId(account.to_owned()),
        account: account.to_owned(),
        tenant: None,
        admin: false,
        kind,
        standing,
    })
}

/// The session of a role that is asked about by itself.
pub const IMAGINED_SESSION: &str = "simulated";

/// Adds the condition keys that every request of a caller has, behind those that are given.
pub fn keys_of_caller(context: &mut Context, caller: &Caller) {
    let mut trust = |key: &str, value: String| context.trust(key, vec![value]);
    trust("aws:PrincipalAccount", caller.account.clone());
    let user_id = caller.user_id();
    // One who is only imagined has none.
    if !user_id.is_empty() && !user_id.starts_with(':') {
        trust("aws:userid", user_id);
    }
    let (kind, user, arn) = match &caller.kind {
        Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => ("Account", None, caller.arn()),
        Kind::User(user) | Kind::Session(Session { of: SessionOf::User(user), .. }) => {
            ("User", Some(user), caller.arn())
        }
        Kind::Session(Session { of: SessionOf::Role { name, path, .. }, .. }) => {
            ("AssumedRole", None, format!("arn:aws:iam::{}:role{path}{name}", caller.account))
        }
    };
    trust("aws:PrincipalType", kind.to_owned());
    // Who has no name is nobody in particular.
    if user.is_some_and(|user| user.name.is_empty()) {
        return;
    }
    trust("aws:PrincipalArn", arn);
    if let Some(user) = user {
        trust("aws:username", user.name.clone());
    }
    if let Kind::User(user) = &caller.kind {
        user.tags.iter().for_each(|(key, value)| trust(&format!("aws:PrincipalTag/{key}"), value.clone()));
    }
    // A session has those of its user or role beside its own.
    if let Kind::Session(session) = &caller.kind {
        session.tags.iter().for_each(|(key, value)| trust(&format!("aws:PrincipalTag/{key}"), value.clone()));
        session.claims.iter().for_each(|(key, values)| context.trust(key.as_str(), values.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statements: &str) -> Arc<Policy> {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        Arc::new(Policy::parse(&text, Purpose::Identity).expect(&text))
    }

    fn standing(identity: &[&str], boundary: Option<&str>) -> Standing {
        let named = |(at, text): (usize, &&str)| (format!("p{at}"), policy(text));
        Standing {
            identity: identity.iter().enumerate().map(named).collect(),
            boundary: boundary.map(|text| ("b".to_owned(), policy(text))),
            ..Standing::default()
        }
    }

    const USER: &str = "arn:aws:iam::111111111111:user/team/ann";
    const READS: &str = r#"{"Sid":"Reads","Effect":"Allow","Action":"s3:Get*","Resource":"*"}"#;

    fn ask(standing: Standing, context: &[(&str, &str)], resource_policy: Option<&str>, owner: &str) -> Simulated {
        let identity = Identity::Known(Arc::new(imagined_caller(USER, standing).expect("a user")));
        let mut given = Context::default();
        context.iter().for_each(|(key, value)| given.trust(*key, vec![(*value).to_owned()]));
        keys_of_caller(&mut given, identity.caller().expect("somebody"));
        let resource = "arn:aws:s3:::b/ann/k";
        let policy = resource_policy.map(|text| Arc::new(ResourcePolicy::parse(text, resource).expect(text)));
        let ground = Ground { owner: OwnerId(owner.to_owned()), policy, restrict_public: false };
        simulate(&identity, &given, ("s3:GetObject", resource), &ground)
    }

    fn told(simulated: &Simulated) -> (Decision, Vec<String>, Vec<&str>) {
        let name = |matched: &Matched| format!("{:?} {}", matched.source, matched.name);
        let missing = simulated.missing.iter().map(String::as_str).collect();
        (simulated.decision, simulated.matched.iter().map(name).collect(), missing)
    }

    #[test]
    fn every_statement_that_decides_is_told() {
        let home = "111111111111";
        let own = |identity: &[&str], boundary| told_of(ask(standing(identity, boundary), &[], None, home));
        fn told_of(simulated: Simulated) -> (Decision, Vec<String>) {
            let (decision, matched, _) = told(&simulated);
            (decision, matched)
        }
        let denies = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/*"}"#;
        assert_eq!(own(&[], None), (Decision::ImplicitDeny, vec![]));
        let two = vec!["Identity(0) Reads".to_owned(), "Identity(1) 1".to_owned()];
        assert_eq!(own(&[READS, r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#], None), (Decision::Allowed, two));
        assert_eq!(own(&[READS, denies], None), (Decision::ExplicitDeny, vec!["Identity(1) 2".to_owned()]));
        let put = r#"{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}"#;
        assert_eq!(own(&[READS], Some(put)), (Decision::ImplicitDeny, vec!["Identity(0) Reads".to_owned()]));
        let bound = ask(standing(&[READS], Some(put)), &[], None, home);
        assert_eq!((bound.boundary_allows, bound.verdict.by), (Some(false), By::Beyond("b".into())));
        assert_eq!(ask(standing(&[], Some(READS)), &[], None, home).boundary_allows, Some(true));
    }

    #[test]
    fn a_bucket_of_another_account_needs_both() {
        let bucket = |principal: &str| {
            format!(
                r#"{{"Statement":{{"Sid":"In","Effect":"Allow","Principal":{{"AWS":"{principal}"}},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}}}"#
            )
        };
        let ask = |identity: &[&str], principal: &str, owner: &str| {
            ask(standing(identity, None), &[], Some(&bucket(principal)), owner).decision
        };
        let (home, away) = ("111111111111", "222222222222");
        assert_eq!(ask(&[READS], USER, away), Decision::Allowed);
        assert_eq!(ask(&[], USER, away), Decision::ImplicitDeny);
        assert_eq!(ask(&[], USER, home), Decision::Allowed);
        assert_eq!(ask(&[READS], away, away), Decision::ImplicitDeny);
        assert_eq!(ask(&[READS], home, away), Decision::Allowed);
    }

    #[test]
    fn a_role_is_assumed_by_whom_it_trusts() {
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:user/team/ann"},"Action":"sts:AssumeRole"}}"#;
        let role = |account: &str| format!("arn:aws:iam::{account}:role/r");
        let ask = |identity: &[&str], action: &str, account: &str| {
            let identity = Identity::Known(Arc::new(imagined_caller(USER, standing(identity, None)).expect("a user")));
            let policy = Some(Arc::new(ResourcePolicy::parse(trust, &role(account)).expect(trust)));
            let ground = Ground { owner: OwnerId(account.to_owned()), policy, restrict_public: false };
            simulate(&identity, &Context::default(), (action, &role(account)), &ground).decision
        };
        let (home, away) = ("111111111111", "222222222222");
        let assumes = r#"{"Effect":"Allow","Action":["sts:AssumeRole","iam:GetRole"],"Resource":"*"}"#;
        assert_eq!(ask(&[], "sts:AssumeRole", home), Decision::Allowed);
        assert_eq!(ask(&[], "sts:AssumeRole", away), Decision::ImplicitDeny);
        assert_eq!(ask(&[assumes], "sts:AssumeRole", away), Decision::Allowed);
        assert_eq!(ask(&[assumes], "iam:GetRole", home), Decision::Allowed);
        assert_eq!(ask(&[], "iam:GetRole", home), Decision::ImplicitDeny);
    }

    #[test]
    fn keys_that_are_asked_for_and_absent_are_told() {
        let conditional = r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${aws:username}/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/a":"b","S3:existingobjecttag/A":"b"},"Bool":{"aws:SecureTransport":"true"}}},
            {"Effect":"Allow","Action":"s3:PutObject","Resource":"*","Condition":{"Null":{"s3:x-amz-acl":"true"}}},
            {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::c/${aws:PrincipalTag/t}","Condition":{"Null":{"aws:Referer":"true"}}}"#;
        let of = |context: &[(&str, &str)]| ask(standing(&[conditional], None), context, None, "111111111111");
        let (decision, _, missing) = {
            let simulated = of(&[]);
            let (decision, matched, missing) = told(&simulated);
            (decision, matched, missing.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(decision, Decision::ImplicitDeny);
        let expected = ["s3:ExistingObjectTag/a", "aws:SecureTransport", "aws:Referer", "aws:PrincipalTag/t"];
        assert_eq!(missing, expected);
        let given = [("s3:ExistingObjectTag/a", "b"), ("aws:securetransport", "true"), ("aws:PrincipalTag/t", "x")];
        let simulated = of(&given);
        assert_eq!(told(&simulated), (Decision::Allowed, vec!["Identity(0) 1".to_owned()], vec![]));
    }

    #[test]
    fn callers_are_imagined_by_their_arns() {
        for arn in [USER, "arn:aws:sts::111111111111:assumed-role/r/s"] {
            assert_eq!(imagined_caller(arn, Standing::default()).map(|caller| caller.arn()).as_deref(), Some(arn));
        }
        let role = imagined_caller("arn:aws:iam::111111111111:role/p/r", Standing::default()).expect("a role");
        assert_eq!(role.arn(), "arn:aws:sts::111111111111:assumed-role/r/simulated");
        for bad in [
            "",
            "arn:aws:iam::111111111111:root",
            "arn:aws:iam::1:user/a",
            "arn:aws:iam::111111111111:user/",
            "arn:aws:iam::111111111111:user",
            "arn:aws:iam::111111111111:group/g",
            "arn:aws:iam:r:111111111111:user/a",
            "arn:aws:sts::111111111111:assumed-role/r",
            "arn:aws:sts::111111111111:assumed-role/r/",
        ] {
            assert!(imagined_caller(bad, Standing::default()).is_none(), "{bad}");
        }
        assert_eq!(bucket_of("arn:aws:s3:::b/k/x"), Some("b"));
        for none in ["*", "arn:aws:s3:::", "arn:aws:s3:::b*/x", "arn:aws:iam::1:user/x"] {
            assert_eq!(bucket_of(none), None, "{none}");
        }
        assert!(ResourcePolicy::parse("{}", "*").is_err());
        assert_eq!(account_of(USER), Some("111111111111"));
        assert_eq!((account_of("*"), account_of("arn:aws:s3:::b/k:1:2")), (None, None));
    }
}
