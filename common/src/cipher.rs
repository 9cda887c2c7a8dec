//! AES-256-GCM, by aws-lc, under keys that do not show themselves: blocks of an object's data, and small things such as other
//! keys.
//!
//! A key is random, or derived from a random one by HMAC-SHA256 over a label. No key is derived from a password.

use crate::Random;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub const KEY_BYTES: usize = 32;
pub const TAG_BYTES: usize = 16;

/// What makes each wrapping's own key: random, 192 bits, so that no number of wrappings under one key brings two together.
const SALT_BYTES: usize = 24;

/// By how much something grows when it is wrapped.
pub const WRAPPING_BYTES: usize = SALT_BYTES + TAG_BYTES;

/// What was sealed is not what is there now, or another key sealed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not belong to this key and place")]
pub struct Forged;

/// 256 secret bits. They are wiped when they are dropped, compared in constant time, and never printed.
#[derive(Clone)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    pub fn random(random: &dyn Random) -> Self {
        let mut bytes = [0; KEY_BYTES];
        random.fill(&mut bytes);
        Self::take(&mut bytes)
    }

    /// Takes the bytes away from where they were.
    pub fn take(bytes: &mut [u8; KEY_BYTES]) -> Self {
        let key = Self(*bytes);
        bytes.zeroize();
        key
    }

    /// `None` unless there are 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bits themselves, to be wrapped or written to the one file that is theirs.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Another key, from which this one cannot be told: one for each label.
    pub fn derive(&self, label: &[&[u8]]) -> Self {
        let mut bytes = self.authenticate(label);
        Self::take(&mut bytes)
    }

    /// HMAC-SHA256 over the parts of the message, one behind the other.
    pub fn authenticate(&self, message: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in message {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Seals something small, bound to a context that is not secret and has to be told again.
    pub fn wrap(&self, random: &dyn Random, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt);
        let mut wrapped = Vec::with_capacity(plain.len() + WRAPPING_BYTES);
        wrapped.extend_from_slice(&salt);
        wrapped.extend_from_slice(plain);
        let cipher = self.wrapping(&salt);
        let (nonce, body) = (Nonce::assume_unique_for_key([0; NONCE_LEN]), &mut wrapped[SALT_BYTES..]);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(context), body);
        wrapped.extend_from_slice(tag.expect("it is far shorter than AES-GCM's limit").as_ref());
        wrapped
    }

    pub fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Vec<u8>, Forged> {
        let (salt, sealed) = wrapped.split_at_checked(SALT_BYTES).ok_or(Forged)?;
        let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Forged)?;
        let mut plain = vec![0; body.len()];
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let opened = self.wrapping(salt).open_separate_gather(nonce, Aad::from(context), body, tag, &mut plain);
        opened.map_err(|_| Forged)?;
        Ok(plain)
    }

    /// `unwrap` of another key.
    pub fn unwrap_key(&self, context: &[u8], wrapped: &[u8]) -> Result<Self, Forged> {
        let mut plain = self.unwrap(context, wrapped)?;
        let key = Self::from_slice(&plain).ok_or(Forged);
        plain.zeroize();
        key
    }

    /// Each wrapping has a key of its own, used once.
    fn wrapping(&self, salt: &[u8]) -> LessSafeKey {
        cipher(&self.derive(&[b"weir wrap 1", salt]))
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretKey {}

/// Seals the blocks of one sequence, each once: the nonce is the block's place.
pub struct BlockCipher(LessSafeKey);

impl BlockCipher {
    /// The key must be of this sequence alone.
    pub fn new(key: &SecretKey) -> Self {
        Self(cipher(key))
    }

    /// Encrypts in place and gives the tag. A block that says that it is the last cannot be taken for another one, nor one
    /// place for another.
    pub fn seal(&self, index: u64, is_last: bool, block: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.0.seal_in_place_separate_tag(nonce(index, is_last), Aad::empty(), block);
        let tag = tag.expect("a block is far shorter than AES-GCM's limit");
        tag.as_ref().try_into().expect("AES-GCM's tags have 16 bytes")
    }

    /// Decrypts and verifies; `plain` has the length of the sealed block without its tag.
    pub fn open(
        &self,
        index: u64,
        is_last: bool,
        sealed: &[u8],
        tag: &[u8; TAG_BYTES],
        plain: &mut [u8],
    ) -> Result<(), Forged> {
        let opened = self.0.open_separate_gather(nonce(index, is_last), Aad::empty(), sealed, tag, plain);
        opened.map_err(|_| Forged)
    }
}

fn nonce(index: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

fn cipher(key: &SecretKey) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).expect("a key of AES-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::SeededRandom;

    fn key(byte: u8) -> SecretKey {
        SecretKey([byte; KEY_BYTES])
    }

    #[test]
    fn wrapped_things_come_back_only_under_their_key_and_context() {
        let random = SeededRandom::new(1);
        let wrapped = key(1).wrap(&*random, b"context", b"something small");
        assert_eq!(wrapped.len(), 15 + WRAPPING_BYTES);
        assert!(!wrapped.windows(9).any(|window| window == b"something"));
        assert_eq!(key(1).unwrap(b"context", &wrapped), Ok(b"something small".to_vec()));
        assert_eq!(key(2).unwrap(b"context", &wrapped), Err(Forged));
        assert_eq!(key(1).unwrap(b"another", &wrapped), Err(Forged));
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert_eq!(key(1).unwrap(b"context", &changed), Err(Forged), "byte {at}");
            assert_eq!(key(1).unwrap(b"context", &wrapped[..at]), Err(Forged), "{at} bytes");
        }
        assert_ne!(key(1).wrap(&*random, b"context", b"something small"), wrapped);
    }

    #[test]
    fn a_block_has_one_place() {
        let cipher = BlockCipher::new(&key(3));
        let mut block = *b"sixteen of bytes";
        let tag = cipher.seal(7, false, &mut block);
        let mut plain = [0; 16];
        assert_eq!(cipher.open(7, false, &block, &tag, &mut plain), Ok(()));
        assert_eq!(&plain, b"sixteen of bytes");
        assert_eq!(cipher.open(8, false, &block, &tag, &mut plain), Err(Forged));
        assert_eq!(cipher.open(7, true, &block, &tag, &mut plain), Err(Forged));
        assert_eq!(BlockCipher::new(&key(4)).open(7, false, &block, &tag, &mut plain), Err(Forged));
        block[3] ^= 1;
        assert_eq!(cipher.open(7, false, &block, &tag, &mut plain), Err(Forged));
    }

    #[test]
    fn nist_vector() {
        // Test case 14 of the GCM specification: a key and a nonce of zeros, one block of zeros.
        let mut block = [0; 16];
        let tag = BlockCipher::new(&key(0)).seal(0, false, &mut block);
        assert_eq!(hex::encode(block), "cea7403d4d606b6e074ec5d3baf39d18");
        assert_eq!(hex::encode(tag), "d0d1c8a799996bf0265b98b5d48ab919");
    }

    #[test]
    fn keys_hide() {
        assert_eq!(format!("{:?}", key(65)), "SecretKey(..)");
        assert_ne!(key(1).derive(&[b"a"]), key(1).derive(&[b"b"]));
        assert_ne!(key(1).derive(&[b"a"]), key(2).derive(&[b"a"]));
        assert_eq!(SecretKey::from_slice(&[1; 31]), None);
    }
}
