//! What the fuzz targets of `fuzz/` call: each takes bytes that a client could send and asserts something about what is made
//! of them. The tests below play the kept seeds through them, and changed copies of the seeds.

use crate::guard::framing::{Framing, Trailers};
use crate::guard::{SignatureV2, credentials, form, query, xml};
use crate::lenient;
use crate::limits;
use crate::listener::proxy_protocol::{missing, parse};
use crate::listener::wire::{self, Chunks};
use crate::peer::Told;
use bytes::Bytes;
use common::{ByteRange, ObjectKey};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::collections::VecDeque;
use std::net::IpAddr;

/// A document: it is bounded, and what s3s reads in it stands in it.
pub fn xml(data: &[u8]) {
    let bounds = xml::Bounds::list(limits::DELETE_KEYS_MAX);
    if xml::check(data, bounds).is_err() {
        return;
    }
    let text = std::str::from_utf8(data).unwrap_or("");
    // Behind the end of a tag, where no comment, attribute or declaration can hide them, these are always refused.
    if !text.contains("<!--") && !text.contains("<?") && !text.contains(['"', '\'']) {
        assert!(!text.contains("><!DOCTYPE") && !text.contains("><![CDATA["));
    }
    let mut reader = s3s::xml::Deserializer::new(data);
    if let Ok(delete) = <s3s::dto::Delete as s3s::xml::Deserialize<'_>>::deserialize(&mut reader) {
        assert!(delete.objects.len() <= bounds.nodes);
        assert!(delete.objects.iter().map(|object| object.key.len()).sum::<usize>() <= data.len());
    }
    let mut reader = s3s::xml::Deserializer::new(data);
    if let Ok(list) = <s3s::dto::CompletedMultipartUpload as s3s::xml::Deserialize<'_>>::deserialize(&mut reader) {
        let parts = list.parts.unwrap_or_default();
        assert!(parts.len() <= bounds.nodes && parts.iter().all(|part| part.part_number.is_none_or(|part| part >= 0)));
    }
}

/// `aws-chunked` framing: pieces give what the whole gives, the payload is as long as the sizes say, and it is the same whether
/// s3s takes the framing off or the guard does.
pub fn framing(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else { return };
    let signed = first & 1 == 1;
    let (whole, pieces) = (frame(signed, body, usize::MAX), frame(signed, body, usize::from(first >> 1) + 1));
    assert_eq!(whole.is_err(), pieces.is_err());
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        if signed {
            assert_eq!(whole, pieces);
            assert!(body.starts_with(&whole));
        } else {
            let (bytes, trailer) = payload(&whole);
            assert_eq!((&bytes, trailer), (&payload(&pieces).0, payload(&pieces).1));
            if let Ok(taken) = take_off(body, usize::from(first >> 1) + 1) {
                assert_eq!(taken.0, bytes);
                assert_eq!(taken.1.is_empty(), trailer.is_empty() || trailer == b"\r\n");
            }
        }
    }
    let (whole, pieces) = (take_off(body, usize::MAX), take_off(body, usize::from(first >> 1) + 1));
    assert_eq!(whole.ok(), pieces.ok());
}

/// The payload and the trailers of framing that the guard takes off.
fn take_off(body: &[u8], piece: usize) -> Result<(Vec<u8>, http::HeaderMap), String> {
    let trailers = Trailers::default();
    let (mut framing, mut out) = (Framing::taken_off(trailers.clone()), VecDeque::new());
    for piece in body.chunks(piece.min(body.len().max(1))) {
        framing.feed(Bytes::copy_from_slice(piece), &mut out)?;
    }
    framing.ends()?;
    let trailers = trailers.0.get().cloned().expect("set when the body has ended");
    Ok((out.into_iter().flatten().collect(), trailers))
}

fn frame(signed: bool, body: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    let (mut framing, mut out) = (Framing::new(signed), VecDeque::new());
    for piece in body.chunks(piece.min(body.len().max(1))) {
        framing.feed(Bytes::copy_from_slice(piece), &mut out)?;
    }
    Ok(out.into_iter().flatten().collect())
}

/// The payload and the trailer of unsigned framing as this program writes it.
fn payload(mut framed: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut payload = Vec::new();
    while let Some(end) = framed.windows(2).position(|two| two == b"\r\n") {
        let text = std::str::from_utf8(&framed[..end]).expect("a size is text");
        let size = usize::from_str_radix(text, 16).expect("a size is a number");
        framed = &framed[end + 2..];
        if size == 0 {
            return (payload, framed);
        }
        payload.extend_from_slice(&framed[..size]);
        framed = framed[size..].strip_prefix(b"\r\n").expect("a chunk ends");
    }
    assert!(framed.is_empty());
    (payload, framed)
}

