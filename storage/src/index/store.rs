//! The ordered store behind the index: redb over the disk's door. Derived, so nothing in it is ever the only copy.
//!
//! Commits are not durable one by one; `keeper.rs` makes a durable checkpoint now and then, which says up to where in the
//! log it is complete. Pages are verified as they are read (`pages.rs`), and each value carries a CRC32C of its own. A panic
//! inside counts as damage: the index is rebuilt (engine rules A8 and B13).

mod writer;

pub use writer::Writer;

use super::pages::Pages;
use super::rows::{Location, Row, RowKey, Table};
use super::warmth::Warmth;
use crate::disk::{Disk, is_out_of_space};
use crate::files::ViewChange;
use crate::format::name::SegmentNumber;
use crate::format::record::BucketRecord;
use crate::limits::INDEX_CACHE_BYTES;
use crate::reserve::Reserve;
use crate::{Error, Result};
use common::checksum::crc32c;
use common::{BucketId, Stamp, UploadId, VersionId};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
const OBJECTS: Definition = TableDefinition::new("objects");
const VERSIONS: Definition = TableDefinition::new("versions");
const TOMBSTONES: Definition = TableDefinition::new("tombstones");
const UPLOADS: Definition = TableDefinition::new("uploads");
const UPLOAD_ENDS: Definition = TableDefinition::new("upload-ends");
const UPLOAD_DEAD: Definition = TableDefinition::new("upload-dead");
const PARTS: Definition = TableDefinition::new("parts");
const BUCKETS: Definition = TableDefinition::new("buckets");
const SEGMENTS: Definition = TableDefinition::new("segments");
const SLOTS: Definition = TableDefinition::new("slots");
const META: Definition = TableDefinition::new("meta");
/// Those whose values are rows.
const ROW_TABLES: [(&str, Definition); 6] = [
    ("objects", OBJECTS),
    ("versions", VERSIONS),
    ("tombstones", TOMBSTONES),
    ("uploads", UPLOADS),
    ("upload-ends", UPLOAD_ENDS),
    ("parts", PARTS),
];
const CHECKPOINT: &[u8] = b"checkpoint";
/// Of the rows. One that was written in another form is built anew.
const FORM: &[u8] = b"form";
const FORM_NOW: u32 = 3;
/// How many slots there are.
const SLOTS_COUNT: usize = 1 << 16;
/// Rows that are put behind a table in one go.
const APPEND_ROWS: usize = 4096;

/// Up to where the log is contained: everything before this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct Checkpoint {
    pub segment: SegmentNumber,
    pub offset: u32,
    /// The greatest stamp in it.
    pub stamp: Stamp,
}

/// A row with the number of dead records of its version that are still in segments (engine rule A9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct StoredRow {
    pub row: Row,
    pub dead: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct SegmentUsage {
    pub live_bytes: u64,
    pub live_records: u64,
}

/// What two holders of a slot compare (engine rule A16).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct SlotDigest {
    pub objects: u64,
    pub bytes: u64,
    pub xor: u64,
    pub greatest: Stamp,
}

/// The placement slot of an object's key: the top 16 bits of XXH3-64 over bucket id and key.
fn slot_of(key: &RowKey) -> Option<u16> {
    let hash = match key.in_table() {
        // Without a NUL the key stands there as it is.
        [bucket_and_key @ .., 0, 0] if bucket_and_key.len() >= 8 && !bucket_and_key[8..].contains(&0) => {
            xxh3_64(bucket_and_key)
        }
        _ => {
            let (bucket, key) = key.object_key()?;
            xxh3_64(&[&bucket.0.to_be_bytes()[..], key.as_bytes()].concat())
        }
    };
    Some((hash >> 48) as u16)
}

pub(crate) fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = postcard::to_allocvec(value).expect("rows of plain data always encode");
    bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
    bytes
}

pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let broken = || Error::IndexBroken("a value does not match its checksum".into());
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(broken)?;
    if crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(broken());
    }
    postcard::from_bytes(body).map_err(|_| broken())
}

/// What redb says, told apart by what helps: space, opening it again (it refuses everything after one failed write), or a
/// rebuild.
fn broken(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) if is_out_of_space(&error) => Error::OutOfSpace,
        redb::Error::PreviousIo => Error::IndexRebuilding,
        error => Error::IndexBroken(error.to_string()),
    }
}

