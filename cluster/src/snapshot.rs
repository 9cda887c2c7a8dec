//! The whole store as bytes, for a backup, and a store out of such bytes.
//!
//! A snapshot is the byte 1 and the postcard form of `Snapshot`: counters and tables as they are in the file, rows undecoded. So a
//! table that comes later is in it too.

use crate::embedded::FORMAT;
use crate::error::{Error, Result};
use crate::row;
use crate::state::Bucket;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
const META: &str = "meta";
const BUCKETS: &str = "buckets";

/// What a store may have given out after its backup was made, bucket ids and versions of documents: a restored one begins
/// behind it, so that no bucket gets another's id and no disk takes a new word for an old one.
const GAP: u64 = 1 << 20;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    counters: Vec<(String, u64)>,
    tables: Vec<(String, Rows)>,
}

type Rows = Vec<(String, Vec<u8>)>;

impl Snapshot {
    pub fn of(database: &Database) -> Result<Self> {
        let transaction = database.begin_read().map_err(store)?;
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new(META);
        let mut counters = Vec::new();
        for entry in transaction.open_table(meta).map_err(store)?.iter().map_err(store)? {
            let (name, value) = entry.map_err(store)?;
            counters.push((name.value().to_owned(), value.value()));
        }
        let mut tables = Vec::new();
        for handle in transaction.list_tables().map_err(store)?.filter(|table| table.name() != META) {
            let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(handle.name());
            let mut rows = Rows::new();
            for entry in transaction.open_table(table).map_err(store)?.iter().map_err(store)? {
                let (key, value) = entry.map_err(store)?;
                rows.push((key.value().to_owned(), value.value().to_vec()));
            }
            tables.push((handle.name().to_owned(), rows));
        }
        Ok(Self { counters, tables })
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_extend(self, vec![VERSION]).map_err(store)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::Store("the snapshot of the control store is damaged".to_owned());
        match bytes.split_first() {
            Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
                Ok((snapshot, [])) => Ok(snapshot),
                _ => Err(damaged()),
            },
            Some((&found, _)) if found > VERSION => {
                Err(Error::NewerFormat { found: u32::from(found), known: u32::from(VERSION) })
            }
            _ => Err(damaged()),
        }
    }

    /// Writes the rows into an empty store.
    pub fn write(mut self, database: &Database) -> Result<()> {
        let format = self.counters.iter().find(|(name, _)| name == "format").map_or(0, |(_, value)| *value);
        if format > u64::from(FORMAT) {
            return Err(Error::NewerFormat { found: u32::try_from(format).unwrap_or(u32::MAX), known: FORMAT });
        }
        self.open_gap()?;
        let mut transaction = database.begin_write().map_err(store)?;
        transaction.set_quick_repair(true);
        {
            let meta: TableDefinition<'_, &str, u64> = TableDefinition::new(META);
            let mut meta = transaction.open_table(meta).map_err(store)?;
            for (name, value) in &self.counters {
                meta.insert(name.as_str(), value).map_err(store)?;
            }
        }
        for (name, rows) in &self.tables {
            let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(name);
            let mut table = transaction.open_table(table).map_err(store)?;
            for (key, value) in rows {
                table.insert(key.as_str(), value.as_slice()).map_err(store)?;
            }
        }
        transaction.commit().map_err(store)
    }

    fn open_gap(&mut self) -> Result<()> {
        let mut version = 0;
        for (name, value) in &mut self.counters {
            if ["version", "next_bucket"].contains(&name.as_str()) {
                *value = value.saturating_add(GAP);
            }
            if name == "version" {
                version = *value;
            }
        }
        let buckets = self.tables.iter_mut().find(|(name, _)| name == BUCKETS).into_iter().flat_map(|(_, rows)| rows);
        for (_, row) in buckets {
            *row = row::encode(&Bucket { version, ..row::decode(row)? })?;
        }
        Ok(())
    }
}

fn store(error: impl std::fmt::Display) -> Error {
    Error::Store(error.to_string())
}
