//! Sends events to configured receivers, at least once and in order for each key.
//!
//! Nothing is queued here: a webhook is a durable consumer of the feed, and its queue is the log. What it has sent is written
//! down behind each page of events; after a crash the last page comes again. While a receiver does not take an event nothing
//! behind it in the same page is given up, and the log is kept for it up to `queue_bytes_max`.

use super::record::{Context, record};
use super::rules::{self, Rule};
use crate::Parts;
use crate::documents;
use crate::error::{Error, Result};
use crate::listener::{Stage, leaves};
use crate::outbound::{Client, Endpoint};
use bytes::Bytes;
use cluster::{Bucket, BucketState};
use common::{BucketId, Random, Stamp};
use futures::{StreamExt, stream};
use http::StatusCode;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use storage::feed::{Event, Feed};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// Keys whose events are sent side by side.
const SENDS_MAX: usize = 16;
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(15);
/// A webhook that nobody wants anything of writes its place down this seldom. Until then the log is kept for it.
const IDLE_STORE_INTERVAL: Duration = Duration::from_secs(30);
/// Refused as many times with a status that blames the event itself, it is given up.
const REFUSALS_MAX: u32 = 5;

/// A receiver, from the server's settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    pub name: String,
    pub endpoint: String,
    pub auth_token: Option<String>,
    /// How much of the log is kept while the receiver does not answer.
    pub queue_bytes_max: u64,
}

impl Webhook {
    fn consumer(&self) -> String {
        format!("webhook-{}", self.name)
    }
}

/// Starts a task for each webhook. Receivers that are not configured any more hold nothing from now on.
pub async fn start(
    webhooks: &[Webhook],
    parts: &Parts,
    region: &str,
    stage: &watch::Receiver<Stage>,
) -> Result<Vec<JoinHandle<()>>> {
    let mut places = Vec::new();
    for webhook in webhooks {
        let wrong = |reason| Error::InvalidArgument(format!("notifications.webhook.{}: {reason}", webhook.name));
        let endpoint = Endpoint::parse(&webhook.endpoint).map_err(wrong)?;
        let client = Client::new(endpoint, webhook.auth_token.as_deref()).map_err(wrong)?;
        places.push((webhook.clone(), client));
    }
    let (feed, kept) = (Arc::clone(parts.target.feed()), webhooks.to_vec());
    let known = tokio::task::spawn_blocking(move || {
        let names: Vec<String> = kept.iter().map(Webhook::consumer).collect();
        feed.retain_consumers(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        kept.iter().map(|webhook| feed.consumer(&webhook.consumer(), webhook.queue_bytes_max)).collect()
    });
    let cursors: storage::Result<Vec<Stamp>> =
        known.await.map_err(|_| Error::Internal("the webhooks' places could not be read"))?;
    let start = |((webhook, client), cursor)| {
        let sender = Sender {
            webhook,
            client,
            feed: Arc::clone(parts.target.feed()),
            parts: parts.clone(),
            region: region.to_owned(),
            rules: Wanted::default(),
        };
        tokio::spawn(sender.run(cursor, stage.clone()))
    };
    Ok(places.into_iter().zip(cursors?).map(start).collect())
}

struct Sender {
    webhook: Webhook,
    client: Client,
    feed: Arc<Feed>,
    parts: Parts,
    region: String,
    rules: Wanted,
}

impl Sender {
    async fn run(mut self, from: Stamp, mut stage: watch::Receiver<Stage>) {
        let (mut cursor, mut stored) = (from, from);
        let mut idle = interval(IDLE_STORE_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = leaves(&mut stage, Stage::Serving) => break,
                _ = idle.tick() => {
                    if cursor != stored && self.store(cursor).await {
                        stored = cursor;
                    }
                    continue;
                }
                () = self.feed.wait(cursor) => {}
            }
            let (next, has_sent) = tokio::select! {
                biased;
                () = leaves(&mut stage, Stage::Serving) => break,
                next = self.page(cursor) => next,
            };
            cursor = next;
            if has_sent && self.store(cursor).await {
                stored = cursor;
            }
        }
        // A page that was cut short comes again.
        if cursor != stored {
            self.store(cursor).await;
        }
    }

    /// Sends the next events. Gives where to go on, and whether there was anything to send. Dropping it in the middle is no
    /// harm.
    async fn page(&mut self, cursor: Stamp) -> (Stamp, bool) {
        let page = match self.feed.read(cursor, None).await {
            Ok(page) => page,
            Err(storage::Error::CursorExpired) => {
                let newest = self.feed.newest();
                tracing::error!(webhook = self.webhook.name, from = %cursor, to = %newest,
                    "events are lost: the receiver was away for longer than queue_bytes_max lasts, or the disk was full");
                return (newest, true);
            }
            Err(error) => {
                tracing::warn!(webhook = self.webhook.name, %error, "the change feed could not be read");
                tokio::time::sleep(RETRY_LAST).await;
                return (cursor, false);
            }
        };
        self.rules.refresh(&self.parts);
        let mut by_key: BTreeMap<(BucketId, &str), Vec<Bytes>> = BTreeMap::new();
        for event in &page.events {
            for document in self.documents(event) {
                by_key.entry((event.bucket, event.key.as_str())).or_default().push(document);
            }
        }
        let has_any = !by_key.is_empty();
        let this = &*self;
        stream::iter(by_key.into_values())
            .for_each_concurrent(SENDS_MAX, |documents| async move {
                for document in documents {
                    this.deliver(document).await;
                }
            })
            .await;
        (page.cursor, has_any)
    }

    /// One for each rule that wants the event.
    fn documents(&self, event: &Event) -> Vec<Bytes> {
        let Some((bucket, rules)) = self.rules.of_bucket.get(&event.bucket) else { return Vec::new() };
        let now_ms = self.parts.clock.now_ms();
        let wanted = rules.iter().filter(|rule| rule.webhook == self.webhook.name && rule.filter.wants(event));
        let document = |rule: &Rule| {
            let context = Context { bucket, region: &self.region, configuration: &rule.id, now_ms };
            Bytes::from(json!({ "Records": [record(event, &context)] }).to_string())
        };
        wanted.map(document).collect()
    }

    /// Sends until it is taken.
    async fn deliver(&self, document: Bytes) {
        let (mut pause, mut refusals) = (RETRY_FIRST, 0);
        loop {
            let why = match self.client.post(document.clone()).await {
                Ok(status) if status.is_success() => return,
                Ok(status) => {
                    if blames_the_event(status) {
                        refusals += 1;
                    }
                    if refusals >= REFUSALS_MAX {
                        tracing::error!(webhook = self.webhook.name, %status, "the receiver refuses an event: it is given up");
                        return;
                    }
                    status.to_string()
                }
                Err(error) => error,
            };
            tracing::warn!(
                webhook = self.webhook.name,
                why,
                again_in_ms = pause.as_millis() as u64,
                "an event was not taken"
            );
            tokio::time::sleep(with_jitter(pause, &*self.parts.random)).await;
            pause = (pause * 2).min(RETRY_LAST);
        }
    }

    async fn store(&self, cursor: Stamp) -> bool {
        let (feed, name) = (Arc::clone(&self.feed), self.webhook.consumer());
        let stored = tokio::task::spawn_blocking(move || feed.advance(&name, cursor)).await;
        match stored {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(webhook = self.webhook.name, %error, "a webhook's place was not written down");
                false
            }
            Err(_) => false,
        }
    }
}