/// Runs what touches redb; a panic in there is damage of the index, not of the process.
fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(Error::IndexBroken("redb panicked".into())))
}

/// All tables as of one moment.
pub struct Snapshot(redb::ReadTransaction);

impl Snapshot {
    /// As `Store::range`.
    pub fn range(&self, table: Table, from: &RowKey, until: &RowKey, limit: usize) -> Result<Vec<(RowKey, Row)>> {
        if from >= until {
            return Ok(Vec::new());
        }
        guarded(|| {
            let rows = self.0.open_table(live_table(table)).map_err(broken)?;
            let mut out = Vec::new();
            for item in rows.range(from.in_table()..until.in_table()).map_err(broken)?.take(limit) {
                let (key, value) = item.map_err(broken)?;
                out.push((RowKey::from_table(table, key.value()), unpack::<StoredRow>(value.value())?.row));
            }
            Ok(out)
        })
    }
}

/// What a change of a version did.
pub struct Applied {
    /// The live row of the same version before.
    pub replaced: Option<Row>,
    pub view: ViewChange,
}

/// What compaction may do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Live,
    /// Needed as long as dead records of its key are left.
    Tombstone {
        dead: u32,
    },
    Dead,
}

pub struct Store {
    database: Database,
    is_shut: Arc<AtomicBool>,
    pub warmth: Arc<Warmth>,
    /// What the slots changed by since the last durable commit. They are in its state and in nobody's way until the next.
    slots: Mutex<Vec<SlotDelta>>,
}

impl Store {
    /// Opens the index, or makes an empty one if there is none.
    pub fn open(disk: &dyn Disk, reserve: &Arc<Reserve>) -> Result<Self> {
        let pages = Pages::open(disk, reserve)?;
        let (is_shut, warmth) = (pages.is_shut(), pages.warmth());
        guarded(|| {
            let database =
                redb::Builder::new().set_cache_size(INDEX_CACHE_BYTES).create_with_backend(pages).map_err(broken)?;
            let store = Self { database, is_shut, warmth, slots: Mutex::new(vec![SlotDelta::default(); SLOTS_COUNT]) };
            store.write(false, |writer| {
                for definition in [
                    OBJECTS,
                    VERSIONS,
                    TOMBSTONES,
                    UPLOADS,
                    UPLOAD_ENDS,
                    UPLOAD_DEAD,
                    PARTS,
                    BUCKETS,
                    SEGMENTS,
                    SLOTS,
                    META,
                ] {
                    writer.table(definition)?;
                }
                match (writer.get::<u32>(META, FORM)?, writer.get::<Checkpoint>(META, CHECKPOINT)?) {
                    (Some(FORM_NOW), _) => Ok(()),
                    (None, None) => writer.put(META, FORM, &FORM_NOW),
                    _ => Err(Error::IndexBroken("its rows have the form of another release".into())),
                }
            })?;
            Ok(store)
        })
    }

    /// Another one takes its place, perhaps on the same file. Readers may end with this one, but nothing of it is written any
    /// more, not even when the last of them lets it go.
    pub fn shut(&self) {
        self.is_shut.store(true, Ordering::Release);
    }

    fn read<T>(&self, run: impl FnOnce(&redb::ReadTransaction) -> Result<T>) -> Result<T> {
        guarded(|| run(&self.database.begin_read().map_err(broken)?))
    }

    /// The live row of a key.
    pub fn lookup(&self, key: &RowKey) -> Result<Option<Row>> {
        self.read(|transaction| {
            let table = transaction.open_table(live_table(key.table())).map_err(broken)?;
            let value = table.get(key.in_table()).map_err(broken)?;
            value.map(|value| Ok(unpack::<StoredRow>(value.value())?.row)).transpose()
        })
    }

    /// At most `limit` live rows of one table in `from..until`.
    pub fn range(&self, table: Table, from: &RowKey, until: &RowKey, limit: usize) -> Result<Vec<(RowKey, Row)>> {
        self.snapshot()?.range(table, from, until, limit)
    }

    /// The store as it is now, whatever is written meanwhile.
    pub fn snapshot(&self) -> Result<Snapshot> {
        guarded(|| Ok(Snapshot(self.database.begin_read().map_err(broken)?)))
    }

