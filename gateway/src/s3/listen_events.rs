//! `GET /bucket?events`: what happens in a bucket, as it happens, one JSON document a line. MinIO's clients know it as
//! ListenBucketNotification; the cursor, with which a reader goes on where it was, is ours.
//!
//! s3s has no such operation, but a route behind its check of the signature.

use crate::Parts;
use crate::access::{self, Access, OperationName, verified_key};
use crate::admission::{Admission, Scene};
use crate::error::{Error, Result};
use crate::events::record::{Context, record};
use crate::events::{Filter, Pattern, cursor};
use crate::guard::{Pair, query_pairs, query_value};
use crate::host::Domains;
use crate::lenient::Lenient;
use crate::limits;
use crate::listener::{Stage, leaves};
use crate::rates::{self, Verb};
use crate::sessions;
use authn::Identity;
use bytes::Bytes;
use cluster::Bucket;
use common::Stamp;
use futures::StreamExt;
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, header};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use storage::feed::{Event, Feed};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// s3s knows one route: requests that have to be asked again, and this.
pub struct Routes {
    pub lenient: Lenient,
    pub events: EventStreams,
}

#[async_trait::async_trait]
impl S3Route for Routes {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        is_listening(method, uri) || self.lenient.is_match(method, uri, headers, extensions)
    }

    /// Both decide for themselves.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        if is_listening(&request.method, &request.uri) {
            return Ok(self.events.listen(&mut request).await?);
        }
        self.lenient.call(request).await
    }
}

const OPERATION: &str = "ListenBucketNotification";

/// What the guard has let through with this in its query is this operation.
fn is_listening(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && query_value(uri.query().unwrap_or(""), "events").is_some()
}

pub struct EventStreams {
    parts: Parts,
    access: Access,
    admission: Arc<Admission>,
    domains: Domains,
    region: String,
    places: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

impl EventStreams {
    pub fn new(
        parts: Parts,
        (access, admission): (Access, Arc<Admission>),
        domains: Domains,
        region: String,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(limits::EVENT_STREAMS_MAX));
        Self { parts, access, admission, domains, region, places, stage }
    }

    async fn listen(&self, request: &mut S3Request<Body>) -> Result<S3Response<Body>> {
        if let Some(name) = request.extensions.get::<OperationName>() {
            let _ = name.0.set(OPERATION.to_owned());
        }
        let control = &*self.parts.control;
        let signed = request.credentials.as_ref().map(|credentials| credentials.access_key.clone());
        let claimed = signed.or_else(|| verified_key(&request.extensions).map(str::to_owned));
        let identity = self.access.identify(claimed.as_deref(), &mut request.extensions)?;
        let name = self.bucket_name(request);
        let price = (Verb::of(OPERATION), rates::cost(OPERATION));
        self.access.admit_rate(price, Some(&name), &identity, (&request.headers, &request.extensions))?;
        let asker = Asker::of(request, identity);
        self.admission.admit(&asker.scene(&name)).await?;
        let bucket = access::find(control, &name)?;
        let wanted = Wanted::of(&query_pairs(request.uri.query().unwrap_or("")))?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::Storage(storage::Error::Busy))?;

        let feed = Arc::clone(self.parts.target.feed());
        let newest = feed.newest();
        let from = wanted.after.unwrap_or(newest);
        if from > newest {
            return Err(Error::InvalidArgument("The cursor is not one of this server's".to_owned()));
        }
        // Whoever comes too late is told by the status.
        let first = feed.read(from, Some(bucket.id)).await?;
        let (sender, lines) = mpsc::channel(limits::EVENT_STREAM_CHUNKS_MAX);
        let stream = Stream {
            parts: self.parts.clone(),
            region: self.region.clone(),
            session: claimed.as_deref().and_then(sessions::current),
            admission: self.admission.clone(),
            asker,
            bucket,
            filter: wanted.filter,
            sender,
            _place: place,
        };
        let stage = self.stage.clone();
        tokio::spawn(async move {
            if stream.send_page(&first.events, first.cursor).await.is_some() {
                stream.run(&feed, first.cursor, wanted.heartbeat, stage).await;
            }
        });
        let lines = futures::stream::unfold(lines, |mut lines| async { Some((lines.recv().await?, lines)) });
        let frames = lines.map(|line| Ok::<_, io::Error>(Frame::data(line)));
        let mut answer = S3Response::new(Body::http_body_unsync(StreamBody::new(frames)));
        answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        answer.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(answer)
    }

    fn bucket_name(&self, request: &S3Request<Body>) -> String {
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let in_host = host.and_then(|host| self.domains.bucket_of(host));
        in_host.unwrap_or_else(|| request.uri.path().trim_matches('/').to_owned())
    }
}

