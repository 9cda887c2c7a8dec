//! A verdict for people and for programs.

use authn::{By, RESOURCE_POLICY, Verdict};

/// What decided, in one word.
pub fn kind(by: &By) -> &'static str {
    match by {
        By::Admin => "administrator",
        By::Root => "root",
        By::Statement { .. } => "statement",
        By::Acl => "acl",
        By::Nothing => "nothing",
        By::Beyond(_) => "limit",
        By::PublicAccessBlock => "public-access-block",
    }
}

pub fn policy(by: &By) -> Option<&str> {
    match by {
        By::Statement { policy, .. } | By::Beyond(policy) => Some(policy),
        _ => None,
    }
}

pub fn statement(by: &By) -> Option<&str> {
    match by {
        By::Statement { statement, .. } => Some(statement),
        _ => None,
    }
}

pub fn sentence(verdict: &Verdict) -> String {
    let done = if verdict.allowed { "allowed" } else { "denied" };
    match &verdict.by {
        By::Admin => format!("{done}: the key is an administrator's"),
        By::Root => format!("{done}: the key is of the root of the account that owns the bucket"),
        By::Statement { policy, statement } if policy == RESOURCE_POLICY => {
            format!("{done} by statement {statement} of the bucket's policy")
        }
        By::Statement { policy, statement } => format!("{done} by statement {statement} of the policy {policy}"),
        By::Acl => format!("{done} by an access control list"),
        By::Nothing => format!("{done}: no statement and no access control list allows it"),
        By::Beyond(policy) => format!("{done}: it is allowed, but not within the boundary or session policy {policy}"),
        By::PublicAccessBlock => {
            format!("{done}: the bucket's public access block keeps its public policy to its own account")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_what_decided() {
        let of = |policy: &str| By::Statement { policy: policy.into(), statement: "2".into() };
        let told = |allowed, by| sentence(&Verdict { allowed, by });
        assert_eq!(told(true, of("readers")), "allowed by statement 2 of the policy readers");
        assert_eq!(told(false, of(RESOURCE_POLICY)), "denied by statement 2 of the bucket's policy");
        assert_eq!(told(false, By::Nothing), "denied: no statement and no access control list allows it");
        assert_eq!((policy(&of("x")), statement(&of("x")), kind(&of("x"))), (Some("x"), Some("2"), "statement"));
        assert_eq!((policy(&By::Beyond("f".into())), statement(&By::Root)), (Some("f"), None));
    }
}
