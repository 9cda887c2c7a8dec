//! Whom the command line trusts when it speaks TLS: the authorities in `WEIR_CA_FILE` and nobody else, or those of the system, the one
//! that `weir tls trust` has written down, and that of the data directory at hand.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

const CA_FILE: &str = "WEIR_CA_FILE";
/// What this client shows where a listener asks for a certificate.
const CLIENT_CERTIFICATE: &str = "WEIR_CLIENT_CERT_FILE";
const CLIENT_KEY: &str = "WEIR_CLIENT_KEY_FILE";

/// Where a data directory has the appliance's own authority.
pub fn authority_of(data: &Path) -> PathBuf {
    data.join("control/authority")
}

static DATA: OnceLock<PathBuf> = OnceLock::new();

/// The data directory that this command reads its key from: who may do that may know its authority too.
pub fn look_in(data: &Path) {
    let _ = DATA.set(data.to_owned());
}

/// Where `weir tls trust` writes.
pub fn file(environment: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let home = environment("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".config")));
    let home = home.ok_or_else(|| Error::Usage(format!("neither HOME nor XDG_CONFIG_HOME is set: set {CA_FILE}")))?;
    Ok(home.join("weir/ca.pem"))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// How an exchange is done that verifies who answers.
pub fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = environment(CA_FILE) {
        let added = add(&mut roots, Path::new(&path)).map_err(|why| format!("{CA_FILE}: {path}: {why}"))?;
        if added == 0 {
            return Err(format!("{CA_FILE}: {path} has no certificate"));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let written = file(environment).ok();
        for path in written.into_iter().chain(DATA.get().map(|data| authority_of(data).join("ca.pem"))) {
            if path.exists() {
                add(&mut roots, &path).map_err(|why| format!("{}: {why}", path.display()))?;
            }
        }
        if roots.is_empty() {
            return Err(format!("no authority is trusted: run weir tls trust, or name a file in {CA_FILE}"));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = builder.with_root_certificates(roots);
    let config = match (environment(CLIENT_CERTIFICATE), environment(CLIENT_KEY)) {
        (Some(certificate), Some(key)) => {
            let chain = read(Path::new(&certificate)).map_err(|why| format!("{CLIENT_CERTIFICATE}: {why}"))?;
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
            let chain = chain.map_err(|error| format!("{CLIENT_CERTIFICATE}: {error}"))?;
            let key = read(Path::new(&key)).map_err(|why| format!("{CLIENT_KEY}: {why}"))?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("{CLIENT_KEY}: {error}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("{CLIENT_CERTIFICATE}: {error}"))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(format!("{CLIENT_CERTIFICATE} and {CLIENT_KEY} are set both, or none")),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

#[expect(clippy::disallowed_methods, reason = "certificates that the command line trusts are no data")]
fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<usize, String> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    Ok(roots.add_parsable_certificates(certificates).0)
}

/// The same without asking who answers: for the one document whose fingerprint is compared afterwards.
pub fn blind_connector() -> Result<TlsConnector, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Blind(provider)));
    Ok(TlsConnector::from(Arc::new(builder.with_no_client_auth())))
}

#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trusted_is_written_in_the_users_own_folder() {
        let path = |pairs: &[(&str, &str)]| {
            file(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())).ok()
        };
        assert_eq!(path(&[("HOME", "/h")]), Some("/h/.config/weir/ca.pem".into()));
        assert_eq!(path(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), Some("/x/weir/ca.pem".into()));
        assert_eq!(path(&[]), None);
    }
}
