//! ListParts.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::checksums::set_checksum;
use crate::s3::{Service, checksums, dates, listing};
use common::{Algorithm, ObjectKey, UploadId};
use s3s::dto::{self, ChecksumAlgorithm, ChecksumType, ListPartsInput, ListPartsOutput, StorageClass};
use s3s::{S3Request, S3Response};
use storage::{ChecksumKind, ListPartsRequest, PartInfo};

pub async fn list_parts(service: &Service, request: S3Request<ListPartsInput>) -> Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    let limit = listing::page_size(input.max_parts, "max-parts")?;
    let after_part = marker(input.part_number_marker)?;
    let list = ListPartsRequest {
        bucket: bucket.id,
        key: key.clone(),
        upload: UploadId::parse(&input.upload_id)?,
        after_part,
        // A page of nothing is asked for like any other: it also says whether the upload exists.
        limit: limit.max(1),
    };

    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let mut page = target.list_parts(list).await?;
    if limit == 0 {
        page.parts.clear();
        page.more = false;
    }

    let algorithm = page.upload.algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name()));
    let last = page.parts.last().map_or(after_part, |part| part.part.number());
    let owner = service.owners(&bucket).of(page.upload.owner.as_deref());
    let initiator = dto::Initiator { id: owner.id.clone(), display_name: owner.display_name.clone() };
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(i32::from(after_part)),
        next_part_number_marker: Some(i32::from(last)),
        max_parts: Some(listing::count(limit)),
        is_truncated: Some(page.more),
        parts: Some(page.parts.iter().map(|info| part(info, page.upload.algorithm)).collect()),
        checksum_type: algorithm.as_ref().map(|_| match page.kind {
            ChecksumKind::Composite => ChecksumType::from_static(ChecksumType::COMPOSITE),
            ChecksumKind::FullObject => ChecksumType::from_static(ChecksumType::FULL_OBJECT),
        }),
        checksum_algorithm: algorithm,
        initiator: Some(initiator),
        owner: Some(owner),
        storage_class: Some(page.class.map_or(StorageClass::from_static(StorageClass::STANDARD), StorageClass::from)),
        ..Default::default()
    }))
}

/// With its checksum under the upload's algorithm, if the upload has one.
fn part(info: &PartInfo, algorithm: Option<Algorithm>) -> dto::Part {
    let mut part = dto::Part {
        part_number: Some(i32::from(info.part.number())),
        size: Some(listing::size(info.size)),
        e_tag: Some(listing::etag(&info.etag)),
        last_modified: Some(dates::timestamp(info.modified_ms)),
        ..Default::default()
    };
    let of_upload = info.checksums.iter().find(|checksum| Some(checksum.algorithm) == algorithm);
    set_checksum!(part, of_upload.or_else(|| checksums::preferred(&info.checksums)));
    part
}

/// Part numbers end far below the greatest marker that fits; one beyond it lists nothing.
fn marker(given: Option<i32>) -> Result<u16> {
    match given {
        None => Ok(0),
        Some(number) if number < 0 => Err(Error::InvalidArgument(
            "Argument part-number-marker must be an integer between 0 and 2147483647".to_owned(),
        )),
        Some(number) => Ok(u16::try_from(number).unwrap_or(u16::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_numbers() {
        assert_eq!(marker(None).expect("none"), 0);
        assert_eq!(marker(Some(7)).expect("seven"), 7);
        assert_eq!(marker(Some(i32::MAX)).expect("beyond"), u16::MAX);
        assert!(marker(Some(-1)).is_err());
    }
}
