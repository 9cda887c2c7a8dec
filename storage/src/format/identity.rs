//! `weir-disk.json`: which disk this is and which format it has. Written once, read by people too.

use super::FORMAT_VERSION;
use serde::{Deserialize, Serialize};

pub const FILE: &str = "weir-disk.json";
pub const BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskIdentity {
    pub format: u32,
    /// 32 hexadecimal digits, random.
    pub disk: String,
    /// Holes in the log which an administrator accepted as lost (engine rule A10).
    #[serde(default)]
    pub accepted_losses: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "{FILE} has format {found}, this program knows up to {FORMAT_VERSION}: use a newer weir, nothing was changed"
    )]
    Newer { found: u64 },
    #[error("{FILE} is damaged: {0}; restore it from a copy, its content is the format version and the disk's id")]
    Damaged(String),
}

impl DiskIdentity {
    pub fn new(id: [u8; 16]) -> Self {
        Self { format: FORMAT_VERSION, disk: format!("{:032x}", u128::from_be_bytes(id)), accepted_losses: Vec::new() }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain data always encodes");
        text.push(b'\n');
        text
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let damaged = |error: serde_json::Error| IdentityError::Damaged(error.to_string());
        // The version is looked at alone first: a newer format may have any other fields.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        let found = value.get("format").and_then(serde_json::Value::as_u64);
        match found.ok_or_else(|| IdentityError::Damaged("it names no format".into()))? {
            found if found > u64::from(FORMAT_VERSION) => Err(IdentityError::Newer { found }),
            _ => {
                let identity: Self = serde_json::from_value(value).map_err(damaged)?;
                identity.id().ok_or_else(|| IdentityError::Damaged("its disk id is none".into()))?;
                Ok(identity)
            }
        }
    }

    pub fn id(&self) -> Option<[u8; 16]> {
        (self.disk.len() == 32).then(|| u128::from_str_radix(&self.disk, 16).ok()).flatten().map(u128::to_be_bytes)
    }
}
