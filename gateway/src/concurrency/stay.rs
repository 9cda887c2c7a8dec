//! How long a request keeps its place. A place stands for work of the target, and a client that is slow to send or to read makes
//! none: while a request waits for its client, and while an answer's body is on its way, the client's time runs. After a second
//! of it in all, or a quarter of one while others wait, the place goes to others, and the request goes on without one. So no number of slow clients, and no
//! download of hours, keeps others out.

use super::class::{Pace, Size};
use super::{Concurrency, Permit};
use crate::access::Requester;
use crate::guard::ErrorCode;
use crate::rates::RULE_HEADER;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use s3s::{Body, StdError};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// A client's time in all, while its request has a place; and while others wait for one. Many slow clients must not keep others
/// in the line for longer than those may wait there, however few places there are.
const CLIENT_US_MAX: u64 = 1_000_000;
const CLIENT_US_MAX_CROWDED: u64 = 250_000;

/// An answer up to this length is in memory when its head is.
const READY_BYTES_MAX: u64 = 64 * 1024;

/// Part of what is known of a request.
#[derive(Debug, Default)]
pub struct Stay {
    permit: Mutex<Option<Permit>>,
    /// Since when it waits for its client; 0 while it does not.
    waits_since_us: AtomicU64,
    /// What it has waited for it before.
    waited_us: AtomicU64,
    is_watched: AtomicBool,
}

impl Stay {
    /// Keeps the place for as long as it is due.
    pub fn begin(&self, permit: Permit) {
        let before = self.permit().replace(permit);
        drop(before);
    }

    fn permit(&self) -> MutexGuard<'_, Option<Permit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let permit = self.permit().take();
        drop(permit);
    }

    fn client_us(&self, now_us: u64) -> u64 {
        let before = self.waited_us.load(Ordering::Relaxed);
        match self.waits_since_us.load(Ordering::Relaxed) {
            0 => before,
            since => before + now_us.saturating_sub(since),
        }
    }
}

/// A request waits for its client from now on.
pub fn client_waits(requester: &Requester) {
    let stay = &requester.0.stay;
    if stay.waits_since_us.load(Ordering::Relaxed) != 0 {
        return;
    }
    let Some(of) = stay.permit().as_ref().map(|permit| Arc::clone(&permit.of)) else { return };
    stay.waits_since_us.store(of.now_us().max(1), Ordering::Relaxed);
    if !stay.is_watched.swap(true, Ordering::Relaxed) {
        of.stays.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&requester.0));
    }
}

/// What it has waited for has come.
pub fn client_came(requester: &Requester) {
    let stay = &requester.0.stay;
    if stay.waits_since_us.load(Ordering::Relaxed) == 0 {
        return;
    }
    let since = stay.waits_since_us.swap(0, Ordering::Relaxed);
    if let Some(permit) = stay.permit().as_ref() {
        stay.waited_us.fetch_add(permit.of.now_us().saturating_sub(since), Ordering::Relaxed);
    }
}

/// The first byte of an answer is there. The place is given back with the last one, or when the client's time is over.
pub fn hold(requester: &Requester, answer: Response<Body>) -> Response<Body> {
    let stay = &requester.0.stay;
    let is_ready = answer.body().size_hint().exact().is_some_and(|bytes| bytes <= READY_BYTES_MAX)
        || answer.body().is_end_stream();
    let over = {
        let mut place = stay.permit();
        let Some(permit) = place.as_ref() else { return answer };
        let now_us = permit.of.now_us();
        let took_us = now_us.saturating_sub(permit.since_us).saturating_sub(stay.client_us(now_us));
        permit.of.answered(pace(permit.work.pace, &answer), took_us, is_overload(&answer));
        is_ready.then(|| place.take())
    };
    if is_ready {
        // A place that is given back takes another lock.
        drop(over);
        return answer;
    }
    client_waits(requester);
    let (head, body) = answer.into_parts();
    Response::from_parts(head, Body::http_body(Held { body, requester: requester.clone() }))
}

/// Whether the target says that it has too much to do. What a rule of rates refuses is no sign of that.
fn is_overload(answer: &Response<Body>) -> bool {
    let code = || answer.extensions().get::<ErrorCode>().map_or("", |code| code.0.as_str());
    let is_of_rule = || answer.headers().contains_key(RULE_HEADER);
    answer.status() == StatusCode::SERVICE_UNAVAILABLE && code() == "SlowDown" && !is_of_rule()
}

/// Of a read, by the bytes of its answer. What was refused says nothing of the target.
fn pace(pace: Pace, answer: &Response<Body>) -> Pace {
    let length = |headers: &HeaderMap| headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match pace {
        _ if !answer.status().is_success() => Pace::Unknown,
        Pace::Read(_) => match answer.body().size_hint().exact().or_else(|| length(answer.headers())) {
            Some(bytes) => Pace::Read(Size::of(bytes)),
            None => Pace::Unknown,
        },
        other => other,
    }
}

impl Concurrency {
    /// Takes the places of requests whose clients have had their time.
    pub(super) fn end_stays(&self, now_us: u64, is_crowded: bool) {
        let client_us_max = if is_crowded { CLIENT_US_MAX_CROWDED } else { CLIENT_US_MAX };
        let mut over = Vec::new();
        self.stays.lock().unwrap_or_else(PoisonError::into_inner).retain(|stay| {
            let Some(findings) = stay.upgrade() else { return false };
            let is_over = findings.stay.client_us(now_us) >= client_us_max;
            if is_over {
                over.push(findings);
            }
            !is_over
        });
        // A place that is given back takes another lock.
        over.iter().for_each(|findings| findings.stay.end());
    }
}

/// A body that has a place until its end.
struct Held {
    body: Body,
    requester: Requester,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.requester.0.stay.end();
    }
}
