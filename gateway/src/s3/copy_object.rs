//! CopyObject: of the current version or of one that the source names, metadata and tagging directives, storage class, lock,
//! the four copy-source conditions, conditions on the destination. Up to 5 GiB; larger objects are copied in parts.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use crate::access::{admitted, check_seen};
use crate::documents;
use crate::encryption::{Seal, Wanted, Whose};
use crate::error::{Error, Result};
use crate::limits;
use crate::route::Target;
use crate::s3::checksums::{self, set_checksum};
use crate::s3::conditions::{Conditions, Verdict, precondition};
use crate::s3::named::{Named, wanted_version, written_version};
use crate::s3::{Service, acl_request, attributes, dates, listing, lock, rename_object, tags};
use common::{Algorithm, ObjectKey, SecretKey};
use futures::StreamExt;
use http::HeaderMap;
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, Metadata};
use s3s::{S3Request, S3Response};
use storage::{
    Acl, Attributes, Cause, CopyRequest, Lock, Match, ObjectInfo, ObjectReader, Precondition, PutOutcome, PutRequest,
    Sealing, Update, UpdateOutcome, UpdateRequest, Versioning,
};

const CONDITIONS: &str = "x-amz-copy-source-";

pub async fn copy_object(
    service: &Service,
    request: S3Request<CopyObjectInput>,
) -> Result<S3Response<CopyObjectOutput>> {
    if rename_object::is_asked_for(&request.uri) {
        return Err(Error::InvalidRequest("A request is a rename or a copy".to_owned()));
    }
    let bucket = service.bucket(&request.input.bucket)?;
    let key = ObjectKey::parse(&request.input.key)?;
    attributes::refuse_unsupported(&request.headers)?;
    let source = Source::find(service, &request.input.copy_source)?;
    let writer = acl_request::writer(&request.extensions);
    let S3Request { input, headers, extensions, .. } = request;
    let directives = Directives {
        metadata: directive("metadata", input.metadata_directive.as_ref().map(|directive| directive.as_str()))?,
        tagging: directive("tagging", input.tagging_directive.as_ref().map(|directive| directive.as_str()))?,
    };
    let lock = lock::of_write(&headers, &bucket, service.parts.clock.now_ms())?;
    let acl = service.acl_of_write(&headers, &bucket, &writer)?;

    let info = source.info(service, &headers).await?;
    check_seen(&extensions, info.stamp)?;
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
    let brings_tags = directives.tagging == Directive::Copy && !info.attributes.tags.is_empty();
    if brings_tags && !admitted(&extensions).is_some_and(|admitted| admitted.moves_tags) {
        return Err(Error::AccessDenied);
    }
    let attributes = new_attributes(directives, &headers, input.metadata, (lock, acl), &info)?;
    let named = &source.0;
    let (source_key, _) = Wanted::of(named, &info).open(service, &headers, Whose::CopySource).await?;
    let (sealing, answer) = Seal::split(Seal::begin(service, &headers, &bucket, &key).await?);
    // Copying an older version onto its key makes it the current one.
    let to_itself = named.bucket.id == bucket.id && named.key == key && named.version.is_none();
    let encrypts = headers.keys().any(|name| name.as_str().starts_with("x-amz-server-side-encryption"));
    if to_itself && !directives.change(&headers) && !encrypts {
        return Err(Error::InvalidRequest(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
             metadata, storage class, website redirect location or encryption attributes."
                .to_owned(),
        ));
    }

    let has_lists = documents::ownership(&named.bucket).has_lists();
    let copy = CopyRequest {
        epoch: service.router.epoch(),
        source_bucket: named.bucket.id,
        source_key: named.key.clone(),
        source_version: named.version,
        // What was decided above was decided about this state of the source.
        source_stamp: (source.is_conditional(&headers) || attributes.is_some() || has_lists).then_some(info.stamp),
        bucket: bucket.id,
        key: key.clone(),
        attributes,
        precondition: precondition(&headers),
    };
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let only_metadata = to_itself
        && copy.attributes.as_ref().is_some_and(|new| new.acl == info.attributes.acl)
        && directives == (Directives { metadata: Directive::Replace, tagging: Directive::Copy })
        && documents::versioning(&bucket) == Versioning::Off;
    let outcome = match (&source_key, &sealing) {
        (None, None) if only_metadata => {
            let is_bound = source.is_conditional(&headers);
            change_metadata(service, &source, copy, &info, is_bound).await?
        }
        (None, None) => target.copy(copy).await.map_err(|error| source.missing(error))?,
        _ => copy_anew(service, &source, copy, &info, (source_key, sealing)).await?,
    };

    let (checksum, checksum_type) =
        checksums::of_object(&outcome.checksums, outcome.composite.as_ref(), usize::from(outcome.etag.parts));
    let mut result = CopyObjectResult {
        e_tag: Some(listing::etag(&outcome.etag)),
        last_modified: Some(dates::timestamp(outcome.modified_ms)),
        checksum_type,
        ..Default::default()
    };
    set_checksum!(result, checksum);
    let output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: named.answered(info.version),
        version_id: written_version(outcome.version),
        expiration: service.expiration_of_written(&bucket, &key).await,
        ..Default::default()
    };
    Ok(S3Response::with_headers(output, answer))
}

