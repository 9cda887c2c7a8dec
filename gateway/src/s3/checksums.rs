//! Checksums that a client declares, in a header or in a trailer, and their verification against what was received.
//! s3s parses them and verifies none.
//!
//! Source: "Checking object integrity in Amazon S3", Amazon S3 User Guide.

use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::{Algorithm, Checksum, Digests};
use http::HeaderMap;
use s3s::dto::ChecksumType;

const ALGORITHMS_ELSEWHERE: [&str; 5] = ["sha512", "md5", "xxhash64", "xxhash3", "xxhash128"];

/// What a client says about its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    pub md5: Option<[u8; 16]>,
    pub checksum: Option<DeclaredChecksum>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredChecksum {
    Known(Checksum),
    /// Comes behind the body.
    Trailer(Algorithm),
}

impl Declared {
    pub fn parse(headers: &HeaderMap) -> Result<Self> {
        for name in ALGORITHMS_ELSEWHERE {
            if headers.contains_key(format!("x-amz-checksum-{name}")) {
                return Err(Error::NotImplemented(format!("The header x-amz-checksum-{name}")));
            }
        }
        let known = Algorithm::ALL
            .into_iter()
            .filter_map(|algorithm| Some((algorithm, headers.get(algorithm.header())?)))
            .map(|(algorithm, value)| Ok(DeclaredChecksum::Known(decode(algorithm, value.to_str().unwrap_or(""))?)));
        let mut found = known.collect::<Result<Vec<_>>>()?;
        found.extend(trailers(headers)?.into_iter().map(DeclaredChecksum::Trailer));
        if found.len() > 1 {
            return Err(Error::InvalidRequest("Expecting a single x-amz-checksum- header".to_owned()));
        }
        let checksum = found.pop();
        if checksum.is_none() && headers.contains_key("x-amz-sdk-checksum-algorithm") {
            return Err(Error::InvalidRequest(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
                 were found."
                    .to_owned(),
            ));
        }
        Ok(Self { md5: headers.get("content-md5").map(|value| md5(value.as_bytes())).transpose()?, checksum })
    }

    /// What has to be computed beside MD5 and CRC64NVME.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        match &self.checksum {
            Some(DeclaredChecksum::Known(checksum)) => vec![checksum.algorithm],
            Some(DeclaredChecksum::Trailer(algorithm)) => vec![*algorithm],
            None => Vec::new(),
        }
    }

    /// Compares with what was received. Call it after the body has ended: a trailer is not there before.
    pub fn verify(&self, digests: &Digests, trailers: Option<&HeaderMap>) -> Result<()> {
        if self.md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(Error::BadDigest("Content-MD5"));
        }
        let expected = match &self.checksum {
            None => return Ok(()),
            Some(DeclaredChecksum::Known(checksum)) => checksum.clone(),
            Some(DeclaredChecksum::Trailer(algorithm)) => {
                let value = trailers.and_then(|trailers| trailers.get(algorithm.header()));
                let Some(value) = value else {
                    return Err(Error::InvalidRequest(format!(
                        "the trailer {} was announced and did not come",
                        algorithm.header()
                    )));
                };
                decode(*algorithm, value.to_str().unwrap_or(""))?
            }
        };
        match digests.checksum(expected.algorithm) {
            Some(actual) if *actual == expected => Ok(()),
            Some(_) => Err(Error::BadDigest(expected.algorithm.name())),
            None => Err(Error::Internal("a declared checksum was not computed")),
        }
    }

    /// Whether the client said anything about its body.
    pub fn is_empty(&self) -> bool {
        self.md5.is_none() && self.checksum.is_none()
    }

    /// Of what was stored, the checksum that the client is told: its own, else CRC64NVME.
    pub fn answer<'c>(&self, stored: &'c [Checksum]) -> Option<&'c Checksum> {
        let wanted = self.algorithms().pop().unwrap_or(Algorithm::Crc64Nvme);
        stored.iter().find(|checksum| checksum.algorithm == wanted)
    }
}

/// Of a part's or whole object's checksums the one that is answered: the one its client chose, else CRC64NVME.
pub fn preferred(stored: &[Checksum]) -> Option<&Checksum> {
    stored.iter().find(|checksum| checksum.algorithm != Algorithm::Crc64Nvme).or_else(|| stored.first())
}

/// A checksum as answers have it.
pub struct Answered {
    pub algorithm: Algorithm,
    pub text: String,
}

impl From<&Checksum> for Answered {
    fn from(checksum: &Checksum) -> Self {
        Self { algorithm: checksum.algorithm, text: encode(checksum) }
    }
}

/// The checksum that stands for an object, and its type. That of an object in `parts` parts may be over their checksums:
/// `value-N`.
pub fn of_object(
    stored: &[Checksum],
    composite: Option<&Checksum>,
    parts: usize,
) -> (Option<Answered>, Option<ChecksumType>) {
    let (answered, kind) = match composite {
        Some(checksum) => {
            let text = format!("{}-{parts}", encode(checksum));
            (Some(Answered { algorithm: checksum.algorithm, text }), ChecksumType::COMPOSITE)
        }
        None => (preferred(stored).map(Answered::from), ChecksumType::FULL_OBJECT),
    };
    let kind = answered.is_some().then(|| ChecksumType::from_static(kind));
    (answered, kind)
}

pub fn encode(checksum: &Checksum) -> String {
    BASE64.encode(&checksum.value)
}

