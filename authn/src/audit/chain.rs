//! How lines hang together: their numbers, the hash of the line before, and the signature of a checkpoint.
//!
//! ```text
//! line       = {"seq":N,"prev":"H",MEMBERS}            H: SHA-256 of the line before, without its end, in lower-case hexadecimal
//! checkpoint = {"seq":N,"prev":"H",MEMBERS,"signature":"S"}
//! ```
//!
//! The first line has number 1 and an H of zeros. S is the Ed25519 signature, in hexadecimal, of `SIGNED` and the line's bytes
//! before `,"signature"`.

use common::SigningKey;
use sha2::{Digest, Sha256};
use std::io::Write;

/// What else is signed anywhere begins otherwise.
pub const SIGNED: &[u8] = b"weir audit checkpoint 1\n";
pub const SIGNATURE: &str = ",\"signature\":\"";

/// The last line that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    pub seq: u64,
    pub hash: [u8; 32],
}

impl Chain {
    /// Before the first line.
    pub const EMPTY: Self = Self { seq: 0, hash: [0; 32] };

    /// What the next line begins with.
    pub fn next(&self) -> String {
        format!("{{\"seq\":{},\"prev\":\"{}\",", self.seq.saturating_add(1), hex::encode(self.hash))
    }

    /// Appends a line; `object` is its members as a JSON object.
    pub fn append(&mut self, object: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        self.begin(object, out);
        out.push(b'}');
        self.end(at, out);
    }

    /// Appends a line with its signature.
    pub fn append_signed(&mut self, object: &[u8], key: &SigningKey, out: &mut Vec<u8>) {
        let at = out.len();
        self.begin(object, out);
        let signature = key.sign(&[SIGNED, &out[at..]].concat());
        let _ = write!(out, "{SIGNATURE}{}\"}}", hex::encode(signature));
        self.end(at, out);
    }

    fn begin(&self, object: &[u8], out: &mut Vec<u8>) {
        let members = object.strip_prefix(b"{").and_then(|object| object.strip_suffix(b"}"));
        out.extend_from_slice(self.next().as_bytes());
        out.extend_from_slice(members.expect("every record is an object"));
    }

    fn end(&mut self, at: usize, out: &mut Vec<u8>) {
        *self = self.after(&out[at..]);
        out.push(b'\n');
    }

    /// With this line behind it.
    pub fn after(&self, line: &[u8]) -> Self {
        Self { seq: self.seq.saturating_add(1), hash: Sha256::digest(line).into() }
    }
}

/// The last checkpoint that was written, as the server remembers it apart from the log: `NUMBER HASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head(pub Chain);

impl Head {
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, digits) = text.trim_end().split_once(' ')?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).ok()?;
        Some(Self(Chain { seq: seq.parse().ok()?, hash }))
    }

    pub fn text(&self) -> String {
        format!("{} {}\n", self.0.seq, hex::encode(self.0.hash))
    }
}

/// Where a start goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    pub chain: Chain,
    /// Lines up to this number had been written, and are not there.
    pub lost_to: Option<u64>,
    /// The last whole line is none of ours: the file is put aside as it is.
    pub is_damaged: bool,
}

/// Decides where to go on, from the last whole line of the file (if it has one) and what the server remembers. A file that was
/// taken away is no loss as long as its last line was a checkpoint.
pub fn resume(last_line: Option<&[u8]>, head: Option<Head>) -> Resumed {
    let remembered = head.map_or(Chain::EMPTY, |head| head.0);
    let Some(line) = last_line else {
        return Resumed { chain: remembered, lost_to: None, is_damaged: false };
    };
    let Some(seq) = super::verify::number_of(line) else {
        return Resumed { chain: remembered, lost_to: None, is_damaged: true };
    };
    let chain = Chain { seq: seq - 1, hash: [0; 32] }.after(line);
    Resumed { chain, lost_to: Some(remembered.seq).filter(|seq| *seq > chain.seq), is_damaged: false }
}
