//! GetObject: the current version or a named one, conditions, one range or one part, `response-*` overrides, checksum of whole
//! objects.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use crate::access::check_seen;
use crate::encryption::{Wanted, Whose, refuse_on_read};
use crate::error::{Error, Result};
use crate::s3::checksums::{self, Answered, set_checksum};
use crate::s3::conditions::Conditions;
use crate::s3::named::Named;
use crate::s3::{Service, attributes, body, dates, listing};
use common::{ByteRange, ETag};
use http::{HeaderMap, HeaderValue, header};
use s3s::dto::{ChecksumType, GetObjectInput, GetObjectOutput};
use s3s::{S3Request, S3Response};
use std::ops::Range;
use storage::ObjectInfo;

pub async fn get_object(service: &Service, request: S3Request<GetObjectInput>) -> Result<S3Response<GetObjectOutput>> {
    let overrides = overridden(&request.input);
    if !overrides.is_empty() && service.identity(&request)?.is_anonymous() {
        return Err(Error::InvalidRequest(
            "Request specific response headers cannot be used for anonymous GET requests.".to_owned(),
        ));
    }
    refuse_on_read(&request.headers)?;
    let input = request.input;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    let reader = named.open(service).await?;
    let info = reader.info().clone();
    check_seen(&request.extensions, info.stamp)?;
    let (data_key, encryption) = Wanted::of(&named, &info).open(service, &request.headers, Whose::Target).await?;
    let reader = match data_key {
        Some(key) => reader.with_key(key),
        None => reader,
    };
    Conditions::parse(&request.headers, "").check_read(&info)?;
    let view = view(&request.headers, input.part_number, &info)?;

    let mut headers = view.headers(&info)?;
    headers.extend(encryption);
    for name in overrides {
        headers.remove(name);
    }
    let mut output = GetObjectOutput {
        body: Some(body::send(reader, view.range.clone())),
        content_length: Some(listing::size(view.range.end - view.range.start)),
        content_range: view.content_range(&info),
        metadata: attributes::metadata(&info.attributes),
        parts_count: view.parts_count,
        version_id: named.answered(info.version),
        expiration: service.expiration_of_read(&named, &info),
        ..Default::default()
    };
    if input.checksum_mode.is_some()
        && let Some((checksum, kind)) = view.checksum(&info)
    {
        output.checksum_type = kind;
        set_checksum!(output, checksum);
    }
    Ok(S3Response::with_headers(output, headers))
}

/// What of an object a request wants to see. HEAD and GET share it.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub range: Range<u64>,
    partial: bool,
    /// The index of the part that was asked for.
    part: Option<usize>,
    pub parts_count: Option<i32>,
}

/// A part's range, a byte range, or everything. A `Range` header that is none was removed before (`lenient.rs`).
pub fn view(headers: &HeaderMap, part: Option<i32>, info: &ObjectInfo) -> Result<View> {
    let range = headers.get(header::RANGE).and_then(|value| ByteRange::parse(value.to_str().ok()?).ok());
    let range = range.filter(|_| range_applies(headers, info));
    match (range, part) {
        (Some(_), Some(_)) => {
            Err(Error::InvalidRequest("Cannot specify both Range header and partNumber query parameter".to_owned()))
        }
        (Some(range), None) => {
            let range = range.resolve(info.size).map_err(|_| Error::InvalidRange { size: info.size })?;
            Ok(View { range, partial: true, part: None, parts_count: None })
        }
        (None, Some(part)) => part_view(part, info),
        (None, None) => Ok(View { range: 0..info.size, partial: false, part: None, parts_count: None }),
    }
}

/// `If-Range` (RFC 9110 section 13.1.5): a client that goes on with a download wants the whole object if it has changed.
fn range_applies(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    let Some(validator) = headers.get(header::IF_RANGE) else { return true };
    let text = validator.to_str().unwrap_or("");
    match text.starts_with('"') {
        true => ETag::parse(text) == Some(info.etag),
        false => text == dates::http_date(info.modified_ms),
    }
}

/// An object that was put whole has one part, itself, and no count of parts.
fn part_view(part: i32, info: &ObjectInfo) -> Result<View> {
    let number = common::PartNumber::new(i64::from(part))?.number();
    let index = usize::from(number - 1);
    if info.part_sizes.is_empty() && index == 0 {
        return Ok(View { range: 0..info.size, partial: info.size > 0, part: None, parts_count: None });
    }
    let size = *info.part_sizes.get(index).ok_or(Error::InvalidPartNumber)?;
    let start: u64 = info.part_sizes[..index].iter().sum();
    let parts_count = Some(listing::count(info.part_sizes.len()));
    Ok(View { range: start..start + size, partial: size > 0, part: Some(index), parts_count })
}

