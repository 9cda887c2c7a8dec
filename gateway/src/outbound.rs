//! Requests to the outside: the gateway's one door there. Webhooks go where the server's settings say (`Client`); documents
//! of issuers are fetched from where an account's administrator says (`outbound/fetch.rs`), who may be a stranger to the
//! network that the server stands in.

mod fetch;

pub use fetch::Fetcher;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request to the end of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection whose answer is longer is not used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const CONNECTIONS_KEPT_MAX: usize = 16;

const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

/// A receiver's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    authority: Authority,
    path: String,
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| format!("{text} is no URL"))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(format!("{text} begins with neither https:// nor http://")),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).cloned();
        let authority = authority.ok_or_else(|| format!("{text}: a host is needed, and no user before it"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { tls, authority, path })
    }

    fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }
}

pub struct Client {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    idle: Mutex<Vec<Sender>>,
}

type Sender = SendRequest<Full<Bytes>>;

impl Client {
    /// The token goes out as it is if it names its scheme, else as a bearer's.
    pub fn new(endpoint: Endpoint, token: Option<&str>) -> Result<Self, String> {
        let value = token.map(|token| if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") });
        let mut authorization = value.map(HeaderValue::try_from).transpose();
        if let Ok(Some(value)) = &mut authorization {
            value.set_sensitive(true);
        }
        let authorization = authorization.map_err(|_| "the token is no header's value".to_owned())?;
        Ok(Self { endpoint, authorization, idle: Mutex::default() })
    }

    /// Sends one document and gives the answer's status.
    pub async fn post(&self, document: Bytes) -> Result<StatusCode, String> {
        let mut sender = match self.kept() {
            Some(sender) => sender,
            None => {
                timeout(CONNECT_TIMEOUT, self.connect()).await.map_err(|_| "connecting took too long".to_owned())??
            }
        };
        let asked = async {
            let mut request = Request::post(self.endpoint.path.as_str())
                .header(header::HOST, self.endpoint.authority.as_str())
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::USER_AGENT, USER_AGENT);
            if let Some(authorization) = &self.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let request = request.body(Full::new(document)).map_err(|error| error.to_string())?;
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let whole = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.is_ok();
            Ok::<_, String>((status, whole))
        };
        let (status, whole) = timeout(ANSWER_TIMEOUT, asked).await.map_err(|_| "no answer in time".to_owned())??;
        if whole {
            self.keep(sender);
        }
        Ok(status)
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < CONNECTIONS_KEPT_MAX {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<Sender, String> {
        let Endpoint { authority, .. } = &self.endpoint;
        let addresses = resolve(&self.endpoint).await?;
        connect(&self.endpoint, &addresses).await.map_err(|error| format!("{authority}: {error}"))
    }
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await;
    let found: Vec<_> = found.map_err(|error| format!("{}: {error}", endpoint.authority))?.collect();
    if found.is_empty() { Err(format!("{} has no address", endpoint.authority)) } else { Ok(found) }
}

/// Connects to one of these addresses of the endpoint, and to nothing else.
#[expect(clippy::disallowed_methods, reason = "this is the door to the outside")]
async fn connect(endpoint: &Endpoint, addresses: &[SocketAddr]) -> Result<Sender, String> {
    let stream = TcpStream::connect(addresses).await.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    if endpoint.tls {
        let name = ServerName::try_from(endpoint.host().to_owned()).map_err(|error| error.to_string())?;
        let stream = tls().await?.connect(name, stream).await.map_err(|error| error.to_string())?;
        speak(stream).await
    } else {
        speak(stream).await
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the outside ended");
        }
    });
    Ok(sender)
}

/// TLS with the certificate authorities that the system trusts, or those in the file that `SSL_CERT_FILE` names. They are read
/// when they are needed first.
async fn tls() -> Result<TlsConnector, String> {
    static CONNECTOR: OnceCell<TlsConnector> = OnceCell::const_new();
    CONNECTOR.get_or_try_init(make_tls).await.cloned()
}

async fn make_tls() -> Result<TlsConnector, String> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let loaded = loaded.map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    let (known, _unreadable) = roots.add_parsable_certificates(loaded.certs);
    if known == 0 {
        return Err(
            "no certificate authority is trusted: install ca-certificates, or name a file in SSL_CERT_FILE".into()
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls() {
        let endpoint = Endpoint::parse("http://[::1]:8080/in?x=1").expect("a good one");
        assert_eq!((endpoint.authority.as_str(), endpoint.path.as_str()), ("[::1]:8080", "/in?x=1"));
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.tls), ("::1", 8080, false));
        let endpoint = Endpoint::parse("https://example.com").expect("a good one");
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.tls), ("example.com", 443, true));
        assert_eq!(endpoint.path, "/");
        for bad in ["", "example.com", "ftp://example.com/", "http://user@example.com/", "/path"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
