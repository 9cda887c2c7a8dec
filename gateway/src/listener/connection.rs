//! The bytes of one connection on their way to hyper. A header block is held back until it is whole and `wire.rs` has passed
//! it, the body is followed to its end, and the next request waits until this one is answered. So hyper never sees a byte
//! whose meaning is in doubt. Bytes that are no request are replaced by one that the service answers with the refusal.
//!
//! hyper has one timer, for the time between requests. Those of a header block and of a body's progress are here.

use super::socket::Socket;
use super::wire::{self, BodyFraming, Chunks};
use crate::error::Error;
use crate::limits;
use bytes::{Buf, Bytes, BytesMut};
use futures::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What hyper gets in place of bytes that are no request. The service knows, by the phase, and refuses it.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// What is read of the socket at once while a header block is awaited.
const READ_BYTES: usize = 4 * 1024;

/// What is read at once to be forgotten.
const FAREWELL_READ_BYTES: usize = 16 * 1024;

/// What connection and service tell each other.
#[derive(Clone, Default)]
pub struct Phase(Arc<PhaseState>);

#[derive(Default)]
struct PhaseState {
    /// A request has gone to hyper, and its answer is not done.
    serving: AtomicBool,
    answered: AtomicWaker,
    leaving: AtomicBool,
    refusal: Mutex<Option<Error>>,
}

