//! Many large uploads open at once, each stopped long before its end: what they hold in memory, and what they leave.

use super::{Line, Wanted};
use crate::peers::{Peer, Programs, Server};
use crate::scenario::MIB;
use anyhow::{Context, Result, ensure};
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

/// Each thread sends a piece to each of its connections in turn, so that all stay alike far.
const THREADS: usize = 8;

/// How long staging files may still be there after the connections are gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

impl Uploads<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let server = self.programs.start(Peer::Weir, &self.directory.join("uploads"))?;
        server.create_bucket(BUCKET)?;
        let staging = server.directory.join("data/staging");
        let before = server.process.usage().rss_bytes;
        let start = Instant::now();
        let sockets = self.send(&server)?;
        let seconds = start.elapsed().as_secs_f64();
        let rss = server.process.usage().rss_bytes as f64 / MIB as f64;
        let staged = count_files(&staging)?;
        report(Line::new(
            format!("memory, {} uploads of 1 GiB open", self.uploads),
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
    fn send(&self, server: &Server) -> Result<Vec<TcpStream>> {
        let mut signer = server.signer();
        let mut sockets = Vec::new();
        for number in 0..self.uploads {
            let mut socket = TcpStream::connect(server.address)?;
            socket.set_write_timeout(Some(Duration::from_secs(60)))?;
            let path = format!("/{BUCKET}/{number:04}");
            socket.write_all(&signer.new_head("PUT", &path, "", Some(DECLARED_BYTES)))?;
            sockets.push(socket);
        }
        let share = sockets.len().div_ceil(THREADS);
        let send_all = |sockets: &mut [TcpStream]| -> Result<()> {
            let mut sent = 0;
            while sent < self.sent_bytes {
                let piece = &self.payload[..self.payload.len().min((self.sent_bytes - sent) as usize)];
                for socket in sockets.iter_mut() {
                    socket.write_all(piece).context("an upload was cut off")?;
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
            let early = socket.read(&mut [0; 64]);
            ensure!(
                early.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
                "an upload ended before its time: {early:?}"
            );
        }
        Ok(sockets)
    }
}

fn count_files(folder: &Path) -> Result<usize> {
    Ok(std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?.count())
}
