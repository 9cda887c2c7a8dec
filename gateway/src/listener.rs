//! Accepts connections, in the clear or by TLS, and serves HTTP on them. What of its framing is accepted decides `listener/wire.rs`, and
//! `listener/connection.rs` keeps a connection to it and to its times; hyper reads only what both have passed.

mod connection;
mod frames;
mod http2;
mod incoming;
pub(crate) mod proxy_protocol;
mod socket;
pub(crate) mod wire;

pub use connection::body_fault;
pub use incoming::Incoming;

use crate::error::{Error, Result};
use crate::limits;
use crate::peer::{Client, Peer, Proxies};
use crate::tls::Handshakes;
use certs::Serving;
use connection::{Answer, Connection, Phase};
use http::request::Parts as Head;
use http::{HeaderValue, Request, Response, header};
use http2::Http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
pub use proxy_protocol::ProxyProtocol;
use s3s::Body;
use socket::{Counted, Socket};
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
    proxies: Proxies,
    proxy_protocol: Option<ProxyProtocol>,
}

impl Listener {
    #[expect(clippy::disallowed_methods, reason = "this is the door for listeners")]
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let failed = |source| Error::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, proxies: Proxies::default(), proxy_protocol: None })
    }

    /// Connections of these proxies are those of many clients, and are not counted as one address's.
    pub fn behind(mut self, proxies: &Proxies) -> Self {
        self.proxies = proxies.clone();
        self
    }

    /// Connections of these proxies begin with whose they are.
    pub fn told_by(mut self, proxy_protocol: &ProxyProtocol) -> Self {
        self.proxy_protocol = Some(proxy_protocol.clone());
        self
    }

    /// With the port that the kernel chose if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the last connection is gone after `stage` left `Serving`.
    pub async fn serve(
        self,
        handler: Arc<dyn Handler>,
        connections_max: u32,
        mut stage: watch::Receiver<Stage>,
        secured: Secured,
    ) {
        let permits = Arc::new(Semaphore::new(connections_max as usize));
        let addresses = Addresses::new((connections_max / 2).max(1), self.proxies.clone());
        let (shaking, http2) =
            (Shaking::new(connections_max, &self.proxies), Http2::new(connections_max, self.proxies.clone()));
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
                Ok((mut stream, peer)) => {
                    let proxy = self.proxy_protocol.as_ref().filter(|proxies| proxies.is_spoken_by(peer.ip())).cloned();
                    // Whose a proxy's connection is, and whether that client has too many, is known later.
                    let place = if proxy.is_some() { None } else { addresses.enter(peer.ip()) };
                    if proxy.is_none() && place.is_none() {
                        continue;
                    }
                    let (handler, stage, shaking, http2) =
                        (handler.clone(), stage.clone(), shaking.clone(), http2.clone());
                    let (mut secured, addresses) = (secured.clone(), addresses.clone());
                    let serving = secured.serving.borrow_and_update().clone();
                    tokio::spawn(async move {
                        // Answers are written whole; waiting for more to send only delays them.
                        let _ = stream.set_nodelay(true);
                        let mut ending = Ending { stage, changes: secured.serving };
                        let opening = async {
                            let (client, place) = match &proxy {
                                None => (Client::straight(peer.ip()), place),
                                Some(proxy) => {
                                    let client = proxy.client_of(&mut stream, peer.ip()).await?;
                                    (client, Some(addresses.enter(client.address)?))
                                }
                            };
                            Some((open(stream, client, serving, &shaking, &secured.handshakes).await?, place))
                        };
                        let opened = tokio::select! {
                            opened = opening => opened,
                            () = ending.begins() => None,
                        };
                        let (opened, place) = opened.unzip();
                        match opened {
                            Some((socket, peer)) if peer.speaks_http2() => {
                                serve_http2(socket, peer, handler, http2, ending).await;
                            }
                            Some((socket, peer)) => serve_connection(socket, peer, handler, ending).await,
                            None => {}
                        }
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
    proxies: Proxies,
}

/// One of an address's connections, until it is dropped.
struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    fn new(limit: u32, proxies: Proxies) -> Self {
        Self { counts: Arc::default(), limit, proxies }
    }

    fn enter(&self, address: IpAddr) -> Option<Place> {
        // A port of both families shows those of version 4 as of version 6, and a proxy tells them as they are.
        let address = address.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= self.limit && !self.proxies.trusts(address) {
            tracing::debug!(%address, "an address has too many connections: this one is closed");
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

/// What a listener speaks, which changes at run time, and what is counted of its handshakes.
#[derive(Clone)]
pub struct Secured {
    pub serving: watch::Receiver<Serving>,
    pub handshakes: Handshakes,
}

/// Bounds of handshakes that go on at once: who only begins them keeps nobody out for long.
#[derive(Clone)]
struct Shaking {
    places: Arc<Semaphore>,
    addresses: Addresses,
}

impl Shaking {
    fn new(connections_max: u32, proxies: &Proxies) -> Self {
        let most = (connections_max / 2).clamp(1, limits::HANDSHAKES_MAX);
        let addresses = Addresses::new((most / 2).max(1), proxies.clone());
        Self { places: Arc::new(Semaphore::new(most as usize)), addresses }
    }
}

/// What ends a connection after its request: the end of the process, or that the listener speaks something else from now on.
struct Ending {
    stage: watch::Receiver<Stage>,
    changes: watch::Receiver<Serving>,
}

impl Ending {
    async fn begins(&mut self) {
        tokio::select! {
            () = leaves(&mut self.stage, Stage::Serving) => {}
            changed = self.changes.changed() => {
                if changed.is_err() {
                    leaves(&mut self.stage, Stage::Serving).await;
                }
            }
        }
    }

    /// Whatever is left is cut.
    async fn is_over(&mut self) {
        let _ = self.stage.wait_for(|stage| *stage == Stage::Closing).await;
    }
}

/// The bytes of a client, once it is clear what they are.
async fn open(
    stream: TcpStream,
    client: Client,
    serving: Serving,
    shaking: &Shaking,
    handshakes: &Handshakes,
) -> Option<(Socket, Peer)> {
    let stream = Counted::new(stream);
    let Serving::Tls { config, level } = serving else { return Some((Socket::Plain(stream), Peer::of(client))) };
    let place = shaking.addresses.enter(client.address);
    let permit = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, shaking.places.acquire()).await;
    let (Some(_place), Ok(Ok(_permit))) = (place, permit) else {
        handshakes.refused();
        return None;
    };
    let (stream, secure) = handshakes.shake(stream, config, level).await?;
    Some((Socket::Tls(Box::new(stream)), Peer::secure(client, secure)))
}

async fn serve_http2(socket: Socket, peer: Peer, handler: Arc<dyn Handler>, http2: Http2, mut ending: Ending) {
    let (stage, staged) = watch::channel(Stage::Serving);
    let stages = async {
        ending.begins().await;
        stage.send_replace(Stage::Draining);
        ending.is_over().await;
        stage.send_replace(Stage::Closing);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = http2.serve(socket, peer, handler, staged) => {}
        () = stages => {}
    }
}

async fn serve_connection(socket: Socket, peer: Peer, handler: Arc<dyn Handler>, mut ending: Ending) {
    let phase = Phase::default();
    let leaving = phase.clone();
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Incoming::of_connection);
        request.extensions_mut().insert(peer.clone());
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
        .max_buf_size(limits::CONNECTION_BUFFER_BYTES_MAX)
        .writev(true)
        .serve_connection(TokioIo::new(Connection::new(socket, phase.clone())), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = ending.begins() => {
            leaving.leave();
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = ending.is_over() => return,
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
        let addresses = Addresses::new(2, Proxies::parse(&["127.0.0.3".to_owned()]).expect("an address"));
        let proxy = IpAddr::from([127, 0, 0, 3]);
        let _many: Vec<_> = (0..5).map(|_| addresses.enter(proxy).expect("a proxy has no limit")).collect();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = addresses.enter(one).expect("the first");
        let _second = addresses.enter(one).expect("the second");
        assert!(addresses.enter(one).is_none());
        let third = addresses.enter(other).expect("another address");
        drop((first, third));
        assert!(addresses.enter(one).is_some());
        assert_eq!(addresses.counts.lock().expect("whole").len(), 2, "addresses that are gone are forgotten");
    }
}
