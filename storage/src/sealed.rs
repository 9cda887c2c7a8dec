//! Encrypted payloads: how plain bytes become stored ones, and which stored ones a range of plain ones needs.
//!
//! A payload is sealed in blocks that take 64 KiB on the disk: 65,520 bytes encrypted by AES-256-GCM and their tag of 16. So a
//! sealed block is exactly what one block checksum is over, and a range touches no more blocks than it does of a plain payload. The
//! last block is short, and says in its nonce that it is the last; a payload without bytes is one block of a tag alone.
//!
//! Each data file has a key of its own, derived from the object's data key and the file's id, which is never given twice (engine
//! rule A1). So parts that are uploaded side by side, and again, share no nonces, and a completion has nothing to rewrite. It also
//! means that the bytes of a sealed file stay under their id: a copy of the object decrypts and encrypts anew. Block checksums
//! are over what is stored, so whoever verifies, compacts or counts needs no key.

use crate::format::name::FileId;
use crate::limits::BLOCK_BYTES;
use crate::types::Sealing;
use bytes::Bytes;
use common::SecretKey;
use common::cipher::{BlockCipher, Forged, TAG_BYTES};

/// Plain bytes of a whole block.
pub const PLAIN_BLOCK_BYTES: usize = BLOCK_BYTES - TAG_BYTES;

/// How long so many plain bytes are when they are sealed.
pub fn stored_length(plain: u64) -> u64 {
    // Damaged records ask with any number.
    plain.saturating_add(TAG_BYTES as u64 * plain.div_ceil(PLAIN_BLOCK_BYTES as u64).max(1))
}

/// How many plain bytes a sealed file of this length holds. `None` of a length that none has.
pub fn plain_length(stored: u64) -> Option<u64> {
    let plain = stored.checked_sub(TAG_BYTES as u64 * stored.div_ceil(BLOCK_BYTES as u64))?;
    (stored_length(plain) == stored).then_some(plain)
}

pub fn file_cipher(key: &SecretKey, id: FileId) -> BlockCipher {
    BlockCipher::new(&key.derive(&[b"weir file 1", &id.0]))
}

/// The data key of an object is never another's, so its one payload in the log needs no name.
fn inline_cipher(key: &SecretKey) -> BlockCipher {
    BlockCipher::new(&key.derive(&[b"weir inline 1"]))
}

/// An ETag that says nothing about the bytes to who lacks their key, and is another for other bytes.
pub fn etag_of(sealing: Option<&Sealing>, md5: [u8; 16]) -> [u8; 16] {
    match sealing {
        Some(sealing) if sealing.hides_md5 => {
            let code = sealing.key.authenticate(&[b"weir etag 1", &md5]);
            *code.first_chunk().expect("a code has 32 bytes")
        }
        _ => md5,
    }
}

/// Seals a payload for the log, where it is one block.
pub fn seal_inline(key: &SecretKey, plain: &[u8]) -> Bytes {
    let mut sealed = Vec::with_capacity(plain.len() + TAG_BYTES);
    sealed.extend_from_slice(plain);
    let tag = inline_cipher(key).seal(0, true, &mut sealed);
    sealed.extend_from_slice(&tag);
    sealed.into()
}

pub fn open_inline(key: &SecretKey, sealed: &[u8]) -> Result<Bytes, Forged> {
    let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Forged)?;
    let mut plain = vec![0; body.len()];
    inline_cipher(key).open(0, true, body, tag, &mut plain)?;
    Ok(plain.into())
}

/// Seals a stretch that begins at a block's start, and is whole blocks unless it ends the payload. Gives how much of `out` it
/// took. Of a payload without bytes that is one empty block.
pub fn seal_stretch(cipher: &BlockCipher, first_block: u64, plain: &[u8], is_last: bool, out: &mut [u8]) -> usize {
    let count = plain.len().div_ceil(PLAIN_BLOCK_BYTES).max(1);
    let mut written = 0;
    for at in 0..count {
        let from = at * PLAIN_BLOCK_BYTES;
        let block = &plain[from..plain.len().min(from + PLAIN_BLOCK_BYTES)];
        let (body, rest) = out[written..].split_at_mut(block.len());
        body.copy_from_slice(block);
        let tag = cipher.seal(first_block + at as u64, is_last && at + 1 == count, body);
        rest[..TAG_BYTES].copy_from_slice(&tag);
        written += block.len() + TAG_BYTES;
    }
    written
}

