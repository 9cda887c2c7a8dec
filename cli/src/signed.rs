//! Requests to a running appliance, signed with Signature Version 4: what the admin API and S3 have in common.

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::trust;
use bytes::Bytes;
use common::Clock;
use common::doors::SystemClock;
use common::sigv4::{self, Authorization, Scope};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// A GET that needs no key.
pub async fn get(endpoint: &str, path: &str) -> Result<Answer> {
    get_by(endpoint, path, trust::connector).await
}

/// The same from whoever answers, whether it is known or not.
pub async fn get_blindly(endpoint: &str, path: &str) -> Result<Answer> {
    get_by(endpoint, path, trust::blind_connector).await
}

async fn get_by(endpoint: &str, path: &str, tls: fn() -> Result<TlsConnector, String>) -> Result<Answer> {
    let (uri, _) = locate(endpoint, path)?;
    let request = Request::builder().method(Method::GET).uri(&uri).body(Bytes::new());
    send(endpoint, &uri, request.expect("a located address makes a request"), tls).await
}

/// One request, signed for a region.
pub async fn ask(
    endpoint: &str,
    credentials: &Credentials,
    region: &str,
    method: &Method,
    path: &str,
    body: Bytes,
) -> Result<Answer> {
    let (uri, host) = locate(endpoint, path)?;
    let timestamp = sigv4::timestamp(SystemClock.now_ms());
    let payload_hash = sigv4::payload_hash(&body);
    let headers = vec![
        ("host", host.as_str()),
        ("x-amz-content-sha256", payload_hash.as_str()),
        ("x-amz-date", timestamp.as_str()),
    ];
    let scope = Scope { date: timestamp[..8].to_owned(), region: region.to_owned(), service: "s3".to_owned() };
    let signed = sigv4::Request {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        headers: headers.clone(),
        payload_hash: &payload_hash,
    };
    let Credentials { access_key, secret } = credentials;
    let authorization = Authorization::sign(&access_key.0, secret.expose(), scope, &timestamp, &signed);

    let mut request = Request::builder().method(method).uri(&uri).header("authorization", authorization.to_string());
    for (name, value) in headers.into_iter().filter(|(name, _)| *name != "host") {
        request = request.header(name, value);
    }
    let request = request.body(body).expect("names and values of a signature are plain text");
    send(endpoint, &uri, request, trust::connector).await
}

/// The address of `path` at an endpoint, and the value of its `Host`.
fn locate(endpoint: &str, path: &str) -> Result<(Uri, String)> {
    let wrong = || Error::Usage(format!("{endpoint} is no endpoint: write http://HOST:PORT or https://HOST:PORT"));
    let uri: Uri = format!("{}{path}", endpoint.trim_end_matches('/')).parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|_| matches!(uri.scheme_str(), Some("http" | "https"))).ok_or_else(wrong)?;
    let host = authority.to_string();
    Ok((uri, host))
}

async fn send(
    endpoint: &str,
    uri: &Uri,
    request: Request<Bytes>,
    tls: fn() -> Result<TlsConnector, String>,
) -> Result<Answer> {
    let answer = tokio::time::timeout(TIMEOUT, exchange(uri, request, tls)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {} seconds", TIMEOUT.as_secs())));
    answer.map_err(|why| Error::Unreachable { endpoint: endpoint.to_owned(), why })
}

/// One request on a connection of its own.
#[expect(clippy::disallowed_methods, reason = "the command line's one connection to its appliance")]
async fn exchange(
    uri: &Uri,
    request: Request<Bytes>,
    tls: fn() -> Result<TlsConnector, String>,
) -> Result<Answer, String> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = tokio::net::TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| error.to_string())?;
    if !is_tls {
        return exchange_on(stream, uri, request).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = tls()?.connect(name, stream).await.map_err(|error| {
        format!("{error} (weir tls trust makes an appliance's own authority known, WEIR_CA_FILE another one)")
    })?;
    exchange_on(stream, uri, request).await
}

async fn exchange_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    request: Request<Bytes>,
) -> Result<Answer, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Ends with the sender; its error reaches us through the answer.
    tokio::spawn(connection);

    let (mut head, body) = request.into_parts();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    head.headers.insert("host", authority.parse().map_err(|_| "the host's name is not plain text".to_owned())?);
    head.uri = uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| "bad path".to_owned())?;
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await;
    let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { status: head.status, body })
}
