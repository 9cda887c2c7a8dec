//! A request's body on loan to s3s: framed anew where needed, digested where asked, and given back for draining.

use super::framing::Framing;
use crate::limits;
use bytes::Bytes;
use common::{Algorithm, Digester, Digests};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3s::{Body, StdError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// The digests of a body that s3s parses itself: in the request's extensions, set when the body has ended.
#[derive(Clone, Default)]
pub struct BodyDigests(pub Arc<OnceLock<Digests>>);

pub struct GuardedBody {
    inner: Option<Incoming>,
    framing: Option<Framing>,
    framed: VecDeque<Bytes>,
    digester: Option<(Digester, BodyDigests)>,
    home: Option<oneshot::Sender<Incoming>>,
    asked_for: Arc<AtomicBool>,
}

/// Where the body comes back to.
pub struct Lent {
    body: Option<oneshot::Receiver<Incoming>>,
    asked_for: Arc<AtomicBool>,
}

impl GuardedBody {
    pub fn lend(incoming: Incoming, framing: Option<Framing>, digests: Option<BodyDigests>) -> (Body, Lent) {
        let asked_for = Arc::new(AtomicBool::new(false));
        if incoming.is_end_stream() && digests.is_none() {
            return (Body::empty(), Lent { body: None, asked_for });
        }
        let (home, lent) = oneshot::channel();
        let lent = Lent { body: Some(lent), asked_for: asked_for.clone() };
        let body = Self {
            inner: Some(incoming),
            framing,
            framed: VecDeque::new(),
            digester: digests.map(|digests| (Digester::new(&Algorithm::ALL), digests)),
            home: Some(home),
            asked_for,
        };
        (Body::http_body(body), lent)
    }

    fn digest_ends(&mut self) {
        if let Some((digester, digests)) = self.digester.take() {
            let _ = digests.0.set(digester.finish());
        }
    }
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.framed.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
            if !inner.is_end_stream() {
                this.asked_for.store(true, Ordering::Relaxed);
            }
            let frame = ready!(Pin::new(&mut *inner).poll_frame(context));
            let ended = inner.is_end_stream();
            match frame {
                None => {
                    this.digest_ends();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if let Some((digester, _)) = &mut this.digester {
                        digester.update(&bytes);
                    }
                    if ended {
                        this.digest_ends();
                    }
                    match &mut this.framing {
                        None => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                        Some(framing) => framing.feed(bytes, &mut this.framed)?,
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // With a digester the end has to be polled for, once, even of an empty body.
        self.digester.is_none() && self.framed.is_empty() && self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.framing, &self.inner) {
            (None, Some(inner)) => inner.size_hint(),
            (None, None) | (Some(_), _) => SizeHint::default(),
        }
    }
}

impl Drop for GuardedBody {
    fn drop(&mut self) {
        if let (Some(inner), Some(home)) = (self.inner.take(), self.home.take()) {
            let _ = home.send(inner);
        }
    }
}

impl Lent {
    /// Whether somebody has waited for the body's bytes, which is when hyper writes `100 Continue`.
    pub fn was_asked_for(&self) -> bool {
        self.asked_for.load(Ordering::Relaxed)
    }

    /// Reads a bounded rest of the body and forgets it.
    pub async fn drain(self) {
        let Some(mut body) = self.body.and_then(|mut lent| lent.try_recv().ok()) else { return };
        let drained = async {
            let mut bytes = 0;
            while bytes < limits::DRAIN_BYTES_MAX {
                match body.frame().await {
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(_)) | None => return,
                }
            }
        };
        // Whoever sends more, or slower, may find the connection closed.
        let _ = tokio::time::timeout(limits::DRAIN_TIMEOUT, drained).await;
    }
}
