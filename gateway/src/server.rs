//! The gateway's wiring: listeners, guard, s3s, drain. Start-up in the order it happens.

use crate::access::Access;
use crate::access_log::AccessLog;
use crate::admin::{self, AdminParts};
use crate::admission::Admission;
use crate::audit::{Audit, AuditConfig, Watched};
use crate::concurrency::Concurrency;
use crate::error::{Error, Result};
use crate::events::webhook::{self, Webhook};
use crate::guard::{Guard, SignatureV2, SigningKeys};
use crate::health::Health;
use crate::host::Domains;
use crate::iam::Iam;
use crate::kms::NamedKeys;
use crate::lenient::Lenient;
use crate::lifecycle::scan;
use crate::limits;
use crate::listener::{Handler, Incoming, Listener, ProxyProtocol, Secured, Stage, leaves};
use crate::metrics::{self, Metrics};
use crate::outbound::Fetcher;
use crate::peer::{Peer, Proxied, Proxies};
use crate::query_api::{QueryApi, QueryService};
use crate::rates::Rates;
use crate::route::Router;
use crate::s3::Service;
use crate::s3::listen_events::{EventStreams, Routes};
use crate::s3::post_object::Forms;
use crate::sessions::Sessions;
use crate::sts::{Issuers, Sts};
use crate::tls::{self, Certificates, Handshakes};
use certs::Edge;
use http::request::Parts as Head;
use http::{Method, Request, Response};
use s3s::Body;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

pub struct Config {
    /// The data port: S3.
    pub listen: SocketAddr,
    /// The admin port: `/api/v1`.
    pub admin_listen: SocketAddr,
    /// One more data port, for HTTPS beside HTTP.
    pub https_listen: Option<SocketAddr>,
    /// Certificates, and what each listener speaks.
    pub edge: Arc<Edge>,
    /// Whose word about its clients is taken.
    pub proxies: Proxies,
    /// Proxies of TCP in front of the data ports: their connections begin with the PROXY protocol.
    pub proxy_protocol: Proxies,
    pub region: String,
    /// Base names of virtual-hosted buckets.
    pub domains: Vec<String>,
    /// Where Signature Version 2 is taken.
    pub signature_v2: SignatureV2,
    /// New buckets begin with a public access block.
    pub block_public_access: bool,
    /// Of new buckets that do not say.
    pub object_ownership: authn::acl::Ownership,
    /// Takes customers' encryption keys over plain HTTP: in tests only.
    pub plain_customer_keys: bool,
    /// Receivers of notifications.
    pub webhooks: Vec<Webhook>,
    /// Issuers of web identities in the server's own network, as `HOST:PORT`.
    pub local_issuers: Vec<String>,
    /// How many seconds a day of lifecycle rules has, in test mode.
    pub lifecycle_day_seconds: Option<u64>,
    /// How many files the process may have open: each connection is one.
    pub files_max: u64,
    /// Requests that the target is given at once, at most; without end if it is 0.
    pub concurrency_max: u32,
    /// How long lines of access logs wait before they are an object.
    pub access_log: Duration,
    /// The audit log, if there is one.
    pub audit: Option<AuditConfig>,
    /// How many authentications of one address may fail in a second; 0 for no limit.
    pub failed_auth_rate: u32,
    /// How long open requests may take after the shutdown began.
    pub drain: Duration,
    /// Told the addresses once all ports accept.
    pub ready: Option<oneshot::Sender<Addresses>>,
}

/// Where the gateway listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub data: SocketAddr,
    pub https: Option<SocketAddr>,
    pub admin: SocketAddr,
}

/// What the gateway works with. It owns none of it.
#[derive(Clone)]
pub struct Parts {
    pub control: Arc<dyn cluster::ControlPlane>,
    pub target: Arc<storage::Target>,
    pub clock: Arc<dyn common::Clock>,
    pub random: Arc<dyn common::Random>,
    pub named_keys: Arc<NamedKeys>,
    /// What rates are measured by.
    pub monotonic: Arc<dyn common::Monotonic>,
}

