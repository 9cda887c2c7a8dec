//! The appliance's own authority, for whoever has no other: a key that signs nothing but leaves.

use crate::check::{self, Facts};
use crate::error::{Error, Result};
use crate::limits;
use crate::names;
use common::Random;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use std::net::IpAddr;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// A certificate with its key.
pub struct Issued {
    pub certificate_pem: String,
    pub key_pem: Zeroizing<String>,
}

/// What a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Server,
    Client,
}

pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    facts: Facts,
}

fn failed(error: rcgen::Error) -> Error {
    Error::Issue(error.to_string())
}

impl Authority {
    /// A new one.
    pub fn make(now_ms: u64, random: &dyn Random) -> Result<Issued> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        // Two appliances' authorities must not have the same name: clients look an issuer up by it.
        let mut params =
            params(&format!("Weir authority {:08x}", random.u64() as u32), now_ms, limits::AUTHORITY_DAYS, random);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// One that was made before. `place` is for the message.
    pub fn open(certificate_pem: &str, key_pem: &str, place: &str) -> Result<Self> {
        let damaged = || Error::Authority(place.to_owned());
        check::key_of_pair("ca", certificate_pem.as_bytes(), key_pem.as_bytes()).map_err(|_| damaged())?;
        let facts = check::facts("ca", certificate_pem.as_bytes()).map_err(|_| damaged())?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| damaged())?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(|_| damaged())?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), issuer, facts })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    #[cfg(test)]
    pub fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A leaf for these names, with the authority's certificate behind it.
    pub fn issue(&self, names: &[String], purpose: Purpose, now_ms: u64, random: &dyn Random) -> Result<Issued> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let Some(first) = names.first() else { return Err(Error::Name(String::new())) };
        let mut params = params(first, now_ms, limits::LEAF_DAYS, random);
        for name in names {
            let name = names::parse(name)?;
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into().map_err(failed)?),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let certificate_pem = format!("{}{}", certificate.pem(), self.certificate_pem);
        Ok(Issued { certificate_pem, key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

/// Why the own leaf is to be issued anew.
pub fn renewal(leaf: &Facts, authority: &Facts, wanted: &[String], now_s: i64) -> Option<&'static str> {
    const DAY_S: i64 = 24 * 3600;
    if leaf.issuer != authority.subject {
        return Some("another authority issued it");
    }
    if now_s >= leaf.not_after_s - (limits::LEAF_DAYS - limits::LEAF_RENEWED_AFTER_DAYS) * DAY_S {
        return Some("it is old");
    }
    if now_s < leaf.not_before_s {
        return Some("it is not valid yet");
    }
    wanted.iter().any(|name| !leaf.names.contains(name)).then_some("a name is new")
}

fn params(common_name: &str, now_ms: u64, days: i64, random: &dyn Random) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    // X.509 allows 64 characters; the whole name stands among the alternative ones.
    name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    params.distinguished_name = name;
    let now = OffsetDateTime::from_unix_timestamp(i64::try_from(now_ms / 1000).unwrap_or(0))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let begin = now.checked_sub(Duration::seconds(limits::BACKDATED_SECONDS)).unwrap_or(now);
    params.not_before = begin;
    params.not_after = begin.checked_add(Duration::days(days)).unwrap_or(begin);
    let mut serial = [0; 16];
    random.fill(&mut serial);
    // A positive number whose first byte is none that an encoding leaves out.
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    const NOW_MS: u64 = 1_790_000_000_000;
    const DAY_S: i64 = 24 * 3600;

    #[test]
    fn an_authority_issues_leaves_that_hold() {
        let random = SeededRandom::new(1);
        let made = Authority::make(NOW_MS, &*random).unwrap();
        let authority = Authority::open(&made.certificate_pem, &made.key_pem, "x").unwrap();
        let names: Vec<String> = ["s3.example.com", "*.s3.example.com", "10.0.0.1", "::1"].map(str::to_owned).into();
        let leaf = authority.issue(&names, Purpose::Server, NOW_MS, &*random).unwrap();
        let checked =
            check::check("leaf", leaf.certificate_pem.as_bytes(), leaf.key_pem.as_bytes(), (NOW_MS / 1000) as i64)
                .unwrap();
        assert_eq!(checked.facts.names, names);
        assert_eq!(checked.facts.issuer, authority.facts().subject);
        assert_eq!(checked.facts.not_after_s - checked.facts.not_before_s, 90 * DAY_S);
        assert_eq!(authority.facts().not_after_s - authority.facts().not_before_s, 3650 * DAY_S);
        let again = authority.issue(&names, Purpose::Server, NOW_MS, &*random).unwrap();
        assert_ne!(check::facts("x", again.certificate_pem.as_bytes()).unwrap().serial, checked.facts.serial);
        assert!(authority.issue(&[], Purpose::Client, NOW_MS, &*random).is_err());
        assert!(authority.issue(&["a b".to_owned()], Purpose::Client, NOW_MS, &*random).is_err());
        let other = Authority::make(NOW_MS, &*random).unwrap();
        assert!(Authority::open(&made.certificate_pem, &other.key_pem, "x").is_err());
        assert!(Authority::open("", &made.key_pem, "x").is_err());
    }

    #[test]
    fn a_leaf_is_renewed_in_time() {
        let random = SeededRandom::new(2);
        let made = Authority::make(NOW_MS, &*random).unwrap();
        let authority = Authority::open(&made.certificate_pem, &made.key_pem, "x").unwrap();
        let names = ["localhost".to_owned()];
        let leaf = authority.issue(&names, Purpose::Server, NOW_MS, &*random).unwrap();
        let leaf = check::facts("leaf", leaf.certificate_pem.as_bytes()).unwrap();
        let now_s = (NOW_MS / 1000) as i64;
        let reason = |after_s: i64| renewal(&leaf, authority.facts(), &names, now_s + after_s);
        assert_eq!(reason(0), None);
        assert_eq!(reason(59 * DAY_S), None);
        assert_eq!(reason(60 * DAY_S), Some("it is old"));
        assert_eq!(reason(100 * DAY_S), Some("it is old"));
        assert_eq!(reason(-2 * DAY_S), Some("it is not valid yet"));
        let wanted = ["localhost".to_owned(), "new".to_owned()];
        assert_eq!(renewal(&leaf, authority.facts(), &wanted, now_s), Some("a name is new"));
        let other = Authority::make(NOW_MS, &*random).unwrap();
        let other = Authority::open(&other.certificate_pem, &other.key_pem, "x").unwrap();
        assert!(renewal(&leaf, other.facts(), &names, now_s).is_some());
    }
}
