//! What is asked of a pair before it is served, pure: bytes in, a key that can sign or a fault out.

use crate::error::Fault;
use crate::limits;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    pub subject: String,
    pub issuer: String,
    /// Hexadecimal digits, as openssl prints them.
    pub serial: String,
    /// Seconds since 1970.
    pub not_before_s: i64,
    pub not_after_s: i64,
    /// Host names, wildcards and addresses, in lower case.
    pub names: Vec<String>,
    /// URIs and mail addresses among the alternative names.
    pub others: Vec<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

impl Facts {
    /// Its time has come, and is not over.
    pub fn is_timely(&self, now_s: i64) -> bool {
        (self.not_before_s..self.not_after_s).contains(&now_s)
    }
}

/// A pair that may be served.
#[derive(Debug, Clone)]
pub struct Checked {
    pub facts: Facts,
    pub key: Arc<CertifiedKey>,
    /// Good but for the time: for where there is nothing better.
    pub untimely: Option<Fault>,
}

/// Everything but the time.
pub fn key_of_pair(name: &str, certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, Fault> {
    let (certificate_file, key_file) = (format!("{name}.crt"), format!("{name}.key"));
    let chain = chain(&certificate_file, certificate)?;
    if key.is_empty() {
        return Err(Fault::Empty(key_file));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Fault::NoKey(key_file.clone()))?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|_| Fault::NoKey(key_file.clone()))?;
    check_chain(&certificate_file, &chain)?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) => Ok(Arc::new(key)),
        Err(_) => Err(Fault::KeyMismatch(key_file)),
    }
}

/// A pair, now.
pub fn check(name: &str, certificate: &[u8], key: &[u8], now_s: i64) -> Result<Checked, Fault> {
    let key = key_of_pair(name, certificate, key)?;
    let facts = facts_of_der(&key.cert[0]).map_err(|why| Fault::BadCertificate(format!("{name}.crt"), why))?;
    let untimely = untimely(name, &facts, now_s);
    Ok(Checked { facts, key, untimely })
}

pub fn untimely(name: &str, facts: &Facts, now_s: i64) -> Option<Fault> {
    if now_s >= facts.not_after_s {
        Some(Fault::Expired(format!("{name}.crt")))
    } else if now_s < facts.not_before_s {
        Some(Fault::NotYetValid(format!("{name}.crt")))
    } else {
        None
    }
}

/// What the first certificate of a file says.
pub fn facts(file: &str, certificate: &[u8]) -> Result<Facts, Fault> {
    let chain = chain(file, certificate)?;
    facts_of_der(&chain[0]).map_err(|why| Fault::BadCertificate(file.to_owned(), why))
}

/// The certificates of a file, at least one.
pub fn chain(file: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Empty(file.to_owned()));
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| Fault::NoCertificate(file.to_owned()))?;
    if chain.len() > limits::CHAIN_CERTIFICATES_MAX {
        return Err(Fault::LongChain(file.to_owned()));
    }
    Ok(chain)
}

fn check_chain(file: &str, chain: &[CertificateDer<'_>]) -> Result<(), Fault> {
    let parsed: Result<Vec<_>, _> = chain.iter().map(|der| X509Certificate::from_der(der)).collect();
    let parsed = parsed.map_err(|error| Fault::BadCertificate(file.to_owned(), error.to_string()))?;
    for (at, pair) in parsed.windows(2).enumerate() {
        let (child, parent) = (&pair[0].1, &pair[1].1);
        let signed = child.verify_signature(Some(parent.public_key()));
        // There are signatures that clients can verify and this library cannot: their names have to do.
        let is_signed = matches!(signed, Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm));
        if !is_signed || child.issuer() != parent.subject() {
            return Err(Fault::ChainOrder(file.to_owned(), at + 1));
        }
    }
    Ok(())
}

/// What a certificate says, also one that a client has shown.
pub fn facts_of_der(der: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let (mut names, mut others) = (Vec::new(), Vec::new());
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => names.extend(address(bytes).map(|address| address.to_string())),
            GeneralName::URI(uri) => others.push((*uri).to_owned()),
            GeneralName::RFC822Name(mail) => others.push((*mail).to_owned()),
            _ => {}
        }
    }
    let serial = certificate.tbs_certificate.raw_serial();
    let serial = serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial);
    Ok(Facts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: hex(serial),
        not_before_s: certificate.validity().not_before.timestamp(),
        not_after_s: certificate.validity().not_after.timestamp(),
        names,
        others,
        fingerprint: hex(&Sha256::digest(der)),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The certificate of a PEM file that has this one section and no other, without what stands around it, and its SHA-256. Who
/// compares the fingerprint of one must not go on to believe what stands beside it.
pub fn only_certificate(bytes: &[u8]) -> Option<(&str, String)> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.matches(BEGIN).count() == 1)?;
    let (begin, end) = (text.find(BEGIN)?, text.find(END)? + END.len());
    let pem = text.get(begin..end)?;
    facts("", pem.as_bytes()).ok().map(|facts| (pem, facts.fingerprint))
}

/// Whether a certificate's names stand for this one: itself, or a wildcard for its first label.
pub fn covers(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| {
        name == wanted
            || name.strip_prefix("*.").is_some_and(|rest| {
                wanted.split_once('.').is_some_and(|(label, parent)| parent == rest && label != "*")
            })
    })
}