/// Opens stored blocks that begin at a block's start; `stored_end` is the length of their file. Gives the plain bytes' number.
pub fn open_stretch(
    cipher: &BlockCipher,
    offset: u64,
    sealed: &[u8],
    stored_end: u64,
    out: &mut [u8],
) -> Result<usize, Forged> {
    let mut written = 0;
    let mut offset = offset;
    for block in sealed.chunks(BLOCK_BYTES) {
        let (body, tag) = block.split_last_chunk::<TAG_BYTES>().ok_or(Forged)?;
        let index = offset / BLOCK_BYTES as u64;
        offset += block.len() as u64;
        cipher.open(index, offset == stored_end, body, tag, &mut out[written..written + body.len()])?;
        written += body.len();
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = PLAIN_BLOCK_BYTES;

    fn key() -> SecretKey {
        SecretKey::from_slice(&[7; 32]).expect("32 bytes")
    }

    fn cipher() -> BlockCipher {
        file_cipher(&key(), FileId([1; 16]))
    }

    fn plain(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 7 % 251) as u8).collect()
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; stored_length(plain.len() as u64) as usize];
        assert_eq!(seal_stretch(&cipher(), 0, plain, true, &mut out), out.len());
        out
    }

    fn opened(sealed: &[u8], offset: u64, end: u64) -> Result<Vec<u8>, Forged> {
        let mut out = vec![0; sealed.len()];
        let length = open_stretch(&cipher(), offset, sealed, end, &mut out)?;
        out.truncate(length);
        Ok(out)
    }

    #[test]
    fn lengths_go_both_ways() {
        for plain in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 << 30] {
            let stored = stored_length(plain as u64);
            assert_eq!(plain_length(stored), Some(plain as u64));
        }
        assert_eq!(stored_length(0), 16);
        assert_eq!(stored_length(BLOCK as u64), BLOCK_BYTES as u64);
        for none in [0, 15, BLOCK_BYTES as u64 + 1, BLOCK_BYTES as u64 + 16] {
            assert_eq!(plain_length(none), None, "{none}");
        }
    }

    #[test]
    fn whole_payloads_come_back() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let plain = plain(length);
            let sealed = sealed(&plain);
            assert_eq!(opened(&sealed, 0, sealed.len() as u64), Ok(plain), "{length}");
        }
    }

    #[test]
    fn stretches_are_sealed_as_the_whole_would_be() {
        let plain = plain(3 * BLOCK + 5);
        let mut out = vec![0; stored_length(plain.len() as u64) as usize];
        let first = seal_stretch(&cipher(), 0, &plain[..2 * BLOCK], false, &mut out);
        seal_stretch(&cipher(), 2, &plain[2 * BLOCK..], true, &mut out[first..]);
        assert_eq!(out, sealed(&plain));
        let (from, end) = (BLOCK_BYTES, 2 * BLOCK_BYTES);
        assert_eq!(opened(&out[from..end], from as u64, out.len() as u64).expect("sound"), &plain[BLOCK..2 * BLOCK]);
    }

    #[test]
    fn nothing_is_cut_off_swapped_or_changed() {
        let sealed = sealed(&plain(3 * BLOCK));
        let length = sealed.len() as u64;
        // Cut off at a block's end, and the file's length with it.
        assert_eq!(opened(&sealed[..2 * BLOCK_BYTES], 0, 2 * BLOCK_BYTES as u64), Err(Forged));
        let swapped =
            [&sealed[BLOCK_BYTES..2 * BLOCK_BYTES], &sealed[..BLOCK_BYTES], &sealed[2 * BLOCK_BYTES..]].concat();
        assert_eq!(opened(&swapped, 0, length), Err(Forged));
        let mut changed = sealed.clone();
        changed[BLOCK_BYTES + 9] ^= 1;
        assert_eq!(opened(&changed, 0, length), Err(Forged));
        assert!(opened(&changed[..BLOCK_BYTES], 0, length).is_ok());
        // Another file of the same object.
        let other = file_cipher(&key(), FileId([2; 16]));
        let mut out = vec![0; sealed.len()];
        assert_eq!(open_stretch(&other, 0, &sealed, length, &mut out), Err(Forged));
        assert_eq!(opened(&sealed[..8], 0, length), Err(Forged));
    }

    #[test]
    fn payloads_in_the_log_come_back() {
        for length in [0, 1, BLOCK] {
            let sealed = seal_inline(&key(), &plain(length));
            assert_eq!(sealed.len() as u64, stored_length(length as u64));
            assert_eq!(open_inline(&key(), &sealed).expect("sound"), plain(length));
            assert_eq!(open_inline(&key(), &sealed[1..]), Err(Forged));
        }
        assert_eq!(open_inline(&key(), b"short"), Err(Forged));
    }

    #[test]
    fn etags_hide_the_md5_where_they_must() {
        let sealing = |hides_md5| Sealing { key: key(), envelope: Vec::new(), hides_md5 };
        assert_eq!(etag_of(None, [3; 16]), [3; 16]);
        assert_eq!(etag_of(Some(&sealing(false)), [3; 16]), [3; 16]);
        assert_ne!(etag_of(Some(&sealing(true)), [3; 16]), [3; 16]);
    }
}
