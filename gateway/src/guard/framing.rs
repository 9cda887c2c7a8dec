//! Bounds `aws-chunked` framing. s3s collects each chunk whole before it hands it on, and the size of a chunk is the
//! client's choice up to 4 GiB. Unsigned framing is cut anew here into the pieces that arrive, so nothing is collected;
//! signed chunks must stay as they are and have a largest size. Where s3s does not look for framing, which is in a request
//! without a signature, it is taken off here, and the trailers are kept for the operation.
//!
//! A chunk is `hex-size[;chunk-signature=...]\r\n`, that many bytes, `\r\n`. One of size 0 ends the chunks; what follows is
//! the trailer: lines of `name:value\r\n` and an empty one. s3s bounds it itself.

use crate::limits;
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

pub const CHUNKING_ERROR: &str = "aws-chunked framing";
const SIZE_LINE_BYTES_MAX: usize = 1024;

/// The trailers of a body whose framing was taken off: in the request's extensions, set when the body has ended.
#[derive(Debug, Clone, Default)]
pub struct Trailers(pub Arc<OnceLock<HeaderMap>>);

#[derive(Debug)]
pub struct Framing {
    kind: Kind,
    state: State,
}

/// What becomes of the framing.
#[derive(Debug)]
enum Kind {
    /// It stays as it is.
    Signed,
    /// It is cut anew.
    Unsigned,
    /// It is taken off.
    TakenOff(Trailers),
}

#[derive(Debug)]
enum State {
    /// Inside of a size line: what came of it.
    Size(Vec<u8>),
    /// Inside of a chunk's data: bytes to come.
    Data(u64),
    /// Behind the data: bytes of the line end to come.
    End(u8),
    /// Behind the last chunk: what came of the trailer, where it is kept.
    Trailer(Vec<u8>),
}

impl Framing {
    /// Framing that s3s reads.
    pub fn new(signed: bool) -> Self {
        let kind = if signed { Kind::Signed } else { Kind::Unsigned };
        Self { kind, state: State::Size(Vec::new()) }
    }

    /// Unsigned framing that s3s must not see.
    pub fn taken_off(trailers: Trailers) -> Self {
        Self { kind: Kind::TakenOff(trailers), state: State::Size(Vec::new()) }
    }

    /// Takes what arrived and gives what goes on to s3s.
    pub fn feed(&mut self, mut bytes: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), String> {
        let signed = matches!(self.kind, Kind::Signed);
        let off = matches!(self.kind, Kind::TakenOff(_));
        while !bytes.is_empty() {
            match &mut self.state {
                State::Size(line) => {
                    let byte = bytes.get_u8();
                    line.push(byte);
                    if byte == b'\n' {
                        let size = chunk_size(line, signed)?;
                        if signed && size > limits::SIGNED_CHUNK_BYTES_MAX {
                            let limit = limits::SIGNED_CHUNK_BYTES_MAX;
                            return Err(format!("{CHUNKING_ERROR}: a signed chunk is larger than {limit} bytes"));
                        }
                        if signed || (size == 0 && !off) {
                            out.push_back(Bytes::from(std::mem::take(line)));
                        }
                        self.state = if size == 0 { State::Trailer(Vec::new()) } else { State::Data(size) };
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
                    if signed || off {
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
                        if signed {
                            out.push_back(Bytes::from_static(b"\r\n"));
                        }
                        self.state = State::Size(Vec::new());
                    }
                }
                State::Trailer(kept) if off => {
                    if kept.len() + bytes.len() > limits::TRAILER_BYTES_MAX {
                        return Err(format!("{CHUNKING_ERROR}: the trailer is too long"));
                    }
                    kept.extend_from_slice(&std::mem::take(&mut bytes));
                }
                State::Trailer(_) => out.push_back(std::mem::take(&mut bytes)),
            }
        }
        Ok(())
    }

    /// The body has ended. Framing that goes on to s3s is judged there.
    pub fn ends(&self) -> Result<(), String> {
        let Kind::TakenOff(trailers) = &self.kind else { return Ok(()) };
        match &self.state {
            State::Trailer(kept) => {
                let found =
                    trailer(kept).ok_or_else(|| format!("{CHUNKING_ERROR}: the trailer is no list of lines"))?;
                let _ = trailers.0.set(found);
                Ok(())
            }
            _ => Err("the body ended before its last chunk".to_owned()),
        }
    }
}

/// The lines of a trailer. The empty one behind them may be missing, and nothing may come behind it.
fn trailer(bytes: &[u8]) -> Option<HeaderMap> {
    let mut found = HeaderMap::new();
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split_terminator("\r\n");
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        found.append(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value.trim_matches([' ', '\t'])).ok()?,
        );
    }
    let ended = text.is_empty() || text.ends_with("\r\n");
    (ended && lines.next().is_none()).then_some(found)
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

    /// The payload and the trailers of a body that arrives in pieces of so many bytes.
    fn taken_off(body: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap), String> {
        let trailers = Trailers::default();
        let mut framing = Framing::taken_off(trailers.clone());
        let mut out = VecDeque::new();
        for piece in body.chunks(piece) {
            framing.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        framing.ends()?;
        Ok((out.into_iter().flatten().collect(), trailers.0.get().cloned().expect("set at the end")))
    }

    #[test]
    fn framing_is_taken_off_and_its_trailers_are_kept() {
        for body in [
            &b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Amz-Checksum-Crc32: AAAAAA==\r\nx-other:\r\n\r\n"[..],
            b"5\r\nabcde\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\nx-other:\r\n",
        ] {
            for piece in [1, 2, 7, 1000] {
                let (payload, trailers) = taken_off(body, piece).expect("valid");
                assert_eq!(payload, b"abcde");
                assert_eq!(trailers["x-amz-checksum-crc32"], "AAAAAA==");
                assert_eq!(trailers.len(), 2);
            }
        }
        for body in [&b"0\r\n"[..], b"0\r\n\r\n"] {
            assert_eq!(taken_off(body, 1).expect("valid"), (Vec::new(), HeaderMap::new()));
        }
    }

    #[test]
    fn framing_that_cannot_be_taken_off_is_refused() {
        for cut in ["", "3", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "3\r\nabc\r\n0", "3\r\nabc\r\n0\r"] {
            let error = taken_off(cut.as_bytes(), 1).expect_err("not whole");
            assert!(!error.contains(CHUNKING_ERROR), "{cut:?}: {error}");
        }
        for bad in [
            "a",
            "a\r\n",
            "a:b",
            "a:b\n",
            "a:b\n\r\n",
            "a b:c\r\n",
            ":c\r\n",
            "\r\n\r\n",
            "a:b\r\n\r\nc:d\r\n",
            "a:\u{1}\r\n",
        ] {
            let body = format!("3\r\nabc\r\n0\r\n{bad}");
            let error = taken_off(body.as_bytes(), 1).expect_err("malformed");
            assert!(error.contains(CHUNKING_ERROR), "{bad:?}: {error}");
        }
        let long = format!("0\r\na:{}\r\n", "b".repeat(limits::TRAILER_BYTES_MAX));
        assert!(taken_off(long.as_bytes(), 1000).is_err());
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
