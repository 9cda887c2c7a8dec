//! RenameObject, as directory buckets have it and here every bucket that never kept versions: one step for readers and for
//! crashes, whatever the object's size. It comes as `PUT key?renameObject`, which s3s takes for a PutObject.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_RenameObject.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::guard::query_value;
use crate::limits::{RENAME_TOKEN_BYTES_MAX, RENAME_TOKENS_MAX};
use crate::route::Target;
use crate::s3::Service;
use crate::s3::conditions::{Conditions, Verdict};
use crate::s3::named::Named;
use cluster::Bucket;
use common::{Algorithm, BucketId, Checksum, ObjectKey};
use http::{HeaderMap, Uri, header};
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use storage::{Match, Precondition, RenameRequest, Versioning};

const SOURCE: &str = "x-amz-rename-source";
const SOURCE_CONDITIONS: &str = "x-amz-rename-source-";
const TOKEN: &str = "x-amz-client-token";

pub fn is_asked_for(uri: &Uri) -> bool {
    query_value(uri.query().unwrap_or(""), "renameObject").is_some()
}

pub async fn rename_object(
    service: &Service,
    request: S3Request<PutObjectInput>,
) -> Result<S3Response<PutObjectOutput>> {
    let headers = &request.headers;
    if request.input.content_length.unwrap_or(0) > 0 || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Error::InvalidRequest("A rename has no body".to_owned()));
    }
    let bucket = service.bucket(&request.input.bucket)?;
    let key = ObjectKey::parse(&request.input.key)?;
    let source = source_of(headers, &bucket)?;
    if source == key {
        return Err(Error::InvalidRequest("The object has this name already".to_owned()));
    }
    if documents::versioning(&bucket) != Versioning::Off {
        return Err(Error::InvalidRequest(
            "Objects of a bucket that keeps or kept versions cannot be renamed: copy and delete them".to_owned(),
        ));
    }
    let token = token_of(headers)?.map(|token| Done::new(bucket.id, token, &source, &key));
    if token.as_ref().map_or(Ok(false), |token| service.renames.knows(token))? {
        return Ok(S3Response::new(PutObjectOutput::default()));
    }

    let named = Named { bucket: Arc::clone(&bucket), key: source.clone(), version: None };
    let info = named.head(service).await?;
    let conditions = Conditions::parse(headers, SOURCE_CONDITIONS);
    check(&conditions, conditions.decide(&info.etag, info.modified_ms))?;
    let destination = Named { bucket: Arc::clone(&bucket), key: key.clone(), version: None };
    let rename = RenameRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        source,
        source_stamp: (conditions != Conditions::default()).then_some(info.stamp),
        key: key.clone(),
        precondition: precondition(service, &destination, headers).await?,
    };
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    target.rename(rename).await.map_err(|error| match error {
        // The bytes are in files that belong to their keys.
        storage::Error::Sealed => Error::NotImplemented("A rename of an encrypted object".to_owned()),
        other => other.into(),
    })?;
    if let Some(token) = token {
        service.renames.remember(token);
    }
    Ok(S3Response::new(PutObjectOutput::default()))
}

/// The key that the request renames, where it names one of this bucket.
pub fn source_key(headers: &HeaderMap, bucket: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(headers.get(SOURCE)?.to_str().ok()?).decode_utf8().ok()?;
    let (name, key) = decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/')?;
    (name == bucket).then(|| key.to_owned())
}

/// `[/]bucket/key`, percent-encoded: of this bucket, as a name does not leave it.
fn source_of(headers: &HeaderMap, bucket: &Bucket) -> Result<ObjectKey> {
    let wrong =
        || Error::InvalidArgument("x-amz-rename-source must be the bucket's name, a slash and a key".to_owned());
    let text = headers.get(SOURCE).and_then(|value| value.to_str().ok()).ok_or_else(wrong)?;
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| wrong())?;
    let (name, key) = decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/').ok_or_else(wrong)?;
    if name != bucket.name.as_str() {
        return Err(Error::InvalidRequest("An object is renamed inside of its bucket".to_owned()));
    }
    Ok(ObjectKey::parse(key)?)
}

fn check(conditions: &Conditions, verdict: Verdict) -> Result<()> {
    match verdict {
        Verdict::Go => Ok(()),
        Verdict::Failed(condition) => Err(Error::PreconditionFailed(condition)),
        Verdict::NotModified if conditions.if_none_match.is_some() => Err(Error::PreconditionFailed("If-None-Match")),
        Verdict::NotModified => Err(Error::PreconditionFailed("If-Modified-Since")),
    }
}

