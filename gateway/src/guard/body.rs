//! A request's body on loan to s3s: framed anew where needed, digested where asked, a document checked before it is parsed,
//! and given back for draining.

use super::framing::Framing;
use super::xml::{self, Bounds};
use crate::access::Requester;
use crate::concurrency::{client_came, client_waits};
use crate::error::Error;
use crate::limits;
use crate::listener::{self, Incoming};
use crate::rates::Shaper;
use bytes::Bytes;
use common::{Algorithm, Digester, Digests};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use s3s::{Body, StdError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// The digests of a body that s3s parses itself: in the request's extensions, set when the body has ended.
#[derive(Clone, Default)]
pub struct BodyDigests(pub Arc<OnceLock<Digests>>);

/// A document that s3s parses itself, as it came: in the request's extensions, set when the body has ended.
#[derive(Clone, Default)]
pub struct DocumentBytes(pub Arc<OnceLock<Bytes>>);

/// What a body needs on its way.
#[derive(Default)]
pub struct Treatment {
    pub framing: Option<Framing>,
    pub digests: Option<BodyDigests>,
    pub document: Option<Bounds>,
    pub bytes: Option<DocumentBytes>,
    /// Whose findings say how fast it passes, once they do.
    pub shape: Option<Requester>,
    /// Whose place is not needed while the client does not send.
    pub stays: Option<Requester>,
}

pub struct GuardedBody {
    inner: Option<Incoming>,
    framing: Option<Framing>,
    framed: VecDeque<Bytes>,
    digester: Option<(Digester, BodyDigests)>,
    document: Option<(Vec<u8>, Bounds)>,
    bytes: Option<DocumentBytes>,
    shape: Option<Requester>,
    shaper: Option<Shaper>,
    stays: Option<Requester>,
    home: Option<oneshot::Sender<Incoming>>,
    shared: Arc<Shared>,
}

/// Where the body comes back to.
pub struct Lent {
    body: Option<oneshot::Receiver<Incoming>>,
    shared: Arc<Shared>,
}

/// What the guard learns of a body that it has lent.
#[derive(Default)]
struct Shared {
    asked_for: AtomicBool,
    /// Why the body was refused. s3s has no way to say it.
    refusal: Mutex<Option<Error>>,
}

impl GuardedBody {
    pub fn lend(incoming: Incoming, treatment: Treatment) -> (Body, Lent) {
        let shared = Arc::new(Shared::default());
        let Treatment { framing, digests, document, bytes, shape, stays } = treatment;
        if incoming.is_end_stream() && digests.is_none() {
            return (Body::empty(), Lent { body: None, shared });
        }
        let (home, lent) = oneshot::channel();
        let lent = Lent { body: Some(lent), shared: shared.clone() };
        let body = Self {
            inner: Some(incoming),
            framing,
            framed: VecDeque::new(),
            digester: digests.map(|digests| (Digester::new(&Algorithm::ALL), digests)),
            document: document.map(|bounds| (Vec::new(), bounds)),
            bytes,
            shape,
            shaper: None,
            stays,
            home: Some(home),
            shared,
        };
        (Body::http_body(body), lent)
    }

    /// The end of the body, or of its reading.
    fn ends(&mut self) -> Result<(), StdError> {
        self.digest_ends();
        if let Some(framing) = &self.framing {
            framing.ends()?;
        }
        if let Some((document, bounds)) = self.document.take() {
            xml::check(&document, bounds).map_err(|error| self.refuse(error))?;
            let document = Bytes::from(document);
            if let Some(bytes) = &self.bytes {
                let _ = bytes.0.set(document.clone());
            }
            if !document.is_empty() {
                self.framed.push_back(document);
            }
        }
        Ok(())
    }

    fn takes(&mut self, bytes: Bytes) -> Result<(), StdError> {
        if let Some((digester, _)) = &mut self.digester {
            digester.update(&bytes);
        }
        if let Some((document, bounds)) = &mut self.document {
            let limit_bytes = bounds.bytes;
            if document.len() + bytes.len() > limit_bytes {
                return Err(self.refuse(Error::DocumentTooLarge { limit_bytes }));
            }
            document.extend_from_slice(&bytes);
            return Ok(());
        }
        match &mut self.framing {
            None => self.framed.push_back(bytes),
            Some(framing) => framing.feed(bytes, &mut self.framed)?,
        }
        Ok(())
    }

    /// What holds the body up, if anything does.
    fn shaper(&mut self) -> Option<&mut Shaper> {
        if self.shaper.is_none()
            && let Some(shape) = self.shape.as_ref().and_then(|requester| requester.0.shape.get())
        {
            self.shaper = Shaper::of(&shape.inbound);
            self.shape = None;
        }
        self.shaper.as_mut()
    }

    fn holds(&self) -> bool {
        self.shaper.as_ref().is_some_and(|shaper| shaper.holds() > 0)
    }

    /// Keeps the error for the guard's answer.
    fn refuse(&self, error: Error) -> StdError {
        let text = error.to_string();
        *self.shared.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        text.into()
    }

    fn digest_ends(&mut self) {
        if let Some((digester, digests)) = self.digester.take() {
            let _ = digests.0.set(digester.finish());
        }
    }
}

/// Whether a request waits for its client.
fn tell(stays: &Option<Requester>, waits: bool) {
    match stays {
        Some(requester) if waits => client_waits(requester),
        Some(requester) => client_came(requester),
        None => {}
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
            if let Some(shaper) = this.shaper.as_mut().filter(|shaper| shaper.holds() > 0) {
                let slice = shaper.poll_pass(context);
                // What its rule makes it wait is the client's time too.
                tell(&this.stays, slice.is_pending());
                let slice = ready!(slice);
                let all = shaper.holds() == 0;
                this.takes(slice)?;
                if all && this.inner.as_ref().is_some_and(Incoming::is_end_stream) {
                    this.ends()?;
                }
                continue;
            }
            let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
            if !inner.is_end_stream() {
                this.shared.asked_for.store(true, Ordering::Relaxed);
            }
            let frame = Pin::new(&mut *inner).poll_frame(context);
            tell(&this.stays, frame.is_pending());
            let frame = ready!(frame);
            let ended = inner.is_end_stream();
            match frame {
                None => {
                    this.ends()?;
                    if this.framed.is_empty() {
                        return Poll::Ready(None);
                    }
                }
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(match listener::body_fault(&*error) {
                        Some(fault) => this.refuse(fault),
                        None => error,
                    })));
                }
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if let Some(shaper) = this.shaper().filter(|_| !bytes.is_empty()) {
                        shaper.hold(bytes);
                        continue;
                    }
                    this.takes(bytes)?;
                    if ended {
                        this.ends()?;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // With a digester the end has to be polled for, once, even of an empty body.
        self.digester.is_none()
            && self.document.is_none()
            && self.framed.is_empty()
            && !self.holds()
            && self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.framing, &self.document, &self.inner) {
            (None, None, Some(inner)) if self.framed.is_empty() && !self.holds() => inner.size_hint(),
            _ => SizeHint::default(),
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
        self.shared.asked_for.load(Ordering::Relaxed)
    }

    /// Why the body was refused on its way, if it was.
    pub fn refusal(&self) -> Option<Error> {
        self.shared.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads a bounded rest of the body and forgets it. Gives whether that was all: else the connection cannot go on.
    pub async fn drain(self, bytes_max: u64) -> bool {
        let Some(mut body) = self.body.and_then(|mut lent| lent.try_recv().ok()) else { return true };
        // Nothing is read of what is known to be too long.
        if body.size_hint().exact().is_some_and(|bytes| bytes > bytes_max) {
            return false;
        }
        let drained = async {
            let mut bytes = 0;
            while bytes < bytes_max {
                match body.frame().await {
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
            false
        };
        // Whoever sends more, or slower, may find the connection closed.
        tokio::time::timeout(limits::DRAIN_TIMEOUT, drained).await.unwrap_or(false)
    }
}
