//! The checksum of a whole multipart object that a client declares at Complete: over all bytes (a CRC, combined from those
//! of the parts) or over the parts' checksums (`value-N`).
//!
//! Source: "Checking object integrity in Amazon S3", Amazon S3 User Guide.

use crate::error::{Error, Result};
use crate::s3::checksums;
use common::{Algorithm, Checksum};
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use storage::PartInfo;

#[derive(Debug, PartialEq, Eq)]
pub struct WholeChecksum {
    checksum: Checksum,
    /// The number of parts of a checksum of checksums.
    composite_of: Option<usize>,
}

impl WholeChecksum {
    pub fn parse(headers: &HeaderMap) -> Result<Option<Self>> {
        let mut found =
            Algorithm::ALL.into_iter().filter_map(|algorithm| Some((algorithm, headers.get(algorithm.header())?)));
        let Some((algorithm, value)) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(Error::InvalidRequest("Expecting a single x-amz-checksum- header".to_owned()));
        }
        let text = value.to_str().unwrap_or("");
        let (text, composite_of) = match text.split_once('-') {
            None => (text, None),
            Some((text, count)) => {
                let count = count.parse().map_err(|_| {
                    Error::InvalidRequest(format!("Value for {} header is invalid.", algorithm.header()))
                })?;
                (text, Some(count))
            }
        };
        Ok(Some(Self { checksum: checksums::decode(algorithm, text)?, composite_of }))
    }

    /// Compares with what the parts have, in their order in the object.
    pub fn verify(&self, parts: &[&PartInfo]) -> Result<()> {
        let algorithm = self.checksum.algorithm;
        let of_part = |part: &&PartInfo| {
            let found = part.checksums.iter().find(|checksum| checksum.algorithm == algorithm);
            found.map(|checksum| (checksum.value.clone(), part.size))
        };
        let Some(values) = parts.iter().map(of_part).collect::<Option<Vec<_>>>() else {
            return Err(Error::InvalidRequest(format!(
                "The parts were not uploaded with {} checksums.",
                algorithm.name()
            )));
        };
        let actual = match self.composite_of {
            Some(count) if count != parts.len() => return Err(Error::BadDigest(algorithm.name())),
            Some(_) => {
                let all = values.iter().flat_map(|(value, _)| value.iter().copied()).collect::<Vec<_>>();
                Some(Checksum::of(algorithm, &all))
            }
            None => combined(algorithm, &values)?,
        };
        if actual.as_ref() == Some(&self.checksum) { Ok(()) } else { Err(Error::BadDigest(algorithm.name())) }
    }
}

fn combined(algorithm: Algorithm, values: &[(Vec<u8>, u64)]) -> Result<Option<Checksum>> {
    let crc = match algorithm {
        Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        Algorithm::Sha1 | Algorithm::Sha256 => {
            return Err(Error::InvalidRequest(format!(
                "The FULL_OBJECT checksum type cannot be used with the {} checksum algorithm.",
                algorithm.name()
            )));
        }
    };
    let number = |value: &[u8]| value.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    let whole = values
        .iter()
        .map(|(value, size)| (number(value), *size))
        .reduce(|(first, length), (second, size)| {
            (crc_fast::checksum_combine(crc, first, second, size), length.saturating_add(size))
        })
        .map(|(number, _)| number.to_be_bytes()[8 - algorithm.length_bytes()..].to_vec());
    Ok(whole.map(|value| Checksum { algorithm, value }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{Digester, Digests, ETag, PartNumber};

    fn digests(bytes: &[u8]) -> Digests {
        let mut digester = Digester::new(&Algorithm::ALL);
        digester.update(bytes);
        digester.finish()
    }

    fn part(number: i64, bytes: &[u8]) -> PartInfo {
        let Digests { md5, checksums, length } = digests(bytes);
        let part = PartNumber::new(number).expect("a part number");
        PartInfo { part, size: length, etag: ETag::of_md5(md5), modified_ms: 0, checksums }
    }

    fn outcome(algorithm: Algorithm, value: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(algorithm.header(), value.parse().expect("a header value"));
        let (first, second, third) = (part(1, b"1234"), part(2, b"567"), part(3, b"89"));
        let whole = WholeChecksum::parse(&headers).expect("valid").expect("given");
        whole.verify(&[&first, &second, &third]).map_or_else(|error| error.answer().code, |()| "ok")
    }

    #[test]
    fn crcs_of_the_whole_are_combined() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let whole = digests(b"123456789").checksum(algorithm).map(checksums::encode).expect("computed");
            assert_eq!(outcome(algorithm, &whole), "ok");
            let other = digests(b"123456780").checksum(algorithm).map(checksums::encode).expect("computed");
            assert_eq!(outcome(algorithm, &other), "BadDigest");
        }
        let sha = digests(b"123456789").checksum(Algorithm::Sha256).map(checksums::encode).expect("computed");
        assert_eq!(outcome(Algorithm::Sha256, &sha), "InvalidRequest");
    }

    #[test]
    fn composites_are_checksums_of_checksums() {
        let mut concatenated = Vec::new();
        for bytes in [b"1234".as_slice(), b"567", b"89"] {
            concatenated.extend(&digests(bytes).checksum(Algorithm::Sha256).expect("computed").value);
        }
        let value = digests(&concatenated).checksum(Algorithm::Sha256).map(checksums::encode).expect("computed");
        assert_eq!(outcome(Algorithm::Sha256, &format!("{value}-3")), "ok");
        assert_eq!(outcome(Algorithm::Sha256, &format!("{value}-2")), "BadDigest");
    }
}
