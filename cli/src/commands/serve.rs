//! `weir serve`: the wiring of the appliance, in the order of its start.

mod ports;
mod second_copy;

use self::ports::{open_edge, ports, reload_on_hang_up};
use self::second_copy::SecondCopy;
use crate::args::ServeArgs;
use crate::audit;
use crate::config::{self, Notifications, Settings};
use crate::credentials::{self, Credentials};
use crate::error::{Error, Result};
use crate::output;
use crate::root_key;
use crate::terms::Terms;
use crate::trust;
use certs::{Edge, Scheme};
use cluster::{AccessKey, Command, ControlPlane, EmbeddedControlPlane, IamChange, Owner, RowSeal};
use common::doors::{SystemClock, SystemMonotonic, SystemRandom};
use common::{Clock, OwnerId, Random};
use gateway::kms::NamedKeys;
use gateway::{SignatureV2, tls};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::{Target, TargetConfig};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The owner of the first administrator's key.
const ADMIN: &str = "admin";

pub async fn run(args: ServeArgs) -> Result<()> {
    let settings = settings(&args)?;
    let ports = ports(&settings)?;
    let (listen, admin_listen) = (ports.listen, ports.admin_listen);
    let preset = credentials::preset(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    let preset_pair = preset.as_ref().map(|key| (key.access_key.0.as_str(), key.secret.expose()));
    refuse_known_keys(&ports.all(), preset_pair.as_slice())?;
    let webhooks = webhooks(&settings.notifications)?;
    let shutdown = on_signal()?;
    if settings.test.mode {
        warn_of_test_mode(&settings.test);
    }
    keep_memory_and_files_private();
    let files_max = raise_open_files();
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(SystemRandom));

    let data = settings.server.data[0].clone();
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let known = root_key::find(&data, environment)?;
    let control = open_control(&data, known.map(|root| RowSeal::new(&root, Arc::clone(&random)))).await?;
    let (root, root_is_here) = root_key::find_or_make(&data, environment, &control.current(), &*random)?;
    // Of a store that had no root key until now.
    control.seal(RowSeal::new(&root, Arc::clone(&random)))?;
    let state = control.current();
    let kept: Vec<_> = state.keys.values().map(|key| (key.id.0.as_str(), key.secret.as_str())).collect();
    refuse_known_keys(&ports.all(), &kept)?;
    let key = ensure_admin(&control, &data, preset, &*clock, &*random)?;
    match &settings.test.account_without_number {
        Some(owner) => drop_number(&control, OwnerId(owner.clone()))?,
        None if control.current().iam.account_of_number("").is_some() => {
            return Err(Error::Refused(
                "this data directory has an account without a number: it was made for tests, and serves with \
                 --test-account-without-number only"
                    .to_owned(),
            ));
        }
        None => {}
    }
    let control: Arc<dyn ControlPlane> = Arc::new(control);
    let target = open_target(&settings, &control, &clock, &random).await?;
    let second_copy = Arc::new(SecondCopy {
        control: Arc::clone(&control),
        target: Arc::clone(&target),
        root: root.clone(),
        with_root: root_is_here,
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        copied: Default::default(),
    });
    let copying = tokio::spawn(Arc::clone(&second_copy).keep());
    let edge = Arc::new(open_edge(&settings, &ports, &data, &clock, &random).await?);
    let hang_up = tokio::spawn(reload_on_hang_up(Arc::clone(&edge))?);
    let named_keys = NamedKeys::new(Arc::clone(&control), root, Arc::clone(&clock), Arc::clone(&random));
    let audit = audit::start(&settings.audit, &data, &named_keys, &clock).await?;
    let monotonic = Arc::new(SystemMonotonic);
    let parts = gateway::Parts { control, target: Arc::clone(&target), clock, random, named_keys, monotonic };
    gateway::resume_bucket_deletions(&parts).await?;

    let (ready, bound) = oneshot::channel::<gateway::Addresses>();
    let region = settings.server.region.clone();
    // Whoever reads the audit log there reads nothing else.
    let say = if settings.audit.has_stdout() { output::error_line } else { output::line_of };
    let announced = Arc::clone(&edge);
    let announcement = tokio::spawn(async move {
        // No address means that the gateway failed, and says why itself.
        if let Ok(addresses) = bound.await {
            let endpoint = Endpoint::of(&announced, addresses.data, &data);
            announce(&endpoint, &region, &key, &credentials::path(&data), say);
            if let Some(https) = addresses.https {
                say(&format_args!(
                    "S3 is at {} too",
                    Endpoint { is_tls: true, host: reachable(https), ..endpoint }.url()
                ));
            }
            if let Some(authority) = announced.authority_facts() {
                say(&format_args!("The appliance's own authority has the fingerprint {}", authority.fingerprint));
            }
        }
    });
    let signature_v2 = settings.server.signature_v2()?;
    if signature_v2 != SignatureV2::Off {
        tracing::warn!(
            taken = settings.server.signature_v2,
            "Signature Version 2 is taken: it signs by SHA-1, no body, and not all that a request says"
        );
    }
    let config = gateway::Config {
        listen,
        admin_listen,
        https_listen: ports.https_listen,
        edge,
        proxies: settings.server.trusted_proxies()?,
        proxy_protocol: settings.server.proxies_that_tell()?,
        region: settings.server.region,
        domains: settings.server.domain,
        signature_v2,
        block_public_access: settings.s3.block_public_access,
        object_ownership: settings.s3.ownership()?,
        plain_customer_keys: settings.test.ssec_plain_http,
        webhooks,
        local_issuers: settings.server.local_issuer,
        lifecycle_day_seconds: settings.test.lifecycle_day_seconds,
        files_max,
        concurrency_max: settings.server.concurrency_max,
        access_log: Duration::from_secs(settings.server.access_log_seconds),
        audit: audit.as_ref().map(|audit| audit.config.clone()),
        failed_auth_rate: settings.server.failed_auth_rate,
        drain: Duration::from_secs(settings.server.drain_seconds),
        ready: Some(ready),
    };
    let served = gateway::serve(config, parts, shutdown).await;
    let _ = announcement.await;
    hang_up.abort();
    if let Some(audit) = audit {
        audit.end().await;
    }
    copying.abort();
    second_copy.copy().await;
    // Also after a failed gateway: what was acknowledged is durable, but a clean end makes the next start quick.
    let stopped = target.shutdown().await;
    served?;
    Ok(stopped?)
}

