//! Reads HTTP/1.1 answers out of whatever pieces the socket gives, without a copy: a body is counted and forgotten unless
//! its reader asked to see it.

use crate::limits::{HEAD_BYTES_MAX, KEPT_BODY_BYTES_MAX, REASON_BYTES_MAX};
use std::fmt;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Framing {
    Length(u64),
    Chunked,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Head,
    /// Bytes of the body that are still to come.
    Body(u64),
    ChunkLine,
    Chunk(u64),
    /// The line feed after a chunk's bytes.
    ChunkEnd,
    /// Lines after the last chunk.
    Trailer,
}

/// What came for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body_bytes: u64,
    /// The server closes the connection after it.
    pub last: bool,
}

/// What was found and what follows it; none: it has no end yet.
type Found<'a, T> = Result<Option<(T, &'a [u8])>, Malformed>;

#[derive(Debug, PartialEq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is not HTTP/1.1: {}", self.0)
    }
}

/// The reader of one connection's answers, one after the other.
pub struct AnswerReader {
    state: State,
    answer: Answer,
    /// A piece of a head or of a line that has no end yet.
    partial: Vec<u8>,
    /// The head of the answer, if it was asked for.
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    keep: bool,
    without_body: bool,
}

const NONE: Answer = Answer { status: 0, body_bytes: 0, last: false };

impl AnswerReader {
    pub fn new() -> Self {
        Self {
            state: State::Head,
            answer: NONE,
            partial: Vec::new(),
            head: Vec::new(),
            body: Vec::new(),
            keep: false,
            without_body: false,
        }
    }

    /// Before a request is sent: whether its answer has a body at all, and whether head and body are kept.
    pub fn expect(&mut self, without_body: bool, keep: bool) {
        self.state = State::Head;
        self.answer = NONE;
        self.partial.clear();
        self.head.clear();
        self.body.clear();
        (self.without_body, self.keep) = (without_body, keep);
    }

