//! TLS of the listeners: handshakes within their bounds, what a request knows of its connection, and what is counted. Which
//! certificates there are, and what a listener asks of its clients, is the crate certs' matter.

use crate::limits;
use crate::metrics::Metrics;
use certs::{Edge, Level, facts_of_der};
use common::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};
use tokio_rustls::server::TlsStream;

/// The names of the listeners.
pub const DATA: &str = "data";
pub const HTTPS: &str = "https";
pub const ADMIN: &str = "admin";

const HTTP_2: &str = "h2";

tokio::task_local! {
    /// The request that this task answers came by TLS.
    static SECURE: bool;
}

/// What is offered by ALPN, the best first.
pub fn protocols() -> Vec<Vec<u8>> {
    vec![HTTP_2.as_bytes().to_vec(), b"http/1.1".to_vec()]
}

/// What a connection's handshake came to: of its requests' peer.
#[derive(Debug, Clone)]
pub struct Secure(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    version: &'static str,
    alpn: &'static str,
    client: Option<certs::Facts>,
}

impl Secure {
    /// As policies call it: `1.2` or `1.3`.
    pub fn version(&self) -> &'static str {
        self.0.version
    }

    pub fn speaks_http2(&self) -> bool {
        self.0.alpn == HTTP_2
    }

    /// The certificate that the client has proven to be its own, where the listener verifies who issued it.
    pub fn client(&self) -> Option<&certs::Facts> {
        self.0.client.as_ref()
    }
}

/// Answers a request that may know whether others could read it.
pub async fn within<T>(is_secure: bool, answer: impl Future<Output = T>) -> T {
    SECURE.scope(is_secure, answer).await
}

/// Whether nobody else can read what this task's request brought.
pub fn is_secure() -> bool {
    SECURE.try_with(|secure| *secure).unwrap_or(false)
}

/// How URLs begin that lead back to where this task's request came from.
pub fn scheme() -> &'static str {
    if is_secure() { "https" } else { "http" }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handshake {
    listener: &'static str,
    result: &'static str,
    version: &'static str,
    alpn: &'static str,
}

/// What is counted of handshakes.
#[derive(Clone)]
pub struct Handshakes {
    listener: &'static str,
    total: Family<Handshake, Counter>,
    seconds: Histogram,
    clock: Arc<dyn Clock>,
}

impl Handshakes {
    pub fn new(metrics: &Metrics, clock: Arc<dyn Clock>) -> Self {
        let total = Family::<Handshake, Counter>::default();
        let seconds = Histogram::new(exponential_buckets(0.0005, 2.0, 15));
        let mut registry = metrics.registry();
        registry.register("tls_handshakes", "Handshakes of clients", total.clone());
        registry.register("tls_handshake_seconds", "How long those took that succeeded", seconds.clone());
        Self { listener: "", total, seconds, clock }
    }

    pub fn of(&self, listener: &'static str) -> Self {
        Self { listener, ..self.clone() }
    }

    /// One that was not begun.
    pub fn refused(&self) {
        self.count("refused", "none", "none");
    }

    fn count(&self, result: &'static str, version: &'static str, alpn: &'static str) {
        self.total.get_or_create(&Handshake { listener: self.listener, result, version, alpn }).inc();
    }

    /// Within its time, or `None`: the client has learned by an alert what is wrong, if it would listen.
    pub async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        config: Arc<ServerConfig>,
        level: Level,
    ) -> Option<(TlsStream<S>, Secure)> {
        let begun_us = self.clock.now_us();
        let accepted = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await;
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.count("failed", "none", "none");
                tracing::debug!(%error, listener = self.listener, "a handshake failed");
                return None;
            }
            Err(_) => {
                self.count("timeout", "none", "none");
                return None;
            }
        };
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(|chain| chain.first()).filter(|_| level.verifies());
        let Ok(client) = known(leaf, i64::try_from(self.clock.now_ms() / 1000).unwrap_or(i64::MAX)) else {
            self.count("failed", "none", "none");
            tracing::debug!(listener = self.listener, "a session goes on with a certificate that has ended");
            return None;
        };
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        };
        let alpn = match session.alpn_protocol() {
            Some(b"h2") => HTTP_2,
            Some(b"http/1.1") => "http/1.1",
            _ => "none",
        };
        self.count("ok", version, alpn);
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a handshake are far below 2^52")]
        self.seconds.observe(self.clock.now_us().saturating_sub(begun_us) as f64 / 1e6);
        Some((stream, Secure(Arc::new(Connection { version, alpn, client }))))
    }
}