/// The step of `WARNING_DAYS` that the end is within, if it is within one; 0 for what has ended.
pub fn warning_step(not_after_s: i64, now_s: i64) -> Option<i64> {
    let left_s = not_after_s - now_s;
    if left_s <= 0 {
        return Some(0);
    }
    limits::WARNING_DAYS.into_iter().rev().find(|days| left_s <= days * 24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Authority, Issued, Purpose};
    use common::doors::SeededRandom;

    const NOW_S: i64 = 1_790_000_000;

    fn issued(seed: u64) -> Issued {
        let random = SeededRandom::new(seed);
        let made = Authority::make(NOW_S as u64 * 1000, &*random).unwrap();
        let authority = Authority::open(&made.certificate_pem, &made.key_pem, "x").unwrap();
        authority.issue(&["a.example".to_owned()], Purpose::Server, NOW_S as u64 * 1000, &*random).unwrap()
    }

    fn fault(certificate: &str, key: &str, now_s: i64) -> Fault {
        match check("n", certificate.as_bytes(), key.as_bytes(), now_s) {
            Ok(checked) => checked.untimely.expect("a fault"),
            Err(fault) => fault,
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (one, other) = (issued(1), issued(2));
        let (crt, key) = (one.certificate_pem.as_str(), one.key_pem.as_str());
        assert!(check("n", crt.as_bytes(), key.as_bytes(), NOW_S).is_ok());
        let file = || "n.crt".to_owned();
        assert_eq!(fault("", key, NOW_S), Fault::Empty(file()));
        assert_eq!(fault(crt, "", NOW_S), Fault::Empty("n.key".into()));
        assert_eq!(fault("nonsense", key, NOW_S), Fault::NoCertificate(file()));
        assert_eq!(fault(crt, "nonsense", NOW_S), Fault::NoKey("n.key".into()));
        assert_eq!(fault(&crt[..300], key, NOW_S), Fault::NoCertificate(file()), "half of it");
        assert_eq!(fault(crt, &key[..100], NOW_S), Fault::NoKey("n.key".into()));
        assert_eq!(fault(crt, &other.key_pem, NOW_S), Fault::KeyMismatch("n.key".into()));
        assert_eq!(fault(crt, key, NOW_S + 91 * 24 * 3600), Fault::Expired(file()));
        assert_eq!(fault(crt, key, NOW_S - 2 * 3600), Fault::NotYetValid(file()));
        let authority_at = crt.rfind("-----BEGIN").unwrap();
        let (leaf, authority) = crt.split_at(authority_at);
        let mixed = format!("{leaf}{}", other.certificate_pem);
        assert_eq!(fault(&mixed, key, NOW_S), Fault::ChainOrder(file(), 1));
        assert_eq!(fault(&format!("{authority}{leaf}"), key, NOW_S), Fault::ChainOrder(file(), 1));
        assert_eq!(fault(&crt.repeat(9), key, NOW_S), Fault::LongChain(file()));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(fault(broken, key, NOW_S), Fault::BadCertificate(..)));
    }

    #[test]
    fn one_certificate_is_not_two() {
        let (one, other) = (issued(1), issued(2));
        let chain = one.certificate_pem.as_str();
        let leaf = &chain[..chain.rfind("-----BEGIN").unwrap()];
        let fingerprint = facts("", leaf.as_bytes()).unwrap().fingerprint;
        let around = format!("subject: a\n{leaf}and more");
        for text in [leaf, &around] {
            assert_eq!(only_certificate(text.as_bytes()), Some((leaf.trim_end(), fingerprint.clone())));
        }
        let trusted = other.certificate_pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
        for text in [
            chain,
            &format!("{leaf}{}", &*other.key_pem),
            &format!("{leaf}{trusted}"),
            &format!("{trusted}{leaf}"),
            &leaf.repeat(2),
            &trusted,
            &leaf[..200],
            &leaf[30..],
            "",
        ] {
            assert_eq!(only_certificate(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn signatures_that_are_not_verified_here_do() {
        let authority = |name: &str| {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            (params.self_signed(&key).unwrap().pem(), rcgen::Issuer::new(params, key))
        };
        let ((one, issuer), (other, _)) = (authority("one"), authority("other"));
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::default().signed_by(&key, &issuer).unwrap().pem();
        let judged =
            |parent: &str| key_of_pair("n", format!("{leaf}{parent}").as_bytes(), key.serialize_pem().as_bytes());
        assert!(judged(&one).is_ok());
        assert_eq!(judged(&other).unwrap_err(), Fault::ChainOrder("n.crt".into(), 1));
    }

    #[test]
    fn wildcards_are_of_one_label() {
        let names = ["*.s3.example".to_owned(), "10.0.0.1".to_owned()];
        for (wanted, covered) in [
            ("a.s3.example", true),
            ("*.s3.example", true),
            ("10.0.0.1", true),
            ("s3.example", false),
            ("a.b.s3.example", false),
            ("a.s3", false),
        ] {
            assert_eq!(covers(&names, wanted), covered, "{wanted}");
        }
    }

    #[test]
    fn warnings_have_steps() {
        let day = 24 * 3600;
        for (left_s, step) in [
            (22 * day, None),
            (21 * day, Some(21)),
            (8 * day, Some(21)),
            (7 * day, Some(7)),
            (3 * day, Some(3)),
            (1, Some(3)),
            (0, Some(0)),
            (-5, Some(0)),
        ] {
            assert_eq!(warning_step(NOW_S + left_s, NOW_S), step, "{left_s}");
        }
    }
}
