//! CopyObject: metadata directive, the four copy-source conditions, conditions on the destination. Up to 5 GiB; larger
//! objects are copied in parts.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use crate::access::{self, expected_owner};
use crate::error::{Error, Result};
use crate::limits;
use crate::route::Target;
use crate::s3::checksums::{self, set_checksum};
use crate::s3::conditions::{Conditions, precondition};
use crate::s3::get_object::{check_version, missing, wanted_version};
use crate::s3::{Service, attributes, dates, listing};
use cluster::Bucket;
use common::{ObjectKey, VersionId};
use http::HeaderMap;
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, Metadata};
use s3s::{S3Request, S3Response};
use std::sync::Arc;
use storage::{Attributes, CopyRequest, ObjectInfo};

const CONDITIONS: &str = "x-amz-copy-source-";

pub async fn copy_object(
    service: &Service,
    request: S3Request<CopyObjectInput>,
) -> Result<S3Response<CopyObjectOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    let key = ObjectKey::parse(&request.input.key)?;
    attributes::refuse_unsupported(&request.headers)?;
    let source = Source::find(service, &request, &request.input.copy_source)?;
    let S3Request { input, headers, .. } = request;
    let directive = Directive::parse(input.metadata_directive.as_ref().map(|directive| directive.as_str()))?;

    let info = source.info(service, &headers).await?;
    if info.size > limits::COPY_BYTES_MAX {
        let limit = limits::COPY_BYTES_MAX;
        return Err(Error::InvalidRequest(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {limit}"
        )));
    }
    if let Some(asked) = &input.checksum_algorithm
        && !info.checksums.iter().any(|checksum| checksum.algorithm.name() == asked.as_str())
    {
        return Err(Error::NotImplemented("A copy with another checksum algorithm than its source's".to_owned()));
    }
    let attributes = new_attributes(directive, &headers, input.metadata, &info)?;
    let to_itself = source.bucket.id == bucket.id && source.key == key;
    if to_itself && attributes.is_none() {
        return Err(Error::InvalidRequest(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
             metadata, storage class, website redirect location or encryption attributes."
                .to_owned(),
        ));
    }

    let copy = CopyRequest {
        epoch: service.router.epoch(),
        source_bucket: source.bucket.id,
        source_key: source.key.clone(),
        source_version: source.version,
        // What was decided above was decided about this state of the source.
        source_stamp: (source.is_conditional(&headers) || attributes.is_some()).then_some(info.stamp),
        bucket: bucket.id,
        key: key.clone(),
        attributes,
        precondition: precondition(&headers),
    };
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let outcome = target.copy(copy).await?;

    let (checksum, checksum_type) =
        checksums::of_object(&outcome.checksums, outcome.composite.as_ref(), usize::from(outcome.etag.parts));
    let mut result = CopyObjectResult {
        e_tag: Some(listing::etag(&outcome.etag)),
        last_modified: Some(dates::timestamp(outcome.modified_ms)),
        checksum_type,
        ..Default::default()
    };
    set_checksum!(result, checksum);
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source.version.map(|version| version.to_string()),
        ..Default::default()
    }))
}

/// The source of a copy, which the caller may read.
pub struct Source {
    pub bucket: Arc<Bucket>,
    pub key: ObjectKey,
    pub version: Option<VersionId>,
}

impl Source {
    pub fn find<T>(service: &Service, request: &S3Request<T>, source: &CopySource) -> Result<Self> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(Error::NotImplemented("A copy source that is an access point".to_owned()));
        };
        let bucket = service.bucket(bucket)?;
        let identity = service.identity(request)?;
        let expected = expected_owner(&request.headers, "x-amz-source-expected-bucket-owner");
        access::check(&identity, &bucket, expected.as_deref())?;
        Ok(Self { bucket, key: ObjectKey::parse(key)?, version: wanted_version(version_id.as_deref())? })
    }

    /// The source as it is now, if the conditions on it hold.
    pub async fn info(&self, service: &Service, headers: &HeaderMap) -> Result<ObjectInfo> {
        let Target::Here(target) = service.router.owner_of(self.bucket.id, &self.key);
        let info =
            target.head(self.bucket.id, &self.key, self.version).await.map_err(|error| missing(error, self.version))?;
        self.check(&info, headers)?;
        Ok(info)
    }

    pub fn check(&self, info: &ObjectInfo, headers: &HeaderMap) -> Result<()> {
        check_version(self.version, info)?;
        Conditions::parse(headers, CONDITIONS).check_source(info)
    }

    fn is_conditional(&self, headers: &HeaderMap) -> bool {
        self.version.is_some() || Conditions::parse(headers, CONDITIONS) != Conditions::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

impl Directive {
    fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None | Some("" | "COPY") => Ok(Self::Copy),
            Some("REPLACE") => Ok(Self::Replace),
            Some(_) => Err(Error::InvalidArgument("Unknown metadata directive.".to_owned())),
        }
    }
}

/// `None` keeps the source's attributes. A redirect location is set by the request even when metadata is kept.
fn new_attributes(
    directive: Directive,
    headers: &HeaderMap,
    metadata: Option<Metadata>,
    info: &ObjectInfo,
) -> Result<Option<Attributes>> {
    const REDIRECT: &str = "x-amz-website-redirect-location";
    let given = attributes::parse(headers, metadata)?;
    if directive == Directive::Replace {
        return Ok(Some(given));
    }
    Ok(given.headers.into_iter().find(|(name, _)| name == REDIRECT).map(|redirect| {
        let mut kept = info.attributes.clone();
        kept.headers.retain(|(name, _)| name != REDIRECT);
        kept.headers.push(redirect);
        kept
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{ETag, Stamp};
    use http::{HeaderName, HeaderValue};

    fn info() -> ObjectInfo {
        ObjectInfo {
            stamp: Stamp::ZERO,
            version: VersionId::Null,
            size: 1,
            etag: ETag::of_md5([0; 16]),
            modified_ms: 0,
            attributes: Attributes { headers: vec![("content-type".into(), "a/b".into())], ..Attributes::default() },
            checksums: Vec::new(),
            composite: None,
            part_sizes: Vec::new(),
            part_checksums: Vec::new(),
        }
    }

    fn attributes(directive: &str, pairs: &[(&'static str, &'static str)]) -> Option<Attributes> {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let directive = Directive::parse(Some(directive)).expect("known");
        new_attributes(directive, &headers, None, &info()).expect("valid")
    }

    #[test]
    fn directives_decide_whose_metadata_it_is() {
        assert_eq!(attributes("COPY", &[("content-type", "x/y")]), None);
        assert_eq!(attributes("REPLACE", &[]), Some(Attributes::default()));
        let redirected = attributes("COPY", &[("x-amz-website-redirect-location", "/z")]).expect("changed");
        assert_eq!(redirected.headers.len(), 2);
        assert!(Directive::parse(Some("MERGE")).is_err());
    }
}
