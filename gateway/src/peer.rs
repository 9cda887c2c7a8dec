//! Where a request comes from. The listener says it, in the request's extensions; what a proxy in front may say instead is
//! decided there too, so that everybody else asks one thing only.

use crate::tls::Secure;
use std::net::IpAddr;

#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address: what policies, limits and logs mean by it.
    pub address: IpAddr,
    /// The client's bytes were encrypted on their way: `aws:SecureTransport`.
    pub is_secure: bool,
    /// What TLS has agreed on, where it ends here.
    pub tls: Option<Secure>,
}

impl Peer {
    pub fn plain(address: IpAddr) -> Self {
        Self { address, is_secure: false, tls: None }
    }

    pub fn secure(address: IpAddr, tls: Secure) -> Self {
        Self { address, is_secure: true, tls: Some(tls) }
    }

    pub fn speaks_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(Secure::speaks_http2)
    }
}
