//! Lengths of access keys, in bytes.

/// Source: AWS IAM API reference, `AccessKey`, allows 16 to 128; other stores accept 3, and their suites use it.
pub const ACCESS_KEY_ID_BYTES_MIN: usize = 3;
pub const ACCESS_KEY_ID_BYTES_MAX: usize = 128;

pub const SECRET_KEY_BYTES_MIN: usize = 8;
pub const SECRET_KEY_BYTES_MAX: usize = 128;

/// Random characters of a made access key id, after its prefix: 90 bits.
pub const MADE_ID_CHARACTERS: usize = 18;
/// Characters of a made secret: 238 bits.
pub const MADE_SECRET_CHARACTERS: usize = 40;

const _: () = assert!(MADE_SECRET_CHARACTERS >= SECRET_KEY_BYTES_MIN && MADE_SECRET_CHARACTERS <= SECRET_KEY_BYTES_MAX);
