//! Serves HTTP/2 on a stream that has agreed on it. hyper and h2 read the frames and keep most bounds (`limits.rs` has their
//! figures); what they lack is here: the times of header blocks, bodies and answers, an end for idle connections, and limits on
//! streams that are cancelled, on frames that bring nothing, and on the streams of all connections together.
//!
//! A handler sees the same request as over HTTP/1.1: `:authority` is the host, and the target has no authority.

use super::frames::Frames;
use super::incoming::Incoming;
use super::{Addresses, Handler, Place, Stage, leaves};
use crate::error::{Error, Result};
use crate::limits;
use crate::peer::{Peer, Proxies};
use bytes::Bytes;
use http::request::Parts as Head;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming as Inner;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{Body, StdError};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

/// What the connections of a listener have in common.
#[derive(Clone)]
pub struct Http2 {
    streams: Arc<Semaphore>,
    of_address: Addresses,
}

impl Http2 {
    /// So many requests at once as HTTP/1.1 could have on that many connections, and half of them of one address.
    pub fn new(connections_max: u32, proxies: Proxies) -> Self {
        let streams = Arc::new(Semaphore::new(connections_max as usize));
        Self { streams, of_address: Addresses::new((connections_max / 2).max(1), proxies) }
    }

    fn enter(&self, peer: &Peer) -> Option<Room> {
        let of_address = self.of_address.enter(peer.address)?;
        let permit = self.streams.clone().try_acquire_owned().ok()?;
        Some(Room { _of_address: of_address, _permit: permit })
    }

    /// Serves until the client ends the connection, or is too slow, too idle or too wasteful; or until `stage` has left `Serving`
    /// and what it has asked for is answered.
    pub async fn serve<S>(self, stream: S, peer: Peer, handler: Arc<dyn Handler>, mut stage: watch::Receiver<Stage>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let load = Arc::new(Load::default());
        // Dropped at the end of this function, and with it every stream is.
        let (_open, open) = watch::channel(());
        let service = {
            let load = load.clone();
            service_fn(move |request: Request<Inner>| {
                let (open, is_late) = (Open::new(&load), load.refuses());
                let (http2, peer, handler) = (self.clone(), peer.clone(), handler.clone());
                async move { Ok::<_, Infallible>(http2.answer(request, peer, handler, open, is_late).await) }
            })
        };
        let connection = http2::Builder::new(Streams { open })
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
            .max_header_list_size(limits::HTTP2_HEADER_LIST_BYTES_MAX)
            .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(limits::HTTP2_SEND_BYTES_MAX)
            .max_pending_accept_reset_streams(limits::HTTP2_UNSEEN_RESETS_MAX)
            .max_local_error_reset_streams(limits::HTTP2_ERROR_RESETS_MAX)
            .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
            .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT)
            .serve_connection(TokioIo::new(Wire::new(stream, load.clone())), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = load.is_wasteful.notified() => {
                tracing::debug!("a client cancels more requests than it lets be answered: its connection is cut");
                return;
            }
            () = load.idles() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(limits::HEADER_READ_TIMEOUT, &mut connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
            () = leaves(&mut stage, Stage::Serving) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = leaves(&mut stage, Stage::Draining) => return,
                    // Some clients do not answer the ping by which h2 learns that they have seen the end coming.
                    () = load.is_done() => return,
                    // Those that go on asking would do so under what is no more in force.
                    () = load.closes() => return,
                    () = load.is_wasteful.notified() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP/2 connection ended with an error");
        }
    }