/// What proxies say: lines of `X-Forwarded-For`, or behind a first byte of 1 of `Forwarded`. Whatever a client has written, a
/// proxy that puts its client behind it as a line of its own is believed, or the request is refused.
pub fn forwarded(data: &[u8]) {
    let Some((&first, lines)) = data.split_first() else { return };
    let name = if first & 1 == 1 { header::FORWARDED } else { HeaderName::from_static("x-forwarded-for") };
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(name.clone(), value);
    }
    let trusts = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
    let _ = Told::of(&headers, trusts);
    let client = if first & 1 == 1 { "for=1.1.1.1" } else { "1.1.1.1" };
    headers.append(name, HeaderValue::from_static(client));
    if let Ok(told) = Told::of(&headers, trusts) {
        assert_eq!(told.map(|told| told.address), Some(IpAddr::from([1, 1, 1, 1])));
    }
}

/// What a proxy says before its client's bytes, with some behind it: no byte too many is asked for, and all that is asked for is
/// read as one header.
pub fn proxy_protocol(data: &[u8]) {
    let mut length = 0;
    while let Ok(missing) = missing(&data[..length]) {
        if missing == 0 {
            let proxy = IpAddr::from([10, 0, 0, 1]);
            let client = parse(&data[..length], proxy);
            assert!(length <= limits::PROXY_HEADER_BYTES_MAX);
            assert!((0..length).all(|end| parse(&data[..end], proxy).is_err()), "too much was read: {client:?}");
            let whole = proxy_header::ProxyHeader::parse(data, Default::default());
            match (client, whole) {
                (Ok(_), whole) => assert_eq!(whole.expect("it is at the beginning").1, length),
                // Of an unknown client anything may be said, and a line that ends twice is not taken here.
                (Err(_), whole) => assert!(whole.is_err() || data.starts_with(b"PROXY UNKNOWN")),
            }
            return;
        }
        length += missing.min(1 + length % 7);
        if length > data.len() {
            return;
        }
    }
}

/// A form: pieces give the fields and the file that the whole gives.
pub fn form(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else { return };
    let (whole, pieces) = (events(body, usize::MAX), events(body, usize::from(first) + 1));
    assert_eq!(whole.is_err(), pieces.is_err());
    if let (Ok((whole, file)), Ok((pieces, same_file))) = (whole, pieces) {
        assert_eq!((whole, &file), (pieces, &same_file));
        assert!(file.len() <= body.len());
    }
}

/// The events without the file's bytes, and these in one piece.
fn events(body: &[u8], piece: usize) -> Result<(Vec<form::Event>, Vec<u8>), form::FormError> {
    let mut parser = form::FormParser::new("multipart/form-data; boundary=x", 20 * 1024)?;
    let (mut events, mut file) = (Vec::new(), Vec::new());
    for piece in body.chunks(piece.min(body.len().max(1))) {
        parser.feed(piece);
        while let Some(event) = parser.next_event()? {
            match event {
                form::Event::FileBytes(bytes) => file.extend_from_slice(&bytes),
                other => events.push(other),
            }
        }
    }
    Ok((events, file))
}

/// HTTP's own framing: pieces give what the whole gives, and what passes has one reading.
pub fn http(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let step = usize::from(first) + 1;

    let whole = wire::head_end(data, 0).map_err(|error| error.to_string());
    let mut seen = 0;
    let pieces = loop {
        let next = (seen + step).min(data.len());
        match wire::head_end(&data[..next], seen).map_err(|error| error.to_string()) {
            Ok(None) if next < data.len() => seen = next,
            done => break done,
        }
    };
    assert_eq!(whole, pieces);
    if let Ok(Some(end)) = whole {
        let head = &data[..end];
        assert_eq!(
            head.iter().filter(|&&byte| byte == b'\n').count(),
            head.windows(2).filter(|two| two == b"\r\n").count()
        );
        if let Ok(framing) = wire::body_framing(head) {
            let text = String::from_utf8_lossy(head).to_ascii_lowercase();
            let count = |name: &str| text.split("\r\n").filter(|line| line.starts_with(name)).count();
            assert_eq!(count("transfer-encoding:") == 1, framing == wire::BodyFraming::Chunked);
            assert!(count("transfer-encoding:") + count("content-length:") <= 1 && count("host:") <= 1);
        }
    }

    let chunks = |step: usize| {
        let (mut chunks, mut taken) = (Chunks::default(), 0);
        for piece in data.chunks(step) {
            taken += chunks.take(piece).map_err(|error| error.to_string())?;
        }
        Ok::<_, String>((taken, chunks.ended()))
    };
    let whole = chunks(data.len().max(1));
    assert_eq!(whole, chunks(step));
    if let Ok((taken, true)) = whole {
        assert!(data[..taken].ends_with(b"\r\n\r\n"));
    }
}

