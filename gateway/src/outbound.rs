//! Requests to receivers of notifications: the gateway's one door to the outside. Where they go stands in the server's
//! settings, never in a bucket's.

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request to the end of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection whose answer is longer is not used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const CONNECTIONS_KEPT_MAX: usize = 16;

/// A receiver's address. TLS to receivers does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: Authority,
    path: String,
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| format!("{text} is no URL"))?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(scheme) if *scheme == Scheme::HTTPS => {
                return Err(format!(
                    "{text}: receivers are reached by http:// only for now; put a proxy with TLS between"
                ));
            }
            _ => return Err(format!("{text} does not begin with http://")),
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).cloned();
        let authority = authority.ok_or_else(|| format!("{text}: a host is needed, and no user before it"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { authority, path })
    }
}

pub struct Client {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

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
                .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")));
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

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < CONNECTIONS_KEPT_MAX {
            idle.push(sender);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door for receivers of notifications")]
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let authority = &self.endpoint.authority;
        let host = authority.host().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await;
        let stream = stream.map_err(|error| format!("{authority}: {error}"))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a receiver ended");
            }
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_without_tls() {
        let endpoint = Endpoint::parse("http://[::1]:8080/in?x=1").expect("a good one");
        assert_eq!((endpoint.authority.as_str(), endpoint.path.as_str()), ("[::1]:8080", "/in?x=1"));
        assert!(Endpoint::parse("https://example.com/").expect_err("no TLS").contains("http:// only"));
        for bad in ["", "example.com", "ftp://example.com/", "http://user@example.com/", "/path"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
