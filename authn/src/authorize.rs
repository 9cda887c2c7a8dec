//! The one decision about what an identity may do. By ownership until there are policies.

use crate::identity::Identity;
use common::OwnerId;

/// What somebody wants to do, as far as ownership can tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// List the buckets of one's own.
    ListBuckets,
    CreateBucket,
    /// Anything else with a bucket, its configuration or its objects.
    UseBucket,
    /// The admin API.
    Administer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    Allow,
    Deny,
}

/// Administrators may do everything, owners use their own buckets, all others nothing. `bucket_owner` is whose bucket it
/// is about, if it is about one: without it, `UseBucket` is denied.
pub fn authorize(identity: &Identity, action: Action, bucket_owner: Option<&OwnerId>) -> Decision {
    let Identity::Key { owner, admin, .. } = identity else {
        return Decision::Deny;
    };
    let allowed = match action {
        Action::ListBuckets | Action::CreateBucket => true,
        Action::UseBucket => *admin || bucket_owner == Some(owner),
        Action::Administer => *admin,
    };
    if allowed { Decision::Allow } else { Decision::Deny }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::AccessKeyId;

    #[test]
    fn ownership_decides() {
        let key = |owner: &str, admin| Identity::Key {
            access_key: AccessKeyId("WK".into()),
            owner: OwnerId(owner.into()),
            admin,
        };
        let (root, ann, bob) = (key("root", true), key("ann", false), key("bob", false));
        let everything = [Action::ListBuckets, Action::CreateBucket, Action::UseBucket, Action::Administer];
        let allowed = |identity: &Identity, owner: Option<&str>| {
            let owner = owner.map(|owner| OwnerId(owner.into()));
            everything.map(|action| authorize(identity, action, owner.as_ref()) == Decision::Allow)
        };

        assert_eq!(allowed(&root, Some("ann")), [true, true, true, true]);
        assert_eq!(allowed(&ann, Some("ann")), [true, true, true, false]);
        assert_eq!(allowed(&bob, Some("ann")), [true, true, false, false]);
        assert_eq!(allowed(&ann, None), [true, true, false, false]);
        assert_eq!(allowed(&Identity::Anonymous, Some("ann")), [false; 4]);
        assert_eq!((root.is_admin(), ann.is_admin(), Identity::Anonymous.is_admin()), (true, false, false));
        assert_eq!((ann.owner(), Identity::Anonymous.owner()), (Some(&OwnerId("ann".into())), None));
    }
}
