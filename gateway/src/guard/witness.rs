//! Sees a request to a logged bucket from its head to the last byte of its answer, and writes its line.

use super::query;
use crate::access::Requester;
use crate::access_log::{AccessLog, Deleted, DeletedKeys, Entry, Signature, operation};
use crate::documents;
use crate::peer::Peer;
use bytes::Bytes;
use cluster::Bucket;
use http::request::Parts as Head;
use http::{HeaderMap, HeaderName, Method, Response, header};
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError};
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The code of the error that an answer says: in the answer's extensions.
#[derive(Debug, Clone)]
pub struct ErrorCode(pub String);

pub struct Witness {
    log: Arc<AccessLog>,
    bucket: Arc<Bucket>,
    /// The source of a copy, where it is in a bucket that is logged too.
    source: Option<(Arc<Bucket>, String)>,
    requester: Requester,
    deleted: DeletedKeys,
    entry: Entry,
    sent_bytes: Option<u64>,
}

impl Witness {
    /// Of a request to `bucket`, if that is logged. `find` looks a bucket up.
    pub fn of(
        log: &Arc<AccessLog>,
        bucket: &Arc<Bucket>,
        head: &Head,
        requester: Requester,
        is_host_style: bool,
        find: impl Fn(&str) -> Option<Arc<Bucket>>,
    ) -> Option<Self> {
        let is_logged = |bucket: &Bucket| bucket.documents.contains_key(documents::LOGGING);
        let text = |name: HeaderName| {
            head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let copied = head.headers.get("x-amz-copy-source").and_then(|source| source.to_str().ok());
        let copied = copied.and_then(|source| {
            let source = query::percent_decode(source.split('?').next().unwrap_or(source)).into_owned();
            let (bucket, key) = source.strip_prefix('/').unwrap_or(&source).split_once('/')?;
            let bucket = find(bucket).filter(|bucket| is_logged(bucket))?;
            Some((bucket, key.to_owned()))
        });
        if !is_logged(bucket) && copied.is_none() {
            return None;
        }
        let path = query::percent_decode(head.uri.path());
        let path = path.strip_prefix('/').unwrap_or(&path);
        let key = if is_host_style { path } else { path.split_once('/').map_or("", |(_, key)| key) };
        let entry = Entry {
            owner: bucket.owner.0.clone(),
            bucket: bucket.name.as_str().to_owned(),
            time_ms: log.now_ms(),
            remote: head.extensions.get::<Peer>().map(|peer| peer.address),
            key: Some(key.to_owned()).filter(|key| !key.is_empty()),
            method: head.method.as_str().to_owned(),
            target: head.uri.path_and_query().map_or_else(String::new, |target| target.as_str().to_owned()),
            referer: text(header::REFERER),
            user_agent: text(header::USER_AGENT),
            signature: Signature::of(&head.headers, head.uri.query().unwrap_or("")),
            host: text(header::HOST),
            ..Entry::default()
        };
        let sent_bytes = (head.method == Method::PUT).then(|| {
            let declared = ["x-amz-decoded-content-length", "content-length"];
            declared.iter().find_map(|name| head.headers.get(*name)?.to_str().ok()?.parse().ok())
        });
        Some(Self {
            log: log.clone(),
            bucket: bucket.clone(),
            source: copied,
            requester,
            deleted: DeletedKeys::default(),
            entry,
            sent_bytes: sent_bytes.flatten(),
        })
    }

    /// Where the operation says what it deleted: where somebody else looks too, if there is such a place.
    pub fn deleted(&mut self, elsewhere: Option<DeletedKeys>) -> DeletedKeys {
        self.deleted = elsewhere.unwrap_or_default();
        self.deleted.clone()
    }

    /// The line is written when the answer's body has ended, or is given up.
    pub fn sees(mut self, answer: Response<Body>, operation: &str) -> Response<Body> {
        let (head, body) = answer.into_parts();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let entry = &mut self.entry;
        entry.turnaround_ms = self.log.now_ms().saturating_sub(entry.time_ms);
        entry.requester = self.requester.0.owner.get().cloned();
        entry.status = head.status.as_u16();
        entry.error_code = head.extensions.get::<ErrorCode>().map(|code| code.0.clone());
        entry.request_id = text("x-amz-request-id").unwrap_or_default();
        entry.host_id = text("x-amz-id-2").unwrap_or_default();
        let asked = entry.target.split_once('?').and_then(|(_, query)| query::value_of(query, "versionId"));
        let asked = asked.map(Cow::into_owned);
        entry.version_id = text("x-amz-version-id").or(asked);
        entry.object_bytes = match operation {
            "GetObject" | "HeadObject" if head.status.is_success() => whole_bytes(&head.headers),
            "PutObject" | "UploadPart" if head.status.is_success() => self.sent_bytes,
            _ => None,
        };
        if let Some((bucket, key)) = self.source.take() {
            let read = Entry {
                owner: bucket.owner.0.clone(),
                bucket: bucket.name.as_str().to_owned(),
                operation: operation::of_source(operation).to_owned(),
                key: Some(key),
                version_id: None,
                total_ms: entry.turnaround_ms,
                ..entry.clone()
            };
            write(&self.log, &bucket, &read);
        }
        for Deleted { key, version_id, status, error_code } in self.deleted.0.get().into_iter().flatten() {
            let deleted = Entry {
                operation: operation::DELETED_KEY.to_owned(),
                key: Some(key.clone()),
                target: String::new(),
                status: *status,
                error_code: error_code.clone(),
                version_id: version_id.clone(),
                total_ms: entry.turnaround_ms,
                ..entry.clone()
            };
            write(&self.log, &self.bucket, &deleted);
        }
        entry.operation = operation::of(&entry.method, operation, entry.key.is_some());
        Response::from_parts(head, Body::http_body(Watched { body, witness: self }))
    }
}

fn write(log: &AccessLog, bucket: &Bucket, entry: &Entry) {
    if let Some(document) = bucket.documents.get(documents::LOGGING) {
        log.write(bucket, document, entry);
    }
}

/// Of a whole object, also where a part of it was sent.
fn whole_bytes(headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let range = text(header::CONTENT_RANGE).and_then(|range| range.rsplit('/').next());
    range.or_else(|| text(header::CONTENT_LENGTH)).and_then(|size| size.parse().ok())
}

struct Watched {
    body: Body,
    witness: Witness,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.witness.entry.bytes_sent += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Witness { log, bucket, entry, .. } = &mut self.witness;
        entry.total_ms = log.now_ms().saturating_sub(entry.time_ms);
        write(log, bucket, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn sizes_are_those_of_whole_objects() {
        let mut headers = HeaderMap::new();
        assert_eq!(whole_bytes(&headers), None);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert_eq!(whole_bytes(&headers), Some(5));
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_static("bytes 0-4/77"));
        assert_eq!(whole_bytes(&headers), Some(77));
    }
}