pub fn decode(algorithm: Algorithm, text: &str) -> Result<Checksum> {
    let value = BASE64.decode(text.trim()).ok().filter(|value| value.len() == algorithm.length_bytes());
    let value =
        value.ok_or_else(|| Error::InvalidRequest(format!("Value for {} header is invalid.", algorithm.header())))?;
    Ok(Checksum { algorithm, value })
}

/// Of an object that was put whole.
pub fn full_object() -> Option<ChecksumType> {
    Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT))
}

/// Sets the one field of an s3s output that belongs to a checksum.
macro_rules! set_checksum {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let $crate::s3::checksums::Answered { algorithm, text } = checksum.into();
            let text = Some(text);
            match algorithm {
                common::Algorithm::Crc32 => $output.checksum_crc32 = text,
                common::Algorithm::Crc32c => $output.checksum_crc32c = text,
                common::Algorithm::Crc64Nvme => $output.checksum_crc64nvme = text,
                common::Algorithm::Sha1 => $output.checksum_sha1 = text,
                common::Algorithm::Sha256 => $output.checksum_sha256 = text,
            }
        }
    };
}
pub(crate) use set_checksum;

fn md5(value: &[u8]) -> Result<[u8; 16]> {
    let decoded = BASE64.decode(value.trim_ascii()).ok();
    decoded.and_then(|bytes| bytes.try_into().ok()).ok_or(Error::InvalidDigest("Content-MD5"))
}

/// The checksums among the announced trailers.
fn trailers(headers: &HeaderMap) -> Result<Vec<Algorithm>> {
    let announced = headers.get_all("x-amz-trailer").into_iter().filter_map(|value| value.to_str().ok());
    let names = announced.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let mut algorithms = Vec::new();
    for name in names.filter(|name| name.starts_with("x-amz-checksum-")) {
        match Algorithm::ALL.into_iter().find(|algorithm| algorithm.header() == name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => return Err(Error::NotImplemented(format!("The trailer {name}"))),
        }
    }
    Ok(algorithms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Digester;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().expect("a header value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn digests(algorithms: &[Algorithm]) -> Digests {
        let mut digester = Digester::new(algorithms);
        digester.update(b"123456789");
        digester.finish()
    }

    const MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";
    const CRC32: &str = "y/Q5Jg==";

    #[test]
    fn right_values_pass_and_wrong_ones_do_not() {
        let declared = Declared::parse(&headers(&[("content-md5", MD5), ("x-amz-checksum-crc32", CRC32)]));
        let declared = declared.expect("valid");
        assert_eq!(declared.algorithms(), [Algorithm::Crc32]);
        assert!(declared.verify(&digests(&[Algorithm::Crc32]), None).is_ok());
        let other = Declared::parse(&headers(&[("x-amz-checksum-crc32", "AAAAAA==")])).expect("valid");
        assert!(matches!(other.verify(&digests(&[Algorithm::Crc32]), None), Err(Error::BadDigest("CRC32"))));
        let other = Declared::parse(&headers(&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")])).expect("valid");
        assert!(matches!(other.verify(&digests(&[]), None), Err(Error::BadDigest("Content-MD5"))));
    }

    #[test]
    fn trailers_are_verified() {
        let declared = Declared::parse(&headers(&[
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ]));
        let declared = declared.expect("valid");
        let digests = digests(&[Algorithm::Crc32]);
        assert!(declared.verify(&digests, Some(&headers(&[("x-amz-checksum-crc32", CRC32)]))).is_ok());
        assert!(declared.verify(&digests, Some(&headers(&[("x-amz-checksum-crc32", "AAAAAA==")]))).is_err());
        assert!(declared.verify(&digests, Some(&HeaderMap::new())).is_err());
        assert!(declared.verify(&digests, None).is_err());
    }

    #[test]
    fn malformed_declarations_are_refused() {
        let code =
            |pairs: &[(&'static str, &str)]| Declared::parse(&headers(pairs)).expect_err("refused").answer().code;
        assert_eq!(code(&[("content-md5", "short")]), "InvalidDigest");
        assert_eq!(code(&[("x-amz-checksum-crc32", "AAAA")]), "InvalidRequest");
        assert_eq!(code(&[("x-amz-checksum-crc32", CRC32), ("x-amz-checksum-sha1", "x")]), "InvalidRequest");
        assert_eq!(
            code(&[("x-amz-checksum-crc32", CRC32), ("x-amz-trailer", "x-amz-checksum-crc32c")]),
            "InvalidRequest"
        );
        assert_eq!(code(&[("x-amz-sdk-checksum-algorithm", "CRC32")]), "InvalidRequest");
        assert_eq!(code(&[("x-amz-checksum-xxhash3", "x")]), "NotImplemented");
        assert_eq!(code(&[("x-amz-trailer", "x-amz-checksum-sha512")]), "NotImplemented");
    }

    #[test]
    fn the_clients_choice_is_answered() {
        let stored = digests(&[Algorithm::Sha1]).checksums;
        assert_eq!(preferred(&stored).map(|c| c.algorithm), Some(Algorithm::Sha1));
        assert_eq!(preferred(&digests(&[]).checksums).map(|c| c.algorithm), Some(Algorithm::Crc64Nvme));
        assert_eq!(Declared::default().answer(&stored).map(|c| c.algorithm), Some(Algorithm::Crc64Nvme));
    }
}
