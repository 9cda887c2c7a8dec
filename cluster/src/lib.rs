//! The control plane: buckets and their configuration, owners and access keys, terms. Object metadata never goes
//! through it. One node has the embedded form (`embedded.rs`); a Raft group comes behind the same trait.

#![forbid(unsafe_code)]

mod apply;
mod command;
mod embedded;
mod error;
pub mod iam;
pub mod limits;
mod row;
mod seal;
mod snapshot;
mod state;

pub use apply::apply;
pub use command::{Applied, Command, Holder, IamChange, Tagged};
pub use embedded::EmbeddedControlPlane;
pub use error::{Error, Result};
pub use seal::RowSeal;
pub use state::{AccessKey, Bucket, BucketState, KmsKey, Limit, Owner, State};

use std::sync::Arc;

/// A durable, versioned document that everybody reads and one log orders.
#[async_trait::async_trait]
pub trait ControlPlane: Send + Sync {
    /// Decides and applies one command. When this returns `Ok`, the outcome is durable.
    async fn propose(&self, command: Command) -> Result<Applied>;

    /// The state with everything in it that was applied before this call (linearizable).
    async fn read(&self) -> Result<Arc<State>>;

    /// The state as this node last saw it, without waiting: for the path of every request.
    fn current(&self) -> Arc<State>;

    /// The whole store as bytes, for a backup: `EmbeddedControlPlane::restore` makes a store of it.
    async fn snapshot(&self) -> Result<Vec<u8>>;

    /// Waits until the state's version is greater than `version`.
    async fn watch(&self, version: u64) -> Result<Arc<State>>;
}
