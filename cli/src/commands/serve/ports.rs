//! Where the appliance listens, what it speaks there, and with which certificates.

use super::blocking;
use crate::config::{Settings, Tls};
use crate::error::{Error, Result};
use crate::trust;
use certs::{Edge, Mode, Reason, Scheme};
use common::{Clock, Random};
use gateway::tls;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Where the appliance listens, and what its flags say that it speaks there.
pub struct Ports {
    pub listen: SocketAddr,
    pub https_listen: Option<SocketAddr>,
    pub admin_listen: SocketAddr,
    data: Mode,
    https: Mode,
    admin: Mode,
}

impl Ports {
    pub fn all(&self) -> Vec<SocketAddr> {
        [Some(self.listen), self.https_listen, Some(self.admin_listen)].into_iter().flatten().collect()
    }

    fn listeners(&self) -> Vec<certs::Listener> {
        let of = |name, mode, address: SocketAddr| certs::Listener { name, mode, is_open: !address.ip().is_loopback() };
        let mut listeners = vec![of(tls::DATA, self.data, self.listen), of(tls::ADMIN, self.admin, self.admin_listen)];
        listeners.extend(self.https_listen.map(|address| of(tls::HTTPS, self.https, address)));
        listeners
    }
}

/// The S3 port speaks HTTPS where there are certificates, but for where another port does; the admin port as soon as any does.
pub fn ports(settings: &Settings) -> Result<Ports> {
    let Settings { server, tls, .. } = settings;
    let https_listen = tls.https_listen.as_ref().map(|text| resolved("--https-listen", text)).transpose()?;
    let is_asked = tls.dir.is_some() || https_listen.is_some();
    let https = Mode { scheme: Scheme::Https, client_auth: Tls::level("--tls-client-auth", &tls.client_auth)? };
    let client_auth = Tls::level("--tls-admin-client-auth", &tls.admin_client_auth)?;
    let (data, admin) = match (is_asked, https_listen) {
        (false, _) => (Mode::default(), Mode::default()),
        (true, None) => (https, Mode { client_auth, ..https }),
        (true, Some(_)) => (Mode::default(), Mode { client_auth, ..https }),
    };
    let listen = address("--listen", &server.listen, data.scheme == Scheme::Http && !server.plain_http)?;
    let admin_listen =
        address("--admin-listen", &server.admin_listen, admin.scheme == Scheme::Http && !server.plain_http)?;
    Ok(Ports { listen, https_listen, admin_listen, data, https, admin })
}

fn resolved(flag: &str, text: &str) -> Result<SocketAddr> {
    let resolved = text.to_socket_addrs().map_err(|error| Error::Usage(format!("{flag} {text}: {error}")))?;
    let addresses: Vec<_> = resolved.collect();
    addresses.first().copied().ok_or_else(|| Error::Usage(format!("{flag} {text} is no address")))
}

/// The address to listen at; refused where others could read what is sent.
pub fn address(flag: &str, text: &str, only_loopback: bool) -> Result<SocketAddr> {
    let address = resolved(flag, text)?;
    if !address.ip().is_loopback() && only_loopback {
        return Err(Error::Usage(format!(
            "{flag} {text} can be reached by others, and speaks HTTP without TLS: keys and data would be open to every \
             listener on the way. Add --tls-dir DIR, or --plain-http to allow it, or listen on 127.0.0.1"
        )));
    }
    Ok(address)
}

/// Certificates: those of the directory, or of an authority of our own.
pub async fn open_edge(
    settings: &Settings,
    ports: &Ports,
    data: &Path,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Edge> {
    let domains = settings.server.domain.iter().flat_map(|domain| [domain.clone(), format!("*.{domain}")]);
    let config = certs::Config {
        dir: settings.tls.dir.clone(),
        own_dir: trust::authority_of(data),
        modes_file: data.join("control/listeners.json"),
        names: settings.tls.name.iter().cloned().chain(domains).collect(),
        plain_http: settings.server.plain_http,
        protocols: tls::protocols(),
        listeners: ports.listeners(),
    };
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    Ok(blocking(move || Edge::open(config, clock, random)).await??)
}

/// SIGHUP loads the certificates, and ends nobody: several that come during a load are one.
pub fn reload_on_hang_up(edge: Arc<Edge>) -> Result<impl Future<Output = ()> + Send> {
    let mut hang_up = signal(SignalKind::hangup()).map_err(Error::io("SIGHUP"))?;
    Ok(async move {
        while hang_up.recv().await.is_some() {
            let edge = Arc::clone(&edge);
            let report = tokio::task::spawn_blocking(move || edge.reload(Reason::Signal)).await;
            if let Ok(report) = report {
                tracing::info!(result = report.result, "certificates loaded by SIGHUP");
            }
        }
    })
}
