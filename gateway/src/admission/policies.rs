//! The policies of buckets, each parsed once for every version of its bucket.

use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use authn::policy::{Policy, Purpose};
use cluster::Bucket;
use common::BucketId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A bucket's policy, and what is asked of it time and again.
#[derive(Debug)]
pub struct BucketPolicy {
    pub policy: Policy,
    pub is_public: bool,
}

impl BucketPolicy {
    pub fn parse(text: &str, bucket: &Bucket) -> Result<Self> {
        let parsed = Policy::parse(text, Purpose::Bucket(bucket.name.as_str()));
        let policy = parsed.map_err(|error| Error::MalformedPolicy(error.to_string()))?;
        Ok(Self { is_public: policy.is_public(), policy })
    }
}

#[derive(Debug, Default)]
pub struct Policies {
    /// With the version of the bucket that it is of.
    parsed: Mutex<HashMap<BucketId, (u64, Arc<BucketPolicy>)>>,
}

impl Policies {
    /// A bucket without one is not looked up.
    pub fn of(&self, bucket: &Bucket) -> Result<Option<Arc<BucketPolicy>>> {
        let Some(text) = bucket.documents.get(documents::POLICY) else { return Ok(None) };
        if let Some((version, policy)) = self.parsed.lock().unwrap_or_else(PoisonError::into_inner).get(&bucket.id)
            && *version == bucket.version
        {
            return Ok(Some(policy.clone()));
        }
        // It was parsed before it was kept. What nobody understands any more lets nobody in.
        let parsed = std::str::from_utf8(text).ok().and_then(|text| BucketPolicy::parse(text, bucket).ok());
        let Some(parsed) = parsed.map(Arc::new) else {
            tracing::error!(bucket = %bucket.name, "the bucket's policy in the control store cannot be read");
            return Err(Error::Internal("the bucket's policy cannot be read"));
        };
        let mut kept = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= limits::BUCKET_POLICIES_CACHED_MAX && !kept.contains_key(&bucket.id) {
            // Any: with so many in use, one more to parse makes no difference.
            let any = kept.keys().next().copied();
            any.and_then(|any| kept.remove(&any));
        }
        kept.insert(bucket.id, (bucket.version, parsed.clone()));
        Ok(Some(parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::BucketState;
    use common::{BucketName, OwnerId};

    fn bucket(id: u64, version: u64, policy: Option<&str>) -> Bucket {
        Bucket {
            id: BucketId(id),
            name: BucketName::parse("bucket").expect("a name"),
            owner: OwnerId("ann".into()),
            region: "us-east-1".into(),
            created_ms: 1,
            state: BucketState::Active,
            version,
            documents: policy.map(|text| (documents::POLICY.to_owned(), text.into())).into_iter().collect(),
        }
    }

    fn policy(principal: &str) -> String {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},"Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::bucket/*"}}]}}"#
        )
    }

    #[test]
    fn each_version_is_parsed_once() {
        let policies = Policies::default();
        assert!(policies.of(&bucket(1, 1, None)).expect("none").is_none());
        let of = |version, text: &str| policies.of(&bucket(1, version, Some(text))).expect("good").expect("there");
        let open = of(1, &policy(r#""*""#));
        assert!(open.is_public && Arc::ptr_eq(&open, &of(1, &policy(r#""*""#))));
        let shut = of(2, &policy(r#"{"AWS":"123456789012"}"#));
        assert!(!shut.is_public && Arc::ptr_eq(&shut, &of(2, &policy(r#""*""#))));
        let other = policies.of(&bucket(2, 2, Some(&policy(r#""*""#)))).expect("good").expect("there");
        assert!(other.is_public);
    }

    #[test]
    fn what_cannot_be_read_lets_nobody_in() {
        let policies = Policies::default();
        assert!(policies.of(&bucket(1, 1, Some("{}"))).is_err());
    }

    #[test]
    fn no_more_are_kept_than_the_limit() {
        let policies = Policies::default();
        let text = policy(r#""*""#);
        for id in 0..limits::BUCKET_POLICIES_CACHED_MAX as u64 + 3 {
            policies.of(&bucket(id, 1, Some(&text))).expect("good");
        }
        assert_eq!(policies.parsed.lock().expect("not poisoned").len(), limits::BUCKET_POLICIES_CACHED_MAX);
    }
}
