//! Where a request comes from. The listener says it, in the request's extensions; what a trusted proxy says instead is decided
//! here, before anybody else sees the request, so that everybody else asks one thing only.

mod forwarded;

use crate::error::{Error, Result};
use crate::listener::{Handler, Incoming};
use crate::tls::Secure;
use common::Network;
pub use forwarded::Told;
use http::request::Parts as Head;
use http::{Request, Response};
use s3s::Body;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address: what policies, limits and logs mean by it.
    pub address: IpAddr,
    /// The client's bytes were encrypted on their way: `aws:SecureTransport`.
    pub is_secure: bool,
    /// What TLS has agreed on, where it ends here.
    pub tls: Option<Secure>,
    /// Whether it is believed further, if it has a trusted proxy's address.
    may_tell: bool,
}

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    pub is_secure: bool,
    /// Not where a proxy of TCP has named nobody: then it is the proxy's address, and anybody may be behind it.
    pub is_named: bool,
}

impl Client {
    /// Of a connection that came straight.
    pub fn straight(address: IpAddr) -> Self {
        Self { address, is_secure: false, is_named: true }
    }
}

impl Peer {
    #[cfg(test)]
    pub fn plain(address: IpAddr) -> Self {
        Self::of(Client::straight(address))
    }

    /// Of a connection that does not speak TLS with us; a proxy may have ended it.
    pub fn of(Client { address, is_secure, is_named }: Client) -> Self {
        Self { address, is_secure, tls: None, may_tell: is_named }
    }

    pub fn secure(client: Client, tls: Secure) -> Self {
        Self { is_secure: true, tls: Some(tls), ..Self::of(client) }
    }

    pub fn speaks_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(Secure::speaks_http2)
    }
}

/// The networks whose word about their clients is taken. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[Network]>);

impl Proxies {
    /// Each is an address or a network. One that has every address is none: then each client would choose its own.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let network = |text: &String| match Network::parse(text) {
            None => Err(format!("{text:?} is neither an address nor a network like 10.0.0.0/8")),
            Some(network) if network.bits() == 0 => Err(format!("{text} would let each client choose its own address")),
            Some(network) => Ok(network),
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.has(address))
    }

    /// The peer of a request: that of its connection, or of the trusted proxy's client.
    fn peer_of(&self, connected: &Peer, head: &Head) -> Result<Peer> {
        if !connected.may_tell || !self.trusts(connected.address) {
            return Ok(connected.clone());
        }
        let told = Told::of(&head.headers, |address| self.trusts(address)).map_err(Error::BadForwarded)?;
        let mut peer = connected.clone();
        if let Some(told) = told {
            peer.address = told.address;
            peer.is_secure = told.is_secure;
            // How the proxy came here says nothing about its client.
            peer.tls = None;
        }
        Ok(peer)
    }
}

/// A listener's handler, behind proxies.
pub struct Proxied {
    inner: Arc<dyn Handler>,
    proxies: Proxies,
}

impl Proxied {
    pub fn around(inner: Arc<dyn Handler>, proxies: Proxies) -> Arc<dyn Handler> {
        if proxies.is_empty() { inner } else { Arc::new(Self { inner, proxies }) }
    }
}

#[async_trait::async_trait]
impl Handler for Proxied {
    async fn handle(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some(connected) = request.extensions().get::<Peer>().cloned() else {
            return self.inner.handle(request).await;
        };
        let (head, body) = request.into_parts();
        match self.proxies.peer_of(&connected, &head) {
            Ok(peer) => {
                request = Request::from_parts(head, body);
                request.extensions_mut().insert(peer);
                self.inner.handle(request).await
            }
            Err(error) => self.inner.refuse(&head, error).await,
        }
    }

    async fn refuse(&self, head: &Head, error: Error) -> Response<Body> {
        self.inner.refuse(head, error).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(proxies: &[&str], connected: &str, headers: &[(&str, &str)]) -> Result<(String, bool), ()> {
        let proxies: Vec<String> = proxies.iter().map(|text| (*text).to_owned()).collect();
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let proxies = Proxies::parse(&proxies).expect("networks");
        let mut client = Client::straight(connected.parse().expect("an address"));
        let peer = proxies.peer_of(&Peer::of(client), &head).map_err(|_| ())?;
        // Where nobody is named nobody is believed.
        client.is_named = false;
        assert_eq!(proxies.peer_of(&Peer::of(client), &head).expect("no word").address, client.address);
        Ok((peer.address.to_string(), peer.is_secure))
    }

    const CLAIMS: [(&str, &str); 3] =
        [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "https"), ("forwarded", "for=9.9.9.9;proto=https")];

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(peer(&["10.0.0.0/8"], "10.1.1.1", &CLAIMS), Ok(("9.9.9.9".to_owned(), true)));
        assert_eq!(peer(&["10.0.0.0/8"], "::ffff:10.1.1.1", &CLAIMS), Ok(("9.9.9.9".to_owned(), true)));
        assert_eq!(peer(&["10.0.0.0/8"], "11.1.1.1", &CLAIMS), Ok(("11.1.1.1".to_owned(), false)));
        assert_eq!(peer(&[], "127.0.0.1", &CLAIMS), Ok(("127.0.0.1".to_owned(), false)));
        // Whoever is not believed may say anything.
        assert_eq!(peer(&[], "127.0.0.1", &[("x-forwarded-for", "\"")]), Ok(("127.0.0.1".to_owned(), false)));
        // What a proxy asks for itself.
        assert_eq!(peer(&["10.0.0.0/8"], "10.1.1.1", &[]), Ok(("10.1.1.1".to_owned(), false)));
        assert_eq!(peer(&["10.0.0.0/8"], "10.1.1.1", &[("x-forwarded-for", "unknown")]), Err(()));
    }

    #[test]
    fn a_list_of_proxies_is_no_list_of_everybody() {
        for wrong in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "proxy.example", ""] {
            assert!(Proxies::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
        let proxies = Proxies::parse(&["127.0.0.1".to_owned(), "fd00::/8".to_owned()]).expect("networks");
        assert!(proxies.trusts("fd12::3".parse().expect("it")) && !proxies.trusts("127.0.0.2".parse().expect("it")));
    }
}
