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
                        let size = chunk_size(line, self.signed)?;
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

/// 1 to 16 hexadecimal digits, behind them a signature if chunks are signed, and nothing else.
fn chunk_size(line: &[u8], signed: bool) -> Result<u64, String> {
    let wrong = |what: &str| format!("{CHUNKING_ERROR}: {what}");
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| wrong("a bare line feed"))?;
    let text = std::str::from_utf8(line).map_err(|_| wrong("a chunk's size is no number"))?;
    let (digits, signature) = text.split_once(';').map_or((text, None), |(digits, rest)| (digits, Some(rest)));
    let is_signature = |text: &str| {
        let hex = text.strip_prefix("chunk-signature=").unwrap_or("");
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match signature {
        None if !signed => {}
        Some(signature) if signed && is_signature(signature) => {}
        _ => return Err(wrong("a chunk's extension is not the one expected")),
    }
    if !(1..=16).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong("a chunk's size is no number"));
    }
    let size = u64::from_str_radix(digits, 16).map_err(|_| wrong("a chunk's size is no number"))?;
    if size > limits::PUT_BYTES_MAX { Err(wrong("a chunk is larger than an object may be")) } else { Ok(size) }
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
        let huge = run(false, &[b"ffffffff\r\n", b"abc"]).expect("never collected");
        assert_eq!(huge, b"3\r\nabc\r\n");
    }

    fn signed(size: &str) -> String {
        format!("{size};chunk-signature={}\r\n", "0".repeat(64))
    }

    #[test]
    fn signed_chunks_pass_unchanged() {
        let body = format!("{}abc\r\n{}\r\n", signed("3"), signed("0")).into_bytes();
        assert_eq!(run(true, &[&body]).expect("valid"), body);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(run(true, &bytes).expect("valid"), body);
        assert!(run(true, &[signed("1000001").as_bytes()]).is_err());
        assert!(run(true, &[signed("1000000").as_bytes()]).is_ok());
    }

    #[test]
    fn malformed_sizes_are_refused() {
        for bad in ["0x5", "+5", "-5", "", " 5", "5 ", "11111111111111111", "FFFFFFFFFFFFFFFF", "140000001"] {
            assert!(run(false, &[format!("{bad}\r\n").as_bytes()]).is_err(), "{bad:?}");
            assert!(run(true, &[signed(bad).as_bytes()]).is_err(), "{bad:?}");
        }
        for bad in ["5\n", "3\r\nabcd\r\n", "5;ext\r\n", "5;chunk-signature=00\r\n", &signed("5")] {
            assert!(run(false, &[bad.as_bytes()]).is_err(), "{bad:?}");
        }
        for bad in ["5\r\n", "5;ext\r\n", "5;chunk-signature=00\r\n", &signed("5;ext=1")] {
            assert!(run(true, &[bad.as_bytes()]).is_err(), "{bad:?}");
        }
        assert!(run(false, &[&[b'1'; 2000]]).is_err());
    }
}
