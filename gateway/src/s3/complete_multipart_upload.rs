//! CompleteMultipartUpload: nothing is copied, so that the answer comes at once, and storage answers a repetition as it
//! answered the first time. Checksums that the client lists, of parts or of the whole, are compared before.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use crate::encryption::{check_completion, described};
use crate::error::{Error, Result};
use crate::limits;
use crate::route::Target;
use crate::s3::checksums::{self, set_checksum};
use crate::s3::named::written_version;
use crate::s3::whole_checksum::WholeChecksum;
use crate::s3::{Service, conditions, listing};
use common::{Algorithm, Checksum, ETag, ObjectKey, PartNumber, UploadId};
use s3s::dto::{self, CompleteMultipartUploadInput, CompleteMultipartUploadOutput};
use s3s::{S3Request, S3Response};
use std::collections::BTreeMap;
use storage::{CompleteUploadRequest, CompletedPart, ListPartsRequest, PartInfo};

pub async fn complete_multipart_upload(
    service: &Service,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Result<S3Response<CompleteMultipartUploadOutput>> {
    let S3Request { input, headers, .. } = request;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    let upload = UploadId::parse(&input.upload_id)?;
    let listed = parse_parts(input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default())?;
    let whole = WholeChecksum::parse(&headers)?;
    let size = input.mpu_object_size.map(u64::try_from).transpose();
    let size =
        size.map_err(|_| Error::InvalidRequest("Value for x-amz-mp-object-size header is invalid.".to_owned()))?;

    if whole.is_some() || listed.iter().any(|part| part.checksum.is_some()) {
        let list = ListPartsRequest {
            bucket: bucket.id,
            key: key.clone(),
            upload,
            after_part: 0,
            limit: limits::PAGE_ENTRIES_MAX,
        };
        match all_parts(service, list).await {
            Ok(stored) => compare(&listed, whole.as_ref(), &stored)?,
            // The upload may have been completed by a request whose answer was lost: storage knows.
            Err(Error::Storage(storage::Error::NoSuchUpload)) => {}
            Err(error) => return Err(error),
        }
    }

    let complete = CompleteUploadRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        upload,
        parts: listed.into_iter().map(|part| CompletedPart { part: part.part, etag: part.etag }).collect(),
        precondition: conditions::precondition(&headers),
        size,
    };
    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    match target.upload_envelope(bucket.id, &key, upload).await {
        Ok(encryption) => check_completion(service, &headers, &bucket, &key, encryption).await?,
        // As above.
        Err(storage::Error::NoSuchUpload) => {}
        Err(error) => return Err(error.into()),
    }
    let outcome = target.complete_upload(complete).await?;

    let (checksum, checksum_type) =
        checksums::of_object(&outcome.checksums, outcome.composite.as_ref(), usize::from(outcome.etag.parts));
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, listing::Encoding::URL.name(&input.key))),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(listing::etag(&outcome.etag)),
        checksum_type,
        version_id: written_version(outcome.version),
        expiration: service.expiration_of_written(&bucket, &key).await,
        ..Default::default()
    };
    set_checksum!(output, checksum);
    Ok(S3Response::with_headers(output, described(&headers, outcome.envelope.as_deref())?))
}

/// A part as the client listed it.
struct Listed {
    part: PartNumber,
    etag: ETag,
    checksum: Option<Checksum>,
}

fn parse_parts(parts: Vec<dto::CompletedPart>) -> Result<Vec<Listed>> {
    if parts.is_empty() || parts.len() > limits::PARTS_MAX {
        return Err(Error::MalformedXml("The document lists no parts, or more than 10000"));
    }
    parts.into_iter().map(parse_part).collect()
}