    /// Takes bytes as they come. The answer, once it is complete; bytes after it are an error, as nothing is pipelined.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        loop {
            match self.state {
                State::Head => {
                    let Some((framing, rest)) = self.take_head(bytes)? else { return Ok(None) };
                    bytes = rest;
                    // 100 Continue and its like come before the answer.
                    if self.answer.status < 200 {
                        continue;
                    }
                    self.state = match framing {
                        _ if self.without_body => State::Body(0),
                        Framing::Length(length) => State::Body(length),
                        Framing::Chunked => State::ChunkLine,
                    };
                }
                State::Body(left) => {
                    let left = left - self.take_body(&mut bytes, left)?;
                    self.state = State::Body(left);
                    return if left > 0 { Ok(None) } else { self.finish(bytes) };
                }
                State::ChunkLine => {
                    let Some((line, rest)) = self.take_line(bytes)? else { return Ok(None) };
                    bytes = rest;
                    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                    let digits = std::str::from_utf8(digits).map_err(|_| Malformed("a chunk's length"))?;
                    let length = u64::from_str_radix(digits, 16).map_err(|_| Malformed("a chunk's length"))?;
                    self.state = if length == 0 { State::Trailer } else { State::Chunk(length) };
                }
                State::Chunk(left) => {
                    let left = left - self.take_body(&mut bytes, left)?;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    if left > 0 {
                        return Ok(None);
                    }
                }
                State::ChunkEnd => {
                    let Some((line, rest)) = self.take_line(bytes)? else { return Ok(None) };
                    bytes = rest;
                    if !line.is_empty() {
                        return Err(Malformed("a chunk is longer than it says"));
                    }
                    self.state = State::ChunkLine;
                }
                State::Trailer => {
                    let Some((line, rest)) = self.take_line(bytes)? else { return Ok(None) };
                    bytes = rest;
                    if line.is_empty() {
                        return self.finish(bytes);
                    }
                }
            }
        }
    }

    fn finish(&mut self, rest: &[u8]) -> Result<Option<Answer>, Malformed> {
        if !rest.is_empty() {
            return Err(Malformed("bytes after its end"));
        }
        self.state = State::Head;
        Ok(Some(self.answer))
    }

    fn take_body(&mut self, bytes: &mut &[u8], left: u64) -> Result<u64, Malformed> {
        let count = left.min(bytes.len() as u64);
        let (body, rest) = bytes.split_at(count as usize);
        if self.keep {
            if self.body.len() + body.len() > KEPT_BODY_BYTES_MAX {
                return Err(Malformed("a body that was to be kept is too long"));
            }
            self.body.extend_from_slice(body);
        } else if self.answer.status >= 400 && self.body.len() < REASON_BYTES_MAX {
            // Why it was refused; the rest is only counted.
            self.body.extend_from_slice(&body[..body.len().min(REASON_BYTES_MAX - self.body.len())]);
        }
        *bytes = rest;
        self.answer.body_bytes += count;
        Ok(count)
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Found<'a, Framing> {
        let seen = self.partial.len();
        if seen == 0 {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                return self.store(bytes).map(|()| None);
            };
            let (head, rest) = bytes.split_at(end + 4);
            return Ok(Some((self.parse_head(head)?, rest)));
        }
        self.store(bytes)?;
        // The end may begin in what was there before.
        let from = seen.saturating_sub(3);
        let Some(end) = memchr::memmem::find(&self.partial[from..], b"\r\n\r\n") else { return Ok(None) };
        let length = from + end + 4;
        let partial = std::mem::take(&mut self.partial);
        let framing = self.parse_head(&partial[..length])?;
        self.partial = partial;
        self.partial.clear();
        Ok(Some((framing, &bytes[length - seen..])))
    }

    /// A line without its end. A line in two pieces is rare, so it may be copied.
    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> Found<'a, Vec<u8>> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return self.store(bytes).map(|()| None);
        };
        let mut line = std::mem::take(&mut self.partial);
        line.extend_from_slice(&bytes[..end]);
        if line.pop_if(|byte| *byte == b'\r').is_none() {
            return Err(Malformed("a line ends without a carriage return"));
        }
        Ok(Some((line, &bytes[end + 1..])))
    }

    fn store(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.partial.len() + bytes.len() > HEAD_BYTES_MAX {
            return Err(Malformed("a head or line without an end"));
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn parse_head(&mut self, head: &[u8]) -> Result<Framing, Malformed> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let status = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.1 ")).and_then(|rest| rest.get(..3));
        self.answer.status = status.and_then(number).ok_or(Malformed("the status line"))? as u16;
        let mut framing = Framing::Length(0);
        for line in lines {
            // Few names are looked at, and most lines differ in their length already.
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                framing = Framing::Length(number(value).ok_or(Malformed("Content-Length"))?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
                framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"close") {
                self.answer.last = true;
            }
        }
        if self.keep {
            self.head.extend_from_slice(head);
        }
        if matches!(self.answer.status, 204 | 304) {
            framing = Framing::Length(0);
        }
        Ok(framing)
    }

    /// The value of a header in the kept head.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.head).ok()?;
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one piece, byte by byte, and in pieces of seven bytes.
    fn read(text: &[u8], without_body: bool) -> Vec<Result<Option<Answer>, Malformed>> {
        [text.len().max(1), 1, 7]
            .map(|step| {
                let mut reader = AnswerReader::new();
                reader.expect(without_body, false);
                let mut last = Ok(None);
                for piece in text.chunks(step) {
                    last = reader.take(piece);
                    if last.is_err() {
                        break;
                    }
                }
                last
            })
            .into()
    }

    fn whole(text: &[u8], without_body: bool) -> Answer {
        let outcomes = read(text, without_body);
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
        outcomes[0].as_ref().unwrap().unwrap()
    }

    #[test]
    fn bodies_are_counted_in_every_framing() {
        let answer = whole(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", false);
        assert_eq!(answer, Answer { status: 200, body_bytes: 5, last: false });
        let answer = whole(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
            false,
        );
        assert_eq!((answer.status, answer.body_bytes), (200, 13));
        assert_eq!(whole(b"HTTP/1.1 204 No Content\r\n\r\n", false).body_bytes, 0);
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", true).body_bytes, 0);
        let answer = whole(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            false,
        );
        assert_eq!(answer, Answer { status: 403, body_bytes: 0, last: true });
    }

    #[test]
    fn half_an_answer_is_none() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        ] {
            assert!(read(text.as_bytes(), false).iter().all(|outcome| *outcome == Ok(None)), "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            let mut reader = AnswerReader::new();
            reader.expect(false, false);
            assert!(reader.take(text.as_bytes()).is_err(), "{text}");
        }
        let mut reader = AnswerReader::new();
        assert!(reader.take(&vec![b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn what_is_kept_can_be_looked_at() {
        let mut reader = AnswerReader::new();
        reader.expect(false, true);
        reader.take(b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\nab").unwrap().unwrap();
        assert_eq!((reader.header("etag"), reader.body.as_slice()), (Some("\"x\""), &b"ab"[..]));
    }
}
