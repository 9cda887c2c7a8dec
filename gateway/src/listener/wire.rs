//! The framing of HTTP/1.1 as it is accepted here, decided before hyper sees it (RFC 9112, the strict reading). Whatever two
//! readers could take for different things is refused: a proxy in front and hyper behind then see the same requests in the
//! same bytes, and nothing is smuggled between them. Pure; `connection.rs` feeds it.

use crate::error::Error;
use crate::limits;

/// How the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    Length(u64),
    Chunked,
}

/// The end of the header block that begins these bytes, if it is there. `seen` bytes of them were looked at before; what
/// is returned as an error no further byte can heal.
pub fn head_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Error> {
    for at in seen..bytes.len() {
        if at >= limits::HEADER_BLOCK_BYTES_MAX {
            return Err(Error::HeaderSectionTooLarge("the header block is too long"));
        }
        match bytes[at] {
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(malformed("a bare line feed")),
            b'\n' if bytes[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            b'\n' | b'\r' | b'\t' => {}
            byte if at > 0 && bytes[at - 1] == b'\r' && byte != b'\n' => {
                return Err(malformed("a bare carriage return"));
            }
            byte if byte.is_ascii_control() => return Err(malformed("a control character")),
            _ => {}
        }
    }
    Ok(None)
}

/// Checks a whole header block and says how its body ends.
pub fn body_framing(block: &[u8]) -> Result<BodyFraming, Error> {
    let mut lines = block.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let is_1_1 = check_request_line(lines.next().unwrap_or_default())?;
    let (mut count, mut hosts) = (0, 0);
    let (mut length, mut chunked) = (None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        count += 1;
        if count > limits::HEADERS_MAX {
            return Err(Error::HeaderSectionTooLarge("too many headers"));
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(decimal(value)?).is_some() {
                return Err(malformed("two lengths"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !is_1_1 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(malformed("a transfer coding other than chunked"));
            }
            chunked = true;
        }
    }
    if hosts > 1 || (hosts == 0 && is_1_1) {
        return Err(malformed("there must be one host header"));
    }
    match (length, chunked) {
        (Some(_), true) => Err(malformed("a length and a transfer coding")),
        (length, false) => Ok(BodyFraming::Length(length.unwrap_or(0))),
        (None, true) => Ok(BodyFraming::Chunked),
    }
}

/// `METHOD target HTTP/1.x`, one space between. True: version 1.1.
fn check_request_line(line: &[u8]) -> Result<bool, Error> {
    let words: Vec<&[u8]> = line.splitn(4, |&byte| byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err(malformed("the request line")) };
    if method.is_empty() || !method.iter().copied().all(is_token) || target.is_empty() {
        return Err(malformed("the request line"));
    }
    if target.len() > limits::REQUEST_TARGET_BYTES_MAX {
        return Err(Error::HeaderSectionTooLarge("the URI is too long"));
    }
    if target.contains(&b'\t') {
        return Err(malformed("the request line"));
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(malformed("the version of HTTP")),
    }
}

/// `name: value`, the value without the space around it. A line that begins with space would go on with the line before
/// in one reader and not in the other.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or_else(|| malformed("a header without a colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(malformed("the name of a header"));
    }
    Ok((name, value.trim_ascii()))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn decimal(value: &[u8]) -> Result<u64, Error> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("a length that is no number"))
}

fn malformed(what: &'static str) -> Error {
    Error::BadHttp(what)
}

/// Follows `Transfer-Encoding: chunked` through the bytes of a body.
#[derive(Debug, Default)]
pub struct Chunks {
    state: ChunkState,
}

#[derive(Debug, Default)]
enum ChunkState {
    /// Inside of the line before a chunk.
    #[default]
    Start,
    Size {
        value: u64,
        digits: u32,
        length: usize,
    },
    Extension {
        value: u64,
        length: usize,
    },
    SizeEnd {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataEnd {
        feed: bool,
    },
    /// Behind the last chunk: only the empty line, as trailers belong into `aws-chunked`.
    LastEnd {
        feed: bool,
    },
    Ended,
}

impl Chunks {
    /// How many of these bytes belong to the body, up to its end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        use ChunkState as S;
        let mut at = 0;
        while at < bytes.len() && !self.ended() {
            let byte = bytes[at];
            at += 1;
            self.state = match (&self.state, byte) {
                (S::Data { left }, _) => {
                    // At once what is there; `byte` is the first of it.
                    let here = u64::try_from(bytes.len() - at + 1).unwrap_or(u64::MAX).min(*left);
                    at += usize::try_from(here).unwrap_or(usize::MAX) - 1;
                    if here == *left { S::DataEnd { feed: false } } else { S::Data { left: left - here } }
                }
                (S::Start, _) => S::Size { value: digit(byte)?, digits: 1, length: 1 },
                (S::Size { value, .. } | S::Extension { value, .. }, b'\r') => S::SizeEnd { value: *value },
                (S::Size { value, length, .. }, b';') => S::Extension { value: *value, length: length + 1 },
                (S::Size { value, digits, length }, _) if *digits < 16 => {
                    S::Size { value: value << 4 | digit(byte)?, digits: digits + 1, length: length + 1 }
                }
                (S::Size { .. }, _) => return Err(malformed("the size of a chunk")),
                (S::Extension { value, length }, _)
                    if *length < limits::CHUNK_LINE_BYTES_MAX && !byte.is_ascii_control() =>
                {
                    S::Extension { value: *value, length: length + 1 }
                }
                (S::SizeEnd { value: 0 }, b'\n') => S::LastEnd { feed: false },
                (S::SizeEnd { value }, b'\n') if *value <= limits::PUT_BYTES_MAX => S::Data { left: *value },
                (S::DataEnd { feed: false }, b'\r') => S::DataEnd { feed: true },
                (S::DataEnd { feed: true }, b'\n') => S::Start,
                (S::LastEnd { feed: false }, b'\r') => S::LastEnd { feed: true },
                (S::LastEnd { feed: true }, b'\n') => S::Ended,
                _ => return Err(malformed("the framing of a chunk")),
            };
        }
        Ok(at)
    }