fn parse_part(part: dto::CompletedPart) -> Result<Listed> {
    let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
        return Err(Error::MalformedXml("A part has no PartNumber or no ETag"));
    };
    let number = PartNumber::new(i64::from(number))?;
    // An ETag that no part can have is one that this part does not have.
    let etag = ETag::parse(etag.value()).ok_or(storage::Error::InvalidPart(number.number()))?;
    let given = [
        (Algorithm::Crc32, part.checksum_crc32),
        (Algorithm::Crc32c, part.checksum_crc32c),
        (Algorithm::Crc64Nvme, part.checksum_crc64nvme),
        (Algorithm::Sha1, part.checksum_sha1),
        (Algorithm::Sha256, part.checksum_sha256),
    ];
    let first = given.into_iter().find_map(|(algorithm, text)| Some((algorithm, text?)));
    let checksum = first.map(|(algorithm, text)| checksums::decode(algorithm, &text)).transpose()?;
    Ok(Listed { part: number, etag, checksum })
}

/// The upload's parts, page by page.
async fn all_parts(service: &Service, mut list: ListPartsRequest) -> Result<BTreeMap<PartNumber, PartInfo>> {
    let Target::Here(target) = service.router.owner_of(list.bucket, &list.key);
    let mut parts = BTreeMap::new();
    loop {
        let page = target.list_parts(list.clone()).await?;
        let last = page.parts.last().map(|part| part.part.number());
        parts.extend(page.parts.into_iter().map(|part| (part.part, part)));
        match last {
            Some(last) if page.more => list.after_part = last,
            Some(_) | None => return Ok(parts),
        }
    }
}

fn compare(listed: &[Listed], whole: Option<&WholeChecksum>, stored: &BTreeMap<PartNumber, PartInfo>) -> Result<()> {
    let mut in_order = Vec::with_capacity(listed.len());
    for part in listed {
        let unknown = storage::Error::InvalidPart(part.part.number());
        let Some(info) = stored.get(&part.part) else { return Err(unknown.into()) };
        if part.checksum.as_ref().is_some_and(|checksum| !info.checksums.contains(checksum)) {
            return Err(unknown.into());
        }
        in_order.push(info);
    }
    whole.map_or(Ok(()), |whole| whole.verify(&in_order))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: i32, etag: &str, crc32: Option<&str>) -> dto::CompletedPart {
        dto::CompletedPart {
            part_number: Some(number),
            e_tag: Some(dto::ETag::Strong(etag.to_owned())),
            checksum_crc32: crc32.map(str::to_owned),
            ..Default::default()
        }
    }

    fn code(parts: Vec<dto::CompletedPart>) -> &'static str {
        parse_parts(parts).map_or_else(|error| error.answer().code, |_| "ok")
    }

    #[test]
    fn part_lists_are_checked() {
        let etag = "0".repeat(32);
        assert_eq!(code(vec![part(1, &etag, Some("AAAAAA=="))]), "ok");
        assert_eq!(code(vec![]), "MalformedXML");
        assert_eq!(code(vec![dto::CompletedPart::default()]), "MalformedXML");
        assert_eq!(code(vec![part(0, &etag, None)]), "InvalidArgument");
        assert_eq!(code(vec![part(1, "nonsense", None)]), "InvalidPart");
        assert_eq!(code(vec![part(1, &etag, Some("AA"))]), "InvalidRequest");
    }

    #[test]
    fn listed_checksums_must_be_the_stored_ones() {
        let checksum = |byte| Checksum { algorithm: Algorithm::Crc32, value: vec![byte; 4] };
        let number = PartNumber::new(1).expect("a part number");
        let etag = ETag::of_md5([0; 16]);
        let stored = PartInfo { part: number, size: 1, etag, modified_ms: 0, checksums: vec![checksum(1)] };
        let stored = BTreeMap::from([(number, stored)]);
        let listed = |checksum| [Listed { part: number, etag, checksum }];
        assert!(compare(&listed(Some(checksum(1))), None, &stored).is_ok());
        assert!(compare(&listed(None), None, &stored).is_ok());
        assert!(compare(&listed(Some(checksum(2))), None, &stored).is_err());
        assert!(compare(&listed(None), None, &BTreeMap::new()).is_err());
    }
}
