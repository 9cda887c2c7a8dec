//! Requests to the admin API of a running appliance: found, signed, sent, and their problems turned into exit statuses.

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use bytes::Bytes;
use common::Clock;
use common::doors::SystemClock;
use common::sigv4::{self, Authorization, Scope};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const REGION: &str = "us-east-1";

pub struct AdminClient {
    endpoint: String,
    credentials: Credentials,
}

impl AdminClient {
    /// The admin port is at `WEIR_ADMIN_ENDPOINT`, or where `/-/info` of the data port (`WEIR_ENDPOINT`) says.
    pub async fn find(credentials: Credentials, environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        if let Some(endpoint) = environment("WEIR_ADMIN_ENDPOINT") {
            return Ok(Self { endpoint, credentials });
        }
        let data = environment("WEIR_ENDPOINT").unwrap_or_else(|| "http://127.0.0.1:9000".to_owned());
        let (uri, _) = locate(&data, "/-/info")?;
        let request = Request::builder().method(Method::GET).uri(&uri).body(Bytes::new());
        let (status, info) = send(&data, &uri, request.expect("a located address makes a request")).await?;
        match info["admin"].as_str() {
            Some(endpoint) if status.is_success() => Ok(Self { endpoint: endpoint.to_owned(), credentials }),
            _ => Err(Error::Failed(format!("{data} is not a weir: set WEIR_ADMIN_ENDPOINT"))),
        }
    }

    /// One signed request; the answer is its JSON, `Null` without a body.
    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let (mut status, mut answer) = self.ask_in(REGION, &method, path, body.clone()).await?;
        // The appliance alone knows its region, and says it when the guess was wrong.
        if let Some(region) = answer["region"].as_str().filter(|_| status == StatusCode::BAD_REQUEST) {
            (status, answer) = self.ask_in(region, &method, path, body).await?;
        }
        if status.is_success() { Ok(answer) } else { Err(from_problem(status, &answer)) }
    }

    async fn ask_in(&self, region: &str, method: &Method, path: &str, body: Bytes) -> Result<(StatusCode, Value)> {
        let (uri, host) = locate(&self.endpoint, path)?;
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
        let Credentials { access_key, secret } = &self.credentials;
        let authorization = Authorization::sign(&access_key.0, secret.expose(), scope, &timestamp, &signed);

        let mut request =
            Request::builder().method(method).uri(&uri).header("authorization", authorization.to_string());
        for (name, value) in headers.into_iter().filter(|(name, _)| *name != "host") {
            request = request.header(name, value);
        }
        let request = request.body(body).expect("names and values of a signature are plain text");
        send(&self.endpoint, &uri, request).await
    }
}

/// The address of `path` at an endpoint, and the value of its `Host`.
fn locate(endpoint: &str, path: &str) -> Result<(Uri, String)> {
    let wrong = || Error::Usage(format!("{endpoint} is no endpoint: write http://HOST:PORT"));
    if endpoint.starts_with("https://") {
        return Err(Error::Usage(format!("{endpoint}: HTTPS comes with a later version")));
    }
    let uri: Uri = format!("{}{path}", endpoint.trim_end_matches('/')).parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
    let host = authority.to_string();
    Ok((uri, host))
}

async fn send(endpoint: &str, uri: &Uri, request: Request<Bytes>) -> Result<(StatusCode, Value)> {
    let answer = tokio::time::timeout(TIMEOUT, exchange(uri, request)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {} seconds", TIMEOUT.as_secs())));
    answer.map_err(|why| Error::Unreachable { endpoint: endpoint.to_owned(), why })
}

/// One request on a connection of its own.
#[expect(clippy::disallowed_methods, reason = "the command line's one connection to its appliance")]
async fn exchange(uri: &Uri, request: Request<Bytes>) -> Result<(StatusCode, Value), String> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = tokio::net::TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
    let stream = stream.map_err(|error| error.to_string())?;
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
    Ok((head.status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

fn from_problem(status: StatusCode, problem: &Value) -> Error {
    let detail = problem["detail"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
    match status {
        StatusCode::NOT_FOUND => Error::NotFound(detail),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => Error::Refused(detail),
        StatusCode::BAD_REQUEST => Error::Usage(detail),
        _ => Error::Failed(detail),
    }
}