/// Serves until `shutdown` is done and open requests have ended or run out of time.
pub async fn serve(config: Config, parts: Parts, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
    let metrics = Metrics::default();
    let proxy_protocol = ProxyProtocol::new(config.proxy_protocol.clone(), &metrics);
    let data_listener = Listener::bind(config.listen).await?.behind(&config.proxies).told_by(&proxy_protocol);
    let admin_listener = Listener::bind(config.admin_listen).await?.behind(&config.proxies);
    let https_listener = match config.https_listen {
        Some(address) => Some(Listener::bind(address).await?.behind(&config.proxies).told_by(&proxy_protocol)),
        None => None,
    };
    let (data_address, admin_address) = (data_listener.address(), admin_listener.address());
    let https_address = https_listener.as_ref().map(Listener::address);

    let edge = config.edge.clone();
    Certificates::register(&metrics, &edge);
    let handshakes = Handshakes::new(&metrics, parts.clock.clone());
    let secured = |name| Secured {
        serving: edge.serving(name).expect("the listener is one of those that were configured"),
        handshakes: handshakes.of(name),
    };
    let health = Health::new(admin_address, secured(tls::ADMIN).serving, edge.clone());
    let domains = Domains::new(&config.domains);
    let Parts { control, clock, random, named_keys, .. } = parts.clone();
    let sessions = Sessions::new(control, named_keys, clock, random);
    let router = Router::new(parts.target.clone());
    let admission = Arc::new(Admission::new(parts.control.clone(), parts.clock.clone(), router));
    let rates = Arc::new(Rates::new(config.failed_auth_rate, parts.monotonic.clone(), parts.random.clone(), &metrics));
    let concurrency = (config.concurrency_max > 0)
        .then(|| Concurrency::here(config.concurrency_max, parts.monotonic.clone(), &*parts.random, &metrics));
    let (control, random) = (parts.control.clone(), &*parts.random);
    let access =
        Access::new(control, sessions, admission.clone(), rates.clone(), concurrency.clone(), random, &config.region)?;
    let ruling = tokio::spawn(rates.clone().run(parts.control.clone()));
    let (stage, watched) = watch::channel(Stage::Serving);
    let s3 = s3_service(&config, &parts, (&access, &admission), &domains, watched.clone());
    let service = || service_of(&config, &parts, &admission);
    let forms = Forms::new(service(), access.clone(), config.signature_v2);
    let log = Arc::new(AccessLog::new(service(), config.access_log, concurrency.clone()));
    let (region, signature_v2) = (config.region.clone(), config.signature_v2);
    let (clock, random) = (parts.clock.clone(), parts.random.clone());
    let issuers = Issuers::new(parts.clock.clone(), Fetcher::new(&config.local_issuers));
    let query_api = query_api(&config, &parts, &access, issuers.clone());
    let guard = Guard {
        s3,
        access,
        forms,
        domains: domains.clone(),
        region,
        signature_v2,
        signing_keys: SigningKeys::default(),
        clock,
        random,
        health: health.clone(),
        log: log.clone(),
        query_api,
        rates: rates.clone(),
    };
    let (stop_log, stopped) = oneshot::channel();
    let delivery = tokio::spawn(async move { log.run(stopped).await });

    let webhooks = webhook::start(&config.webhooks, &parts, &config.region, &watched).await?;
    let scanner = scan::start(&parts, config.lifecycle_day_seconds, concurrency.clone(), watched.clone());
    let adapting = concurrency.clone().map(|concurrency| tokio::spawn(concurrency.run()));
    let audit = config.audit.map(|audit| Arc::new(Audit::new(audit, parts.clock.clone(), parts.random.clone())));
    let Parts { control, clock, random, named_keys, .. } = parts;
    let api = AdminParts {
        control,
        clock,
        random,
        named_keys,
        admission: Some(admission.clone()),
        issuers: Some(issuers),
        rates: Some(rates),
        concurrency,
        region: config.region,
        edge: Some(edge.clone()),
    };
    // Two data ports share what one has.
    let data_ports = if config.https_listen.is_some() { 2 } else { 1 };
    let connections_max = (limits::connections_max(config.files_max) / data_ports).max(1);
    let mut data: Arc<dyn Handler> = Arc::new(Data(guard));
    let mut admin: Arc<dyn Handler> = Arc::new(Admin { api, health: health.clone(), metrics });
    if let Some(audit) = audit {
        data = Watched::data(data, audit.clone(), domains);
        admin = Watched::admin(admin, audit);
    }
    let (data, admin) = (Proxied::around(data, config.proxies.clone()), Proxied::around(admin, config.proxies));
    let watching = {
        let mut stage = watched.clone();
        tokio::spawn(certs::run(edge.clone(), async move { leaves(&mut stage, Stage::Serving).await }))
    };
    let second = https_listener.map(|listener| {
        tokio::spawn(listener.serve(data.clone(), connections_max, watched.clone(), secured(tls::HTTPS)))
    });
    let data = tokio::spawn(data_listener.serve(data, connections_max, watched.clone(), secured(tls::DATA)));
    let admin_secured = secured(tls::ADMIN);
    let admin = tokio::spawn(admin_listener.serve(admin, limits::ADMIN_CONNECTIONS_MAX, watched, admin_secured));
    if let Some(ready) = config.ready {
        // Nobody may be waiting any more.
        let _ = ready.send(Addresses { data: data_address, https: https_address, admin: admin_address });
    }
    tracing::info!(%data_address, ?https_address, %admin_address, connections_max, "the gateway is ready");

    shutdown.await;
    health.drain();
    stage.send_replace(Stage::Draining);
    let second = async {
        if let Some(second) = second {
            let _ = second.await;
        }
    };
    let listeners = async { tokio::join!(data, second, admin) };
    tokio::pin!(listeners);
    if tokio::time::timeout(config.drain, &mut listeners).await.is_err() {
        tracing::warn!(seconds = config.drain.as_secs(), "requests are still open after the drain time and are cut");
        stage.send_replace(Stage::Closing);
        let _ = listeners.await;
    }
    ruling.abort();
    let _ = stop_log.send(());
    let _ = delivery.await;
    if let Some(adapting) = adapting {
        adapting.abort();
    }
    for task in webhooks.into_iter().chain([scanner, watching]) {
        let _ = task.await;
    }
    Ok(())
}