/// The conditions on what the new key has. ETags are decided with the rename. Dates are decided here, and then the rename is
/// made to depend on the object that they were decided about.
async fn precondition(service: &Service, destination: &Named, headers: &HeaderMap) -> Result<Precondition> {
    let conditions = Conditions::parse(headers, "");
    let has_dates = conditions.if_modified_since.is_some() || conditions.if_unmodified_since.is_some();
    if !has_dates {
        let Conditions { if_match, if_none_match, .. } = conditions;
        return Ok(Precondition { if_match, if_none_match, ..Precondition::default() });
    }
    match destination.head(service).await {
        Ok(info) => {
            check(&conditions, conditions.decide(&info.etag, info.modified_ms))?;
            Ok(Precondition {
                if_match: Some(Match::ETags(vec![info.etag])),
                if_none_match: None,
                modified_s: i64::try_from(info.modified_ms / 1000).ok(),
                size: Some(info.size),
            })
        }
        Err(Error::Storage(storage::Error::NoSuchKey))
            if conditions.if_match.is_none() && conditions.if_modified_since.is_none() =>
        {
            Ok(Precondition { if_none_match: Some(Match::Any), ..Precondition::default() })
        }
        Err(Error::Storage(storage::Error::NoSuchKey)) => Err(Error::PreconditionFailed("If-Modified-Since")),
        Err(error) => Err(error),
    }
}

fn token_of(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(TOKEN) else { return Ok(None) };
    let token = value.to_str().ok().filter(|token| (1..=RENAME_TOKEN_BYTES_MAX).contains(&token.len()));
    match token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(token) => Ok(Some(token)),
        None => Err(Error::InvalidArgument("x-amz-client-token has 1 to 64 characters of ASCII".to_owned())),
    }
}

/// A rename that was asked for with a token.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    bucket: BucketId,
    token: String,
    what: Checksum,
}

impl Done {
    fn new(bucket: BucketId, token: &str, source: &ObjectKey, key: &ObjectKey) -> Self {
        // No key has a NUL.
        let what = format!("{}\0{}", source.as_str(), key.as_str());
        Self { bucket, token: token.to_owned(), what: Checksum::of(Algorithm::Sha256, what.as_bytes()) }
    }
}

/// The last renames with a token, so that a client whose answer was lost may ask again. Not kept over a restart.
#[derive(Debug, Default)]
pub struct RenameTokens(Mutex<VecDeque<Done>>);

impl RenameTokens {
    fn knows(&self, asked: &Done) -> Result<bool> {
        let done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match done.iter().find(|done| done.bucket == asked.bucket && done.token == asked.token) {
            None => Ok(false),
            Some(done) if done == asked => Ok(true),
            Some(_) => Err(Error::IdempotencyParameterMismatch),
        }
    }

    fn remember(&self, now: Done) {
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if done.len() >= RENAME_TOKENS_MAX {
            done.pop_front();
        }
        done.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::parse(text).expect("a key")
    }

    #[test]
    fn renames_are_told_by_their_query() {
        for (uri, asked) in
            [("/b/k?renameObject", true), ("/b/k?x-id=a&renameObject=", true), ("/b/renameObject", false)]
        {
            assert_eq!(is_asked_for(&uri.parse().expect("a URI")), asked, "{uri}");
        }
    }

    #[test]
    fn a_token_stands_for_one_rename() {
        let renames = RenameTokens::default();
        let done = |token: &str, source, to| Done::new(BucketId(1), token, &key(source), &key(to));
        assert!(!renames.knows(&done("t", "a", "b")).expect("new"));
        renames.remember(done("t", "a", "b"));
        assert!(renames.knows(&done("t", "a", "b")).expect("the same"));
        assert_eq!(
            renames.knows(&done("t", "a", "c")).expect_err("another").answer().code,
            "IdempotencyParameterMismatch"
        );
        for index in 0..RENAME_TOKENS_MAX {
            renames.remember(done(&index.to_string(), "a", "b"));
        }
        assert!(!renames.knows(&done("t", "a", "c")).expect("forgotten"));
    }

    #[test]
    fn tokens_are_short_and_plain() {
        let token = |text: &'static str| {
            let headers: HeaderMap =
                [(http::HeaderName::from_static(TOKEN), HeaderValue::from_static(text))].into_iter().collect();
            token_of(&headers).map(|token| token.map(str::to_owned)).map_err(|error| error.answer().code)
        };
        assert_eq!(token("abc"), Ok(Some("abc".to_owned())));
        assert_eq!(token(""), Err("InvalidArgument"));
        assert_eq!(token("a b"), Err("InvalidArgument"));
        assert_eq!(token_of(&HeaderMap::new()).expect("none"), None);
    }
}
