//! One connection of the generator: sends a request as far as the socket takes it and reads the answer.

use crate::answer::{Answer, AnswerReader};
use crate::limits::PAYLOAD_BYTES;
use crate::request::{Body, Request};
use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

pub struct Connection {
    pub socket: TcpStream,
    pub request: Request,
    pub reader: AnswerReader,
    /// Bytes of the head and of the body that the socket has taken.
    sent: u64,
    /// Whether the poller was told to wait for room in the socket.
    pub waits_for_room: bool,
    /// A request is on its way.
    pub busy: bool,
    /// When the operation began; in an open loop, when it was meant to.
    pub since: Instant,
}

impl Connection {
    pub fn open(address: SocketAddr, now: Instant) -> Result<Self> {
        let socket = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            request: Request::default(),
            reader: AnswerReader::new(),
            sent: 0,
            waits_for_room: false,
            busy: false,
            since: now,
        })
    }

    /// For the request that stands in `request`.
    pub fn start(&mut self) {
        let expected = self.request.expected;
        self.reader.expect(expected.without_body, self.request.keep);
        self.sent = 0;
        self.busy = true;
    }

    pub fn bytes_out(&self) -> u64 {
        self.request.body.bytes()
    }

    /// Sends what the socket takes. True: all of it is gone.
    pub fn send(&mut self, payload: &[u8]) -> std::io::Result<bool> {
        let head = self.request.head.len() as u64;
        let all = head + self.request.body.bytes();
        while self.sent < all {
            let head_rest = &self.request.head[self.sent.min(head) as usize..];
            let body_rest = match &self.request.body {
                Body::None => &[][..],
                Body::Text(text) => &text[self.sent.saturating_sub(head) as usize..],
                Body::Payload { bytes, from } => {
                    let done = self.sent.saturating_sub(head);
                    let at = (*from + done as usize) % PAYLOAD_BYTES;
                    let end = payload.len().min(at.saturating_add((bytes - done) as usize));
                    &payload[at..end]
                }
            };
            match self.socket.write_vectored(&[IoSlice::new(head_rest), IoSlice::new(body_rest)]) {
                Ok(count) => self.sent += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once into `buffer`; the poller tells when there is more. The answer, if that completed it.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<Answer>> {
        let count = match self.socket.read(buffer) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !self.busy {
            bail!("bytes that nobody asked for");
        }
        self.reader.take(&buffer[..count]).map_err(|error| anyhow::anyhow!("{error}"))
    }
}
