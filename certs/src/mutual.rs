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
use x509_parser::prelude::{CertificateRevocationList, FromDer};

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
    /// None: no certificate is taken.
    pub roots: Vec<CertificateDer<'static>>,
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
    /// Two trusts with the same id are the same.
    pub id: Hash,
}

impl Trust {
    /// For while it is not known whom to trust: every certificate is refused.
    pub fn nobody() -> Self {
        Self { roots: Vec::new(), revoked: Vec::new(), id: [0; 32] }
    }

    pub fn is_nobody(&self) -> bool {
        self.roots.is_empty()
    }

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
        let revoked = lists.map_or_else(|| Ok(Vec::new()), parse_lists)?;
        let mut id = Sha256::new();
        id.update(Sha256::digest(bundle));
        id.update(lists.map_or([0; 32].into(), Sha256::digest));
        let trust = Self { roots, revoked, id: id.finalize().into() };
        // What the verifier does not take is no trust.
        let without = Self { revoked: Vec::new(), ..trust.clone() };
        for (trust, file) in [(&without, CLIENT_CA), (&trust, CLIENT_CRL)] {
            verifier(Level::RequireAndVerify, Some(trust), &provider())
                .map_err(|error| Fault::BadCertificate(file.to_owned(), error.to_string()))?;
        }
        Ok(trust)
    }
}

/// The revocation lists of a file, at least one.
pub fn parse_lists(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, Fault> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.ok().filter(|lists| !lists.is_empty());
    let lists = lists.ok_or_else(|| Fault::NoRevocationList(CLIENT_CRL.to_owned()))?;
    for list in &lists {
        CertificateRevocationList::from_der(list)
            .map_err(|error| Fault::BadCertificate(CLIENT_CRL.to_owned(), error.to_string()))?;
    }
    Ok(lists)
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
            _ => Arc::new(Alike { takes: true, must: level == Level::RequireAny, provider: provider.clone() }),
        });
    }
    let wrong = |why: String| Error::ClientAuthority(why);
    let trust = trust.ok_or_else(|| wrong(format!("there is no {CLIENT_CA} and no authority of our own")))?;
    if trust.is_nobody() {
        let must = level == Level::RequireAndVerify;
        return Ok(Arc::new(Alike { takes: false, must, provider: provider.clone() }));
    }
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

/// Treats all certificates alike. It takes each whose key the client has, which proves nothing about who that is; or none.
#[derive(Debug)]
struct Alike {
    takes: bool,
    must: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Alike {
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
        if !self.takes {
            return Err(CertificateError::UnknownIssuer.into());
        }
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
pub(crate) mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::store::Resolver;
    use common::doors::{SeededRandom, SimulatedClock};
    use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
    use time::OffsetDateTime;

    const NOW_S: u64 = 1_790_000_000;

    /// A list of this number that takes these certificates back, PEM.
    pub fn list(issuer: &Issuer<'_, KeyPair>, number: u64, revoked: &[&str]) -> String {
        let time = |seconds: u64| OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap();
        let revoked = revoked.iter().map(|pem| {
            let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let serial = x509_parser::parse_x509_certificate(&leaf).unwrap().1.raw_serial().to_vec();
            let serial_number = SerialNumber::from_slice(&serial);
            let revocation_time = time(NOW_S);
            RevokedCertParams { serial_number, revocation_time, reason_code: None, invalidity_date: None }
        });
        let params = CertificateRevocationListParams {
            this_update: time(NOW_S + number),
            next_update: time(NOW_S + number + 1000),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().pem().unwrap()
    }

    /// Whether a client with this chain, PEM, is known where it has to be.
    pub fn knows(trust: &Trust, chain: &str) -> bool {
        let verifier = verifier(Level::RequireAndVerify, Some(trust), &provider()).unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW_S));
        verifier.verify_client_cert(&chain[0], &chain[1..], now).is_ok()
    }

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
    fn nobody_is_known_where_nobody_is_trusted() {
        let random = SeededRandom::new(2);
        let made = Authority::make(NOW_S * 1000, &*random).unwrap();
        let authority = Authority::open(&made.certificate_pem, &made.key_pem, "x").unwrap();
        let ann = authority.issue(&["ann".to_owned()], crate::Purpose::Client, NOW_S * 1000, &*random).unwrap();
        assert!(knows(&Trust::parse(made.certificate_pem.as_bytes(), None).unwrap(), &ann.certificate_pem));
        let nobody = Trust::nobody();
        assert!(nobody.is_nobody() && !knows(&nobody, &ann.certificate_pem));
        for (level, must) in [(Level::VerifyIfGiven, false), (Level::RequireAndVerify, true)] {
            let verifier = verifier(level, Some(&nobody), &provider()).unwrap();
            assert!(verifier.offer_client_auth() && verifier.client_auth_mandatory() == must);
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
