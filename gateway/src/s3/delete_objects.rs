//! DeleteObjects: up to 1000 keys or versions, each with an outcome of its own. The document must come with a Content-MD5 or a
//! checksum, which is verified before anything is deleted.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>

use crate::access_log::{Deleted, DeletedKeys};
use crate::admission::Scene;
use crate::error::{Error, Result};
use crate::guard::BodyDigests;
use crate::limits;
use crate::route::Target;
use crate::s3::checksums::{Declared, DeclaredChecksum};
use crate::s3::delete_object::{refuse_mfa, wanted_size};
use crate::s3::named::wanted_version;
use crate::s3::{Service, dates, identity_of, lock};
use cluster::Bucket;
use common::{ETag, ObjectKey};
use futures::{StreamExt, stream};
use s3s::dto::{self, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ObjectIdentifier};
use s3s::{S3Error, S3Request, S3Response};
use storage::{DeleteOutcome, DeleteRequest, Match, Precondition};

/// Deletes in flight for one request: enough to fill the committer's batches.
const DELETES_AT_ONCE: usize = 32;

pub async fn delete_objects(
    service: &Service,
    request: S3Request<DeleteObjectsInput>,
) -> Result<S3Response<DeleteObjectsOutput>> {
    verify(&request)?;
    refuse_mfa(&request.headers)?;
    let S3Request { input, headers, uri, extensions, .. } = request;
    let identity = identity_of(&extensions)?;
    let name = input.bucket.clone();
    let scene = Scene::new("DeleteObjects", (Some(&name), None), &headers, &uri, &extensions, &identity);
    let wants_bypass = lock::wants_bypass(&headers);
    let bucket = service.bucket(&input.bucket)?;
    let quiet = input.delete.quiet.unwrap_or(false);
    let keys = input.delete.objects;
    if keys.is_empty() || keys.len() > limits::DELETE_KEYS_MAX {
        return Err(Error::MalformedXml("The document names no keys, or more than 1000"));
    }

    let outcomes: Vec<_> = stream::iter(keys)
        .map(|identifier| async {
            let (key, version) = (&identifier.key, identifier.version_id.as_deref());
            let has_etag = identifier.e_tag.as_ref().is_some_and(|etag| etag.value() != "*");
            // A refusal of one key is that key's outcome.
            let outcome = match service.admission.may_delete(&scene, key, version, has_etag).await {
                Ok(bypasses) => delete(service, &bucket, &identifier, wants_bypass && bypasses).await,
                Err(error) => Err(error),
            };
            (identifier, outcome)
        })
        .buffered(DELETES_AT_ONCE)
        .collect()
        .await;

    if let Some(log) = extensions.get::<DeletedKeys>() {
        let _ = log.0.set(outcomes.iter().map(|(identifier, outcome)| logged(identifier, outcome)).collect());
    }
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (ObjectIdentifier { key, version_id, .. }, outcome) in outcomes {
        match outcome {
            Ok(_) if quiet => {}
            Ok(outcome) => deleted.push(deletion(key, version_id, &outcome)),
            Err(error) => {
                let error = S3Error::from(error);
                errors.push(dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(key),
                    version_id,
                });
            }
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None }))
}

/// What the access log tells of one key.
fn logged(identifier: &ObjectIdentifier, outcome: &Result<DeleteOutcome>) -> Deleted {
    let refused = outcome.as_ref().err().map(Error::answer);
    Deleted {
        key: identifier.key.clone(),
        version_id: identifier.version_id.clone(),
        status: refused.map_or(http::StatusCode::NO_CONTENT, |answer| answer.status).as_u16(),
        error_code: refused.map(|answer| answer.code.to_owned()),
    }
}

/// The document against what its client declared of it.
fn verify(request: &S3Request<DeleteObjectsInput>) -> Result<()> {
    let declared = Declared::parse(&request.headers)?;
    if declared.is_empty() {
        return Err(Error::InvalidRequest("Missing required header for this request: Content-MD5".to_owned()));
    }
    if matches!(declared.checksum, Some(DeclaredChecksum::Trailer(_))) {
        return Err(Error::NotImplemented("DeleteObjects with a trailer".to_owned()));
    }
    let digests = request.extensions.get::<BodyDigests>().and_then(|digests| digests.0.get());
    declared.verify(digests.ok_or(Error::Internal("the document has no digests"))?, None)
}

async fn delete(
    service: &Service,
    bucket: &Bucket,
    identifier: &ObjectIdentifier,
    bypass_governance: bool,
) -> Result<DeleteOutcome> {
    let key = ObjectKey::parse(&identifier.key)?;
    let version = wanted_version(identifier.version_id.as_deref())?;
    let request = DeleteRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        version,
        seen: None,
        precondition: Precondition {
            if_match: identifier.e_tag.as_ref().map(condition),
            if_none_match: None,
            modified_s: identifier.last_modified_time.as_ref().map(dates::seconds),
            size: identifier.size.map(wanted_size).transpose()?,
        },
        bypass_governance,
    };
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    Ok(target.delete(request).await?)
}

/// The version that a request names is told apart from the marker that was made, or that was that version.
fn deletion(key: String, version_id: Option<String>, outcome: &DeleteOutcome) -> DeletedObject {
    let marker = outcome.version.filter(|_| outcome.is_marker).map(|version| version.to_string());
    DeletedObject {
        key: Some(key),
        version_id,
        delete_marker: outcome.is_marker.then_some(true),
        delete_marker_version_id: marker,
    }
}

/// An ETag that no object here can have matches none.
fn condition(etag: &dto::ETag) -> Match {
    match etag.value() {
        "*" => Match::Any,
        text => Match::ETags(ETag::parse(text).into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{Stamp, VersionId};

    #[test]
    fn markers_are_told_apart() {
        let id = VersionId::Id(Stamp(1), 2);
        let outcome = |version, is_marker| DeleteOutcome { stamp: Some(Stamp(3)), version, is_marker };
        let made = deletion("k".to_owned(), None, &outcome(Some(id), true));
        assert_eq!((made.version_id, made.delete_marker), (None, Some(true)));
        assert_eq!(made.delete_marker_version_id, Some(id.to_string()));
        let ended = deletion("k".to_owned(), Some(id.to_string()), &outcome(Some(id), true));
        assert_eq!(
            (ended.version_id.as_ref(), ended.delete_marker_version_id),
            (Some(&id.to_string()), ended.version_id.clone())
        );
        let version = deletion("k".to_owned(), Some(id.to_string()), &outcome(Some(id), false));
        assert_eq!(
            (version.version_id, version.delete_marker, version.delete_marker_version_id),
            (Some(id.to_string()), None, None)
        );
        let plain = deletion("k".to_owned(), None, &outcome(None, false));
        assert_eq!((plain.version_id, plain.delete_marker), (None, None));
    }
}
