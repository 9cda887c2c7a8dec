//! The servers that a run compares, each started by it on fresh data.

pub mod nginx;
pub mod seaweedfs;
pub mod weir;

use crate::exchange;
use crate::limits;
use crate::process::Process;
use crate::signer::Signer;
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    Weir,
    Nginx,
    Seaweedfs,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Weir => "weir",
            Self::Nginx => "nginx",
            Self::Seaweedfs => "seaweedfs",
        })
    }
}

/// Where the programs are; a peer without one is left out.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// The release binary of Weir
    #[arg(long)]
    pub weir: PathBuf,
    #[arg(long)]
    pub nginx: Option<PathBuf>,
    /// The program `weed`
    #[arg(long)]
    pub seaweedfs: Option<PathBuf>,
    /// Worker processes of nginx
    #[arg(long, default_value_t = 1)]
    pub nginx_workers: u32,
}

impl Programs {
    pub fn has(&self, peer: Peer) -> bool {
        match peer {
            Peer::Weir => self.weir.exists(),
            Peer::Nginx => self.nginx.as_ref().is_some_and(|path| path.exists()),
            Peer::Seaweedfs => self.seaweedfs.as_ref().is_some_and(|path| path.exists()),
        }
    }

    /// Starts it below `directory`, which must not exist, and waits until it answers.
    pub fn start(&self, peer: Peer, directory: &Path) -> Result<Server> {
        std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        let started = match peer {
            Peer::Weir => weir::start(&self.weir, directory),
            Peer::Nginx => nginx::start(self.nginx.as_deref().context("no nginx")?, self.nginx_workers, directory),
            Peer::Seaweedfs => seaweedfs::start(self.seaweedfs.as_deref().context("no weed")?, directory),
        };
        started.with_context(|| format!("starting {peer}"))
    }
}

/// A running server. Its data are removed with it.
pub struct Server {
    pub peer: Peer,
    pub address: SocketAddr,
    pub process: Process,
    pub directory: PathBuf,
    /// nginx serves files of this folder.
    pub files: Option<PathBuf>,
    keep: bool,
}

pub const ACCESS_KEY: &str = "WEIRBENCHADMIN000001";
pub const SECRET_KEY: &str = "bench/rounds+secret+of+forty+characters0";

impl Server {
    fn new(peer: Peer, address: SocketAddr, process: Process, directory: &Path) -> Self {
        Self { peer, address, process, directory: directory.to_owned(), files: None, keep: false }
    }

    pub fn signer(&self) -> Signer {
        let host = self.address.to_string();
        match self.peer {
            Peer::Nginx => Signer::none(&host),
            Peer::Weir | Peer::Seaweedfs => Signer::aws(&host, ACCESS_KEY, SECRET_KEY, now_ms()),
        }
    }

    /// Ends it in some way and leaves its data, for another start on them.
    pub fn leave(mut self, end: impl FnOnce(&mut Process) -> Result<()>) -> Result<PathBuf> {
        self.keep = true;
        end(&mut self.process)?;
        Ok(self.directory.clone())
    }

    pub fn create_bucket(&self, bucket: &str) -> Result<()> {
        if let Some(files) = &self.files {
            return Ok(std::fs::create_dir_all(files.join(bucket))?);
        }
        let head = self.signer().new_head("PUT", &format!("/{bucket}"), "", Some(0));
        let answer = exchange::exchange(self.address, &head, &[])?;
        ensure!(answer.status == 200, "creating the bucket {bucket}: {answer}");
        Ok(())
    }

    /// From here on the bucket encrypts what is put.
    pub fn encrypt_bucket(&self, bucket: &str) -> Result<()> {
        let document = "<ServerSideEncryptionConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule>\
                        <ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
                        </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
        let length = Some(document.len() as u64);
        let head = self.signer().new_head("PUT", &format!("/{bucket}"), "encryption=", length);
        let answer = exchange::exchange(self.address, &head, document.as_bytes())?;
        ensure!(answer.status == 200, "encrypting the bucket {bucket}: {answer}");
        Ok(())
    }

    /// A policy of so many statements, none of which applies: each is compared to its end, where the address is another one.
    pub fn guard_bucket(&self, bucket: &str, statements: u32) -> Result<()> {
        let statement = |number: u32| {
            format!(
                "{{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::{bucket}/*\",\
                 \"Condition\":{{\"IpAddress\":{{\"aws:SourceIp\":\"10.{number}.0.0/16\"}}}}}}"
            )
        };
        let all: Vec<String> = (0..statements).map(statement).collect();
        let policy = format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{}]}}", all.join(","));
        let head = self.signer().new_head("PUT", &format!("/{bucket}"), "policy=", Some(policy.len() as u64));
        let answer = exchange::exchange(self.address, &head, policy.as_bytes())?;
        ensure!(answer.status == 204 || answer.status == 200, "the policy of the bucket {bucket}: {answer}");
        Ok(())
    }

    /// Waits until a request gets an answer that `is_ready` takes.
    fn wait(&mut self, head: &[u8], is_ready: impl Fn(u16) -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            self.process.is_running()?;
            match exchange::exchange(self.address, head, &[]) {
                Ok(answer) if is_ready(answer.status) => return Ok(()),
                outcome if start.elapsed() > limits::READY_WITHIN => {
                    let last = outcome.map_or_else(|error| format!("{error:#}"), |answer| answer.to_string());
                    anyhow::bail!("not ready within {} s: {last}", limits::READY_WITHIN.as_secs());
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The folder can only go when nobody writes into it any more.
        if !self.keep {
            let _ = match self.peer {
                // It takes half a minute to end when asked to, and what it would save is thrown away.
                Peer::Seaweedfs => self.process.kill(),
                Peer::Weir | Peer::Nginx => self.process.terminate(),
            };
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// A port that nobody listens at. Somebody else may take it before its server does; then the start fails and says so.
pub fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let sockets: Vec<_> = (0..COUNT).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let mut ports = [0; COUNT];
    for (port, socket) in ports.iter_mut().zip(&sockets) {
        *port = socket.local_addr()?.port();
    }
    Ok(ports)
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
