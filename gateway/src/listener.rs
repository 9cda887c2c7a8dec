//! Accepts connections and serves HTTP/1.1 on them. What of its framing is accepted decides `listener/wire.rs`, and
//! `listener/connection.rs` keeps a connection to it and to its times; hyper reads only what both have passed.

mod connection;
mod frames;
#[allow(dead_code, reason = "until TLS agrees on it")]
mod http2;
mod incoming;
pub(crate) mod wire;

pub use connection::body_fault;
#[allow(unused_imports, reason = "until TLS agrees on it")]
pub use http2::Http2;
pub use incoming::Incoming;

use crate::error::{Error, Result};
use crate::limits;
use crate::peer::Peer;
use connection::{Answer, Connection, Phase};
use http::request::Parts as Head;
use http::{HeaderValue, Request, Response, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::Body;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

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

    /// For bytes that are no request; `head` is made up.
    async fn refuse(&self, head: &Head, error: Error) -> Response<Body>;
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
    pub async fn serve(self, handler: Arc<dyn Handler>, connections_max: u32, mut stage: watch::Receiver<Stage>) {
        let permits = Arc::new(Semaphore::new(connections_max as usize));
        let addresses = Addresses::new((connections_max / 2).max(1));
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
                Ok((stream, peer)) => {
                    let Some(place) = addresses.enter(peer.ip()) else {
                        tracing::debug!(address = %peer.ip(), "an address has too many connections: this one is closed");
                        continue;
                    };
                    let (handler, stage) = (handler.clone(), stage.clone());
                    tokio::spawn(async move {
                        serve_connection(stream, peer.ip(), handler, stage).await;
                        drop((permit, place));
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
        let _all = permits.acquire_many(connections_max).await;
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Waits until the shutdown has gone beyond this stage.
pub async fn leaves(stage: &mut watch::Receiver<Stage>, from: Stage) {
    let _ = stage.wait_for(|stage| *stage != from).await;
}

/// Counts the open connections of each address.
#[derive(Clone)]
struct Addresses {
    counts: Arc<Mutex<HashMap<IpAddr, u32>>>,
    limit: u32,
}

/// One of an address's connections, until it is dropped.
struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    fn new(limit: u32) -> Self {
        Self { counts: Arc::default(), limit }
    }

    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get_mut(&self.address).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            counts.remove(&self.address);
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: IpAddr,
    handler: Arc<dyn Handler>,
    mut stage: watch::Receiver<Stage>,
) {
    // Answers are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let phase = Phase::default();
    let leaving = phase.clone();
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Incoming::of_connection);
        request.extensions_mut().insert(Peer::plain(peer));
        let (handler, phase) = (handler.clone(), phase.clone());
        async move {
            let answer = match phase.refusal() {
                None => handler.handle(request).await,
                Some(error) => {
                    let mut answer = handler.refuse(&request.into_parts().0, error).await;
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    answer
                }
            };
            Ok::<_, std::convert::Infallible>(answer.map(|body| Answer::new(body, phase)))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's one timer runs from the end of an answer to the end of the next header block, so it is the idle limit.
        .header_read_timeout(limits::IDLE_TIMEOUT)
        .max_headers(limits::HEADERS_MAX)
        .max_header_size(limits::HEADER_BLOCK_BYTES_MAX)
        .writev(true)
        .serve_connection(TokioIo::new(Connection::new(stream, phase.clone())), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = leaves(&mut stage, Stage::Serving) => {
            leaving.leave();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_limit_of_its_own() {
        let addresses = Addresses::new(2);
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = addresses.enter(one).expect("the first");
        let _second = addresses.enter(one).expect("the second");
        assert!(addresses.enter(one).is_none());
        let third = addresses.enter(other).expect("another address");
        drop((first, third));
        assert!(addresses.enter(one).is_some());
        assert_eq!(addresses.counts.lock().expect("whole").len(), 1, "addresses that are gone are forgotten");
    }
}