    pub fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        self.read(|transaction| {
            let meta = transaction.open_table(META).map_err(broken)?;
            meta.get(CHECKPOINT).map_err(broken)?.map(|value| unpack(value.value())).transpose()
        })
    }

    pub fn buckets(&self) -> Result<Vec<(BucketId, Stamp, BucketRecord)>> {
        self.read(|transaction| {
            let table = transaction.open_table(BUCKETS).map_err(broken)?;
            let mut buckets = Vec::new();
            for item in table.iter().map_err(broken)? {
                let (key, value) = item.map_err(broken)?;
                let id = key.value().try_into().map_err(|_| Error::IndexBroken("a bucket's key".into()))?;
                let (stamp, record) = unpack(value.value())?;
                buckets.push((BucketId(u64::from_be_bytes(id)), stamp, record));
            }
            Ok(buckets)
        })
    }

    /// Live bytes and records of every segment that has any.
    pub fn segments(&self) -> Result<HashMap<(SegmentNumber, u16), SegmentUsage>> {
        self.read(|transaction| {
            let table = transaction.open_table(SEGMENTS).map_err(broken)?;
            let mut usage = HashMap::new();
            for item in table.iter().map_err(broken)? {
                let (key, value) = item.map_err(broken)?;
                let [a, b, c, d, e, f] = *key.value() else { return Err(Error::IndexBroken("a segment's key".into())) };
                let segment = SegmentNumber(u32::from_be_bytes([a, b, c, d]));
                usage.insert((segment, u16::from_be_bytes([e, f])), unpack(value.value())?);
            }
            Ok(usage)
        })
    }

    /// For each record of the log: whether the index names this address, and how many dead records stand behind it.
    pub fn liveness(&self, records: &[(RowKey, Location)]) -> Result<Vec<Liveness>> {
        self.read(|transaction| {
            let open = |definition| transaction.open_table(definition).map_err(broken);
            let (objects, versions, tombstones) = (open(OBJECTS)?, open(VERSIONS)?, open(TOMBSTONES)?);
            let (uploads, ends, parts) = (open(UPLOADS)?, open(UPLOAD_ENDS)?, open(PARTS)?);
            let mut out = vec![Liveness::Dead; records.len()];
            // In the order of the keys: neighbours share their pages.
            let mut order: Vec<usize> = (0..records.len()).collect();
            order.sort_unstable_by(|a, b| records[*a].0.cmp(&records[*b].0));
            for at in order {
                let (key, location) = &records[at];
                let name = key.in_table();
                let row = |table: &redb::ReadOnlyTable<&'static [u8], &'static [u8]>, name: &[u8]| {
                    let found = table.get(name).map_err(broken)?;
                    found.map(|value| unpack::<StoredRow>(value.value())).transpose()
                };
                let or = |found: Option<StoredRow>, table, name: &[u8]| match found {
                    None => row(table, name),
                    found => Ok(found),
                };
                let stored = match key.table() {
                    Table::Objects | Table::Versions => {
                        let places = PlacesOf::new(key)?;
                        let current = row(&objects, places.object.in_table())?.filter(|stored| places.is(stored));
                        or(or(current, &versions, places.slot.in_table())?, &tombstones, name)?
                    }
                    Table::Uploads => {
                        let end = key.upload_id().map(upload_bytes).unwrap_or_default();
                        or(row(&uploads, name)?, &ends, &end)?
                    }
                    Table::Parts => row(&parts, name)?,
                };
                out[at] = match stored {
                    Some(stored) if stored.row.location == *location && stored.row.is_live() => Liveness::Live,
                    Some(stored) if stored.row.location == *location => Liveness::Tombstone { dead: stored.dead },
                    _ => Liveness::Dead,
                };
            }
            Ok(out)
        })
    }

    /// All rows with their counts, tombstones too, for tests that compare two indexes.
    pub fn dump(&self) -> Result<Vec<(String, Vec<u8>, StoredRow)>> {
        self.read(|transaction| {
            let mut all = Vec::new();
            for (name, definition) in ROW_TABLES {
                let table = transaction.open_table(definition).map_err(broken)?;
                for item in table.iter().map_err(broken)? {
                    let (key, value) = item.map_err(broken)?;
                    all.push((name.to_owned(), key.value().to_vec(), unpack(value.value())?));
                }
            }
            Ok(all)
        })
    }

    /// Every slot that ever held something.
    pub fn slots(&self) -> Result<Vec<(u16, SlotDigest)>> {
        let pending = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read(|transaction| {
            let table = transaction.open_table(SLOTS).map_err(broken)?;
            let mut all: BTreeMap<u16, SlotDigest> = BTreeMap::new();
            for item in table.iter().map_err(broken)? {
                let (key, value) = item.map_err(broken)?;
                let [group] = *key.value() else { return Err(Error::IndexBroken("a slot's key".into())) };
                let digests: Vec<SlotDigest> = unpack(value.value())?;
                all.extend((u16::from(group) << 8..=u16::MAX).zip(digests));
            }
            Ok(all)
        })?;
        for (slot, delta) in (0..=u16::MAX).zip(pending.iter()).filter(|(_, delta)| **delta != SlotDelta::default()) {
            delta.apply(all.entry(slot).or_default());
        }
        Ok(all.into_iter().filter(|(_, digest)| *digest != SlotDigest::default()).collect())
    }

    /// One transaction; `durable` ones are the checkpoints.
    pub fn write<T>(&self, durable: bool, run: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        guarded(|| {
            let mut transaction = self.database.begin_write().map_err(broken)?;
            let durability = if durable { Durability::Immediate } else { Durability::None };
            transaction.set_durability(durability).map_err(|error| Error::IndexBroken(error.to_string()))?;
            transaction.set_quick_repair(durable);
            let mut writer = Writer {
                transaction: &transaction,
                open: Vec::new(),
                usage: HashMap::new(),
                slots: Vec::new(),
                scratch: Vec::new(),
            };
            let out = run(&mut writer)?;
            writer.flush_usage()?;
            let mut pending = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = std::mem::take(&mut writer.slots);
            let durable_slots = durable.then(|| {
                let mut slots = pending.clone();
                changed.iter().for_each(|(slot, delta)| slots[usize::from(*slot)].add(delta));
                slots
            });
            if let Some(slots) = &durable_slots {
                writer.flush_slots(slots)?;
            }
            drop(writer);
            transaction.commit().map_err(broken)?;
            match durable_slots {
                Some(_) => pending.fill(SlotDelta::default()),
                None => changed.iter().for_each(|(slot, delta)| pending[usize::from(*slot)].add(delta)),
            }
            Ok(out)
        })
    }
}