/// s3s, with itself behind the route of requests that have to be asked again.
fn s3_service(
    config: &Config,
    parts: &Parts,
    (access, admission): (&Access, &Arc<Admission>),
    domains: &Domains,
    stage: watch::Receiver<Stage>,
) -> S3Service {
    let inner = s3_builder(config, parts, (access, admission), domains).build();
    let mut outer = s3_builder(config, parts, (access, admission), domains);
    let deciding = (access.clone(), admission.clone());
    let events = EventStreams::new(parts.clone(), deciding, domains.clone(), config.region.clone(), stage);
    outer.set_route(Routes { lenient: Lenient::new(inner), events });
    outer.build()
}

/// IAM, and whatever else is asked with forms at the root of the data port.
fn query_api(config: &Config, parts: &Parts, access: &Access, issuers: Issuers) -> QueryApi {
    let iam = Iam::new(parts.control.clone(), parts.random.clone());
    let sts = Sts::new(parts.control.clone(), access.sessions().clone(), issuers);
    let services: Vec<Arc<dyn QueryService>> = vec![Arc::new(iam), Arc::new(sts)];
    QueryApi::new(access.clone(), parts.control.clone(), parts.clock.clone(), config.region.clone(), services)
}

fn service_of(config: &Config, parts: &Parts, admission: &Arc<Admission>) -> Service {
    let (parts, admission, region) = (parts.clone(), admission.clone(), config.region.clone());
    let service = Service::new(parts, admission, region, config.plain_customer_keys);
    service
        .telling(&config.webhooks)
        .blocking_public_access(config.block_public_access)
        .with_ownership(config.object_ownership)
}

fn s3_builder(
    config: &Config,
    parts: &Parts,
    (access, admission): (&Access, &Arc<Admission>),
    domains: &Domains,
) -> S3ServiceBuilder {
    let mut builder = S3ServiceBuilder::new(service_of(config, parts, admission));
    builder.set_auth(access.clone());
    builder.set_access(access.clone());
    builder.set_host(domains.clone());
    let mut limits = S3Config::default();
    limits.xml_max_body_size = limits::LIST_DOCUMENT_BYTES_MAX;
    // Forms do not come here; should one come through, it is not worth memory.
    limits.post_object_max_file_size = 1;
    limits.form_max_field_size = 1024;
    limits.form_max_fields_size = 16 * 1024;
    limits.form_max_parts = 32;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
    builder
}

/// The data port.
struct Data(Guard);

#[async_trait::async_trait]
impl Handler for Data {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let is_secure = request.extensions().get::<Peer>().is_some_and(|peer| peer.is_secure);
        tls::within(is_secure, self.0.call(request)).await
    }

    async fn refuse(&self, head: &Head, error: Error) -> Response<Body> {
        self.0.refuse(head, error).await
    }
}

/// The admin port: health, metrics, and `/api/v1` by `admin.rs`.
struct Admin {
    api: AdminParts,
    health: Health,
    metrics: Metrics,
}

#[async_trait::async_trait]
impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(answer) = self.health.answer(request.method(), request.uri().path()) {
            return answer;
        }
        if request.uri().path() == metrics::PATH && request.method() == Method::GET {
            let (head, body) = request.into_parts();
            if metrics::is_local(&head) {
                return self.metrics.answer();
            }
            let refused = admin::check(&self.api, &head, body).await;
            return refused.map_or_else(|| self.metrics.answer(), |refused| refused.map(Body::http_body));
        }
        admin::handle(&self.api, request).await.map(Body::http_body)
    }

    async fn refuse(&self, _: &Head, error: Error) -> Response<Body> {
        admin::refuse(&error).map(Body::http_body)
    }
}