    async fn answer(
        &self,
        request: Request<Inner>,
        peer: Peer,
        handler: Arc<dyn Handler>,
        mut open: Open,
        is_late: bool,
    ) -> Response<Answer> {
        let (mut head, body) = request.into_parts();
        let room = self.enter(&peer).filter(|_| !is_late);
        head.extensions.insert(peer);
        let checked = if room.is_some() { as_of_http_1(&mut head) } else { Err(Error::TooManyStreams) };
        let answer = match checked {
            Ok(()) => handler.handle(Request::from_parts(head, Incoming::of_stream(body))).await,
            Err(error) => handler.refuse(&head, error).await,
        };
        open.is_answered();
        answer.map(|body| Answer { body, rest: Bytes::new(), pace: PACE.with(Arc::clone), _open: open, _room: room })
    }
}

/// A stream's place among all.
struct Room {
    _of_address: Place,
    _permit: OwnedSemaphorePermit,
}

/// What `wire.rs` checks of a head of HTTP/1.1, and h2 does not.
fn as_of_http_1(head: &mut Head) -> Result<()> {
    if head.headers.len() > limits::HEADERS_MAX {
        return Err(Error::HeaderSectionTooLarge("too many headers"));
    }
    let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if target.len() > limits::REQUEST_TARGET_BYTES_MAX {
        return Err(Error::HeaderSectionTooLarge("the URI is too long"));
    }
    if head.headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Error::BadHttp("two lengths"));
    }
    let named = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (named, hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) | (None, None, None) => return Err(Error::BadHttp("there must be one host")),
        (Some(named), Some(host), None) if !named.as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            return Err(Error::BadHttp("a host that is not the authority"));
        }
        (Some(named), None, None) => {
            let host = HeaderValue::from_str(&named).map_err(|_| Error::BadHttp("the authority"))?;
            head.headers.insert(header::HOST, host);
        }
        _ => {}
    }
    // That of CONNECT is an authority and nothing else, which the guard refuses.
    if head.method != Method::CONNECT && head.uri.authority().is_some() {
        let target = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        head.uri = Uri::from(target);
    }
    Ok(())
}

/// What a connection's streams and its reader tell each other.
#[derive(Default)]
struct Load {
    open: AtomicU32,
    begun: AtomicU64,
    /// Requests that were cancelled before their answer, less those that were answered.
    cancelled: AtomicU32,
    /// Frames since the last look at the time.
    idle_frames: AtomicU32,
    is_wasteful: Notify,
    /// The connection has ended for requests that begin now.
    is_closed: AtomicBool,
    is_late: Notify,
}

impl Load {
    /// Whether a request that begins now is too late; then the connection is cut.
    fn refuses(&self) -> bool {
        let is_closed = self.is_closed.load(Ordering::Relaxed);
        if is_closed {
            self.is_late.notify_one();
        }
        is_closed
    }

    /// Takes no more requests in a while, and waits for one.
    async fn closes(&self) {
        tokio::time::sleep(limits::LINGER_SILENCE_TIMEOUT).await;
        self.is_closed.store(true, Ordering::Relaxed);
        self.is_late.notified().await;
    }

    /// Until no stream is open, and what was answered has had its time on the way.
    async fn is_done(&self) {
        let mut quiet = 0;
        while quiet < 2 {
            tokio::time::sleep(limits::LINGER_SILENCE_TIMEOUT / 2).await;
            quiet = if self.open.load(Ordering::Relaxed) == 0 { quiet + 1 } else { 0 };
        }
    }

    /// Until the connection has had no stream for `IDLE_TIMEOUT`, and up to a third longer.
    async fn idles(&self) {
        let (mut quiet, mut seen) = (0, 0);
        while quiet < 3 {
            tokio::time::sleep(limits::IDLE_TIMEOUT / 3).await;
            self.idle_frames.store(0, Ordering::Relaxed);
            let begun = self.begun.load(Ordering::Relaxed);
            quiet = if begun == seen && self.open.load(Ordering::Relaxed) == 0 { quiet + 1 } else { 0 };
            seen = begun;
        }
    }
}

/// A stream of a connection, until it is dropped.
struct Open {
    load: Arc<Load>,
    answered: bool,
}