/// Another attempt with the same bytes has no other end.
fn blames_the_event(status: StatusCode) -> bool {
    [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY].contains(&status)
}

/// Between half of the pause and all of it.
fn with_jitter(pause: Duration, random: &dyn Random) -> Duration {
    let half_ms = (pause.as_millis() as u64 / 2).max(1);
    Duration::from_millis(half_ms + random.u64() % half_ms)
}

/// What the buckets' configurations want, as of one version of the control store.
#[derive(Default)]
struct Wanted {
    version: Option<u64>,
    of_bucket: HashMap<BucketId, (Arc<Bucket>, Vec<Rule>)>,
}

impl Wanted {
    fn refresh(&mut self, parts: &Parts) {
        let state = parts.control.current();
        if self.version == Some(state.version) {
            return;
        }
        let mut known = std::mem::take(&mut self.of_bucket);
        for bucket in state.buckets.values().filter(|bucket| bucket.state == BucketState::Active) {
            let Some(document) = bucket.documents.get(documents::NOTIFICATION) else { continue };
            let rules = match known.remove(&bucket.id) {
                Some((before, rules)) if before.version == bucket.version => rules,
                _ => rules::parse(document),
            };
            self.of_bucket.insert(bucket.id, (Arc::clone(bucket), rules));
        }
        self.version = Some(state.version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    #[test]
    fn pauses_differ_and_stay_within_bounds() {
        let random = SeededRandom::new(1);
        let pauses: Vec<_> = (0..100).map(|_| with_jitter(RETRY_LAST, &*random)).collect();
        assert!(pauses.iter().all(|pause| *pause >= RETRY_LAST / 2 && *pause < RETRY_LAST));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }

    #[test]
    fn only_some_refusals_are_of_the_event() {
        assert!(blames_the_event(StatusCode::BAD_REQUEST));
        for status in
            [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY]
        {
            assert!(!blames_the_event(status), "{status}");
        }
    }
}
