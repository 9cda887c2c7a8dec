//! Server access logs: a line for each request to a bucket that is logged, collected in memory and put as objects into the
//! bucket that the configuration names, by the way of every other write.
//!
//! As in S3 this is best effort. Lines that wait when the process dies are lost, and so are those beyond the bound of the
//! memory; a clean end delivers all. Nothing that a client asks for ever waits for its line.

mod line;
pub mod operation;

pub use line::{Entry, Signature};

use crate::concurrency::Concurrency;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::Service;
use crate::s3::put_bucket_logging::destination;
use crate::s3::put_object::put_bytes;
use bytes::Bytes;
use cluster::Bucket;
use common::{BucketId, BucketName, ObjectKey, OwnerId};
use http::{HeaderMap, HeaderValue, header};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How often batches are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Where the lines of a bucket go, by the document that said so when they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub bucket: String,
    pub prefix: String,
    pub format: KeyFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFormat {
    Simple,
    /// By owner, region and bucket, and the day of the delivery.
    ByDelivery,
    /// The same by the day of the requests.
    ByEvent,
}

/// One key of a DeleteObjects, which has a line of its own.
#[derive(Debug, Clone)]
pub struct Deleted {
    pub key: String,
    pub version_id: Option<String>,
    pub status: u16,
    pub error_code: Option<String>,
}

/// The keys of a DeleteObjects to a logged bucket: in the request's extensions, set by the operation.
#[derive(Clone, Default)]
pub struct DeletedKeys(pub Arc<OnceLock<Vec<Deleted>>>);

/// Lines of one object.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    text: Vec<u8>,
    since_ms: u64,
}

/// What has lines of its own: a bucket under one document, on one day.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    id: BucketId,
    name: BucketName,
    owner: OwnerId,
    region: String,
    document: Vec<u8>,
    day: u64,
}

#[derive(Default)]
struct Waiting {
    batches: HashMap<Source, Batch>,
    bytes: usize,
    /// Lines that found no room since the last delivery.
    dropped: u64,
}

pub struct AccessLog {
    service: Service,
    flush_ms: u64,
    concurrency: Option<Arc<Concurrency>>,
    waiting: Mutex<Waiting>,
    full: Notify,
}

impl AccessLog {
    pub fn new(service: Service, flush: Duration, concurrency: Option<Arc<Concurrency>>) -> Self {
        let flush_ms = u64::try_from(flush.as_millis()).unwrap_or(u64::MAX);
        Self { service, flush_ms, concurrency, waiting: Mutex::default(), full: Notify::new() }
    }

    pub fn now_ms(&self) -> u64 {
        self.service.parts.clock.now_ms()
    }

    /// Takes the line of a request to `bucket`, which is logged.
    pub fn write(&self, bucket: &Bucket, document: &[u8], entry: &Entry) {
        let line = entry.line();
        let source = Source {
            id: bucket.id,
            name: bucket.name.clone(),
            owner: bucket.owner.clone(),
            region: bucket.region.clone(),
            document: document.to_vec(),
            day: entry.time_ms / DAY_MS,
        };
        let is_full = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take(source, &line, self.now_ms());
        if is_full {
            self.full.notify_one();
        }
    }

    /// Delivers what is old or large enough until `stop`, then everything. Call the end when no request is left.
    pub async fn run(&self, mut stop: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.full.notified() => {}
                _ = &mut stop => return self.finish().await,
            }
            let now_ms = self.now_ms();
            let due = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).due(now_ms, self.flush_ms);
            self.deliver(due).await;
        }
    }

    async fn finish(&self) {
        let due = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).due(0, 0);
        if tokio::time::timeout(limits::ACCESS_LOG_END_TIMEOUT, self.deliver(due)).await.is_err() {
            tracing::warn!("access logs could not be delivered in time and are lost");
        }
    }

    async fn deliver(&self, (due, dropped): (Vec<(Source, Batch)>, u64)) {
        if dropped > 0 {
            tracing::warn!(dropped, "lines of access logs found no room and are lost");
        }
        for (source, batch) in due {
            let bytes = batch.text.len();
            let _place = Concurrency::background(self.concurrency.as_ref()).await;
            if let Err(error) = self.put(&source, batch).await {
                tracing::warn!(%error, bucket = %source.name, bytes, "an access log could not be delivered and is lost");
            }
        }
    }

    async fn put(&self, source: &Source, batch: Batch) -> Result<()> {
        let Destination { bucket, prefix, format } = destination(&source.document)?;
        let name = BucketName::parse(&bucket)?;
        let bucket = self.service.parts.control.current().buckets.get(&name).cloned().ok_or(Error::NoSuchBucket)?;
        // Its name may have passed to somebody else since.
        if bucket.owner != source.owner {
            return Err(Error::AccessDenied);
        }
        let unique = self.service.parts.random.u64();
        let key = ObjectKey::parse(&key(&prefix, format, source, self.now_ms(), unique))?;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        put_bytes(&self.service, &bucket, key, &headers, Bytes::from(batch.text)).await
    }
}