/// A copy of an object onto itself, which changes nothing but its metadata: its record is written anew, and its bytes stay
/// where they are.
async fn change_metadata(
    service: &Service,
    source: &Source,
    copy: CopyRequest,
    info: &ObjectInfo,
    is_bound: bool,
) -> Result<PutOutcome> {
    let Attributes { headers, user, .. } = copy.attributes.unwrap_or_else(|| info.attributes.clone());
    let request = UpdateRequest {
        epoch: copy.epoch,
        bucket: copy.bucket,
        key: copy.key,
        version: None,
        update: Update::Metadata { headers, user },
        precondition: one_object(&copy.precondition, is_bound, info)?,
        seen: None,
    };
    let Target::Here(target) = service.router.owner_of(request.bucket, &request.key);
    let outcome = target.update(request).await.map_err(|error| source.missing(error))?;
    let UpdateOutcome { stamp, version, etag, modified_ms } = outcome;
    let mut changed = PutOutcome {
        stamp,
        version,
        etag,
        modified_ms,
        checksums: Vec::new(),
        composite: None,
        size: info.size,
        envelope: None,
    };
    // Unconditionally it may have happened to an object that came in between.
    if etag == info.etag {
        changed.checksums.clone_from(&info.checksums);
        changed.composite.clone_from(&info.composite);
    }
    Ok(changed)
}

/// Source and destination are one object, and so are the conditions on them: those of the client hold of what was seen, and it
/// has to be this still when it is changed.
fn one_object(wanted: &Precondition, is_bound: bool, info: &ObjectInfo) -> Result<Precondition> {
    let Precondition { if_match, if_none_match, .. } = wanted.clone();
    let conditions = Conditions { if_match, if_none_match, ..Conditions::default() };
    match conditions.decide(&info.etag, info.modified_ms) {
        Verdict::Go => {}
        Verdict::NotModified => return Err(Error::PreconditionFailed("If-None-Match")),
        Verdict::Failed(condition) => return Err(Error::PreconditionFailed(condition)),
    }
    if !is_bound && conditions == Conditions::default() {
        return Ok(Precondition::default());
    }
    Ok(Precondition {
        if_match: Some(Match::ETags(vec![info.etag])),
        if_none_match: None,
        modified_s: i64::try_from(info.modified_ms / 1000).ok(),
        size: Some(info.size),
    })
}

/// A copy of which either side is encrypted: the bytes are read and written anew, under a key of the copy's own.
async fn copy_anew(
    service: &Service,
    source: &Source,
    copy: CopyRequest,
    info: &ObjectInfo,
    (source_key, sealing): (Option<SecretKey>, Option<Sealing>),
) -> Result<PutOutcome> {
    let reader = source.0.open(service).await?;
    // The key, the conditions and the size were those of this state of the source.
    if reader.info().stamp != info.stamp {
        return Err(storage::Error::Sealed.into());
    }
    let Attributes { headers, user, tags, .. } = info.attributes.clone();
    let kept = Attributes { headers, user, tags, ..Attributes::default() };
    let checksums = info.checksums.iter().chain(&info.composite);
    let put = PutRequest {
        epoch: copy.epoch,
        bucket: copy.bucket,
        key: copy.key.clone(),
        attributes: copy.attributes.unwrap_or(kept),
        precondition: copy.precondition,
        length: Some(info.size),
        algorithms: checksums.map(|checksum| checksum.algorithm).filter(|&of| of != Algorithm::Crc64Nvme).collect(),
    };
    let Target::Here(to) = service.router.owner_of(copy.bucket, &copy.key);
    let mut writer = to.put_sealed(put, sealing).await?.by(Cause::Copy);
    let mut bytes = match source_key {
        Some(key) => reader.with_key(key).stream(0..info.size),
        None => reader.stream(0..info.size),
    };
    while let Some(bytes) = bytes.next().await {
        writer.write(bytes?).await?;
    }
    Ok(writer.finish().await?.commit().await?)
}