impl Phase {
    /// Why the request that hyper has now is no request, if it is none.
    pub fn refusal(&self) -> Option<Error> {
        self.0.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn refuse(&self, error: Error) {
        *self.0.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The process ends: whoever still sends behind its answer is not waited for. The connection is to be polled after this.
    pub fn leave(&self) {
        self.0.leaving.store(true, Ordering::Release);
    }

    fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    fn begin(&self) {
        self.0.serving.store(true, Ordering::Release);
    }

    fn end(&self) {
        self.0.serving.store(false, Ordering::Release);
        self.0.answered.wake();
    }

    /// Whether the next request may go to hyper. If not, the task is woken when it may.
    fn is_free(&self, context: &Context<'_>) -> bool {
        self.0.answered.register(context.waker());
        !self.0.serving.load(Ordering::Acquire)
    }
}

/// An answer's body; when hyper is done with it, the connection waits for the next request.
pub struct Answer {
    body: Body,
    phase: Phase,
}

impl Answer {
    pub fn new(body: Body, phase: Phase) -> Self {
        Self { body, phase }
    }
}

impl http_body::Body for Answer {
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

impl Drop for Answer {
    fn drop(&mut self) {
        self.phase.end();
    }
}

/// Why a body ended that hyper reports as broken, if this connection broke it.
pub fn body_fault(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<io::Error>() {
            return match fault.kind() {
                io::ErrorKind::TimedOut => Some(Error::RequestTimeout),
                io::ErrorKind::InvalidData => Some(Error::BadHttp("the framing of a chunk")),
                _ => None,
            };
        }
        source = error.source();
    }
    None
}

#[derive(Debug)]
enum Reading {
    /// A header block, of which so many held bytes were looked at.
    Head {
        seen: usize,
    },
    /// A whole block on its way to hyper.
    Passing {
        left: usize,
        body: BodyFraming,
    },
    Length(u64),
    Chunked(Chunks),
    /// Nothing more will be believed.
    Broken,
}

pub struct Connection {
    stream: Socket,
    phase: Phase,
    reading: Reading,
    /// Read from the socket, not yet given to hyper.
    held: BytesMut,
    head_deadline: Option<Pin<Box<Sleep>>>,
    progress: Progress,
    taking: Taking,
    refused: bool,
    farewell: Option<Farewell>,
}

impl Connection {
    pub fn new(stream: Socket, phase: Phase) -> Self {
        Self {
            stream,
            phase,
            reading: Reading::Head { seen: 0 },
            held: BytesMut::new(),
            head_deadline: None,
            progress: Progress::of_bodies(),
            taking: Taking::new(),
            refused: false,
            farewell: None,
        }
    }

    /// Waits for a whole header block. `None`: the client has ended the connection.
    fn poll_head(&mut self, context: &mut Context<'_>, mut seen: usize) -> Poll<io::Result<Option<Reading>>> {
        loop {
            if !self.phase.is_free(context) {
                // Only the end of the connection is of interest now; a request that came early waits, and so does its rest.
                if self.held.is_empty() && ready!(self.poll_hold(context))? == 0 {
                    return Poll::Ready(Ok(None));
                }
                return Poll::Pending;
            }
            // Some clients send an empty line behind a body.
            while seen == 0 && self.held.starts_with(b"\r\n") {
                self.held.advance(2);
            }
            match wire::head_end(&self.held, seen) {
                Ok(Some(end)) => {
                    self.head_deadline = None;
                    return Poll::Ready(Ok(Some(match wire::body_framing(&self.held[..end]) {
                        Ok(body) => Reading::Passing { left: end, body },
                        Err(error) => self.refuse(error),
                    })));
                }
                Ok(None) => seen = self.held.len(),
                Err(error) => return Poll::Ready(Ok(Some(self.refuse(error)))),
            }
            self.reading = Reading::Head { seen };
            if !self.held.is_empty() {
                let deadline = || Box::pin(tokio::time::sleep(limits::HEADER_READ_TIMEOUT));
                if self.head_deadline.get_or_insert_with(deadline).as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            if ready!(self.poll_hold(context))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    fn refuse(&mut self, error: Error) -> Reading {
        self.head_deadline = None;
        self.refused = true;
        self.phase.refuse(error);
        self.held.clear();
        self.held.extend_from_slice(STAND_IN);
        Reading::Passing { left: STAND_IN.len(), body: BodyFraming::Length(0) }
    }

    /// What a write, a flush or the end came to, or an error when the client takes nothing.
    fn judge<T>(&mut self, context: &mut Context<'_>, came: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let had_come = came.is_ready();
        let judged = self.taking.judge(context, self.stream.taken(), came);
        if judged.is_ready() && !had_come {
            self.stream.forget_unsent();
        }
        judged
    }

    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // hyper asks several times for each request: nothing is made ready for a read before there is something to read.
        ready!(self.stream.poll_read_ready(context))?;
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        // tokio learns from a short read that there is no more; `try_read_buf` would ask the kernel once more.
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Thousands of idle connections keep no buffer here.
    fn let_go(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Gives hyper what is held, or reads the socket for it.
    fn poll_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            let length = self.held.len().min(buffer.remaining());
            buffer.put_slice(&self.held[..length]);
            self.held.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.progress.poll_wait(context),
            Poll::Ready(read) => {
                self.progress.came(buffer.filled().len() - before);
                Poll::Ready(read)
            }
        }
    }

    /// What came beyond the body belongs to the next request.
    fn keep_rest(&mut self, buffer: &mut ReadBuf<'_>, end: usize) {
        let rest = &buffer.filled()[end..];
        let mut held = BytesMut::with_capacity(rest.len() + self.held.len());
        held.extend_from_slice(rest);
        held.extend_from_slice(&self.held);
        self.held = held;
        buffer.set_filled(end);
        self.reading = Reading::Head { seen: 0 };
        self.progress = Progress::of_bodies();
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        loop {
            match &mut this.reading {
                Reading::Head { seen } => {
                    let seen = *seen;
                    match ready!(this.poll_head(context, seen))? {
                        Some(next) => this.reading = next,
                        None => return Poll::Ready(Ok(())),
                    }
                }
                Reading::Passing { left, body } => {
                    let length = (*left).min(buffer.remaining());
                    buffer.put_slice(&this.held[..length]);
                    this.held.advance(length);
                    *left -= length;
                    if *left == 0 {
                        this.phase.begin();
                        this.reading = match body {
                            BodyFraming::Length(0) => Reading::Head { seen: 0 },
                            BodyFraming::Length(length) => Reading::Length(*length),
                            BodyFraming::Chunked => Reading::Chunked(Chunks::default()),
                        };
                        this.let_go();
                    }
                    return Poll::Ready(Ok(()));
                }
                Reading::Length(left) => {
                    let left = *left;
                    ready!(this.poll_more(context, buffer))?;
                    let came = (buffer.filled().len() - before) as u64;
                    if came < left {
                        this.reading = Reading::Length(left - came);
                    } else {
                        let end = buffer.filled().len() - usize::try_from(came - left).unwrap_or(0);
                        this.keep_rest(buffer, end);
                    }
                    return Poll::Ready(Ok(()));
                }
                Reading::Chunked(_) => {
                    ready!(this.poll_more(context, buffer))?;
                    let Reading::Chunked(chunks) = &mut this.reading else { continue };
                    match chunks.take(&buffer.filled()[before..]) {
                        Ok(taken) if chunks.ended() => this.keep_rest(buffer, before + taken),
                        Ok(_) => {}
                        Err(error) => {
                            buffer.set_filled(before);
                            this.reading = Reading::Broken;
                            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                        }
                    }
                    return Poll::Ready(Ok(()));
                }
                Reading::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, flushed)
    }

    /// Closes the writing side. If the client may still be sending, its bytes are read and forgotten until it has seen the end:
    /// a socket that is closed with unread bytes in it resets the connection, and the client would lose its answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            let shut = Pin::new(&mut this.stream).poll_shutdown(context);
            ready!(this.judge(context, shut))?;
            let all_read = matches!(this.reading, Reading::Head { seen: 0 }) && this.held.is_empty();
            if all_read && !this.refused {
                return Poll::Ready(Ok(()));
            }
        }
        let farewell = this.farewell.get_or_insert_with(Farewell::begin);
        let mut scratch = [0; FAREWELL_READ_BYTES];
        while !this.phase.is_leaving() && farewell.whole.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => farewell.silence = None,
                Poll::Ready(_) => break,
                Poll::Pending => {
                    let silence = || Box::pin(tokio::time::sleep(limits::LINGER_SILENCE_TIMEOUT));
                    ready!(farewell.silence.get_or_insert_with(silence).as_mut().poll(context));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The time in which a client may still be sending behind its answer.
struct Farewell {
    whole: Pin<Box<Sleep>>,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Farewell {
    fn begin() -> Self {
        Self { whole: Box::pin(tokio::time::sleep(limits::LINGER_TIMEOUT)), silence: None }
    }
}

/// Whether a body comes fast enough. Only time in which its reader waits for the client counts.
pub struct Progress {
    length: Duration,
    bytes_min: u64,
    /// The end of this window, and what came in it.
    window: Option<(Pin<Box<Sleep>>, u64)>,
    waited: bool,
    /// It has ended while the client was waited for.
    is_over: bool,
}

impl Progress {
    fn new(length: Duration, bytes_min: u64) -> Self {
        Self { length, bytes_min, window: None, waited: false, is_over: false }
    }

    pub fn of_bodies() -> Self {
        Self::new(limits::BODY_WINDOW, limits::BODY_WINDOW_BYTES_MIN)
    }

    pub fn came(&mut self, bytes: usize) {
        match &mut self.window {
            Some((end, sum)) if self.waited => {
                *sum += bytes as u64;
                self.is_over = end.is_elapsed();
            }
            // It was there before it was asked for: the client is not the slower one.
            _ => self.window = None,
        }
        self.waited = false;
    }

    /// Pending, or an error when a window has ended with too little in it.
    pub fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It ended while nobody waited for the client: a rule of rates holds its body up, or the disk does.
        if !self.waited && !self.is_over && self.window.as_ref().is_some_and(|(end, _)| end.is_elapsed()) {
            self.window = None;
        }
        (self.waited, self.is_over) = (true, false);
        loop {
            let begin = || (Box::pin(tokio::time::sleep(self.length)), 0);
            let (end, bytes) = self.window.get_or_insert_with(begin);
            ready!(end.as_mut().poll(context));
            if *bytes < self.bytes_min {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.window = None;
        }
    }
}

/// Whether the client takes its answer. TLS has room for some of it while the kernel has none, so what counts is the kernel's.
struct Taking {
    progress: Progress,
    seen: u64,
}

impl Taking {
    fn new() -> Self {
        Self { progress: Progress::new(limits::ANSWER_TIMEOUT, 1), seen: 0 }
    }

    /// `taken` is what the kernel has taken so far.
    fn judge<T>(&mut self, context: &mut Context<'_>, taken: u64, came: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let more = usize::try_from(taken.saturating_sub(self.seen)).unwrap_or(usize::MAX);
        self.seen = taken;
        if more > 0 {
            self.progress.came(more);
        }
        if came.is_pending() {
            ready!(self.progress.poll_wait(context))?;
            return Poll::Pending;
        }
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Windows of 200 ms with at least 100 bytes each; a piece comes every 20 ms.
    async fn outcome(piece_bytes: usize, pieces: u32) -> io::Result<()> {
        let mut progress = Progress::new(Duration::from_millis(200), 100);
        for _ in 0..pieces {
            if let Poll::Ready(ended) = progress.poll_wait(&mut Context::from_waker(Waker::noop())) {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            progress.came(piece_bytes);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_body_makes_progress_or_ends() {
        let (fast, slow, small) = tokio::join!(outcome(100, 30), outcome(1, 30), outcome(1, 2));
        assert!(fast.is_ok());
        assert_eq!(slow.expect_err("too slow").kind(), io::ErrorKind::TimedOut);
        assert!(small.is_ok(), "a small body has the time of one window");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_is_cut() {
        let mut taking = Taking::new();
        let mut judge = async |taken: u64, came: Poll<io::Result<usize>>, wait: Duration| {
            let mut came = Some(came);
            let once =
                std::future::poll_fn(|context| taking.judge(context, taken, came.take().unwrap_or(Poll::Pending)));
            tokio::time::timeout(wait, once).await
        };
        let (short, long) = (limits::ANSWER_TIMEOUT * 2 / 3, limits::ANSWER_TIMEOUT * 2);
        assert_eq!(judge(5, Poll::Ready(Ok(5)), long).await.expect("at once").expect("taken"), 5);
        // A client that takes a byte now and then has its time anew.
        for taken in 6..10 {
            assert!(judge(taken, Poll::Pending, short).await.is_err(), "it is waited for");
        }
        // One that takes nothing has not, whatever TLS still has room for, and whether a write waits or a flush.
        let began = tokio::time::Instant::now();
        assert!(judge(10, Poll::Pending, short).await.is_err());
        assert_eq!(judge(10, Poll::Ready(Ok(500)), short).await.expect("at once").expect("room"), 500);
        let cut = judge(10, Poll::Pending, long).await.expect("in time").expect_err("too slow");
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < limits::ANSWER_TIMEOUT * 2);
    }

    #[tokio::test]
    async fn the_time_in_which_we_hold_a_body_up_is_not_the_clients() {
        let mut progress = Progress::new(Duration::from_millis(20), 100);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(progress.poll_wait(&mut context).is_pending());
            progress.came(1);
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        assert!(progress.poll_wait(&mut context).is_pending());
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert!(matches!(progress.poll_wait(&mut context), Poll::Ready(Err(_))), "this time it was waited for");
    }

    #[tokio::test]
    async fn what_waited_for_its_reader_is_never_slow() {
        let mut progress = Progress::new(Duration::from_millis(1), 100);
        let mut context = Context::from_waker(Waker::noop());
        assert!(progress.poll_wait(&mut context).is_pending());
        progress.came(1);
        progress.came(1);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(progress.poll_wait(&mut context).is_pending(), "a new window");
    }
}
