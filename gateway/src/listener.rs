//! Accepts connections and serves HTTP/1.1 on them. A connection has a bounded time for each header block, a longer one
//! between requests, and on shutdown finishes the request it is at.
//!
//! hyper has one timer for "until the next header block is complete", which also runs while a connection is idle. It is set
//! to the idle limit; the shorter limit, from a block's first byte to its last, is `HeadTimer`'s.

use crate::error::{Error, Result};
use crate::limits;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{Body, StdError};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Sleep;

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Serving,
    /// No new connections; open ones finish their request.
    Draining,
    /// Whatever is left is cut.
    Closing,
}

/// Answers one request.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body>;
}

pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    #[expect(clippy::disallowed_methods, reason = "this is the door for listeners")]
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let failed = |source| Error::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// With the port that the kernel chose if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the last connection is gone after `stage` left `Serving`.
    pub async fn serve(self, handler: Arc<dyn Handler>, mut stage: watch::Receiver<Stage>) {
        let permits = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX as usize));
        loop {
            let accepted = async {
                let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
                (self.socket.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                accepted = accepted => accepted,
                () = leaves(&mut stage, Stage::Serving) => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (handler, stage) = (handler.clone(), stage.clone());
                    tokio::spawn(async move {
                        serve_connection(stream, handler, stage).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, usually: connections that end make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        let _all = permits.acquire_many(limits::CONNECTIONS_MAX).await;
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Waits until the shutdown has gone beyond this stage.
async fn leaves(stage: &mut watch::Receiver<Stage>, from: Stage) {
    let _ = stage.wait_for(|stage| *stage != from).await;
}

async fn serve_connection(stream: TcpStream, handler: Arc<dyn Handler>, mut stage: watch::Receiver<Stage>) {
    // Answers are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let phase = Phase::default();
    let service = service_fn(|request: Request<Incoming>| {
        phase.set(SERVING);
        let (handler, phase) = (handler.clone(), phase.clone());
        async move {
            let answer = handler.handle(request).await;
            Ok::<_, std::convert::Infallible>(answer.map(|body| Answer { body, phase }))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE_TIMEOUT)
        .max_headers(limits::HEADERS_MAX)
        .max_header_size(limits::HEADER_BLOCK_BYTES_MAX)
        .writev(true)
        .serve_connection(TokioIo::new(HeadTimer { stream, phase: phase.clone(), deadline: None }), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = leaves(&mut stage, Stage::Serving) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = leaves(&mut stage, Stage::Draining) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

const WAITING: u8 = 0;
const HEAD: u8 = 1;
const SERVING: u8 = 2;

/// Where a connection is: between requests, inside of a header block, or in a request.
#[derive(Clone, Default)]
struct Phase(Arc<AtomicU8>);

impl Phase {
    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that fails when a header block takes too long.
struct HeadTimer {
    stream: TcpStream,
    phase: Phase,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for HeadTimer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match (self.phase.get(), &read) {
            (WAITING, Poll::Ready(Ok(()))) if buffer.filled().len() > before => {
                self.phase.set(HEAD);
                self.deadline = Some(Box::pin(tokio::time::sleep(limits::HEADER_READ_TIMEOUT)));
                read
            }
            (HEAD, Poll::Pending) => match self.deadline.as_mut().map(|deadline| deadline.as_mut().poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Some(Poll::Pending) | None => Poll::Pending,
            },
            _ => read,
        }
    }
}

impl AsyncWrite for HeadTimer {
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

/// An answer's body; when hyper is done with it, the connection waits for the next request.
struct Answer {
    body: Body,
    phase: Phase,
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
        self.phase.set(WAITING);
    }
}
