//! Stands in for the gateway until its listeners and operations arrive: the shapes that `cli/` is written against.

pub mod admin;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

pub struct Config {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub region: String,
    pub domains: Vec<String>,
    /// How long requests may go on after `shutdown`.
    pub drain: Duration,
    /// Told the bound S3 and admin addresses once both are bound.
    pub ready: Option<oneshot::Sender<(SocketAddr, SocketAddr)>>,
}

pub struct Parts {
    pub control: Arc<dyn cluster::ControlPlane>,
    pub target: Arc<storage::Target>,
    pub clock: Arc<dyn common::Clock>,
    pub random: Arc<dyn common::Random>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the gateway is not built yet")]
    Missing,
}

pub async fn serve(_config: Config, _parts: Parts, _shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
    Err(Error::Missing)
}

pub async fn resume_bucket_deletions(_parts: &Parts) -> Result<(), Error> {
    Ok(())
}
