//! Ten thousand connections that were used once and then rest.

use super::{Line, Wanted};
use crate::peers::{Peer, Programs};
use crate::scenario::MIB;
use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::time::Duration;

pub struct Idle<'a> {
    pub programs: &'a Programs,
    pub directory: &'a Path,
    pub connections: usize,
}

/// A server may bound the connections of one address: these come from as many.
const ADDRESSES: usize = 8;

/// Enough for every answer of a server that has accepted the connection.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

impl Idle<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let descriptors = raise_descriptor_limit();
        let server = self.programs.start(Peer::Weir, &self.directory.join("idle"))?;
        let before = server.process.usage().rss_bytes as f64 / MIB as f64;
        let mut sockets = Vec::with_capacity(self.connections);
        for number in 0..self.connections {
            let source = Ipv4Addr::new(127, 0, 1, 1 + (number % ADDRESSES) as u8);
            let mut socket = connect_from(source, server.address)
                .with_context(|| format!("connection {number} ({descriptors} descriptors are allowed)"))?;
            // One that was closed again shows below.
            let _ = socket.write_all(b"GET /-/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        std::thread::sleep(ANSWERED_WITHIN);
        let (mut answered, mut waiting) = (0, 0);
        for socket in &mut sockets {
            match socket.read(&mut [0; 4096]) {
                Ok(count) if count > 0 => answered += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => waiting += 1,
                _ => {}
            }
        }
        let closed = self.connections - answered - waiting;
        let rss = server.process.usage().rss_bytes as f64 / MIB as f64;
        report(Line::new(
            format!("memory, {} idle connections", self.connections),
            format!("{rss:.0} MiB with {answered} of them ({before:.0} MiB before)"),
            "200 MiB",
            rss / 200.0,
            Wanted::AtMost(1.0),
        ));
        report(Line::new(
            "idle connections answered",
            format!("{answered} ({waiting} wait to be accepted, {closed} closed)"),
            format!("{} from {ADDRESSES} addresses", self.connections),
            answered as f64 / self.connections as f64,
            Wanted::AtLeast(1.0),
        ));
        Ok(())
    }
}

/// To the hard limit, for this process and for the servers that it starts from here on.
fn raise_descriptor_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    limit.maximum.unwrap_or(u64::MAX)
}

fn connect_from(source: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}
