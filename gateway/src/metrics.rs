//! What is counted and measured, for Prometheus: `GET /metrics` on the admin port.
//!
//! Each noun registers its own families when it is made. A label never holds what clients choose freely: no key, no access key, no
//! address; a family never forgets a label set.

use crate::peer::Peer;
use http::request::Parts as Head;
use http::{HeaderValue, Response, StatusCode, header};
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use s3s::Body;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub const PATH: &str = "/metrics";
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What a proxy on this machine adds to others' requests.
const FORWARDED: [&str; 3] = ["x-forwarded-for", "forwarded", "via"];

/// Clones share the registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    /// With what build this is.
    fn default() -> Self {
        let mut registry = Registry::with_prefix("weir");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which build this is", build);
        Self { registry: Arc::new(Mutex::new(registry)) }
    }
}

impl Metrics {
    /// To register families in: names without `weir_`, and without `_total`, which is added to counters.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, as OpenMetrics text.
    pub fn answer(&self) -> Response<Body> {
        let mut page = String::new();
        let written = text::encode(&mut page, &self.registry());
        let mut answer = Response::new(Body::from(page));
        if written.is_err() {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        answer
    }
}

/// Whether a request comes from this machine itself, and not through a proxy on it. Any other must be an administrator's.
pub fn is_local(head: &Head) -> bool {
    let peer = head.extensions.get::<Peer>();
    peer.is_some_and(|peer| peer.address.to_canonical().is_loopback())
        && !FORWARDED.iter().any(|name| head.headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use std::net::IpAddr;

    #[test]
    fn only_the_machine_itself_is_local() {
        let from = |address: &str, header: Option<&str>| {
            let peer = Peer::plain(address.parse::<IpAddr>().expect("an address"));
            let request = Request::builder().uri(PATH).extension(peer);
            let request = header
                .map(|name| (name, "1.2.3.4"))
                .into_iter()
                .fold(request, |it, (name, value)| it.header(name, value));
            is_local(&request.body(()).expect("a request").into_parts().0)
        };
        assert!(from("127.0.0.1", None));
        assert!(from("::1", None));
        assert!(from("::ffff:127.0.0.1", None));
        assert!(!from("192.168.0.7", None));
        assert!(!from("127.0.0.1", Some("x-forwarded-for")));
        assert!(!from("127.0.0.1", Some("Forwarded")));
    }
}
