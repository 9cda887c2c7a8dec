//! Tar members of the log (POSIX.1-2001 pax interchange format), as system tar reads them.
//!
//! An object with its payload is three parts, each padded to 512 bytes: a pax header with the record, a ustar header, the
//! payload. The record is the single pax record `SCHILY.xattr.user.weir`, in base64, so that GNU tar is silent about it and
//! `--xattrs` restores it (engine rule A20); a `path` record precedes it when the name does not fit the ustar header.

use super::name::is_plain_path;
use super::record::{Operation, Payload, Record};
use super::{Malformed, round_up};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::checksum::crc32c;

pub const TAR_BLOCK_BYTES: u64 = 512;
const NAME_BYTES_MAX: usize = 100;
const XATTR: &str = "SCHILY.xattr.user.weir";

/// The name under which the object's payload stands in the archive.
pub fn member_name(bucket: &str, record: &Record) -> String {
    if is_plain_path(&record.key) { format!("{bucket}/{}", record.key) } else { format!(".weir/keys/{}", record.stamp) }
}

/// A ustar header of a regular file.
pub fn header(name: &str, size: u64, modified_s: u64, kind: tar::EntryType) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    // `set_path` refuses what our own names never have; raw bytes keep every UTF-8 name as it is.
    let field = &mut header.as_ustar_mut().expect("made as ustar").name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(modified_s);
    header.set_entry_type(kind);
    header.set_cksum();
    *header.as_bytes()
}

fn push_padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(round_up(out.len() as u64, TAR_BLOCK_BYTES) as usize, 0);
}

/// One pax record: its length in decimal counts itself.
fn push_pax(out: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {keyword}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Frames an inline object: everything that goes into the log for it, a multiple of 512 bytes.
pub fn frame(bucket: &str, record: &Record, payload: &[u8]) -> Vec<u8> {
    let name = member_name(bucket, record);
    let modified_s = match &record.operation {
        Operation::Put(object) => object.modified_ms / 1000,
        _ => 0,
    };
    let mut pax = Vec::new();
    if name.len() > NAME_BYTES_MAX {
        push_pax(&mut pax, "path", name.as_bytes());
    }
    push_pax(&mut pax, XATTR, STANDARD.encode(record.encode()).as_bytes());

    let mut out = Vec::with_capacity(3 * 512 + pax.len() + payload.len() + 1024);
    let pax_name = format!(".weir/pax/{}", record.stamp);
    out.extend_from_slice(&header(&pax_name, pax.len() as u64, modified_s, tar::EntryType::XHeader));
    push_padded(&mut out, &pax);
    let short = if name.len() > NAME_BYTES_MAX { &pax_name } else { &name };
    out.extend_from_slice(&header(short, payload.len() as u64, modified_s, tar::EntryType::Regular));
    push_padded(&mut out, payload);
    out
}

/// The record of a framed object, and where its payload stands in the frame. Both are verified.
pub fn unframe(frame: &[u8]) -> Result<(Record, std::ops::Range<usize>), Malformed> {
    let block = TAR_BLOCK_BYTES as usize;
    let size_of = |at: usize| -> Result<usize, Malformed> {
        let bytes: &[u8; 512] = frame.get(at..at + block).and_then(|b| b.try_into().ok()).ok_or(Malformed::Short)?;
        let header = tar::Header::from_byte_slice(bytes);
        header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).ok_or(Malformed::Undecodable)
    };
    let pax_length = size_of(0)?;
    let pax = frame.get(block..block.saturating_add(pax_length)).ok_or(Malformed::Short)?;
    let record = Record::decode(&STANDARD.decode(pax_value(pax, XATTR)?).map_err(|_| Malformed::Undecodable)?)?;

    let file_header = block + round_up(pax_length as u64, TAR_BLOCK_BYTES) as usize;
    let start = file_header + block;
    let Operation::Put(object) = &record.operation else { return Err(Malformed::Undecodable) };
    let Payload::Inline { crc32c: expected } = object.payload else { return Err(Malformed::Undecodable) };
    let end = start.saturating_add(object.inline_length() as usize);
    let payload = frame.get(start..end).ok_or(Malformed::Short)?;
    if crc32c(payload) != expected {
        return Err(Malformed::Checksum);
    }
    Ok((record, start..end))
}

fn pax_value<'a>(mut pax: &'a [u8], wanted: &str) -> Result<&'a [u8], Malformed> {
    while !pax.is_empty() {
        let space = pax.iter().position(|&b| b == b' ').ok_or(Malformed::Undecodable)?;
        let length: usize =
            std::str::from_utf8(&pax[..space]).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Undecodable)?;
        let record = pax.get(space + 1..length.saturating_sub(1)).ok_or(Malformed::Short)?;
        if let Some(value) = record.strip_prefix(wanted.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            return Ok(value);
        }
        pax = pax.get(length..).ok_or(Malformed::Short)?;
    }
    Err(Malformed::Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::tests::sample;
    use std::io::Read;

    fn inline(key: &str, payload: &[u8]) -> Record {
        sample(5, key, Payload::Inline { crc32c: crc32c(payload) }, payload.len() as u64)
    }

    #[test]
    fn the_tar_crate_reads_what_we_frame() {
        let long = "d/".repeat(200) + "ü.txt";
        for key in ["plain.txt", "a/b c/ü", long.as_str(), "odd//key", "new\nline"] {
            let payload = vec![42; 1000];
            let record = inline(key, &payload);
            let frame = frame("bucket", &record, &payload);
            assert_eq!(frame.len() % 512, 0);
            let (read, range) = unframe(&frame).expect("framed a moment ago");
            assert_eq!((read, &frame[range]), (record.clone(), payload.as_slice()));

            let mut archive = tar::Archive::new(frame.as_slice());
            let mut entry = archive.entries().expect("an archive").next().expect("one entry").expect("a sound one");
            assert_eq!(entry.path_bytes().as_ref(), member_name("bucket", &record).as_bytes());
            let mut read = Vec::new();
            entry.read_to_end(&mut read).expect("in memory");
            assert_eq!(read, payload);
        }
    }

    #[test]
    fn flipped_bits_in_record_or_payload_are_seen() {
        let payload = b"payload".repeat(50);
        let record = inline("k", &payload);
        let good = frame("bucket", &record, &payload);
        let (_, range) = unframe(&good).expect("sound");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            match unframe(&bad) {
                Err(_) => {}
                // Tar headers and padding are for tar alone: a flip there may pass, and then everything that is ours holds.
                Ok((read, read_range)) => {
                    assert_eq!((read, &bad[read_range]), (record.clone(), payload.as_slice()), "byte {at}")
                }
            }
        }
        assert_eq!(&good[range], payload.as_slice());
    }
}
