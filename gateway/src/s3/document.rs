//! A bucket's configuration documents: taken strictly, kept in the control store, given back. What is kept is the XML that s3s
//! writes of what it understood, once that was found to say the same as what was sent (`strict.rs`); `versioning` alone
//! is kept as one word (`crate::documents`).

use crate::Parts;
use crate::documents;
use crate::error::{Error, Result};
use crate::guard::{BodyDigests, DocumentBytes};
use crate::s3::checksums::{Declared, DeclaredChecksum};
use crate::s3::create_bucket::view;
use crate::s3::{Service, strict};
use cluster::{Applied, Bucket, Command};
use s3s::S3Request;
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a change is decided anew because the bucket was changed in between.
const DECISIONS_MAX: usize = 16;

/// The request's document as it will be kept: its checksums hold, and it says what `parsed` says.
pub fn received<I>(request: &S3Request<I>, parsed: &impl Serialize) -> Result<Vec<u8>> {
    verify(request)?;
    let sent = request.extensions.get::<DocumentBytes>().and_then(|bytes| bytes.0.get());
    let written = write(parsed)?;
    strict::check(sent.ok_or(Error::Internal("the document has no bytes"))?, &written)?;
    Ok(written)
}

/// The document against what its client declared of it.
pub fn verify<I>(request: &S3Request<I>) -> Result<()> {
    let declared = Declared::parse(&request.headers)?;
    if matches!(declared.checksum, Some(DeclaredChecksum::Trailer(_))) {
        return Err(Error::NotImplemented("A document with a trailer".to_owned()));
    }
    let digests = request.extensions.get::<BodyDigests>().and_then(|digests| digests.0.get());
    declared.verify(digests.ok_or(Error::Internal("the document has no digests"))?, None)
}

pub fn write(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    document
        .serialize(&mut Serializer::new(&mut bytes))
        .map_err(|_| Error::Internal("a document cannot be written"))?;
    Ok(bytes)
}

/// A bucket's document, if it has it.
pub fn read<T: for<'xml> Deserialize<'xml>>(bucket: &Bucket, name: &str) -> Result<Option<T>> {
    bucket.documents.get(name).map(|content| parse(content)).transpose()
}

/// A document that was kept.
pub fn parse<T: for<'xml> Deserialize<'xml>>(content: &[u8]) -> Result<T> {
    let mut deserializer = Deserializer::new(content);
    T::deserialize(&mut deserializer).map_err(|error| {
        tracing::error!(%error, "a bucket's configuration document in the control store cannot be read");
        Error::Internal("a configuration document cannot be read")
    })
}

/// Documents by their names: set, or taken away.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// Sets the document of this name, or takes it away.
pub async fn set(service: &Service, bucket: &str, name: &str, content: Option<Vec<u8>>) -> Result<()> {
    let changes: Changes = [(name.to_owned(), content)].into();
    change(service, bucket, move |_| Ok(changes.clone())).await
}

/// Changes documents of a bucket, all at once, by a decision about the bucket as it is at that moment. It is answered when it
/// is durable and, where the disks have to know of it, they do.
pub async fn change(
    service: &Service,
    bucket: &str,
    decide: impl Fn(&Bucket) -> Result<Changes> + Send + 'static,
) -> Result<()> {
    let bucket = service.bucket(bucket)?;
    let parts = service.parts.clone();
    // Both steps go on without the client: the disks must not stay ignorant of a change because somebody hung up.
    let changed = tokio::spawn(async move { decide_and_apply(&parts, bucket, decide).await });
    changed.await.unwrap_or(Err(Error::Internal("the change of a configuration document was interrupted")))
}

async fn decide_and_apply(
    parts: &Parts,
    mut bucket: Arc<Bucket>,
    decide: impl Fn(&Bucket) -> Result<Changes>,
) -> Result<()> {
    let id = bucket.id;
    for _ in 0..DECISIONS_MAX {
        let documents = decide(&bucket)?;
        let concerns_disks =
            [documents::VERSIONING, documents::OBJECT_LOCK].iter().any(|name| documents.contains_key(*name));
        let (name, version) = (bucket.name.clone(), bucket.version);
        match parts.control.propose(Command::SetBucketDocuments { name, id, version, documents }).await {
            Ok(Applied::Bucket(bucket)) => {
                // Where this failed the client's repetition, which changes nothing above, does it.
                if concerns_disks {
                    parts.target.apply_bucket(view(&bucket)).await?;
                }
                return Ok(());
            }
            Ok(Applied::Nothing | Applied::Term(_) | Applied::PolicyVersion(_) | Applied::Limit(_)) => {
                return Err(Error::Internal("a bucket's command gave no bucket"));
            }
            Err(cluster::Error::BucketChanged(changed)) => {
                let state = parts.control.read().await?;
                bucket = state.buckets.get(&changed).cloned().ok_or(Error::NoSuchBucket)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(cluster::Error::BucketChanged(bucket.name.clone()).into())
}
