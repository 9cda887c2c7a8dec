//! The form of a backup of the control store. Pure: bytes in, bytes out.
//!
//! | at | bytes | content |
//! |----|-------|---------|
//! | 0  | 8     | `WEIRBKP1` |
//! | 8  | 8     | milliseconds since 1970 when it was made |
//! | 16 | 1     | whether the root key is in it |
//! | 17 | 32    | the root key, or zeros |
//! | 49 | 8     | length of what follows |
//! | 57 |       | the control store's snapshot, wrapped by HMAC-SHA256(root key, `weir backup 1`), the first 16 bytes as context |
//! |    | 32    | SHA-256 of everything before |
//!
//! Numbers are little-endian.

use common::cipher::KEY_BYTES;
use common::{Random, SecretKey};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"WEIRBKP1";
const CONTEXT_BYTES: usize = 16;
const HEAD_BYTES: usize = 57;

#[derive(Debug)]
pub struct Backup {
    pub made_ms: u64,
    /// Where it is not, the backup needs the root key from elsewhere.
    pub root: Option<SecretKey>,
    sealed: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    #[error("it is no backup of a weir's control store")]
    Foreign,
    #[error("it is damaged")]
    Damaged,
    #[error("another root key has sealed it")]
    OtherRoot,
}

impl Backup {
    pub fn seal(snapshot: &[u8], root: &SecretKey, made_ms: u64, random: &dyn Random) -> Self {
        let sealed = sealing(root).wrap(random, &context(made_ms), snapshot);
        Self { made_ms, root: None, sealed }
    }

    pub fn with_root(self, root: Option<SecretKey>) -> Self {
        Self { root, ..self }
    }

    /// The snapshot.
    pub fn open(&self, root: &SecretKey) -> Result<Vec<u8>, BackupError> {
        sealing(root).unwrap(&context(self.made_ms), &self.sealed).map_err(|_| BackupError::OtherRoot)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = context(self.made_ms).to_vec();
        bytes.push(u8::from(self.root.is_some()));
        let root = self.root.as_ref().map_or([0; KEY_BYTES].as_slice(), |root| root.expose());
        bytes.extend_from_slice(root);
        bytes.extend_from_slice(&(self.sealed.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.sealed);
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        if !bytes.starts_with(MAGIC) {
            return Err(BackupError::Foreign);
        }
        let (body, sum) = bytes.split_last_chunk::<32>().ok_or(BackupError::Damaged)?;
        if Sha256::digest(body)[..] != sum[..] {
            return Err(BackupError::Damaged);
        }
        let (head, sealed) = body.split_at_checked(HEAD_BYTES).ok_or(BackupError::Damaged)?;
        let number = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| BackupError::Damaged);
        if number(49)? != sealed.len() as u64 {
            return Err(BackupError::Damaged);
        }
        let root = (head[16] == 1).then(|| SecretKey::from_slice(&head[17..49])).flatten();
        Ok(Self { made_ms: number(8)?, root, sealed: sealed.to_vec() })
    }
}

fn sealing(root: &SecretKey) -> SecretKey {
    root.derive(&[b"weir backup 1"])
}

fn context(made_ms: u64) -> [u8; CONTEXT_BYTES] {
    let mut context = [0; CONTEXT_BYTES];
    context[..8].copy_from_slice(MAGIC);
    context[8..].copy_from_slice(&made_ms.to_le_bytes());
    context
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).expect("32 bytes")
    }

    #[test]
    fn backups_come_back_under_their_root_key() {
        let made = || Backup::seal(b"everything", &key(7), 9, &*SeededRandom::new(1));
        for root in [None, Some(key(7))] {
            let bytes = made().with_root(root.clone()).encode();
            assert!(!bytes.windows(10).any(|window| window == b"everything"));
            let read = Backup::decode(&bytes).expect("sound");
            assert_eq!((read.made_ms, &read.root), (9, &root));
            assert_eq!(read.open(&key(7)), Ok(b"everything".to_vec()));
            assert_eq!(read.open(&key(8)), Err(BackupError::OtherRoot));
            for at in 8..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert_eq!(Backup::decode(&changed).err(), Some(BackupError::Damaged), "byte {at}");
            }
            assert_eq!(Backup::decode(&bytes[..60]).err(), Some(BackupError::Damaged));
        }
        assert_eq!(Backup::decode(b"WEIRSEG1").err(), Some(BackupError::Foreign));
    }
}
