//! The one decision about what an identity may do: for S3, STS, IAM, the admin API and jobs alike.
//!
//! Source: "Policy evaluation logic", AWS IAM User Guide; "How Amazon S3 authorizes a request", Amazon S3 User Guide.

use crate::identity::Identity;
use crate::policy::{Context, Policy};
use common::OwnerId;

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
pub fn authorize(question: &Question<'_>) -> Verdict {
    let Some(caller) = question.identity.caller() else {
        return Verdict::deny(By::Nothing);
    };
    if caller.admin {
        return Verdict::allow(By::Admin);
    }
    if question.action.starts_with("weir:") {
        return Verdict::deny(By::Nothing);
    }
    if caller.standing.unlimited && question.owner.is_none_or(|owner| *owner == caller.owner) {
        return Verdict::allow(By::Root);
    }
    Verdict::deny(By::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Caller, Kind, Standing};
    use common::AccessKeyId;
    use std::sync::Arc;

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
