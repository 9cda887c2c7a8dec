//! A single request outside of the measured load, on a connection of its own.

use crate::answer::AnswerReader;
use crate::limits;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

pub struct Whole {
    pub status: u16,
    pub body: String,
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}: {}", self.status, self.body)
    }
}

pub fn exchange(address: SocketAddr, head: &[u8], body: &[u8]) -> Result<Whole> {
    let mut socket = TcpStream::connect_timeout(&address, limits::ANSWER_WITHIN)?;
    socket.set_read_timeout(Some(limits::ANSWER_WITHIN))?;
    socket.write_all(head)?;
    socket.write_all(body)?;
    let mut reader = AnswerReader::new();
    reader.expect(head.starts_with(b"HEAD "), true);
    let mut buffer = vec![0; limits::HEAD_BYTES_MAX];
    loop {
        let count = socket.read(&mut buffer).context("reading an answer")?;
        if count == 0 {
            bail!("the server closed the connection");
        }
        let answer = reader.take(&buffer[..count]).map_err(|error| anyhow::anyhow!("{error}"))?;
        if let Some(answer) = answer {
            let body = String::from_utf8_lossy(&reader.body).into_owned();
            return Ok(Whole { status: answer.status, body });
        }
    }
}