fn warn_of_test_mode(test: &config::Test) {
    let config::Test { mode: _, ssec_plain_http, lifecycle_day_seconds, account_without_number } = test;
    tracing::warn!(
        ssec_plain_http,
        lifecycle_day_seconds,
        account_without_number,
        "TEST MODE: this appliance breaks promises so that tests can run"
    );
    eprintln!("weir: TEST MODE. Promises are broken so that tests can run. Never keep data here.");
}

/// The memory has keys in it: there is no core dump of it, and no other process of the same user reads it. Files are their
/// owner's alone, whatever the shell says that new files are.
fn keep_memory_and_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be forbidden");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the memory could not be closed to other processes");
    }
}

/// Keys that stand in other servers' manuals are the first that strangers try.
fn refuse_known_keys(listen: &[SocketAddr], keys: &[(&str, &str)]) -> Result<()> {
    let is_open = listen.iter().any(|address| !address.ip().is_loopback());
    match keys.iter().find(|(id, secret)| is_open && credentials::is_widely_known(id, secret)) {
        Some((id, _)) => Err(Error::Refused(format!(
            "the access key {id} has a secret that everybody knows, and others can reach this server: give it another \
             secret, or listen on 127.0.0.1"
        ))),
        None => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the configuration file is no data")]
fn settings(args: &ServeArgs) -> Result<Settings> {
    let file = match &args.config {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
            Some(String::from_utf8(bytes).map_err(|_| Error::Usage(format!("{} is not text", path.display())))?)
        }
        None => None,
    };
    // A variable that is not text cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::resolve(file.as_deref(), environment, args)
}

/// The receivers of notifications, with their tokens.
#[expect(clippy::disallowed_methods, reason = "a token's file is no data")]
fn webhooks(notifications: &Notifications) -> Result<Vec<gateway::Webhook>> {
    let webhook = |(name, webhook): (&String, &config::Webhook)| {
        let auth_token = match &webhook.auth_token_file {
            Some(path) => {
                let bytes =
                    std::fs::read(path).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
                let text =
                    String::from_utf8(bytes).map_err(|_| Error::Usage(format!("{} is not text", path.display())))?;
                Some(text.trim_end().to_owned())
            }
            None => webhook.auth_token.clone(),
        };
        let auth_token = auth_token.filter(|token| !token.is_empty());
        let (name, endpoint) = (name.clone(), webhook.endpoint.clone());
        Ok(gateway::Webhook { name, endpoint, auth_token, queue_bytes_max: webhook.queue_bytes_max })
    };
    notifications.webhook.iter().map(webhook).collect()
}

/// Raises the number of files that the process may have open as far as it may itself, and gives it. systemd and many shells
/// start with 1024, where each connection is one, and allow more to who asks.
fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let (before, most) = (limit.current, limit.maximum);
    limit.current = most;
    if before != most
        && let Err(error) = setrlimit(Resource::Nofile, limit)
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
        return before.unwrap_or(u64::MAX);
    }
    most.unwrap_or(u64::MAX)
}