/// `Authorization` in the first line, the query in the second, of a request that would be a copy: only who names that
/// header among the signed ones, as it is, gets through.
pub fn credentials(data: &[u8]) {
    let mut lines = data.splitn(2, |&byte| byte == b'\n');
    let authorization = lines.next().unwrap_or_default();
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert("x-amz-copy-source", HeaderValue::from_static("/b/k"));
    if let Some(value) = HeaderValue::from_bytes(authorization).ok().filter(|value| !value.is_empty()) {
        headers.insert(header::AUTHORIZATION, value);
    }
    let pairs = query::pairs(&query);
    let names_it = |list: &str| list.split(';').any(|name| name == "x-amz-copy-source");
    let old = credentials::Old { allowed: SignatureV2::Off, now_ms: 0 };
    match credentials::check(&headers, &pairs, "us-east-1", old) {
        Err(_) => {}
        Ok(credentials::Mechanism::Anonymous) => {
            assert!(!headers.contains_key(header::AUTHORIZATION));
            assert!(!pairs.iter().any(|(key, _)| key == "X-Amz-Signature" || key == "Signature"));
        }
        Ok(credentials::Mechanism::Old(_)) => unreachable!("it is off"),
        Ok(credentials::Mechanism::Header(key)) => {
            let text = String::from_utf8_lossy(authorization);
            assert!(text.contains(&format!("Credential={key}/")));
            let list = text.split_once("SignedHeaders=").expect("a list").1;
            assert!(names_it(list.split(',').next().unwrap_or_default().trim_end()));
        }
        Ok(credentials::Mechanism::Presigned(key)) => {
            let value = |name: &str| pairs.iter().find(|(key, _)| key == name).expect("checked").1.as_ref();
            assert!(
                value("X-Amz-Credential").starts_with(&format!("{key}/")) && names_it(value("X-Amz-SignedHeaders"))
            );
            assert!(
                value("X-Amz-Expires").parse::<u64>().is_ok_and(|seconds| seconds <= limits::PRESIGNED_SECONDS_MAX)
            );
        }
    }
}

/// A path and a query: whatever deletes an object says nothing that is not understood.
pub fn query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    let decoded = query::percent_decode(path);
    assert!(decoded.len() <= path.len() * 3);
    let levels = [query::Level::of(&decoded, false), query::Level::of(&decoded, true)];
    let pairs = query::pairs(query);
    for level in levels {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            let accepted = query::check(&method, level, &pairs).is_ok();
            if accepted && method == Method::DELETE && level == query::Level::Object {
                let known = |key: &str| {
                    key.to_ascii_lowercase().starts_with("x-") || ["versionId", "uploadId", "tagging"].contains(&key)
                };
                assert!(pairs.iter().all(|(key, _)| known(key)), "{pairs:?}");
            }
        }
    }
}

/// A `Range`: it names bytes of the object or none, and what s3s is given in its place names the same ones.
pub fn range(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let parsed = value.to_str().ok().and_then(|text| ByteRange::parse(text).ok());
    let headers = HeaderMap::from_iter([(header::RANGE, value)]);
    let smaller = lenient::smaller_range(&headers);
    let Some(range) = parsed else {
        assert!(smaller.is_none());
        return;
    };
    let instead = smaller.map(|value| ByteRange::parse(value.to_str().expect("ASCII")).expect("ours"));
    for size in [0, 1, 11, 1 << 40, i64::MAX.unsigned_abs()] {
        if let Ok(bytes) = range.resolve(size) {
            assert!(bytes.start < bytes.end && bytes.end <= size);
        }
        if let Some(instead) = instead {
            assert_eq!(instead.resolve(size), range.resolve(size));
        }
    }
}

/// An `x-amz-copy-source`: what is read of it is a name, never more than was sent.
pub fn copy_source(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(s3s::dto::CopySource::Bucket { bucket, key, .. }) = s3s::dto::CopySource::parse(text) {
        assert!(!bucket.contains('/') && bucket.len() + key.len() < text.len());
        if let Ok(parsed) = ObjectKey::parse(&key) {
            assert_eq!(parsed.as_str(), &*key);
        }
    }
}

#[cfg(test)]
#[path = "../../fuzz/play.rs"]
mod play;

#[cfg(test)]
mod tests {
    use super::play::play;

    #[test]
    fn the_seeds_pass() {
        play("xml", super::xml);
        play("framing", super::framing);
        play("form", super::form);
        play("http", super::http);
        play("forwarded", super::forwarded);
        play("proxy_protocol", super::proxy_protocol);
        play("credentials", super::credentials);
        play("query", super::query);
        play("range", super::range);
        play("copy_source", super::copy_source);
    }
}
