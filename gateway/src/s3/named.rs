//! An object as a request names it, by bucket, key and perhaps a version: what every operation on one object begins with.

use crate::access::{self, check_seen};
use crate::documents;
use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::Service;
use cluster::Bucket;
use common::{ObjectKey, Stamp, VersionId};
use http::Extensions;
use std::sync::Arc;
use storage::{ObjectInfo, ObjectReader, Precondition, Update, UpdateOutcome, UpdateRequest, Versioning};

pub struct Named {
    pub bucket: Arc<Bucket>,
    pub key: ObjectKey,
    /// `None` is the current version.
    pub version: Option<VersionId>,
}

impl Named {
    pub fn parse(service: &Service, bucket: &str, key: &str, version: Option<&str>) -> Result<Self> {
        let bucket = service.bucket(bucket)?;
        Ok(Self { bucket, key: ObjectKey::parse(key)?, version: wanted_version(version)? })
    }

    /// What is known of the version, if there is one and it is no delete marker.
    pub async fn head(&self, service: &Service) -> Result<ObjectInfo> {
        let Target::Here(target) = service.router.owner_of(self.bucket.id, &self.key);
        target.head(self.bucket.id, &self.key, self.version).await.map_err(|error| self.missing(error))
    }

    /// The same version, for reading.
    pub async fn open(&self, service: &Service) -> Result<ObjectReader> {
        let Target::Here(target) = service.router.owner_of(self.bucket.id, &self.key);
        target.get(self.bucket.id, &self.key, self.version).await.map_err(|error| self.missing(error))
    }

    /// What is known of the version that was decided about.
    pub async fn head_seen(&self, service: &Service, extensions: &Extensions) -> Result<ObjectInfo> {
        let info = self.head(service).await?;
        check_seen(extensions, info.stamp)?;
        Ok(info)
    }

    /// Changes the version that was decided about.
    pub async fn update_seen(
        &self,
        service: &Service,
        extensions: &Extensions,
        update: Update,
    ) -> Result<UpdateOutcome> {
        let seen = access::seen(extensions);
        match self.update(service, update, seen).await {
            Err(Error::Storage(storage::Error::ObjectChanged)) if seen.is_some() => Err(storage::Error::Busy.into()),
            updated => updated,
        }
    }

    /// Changes what is kept beside the version's bytes, of this record alone if one is named.
    pub async fn update(&self, service: &Service, update: Update, seen: Option<Stamp>) -> Result<UpdateOutcome> {
        let request = UpdateRequest {
            epoch: service.router.epoch(),
            bucket: self.bucket.id,
            key: self.key.clone(),
            version: self.version,
            update,
            precondition: Precondition::default(),
            seen,
        };
        let Target::Here(target) = service.router.owner_of(self.bucket.id, &self.key);
        target.update(request).await.map_err(|error| self.missing(error))
    }

    /// A missing key has no version either.
    pub fn missing(&self, error: storage::Error) -> Error {
        match error {
            storage::Error::NoSuchKey if self.version.is_some() => Error::NoSuchVersion,
            other => other.into(),
        }
    }

    /// The version as the answer names it.
    pub fn answered(&self, version: VersionId) -> Option<String> {
        answered_version(&self.bucket, self.version, version)
    }
}

/// The version that a request names, if it names one.
pub fn wanted_version(version: Option<&str>) -> Result<Option<VersionId>> {
    match version {
        None => Ok(None),
        Some("") => Err(Error::InvalidArgument("Version id cannot be the empty string".to_owned())),
        Some(text) => match VersionId::parse(text) {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(Error::InvalidArgument("Invalid version id specified".to_owned())),
        },
    }
}

/// The version that a write made, as its answer names it. S3 does not speak of the null version here, also where versioning is
/// suspended.
pub fn written_version(version: VersionId) -> Option<String> {
    (version != VersionId::Null).then(|| version.to_string())
}

/// The version that was read or changed, as the answer names it: not at all in a bucket that never kept versions, unless the
/// request named it.
fn answered_version(bucket: &Bucket, asked: Option<VersionId>, version: VersionId) -> Option<String> {
    let keeps = documents::versioning(bucket) != Versioning::Off;
    (keeps || asked.is_some()).then(|| version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed() {
        assert_eq!(wanted_version(None).expect("none"), None);
        assert_eq!(wanted_version(Some("null")).expect("null"), Some(VersionId::Null));
        let id = VersionId::Id(Stamp(7), 9);
        assert_eq!(wanted_version(Some(&id.to_string())).expect("an id"), Some(id));
        for (bad, words) in [("", "empty string"), ("Null", "Invalid version id"), ("x", "Invalid version id")] {
            let error = wanted_version(Some(bad)).expect_err(bad);
            assert_eq!(error.answer().code, "InvalidArgument");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
