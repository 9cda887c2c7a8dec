//! Bounds `aws-chunked` framing. s3s collects each chunk whole before it hands it on, and the size of a chunk is the
//! client's choice up to 4 GiB. Unsigned framing is cut anew here into the pieces that arrive, so nothing is collected;
//! signed chunks must stay as they are and have a largest size.
//!
//! A chunk is `hex-size[;chunk-signature=...]\r\n`, that many bytes, `\r\n`. One of size 0 ends the chunks; what follows is
//! the trailer, which s3s bounds itself.

use crate::limits;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;

pub const CHUNKING_ERROR: &str = "aws-chunked framing";
const SIZE_LINE_BYTES_MAX: usize = 1024;

#[derive(Debug)]
pub struct Framing {
    signed: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Inside of a size line: what came of it.
    Size(Vec<u8>),
    /// Inside of a chunk's data: bytes to come.
    Data(u64),
    /// Behind the data: bytes of the line end to come.
    End(u8),
    Trailer,
}

impl Framing {
    pub fn new(signed: bool) -> Self {
        Self { signed, state: State::Size(Vec::new()) }
    }

    /// Takes what arrived and gives what goes on to s3s.
    pub fn feed(&mut self, mut bytes: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Size(line) => {
                    let byte = bytes.get_u8();
                    line.push(byte);
                    if byte == b'\n' {
                        let size = chunk_size(line)?;
                        if self.signed && size > limits::SIGNED_CHUNK_BYTES_MAX {
                            let limit = limits::SIGNED_CHUNK_BYTES_MAX;
                            return Err(format!("{CHUNKING_ERROR}: a signed chunk is larger than {limit} bytes"));
                        }
                        if self.signed || size == 0 {
                            out.push_back(Bytes::from(std::mem::take(line)));
                        }
                        self.state = if size == 0 { State::Trailer } else { State::Data(size) };
                    } else if line.len() > SIZE_LINE_BYTES_MAX {
                        return Err(format!("{CHUNKING_ERROR}: a chunk's size line is too long"));
                    }
                }
                State::Data(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let data = bytes.split_to(here);
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::End(2);
                    }
                    if self.signed {
                        out.push_back(data);
                    } else {
                        out.extend([Bytes::from(format!("{here:x}\r\n")), data, Bytes::from_static(b"\r\n")]);
                    }
                }
                State::End(left) => {
                    let expected = if *left == 2 { b'\r' } else { b'\n' };
                    if bytes.get_u8() != expected {
                        return Err(format!("{CHUNKING_ERROR}: no line end behind a chunk"));
                    }
                    *left -= 1;
                    if *left == 0 {
                        if self.signed {
                            out.push_back(Bytes::from_static(b"\r\n"));
                        }
                        self.state = State::Size(Vec::new());
                    }
                }
                State::Trailer => out.push_back(std::mem::take(&mut bytes)),
            }
        }
        Ok(())
    }
}

/// Hexadecimal digits only, up to 16 of them, before `;` or the line end.
fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| format!("{CHUNKING_ERROR}: a bare line feed"))?;
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let valid = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| valid);
    text.and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| format!("{CHUNKING_ERROR}: a chunk's size is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(signed: bool, pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut framing = Framing::new(signed);
        let mut out = VecDeque::new();
        for piece in pieces {
            framing.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        Ok(out.into_iter().flatten().collect())
    }

    #[test]
    fn unsigned_chunks_are_cut_to_what_arrived() {
        let out = run(false, &[b"5\r\nab", b"cde\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"]).expect("valid");
        assert_eq!(out, b"2\r\nab\r\n3\r\ncde\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        let huge = run(false, &[b"ffffffffff\r\n", b"abc"]).expect("never collected");
        assert_eq!(huge, b"3\r\nabc\r\n");
    }

    #[test]
    fn signed_chunks_pass_unchanged() {
        let body: &[u8] = b"3;chunk-signature=00\r\nabc\r\n0;chunk-signature=11\r\n\r\n";
        assert_eq!(run(true, &[body]).expect("valid"), body);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(run(true, &bytes).expect("valid"), body);
        assert!(run(true, &[b"1000001\r\n"]).is_err());
        assert!(run(true, &[b"1000000\r\n"]).is_ok());
    }

    #[test]
    fn malformed_sizes_are_refused() {
        for bad in ["0x5\r\n", "+5\r\n", "-5\r\n", "\r\n", "5\n", " 5\r\n", "11111111111111111\r\n", "3\r\nabcd\r\n"] {
            assert!(run(false, &[bad.as_bytes()]).is_err(), "{bad:?}");
        }
        assert!(run(false, &[&[b'1'; 2000]]).is_err());
    }
}
