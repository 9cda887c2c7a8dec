//! The arithmetic of AWS Signature Version 2, which is taken only where it was asked for (`gateway/src/guard/version_2.rs`).
//!
//! Source: "Signing and authenticating REST requests (AWS signature version 2)", Amazon S3 User Guide.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// HMAC-SHA1 over the text to sign; of a form that is its policy as the form has it, in base64.
pub fn signature(secret: &str, text: &str) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202 section 3, test case 2.
    #[test]
    fn signatures_are_hmac_sha1() {
        let signature = hex::encode(signature("Jefe", "what do ya want for nothing?"));
        assert_eq!(signature, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
