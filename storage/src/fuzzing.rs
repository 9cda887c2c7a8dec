//! What the fuzz targets of `fuzz/` call: each takes bytes that a damaged disk could hold and asserts that they are refused,
//! or are what was once written. Checksums are put right first where the decoder would otherwise see nothing but them.

use crate::format::batch::Tail;
use crate::format::footer::{self, FooterTail};
use crate::format::member;
use crate::format::record::{Operation, Payload, Record};
use crate::format::segment::SegmentHeader;
use crate::format::table;
use crate::index::rows::{Row, RowKey, Table};
use crate::index::store::{pack, unpack};
use crate::limits::RECORD_BYTES_MAX;
use common::checksum::crc32c;

fn with_crc(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&crc32c(body).to_le_bytes());
    bytes
}

/// A record: what decodes has bytes that decode to the same.
pub fn record(data: &[u8]) {
    let _ = Record::decode(data);
    let Ok(record) = Record::decode(&with_crc(data)) else { return };
    if data.len() + 4 <= RECORD_BYTES_MAX {
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

/// The member of an inline object, and that of a payload with its checksum put right.
pub fn member(data: &[u8]) {
    if let Ok((record, payload)) = member::unframe(data) {
        assert!(payload.end <= data.len());
        assert!(record.is_inline());
    }
    let Some((&split, rest)) = data.split_first() else { return };
    let (body, payload) = rest.split_at(usize::from(split).min(rest.len()));
    let Ok(mut record) = Record::decode(&with_crc(body)) else { return };
    let Operation::Put(object) = &mut record.operation else { return };
    object.size = payload.len() as u64;
    object.more.seal = None;
    object.payload = Payload::Inline { crc32c: crc32c(payload) };
    let frame = member::frame("bucket", &record, payload);
    let (read, place) = member::unframe(&frame).expect("framed a moment ago");
    assert_eq!((read, &frame[place]), (record, payload));
}

/// A batch: tail, checksum and names.
pub fn batch(data: &[u8]) {
    for at in [0, data.len().saturating_sub(64)] {
        let Ok(tail) = Tail::decode(&data[at..]) else { continue };
        let _ = tail.verify(data);
        if let Ok((id, entries)) = tail.entries(data) {
            assert_eq!((id.number, id.start, id.nonce), (tail.number, tail.start, tail.nonce));
            assert!(entries.len() <= data.len());
        }
    }
}

/// A footer and a segment's header.
pub fn footer(data: &[u8]) {
    for at in [0, data.len().saturating_sub(footer::TAIL_BYTES)] {
        if let Ok(tail) = FooterTail::decode(&data[at..]) {
            let _ = tail.footer(data);
        }
    }
    if let Ok(content) = postcard::from_bytes::<footer::Footer>(data) {
        let bytes = footer::encode(&content, 4096);
        let end = bytes.len() - usize::try_from(footer::END_BYTES).expect("small");
        let tail = FooterTail::decode(&bytes[end - footer::TAIL_BYTES..end]).expect("encoded a moment ago");
        assert_eq!(tail.footer(&bytes[512..512 + tail.content_length as usize]), Ok(content));
    }
    if let Ok(header) = SegmentHeader::decode(data) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

/// Keys and values of the index, and a table of chunks.
pub fn row(data: &[u8]) {
    let _ = unpack::<Row>(data).is_ok();
    if let Ok(row) = unpack::<Row>(&with_crc(data)) {
        assert_eq!(unpack::<Row>(&pack(&row)).expect("packed a moment ago"), row);
    }
    for table in [Table::Objects, Table::Uploads, Table::Parts] {
        let key = RowKey::from_table(table, data);
        assert!(key.table() == table && key < key.successor());
        let _ = (key.upload_id(), key.part_number());
        if let Some((bucket, name)) = key.object_key() {
            let written = RowKey::object(bucket, &name);
            assert_eq!(written.object_key(), Some((bucket, name.clone())));
            assert!(written >= RowKey::from_prefix(Table::Objects, bucket, &name));
            assert!(written < RowKey::after_prefix(Table::Objects, bucket, &name));
        }
    }
    if let Some((&count, rest)) = data.split_first()
        && let Ok(list) = table::decode_list(rest, u32::from(count))
    {
        assert_eq!(list.len(), usize::from(count));
    }
}

#[cfg(test)]
#[path = "../../fuzz/play.rs"]
mod play;

#[cfg(test)]
mod tests {
    use super::play::play;
    use super::*;
    use crate::format::batch::{BatchId, Framed, seal};
    use crate::format::name::{FileId, SegmentNumber};
    use crate::format::record::{Acl, Chunk, tests::sample};
    use crate::index::rows::{Listed, Location, RowKind};
    use common::{BucketId, ETag, PartNumber, Stamp, Term, UploadId, VersionId};
    use std::path::Path;

    #[test]
    fn the_seeds_pass() {
        play("record", super::record);
        play("member", super::member);
        play("batch", super::batch);
        play("footer", super::footer);
        play("row", super::row);
    }

    /// What the encoders write today. `WEIR_WRITE_SEEDS=1 cargo test -p weir-storage seeds` keeps it.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "seeds are files of the repository")]
    fn the_seeds_are_what_the_encoders_write() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        for (name, bytes) in seeds() {
            let path = folder.join(name);
            if std::env::var_os("WEIR_WRITE_SEEDS").is_some() {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
                std::fs::write(&path, &bytes).expect("written");
            }
            assert!(std::fs::read(&path).expect("a seed") == bytes, "{name} is out of date");
        }
    }

    fn seeds() -> Vec<(&'static str, Vec<u8>)> {
        let payload = b"payload".as_slice();
        let inline = sample(9, "some/key", Payload::Inline { crc32c: crc32c(payload) }, payload.len() as u64);
        let chunk = Chunk { id: FileId::new(Term(1), 2, 3), length: 70_000, blocks: vec![4, 5] };
        let large = sample(10, "large", Payload::Chunks(vec![chunk.clone()]), 70_000);
        let mut shared = sample(11, "shared", Payload::Inline { crc32c: crc32c(payload) }, payload.len() as u64);
        if let Operation::Put(object) = &mut shared.operation {
            object.more.acl = Some(Acl { owner: Some("somebody".into()), list: vec![1, 2, 3] });
        }
        let body = |record: &Record| {
            let mut bytes = record.encode();
            bytes.truncate(bytes.len() - 4);
            bytes
        };
        let id =
            BatchId { segment: SegmentNumber(1), run: Term(1), number: 1, start: 4096, stable: Stamp::ZERO, nonce: 7 };
        let framed = vec![Framed::new("bucket", &inline, Some(payload)), Framed::new("bucket", &large, None)];
        let sealed = seal(id, framed, 1);
        let mut member = vec![u8::try_from(body(&inline).len()).expect("a short record")];
        member.extend_from_slice(&body(&inline));
        member.extend_from_slice(payload);
        let footer = footer::Footer {
            nonce: 7,
            run: Term(1),
            first_batch: 1,
            last_batch: 1,
            buckets: Vec::new(),
            holes: vec![(4096, 8192)],
            entries: sealed.entries.clone(),
        };
        let header = SegmentHeader { number: SegmentNumber(1), disk: [1; 16], run: Term(1), nonce: 7 };
        let listed = Listed {
            size: 7,
            etag: ETag::of_md5([7; 16]),
            modified_ms: 1,
            version: VersionId::Null,
            since: None,
            kept: None,
        };
        let location = Location { segment: SegmentNumber(1), generation: 0, offset: 4096, length: 512 };
        let row = |kind| {
            let row = Row { stamp: Stamp(9), location, damaged: false, kind };
            postcard::to_allocvec(&row).expect("plain data")
        };
        let upload = UploadId(Stamp(1), 2);
        let mut chunks = vec![1];
        chunks.extend_from_slice(&table::encode(&[chunk]));
        vec![
            ("record/inline", body(&inline)),
            ("record/large", body(&large)),
            ("record/acl", body(&shared)),
            ("member/framed", member::frame("bucket", &inline, payload)),
            ("member/record-and-payload", member),
            ("batch/two-records", sealed.slices.concat()),
            ("footer/content", postcard::to_allocvec(&footer).expect("plain data")),
            ("footer/member", footer::encode(&footer, 8192)),
            ("footer/segment-header", header.encode()),
            ("row/inline", row(RowKind::Inline(listed))),
            ("row/tombstone", row(RowKind::Tombstone(VersionId::Null))),
            ("row/upload", row(RowKind::Upload { created_ms: 1, algorithm: None, newest_part: Stamp(3), owner: None })),
            ("row/key-of-an-object", RowKey::object(BucketId(1), "a\0b").in_table().to_vec()),
            ("row/key-of-an-upload", RowKey::upload(BucketId(1), "k", upload).in_table().to_vec()),
            ("row/key-of-a-part", RowKey::part(upload, PartNumber::new(3).expect("a part number")).in_table().to_vec()),
            ("row/chunks", chunks),
        ]
    }
}
