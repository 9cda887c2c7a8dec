//! Access keys in the file are sealed by the root key, which is not in it: a sealed row is the byte 2 and the wrapped row, in the
//! context of its key in the table.

use crate::error::{Error, Result};
use common::{Random, SecretKey};
use std::sync::Arc;

/// Where a plain row has its version.
const SEALED: u8 = 2;

#[derive(Clone)]
pub struct RowSeal {
    key: SecretKey,
    random: Arc<dyn Random>,
}

impl RowSeal {
    pub fn new(root: &SecretKey, random: Arc<dyn Random>) -> Self {
        Self { key: root.derive(&[b"weir access keys 1"]), random }
    }

    pub(crate) fn is_on(row: &[u8]) -> bool {
        row.first() == Some(&SEALED)
    }

    pub(crate) fn close(&self, id: &str, row: &[u8]) -> Vec<u8> {
        let mut sealed = vec![SEALED];
        sealed.extend(self.key.wrap(&*self.random, id.as_bytes(), row));
        sealed
    }

    pub(crate) fn open(&self, id: &str, row: &[u8]) -> Result<Vec<u8>> {
        let opened = self.key.unwrap(id.as_bytes(), row.get(1..).unwrap_or_default());
        opened.map_err(|_| Error::Store(format!("another root key has sealed the access key {id}, or it is damaged")))
    }
}
