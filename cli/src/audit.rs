//! The sinks of the audit log: one thread for each, which takes lines out of its queue, chains them, signs now and then, and
//! writes. The format is `authn/src/audit.rs`'s.

mod file;
mod writer;

pub use self::file::read_line;

use self::file::LogFile;
use self::writer::{Sink, Writer};
use crate::config;
use crate::credentials;
use crate::error::{Error, Result};
use authn::audit::Head;
use common::{Clock, PublicKey};
use gateway::kms::NamedKeys;
use gateway::{AuditConfig, Queue};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a clean end waits for what is left.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What verifies the log, beside the control store.
pub fn public_key_path(data: &Path) -> PathBuf {
    data.join("control/audit.pub")
}

/// What the server remembers of the log's last checkpoint.
pub fn head_path(data: &Path) -> PathBuf {
    data.join("control/audit.head")
}

/// The sinks of a running server.
pub struct AuditLog {
    pub config: AuditConfig,
    ended: Vec<oneshot::Receiver<()>>,
}

/// Opens the sinks, which begin with a checkpoint each; `None` where there are none.
pub async fn start(
    settings: &config::Audit,
    data: &Path,
    named_keys: &NamedKeys,
    clock: &Arc<dyn Clock>,
) -> Result<Option<AuditLog>> {
    if settings.log.is_empty() {
        return Ok(None);
    }
    let key = named_keys.audit_key().await;
    let key = Arc::new(key.map_err(|error| Error::Failed(format!("the audit log cannot be signed: {error}")))?);
    keep_public_key(&public_key_path(data), key.public())?;
    let (mut queues, mut ended) = (Vec::new(), Vec::new());
    for log in &settings.log {
        let sink = if log.as_os_str() == "-" {
            let stdout = std::io::stdout().as_fd().try_clone_to_owned();
            Sink::Stdout(File::from(stdout.map_err(Error::io("standard output"))?))
        } else {
            let head_path = head_path(data);
            let head = read_head(&head_path)?;
            Sink::File(LogFile::open(log, head_path, head, settings)?)
        };
        let queue = Arc::new(Queue::new(usize::try_from(settings.queue_bytes_max).unwrap_or(usize::MAX)));
        let checkpoint = Duration::from_secs(settings.checkpoint_seconds);
        let writer = Writer::new(queue.clone(), sink, key.clone(), clock.clone(), checkpoint);
        let (told, end) = oneshot::channel();
        let thread = std::thread::Builder::new().name("weir-audit".to_owned()).spawn(move || {
            writer.run();
            let _ = told.send(());
        });
        thread.map_err(Error::io("the thread of the audit log"))?;
        queues.push(queue);
        ended.push(end);
    }
    let config = AuditConfig { queues, reads: settings.reads()?, is_strict: settings.strict };
    Ok(Some(AuditLog { config, ended }))
}

impl AuditLog {
    /// Writes what is left and a last checkpoint. Call it when no request is left.
    pub async fn end(self) {
        for queue in &self.config.queues {
            queue.close();
        }
        for end in self.ended {
            if tokio::time::timeout(END_TIMEOUT, end).await.is_err() {
                tracing::error!("the audit log could not be written to its end in time");
            }
        }
    }
}

fn read_head(path: &Path) -> Result<Option<Head>> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let head = Head::parse(&text);
            head.map(Some).ok_or_else(|| Error::Failed(format!("{name} is none of ours: remove it to begin a new log")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(name)(error)),
    }
}

/// The public keys in a file, one in each line.
pub fn public_keys(path: &Path) -> Result<Vec<PublicKey>> {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NotFound(format!(
                "{name} is not there: give the data directory with --data, or the server's public key with --key"
            )));
        }
        Err(error) => return Err(Error::io(name)(error)),
    };
    let keys: Option<Vec<_>> = text.lines().map(PublicKey::parse).collect();
    let keys = keys.filter(|keys| !keys.is_empty());
    keys.ok_or_else(|| Error::Failed(format!("{name}: a public key has 64 hexadecimal digits")))
}

/// The memory of a data directory, if it has one.
pub fn head(data: &Path) -> Result<Option<Head>> {
    read_head(&head_path(data))
}

/// Keeps the public key where `weir audit verify` looks for it. One that was there before has signed older lines.
fn keep_public_key(path: &Path, key: PublicKey) -> Result<()> {
    let mut keys = if path.exists() { public_keys(path)? } else { Vec::new() };
    if keys.contains(&key) {
        return Ok(());
    }
    if !keys.is_empty() {
        tracing::warn!("the audit log has a new key: its checkpoints from now on need it to be verified");
    }
    keys.push(key);
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    credentials::write_private(path, text.as_bytes())
}
