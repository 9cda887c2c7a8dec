//! The operations on objects, one file each.

mod append;
mod copy;
mod delete;
mod get;
mod list;
mod multipart;
mod put;
mod rename;
mod update;

pub use get::ObjectReader;
pub use put::{ObjectWriter, Staged};

use crate::disk::stage::StagedFile;
use crate::format::record::{Chunk, More, ObjectRecord, PartChecksums, Payload, Seal, SealScheme};
use crate::format::table;
use crate::limits::{ACL_BYTES_MAX, ATTRIBUTES_BYTES_MAX, ENVELOPE_BYTES_MAX, TABLE_IN_RECORD_BYTES_MAX};
use crate::store::DiskStore;
use crate::types::{Attributes, ObjectInfo};
use crate::{Error, Result};
use common::{Checksum, Stamp};
use std::sync::Arc;

/// Whether a chunk list is short enough for its record (engine rule A11).
fn fits_record(chunks: &[Chunk]) -> bool {
    table::cost_bytes(chunks) <= TABLE_IN_RECORD_BYTES_MAX
}

/// Puts a chunk list into a payload: into the record if it is short, else into a file of its own (engine rule A11).
/// Blocking.
fn payload_of(store: &DiskStore, chunks: Vec<Chunk>) -> Result<(Payload, Option<StagedFile>)> {
    if fits_record(&chunks) {
        return Ok((Payload::Chunks(chunks), None));
    }
    let content = table::encode(&chunks);
    let staged = StagedFile::whole(Arc::clone(&store.disk), store.new_file_id(), &content);
    let (staged, table) = staged.map_err(staging_failed)?;
    sync_staged(store, &staged)?;
    Ok((Payload::Table { table, chunks: chunks.len() as u32 }, Some(staged)))
}

/// A write to staging that failed: the body is refused, the disk goes on (engine rule A18).
fn staging_failed(error: std::io::Error) -> Error {
    if crate::disk::is_out_of_space(&error) {
        return Error::OutOfSpace;
    }
    Error::Io { what: "staging".into(), source: error }
}

/// A sync of a staged file that failed: the disk has failed, whatever the error says (A19).
fn sync_failed(store: &DiskStore, error: std::io::Error) -> Error {
    let reason = format!("sync of a staged file: {error}");
    store.health.fail(&reason);
    Error::DiskFailed(reason)
}

/// Makes a staged file durable.
fn sync_staged(store: &DiskStore, staged: &StagedFile) -> Result<()> {
    staged.sync().map_err(|error| sync_failed(store, error))
}

fn check_attributes(attributes: &Attributes) -> Result<()> {
    let pairs = attributes.headers.iter().chain(&attributes.user).chain(&attributes.tags);
    let bytes: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    if bytes > ATTRIBUTES_BYTES_MAX {
        return Err(Error::TooLarge { limit_bytes: ATTRIBUTES_BYTES_MAX as u64 });
    }
    let acl = attributes.acl.as_ref();
    let acl_bytes = acl.map_or(0, |acl| acl.list.len() + acl.owner.as_ref().map_or(0, String::len));
    if acl_bytes > ACL_BYTES_MAX {
        return Err(Error::TooLarge { limit_bytes: ACL_BYTES_MAX as u64 });
    }
    Ok(())
}

/// What a record says about the encryption of its bytes.
fn seal_of(envelope: Vec<u8>) -> Seal {
    Seal { scheme: SealScheme::Blocks, envelope }
}

fn check_envelope(envelope: Option<&[u8]>) -> Result<()> {
    if envelope.is_some_and(|envelope| envelope.len() > ENVELOPE_BYTES_MAX) {
        return Err(Error::TooLarge { limit_bytes: ENVELOPE_BYTES_MAX as u64 });
    }
    Ok(())
}

fn info_of(stamp: Stamp, object: &ObjectRecord, part_sizes: Vec<u64>) -> ObjectInfo {
    ObjectInfo {
        stamp,
        version: object.version,
        size: object.size,
        etag: object.etag,
        modified_ms: object.modified_ms,
        attributes: Attributes {
            headers: object.headers.clone(),
            user: object.user.clone(),
            tags: object.more.tags.clone(),
            lock: object.more.lock,
            acl: object.more.acl.clone(),
        },
        checksums: object.checksums.clone(),
        composite: composite_of(object),
        part_sizes,
        part_checksums: object.parts.as_ref().map(each_part).unwrap_or_default(),
        envelope: envelope_of(&object.more),
    }
}

fn envelope_of(more: &More) -> Option<Vec<u8>> {
    more.seal.as_ref().map(|seal| seal.envelope.clone())
}

/// The checksum over the parts' checksums, if that stands for the object.
fn composite_of(object: &ObjectRecord) -> Option<Checksum> {
    let PartChecksums { algorithm, composite, .. } = object.parts.as_ref()?;
    Some(Checksum { algorithm: *algorithm, value: composite.clone()? })
}

fn each_part(parts: &PartChecksums) -> Vec<Checksum> {
    let values = parts.values.chunks_exact(parts.algorithm.length_bytes());
    values.map(|value| Checksum { algorithm: parts.algorithm, value: value.to_vec() }).collect()
}
