//! The two halves of an access key, checked where they enter.

use crate::error::{Error, Result};
use crate::limits;
use common::AccessKeyId;
use std::fmt;
use subtle::ConstantTimeEq;

/// The secret half. It never shows itself in debug output and compares in constant time.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// 8 to 128 printable ASCII characters without space, so that it survives files, shells and environments.
    pub fn parse(text: &str) -> Result<Self> {
        if !(limits::SECRET_KEY_BYTES_MIN..=limits::SECRET_KEY_BYTES_MAX).contains(&text.len()) {
            return Err(Error::SecretKeyLength(text.chars().count()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::SecretKeyCharacters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for signing, for storing, and for showing it once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The public half: 3 to 128 of `[A-Za-z0-9._-]`.
pub fn parse_access_key_id(text: &str) -> Result<AccessKeyId> {
    if !(limits::ACCESS_KEY_ID_BYTES_MIN..=limits::ACCESS_KEY_ID_BYTES_MAX).contains(&text.len()) {
        return Err(Error::AccessKeyIdLength(text.chars().count()));
    }
    // No slash: it ends the access key in the credential of a signature.
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(Error::AccessKeyIdCharacters);
    }
    Ok(AccessKeyId(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_key_ids_have_a_shape() {
        for good in ["abc", "WK234", "a.b_c-D", &"x".repeat(128)] {
            assert_eq!(parse_access_key_id(good), Ok(AccessKeyId(good.to_owned())));
        }
        assert_eq!(parse_access_key_id("ab"), Err(Error::AccessKeyIdLength(2)));
        assert_eq!(parse_access_key_id(&"x".repeat(129)), Err(Error::AccessKeyIdLength(129)));
        for bad in ["a/b", "a b", "abc\n", "äbc"] {
            assert_eq!(parse_access_key_id(bad), Err(Error::AccessKeyIdCharacters), "{bad:?}");
        }
    }

    #[test]
    fn secrets_have_a_shape_and_hide() {
        for good in ["12345678", "wJalrXUtnFEMI/K7MDENG+=", &"x".repeat(128)] {
            assert_eq!(Secret::parse(good).unwrap().expose(), good);
        }
        assert_eq!(Secret::parse("1234567"), Err(Error::SecretKeyLength(7)));
        assert_eq!(Secret::parse(&"x".repeat(129)), Err(Error::SecretKeyLength(129)));
        for bad in ["1234 5678", "12345678\n", "1234567ü"] {
            assert_eq!(Secret::parse(bad), Err(Error::SecretKeyCharacters), "{bad:?}");
        }
        assert_eq!(format!("{:?}", Secret::parse("12345678").unwrap()), "Secret(..)");
        assert_ne!(Secret::parse("12345678"), Secret::parse("12345679"));
    }
}