/// The first SIGTERM or SIGINT ends the future, the second one the process.
fn on_signal() -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("SIGINT"))?;
    let (first, asked) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("draining; a second signal ends at once");
        let _ = first.send(());
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("ended by a second signal, not drained");
        std::process::exit(1);
    });
    Ok(async move {
        let _ = asked.await;
    })
}

async fn open_control(data: &Path, seal: Option<RowSeal>) -> Result<EmbeddedControlPlane> {
    let path = data.join("control/control.redb");
    let name = path.display().to_string();
    let opened = blocking(move || match seal {
        Some(seal) => EmbeddedControlPlane::open_sealed(&path, seal),
        None => EmbeddedControlPlane::open(&path),
    })
    .await?;
    opened.map_err(|error| Error::Failed(format!("{name}: {error}")))
}

async fn open_target(
    settings: &Settings,
    control: &Arc<dyn ControlPlane>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Arc<Target>> {
    let config = TargetConfig {
        disks: settings.server.data.iter().map(PathBuf::from).collect(),
        inline_bytes_max: settings.storage.inline_bytes_max,
        segment_bytes: settings.storage.segment_bytes,
    };
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    let terms = Arc::new(Terms::new(Arc::clone(control), Handle::current()));
    let target = blocking(move || Target::open(&config, clock, random, terms)).await??;
    for bucket in control.read().await?.buckets.values() {
        target.apply_bucket(gateway::bucket_view(bucket)).await?;
    }
    Ok(target)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Failed(format!("the start broke off: {error}")))
}

/// What the announcement says of the administrator's key.
#[derive(Debug, PartialEq, Eq)]
enum AdminKey {
    /// Made in this start: to be shown, this once.
    Made(Credentials),
    /// Given by the environment: whoever set it knows it, and logs need not.
    Preset,
    /// There from before.
    Kept,
}

