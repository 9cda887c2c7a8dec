//! The gateway: listeners, the guard before s3s, the S3 operations. It stores nothing and opens no data file; it speaks HTTP
//! to clients and typed requests to targets.
//!
//! A request's way: `listener` → `guard` → s3s (signature) → `access` (identity) → `admission` (policy) → `s3/<operation>` → `route` → storage.

mod access;
mod access_log;
mod acl;
pub mod admin;
mod admission;
mod audit;
pub mod backup;
mod concurrency;
mod directory;
mod documents;
mod encryption;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod health;
mod host;
mod iam;
pub mod kms;
mod lenient;
pub mod lifecycle;
mod limits;
mod listener;
mod metrics;
mod outbound;
mod own_line;
mod peer;
mod query_api;
mod rates;
mod route;
mod s3;
mod secret_hash;
mod server;
mod sessions;
pub mod simulation;
mod sts;
pub mod tls;
mod tree;

pub use audit::{AuditConfig, Batch, Queue, Reads};
pub use concurrency::CEILING as CONCURRENCY_MAX;
pub use error::{Answer, Error, Fault};
pub use events::webhook::Webhook;
pub use guard::SignatureV2;
pub use peer::Proxies;
pub use rates::aistore;
pub use s3::create_bucket::view as bucket_view;
pub use s3::delete_bucket::resume_bucket_deletions;
pub use server::{Addresses, Config, Parts, serve};
