//! Health and discovery, before any credentials: `/-/live`, `/-/ready`, `/-/info`, `/-/ca.pem`. No bucket name can begin with a hyphen;
//! where the host names a bucket, or its website, these are keys like any other.

use crate::host::Domains;
use certs::{Edge, Serving};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use s3s::Body;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Whether this is about the server, and not about a key of the bucket that the host names.
pub fn is_asked(path: &str, headers: &HeaderMap, domains: &Domains) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    path.starts_with("/-/") && domains.bucket_of(host).is_none()
}

#[derive(Clone)]
pub struct Health {
    draining: Arc<AtomicBool>,
    admin: SocketAddr,
    /// What the admin port speaks.
    serving: watch::Receiver<Serving>,
    edge: Arc<Edge>,
}

impl Health {
    pub fn new(admin: SocketAddr, serving: watch::Receiver<Serving>, edge: Arc<Edge>) -> Self {
        Self { draining: Arc::new(AtomicBool::new(false)), admin, serving, edge }
    }

    fn info(&self) -> String {
        let scheme = match *self.serving.borrow() {
            Serving::Plain => "http",
            Serving::Tls { .. } => "https",
        };
        let admin = format!("{scheme}://{}", self.admin);
        format!("{}\n", serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "admin": admin }))
    }

    /// From now on the readiness probe fails, so that load balancers look elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The answer, if the path is one of these.
    pub fn answer(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let (status, kind, text) = match path {
            "/-/live" => (StatusCode::OK, "text/plain", "live\n".to_owned()),
            "/-/ready" if self.draining.load(Ordering::Relaxed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n".to_owned())
            }
            "/-/ready" => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
            "/-/info" => (StatusCode::OK, "application/json", self.info()),
            "/-/ca.pem" => match self.edge.authority_pem() {
                Some(pem) => (StatusCode::OK, "application/x-pem-file", pem.to_string()),
                None => (StatusCode::NOT_FOUND, "text/plain", "there is no authority of our own\n".to_owned()),
            },
            path if path.starts_with("/-/") => (StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
            _ => return None,
        };
        let (status, text) = match *method {
            Method::GET => (status, text),
            Method::HEAD => (status, String::new()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        };
        let mut answer = Response::new(Body::from(text));
        *answer.status_mut() = status;
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        answer.headers_mut().insert(header::SERVER, HeaderValue::from_static("weir"));
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_in_the_host_has_its_own_keys() {
        let domains = Domains::new(&["s3.test".to_owned()]);
        let asked = |path: &str, host: &'static str| {
            is_asked(path, &[(header::HOST, HeaderValue::from_static(host))].into_iter().collect(), &domains)
        };
        assert!(asked("/-/live", "10.0.0.1:9000") && asked("/-/live", "s3.test") && asked("/-/x", "other.test"));
        assert!(
            !asked("/-/live", "b.s3.test:9000") && !asked("/-/live", "b.s3-website.s3.test") && !asked("/b/-/", "")
        );
        assert!(is_asked("/-/ready", &HeaderMap::new(), &domains));
    }

    #[test]
    fn readiness_ends_when_draining() {
        let edge = Arc::new(crate::tls::tests::edge_without_tls());
        let serving = edge.serving(crate::tls::ADMIN).expect("a listener");
        let health = Health::new(SocketAddr::from(([127, 0, 0, 1], 9001)), serving, edge);
        let status = |method, path| health.answer(&method, path).map(|answer| answer.status().as_u16());
        assert_eq!(status(Method::GET, "/-/live"), Some(200));
        assert_eq!(status(Method::GET, "/-/ready"), Some(200));
        assert_eq!(status(Method::HEAD, "/-/ready"), Some(200));
        assert_eq!(status(Method::PUT, "/-/ready"), Some(405));
        assert_eq!(status(Method::GET, "/-/other"), Some(404));
        assert_eq!(status(Method::GET, "/-/ca.pem"), Some(404));
        assert!(health.info().contains("\"http://127.0.0.1:9001\""));
        assert_eq!(status(Method::GET, "/bucket"), None);
        health.drain();
        assert_eq!(status(Method::GET, "/-/ready"), Some(503));
        assert_eq!(status(Method::GET, "/-/live"), Some(200));
    }
}
