//! A PUT at an offset: the body goes behind the bytes that the key has. A large object gets one chunk more, its others by hard
//! link; a small one that stays small is rewritten. Decided like every write: it happens to the object that was seen, or not.

use super::copy::share;
use super::get::ObjectReader;
use super::put::{Body, Destination, Purpose, Staged};
use super::{payload_of, staging_failed, sync_staged};
use crate::commit::Decided;
use crate::commit::decide::{Mutation, Request};
use crate::disk::read::ChunkList;
use crate::disk::stage::StagedFile;
use crate::format::record::{Chunk, More, ObjectRecord, Payload};
use crate::limits::OBJECT_BYTES_MAX;
use crate::store::DiskStore;
use crate::target::blocking;
use crate::types::{Match, ObjectInfo, Precondition, PutOutcome};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use common::checksum::crc32c;
use common::md5::Md5;
use common::{Algorithm, Checksum, Digester, Digests, ETag, PartNumber, VersionId};
use std::sync::Arc;

impl Staged {
    /// In place of `commit`: the body goes behind the object's `offset` bytes, which must be all that it has. A key that is not
    /// there has none. An object that is there keeps its metadata. Only in a bucket that never kept versions.
    pub async fn append(mut self, offset: u64) -> Result<PutOutcome> {
        if self.sealing.is_some() {
            return Err(Error::Sealed);
        }
        let Purpose::Object { precondition, .. } = &mut self.destination.purpose else {
            return Err(Error::Refused("a part is not appended".into()));
        };
        let (store, bucket) = (Arc::clone(&self.store), self.destination.bucket);
        let key = self.destination.key.clone();
        let reader = match blocking(move || ObjectReader::open(store, bucket, key, None)).await {
            Ok(reader) => reader,
            Err(Error::NoSuchKey) if offset == 0 && precondition.if_match.is_none() => {
                precondition.if_none_match = Some(Match::Any);
                return changed(self.commit().await);
            }
            Err(Error::NoSuchKey) if offset > 0 => return Err(Error::WrongOffset),
            Err(error) => return Err(error),
        };
        let info = reader.info().clone();
        if info.envelope.is_some() {
            return Err(Error::Sealed);
        }
        check(precondition, &info.etag)?;
        if info.size != offset {
            return Err(Error::WrongOffset);
        }
        let Self { store, destination: Destination { epoch, bucket, key, cause, .. }, digests, body, .. } = self;
        let joined = {
            let (store, info, digests) = (Arc::clone(&store), info.clone(), digests.clone());
            blocking(move || join(&store, &info, reader, &digests, body)).await?
        };
        let Joined { payload, inline, staged, etag, checksums } = joined;
        let modified_ms = store.clock.now_ms();
        let size = info.size + digests.length;
        let object = ObjectRecord {
            version: VersionId::Null,
            modified_ms,
            size,
            etag,
            checksums: checksums.clone(),
            headers: info.attributes.headers,
            user: info.attributes.user,
            upload: None,
            synced: true,
            payload,
            parts: None,
            more: More {
                tags: info.attributes.tags,
                lock: info.attributes.lock,
                acl: info.attributes.acl,
                ..More::default()
            },
        };
        let precondition = Precondition {
            if_match: Some(Match::ETags(vec![info.etag])),
            if_none_match: None,
            modified_s: i64::try_from(info.modified_ms / 1000).ok(),
            size: Some(info.size),
        };
        let mutation = Mutation::Put { object: Box::new(object), precondition };
        let nonce = store.random.u64();
        let request = Request { epoch, bucket, key: key.into(), mutation, nonce, cause, is_housekeeping: false };
        let Decided { stamp, version, .. } = changed(store.mutate(request, inline, staged).await)?;
        let stamp = stamp.expect("a put always has a record");
        Ok(PutOutcome { stamp, version, etag, modified_ms, checksums, composite: None, size, envelope: None })
    }
}

/// What is another object by now most likely has another size.
fn changed<T>(result: Result<T>) -> Result<T> {
    match result {
        Err(Error::PreconditionFailed(_) | Error::NoSuchKey) => Err(Error::WrongOffset),
        other => other,
    }
}

/// The client's own conditions, on the object that was seen. That it is still this one is decided with the write.
fn check(precondition: &Precondition, etag: &ETag) -> Result<()> {
    let matches = |wanted: &Match| match wanted {
        Match::Any => true,
        Match::ETags(etags) => etags.contains(etag),
    };
    if precondition.if_match.as_ref().is_some_and(|wanted| !matches(wanted)) {
        return Err(Error::PreconditionFailed("If-Match"));
    }
    if precondition.if_none_match.as_ref().is_some_and(matches) {
        return Err(Error::PreconditionFailed("If-None-Match"));
    }
    Ok(())
}

/// The object as it will be.
struct Joined {
    payload: Payload,
    inline: Option<Bytes>,
    staged: Vec<StagedFile>,
    etag: ETag,
    checksums: Vec<Checksum>,
}