impl Open {
    fn new(load: &Arc<Load>) -> Self {
        load.open.fetch_add(1, Ordering::Relaxed);
        load.begun.fetch_add(1, Ordering::Relaxed);
        Self { load: load.clone(), answered: false }
    }

    fn is_answered(&mut self) {
        self.answered = true;
        let less = |cancelled: u32| Some(cancelled.saturating_sub(1));
        let _ = self.load.cancelled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.load.open.fetch_sub(1, Ordering::Relaxed);
        if !self.answered && self.load.cancelled.fetch_add(1, Ordering::Relaxed) >= limits::HTTP2_CANCELLED_MAX {
            self.load.is_wasteful.notify_one();
        }
    }
}

tokio::task_local! {
    /// That of the stream that this task is for.
    static PACE: Arc<Pace>;
}

/// Runs a stream, until its client does not take the answer, or the connection is gone.
#[derive(Clone)]
struct Streams {
    open: watch::Receiver<()>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (pace, mut open) = (Arc::new(Pace::default()), self.open.clone());
        tokio::spawn(PACE.scope(pace.clone(), async move {
            tokio::select! {
                () = stream => {}
                () = pace.stalls() => tracing::debug!("a client does not take its answer: the stream is reset"),
                _ = open.changed() => {}
            }
        }));
    }
}

/// Whose turn it is with an answer's body. Odd: the client's, to take a piece.
#[derive(Default)]
struct Pace(AtomicU64);

impl Pace {
    fn gives(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
    }

    /// hyper asks for more when there is room for it: the client has taken the last one, or has most of it before it.
    fn is_asked(&self) {
        let turn = self.0.load(Ordering::Relaxed);
        self.0.store((turn | 1) + 1, Ordering::Relaxed);
    }

    /// Until a piece has waited for the client for `ANSWER_TIMEOUT`, and up to twice that.
    async fn stalls(&self) {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            tokio::time::sleep(limits::ANSWER_TIMEOUT).await;
            if before % 2 == 1 && before == self.0.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// A piece is asked for when the one before it is on its way, so this is what a client has to take in `ANSWER_TIMEOUT`.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// An answer's body in pieces.
struct Answer {
    body: Body,
    rest: Bytes,
    pace: Arc<Pace>,
    _open: Open,
    _room: Option<Room>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        this.pace.is_asked();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) if bytes.is_empty() && this.body.is_end_stream() => return Poll::Ready(None),
                Some(Ok(Ok(bytes))) => this.rest = bytes,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let mut length = this.rest.len().min(PIECE_BYTES_MAX);
        if length == this.rest.len() && length > 1 && this.body.is_end_stream() {
            // hyper would be done with the last piece as soon as the client's window has room for a byte, and h2 hold the rest of it
            // for as long as the client likes. It sends this byte when there is room for all before it.
            length -= 1;
        }
        let piece = this.rest.split_to(length);
        this.pace.gives();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

/// The bytes of a connection on their way to hyper.
struct Wire<S> {
    stream: S,
    frames: Frames,
    /// When what the client is in the middle of has to be whole.
    deadline: Option<Pin<Box<Sleep>>>,
    load: Arc<Load>,
}

impl<S> Wire<S> {
    fn new(stream: S, load: Arc<Load>) -> Self {
        Self { stream, frames: Frames::default(), deadline: None, load }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let taken = this.frames.take(&buffer.filled()[before..]);
        if taken.ended || !this.frames.is_awaited() {
            this.deadline = None;
        }
        let counted = this.load.idle_frames.fetch_add(taken.idle_frames, Ordering::Relaxed);
        if counted.saturating_add(taken.idle_frames) > limits::HTTP2_IDLE_FRAMES_MAX {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many frames that bring nothing")));
        }
        if this.frames.is_awaited() {
            let deadline = || Box::pin(tokio::time::sleep(limits::HEADER_READ_TIMEOUT));
            if this.deadline.get_or_insert_with(deadline).as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