/// What the query asks for.
struct Wanted {
    filter: Filter,
    after: Option<Stamp>,
    heartbeat: Duration,
}

impl Wanted {
    fn of(pairs: &[Pair<'_>]) -> Result<Self> {
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        let mut patterns = Vec::new();
        let names = pairs.iter().filter(|(key, _)| key == "events").flat_map(|(_, value)| value.split(','));
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            let unknown = || Error::InvalidArgument(format!("A specified event is not supported: {name}"));
            patterns.push(Pattern::parse(name).ok_or_else(unknown)?);
        }
        let after = match (value("cursor"), value("after")) {
            (Some(_), Some(_)) => {
                return Err(Error::InvalidArgument("cursor and after are two names of one thing".to_owned()));
            }
            (cursor, after) => cursor.or(after).map(cursor::parse).transpose()?,
        };
        let seconds = value("ping").filter(|text| !text.is_empty()).map(str::parse::<u64>).transpose().ok();
        let seconds = seconds.map(|seconds| seconds.unwrap_or(limits::EVENT_HEARTBEAT_SECONDS));
        let heartbeat = seconds.filter(|seconds| (1..=limits::EVENT_HEARTBEAT_SECONDS_MAX).contains(seconds));
        let wrong = || {
            Error::InvalidArgument(format!("ping is a number of seconds, 1 to {}", limits::EVENT_HEARTBEAT_SECONDS_MAX))
        };
        let filter = Filter {
            patterns,
            prefix: value("prefix").unwrap_or("").to_owned(),
            suffix: value("suffix").unwrap_or("").to_owned(),
        };
        Ok(Self { filter, after, heartbeat: Duration::from_secs(heartbeat.ok_or_else(wrong)?) })
    }
}

/// Who asked, and how: it is decided again as long as the reader stays.
struct Asker {
    identity: Identity,
    headers: HeaderMap,
    uri: Uri,
    extensions: Extensions,
}

impl Asker {
    fn of(request: &S3Request<Body>, identity: Identity) -> Self {
        let (headers, uri, extensions) = (request.headers.clone(), request.uri.clone(), request.extensions.clone());
        Self { identity, headers, uri, extensions }
    }

    fn scene<'a>(&'a self, bucket: &'a str) -> Scene<'a> {
        let place = (Some(bucket), None);
        Scene::new(OPERATION, place, &self.headers, &self.uri, &self.extensions, &self.identity)
    }
}