/// Blocking.
fn join(store: &DiskStore, info: &ObjectInfo, reader: ObjectReader, piece: &Digests, body: Body) -> Result<Joined> {
    let size = info.size + piece.length;
    if size > OBJECT_BYTES_MAX {
        return Err(Error::TooLarge { limit_bytes: OBJECT_BYTES_MAX });
    }
    let before = match (reader.into_parts().1, &body) {
        (Err(before), Body::Inline(behind)) if size <= store.options.inline_bytes_max => {
            return Ok(rewritten(&before, behind, info));
        }
        (before, _) => before,
    };
    let (mut chunks, mut staged) = match before {
        // The pin holds the files until every one of them has its second name.
        Ok((list, _pin)) => share(store, &list)?,
        Err(bytes) => file_of(store, &bytes)?.into_iter().map(|(file, chunk)| (chunk, file)).unzip(),
    };
    match body {
        Body::Inline(bytes) => {
            if let Some((file, chunk)) = file_of(store, &bytes)? {
                chunks.push(chunk);
                staged.push(file);
            }
        }
        Body::Files { payload, staged: files } => {
            let list = ChunkList::open(store.disk.as_ref(), &payload).and_then(|list| list.to_chunks());
            let appended = list.map_err(|error| Error::Damaged(error.to_string()))?;
            // Its table, if it has one, is not the object's, and goes when it is dropped.
            let own = files.into_iter().filter(|file| appended.iter().any(|chunk| chunk.id == file.id()));
            staged.extend(own);
            chunks.extend(appended);
        }
    }
    if chunks.len() > usize::from(PartNumber::MAX) {
        return Err(Error::TooManyChunks);
    }
    let etag = etag_of(info.etag, piece.md5, &chunks);
    let checksums = info.checksums.iter().filter_map(|whole| {
        let behind = piece.checksum(whole.algorithm)?;
        whole.combine(behind, piece.length)
    });
    let checksums = checksums.collect();
    let (payload, table) = payload_of(store, chunks)?;
    staged.extend(table);
    Ok(Joined { payload, inline: None, staged, etag, checksums })
}

/// A small object is small enough to hash it again: its ETag stays the MD5 of its bytes.
fn rewritten(before: &[u8], behind: &[u8], info: &ObjectInfo) -> Joined {
    let mut all = BytesMut::with_capacity(before.len() + behind.len());
    all.extend_from_slice(before);
    all.extend_from_slice(behind);
    let bytes = all.freeze();
    let algorithms: Vec<Algorithm> = info.checksums.iter().map(|checksum| checksum.algorithm).collect();
    let mut digester = Digester::new(&algorithms);
    digester.update(&bytes);
    let Digests { md5, checksums, .. } = digester.finish();
    let payload = Payload::Inline { crc32c: crc32c(&bytes) };
    Joined { payload, inline: Some(bytes), staged: Vec::new(), etag: ETag::of_md5(md5), checksums }
}

/// Nothing needs no file.
fn file_of(store: &DiskStore, bytes: &[u8]) -> Result<Option<(StagedFile, Chunk)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let whole = StagedFile::whole(Arc::clone(&store.disk), store.new_file_id(), bytes);
    let (file, chunk) = whole.map_err(staging_failed)?;
    sync_staged(store, &file)?;
    Ok(Some((file, chunk)))
}

/// Not the MD5 of the bytes, which nobody has read again, and so with a count behind it: of the chunks, which are the parts that
/// GET and HEAD count. Of two chunks it is what a multipart upload of them would have.
fn etag_of(before: ETag, piece: [u8; 16], chunks: &[Chunk]) -> ETag {
    let parts = u16::try_from(chunks.len()).expect("the number was checked");
    let mut hasher = Md5::default();
    hasher.update(&before.md5);
    hasher.update(&piece);
    ETag { md5: hasher.finish(), parts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::name::FileId;

    #[test]
    fn two_chunks_have_the_etag_of_an_upload() {
        let chunk = || Chunk { id: FileId([0; 16]), length: 1, blocks: vec![0] };
        let etag = etag_of(ETag::of_md5([1; 16]), [2; 16], &[chunk(), chunk()]);
        assert_eq!(etag, ETag::of_parts(&[[1; 16], [2; 16]]));
        assert_eq!(etag_of(etag, [3; 16], &[chunk(), chunk(), chunk()]).parts, 3);
    }

    #[test]
    fn clients_conditions_are_on_what_was_seen() {
        let etag = ETag::of_md5([1; 16]);
        let wanted = |if_match, if_none_match| Precondition { if_match, if_none_match, ..Precondition::default() };
        assert!(check(&wanted(None, None), &etag).is_ok());
        assert!(check(&wanted(Some(Match::ETags(vec![etag])), None), &etag).is_ok());
        assert!(check(&wanted(Some(Match::ETags(vec![])), None), &etag).is_err());
        assert!(check(&wanted(None, Some(Match::Any)), &etag).is_err());
    }
}
