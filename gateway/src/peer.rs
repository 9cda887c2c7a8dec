//! Where a request comes from. The listener says it, in the request's extensions; what a proxy in front may say instead is
//! decided there too, so that everybody else asks one thing only.

use std::net::IpAddr;

#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address: what policies, limits and logs mean by it.
    pub address: IpAddr,
    /// The client's bytes were encrypted on their way: `aws:SecureTransport`.
    pub is_secure: bool,
}

impl Peer {
    pub fn plain(address: IpAddr) -> Self {
        Self { address, is_secure: false }
    }
}
