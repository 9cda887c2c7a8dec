//! Client certificates: five levels, under AIStore's numbers, and what a listener is configured with.

use crate::check;
use crate::error::{Error, Fault, Result};
use crate::limits;
use crate::load::{CLIENT_CA, CLIENT_CRL, Hash};
use common::Clock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a listener asks of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// No certificate is asked for.
    #[default]
    None,
    /// One is asked for, and not looked at.
    Request,
    /// There must be one, whoever issued it.
    RequireAny,
    /// There need be none, and one that comes must be known.
    VerifyIfGiven,
    /// There must be one that is known.
    RequireAndVerify,
}

impl Level {
    pub const ALL: [Self; 5] =
        [Self::None, Self::Request, Self::RequireAny, Self::VerifyIfGiven, Self::RequireAndVerify];

    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Request => "request",
            Self::RequireAny => "require-any",
            Self::VerifyIfGiven => "verify-if-given",
            Self::RequireAndVerify => "require-and-verify",
        }
    }

    /// By its name or its number.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == text || level.number().to_string() == text)
    }

    /// Whether what a client shows proves something.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// Whose clients are known, and which of them no more.
#[derive(Debug, Clone)]
pub struct Trust {
    pub roots: Vec<CertificateDer<'static>>,
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
    /// Two trusts with the same id are the same.
    pub id: Hash,
}

impl Trust {
    pub fn parse(bundle: &[u8], lists: Option<&[u8]>) -> Result<Self, Fault> {
        // A bundle has as many authorities as it likes, and no order.
        if bundle.is_empty() {
            return Err(Fault::Empty(CLIENT_CA.to_owned()));
        }
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle).collect();
        let roots = roots.ok().filter(|roots| !roots.is_empty());
        let roots = roots.ok_or_else(|| Fault::NoCertificate(CLIENT_CA.to_owned()))?;
        for root in &roots {
            check::facts_of_der(root).map_err(|why| Fault::BadCertificate(CLIENT_CA.to_owned(), why))?;
        }
        let revoked: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(lists.unwrap_or_default()).collect();
        let revoked = revoked.ok().filter(|revoked| lists.is_none() || !revoked.is_empty());
        let revoked = revoked.ok_or_else(|| Fault::NoRevocationList(CLIENT_CRL.to_owned()))?;
        let mut id = Sha256::new();
        id.update(Sha256::digest(bundle));
        id.update(lists.map_or([0; 32].into(), Sha256::digest));
        let trust = Self { roots, revoked, id: id.finalize().into() };
        // What the verifier does not take is no trust.
        verifier(Level::RequireAndVerify, Some(&trust), &provider())
            .map_err(|error| Fault::BadCertificate(CLIENT_CA.to_owned(), error.to_string()))?;
        Ok(trust)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The clock by which clients' certificates are judged.
struct ByClock(Arc<dyn Clock>);

impl fmt::Debug for ByClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByClock").finish_non_exhaustive()
    }
}

impl TimeProvider for ByClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now_ms())))
    }
}

/// A configuration with sessions of its own: whoever was known, or not asked, under another one is asked again.
pub fn server_config(
    resolver: Arc<dyn ResolvesServerCert>,
    level: Level,
    trust: Option<&Trust>,
    protocols: &[Vec<u8>],
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>> {
    let failed = |error: rustls::Error| Error::Tls(error.to_string());
    let provider = provider();
    let builder = ServerConfig::builder_with_details(provider.clone(), Arc::new(ByClock(clock)));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let mut config = builder.with_client_cert_verifier(verifier(level, trust, &provider)?).with_cert_resolver(resolver);
    config.session_storage = ServerSessionMemoryCache::new(limits::SESSIONS_MAX);
    config.ticketer = Ticketer::new().map_err(failed)?;
    config.alpn_protocols = protocols.to_vec();
    // What comes before the handshake's end could be sent again by anybody.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn verifier(
    level: Level,
    trust: Option<&Trust>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    if !level.verifies() {
        return Ok(match level {
            Level::None => WebPkiClientVerifier::no_client_auth(),
            _ => Arc::new(Anybody { must: level == Level::RequireAny, provider: provider.clone() }),
        });
    }
    let wrong = |why: String| Error::ClientAuthority(why);
    let trust = trust.ok_or_else(|| wrong(format!("there is no {CLIENT_CA} and no authority of our own")))?;
    let mut roots = RootCertStore::empty();
    for root in &trust.roots {
        roots.add(root.clone()).map_err(|error| wrong(error.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if !trust.revoked.is_empty() {
        // A client of an authority without a list is refused; the authority itself stands in nobody's list.
        builder = builder.with_crls(trust.revoked.iter().cloned()).only_check_end_entity_revocation();
    }
    if level == Level::VerifyIfGiven {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| wrong(error.to_string()))
}

/// Takes every certificate whose key the client has. It proves nothing about who that is.
#[derive(Debug)]
struct Anybody {
    must: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        self.must
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match check::facts_of_der(leaf) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::store::Resolver;
    use common::doors::{SeededRandom, SimulatedClock};

    #[test]
    fn levels_have_numbers_and_names() {
        for (number, level) in Level::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(level.number()), number);
            assert_eq!(Level::parse(level.name()), Some(level));
            assert_eq!(Level::parse(&number.to_string()), Some(level));
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
        for bad in ["", "5", "-1", "None", "verify"] {
            assert_eq!(Level::parse(bad), None);
        }
    }

    #[test]
    fn trust_is_parsed_whole_or_not_at_all() {
        let random = SeededRandom::new(1);
        let bundle = Authority::make(1_790_000_000_000, &*random).unwrap().certificate_pem;
        let trust = Trust::parse(bundle.as_bytes(), None).unwrap();
        assert_eq!((trust.roots.len(), trust.revoked.len()), (1, 0));
        assert_eq!(Trust::parse(bundle.as_bytes(), None).unwrap().id, trust.id);
        let two = format!("{bundle}{}", Authority::make(1, &*random).unwrap().certificate_pem);
        assert_ne!(Trust::parse(two.as_bytes(), None).unwrap().id, trust.id);
        for (bundle, lists) in [
            ("", None),
            ("nonsense", None),
            (&bundle[..200], None),
            (bundle.as_str(), Some("")),
            (bundle.as_str(), Some("nonsense")),
            (bundle.as_str(), Some("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")),
        ] {
            assert!(Trust::parse(bundle.as_bytes(), lists.map(str::as_bytes)).is_err(), "{lists:?}");
        }
    }

    #[test]
    fn no_level_verifies_without_an_authority() {
        let config =
            |level| server_config(Arc::new(Resolver::default()), level, None, &[], SimulatedClock::starting_at(1));
        for level in Level::ALL {
            assert_eq!(config(level).is_ok(), !level.verifies(), "{level:?}");
        }
        assert_eq!(config(Level::None).unwrap().max_early_data_size, 0);
    }
}
