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
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

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
    /// One of the roots takes back too, and so authorities between it and a client.
    has_list_of_root: bool,
    /// Two trusts with the same id know the same clients: a list that is published anew with nothing new in it changes nothing.
    pub id: Hash,
}

impl Trust {
    /// For while it is not known whom to trust: every certificate is refused.
    pub fn nobody() -> Self {
        Self { roots: Vec::new(), revoked: Vec::new(), has_list_of_root: false, id: [0; 32] }
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
        let lists = lists.map_or_else(|| Ok(Vec::new()), parse_lists)?;
        let mut id = Sha256::new();
        id.update(Sha256::digest(bundle));
        let mut has_list_of_root = false;
        for list in &lists {
            let of_root = roots.iter().filter_map(|root| list.of_root(root));
            // One that its authority has not signed is not in force as it stands there.
            let signed = of_root.reduce(|one, other| one || other);
            has_list_of_root |= signed.is_some();
            id.update(list.content);
            id.update([u8::from(signed == Some(true))]);
        }
        let revoked = lists.into_iter().map(|list| list.der).collect();
        let trust = Self { roots, revoked, has_list_of_root, id: id.finalize().into() };
        // What the verifier does not take is no trust.
        let without = Self { revoked: Vec::new(), ..trust.clone() };
        for (trust, file) in [(&without, CLIENT_CA), (&trust, CLIENT_CRL)] {
            verifier(Level::RequireAndVerify, Some(trust), &provider())
                .map_err(|error| Fault::BadCertificate(file.to_owned(), error.to_string()))?;
        }
        Ok(trust)
    }
}

/// A revocation list.
#[derive(Debug)]
pub struct List {
    der: CertificateRevocationListDer<'static>,
    issuer: Vec<u8>,
    /// Which of its issuer's certificates it is about (the issuing distribution point); all of them if this is empty.
    part: Vec<u8>,
    /// How new it is: its number, as its length and its bytes, and its date.
    age: (usize, Vec<u8>, i64),
    /// All of it that makes a difference.
    content: Hash,
}

const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";

impl List {
    fn parse(der: CertificateRevocationListDer<'static>) -> Result<Self, String> {
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|error| error.to_string())?;
        let extension = |oid: &str| {
            let found = list.extensions().iter().find(|extension| extension.oid.to_id_string() == oid);
            found.map_or_else(Vec::new, |extension| extension.value.to_vec())
        };
        let (issuer, part) = (list.issuer().as_raw().to_vec(), extension(ISSUING_DISTRIBUTION_POINT));
        let number = list.crl_number().map_or_else(Vec::new, |number| number.to_bytes_be());
        let age = (number.len(), number, list.last_update().timestamp());
        let mut serials: Vec<&[u8]> = list.iter_revoked_certificates().map(|revoked| revoked.raw_serial()).collect();
        serials.sort_unstable();
        let mut content = Sha256::new();
        for field in
            [&issuer, &part, &extension(AUTHORITY_KEY_IDENTIFIER)].map(Vec::as_slice).into_iter().chain(serials)
        {
            content.update((field.len() as u64).to_le_bytes());
            content.update(field);
        }
        let content = content.finalize().into();
        Ok(Self { der, issuer, part, age, content })
    }

    /// Whether this root has signed it; `None` if it is of somebody else.
    fn of_root(&self, root: &CertificateDer<'_>) -> Option<bool> {
        let (_, root) =
            X509Certificate::from_der(root).ok().filter(|(_, root)| root.subject().as_raw() == self.issuer)?;
        let (_, list) = CertificateRevocationList::from_der(&self.der).ok()?;
        Some(list.verify_signature(root.public_key()).is_ok())
    }
}

