//! Reading a segment that was not sealed: which batches are whole, where the torn tail begins, and what is damage
//! (engine rule A4).
//!
//! Batch n+1 is written only after batch n is durable. So an invalid stretch with a valid batch behind it cannot be the
//! torn tail: it was acknowledged, and something changed it since.

use crate::format::batch::{BatchId, Entry, TAIL_BYTES, Tail};
use crate::format::name::SegmentNumber;
use crate::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::limits::ALIGNMENT_BYTES;
use std::collections::HashMap;

/// One batch, whole or with names only.
#[derive(Debug, PartialEq, Eq)]
pub struct ScannedBatch {
    pub id: BatchId,
    pub entries: Vec<Entry>,
    pub intact: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    /// `None` if the header is torn or damaged.
    pub header: Option<SegmentHeader>,
    pub nonce: u64,
    pub batches: Vec<ScannedBatch>,
    /// Where the last batch ends: the next byte is torn, stale or zero.
    pub end: u64,
    /// Stretches of acknowledged bytes in which not even names are left.
    pub holes: Vec<(u64, u64)>,
}

impl Scanned {
    pub fn is_damaged(&self) -> bool {
        !self.holes.is_empty() || self.batches.iter().any(|batch| !batch.intact)
    }
}

/// Scans a segment's bytes. Everything before `durable_until` is known to have been acknowledged.
pub fn scan(number: SegmentNumber, bytes: &[u8], durable_until: u64) -> Scanned {
    let header = SegmentHeader::decode(bytes.get(..HEADER_BYTES as usize).unwrap_or_default()).ok();
    let header = header.filter(|header| header.number == number);
    let tails = tails(number, bytes, header.map(|header| header.nonce));
    let nonce = header
        .map(|header| header.nonce)
        .or_else(|| tails.values().flatten().map(|tail| tail.nonce).next())
        .unwrap_or(0);
    let batch_of = |tail: &Tail| &bytes[tail.start as usize..(tail.start + tail.length) as usize];
    let whole = |start: u64| tails.get(&start).and_then(|at| at.iter().find(|tail| tail.verify(batch_of(tail))));

    let mut scanned = Scanned { header, nonce, batches: Vec::new(), end: HEADER_BYTES, holes: Vec::new() };
    loop {
        let at = scanned.end;
        if let Some(tail) = whole(at)
            && let Ok((id, entries)) = tail.entries(batch_of(tail))
        {
            scanned.batches.push(ScannedBatch { id, entries, intact: true });
            scanned.end += tail.length;
            continue;
        }
        let mut starts: Vec<u64> = tails.keys().copied().filter(|&start| start > at).collect();
        starts.sort_unstable();
        let next_whole = starts.into_iter().find(|&start| whole(start).is_some());
        let Some(known_until) = next_whole.or((durable_until > at).then_some(durable_until)) else { return scanned };
        // Damage. Names may be left, if the closing member is.
        let named = tails
            .get(&at)
            .into_iter()
            .flatten()
            .find_map(|tail| Some((tail.entries(batch_of(tail)).ok()?, tail.length)));
        match named {
            Some(((id, entries), length)) => {
                scanned.batches.push(ScannedBatch { id, entries, intact: false });
                scanned.end += length;
            }
            None => {
                scanned.holes.push((at, known_until));
                scanned.end = known_until.next_multiple_of(ALIGNMENT_BYTES);
            }
        }
    }
}

/// Everything that looks like the end of one of this segment's batches, by where the batch begins.
fn tails(number: SegmentNumber, bytes: &[u8], nonce: Option<u64>) -> HashMap<u64, Vec<Tail>> {
    let mut tails: HashMap<u64, Vec<Tail>> = HashMap::new();
    let mut end = (HEADER_BYTES + ALIGNMENT_BYTES) as usize;
    while end <= bytes.len() {
        if let Ok(tail) = Tail::decode(&bytes[end - TAIL_BYTES..end])
            && tail.segment == number
            && nonce.is_none_or(|nonce| nonce == tail.nonce)
            && tail.start >= HEADER_BYTES
            && tail.start.checked_add(tail.length) == Some(end as u64)
        {
            tails.entry(tail.start).or_default().push(tail);
        }
        end += ALIGNMENT_BYTES as usize;
    }
    tails
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::{Framed, seal};
    use crate::format::record::{Operation, Record};
    use common::{BucketId, Stamp, Term, VersionId};

    const NUMBER: SegmentNumber = SegmentNumber(4);

    /// A segment of three batches with one delete each, then zeros.
    fn segment() -> (Vec<u8>, Vec<u64>) {
        let header = SegmentHeader { number: NUMBER, disk: [1; 16], run: Term(2), nonce: 77 };
        let mut bytes = header.encode();
        let mut starts = Vec::new();
        for number in 0..3 {
            starts.push(bytes.len() as u64);
            let record = Record {
                stamp: Stamp(number),
                bucket: BucketId(1),
                key: format!("key-{number}"),
                operation: Operation::Delete { version: VersionId::Null },
                why: Default::default(),
            };
            let start = bytes.len() as u64;
            let id = BatchId { segment: NUMBER, run: Term(2), number, start, stable: Stamp::ZERO, nonce: 77 };
            bytes.extend(seal(id, vec![Framed::new("b", &record, None)], 0).slices.concat());
        }
        starts.push(bytes.len() as u64);
        bytes.resize(bytes.len() + 8192, 0);
        (bytes, starts)
    }

    #[test]
    fn whole_batches_are_found_and_zeros_end_them() {
        let (bytes, starts) = segment();
        let scanned = scan(NUMBER, &bytes, 0);
        assert_eq!((scanned.batches.len(), scanned.end, scanned.is_damaged()), (3, starts[3], false));
    }

    #[test]
    fn a_torn_last_batch_is_dropped_but_not_when_it_was_checkpointed() {
        let (mut bytes, starts) = segment();
        bytes[starts[2] as usize + 600] ^= 1;
        let scanned = scan(NUMBER, &bytes, 0);
        assert_eq!((scanned.batches.len(), scanned.end, scanned.is_damaged()), (2, starts[2], false));
        let scanned = scan(NUMBER, &bytes, starts[3]);
        assert_eq!((scanned.end, scanned.is_damaged()), (starts[3], true));
    }

    #[test]
    fn an_invalid_batch_before_a_valid_one_is_damage_with_or_without_names() {
        let (bytes, starts) = segment();
        // In the filler: the names stand.
        let mut bad = bytes.clone();
        bad[starts[1] as usize + 2048] ^= 1;
        let scanned = scan(NUMBER, &bad, 0);
        assert_eq!((scanned.batches.len(), scanned.holes.len()), (3, 0));
        assert_eq!((scanned.batches[1].intact, scanned.batches[1].entries[0].key.as_str()), (false, "key-1"));
        // Everything of it gone.
        let mut bad = bytes;
        bad[starts[1] as usize..starts[2] as usize].fill(0);
        let scanned = scan(NUMBER, &bad, 0);
        assert_eq!((scanned.batches.len(), scanned.holes.as_slice()), (2, &[(starts[1], starts[2])][..]));
    }

    #[test]
    fn a_damaged_header_loses_nothing() {
        let (mut bytes, starts) = segment();
        bytes[530] ^= 1;
        let scanned = scan(NUMBER, &bytes, 0);
        assert_eq!((scanned.header, scanned.batches.len(), scanned.end), (None, 3, starts[3]));
    }

    #[test]
    fn another_segments_batches_are_stale() {
        let (bytes, _) = segment();
        assert_eq!(scan(SegmentNumber(5), &bytes, 0).batches.len(), 0);
    }
}
