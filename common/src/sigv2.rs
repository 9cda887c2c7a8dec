//! The one use of AWS Signature Version 2 that is left: the policy of a form upload. Nothing else of it is accepted, as its
//! other signatures never expire.
//!
//! Source: "Signature Version 2: HTML forms", Amazon S3 Developer Guide.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// HMAC-SHA1 over the policy as the form has it, in base64.
pub fn policy_signature(secret: &str, policy: &str) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(policy.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202 section 3, test case 2.
    #[test]
    fn signatures_are_hmac_sha1() {
        let signature = hex::encode(policy_signature("Jefe", "what do ya want for nothing?"));
        assert_eq!(signature, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