/// Sees to it that an administrator's key exists.
///
/// The file is written before the control store: after a crash between the two the next start takes the key from the
/// file, while a key in the store whose secret nobody has seen would lock everybody out.
fn ensure_admin(
    control: &EmbeddedControlPlane,
    data: &Path,
    preset: Option<Credentials>,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<AdminKey> {
    let path = credentials::path(data);
    let state = control.current();
    let has_admin = state.keys.values().any(|key| key.admin);
    if let Some(preset) = preset {
        if let Some(key) = state.keys.get(&preset.access_key) {
            let same = authn::Secret::parse(&key.secret).is_ok_and(|secret| secret == preset.secret);
            if !same || !key.admin {
                return Err(Error::Refused(format!(
                    "WEIR_ADMIN_ACCESS_KEY names {}, which exists {}: set another one, or unset it",
                    preset.access_key.0,
                    if same { "and is not an administrator's" } else { "with another secret" },
                )));
            }
            return Ok(AdminKey::Preset);
        }
        if !has_admin {
            credentials::write(&path, &preset)?;
        }
        create_admin(control, preset, clock)?;
        return Ok(AdminKey::Preset);
    }
    if has_admin {
        return Ok(AdminKey::Kept);
    }
    let key = match credentials::read(&path)? {
        Some(unfinished) => unfinished,
        None => {
            let key = Credentials { access_key: authn::access_key_id(random), secret: authn::secret_key(random) };
            credentials::write(&path, &key)?;
            key
        }
    };
    create_admin(control, key.clone(), clock)?;
    Ok(AdminKey::Made(key))
}

/// The account that is nobody's twelve digits: in test mode only.
fn drop_number(control: &EmbeddedControlPlane, id: OwnerId) -> Result<()> {
    if !control.current().owners.contains_key(&id) {
        let owner = Owner { id: id.clone(), display_name: id.0.clone(), email: None };
        control.propose_blocking(&Command::PutOwner { owner })?;
    }
    control.propose_blocking(&Command::Iam { account: id, change: IamChange::DropNumber })?;
    Ok(())
}

fn create_admin(control: &EmbeddedControlPlane, credentials: Credentials, clock: &dyn Clock) -> Result<()> {
    let owner = OwnerId(ADMIN.to_owned());
    if !control.current().owners.contains_key(&owner) {
        let owner = Owner { id: owner.clone(), display_name: ADMIN.to_owned(), email: None };
        control.propose_blocking(&Command::PutOwner { owner })?;
    }
    let key = AccessKey {
        id: credentials.access_key,
        secret: credentials.secret.expose().to_owned(),
        owner,
        admin: true,
        created_ms: clock.now_ms(),
        user: None,
        active: true,
    };
    control.propose_blocking(&Command::CreateKey { key })?;
    Ok(())
}

/// Where clients find S3.
#[derive(Clone)]
struct Endpoint {
    host: SocketAddr,
    is_tls: bool,
    /// The authority that clients do not know yet.
    authority: Option<PathBuf>,
}

impl Endpoint {
    fn of(edge: &Edge, address: SocketAddr, data: &Path) -> Self {
        let is_tls = edge.mode(tls::DATA).is_some_and(|mode| mode.scheme == Scheme::Https);
        let is_own = edge.state().certificates.iter().any(|served| served.is_default && served.is_own);
        let authority = Some(trust::authority_of(data).join("ca.pem")).filter(|_| is_tls && is_own);
        Self { host: reachable(address), is_tls, authority }
    }

    fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.host)
    }
}

/// A wildcard is no address to send to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port())),
        _ => address,
    }
}

fn announce(endpoint: &Endpoint, region: &str, key: &AdminKey, file: &Path, say: fn(&dyn std::fmt::Display)) {
    match key {
        AdminKey::Made(key) => say(&first_lines(endpoint, region, key, file)),
        AdminKey::Preset => say(&"The administrator's key is the one of WEIR_ADMIN_ACCESS_KEY."),
        AdminKey::Kept if file.exists() => {
            say(&format_args!("The administrator's key is in {}.", file.display()));
        }
        // Taken away by somebody who keeps it elsewhere.
        AdminKey::Kept => {}
    }
    say(&format_args!("weir is ready: S3 at {}", endpoint.url()));
}

fn first_lines(endpoint: &Endpoint, region: &str, key: &Credentials, file: &Path) -> String {
    let (id, file, url, host) = (&key.access_key.0, file.display(), endpoint.url(), endpoint.host);
    let secret = quoted(key.secret.expose());
    let authority = endpoint.authority.as_ref().map(|path| path.display().to_string());
    let bundle = authority.as_ref().map_or_else(String::new, |path| format!(" AWS_CA_BUNDLE={}", quoted(path)));
    let s3cmd = match &authority {
        Some(path) => format!("--ca-certs={}", quoted(path)),
        None if endpoint.is_tls => "--ssl".to_owned(),
        None => "--no-ssl".to_owned(),
    };
    let verify = authority.map_or_else(String::new, |path| format!(", verify={}", serde_json::Value::String(path)));
    format!(
        r#"The first access key, an administrator's. The secret is shown this once and kept in {file}.

  access key  {id}
  secret key  {plain}

aws:
  export AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={region}{bundle}
  aws --endpoint-url {url} s3 mb s3://demo

s3cmd:
  s3cmd --access_key={id} --secret_key={secret} --host={host} --host-bucket={host} --region={region} {s3cmd} ls

boto3:
  import boto3, botocore.config
  s3 = boto3.client("s3", endpoint_url="{url}", region_name="{region}", aws_access_key_id="{id}", aws_secret_access_key={python}, config=botocore.config.Config(signature_version="s3v4"){verify})
"#,
        plain = key.secret.expose(),
        python = serde_json::Value::String(key.secret.expose().to_owned()),
    )
}

/// For a shell. Made secrets need no quotes, but one from an unfinished start may be a preset.
fn quoted(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
