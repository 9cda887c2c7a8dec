//! An issuer's public keys (a JWKS, RFC 7517), as far as they are of use: RSA, P-256 and Ed25519, for signatures.

use super::json;
use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{DecodingKey, crypto};
use serde_json::{Map, Value};

/// What tokens may be signed with. Nothing with a shared secret is here: a public key could be taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

pub struct Key {
    id: Option<String>,
    /// The one algorithm of its kind: a key serves no other.
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Key {
    pub(super) fn has_signed(&self, message: &[u8], signature: &str, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
            && crypto::verify(signature, message, &self.key, algorithm.of_library()).is_ok_and(|holds| holds)
    }

    /// `None` for a key that is of no use here: of another kind, for another purpose, too small.
    fn of(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64.decode(text(name)?).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let operations = jwk.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return None;
        }
        let (algorithm, key) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                let sized = (limits::RSA_BYTES_MIN..=limits::RSA_BYTES_MAX).contains(&n.len()) && e.len() <= 8;
                sized.then(|| (Algorithm::Rs256, DecodingKey::from_rsa_raw_components(&n, &e)))?
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                let sized = x.len() == 32 && y.len() == 32;
                let key = DecodingKey::from_ec_components(text("x")?, text("y")?).ok();
                (Algorithm::Es256, key.filter(|_| sized)?)
            }
            ("OKP", Some("Ed25519")) => {
                let sized = bytes("x")?.len() == 32;
                (Algorithm::EdDsa, DecodingKey::from_ed_components(text("x")?).ok().filter(|_| sized)?)
            }
            _ => return None,
        };
        if text("alg").is_some_and(|name| Algorithm::parse(name) != Some(algorithm)) {
            return None;
        }
        Some(Self { id: text("kid").map(str::to_owned), algorithm, key })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("the answer is no JSON object with a list of keys")]
    Malformed,
    #[error("the issuer has more than {max} keys", max = limits::ISSUER_KEYS_MAX)]
    TooMany,
}

pub struct KeySet(Vec<Key>);

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySet of {}", self.0.len())
    }
}

impl KeySet {
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        let mut document = json::object(bytes).ok_or(KeySetError::Malformed)?;
        let Some(Value::Array(keys)) = document.remove("keys") else { return Err(KeySetError::Malformed) };
        if keys.len() > limits::ISSUER_KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        Ok(Self(keys.iter().filter_map(Value::as_object).filter_map(Key::of).collect()))
    }

    /// The key of this id. A token that names none has it signed by the only key that it can be.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.0.iter().filter(|key| match id {
            Some(_) => key.id.as_deref() == id,
            None => key.algorithm == algorithm,
        });
        let found = fitting.next()?;
        // Two of one name, or two to choose from: none is the right one.
        fitting.next().is_none().then_some(found)
    }

    pub fn has(&self, id: Option<&str>) -> bool {
        match id {
            Some(_) => self.0.iter().any(|key| key.id.as_deref() == id),
            None => !self.0.is_empty(),
        }
    }
}