impl View {
    /// The checksum of what is seen, with its type: of the whole object or of one of its parts.
    pub fn checksum(&self, info: &ObjectInfo) -> Option<(Option<Answered>, Option<ChecksumType>)> {
        if let Some(part) = self.part.and_then(|index| info.part_checksums.get(index)) {
            let (_, kind) = checksums::of_object(&info.checksums, info.composite.as_ref(), info.part_sizes.len());
            return Some((Some(part.into()), kind));
        }
        let is_whole = self.range == (0..info.size);
        is_whole.then(|| checksums::of_object(&info.checksums, info.composite.as_ref(), info.part_sizes.len()))
    }

    pub fn content_range(&self, info: &ObjectInfo) -> Option<String> {
        let Range { start, end } = self.range;
        self.partial.then(|| format!("bytes {start}-{}/{}", end - 1, info.size))
    }

    /// The headers that GET and HEAD answer with.
    pub fn headers(&self, info: &ObjectInfo) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        attributes::write_headers(&info.attributes, &mut headers);
        let ours = |text: String| {
            HeaderValue::try_from(text).map_err(|_| Error::Internal("a formatted header has a control character"))
        };
        headers.insert(header::ETAG, ours(format!("\"{}\"", info.etag))?);
        headers.insert(header::LAST_MODIFIED, ours(dates::http_date(info.modified_ms))?);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        Ok(headers)
    }
}

/// The headers that `response-*` replaces. s3s writes the new values, and ours must not overwrite them.
fn overridden(input: &GetObjectInput) -> Vec<header::HeaderName> {
    let asked = [
        (header::CONTENT_TYPE, input.response_content_type.is_some()),
        (header::CONTENT_LANGUAGE, input.response_content_language.is_some()),
        (header::EXPIRES, input.response_expires.is_some()),
        (header::CACHE_CONTROL, input.response_cache_control.is_some()),
        (header::CONTENT_DISPOSITION, input.response_content_disposition.is_some()),
        (header::CONTENT_ENCODING, input.response_content_encoding.is_some()),
    ];
    asked.into_iter().filter_map(|(name, asked)| asked.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{Stamp, VersionId};

    fn info(size: u64, part_sizes: &[u64]) -> ObjectInfo {
        ObjectInfo {
            stamp: Stamp::ZERO,
            version: VersionId::Null,
            size,
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

    fn seen(range: Option<&'static str>, part: Option<i32>, info: &ObjectInfo) -> Result<(Range<u64>, Option<String>)> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(header::RANGE, HeaderValue::from_static(range));
        }
        let view = view(&headers, part, info)?;
        Ok((view.range.clone(), view.content_range(info)))
    }

    #[test]
    fn ranges_and_parts_are_seen() {
        let whole = info(10, &[]);
        assert_eq!(seen(None, None, &whole).expect("all"), (0..10, None));
        assert_eq!(seen(Some("bytes=2-3"), None, &whole).expect("range"), (2..4, Some("bytes 2-3/10".into())));
        assert_eq!(seen(None, Some(1), &whole).expect("part"), (0..10, Some("bytes 0-9/10".into())));
        assert_eq!(seen(None, Some(1), &info(0, &[])).expect("empty"), (0..0, None));
        let parts = info(10, &[4, 6]);
        assert_eq!(seen(None, Some(2), &parts).expect("part"), (4..10, Some("bytes 4-9/10".into())));
    }

    #[test]
    fn a_changed_object_is_sent_whole() {
        let info = info(10, &[]);
        let seen = |validator: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static("bytes=2-3"));
            headers.insert(header::IF_RANGE, validator.parse().expect("a header value"));
            view(&headers, None, &info).expect("satisfiable").range
        };
        assert_eq!(seen(&format!("\"{}\"", info.etag)), 2..4);
        assert_eq!(seen("Thu, 01 Jan 1970 00:00:00 GMT"), 2..4);
        assert_eq!(seen("\"11111111111111111111111111111111\""), 0..10);
        assert_eq!(seen("Thu, 01 Jan 1970 00:00:01 GMT"), 0..10);
        assert_eq!(seen("W/\"0\""), 0..10);
    }

    #[test]
    fn what_is_not_there_is_416() {
        let whole = info(10, &[]);
        let code = |range, part, info: &ObjectInfo| seen(range, part, info).expect_err("refused").answer();
        assert_eq!(code(Some("bytes=10-"), None, &whole).code, "InvalidRange");
        assert_eq!(code(Some("bytes=0-"), None, &info(0, &[])).status, 416);
        assert_eq!(code(None, Some(2), &whole).code, "InvalidPartNumber");
        assert_eq!(code(None, Some(3), &info(10, &[4, 6])).status, 416);
        assert_eq!(code(None, Some(0), &whole).code, "InvalidArgument");
        assert_eq!(code(Some("bytes=0-"), Some(1), &whole).code, "InvalidRequest");
    }
}
