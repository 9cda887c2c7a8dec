//! GetObjectAttributes: what HEAD says, as a document, and the parts of a multipart object page by page.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>

use crate::encryption::Wanted;
use crate::error::{Error, Result};
use crate::s3::checksums::{self, set_checksum};
use crate::s3::named::Named;
use crate::s3::{Service, attributes, dates, listing};
use s3s::dto::{self, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectPart};
use s3s::{S3Request, S3Response};
use storage::ObjectInfo;

pub async fn get_object_attributes(
    service: &Service,
    request: S3Request<GetObjectAttributesInput>,
) -> Result<S3Response<GetObjectAttributesOutput>> {
    let input = request.input;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    let asked = Asked::parse(input.object_attributes.iter().flat_map(|names| names.as_str().split(',')))?;
    let limit = listing::page_size(input.max_parts, "max-parts")?;
    let marker = usize::try_from(input.part_number_marker.unwrap_or(0)).map_err(|_| {
        Error::InvalidArgument("Argument part-number-marker must be an integer between 0 and 2147483647".to_owned())
    })?;

    let info = named.head_seen(service, &request.extensions).await?;
    let encryption = Wanted::of(&named, &info).look(service, &request.headers).await?;

    let mut output = GetObjectAttributesOutput {
        last_modified: Some(dates::timestamp(info.modified_ms)),
        version_id: named.answered(info.version),
        ..Default::default()
    };
    if asked.etag {
        output.e_tag = Some(listing::etag(&info.etag));
    }
    if asked.checksum {
        let (checksum, checksum_type) =
            checksums::of_object(&info.checksums, info.composite.as_ref(), info.part_sizes.len());
        let mut document = dto::Checksum { checksum_type, ..Default::default() };
        set_checksum!(document, checksum);
        output.checksum = Some(document);
    }
    if asked.parts && !info.part_sizes.is_empty() {
        output.object_parts = Some(parts(&info, marker, limit));
    }
    if asked.storage_class {
        output.storage_class = Some(dto::StorageClass::from(attributes::storage_class(&info.attributes).to_owned()));
    }
    if asked.size {
        output.object_size = Some(listing::size(info.size));
    }
    Ok(S3Response::with_headers(output, encryption))
}

/// What the client wants to know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    size: bool,
}

impl Asked {
    fn parse<'n>(names: impl Iterator<Item = &'n str>) -> Result<Self> {
        let mut asked = Self::default();
        for name in names {
            let wanted = match name.trim() {
                "ETag" => &mut asked.etag,
                "Checksum" => &mut asked.checksum,
                "ObjectParts" => &mut asked.parts,
                "StorageClass" => &mut asked.storage_class,
                "ObjectSize" => &mut asked.size,
                _ => return Err(Error::InvalidArgument("Invalid attribute name specified.".to_owned())),
            };
            *wanted = true;
        }
        if asked == Self::default() {
            return Err(Error::InvalidRequest(
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty"
                    .to_owned(),
            ));
        }
        Ok(asked)
    }
}

/// The parts behind the marker. They are numbered as GET and HEAD count them: from 1, without gaps.
fn parts(info: &ObjectInfo, marker: usize, limit: usize) -> GetObjectAttributesParts {
    let total = info.part_sizes.len();
    let page: Vec<ObjectPart> =
        info.part_sizes.iter().enumerate().skip(marker).take(limit).map(|(at, size)| part(info, at, *size)).collect();
    let last = marker.saturating_add(page.len());
    GetObjectAttributesParts {
        total_parts_count: Some(listing::count(total)),
        part_number_marker: Some(listing::count(marker)),
        next_part_number_marker: Some(listing::count(last.min(total))),
        max_parts: Some(listing::count(limit)),
        is_truncated: Some(last < total),
        parts: Some(page),
    }
}

fn part(info: &ObjectInfo, at: usize, size: u64) -> ObjectPart {
    let mut part =
        ObjectPart { part_number: Some(listing::count(at + 1)), size: Some(listing::size(size)), ..Default::default() };
    set_checksum!(part, info.part_checksums.get(at));
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{ETag, Stamp, VersionId};

    fn info(part_sizes: &[u64]) -> ObjectInfo {
        ObjectInfo {
            stamp: Stamp::ZERO,
            version: VersionId::Null,
            size: part_sizes.iter().sum(),
            etag: ETag::of_md5([0; 16]),
            modified_ms: 0,
            attributes: Default::default(),
            checksums: Vec::new(),
            composite: None,
            part_sizes: part_sizes.to_vec(),
            part_checksums: Vec::new(),
            envelope: None,
        }
    }

    #[test]
    fn attributes_are_named() {
        let asked = |names: &[&'static str]| Asked::parse(names.iter().copied());
        assert_eq!(
            asked(&["ETag", "ObjectSize"]).expect("known"),
            Asked { etag: true, size: true, ..Asked::default() }
        );
        assert_eq!(asked(&[" ObjectParts "]).expect("known"), Asked { parts: true, ..Asked::default() });
        assert_eq!(asked(&["Colour"]).expect_err("unknown").answer().code, "InvalidArgument");
        assert_eq!(asked(&[]).expect_err("none").answer().code, "InvalidRequest");
    }

    #[test]
    fn parts_come_in_pages() {
        let info = info(&[5, 6, 7]);
        let numbers = |page: &GetObjectAttributesParts| {
            page.parts.iter().flatten().filter_map(|part| part.part_number).collect::<Vec<_>>()
        };
        let first = parts(&info, 0, 2);
        assert_eq!((numbers(&first), first.is_truncated), (vec![1, 2], Some(true)));
        assert_eq!((first.next_part_number_marker, first.total_parts_count), (Some(2), Some(3)));
        let second = parts(&info, 2, 2);
        assert_eq!((numbers(&second), second.is_truncated), (vec![3], Some(false)));
        let beyond = parts(&info, usize::MAX, 2);
        assert_eq!((numbers(&beyond), beyond.is_truncated), (vec![], Some(false)));
    }
}