/// What a slot's digest has to be changed by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct SlotDelta {
    objects: i64,
    bytes: i64,
    xor: u64,
    greatest: Stamp,
}

impl SlotDelta {
    fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.xor ^= other.xor;
        self.greatest = self.greatest.max(other.greatest);
    }

    fn apply(&self, digest: &mut SlotDigest) {
        digest.objects = digest.objects.saturating_add_signed(self.objects);
        digest.bytes = digest.bytes.saturating_add_signed(self.bytes);
        digest.xor ^= self.xor;
        digest.greatest = digest.greatest.max(self.greatest);
    }
}

/// Where the row of a version may stand, by its identity.
struct PlacesOf {
    /// The key's row: if it is the current one.
    object: RowKey,
    /// If it is not.
    slot: RowKey,
    /// `None` of the null version.
    since: Option<Stamp>,
}

impl PlacesOf {
    fn new(identity: &RowKey) -> Result<Self> {
        if identity.table() == Table::Objects {
            let slot = identity.version_of(VersionId::Null);
            return Ok(Self { object: identity.clone(), slot, since: None });
        }
        let (object, since) = identity.of_version().ok_or_else(|| Error::IndexBroken("a version's key".into()))?;
        Ok(Self { object, slot: identity.clone(), since })
    }

    fn is(&self, stored: &StoredRow) -> bool {
        match stored.row.version() {
            VersionId::Null => self.since.is_none(),
            VersionId::Id(stamp, _) => self.since == Some(stamp),
        }
    }
}

fn live_table(table: Table) -> Definition {
    match table {
        Table::Objects => OBJECTS,
        Table::Versions => VERSIONS,
        Table::Uploads => UPLOADS,
        Table::Parts => PARTS,
    }
}

fn upload_bytes(upload: UploadId) -> [u8; 16] {
    (u128::from(upload.0.0) << 64 | u128::from(upload.1)).to_be_bytes()
}