/// One reader, until it goes, stays behind, or may not read any more.
struct Stream {
    parts: Parts,
    region: String,
    session: Option<Arc<sessions::Current>>,
    admission: Arc<Admission>,
    asker: Asker,
    bucket: Arc<Bucket>,
    filter: Filter,
    sender: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    async fn run(self, feed: &Arc<Feed>, mut cursor: Stamp, heartbeat: Duration, mut stage: watch::Receiver<Stage>) {
        let mut beats = interval(heartbeat);
        beats.reset();
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = leaves(&mut stage, Stage::Serving) => return,
                () = self.sender.closed() => return,
                _ = beats.tick() => {
                    // The beat carries the cursor, so that a reader of rare events does not fall behind the horizon.
                    if !self.may_go_on().await || self.send(line(&[], cursor)).await.is_none() {
                        return;
                    }
                }
                () = feed.wait(cursor) => {
                    let page = match feed.read(cursor, Some(self.bucket.id)).await {
                        Ok(page) => page,
                        Err(error) => {
                            let answer = Error::from(error);
                            let (code, message) = (answer.answer().code, answer.to_string());
                            self.send(line_of(&json!({ "error": { "code": code, "message": message } }))).await;
                            return;
                        }
                    };
                    cursor = page.cursor;
                    if self.send_page(&page.events, cursor).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// The bucket is still the same, and the caller still may.
    async fn may_go_on(&self) -> bool {
        let control = &*self.parts.control;
        let bucket = access::find(control, self.bucket.name.as_str()).ok();
        let identity = &self.asker.identity;
        let key = identity.caller().and_then(|caller| caller.access_key.as_ref());
        let identity = match &self.session {
            Some(session) => session.caller_now(&control.current(), self.parts.clock.now_ms()).map(Identity::Known),
            None => key.map_or(Ok(identity.clone()), |key| access::identity(control, &key.0)),
        };
        match (bucket.filter(|bucket| bucket.id == self.bucket.id), identity) {
            (Some(bucket), Ok(identity)) => {
                let scene = Scene { identity: &identity, ..self.asker.scene(bucket.name.as_str()) };
                self.admission.admit(&scene).await.is_ok()
            }
            _ => false,
        }
    }

    /// `None` when the reader is gone.
    async fn send_page(&self, events: &[Event], cursor: Stamp) -> Option<()> {
        let now_ms = self.parts.clock.now_ms();
        let context = Context { bucket: &self.bucket, region: &self.region, configuration: "", now_ms };
        let mut chunk = Vec::new();
        for event in events.iter().filter(|event| self.filter.wants(event)) {
            chunk.extend(line(&[record(event, &context)], event.stamp));
            if chunk.len() >= limits::EVENT_STREAM_CHUNK_BYTES {
                self.send(std::mem::take(&mut chunk)).await?;
            }
        }
        if chunk.is_empty() && !events.is_empty() {
            return Some(());
        }
        // With the cursor behind all of them, or alone at the beginning.
        chunk.extend(line(&[], cursor));
        self.send(chunk).await
    }

    /// A reader that takes nothing for so long is cut off. It knows its cursor.
    async fn send(&self, chunk: Vec<u8>) -> Option<()> {
        timeout(limits::EVENT_READER_TIMEOUT, self.sender.send(chunk.into())).await.ok()?.ok()
    }
}

fn line(records: &[serde_json::Value], cursor: Stamp) -> Vec<u8> {
    line_of(&json!({ "Records": records, "cursor": cursor::write(cursor) }))
}

fn line_of(document: &serde_json::Value) -> Vec<u8> {
    let mut line = document.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str) -> Result<Wanted, &'static str> {
        Wanted::of(&query_pairs(query)).map_err(|error| error.answer().code)
    }

    #[test]
    fn queries_say_what_is_wanted() {
        let all = wanted("events").expect("everything");
        assert_eq!((all.filter, all.after, all.heartbeat.as_secs()), (Filter::default(), None, 5));
        let some = wanted(
            "events=s3:ObjectCreated:*&events=s3:ObjectRemoved:*&prefix=a/&suffix=.b&ping=9&cursor=00000000000000ff",
        );
        let some = some.expect("some");
        assert_eq!((some.filter.patterns.len(), some.after, some.heartbeat.as_secs()), (2, Some(Stamp(255)), 9));
        assert_eq!((some.filter.prefix.as_str(), some.filter.suffix.as_str()), ("a/", ".b"));
        for bad in [
            "events=x",
            "events&cursor=1",
            "events&ping=0",
            "events&ping=x",
            "events&ping=3600",
            "events&cursor=0000000000000000&after=0000000000000000",
        ] {
            assert_eq!(wanted(bad).err(), Some("InvalidArgument"), "{bad}");
        }
    }
}
