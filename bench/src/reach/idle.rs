//! Ten thousand connections that were used once and then rest.

use super::{Line, Wanted};
use crate::peers::{Peer, Programs};
use crate::scenario::MIB;
use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
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

/// Connections that are opened at once, so that the queue of the listener does not overflow.
const BURST: usize = 20;
const BETWEEN_BURSTS: Duration = Duration::from_millis(2);

/// Longer than a lost SYN takes to be sent again.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

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
            sockets.push(
                connect_from(source, server.address)
                    .with_context(|| format!("connection {number} ({descriptors} descriptors are allowed)"))?,
            );
            if number % BURST == 0 {
                std::thread::sleep(BETWEEN_BURSTS);
            }
        }
        std::thread::sleep(CONNECTED_WITHIN);
        for socket in &mut sockets {
            // One that waits to be accepted, or was closed, shows below.
            let _ = socket.write_all(b"GET /-/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        std::thread::sleep(ANSWERED_WITHIN);
        let (mut answered, mut waiting) = (0, 0);
        for socket in &mut sockets {
            match socket.read(&mut [0; 4096]) {
                // After the answer the connection must still be there.
                Ok(count) if count > 0 => answered += usize::from(is_open(socket)),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::NotConnected].contains(&error.kind()) => waiting += 1,
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
            "idle connections kept",
            format!("{answered} ({waiting} others wait to be accepted, {closed} were closed)"),
            format!("{} from {ADDRESSES} addresses", self.connections),
            answered as f64 / self.connections as f64,
            Wanted::AtLeast(1.0),
        ));
        Ok(())
    }
}

fn is_open(socket: &mut TcpStream) -> bool {
    socket.read(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// To the hard limit, for this process and for the servers that it starts from here on.
fn raise_descriptor_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    limit.maximum.unwrap_or(u64::MAX)
}

/// Does not wait for the other side: a server that accepts no more would hold everything up.
fn connect_from(source: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}
