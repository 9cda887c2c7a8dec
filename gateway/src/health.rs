//! Health and discovery, before any credentials: `/-/live`, `/-/ready`, `/-/info`. No bucket name can begin with a hyphen.

use http::{HeaderValue, Method, Response, StatusCode, header};
use s3s::Body;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone)]
pub struct Health {
    draining: Arc<AtomicBool>,
    info: Arc<str>,
}

impl Health {
    pub fn new(admin: SocketAddr) -> Self {
        let info = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "admin": format!("http://{admin}") });
        Self { draining: Arc::new(AtomicBool::new(false)), info: info.to_string().into() }
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
            "/-/info" => (StatusCode::OK, "application/json", format!("{}\n", self.info)),
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
    fn readiness_ends_when_draining() {
        let health = Health::new(SocketAddr::from(([127, 0, 0, 1], 9001)));
        let status = |method, path| health.answer(&method, path).map(|answer| answer.status().as_u16());
        assert_eq!(status(Method::GET, "/-/live"), Some(200));
        assert_eq!(status(Method::GET, "/-/ready"), Some(200));
        assert_eq!(status(Method::HEAD, "/-/ready"), Some(200));
        assert_eq!(status(Method::PUT, "/-/ready"), Some(405));
        assert_eq!(status(Method::GET, "/-/other"), Some(404));
        assert_eq!(status(Method::GET, "/bucket"), None);
        health.drain();
        assert_eq!(status(Method::GET, "/-/ready"), Some(503));
        assert_eq!(status(Method::GET, "/-/live"), Some(200));
    }
}
