//! A backup of the control store, for administrators: sealed by the root key, which is not in it.

use crate::admin::problem::Problem;
use crate::admin::{AdminParts, Answer};
use crate::backup::Backup;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::json;

pub(super) async fn create(parts: &AdminParts) -> Result<Answer, Problem> {
    let snapshot = parts.control.snapshot().await?;
    let backup = Backup::seal(&snapshot, parts.named_keys.root(), parts.clock.now_ms(), &*parts.random);
    Ok(Answer::json(StatusCode::OK, json!({ "backup": STANDARD.encode(backup.encode()) })))
}