impl Waiting {
    /// Keeps a line, or counts it as lost. Gives whether its batch is large enough for an object.
    fn take(&mut self, source: Source, line: &str, now_ms: u64) -> bool {
        // The document that names the destination is kept with each batch.
        let opens = if self.batches.contains_key(&source) { 0 } else { source.document.len() };
        if self.bytes + line.len() + opens > limits::ACCESS_LOG_BYTES_MAX {
            self.dropped += 1;
            return true;
        }
        self.bytes += line.len() + opens;
        let batch = self.batches.entry(source).or_insert(Batch { text: Vec::new(), since_ms: now_ms });
        batch.text.extend_from_slice(line.as_bytes());
        batch.text.len() >= limits::ACCESS_LOG_OBJECT_BYTES
    }

    /// Takes out what is as old or as large as an object may become.
    fn due(&mut self, now_ms: u64, flush_ms: u64) -> (Vec<(Source, Batch)>, u64) {
        let is_due = |_: &Source, batch: &mut Batch| {
            batch.text.len() >= limits::ACCESS_LOG_OBJECT_BYTES || now_ms.saturating_sub(batch.since_ms) >= flush_ms
        };
        let due: Vec<_> = self.batches.extract_if(is_due).collect();
        self.bytes -= due.iter().map(|(source, batch)| source.document.len() + batch.text.len()).sum::<usize>();
        (due, std::mem::take(&mut self.dropped))
    }
}

/// `TargetPrefix`, for partitions the source and its day, and `YYYY-mm-DD-HH-MM-SS-UniqueString`.
fn key(prefix: &str, format: KeyFormat, source: &Source, now_ms: u64, unique: u64) -> String {
    let time = line::moment(if format == KeyFormat::ByEvent { source.day * DAY_MS } else { now_ms });
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    let name = format!("{year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}-{unique:016X}");
    match format {
        KeyFormat::Simple => format!("{prefix}{name}"),
        KeyFormat::ByDelivery | KeyFormat::ByEvent => {
            let Source { owner, region, name: bucket, .. } = source;
            format!("{prefix}{}/{region}/{bucket}/{year:04}/{month:02}/{day:02}/{name}", owner.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Source {
        Source {
            id: BucketId(1),
            name: BucketName::parse(name).expect("a name"),
            owner: OwnerId("ann".into()),
            region: "eu-x".into(),
            document: Vec::new(),
            day: 17_932,
        }
    }

    #[test]
    fn keys_have_the_forms_of_s3() {
        let now_ms = 1_549_497_638_000;
        let of = |prefix: &str, format| key(prefix, format, &source("photos"), now_ms, 0xABC);
        assert_eq!(of("logs/", KeyFormat::Simple), "logs/2019-02-07-00-00-38-0000000000000ABC");
        assert_eq!(of("", KeyFormat::ByDelivery), "ann/eu-x/photos/2019/02/07/2019-02-07-00-00-38-0000000000000ABC");
        assert_eq!(of("p", KeyFormat::ByEvent), "pann/eu-x/photos/2019/02/05/2019-02-05-00-00-00-0000000000000ABC");
    }

    #[test]
    fn batches_are_delivered_when_they_are_old_or_large() {
        let mut waiting = Waiting::default();
        assert!(!waiting.take(source("old"), "first\n", 1000));
        assert!(!waiting.take(source("old"), "second\n", 9000));
        assert!(!waiting.take(source("new"), "third\n", 9000));
        assert!(waiting.take(source("large"), &"x".repeat(limits::ACCESS_LOG_OBJECT_BYTES), 9000));
        let (mut due, dropped) = waiting.due(11_000, 10_000);
        due.sort_by_key(|(source, _)| source.name.as_str().to_owned());
        let names: Vec<_> = due.iter().map(|(source, _)| source.name.as_str()).collect();
        assert_eq!((names, dropped), (vec!["large", "old"], 0));
        assert_eq!(due[1].1.text, b"first\nsecond\n");
        assert_eq!(waiting.bytes, "third\n".len());
        assert_eq!(waiting.due(0, 0).0.len(), 1);
        assert_eq!((waiting.bytes, waiting.batches.len()), (0, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut waiting = Waiting::default();
        let line = "x".repeat(1024 * 1024);
        for _ in 0..limits::ACCESS_LOG_BYTES_MAX / line.len() {
            waiting.take(source("all"), &line, 0);
        }
        assert_eq!(waiting.bytes, limits::ACCESS_LOG_BYTES_MAX);
        waiting.take(source("all"), "more\n", 0);
        waiting.take(source("other"), "more\n", 0);
        let (due, dropped) = waiting.due(0, 0);
        assert_eq!((due.len(), dropped, waiting.bytes), (1, 2, 0));
        assert!(!waiting.take(source("all"), "again\n", 0));
    }
}