/// The revocation lists of a file that are in force, at least one.
pub fn parse_lists(bytes: &[u8]) -> Result<Vec<List>, Fault> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.ok().filter(|lists| !lists.is_empty());
    let lists = lists.ok_or_else(|| Fault::NoRevocationList(CLIENT_CRL.to_owned()))?;
    let lists: Result<Vec<_>, _> = lists.into_iter().map(List::parse).collect();
    let mut lists = lists.map_err(|why| Fault::BadCertificate(CLIENT_CRL.to_owned(), why))?;
    // The verifier looks at the first list that a certificate may stand in, and at no other.
    lists.sort_by(|a, b| (&a.issuer, &a.part).cmp(&(&b.issuer, &b.part)).then_with(|| b.age.cmp(&a.age)));
    lists.dedup_by(|later, kept| (&later.issuer, &later.part) == (&kept.issuer, &kept.part));
    // Those of two parts of one issuer have numbers of their own.
    lists.sort_by(|a, b| a.issuer.cmp(&b.issuer).then_with(|| b.age.2.cmp(&a.age.2)));
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
        // A client of an authority without a list is refused, and where a root has one an authority below it too. Without one of a
        // root nothing is known of those.
        builder = builder.with_crls(trust.revoked.iter().cloned());
        if !trust.has_list_of_root {
            builder = builder.only_check_end_entity_revocation();
        }
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
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
        Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    };
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

    /// A certificate, PEM, and what it issues with if it is an authority.
    fn made(
        name: &str,
        issuer: Option<&Issuer<'_, KeyPair>>,
        is_authority: bool,
    ) -> (String, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        } else {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        (certificate.pem(), Issuer::new(params, key))
    }

    #[test]
    fn of_two_lists_the_newer_one_is_in_force() {
        let (root, issuer) = made("root", None, true);
        let [(ann, _), (joe, _)] = ["ann", "joe"].map(|name| made(name, Some(&issuer), false));
        let lists = [list(&issuer, 2, &[]), list(&issuer, 256, &[&joe]), list(&issuer, 1, &[&ann])];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let file = order.map(|at| lists[at].as_str()).concat();
            let trust = Trust::parse(root.as_bytes(), Some(file.as_bytes())).unwrap();
            assert_eq!((trust.revoked.len(), knows(&trust, &ann), knows(&trust, &joe)), (1, true, false), "{order:?}");
        }
    }

    #[test]
    fn a_root_takes_back_authorities_too() {
        let (root, issuer) = made("root", None, true);
        let (between, below) = made("between", Some(&issuer), true);
        let (ann, _) = made("ann", Some(&below), false);
        let chain = format!("{ann}{between}");
        let of_between = list(&below, 1, &[]);
        for (lists, known) in [
            (vec![of_between.clone()], true),
            (vec![of_between.clone(), list(&issuer, 1, &[])], true),
            (vec![of_between.clone(), list(&issuer, 1, &[&between])], false),
            (vec![list(&below, 1, &[&ann]), list(&issuer, 1, &[])], false),
            (vec![list(&below, 1, &[&ann])], false),
            (vec![list(&issuer, 1, &[])], false),
        ] {
            let trust = Trust::parse(root.as_bytes(), Some(lists.concat().as_bytes())).unwrap();
            assert_eq!(knows(&trust, &chain), known, "{}", lists.len());
        }
        assert!(knows(&Trust::parse(root.as_bytes(), None).unwrap(), &chain));
    }

    #[test]
    fn a_list_that_says_the_same_again_is_the_same_trust() {
        let (root, issuer) = made("root", None, true);
        let (_, stranger) = made("root", None, true);
        let [(ann, _), (joe, _)] = ["ann", "joe"].map(|name| made(name, Some(&issuer), false));
        let id = |list: String| Trust::parse(root.as_bytes(), Some(list.as_bytes())).unwrap().id;
        let (_, other) = made("other", None, true);
        let of_two = |one, two| id(list(&issuer, one, &[&ann]) + &list(&other, two, &[]));
        assert_eq!(of_two(1, 2), of_two(3, 2), "whichever of them is newer");
        let first = id(list(&issuer, 1, &[&ann, &joe]));
        assert_eq!(id(list(&issuer, 7, &[&joe, &ann])), first);
        for other in [list(&issuer, 7, &[&joe]), list(&issuer, 7, &[]), list(&stranger, 1, &[&ann, &joe])] {
            assert_ne!(id(other), first);
        }
        assert_ne!(id(list(&issuer, 1, &[])), Trust::parse(root.as_bytes(), None).unwrap().id);
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
