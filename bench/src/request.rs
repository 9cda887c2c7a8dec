//! What a load sends: one request after the other for each connection.

use crate::answer::AnswerReader;

/// A request as the load wants it. Its buffers are used again for the next one.
#[derive(Default)]
pub struct Request {
    /// Request line and headers, as they go out.
    pub head: Vec<u8>,
    pub body: Body,
    pub expected: Expected,
    /// The load wants to look at the answer.
    pub keep: bool,
    /// An operation may take several requests: latency runs from the first one's start to the last one's answer.
    pub unfinished: bool,
}

/// Bytes after the head.
#[derive(Default, Clone)]
pub enum Body {
    #[default]
    None,
    /// So many bytes of the payload, from this place of it on, round and round.
    Payload {
        bytes: u64,
        from: usize,
    },
    Text(Vec<u8>),
}

impl Body {
    pub fn bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Payload { bytes, .. } => *bytes,
            Self::Text(text) => text.len() as u64,
        }
    }
}

/// The only answer that is no error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    pub status: u16,
    /// None: any length.
    pub body_bytes: Option<u64>,
    /// An answer to HEAD: its length is that of a body that does not come.
    pub without_body: bool,
}

impl Default for Expected {
    fn default() -> Self {
        Self { status: 200, body_bytes: None, without_body: false }
    }
}

/// Where a load's requests come from.
pub trait Requests {
    /// Writes the next request of this connection. False: there is none, and the connection rests.
    fn next(&mut self, connection: usize, request: &mut Request) -> bool;

    /// Called for requests with `keep`, when their answer was the expected one.
    fn answered(&mut self, _connection: usize, _answer: &AnswerReader) -> Result<(), String> {
        Ok(())
    }
}
