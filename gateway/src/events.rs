//! What happened to objects, as S3 tells it: names of events, who wants which, and the records that are sent. The feed itself
//! is storage's (`storage/src/feed.rs`). `s3/listen_events.rs` streams it to clients that ask, `webhook.rs` sends it to
//! configured receivers.

pub mod cursor;
pub mod filter;
pub mod record;
pub mod rules;
pub mod webhook;

pub use filter::{Filter, Pattern};
