//! `x-amz-expiration`, where a bucket's lifecycle rules end an object: beside it when it is written and when it is read.

use crate::lifecycle::header;
use crate::route::Target;
use crate::s3::Service;
use crate::s3::named::Named;
use cluster::Bucket;
use common::ObjectKey;
use storage::ObjectInfo;

impl Service {
    /// Of an object that was just written. Without its tags the rules decide nothing, so it is looked at once more.
    pub async fn expiration_of_written(&self, bucket: &Bucket, key: &ObjectKey) -> Option<String> {
        let rules = self.lifecycles.of(bucket)?;
        let Target::Here(target) = self.router.owner_of(bucket.id, key);
        let info = target.head(bucket.id, key, None).await.ok()?;
        header::value(&rules, key.as_str(), info.size, &info.attributes.tags, info.modified_ms)
    }

    /// Of an object that is read: the current one, as rules of expiration are about no other.
    pub fn expiration_of_read(&self, named: &Named, info: &ObjectInfo) -> Option<String> {
        let rules = self.lifecycles.of(&named.bucket).filter(|_| named.version.is_none())?;
        header::value(&rules, named.key.as_str(), info.size, &info.attributes.tags, info.modified_ms)
    }
}
