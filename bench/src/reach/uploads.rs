//! Many large uploads open at once, each stopped long before its end: what they hold in memory, and what they leave.

use super::{Line, Wanted};
use crate::loads::element;
use crate::peers::{Peer, Programs, Server};
use crate::scenario::MIB;
use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Uploads<'a> {
    pub programs: &'a Programs,
    pub directory: &'a Path,
    pub payload: &'a [u8],
    pub uploads: usize,
    pub sent_bytes: u64,
}

const DECLARED_BYTES: u64 = 1024 * MIB;
const BUCKET: &str = "uploads";

/// Of what is free, how much all uploads together may declare.
const DISK_SHARE: f64 = 0.7;

/// Each thread sends a piece to each of its connections in turn, so that all stay alike far.
const THREADS: usize = 8;

/// How long staging files may still be there after the connections are gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

impl Uploads<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let Err(refused) = self.measure(DECLARED_BYTES, report) else { return Ok(()) };
        // Space may be reserved for what was declared, and no disk of a test machine holds so much.
        println!("reach uploads: not with 1 GiB declared of each: {refused:#}");
        let available = available_bytes(self.directory)? as f64 * DISK_SHARE;
        let declared = (available as u64 / self.uploads as u64).min(DECLARED_BYTES);
        ensure!(declared > self.sent_bytes, "the disk has no room for {} uploads", self.uploads);
        self.measure(declared, report)
    }

    fn measure(&self, declared: u64, report: &mut dyn FnMut(Line)) -> Result<()> {
        let server = self.programs.start(Peer::Weir, &self.directory.join("uploads"))?;
        server.create_bucket(BUCKET)?;
        let staging = server.directory.join("data/staging");
        let before = server.process.usage().rss_bytes;
        let start = Instant::now();
        let sockets = self.send(&server, declared)?;
        let seconds = start.elapsed().as_secs_f64();
        let rss = server.process.usage().rss_bytes as f64 / MIB as f64;
        let staged = count_files(&staging)?;
        report(Line::new(
            format!("memory, {} uploads of {} MiB open", self.uploads, declared / MIB),
            format!(
                "{rss:.0} MiB after {} MiB of each ({seconds:.0} s, {staged} staging files, {:.0} MiB before)",
                self.sent_bytes / MIB,
                before as f64 / MIB as f64
            ),
            "600 MiB",
            rss / 600.0,
            Wanted::AtMost(1.0),
        ));
        drop(sockets);
        let start = Instant::now();
        while count_files(&staging)? > 0 && start.elapsed() < GONE_WITHIN {
            std::thread::sleep(Duration::from_millis(50));
        }
        let left = count_files(&staging)?;
        let rss = server.process.usage().rss_bytes as f64 / MIB as f64;
        report(Line::new(
            "staging files after the abort",
            format!("{left} left after {:.1} s ({rss:.0} MiB of memory)", start.elapsed().as_secs_f64()),
            "none",
            left as f64,
            Wanted::AtMost(0.0),
        ));
        Ok(())
    }

    /// Opens all uploads and sends so much of each. An answer before the end is a refusal.
    fn send(&self, server: &Server, declared: u64) -> Result<Vec<TcpStream>> {
        let mut signer = server.signer();
        let mut sockets = Vec::new();
        for number in 0..self.uploads {
            let mut socket = TcpStream::connect(server.address)?;
            socket.set_write_timeout(Some(Duration::from_secs(60)))?;
            let path = format!("/{BUCKET}/{number:04}");
            socket.write_all(&signer.new_head("PUT", &path, "", Some(declared)))?;
            sockets.push(socket);
        }
        let share = sockets.len().div_ceil(THREADS);
        let send_all = |sockets: &mut [TcpStream]| -> Result<()> {
            let mut sent = 0;
            while sent < self.sent_bytes {
                let piece = &self.payload[..self.payload.len().min((self.sent_bytes - sent) as usize)];
                for socket in sockets.iter_mut() {
                    if let Err(error) = socket.write_all(piece) {
                        bail!("an upload was cut off after {} MiB: {error}; {}", sent / MIB, last_words(socket));
                    }
                }
                sent += piece.len() as u64;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let handles: Vec<_> =
                sockets.chunks_mut(share).map(|sockets| scope.spawn(move || send_all(sockets))).collect();
            handles.into_iter().try_for_each(|handle| handle.join().expect("a thread that does not panic"))
        })?;
        for socket in &mut sockets {
            socket.set_nonblocking(true)?;
            let is_open = socket.peek(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            ensure!(is_open, "an upload ended before its time; {}", last_words(socket));
        }
        Ok(sockets)
    }
}

/// What the server said before it closed the connection, if that still came through.
fn last_words(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = socket.set_nonblocking(false);
    let _ = socket.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = socket.take(4096).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let field = |name| element(&text, name).unwrap_or_default();
    format!("the answer: {} {}: {}", text.lines().next().unwrap_or_default(), field("Code"), field("Message"))
}

fn available_bytes(folder: &Path) -> Result<u64> {
    let status = rustix::fs::statvfs(folder)?;
    Ok(status.f_bavail * status.f_frsize)
}

fn count_files(folder: &Path) -> Result<usize> {
    Ok(std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?.count())
}
