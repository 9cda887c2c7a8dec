//! What one transaction changes in the store: rows that move between the tables of their key, and the counters that follow them.

use super::{
    APPEND_ROWS, Applied, BUCKETS, CHECKPOINT, Checkpoint, Definition, META, OBJECTS, PARTS, PlacesOf, SEGMENTS, SLOTS,
    SegmentUsage, SlotDelta, SlotDigest, StoredRow, TOMBSTONES, UPLOAD_DEAD, UPLOAD_ENDS, UPLOADS, VERSIONS, broken,
    live_table, pack, slot_of, unpack, upload_bytes,
};
use crate::files::ViewChange;
use crate::format::name::{SegmentName, SegmentNumber};
use crate::format::record::BucketRecord;
use crate::index::overlay::Change;
use crate::index::rows::{Location, Row, RowKey, RowKind, Table};
use crate::{Error, Result};
use common::{BucketId, Stamp, UploadId, VersionId};
use redb::{ReadableTable, ReadableTableMetadata, TableHandle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64;

/// The changes of one transaction. Counters are gathered and written once, at its end.
pub struct Writer<'a> {
    pub(super) transaction: &'a redb::WriteTransaction,
    /// The tables that were used so far.
    pub(super) open: Vec<(Definition, OpenTable<'a>)>,
    pub(super) usage: HashMap<(SegmentNumber, u16), (i64, i64)>,
    pub(super) slots: Vec<(u16, SlotDelta)>,
    pub(super) scratch: Vec<u8>,
}

pub(super) type OpenTable<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;

impl<'a> Writer<'a> {
    pub(super) fn table(&mut self, definition: Definition) -> Result<&mut OpenTable<'a>> {
        let at = match self.open.iter().position(|(known, _)| known.name() == definition.name()) {
            Some(at) => at,
            None => {
                self.open.push((definition, self.transaction.open_table(definition).map_err(broken)?));
                self.open.len() - 1
            }
        };
        Ok(&mut self.open[at].1)
    }

    pub(super) fn get<T: DeserializeOwned>(&mut self, table: Definition, key: &[u8]) -> Result<Option<T>> {
        let value = self.table(table)?.get(key).map_err(broken)?;
        value.map(|value| unpack(value.value())).transpose()
    }

    pub(super) fn put<T: Serialize>(&mut self, table: Definition, key: &[u8], value: &T) -> Result<()> {
        self.table(table)?.insert(key, pack(value).as_slice()).map_err(broken)?;
        Ok(())
    }

    fn delete(&mut self, table: Definition, key: &[u8]) -> Result<()> {
        self.table(table)?.remove(key).map_err(broken)?;
        Ok(())
    }

    pub fn lookup(&mut self, key: &RowKey) -> Result<Option<Row>> {
        Ok(self.get::<StoredRow>(live_table(key.table()), key.in_table())?.map(|stored| stored.row))
    }

    fn count(&mut self, location: Location, sign: i64) {
        let usage = self.usage.entry((location.segment, location.generation)).or_default();
        usage.0 += sign * i64::from(location.length);
        usage.1 += sign;
    }

    /// Applies what one record changed. A record that is not newer than what is there changes nothing, counters included:
    /// replay is idempotent (engine rule A3).
    pub fn apply(&mut self, change: &Change) -> Result<()> {
        match change.row.kind {
            RowKind::Inline(_) | RowKind::Large(_) | RowKind::DeleteMarker { .. } | RowKind::Tombstone(_) => {
                self.apply_objects(std::slice::from_ref(change), |_, _| {})
            }
            RowKind::Upload { .. } | RowKind::UploadEnd => self.apply_upload(&change.key, &change.row),
            RowKind::Part(_) => self.apply_part(&change.key, &change.row),
        }
    }

    /// Applies what many records changed, given in their order: as `apply` one after the other, but in the order of the
    /// keys, and a key once.
    pub fn apply_all(&mut self, changes: &[Change]) -> Result<()> {
        self.apply_objects(changes, |_, _| {})?;
        // Uploads and parts have tables of their own.
        changes.iter().filter(|change| change.key.table() != Table::Objects).try_for_each(|change| self.apply(change))
    }

    /// The changes of objects among these. Tells of each that was new, by its place, and the live row of the same version
    /// that it replaced, and what it means for the view of files.
    pub fn apply_objects(&mut self, changes: &[Change], mut applied: impl FnMut(usize, Applied)) -> Result<()> {
        let order = in_order(changes);
        let Some(&first) = order.first() else { return Ok(()) };
        // Behind all that is there nothing has to be looked for.
        let last = self.table(OBJECTS)?.last().map_err(broken)?;
        let are_behind = last.is_none_or(|(last, _)| last.value() < changes[first].key.in_table());
        let no_tombstones = self.table(TOMBSTONES)?.is_empty().map_err(broken)?;
        let no_versions = self.table(VERSIONS)?.is_empty().map_err(broken)?;
        let mut behind: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for of_key in order.chunk_by(|a, b| changes[*a].key == changes[*b].key) {
            let key = &changes[of_key[0]].key;
            let name = key.in_table();
            let live: Option<StoredRow> = if are_behind { None } else { self.get(OBJECTS, name)? };
            // Most keys have the null version and no other.
            let is_null = |row: &Row| row.version() == VersionId::Null;
            let ends = of_key.iter().any(|at| !changes[*at].row.is_live());
            let is_plain = live.as_ref().is_none_or(|live| is_null(&live.row))
                && of_key.iter().all(|at| is_null(&changes[*at].row))
                && (no_versions || !ends);
            if !is_plain {
                self.append(OBJECTS, &behind)?;
                behind.clear();
                for &at in of_key {
                    if let Some(done) = self.apply_version(&changes[at])? {
                        applied(at, done);
                    }
                }
                continue;
            }
            let dead = if live.is_some() || no_tombstones { None } else { self.get(TOMBSTONES, name)? };
            let (was_live, was_dead) = (live.is_some(), dead.is_some());
            let mut current: Option<StoredRow> = live.or(dead);
            let mut changed = false;
            for &at in of_key {
                let row = &changes[at].row;
                if current.as_ref().is_some_and(|current| current.row.stamp >= row.stamp) {
                    continue;
                }
                let replaced = current.as_ref().map(|current| &current.row).filter(|row| row.is_live());
                let replaced_row = replaced.cloned();
                let view = ViewChange { hide: replaced_row.clone(), show: row.is_live(), relink: None };
                applied(at, Applied { replaced: replaced_row, view });
                self.count_slot(key, replaced, row);
                if let Some(current) = &current {
                    self.count(current.row.location, -1);
                }
                self.count(row.location, 1);
                current = Some(StoredRow { row: row.clone(), dead: current.map_or(0, |current| current.dead + 1) });
                changed = true;
            }
            let Some(current) = current.filter(|_| changed) else { continue };
            let is_live = current.row.is_live();
            let (into, out_of) = if is_live { (OBJECTS, TOMBSTONES) } else { (TOMBSTONES, OBJECTS) };
            if is_live && are_behind {
                behind.push((name, pack(&current)));
            } else {
                self.put(into, name, &current)?;
            }
            if if is_live { was_dead } else { was_live } {
                self.delete(out_of, name)?;
            }
            if behind.len() == APPEND_ROWS {
                self.append(OBJECTS, &behind)?;
                behind.clear();
            }
        }
        self.append(OBJECTS, &behind)
    }

    /// One change of a key that has, or gets, versions: `commit/changes.rs` says the same of the rows alone.
    fn apply_version(&mut self, Change { key: object, row }: &Change) -> Result<Option<Applied>> {
        let (name, version) = (object.in_table(), row.version());
        let (slot, identity) = (object.version_of(version), object.identity_of(version));
        let current: Option<StoredRow> = self.get(OBJECTS, name)?;
        let is_current = current.as_ref().is_some_and(|current| current.row.version() == version);
        let live = if is_current { current.clone() } else { self.get(VERSIONS, slot.in_table())? };
        let dead = if live.is_some() { None } else { self.get::<StoredRow>(TOMBSTONES, identity.in_table())? };
        let (was_live, was_dead) = (live.is_some(), dead.is_some());
        let before = live.or(dead);
        if before.as_ref().is_some_and(|before| before.row.stamp >= row.stamp) {
            return Ok(None);
        }
        let replaced = before.as_ref().map(|before| &before.row).filter(|row| row.is_live()).cloned();
        self.count_slot(object, replaced.as_ref(), row);
        if let Some(before) = &before {
            self.count(before.row.location, -1);
        }
        self.count(row.location, 1);
        let stored = StoredRow { row: row.clone(), dead: before.map_or(0, |before| before.dead + 1) };
        let mut view = ViewChange::default();
        if !row.is_live() {
            self.put(TOMBSTONES, identity.in_table(), &stored)?;
            if is_current {
                let next = self.newest_version(object)?;
                match &next {
                    Some((place, next)) => {
                        self.delete(VERSIONS, place)?;
                        self.put(OBJECTS, name, next)?;
                    }
                    None => self.delete(OBJECTS, name)?,
                }
                view = ViewChange {
                    hide: current.map(|current| current.row),
                    show: false,
                    relink: next.map(|(_, next)| next.row),
                };
            } else if was_live {
                self.delete(VERSIONS, slot.in_table())?;
            }
            return Ok(Some(Applied { replaced, view }));
        }
        if was_dead {
            self.delete(TOMBSTONES, identity.in_table())?;
        }
        match current {
            Some(current) if !is_current && current.row.since() > row.since() => {
                self.put(VERSIONS, slot.in_table(), &stored)?;
            }
            current => {
                if !is_current && was_live {
                    self.delete(VERSIONS, slot.in_table())?;
                }
                if let Some(older) = current.as_ref().filter(|_| !is_current) {
                    let place = object.version_of(older.row.version());
                    self.put(VERSIONS, place.in_table(), older)?;
                }
                self.put(OBJECTS, name, &stored)?;
                view = ViewChange { hide: current.map(|current| current.row), show: true, relink: None };
            }
        }
        Ok(Some(Applied { replaced, view }))
    }

    /// The newest version of a key that is not the current one, and its place in the table.
    fn newest_version(&mut self, object: &RowKey) -> Result<Option<(Vec<u8>, StoredRow)>> {
        let null = object.version_of(VersionId::Null).in_table().to_vec();
        let null = self.get::<StoredRow>(VERSIONS, &null)?.map(|stored| (null, stored));
        let range = object.versions_with_ids();
        let newest =
            match self.table(VERSIONS)?.range(range.start.in_table()..range.end.in_table()).map_err(broken)?.next() {
                Some(item) => {
                    let (key, value) = item.map_err(broken)?;
                    Some((key.value().to_vec(), unpack::<StoredRow>(value.value())?))
                }
                None => None,
            };
        Ok([null, newest].into_iter().flatten().max_by_key(|(_, stored)| stored.row.since()))
    }

    /// Puts rows, in order, behind all of a table.
    fn append(&mut self, table: Definition, rows: &[(&[u8], Vec<u8>)]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let end = Bound::<&[u8]>::Unbounded;
        let mut cursor = self.table(table)?.upper_bound_mut(end).map_err(broken)?;
        for (key, value) in rows {
            cursor
                .insert_before(*key, value.as_slice())
                .map_err(|error| Error::IndexBroken(format!("rows in order: {error}")))?;
        }
        cursor.close().map_err(broken)
    }

    fn count_slot(&mut self, key: &RowKey, before: Option<&Row>, after: &Row) {
        let Some(slot) = slot_of(key) else { return };
        let mut delta = SlotDelta::default();
        for (row, sign) in [(before, -1), (Some(after).filter(|row| row.is_live()), 1)] {
            let Some(row) = row else { continue };
            delta.objects += sign;
            delta.bytes += sign * row.listed().map_or(0, |listed| listed.size as i64);
            self.scratch.clear();
            self.scratch.extend_from_slice(key.in_table());
            self.scratch.extend_from_slice(&row.stamp.0.to_be_bytes());
            delta.xor ^= xxh3_64(&self.scratch);
        }
        delta.greatest = after.stamp;
        self.slots.push((slot, delta));
    }

    fn apply_upload(&mut self, key: &RowKey, row: &Row) -> Result<()> {
        let Some(upload) = key.upload_id() else { return Err(Error::IndexBroken("an upload's key".into())) };
        let id = upload_bytes(upload);
        if self.get::<StoredRow>(UPLOAD_ENDS, &id)?.is_some() {
            return Ok(());
        }
        let before: Option<StoredRow> = self.get(UPLOADS, key.in_table())?;
        match row.kind {
            RowKind::UploadEnd => {
                let mut dead: u32 = self.get(UPLOAD_DEAD, &id)?.unwrap_or(0);
                for (part, stored) in self.parts(upload)? {
                    self.count(stored.row.location, -1);
                    self.delete(PARTS, part.in_table())?;
                    dead += 1;
                }
                if let Some(before) = before {
                    self.count(before.row.location, -1);
                    self.delete(UPLOADS, key.in_table())?;
                    dead += 1;
                }
                self.count(row.location, 1);
                self.delete(UPLOAD_DEAD, &id)?;
                self.put(UPLOAD_ENDS, &id, &StoredRow { row: row.clone(), dead })
            }
            _ => {
                let mut stored = StoredRow { row: row.clone(), dead: 0 };
                match before {
                    // A part changed it; where its record stands only compaction changes, and may have done so meanwhile.
                    Some(before) => stored.row.location = before.row.location,
                    None => self.count(row.location, 1),
                }
                self.put(UPLOADS, key.in_table(), &stored)
            }
        }
    }

    fn apply_part(&mut self, key: &RowKey, row: &Row) -> Result<()> {
        let Some((upload, _)) = key.part_number() else { return Err(Error::IndexBroken("a part's key".into())) };
        let id = upload_bytes(upload);
        if self.get::<StoredRow>(UPLOAD_ENDS, &id)?.is_some() {
            return Ok(());
        }
        if let Some(before) = self.get::<StoredRow>(PARTS, key.in_table())? {
            if before.row.stamp >= row.stamp {
                return Ok(());
            }
            self.count(before.row.location, -1);
            let dead: u32 = self.get(UPLOAD_DEAD, &id)?.unwrap_or(0);
            self.put(UPLOAD_DEAD, &id, &(dead + 1))?;
        }
        self.count(row.location, 1);
        self.put(PARTS, key.in_table(), &StoredRow { row: row.clone(), dead: 0 })
    }

    /// All parts of an upload.
    pub fn parts(&mut self, upload: UploadId) -> Result<Vec<(RowKey, StoredRow)>> {
        let range = RowKey::parts_of(upload);
        let table = self.table(PARTS)?;
        let mut parts = Vec::new();
        for item in table.range(range.start.in_table()..range.end.in_table()).map_err(broken)? {
            let (key, value) = item.map_err(broken)?;
            parts.push((RowKey::from_table(Table::Parts, key.value()), unpack(value.value())?));
        }
        Ok(parts)
    }

    /// The row of a version (by its identity), part or upload wherever it is: live, tombstone or ended upload.
    fn row_with_count(&mut self, key: &RowKey) -> Result<Option<(Definition, Vec<u8>, StoredRow)>> {
        let name = key.in_table().to_vec();
        if matches!(key.table(), Table::Objects | Table::Versions) {
            let places = PlacesOf::new(key)?;
            let (object, slot) = (places.object.in_table().to_vec(), places.slot.in_table().to_vec());
            if let Some(stored) = self.get::<StoredRow>(OBJECTS, &object)?.filter(|stored| places.is(stored)) {
                return Ok(Some((OBJECTS, object, stored)));
            }
            if let Some(stored) = self.get(VERSIONS, &slot)? {
                return Ok(Some((VERSIONS, slot, stored)));
            }
            return Ok(self.get(TOMBSTONES, &name)?.map(|stored| (TOMBSTONES, name, stored)));
        }
        if let Some(stored) = self.get(live_table(key.table()), &name)? {
            return Ok(Some((live_table(key.table()), name, stored)));
        }
        let (table, name) = match (key.table(), key.upload_id()) {
            (Table::Uploads, Some(upload)) => (UPLOAD_ENDS, upload_bytes(upload).to_vec()),
            _ => return Ok(None),
        };
        Ok(self.get(table, &name)?.map(|stored| (table, name, stored)))
    }

    /// Moves an entry to where compaction put its record, if it still names the old place.
    pub fn relocate(&mut self, key: &RowKey, from: Location, to: Location) -> Result<()> {
        let Some((table, name, mut stored)) = self.row_with_count(key)? else { return Ok(()) };
        if stored.row.location == from {
            stored.row.location = to;
            self.count(from, -1);
            self.count(to, 1);
            self.put(table, &name, &stored)?;
        }
        Ok(())
    }

    /// Compaction left out `count` dead records of this key (`upload` for records of uploads and parts).
    pub fn forget_dead(&mut self, key: &RowKey, upload: Option<UploadId>, count: u32) -> Result<()> {
        if let Some(upload) = upload {
            let id = upload_bytes(upload);
            if let Some(mut stored) = self.get::<StoredRow>(UPLOAD_ENDS, &id)? {
                stored.dead = stored.dead.saturating_sub(count);
                return self.put(UPLOAD_ENDS, &id, &stored);
            }
            let dead: u32 = self.get(UPLOAD_DEAD, &id)?.unwrap_or(0);
            return self.put(UPLOAD_DEAD, &id, &dead.saturating_sub(count));
        }
        if let Some((table, name, mut stored)) = self.row_with_count(key)? {
            stored.dead = stored.dead.saturating_sub(count);
            self.put(table, &name, &stored)?;
        }
        Ok(())
    }

    /// Drops a tombstone (or the end of an upload) that no dead record needs any more. Gives whether it did.
    pub fn drop_tombstone(&mut self, key: &RowKey, location: Location) -> Result<bool> {
        let Some((table, name, stored)) = self.row_with_count(key)? else { return Ok(false) };
        if stored.row.is_live() || stored.dead > 0 || stored.row.location != location {
            return Ok(false);
        }
        self.count(location, -1);
        self.delete(table, &name)?;
        Ok(true)
    }

    pub fn mark_damaged(&mut self, key: &RowKey, stamp: Stamp) -> Result<()> {
        if let Some((table, name, mut stored)) = self.row_with_count(key)?
            && stored.row.stamp == stamp
        {
            stored.row.damaged = true;
            self.put(table, &name, &stored)?;
        }
        Ok(())
    }

    pub fn put_bucket(&mut self, id: BucketId, stamp: Stamp, record: &BucketRecord) -> Result<()> {
        self.put(BUCKETS, &id.0.to_be_bytes(), &(stamp, record))
    }

    pub fn bucket(&mut self, id: BucketId) -> Result<Option<(Stamp, BucketRecord)>> {
        self.get(BUCKETS, &id.0.to_be_bytes())
    }

    pub fn remove_bucket(&mut self, id: BucketId) -> Result<()> {
        self.delete(BUCKETS, &id.0.to_be_bytes())
    }

    pub fn set_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.put(META, CHECKPOINT, &checkpoint)
    }

    pub fn set_compacted(&mut self, output: SegmentName) -> Result<()> {
        self.put(META, compacted_key(output).as_bytes(), &true)
    }

    /// Whether this compaction was applied before: a crash may leave its inputs behind.
    pub fn was_compacted(&mut self, output: SegmentName) -> Result<bool> {
        Ok(self.get::<bool>(META, compacted_key(output).as_bytes())?.is_some())
    }

    pub(super) fn flush_usage(&mut self) -> Result<()> {
        for ((segment, generation), (bytes, records)) in std::mem::take(&mut self.usage) {
            let key = [&segment.0.to_be_bytes()[..], &generation.to_be_bytes()].concat();
            let mut usage: SegmentUsage = self.get(SEGMENTS, &key)?.unwrap_or_default();
            usage.live_bytes = usage.live_bytes.saturating_add_signed(bytes);
            usage.live_records = usage.live_records.saturating_add_signed(records);
            if usage.live_records == 0 { self.delete(SEGMENTS, &key)? } else { self.put(SEGMENTS, &key, &usage)? }
        }
        Ok(())
    }

    /// 256 slots to a row: most of them change between two checkpoints.
    pub(super) fn flush_slots(&mut self, deltas: &[SlotDelta]) -> Result<()> {
        for (group, deltas) in (0..=u8::MAX).zip(deltas.chunks(256)) {
            if deltas.iter().all(|delta| *delta == SlotDelta::default()) {
                continue;
            }
            let mut digests: Vec<SlotDigest> = self.get(SLOTS, &[group])?.unwrap_or_default();
            digests.resize(256, SlotDigest::default());
            deltas.iter().zip(&mut digests).for_each(|(delta, digest)| delta.apply(digest));
            self.put(SLOTS, &[group], &digests)?;
        }
        Ok(())
    }
}

fn compacted_key(output: SegmentName) -> String {
    format!("compacted {output}")
}

/// The places of the objects among these, in the order of their keys; changes of one key stay in their order.
fn in_order(changes: &[Change]) -> Vec<usize> {
    let name = |at: usize| changes[at].key.in_table();
    let mut objects = (0..changes.len()).filter(|at| changes[*at].key.table() == Table::Objects).peekable();
    let Some(&first) = objects.peek() else { return Vec::new() };
    let shared_with_first = |at| name(first).iter().zip(name(at)).take_while(|(a, b)| a == b).count();
    let shared = objects.clone().map(shared_with_first).min().unwrap_or(0);
    // What follows behind the bytes that all have decides nearly always, and lies at hand.
    let rank = |at: usize| {
        let mut bytes = [0; 16];
        let rest = &name(at)[shared..];
        let length = rest.len().min(16);
        bytes[..length].copy_from_slice(&rest[..length]);
        u128::from_be_bytes(bytes)
    };
    let mut order: Vec<(u128, usize)> = objects.map(|at| (rank(at), at)).collect();
    order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| name(a.1).cmp(name(b.1))));
    order.into_iter().map(|(_, at)| at).collect()
}
