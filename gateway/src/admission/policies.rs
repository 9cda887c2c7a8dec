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
