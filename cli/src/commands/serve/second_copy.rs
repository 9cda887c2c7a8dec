//! The second copy of the control store, in the root of every disk: made anew soon after each change.

use cluster::ControlPlane;
use common::{Clock, Random, SecretKey};
use gateway::backup::Backup;
use std::sync::Arc;
use std::time::Duration;
use storage::{CONTROL_COPY, Target};
use tokio::sync::Mutex;

/// Changes that come in a burst are copied once.
const SETTLE_MS: u64 = 500;
/// And a copy that takes long is not made all the time: at most this part of it.
const PAUSES_PER_COPY: u64 = 10;
const RETRY_MS: u64 = 30_000;

pub struct SecondCopy {
    pub control: Arc<dyn ControlPlane>,
    pub target: Arc<Target>,
    pub root: SecretKey,
    /// Whether the root key is kept in the data directory. Then it would be lost with the control store, and is copied too.
    pub with_root: bool,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// The state's version in the last copy.
    pub copied: Mutex<u64>,
}

impl SecondCopy {
    pub async fn keep(self: Arc<Self>) {
        loop {
            let copied = *self.copied.lock().await;
            if self.control.watch(copied).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
            let began_ms = self.clock.now_ms();
            let pause_ms = match self.copy().await {
                true => self.clock.now_ms().saturating_sub(began_ms) * PAUSES_PER_COPY,
                false => RETRY_MS,
            };
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// Copies what has changed since the last copy. False when that failed, which is said in the log.
    pub async fn copy(&self) -> bool {
        let mut copied = self.copied.lock().await;
        let version = self.control.current().version;
        if version == *copied {
            return true;
        }
        let result = match self.control.snapshot().await {
            Ok(snapshot) => {
                let backup = Backup::seal(&snapshot, &self.root, self.clock.now_ms(), &*self.random);
                let backup = backup.with_root(self.with_root.then(|| self.root.clone()));
                self.target.put_document(CONTROL_COPY, backup.encode()).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &result {
            tracing::warn!(error, "the second copy of the control store was not made");
        } else {
            *copied = version;
        }
        result.is_ok()
    }
}
