//! Weir as it comes: one disk, synced, nothing set.

use super::{ACCESS_KEY, Peer, SECRET_KEY, Server};
use crate::limits;
use crate::process::Process;
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Also on the data of an earlier start.
pub fn start(binary: &Path, directory: &Path) -> Result<Server> {
    start_with(binary, directory, &[])
}

/// The same with more flags.
pub fn start_with(binary: &Path, directory: &Path, flags: &[&str]) -> Result<Server> {
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"]);
    command.arg(directory.join("data")).args(flags);
    command.env("WEIR_ADMIN_ACCESS_KEY", ACCESS_KEY).env("WEIR_ADMIN_SECRET_KEY", SECRET_KEY);
    let mut process = Process::start(&mut command, &directory.join("log"))?;
    let start = Instant::now();
    loop {
        if let Some(address) = process.log().lines().find_map(parse_ready) {
            return Ok(Server::new(Peer::Weir, address, process, directory));
        }
        process.is_running()?;
        if start.elapsed() > limits::READY_WITHIN * 5 {
            bail!("not ready within {} s", (limits::READY_WITHIN * 5).as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `weir is ready: S3 at http://127.0.0.1:PORT`
fn parse_ready(line: &str) -> Option<SocketAddr> {
    let url = line.split_once("weir is ready: S3 at http://")?.1;
    url.trim().trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_gives_the_address() {
        let expected = "127.0.0.1:40123".parse().unwrap();
        assert_eq!(parse_ready("weir is ready: S3 at http://127.0.0.1:40123"), Some(expected));
        assert_eq!(parse_ready("export AWS_ENDPOINT_URL=http://127.0.0.1:40123"), None);
    }
}
