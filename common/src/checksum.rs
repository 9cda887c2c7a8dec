//! Checksums of S3 ("Checking object integrity in Amazon S3") and the digester that computes them in one pass.

use crate::md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use sha2::Sha256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name in `x-amz-checksum-algorithm` and in XML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header that carries the value, in base64.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn length_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// A checksum's value in network byte order, as S3 writes it before base64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: Algorithm,
    pub value: Vec<u8>,
}

impl Checksum {
    /// Of bytes that are at hand.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut digester = Digester::new(&[algorithm]);
        digester.update(bytes);
        digester.finish().checksum(algorithm).cloned().expect("what was asked for is computed")
    }

    /// The checksum of this followed by `next`, of which `next_length` bytes were summed; `None` for hashes, which cannot
    /// be combined, and for two different algorithms.
    pub fn combine(&self, next: &Self, next_length: u64) -> Option<Self> {
        use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
        let parameters = match self.algorithm {
            Algorithm::Crc32 => Crc32IsoHdlc,
            Algorithm::Crc32c => Crc32Iscsi,
            Algorithm::Crc64Nvme => Crc64Nvme,
            Algorithm::Sha1 | Algorithm::Sha256 => return None,
        };
        let number = |checksum: &Self| checksum.value.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        if self.algorithm != next.algorithm {
            return None;
        }
        let combined = crc_fast::checksum_combine(parameters, number(self), number(next), next_length);
        let value = combined.to_be_bytes()[8 - self.algorithm.length_bytes()..].to_vec();
        Some(Self { algorithm: self.algorithm, value })
    }
}

/// What one pass over a body gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    pub md5: [u8; 16],
    /// CRC64NVME, which S3 computes for every object, and whatever else was asked for.
    pub checksums: Vec<Checksum>,
    pub length: u64,
}

impl Digests {
    pub fn checksum(&self, algorithm: Algorithm) -> Option<&Checksum> {
        self.checksums.iter().find(|checksum| checksum.algorithm == algorithm)
    }
}

/// Hashes a body as it flows: MD5 and CRC64NVME always, other algorithms when the client named them.
pub struct Digester {
    pub md5: Md5,
    pub sums: Sums,
}

impl Digester {
    pub fn new(algorithms: &[Algorithm]) -> Self {
        Self { md5: Md5::default(), sums: Sums::new(algorithms) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    pub fn finish(self) -> Digests {
        let Self { md5, sums } = self;
        let length = sums.length;
        Digests { md5: md5.finish(), checksums: sums.finish(), length }
    }
}

/// All of a digester but its MD5, which takes more time than the others together and may be computed elsewhere.
pub struct Sums {
    crc64nvme: crc_fast::Digest,
    crc32: Option<crc_fast::Digest>,
    crc32c: Option<crc_fast::Digest>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
    length: u64,
}

impl Sums {
    fn new(algorithms: &[Algorithm]) -> Self {
        let wants = |algorithm| algorithms.contains(&algorithm);
        Self {
            crc64nvme: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme),
            crc32: wants(Algorithm::Crc32).then(|| crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc)),
            crc32c: wants(Algorithm::Crc32c).then(|| crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi)),
            sha1: wants(Algorithm::Sha1).then(Sha1::new),
            sha256: wants(Algorithm::Sha256).then(Sha256::new),
            length: 0,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.crc64nvme.update(bytes);
        for crc in [&mut self.crc32, &mut self.crc32c].into_iter().flatten() {
            crc.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    fn finish(self) -> Vec<Checksum> {
        let mut checksums =
            vec![Checksum { algorithm: Algorithm::Crc64Nvme, value: self.crc64nvme.finalize().to_be_bytes().to_vec() }];
        let mut add = |algorithm, value| checksums.push(Checksum { algorithm, value });
        let crc32 = |crc: crc_fast::Digest| (crc.finalize() as u32).to_be_bytes().to_vec();
        if let Some(crc) = self.crc32 {
            add(Algorithm::Crc32, crc32(crc));
        }
        if let Some(crc) = self.crc32c {
            add(Algorithm::Crc32c, crc32(crc));
        }
        if let Some(sha1) = self.sha1 {
            add(Algorithm::Sha1, sha1.finalize().to_vec());
        }
        if let Some(sha256) = self.sha256 {
            add(Algorithm::Sha256, sha256.finalize().to_vec());
        }
        checksums
    }
}

/// CRC32C of one block or record: Weir's own checksum on disk.
pub fn crc32c(bytes: &[u8]) -> u32 {
    // Where it has AVX-512 it is twice as fast as the crate for short ones: 57 GB/s beside 26.
    if bytes.len() >= CRC32C_LONG_BYTES {
        return crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    }
    crc32c::crc32c(bytes)
}

/// From this length on crc-fast's start is worth it.
const CRC32C_LONG_BYTES: usize = 4096;

/// CRC32C continued over further bytes.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the CRC catalogue and of FIPS 180 for the string `123456789`.
    #[test]
    fn digests_have_their_published_check_values() {
        let mut digester = Digester::new(&Algorithm::ALL);
        digester.update(b"1234");
        digester.update(b"56789");
        let digests = digester.finish();
        let value = |algorithm| hex::encode(&digests.checksum(algorithm).expect("asked for").value);
        assert_eq!(value(Algorithm::Crc32), "cbf43926");
        assert_eq!(value(Algorithm::Crc32c), "e3069283");
        assert_eq!(value(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(value(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(value(Algorithm::Sha256), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        assert_eq!(hex::encode(digests.md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(digests.length, 9);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn crc32c_of_long_and_short_bytes_is_the_same_sum() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|at| (at.wrapping_mul(at) >> 3) as u8).collect();
        for length in [0, 1, 4095, 4096, 4097, 65_536, 70_000] {
            assert_eq!(crc32c(&bytes[..length]), crc32c_append(0, &bytes[..length]), "{length}");
        }
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let digests = |bytes: &[u8]| {
            let mut digester = Digester::new(&Algorithm::ALL);
            digester.update(bytes);
            digester.finish()
        };
        let (first, second, whole) = (digests(b"1234"), digests(b"56789"), digests(b"123456789"));
        for algorithm in Algorithm::ALL {
            let of = |digests: &Digests| digests.checksum(algorithm).cloned().expect("asked for");
            let combined = of(&first).combine(&of(&second), 5);
            let can = !matches!(algorithm, Algorithm::Sha1 | Algorithm::Sha256);
            assert_eq!(combined, can.then(|| of(&whole)), "{algorithm:?}");
        }
    }
}