/// The source of a copy. That the caller may read it was decided with the copy (`admission.rs`).
pub struct Source(pub Named);

impl Source {
    pub fn find(service: &Service, source: &CopySource) -> Result<Self> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(Error::NotImplemented("A copy source that is an access point".to_owned()));
        };
        let bucket = service.bucket(bucket)?;
        Ok(Self(Named { bucket, key: ObjectKey::parse(key)?, version: wanted_version(version_id.as_deref())? }))
    }

    /// The source as it is now, if the conditions on it hold.
    pub async fn info(&self, service: &Service, headers: &HeaderMap) -> Result<ObjectInfo> {
        let info = self.0.head(service).await.map_err(no_marker)?;
        Conditions::parse(headers, CONDITIONS).check_source(&info)?;
        Ok(info)
    }

    /// The same, for reading.
    pub async fn open(&self, service: &Service, headers: &HeaderMap) -> Result<ObjectReader> {
        let reader = self.0.open(service).await.map_err(no_marker)?;
        Conditions::parse(headers, CONDITIONS).check_source(reader.info())?;
        Ok(reader)
    }

    fn missing(&self, error: storage::Error) -> Error {
        no_marker(self.0.missing(error))
    }

    fn is_conditional(&self, headers: &HeaderMap) -> bool {
        self.0.version.is_some() || Conditions::parse(headers, CONDITIONS) != Conditions::default()
    }
}

