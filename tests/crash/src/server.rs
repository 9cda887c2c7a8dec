//! The real server as a process that can be killed.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub const ACCESS_KEY: &str = "WEIRCRASHADMIN000001";
pub const SECRET_KEY: &str = "crash/rounds+secret+of+forty+characters0";

const READY_WITHIN: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    address: Option<SocketAddr>,
    lines: mpsc::Receiver<String>,
}

impl Server {
    /// Starts it and does not wait. Its log goes to a file beside the data.
    pub fn spawn(binary: &Path, data: &Path) -> Result<Self> {
        Self::spawn_as(Command::new(binary), data, &log_path(data))
    }

    /// The same with a command that somebody else began: its settings, and what it is started through.
    pub fn spawn_as(mut command: Command, data: &Path, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("WEIR_ADMIN_ACCESS_KEY", ACCESS_KEY)
            .env("WEIR_ADMIN_SECRET_KEY", SECRET_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        let stdout = child.stdout.take().context("standard output was asked for")?;
        // Read to the end, so that the server never waits for a reader.
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Self { child, address: None, lines })
    }

    /// Where it listens; waits for the line that says so.
    pub fn address(&mut self) -> Result<SocketAddr> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let until = Instant::now() + READY_WITHIN;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(address) = parse_ready(&line) {
                        self.address = Some(address);
                        return Ok(address);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("not ready within {} s", READY_WITHIN.as_secs()),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    bail!("ended before it was ready: {}", self.child.wait()?)
                }
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM: it answers what it has begun and seals its log. Returns when the process is gone.
    pub fn stop(mut self) -> Result<()> {
        // The standard library sends no other signal than SIGKILL.
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        anyhow::ensure!(sent.success(), "kill -TERM ended: {sent}");
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the server ended: {status}");
        Ok(())
    }

    /// SIGKILL. Returns when the process is gone, so that nothing it was doing can still happen.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error on the way must not leave a server behind; one that has ended already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_path(data: &Path) -> PathBuf {
    data.with_extension("log")
}

/// The last lines of the log, for a message about a server that does not work.
pub fn log_tail(data: &Path) -> String {
    tail_of(&log_path(data))
}

pub fn tail_of(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    // What it says of itself tells more than a line for each request that it refused meanwhile.
    let lines: Vec<_> = log.lines().filter(|line| !line.contains("request failed")).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// `weir is ready: S3 at http://127.0.0.1:PORT`
fn parse_ready(line: &str) -> Option<SocketAddr> {
    let url = line.split_once("weir is ready: S3 at http://")?.1;
    url.trim().trim_end_matches('/').parse().ok()
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    std::env::var_os("WEIR_BINARY").map(PathBuf::from).context("WEIR_BINARY must name the server to kill")
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