    pub fn ended(&self) -> bool {
        matches!(self.state, ChunkState::Ended)
    }
}

fn digit(byte: u8) -> Result<u64, Error> {
    char::from(byte).to_digit(16).map(u64::from).ok_or_else(|| malformed("the size of a chunk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> String {
        let block = text.as_bytes();
        let framing = head_end(block, 0).and_then(|end| match end {
            Some(end) => body_framing(&block[..end]).map(|framing| format!("{framing:?}")),
            None => Ok("more".to_owned()),
        });
        framing.unwrap_or_else(|error| error.answer().code.to_owned())
    }

    #[test]
    fn ordinary_heads_pass() {
        assert_eq!(judge("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "Length(0)");
        assert_eq!(judge("GET / HTTP/1.0\r\n\r\n"), "Length(0)");
        assert_eq!(
            judge("PUT /b/k HTTP/1.1\r\nHost:a\r\nContent-Length:\t12 \r\nx: \u{e4} b\tc\r\n\r\nbody"),
            "Length(12)"
        );
        assert_eq!(judge("PUT /b/k HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nHost: a\r\n\r\n"), "Chunked");
        assert_eq!(judge("GET / HTTP/1.1\r\nHost: a\r\n"), "more");
        assert_eq!(judge(""), "more");
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for bad in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\x0bb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\x7fb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: 1\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
            "PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(judge(bad), "BadRequest", "{bad:?}");
        }
    }

    #[test]
    fn heads_have_limits() {
        let long = "RequestHeaderSectionTooLarge";
        let target = |bytes| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
        assert_eq!(judge(&target(limits::REQUEST_TARGET_BYTES_MAX)), "Length(0)");
        assert_eq!(judge(&target(limits::REQUEST_TARGET_BYTES_MAX + 1)), long);
        let headers = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: 1\r\n".repeat(count - 1));
        assert_eq!(judge(&headers(limits::HEADERS_MAX)), "Length(0)");
        assert_eq!(judge(&headers(limits::HEADERS_MAX + 1)), long);
        assert_eq!(judge(&"x".repeat(limits::HEADER_BLOCK_BYTES_MAX)), "more");
        assert_eq!(judge(&"x".repeat(limits::HEADER_BLOCK_BYTES_MAX + 1)), long);
    }

    #[test]
    fn a_head_that_comes_in_pieces_is_the_same_head() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for split in 0..text.len() {
            assert!(matches!(head_end(&text[..split], 0), Ok(None)));
            assert!(matches!(head_end(text, split), Ok(Some(end)) if end == text.len()));
        }
    }

    fn chunks(pieces: &[&[u8]]) -> Result<(usize, bool), ()> {
        let mut chunks = Chunks::default();
        let mut taken = 0;
        for piece in pieces {
            taken += chunks.take(piece).map_err(|_| ())?;
        }
        Ok((taken, chunks.ended()))
    }

    #[test]
    fn chunked_bodies_end_where_they_end() {
        let body: &[u8] = b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\n\r\n";
        let and_more = [body, b"GET / HTTP/1.1"].concat();
        assert_eq!(chunks(&[&and_more]), Ok((body.len(), true)));
        let single: Vec<&[u8]> = and_more.chunks(1).collect();
        assert_eq!(chunks(&single), Ok((body.len(), true)));
        assert_eq!(chunks(&[b"00000000ffffffff\r\nabc"]), Ok((21, false)));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bad in [
            "0x5\r\n",
            "+5\r\n",
            "-5\r\n",
            " 5\r\n",
            "5 \r\n",
            "\r\n",
            "5\n",
            "5\rx",
            "00000000000000005\r\n",
            "5\r\n123456",
            "1\r\na\n",
            "0\r\nx-trailer: 1\r\n\r\n",
            "0\r\nx",
            "5;a\nb\r\n",
            "g\r\n",
            "ffffffffffffffff\r\n",
        ] {
            assert_eq!(chunks(&[bad.as_bytes()]), Err(()), "{bad:?}");
        }
        let extension = [b"5;".as_slice(), &[b'a'; 2000], b"\r\n"].concat();
        assert_eq!(chunks(&[&extension]), Err(()));
    }
}