/// The client's certificate, if it has shown one that counts. Its time is looked at here again: who goes on with a session shows
/// none anew, and rustls asks only what it was at the beginning.
fn known(leaf: Option<&CertificateDer<'_>>, now_s: i64) -> Result<Option<certs::Facts>, ()> {
    let Some(leaf) = leaf else { return Ok(None) };
    let facts = facts_of_der(leaf).map_err(|_| ())?;
    if facts.is_timely(now_s) { Ok(Some(facts)) } else { Err(()) }
}

/// Certificates and their reloads, as gauges.
pub struct Certificates(Arc<Edge>);

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    pub fn register(metrics: &Metrics, edge: &Arc<Edge>) {
        metrics.registry().register_collector(Box::new(Self(edge.clone())));
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let state = self.0.state();
        {
            let mut family = ConstGauge::new(0_i64);
            let name = "tls_certificate_not_after_timestamp_seconds";
            let mut metrics = encoder.encode_descriptor(
                name,
                "When a certificate that is served ends",
                None,
                family.metric_type(),
            )?;
            for listener in state.listeners.iter().filter(|listener| listener.scheme == certs::Scheme::Https) {
                for served in &state.certificates {
                    family = ConstGauge::new(served.facts.not_after_s);
                    let labels = [
                        ("listener", listener.listener),
                        ("name", served.name.as_str()),
                        ("serial", served.facts.serial.as_str()),
                    ];
                    family.encode(metrics.encode_family(&labels)?)?;
                }
            }
        }
        {
            let mut metrics = encoder.encode_descriptor(
                "tls_certificate_state",
                "How many certificates are served that are good, end soon or have ended, and how many are not taken",
                None,
                ConstGauge::new(0_i64).metric_type(),
            )?;
            for word in ["ok", "expiring", "expired"] {
                let count = state.certificates.iter().filter(|served| served.state == word).count();
                ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
                    .encode(metrics.encode_family(&[("state", word)])?)?;
            }
            let faults = i64::try_from(state.faults.len()).unwrap_or(i64::MAX);
            ConstGauge::new(faults).encode(metrics.encode_family(&[("state", "invalid")])?)?;
        }
        let mut metrics = encoder.encode_descriptor(
            "tls_reloads",
            "Loads of certificates, by what came of them",
            None,
            ConstCounter::new(0_u64).metric_type(),
        )?;
        for (result, count) in &state.reloads {
            ConstCounter::new(*count).encode(metrics.encode_family(&[("result", *result)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use common::doors::{SeededRandom, SystemClock};
    use tokio_rustls::rustls::pki_types::pem::PemObject;

    /// For what does not care about TLS.
    pub fn edge_without_tls() -> Edge {
        let home = tempfile::tempdir().expect("a folder");
        let path = |name: &str| home.path().join(name);
        let listeners =
            [DATA, ADMIN].map(|name| certs::Listener { name, mode: certs::Mode::default(), is_open: false });
        let config = certs::Config {
            dir: None,
            own_dir: path("authority"),
            modes_file: path("listeners.json"),
            names: Vec::new(),
            plain_http: false,
            protocols: Vec::new(),
            listeners: listeners.into(),
        };
        Edge::open(config, Arc::new(SystemClock), SeededRandom::new(1)).expect("an edge without TLS")
    }

    #[test]
    fn a_client_is_known_while_its_certificate_holds() {
        let edge = edge_without_tls();
        let issued = edge.issue(&["ann".to_owned()], certs::Purpose::Client).expect("a certificate");
        let leaf = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).expect("PEM");
        let facts = facts_of_der(&leaf).expect("a certificate");
        for (now_s, is_known) in [
            (facts.not_before_s - 1, false),
            (facts.not_before_s, true),
            (facts.not_after_s - 1, true),
            (facts.not_after_s, false),
        ] {
            assert_eq!(known(Some(&leaf), now_s).is_ok_and(|client| client.as_ref() == Some(&facts)), is_known);
        }
        assert_eq!(known(None, 0), Ok(None));
        assert!(known(Some(&CertificateDer::from(&b"nonsense"[..])), 0).is_err());
    }

    #[tokio::test]
    async fn a_request_is_secure_only_where_it_was_said() {
        assert!(!is_secure());
        assert!(within(true, async { is_secure() && scheme() == "https" }).await);
        assert!(!within(false, async { is_secure() }).await);
        assert!(!is_secure());
    }
}