/// A delete marker cannot be copied, and naming one is a mistake of another kind than naming nothing.
fn no_marker(error: Error) -> Error {
    match error {
        Error::Storage(storage::Error::IsDeleteMarker { was_named: true, .. }) => Error::InvalidRequest(
            "The source of a copy request may not specifically refer to a delete marker by version id.".to_owned(),
        ),
        other => other,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

fn directive(name: &str, text: Option<&str>) -> Result<Directive> {
    match text {
        None | Some("" | "COPY") => Ok(Directive::Copy),
        Some("REPLACE") => Ok(Directive::Replace),
        Some(_) => Err(Error::InvalidArgument(format!("Unknown {name} directive."))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Directives {
    metadata: Directive,
    tagging: Directive,
}

impl Directives {
    /// Whether a copy of an object onto itself would change it.
    fn change(self, headers: &HeaderMap) -> bool {
        self.metadata == Directive::Replace
            || self.tagging == Directive::Replace
            || [REDIRECT, attributes::STORAGE_CLASS].iter().any(|name| headers.contains_key(*name))
    }
}

const REDIRECT: &str = "x-amz-website-redirect-location";

/// The attributes of the copy; `None` where they are the source's, without its lock and list. A storage class is the copy's own also
/// when metadata is kept: without a header the copy is STANDARD. A redirect that is given takes the place of the source's.
fn new_attributes(
    directives: Directives,
    headers: &HeaderMap,
    metadata: Option<Metadata>,
    (lock, acl): (Lock, Option<Acl>),
    info: &ObjectInfo,
) -> Result<Option<Attributes>> {
    let given = attributes::parse(headers, metadata)?;
    let given_tags = tags::of_header(headers)?;
    let kept = Attributes { lock: Lock::default(), acl: None, ..info.attributes.clone() };
    let mut new = match directives.metadata {
        Directive::Replace => Attributes { tags: kept.tags.clone(), ..given },
        Directive::Copy => {
            let redirected = headers.contains_key(REDIRECT);
            let mut new = kept.clone();
            new.headers.retain(|(name, _)| name != attributes::STORAGE_CLASS && !(redirected && name == REDIRECT));
            let own = |name: &str| name == attributes::STORAGE_CLASS || name == REDIRECT;
            new.headers.extend(given.headers.into_iter().filter(|(name, _)| own(name)));
            new
        }
    };
    if directives.tagging == Directive::Replace {
        new.tags = given_tags;
    }
    new.lock = lock;
    new.acl = acl;
    Ok((new != kept).then_some(new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{ETag, Stamp, VersionId};
    use http::{HeaderName, HeaderValue};

    fn info() -> ObjectInfo {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        ObjectInfo {
            stamp: Stamp::ZERO,
            version: VersionId::Null,
            size: 1,
            etag: ETag::of_md5([0; 16]),
            modified_ms: 0,
            attributes: Attributes {
                headers: vec![pair("content-type", "a/b")],
                tags: vec![pair("t", "v")],
                lock: Lock { retention: None, legal_hold: true },
                ..Attributes::default()
            },
            checksums: Vec::new(),
            composite: None,
            part_sizes: Vec::new(),
            part_checksums: Vec::new(),
            envelope: None,
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    fn attributes(metadata: &str, tagging: &str, pairs: &[(&'static str, &'static str)]) -> Option<Attributes> {
        let directives = Directives {
            metadata: directive("metadata", Some(metadata)).expect("known"),
            tagging: directive("tagging", Some(tagging)).expect("known"),
        };
        new_attributes(directives, &headers(pairs), None, (Lock::default(), None), &info()).expect("valid")
    }

    #[test]
    fn directives_decide_whose_metadata_it_is() {
        assert_eq!(attributes("COPY", "COPY", &[("content-type", "x/y"), ("x-amz-tagging", "a=b")]), None);
        let replaced = attributes("REPLACE", "COPY", &[]).expect("changed");
        assert_eq!((replaced.headers.len(), replaced.tags.len()), (0, 1));
        let tagged = attributes("COPY", "REPLACE", &[("x-amz-tagging", "a=b&c=d")]).expect("changed");
        assert_eq!((tagged.headers.len(), tagged.tags.len()), (1, 2));
        let redirected = attributes("COPY", "COPY", &[(REDIRECT, "/z")]).expect("changed");
        assert_eq!(redirected.headers.len(), 2);
        let classed = attributes("COPY", "COPY", &[("x-amz-storage-class", "GLACIER")]).expect("changed");
        assert_eq!(attributes::storage_class(&classed), "GLACIER");
        assert!(directive("metadata", Some("MERGE")).is_err());
    }

    #[test]
    fn one_object_has_one_set_of_conditions() {
        let info = info();
        let wanted = |if_match, if_none_match| Precondition { if_match, if_none_match, ..Precondition::default() };
        let bound = |wanted, is_bound| one_object(&wanted, is_bound, &info).map_err(|error| error.answer().code);
        let this = Match::ETags(vec![info.etag]);
        assert_eq!(bound(wanted(None, None), false), Ok(Precondition::default()));
        assert_eq!(bound(wanted(None, None), true).expect("holds").if_match, Some(this.clone()));
        assert_eq!(bound(wanted(Some(Match::Any), None), false).expect("holds").size, Some(1));
        assert_eq!(bound(wanted(Some(Match::ETags(vec![])), None), false), Err("PreconditionFailed"));
        assert_eq!(bound(wanted(None, Some(this)), false), Err("PreconditionFailed"));
    }

    #[test]
    fn classes_and_locks_are_the_copys_own() {
        let mut source = info();
        source.attributes.headers.push((attributes::STORAGE_CLASS.to_owned(), "GLACIER".to_owned()));
        let directives = Directives { metadata: Directive::Copy, tagging: Directive::Copy };
        let copy = |lock| new_attributes(directives, &HeaderMap::new(), None, (lock, None), &source).expect("valid");
        let copied = copy(Lock::default()).expect("another class");
        assert_eq!(attributes::storage_class(&copied), "STANDARD");
        assert!(!copied.lock.legal_hold);
        assert!(copy(Lock { retention: None, legal_hold: true }).expect("a lock").lock.legal_hold);
    }

    #[test]
    fn a_copy_onto_itself_changes_something() {
        let change = |metadata, pairs: &[(&'static str, &'static str)]| {
            Directives { metadata, tagging: Directive::Copy }.change(&headers(pairs))
        };
        assert!(!change(Directive::Copy, &[("content-type", "a/b")]));
        assert!(change(Directive::Replace, &[]));
        assert!(change(Directive::Copy, &[("x-amz-storage-class", "STANDARD")]));
    }
}
