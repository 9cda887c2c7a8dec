//! Control characters in documents that name keys. s3s writes them as they are. A carriage return then arrives at every XML
//! parser as a line feed, so that a client goes on behind a key that is none, for ever; the others are no XML at all. S3
//! writes references: parsers read `&#13;` back, and of the rest what they are willing to.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use s3s::Body;
use std::io::Write;

/// Operations whose documents name keys or echo what was asked.
fn names_keys(operation: &str) -> bool {
    let others = ["DeleteObjects", "CreateMultipartUpload", "CompleteMultipartUpload"];
    // A policy is JSON, as it was put.
    if operation == "GetBucketPolicy" {
        return false;
    }
    operation.starts_with("List") || operation.starts_with("GetBucket") || others.contains(&operation)
}

/// Line feeds and tabs survive as they are.
fn is_lost(byte: u8) -> bool {
    byte < b' ' && byte != b'\n' && byte != b'\t'
}

pub fn escape(operation: &str, answer: Response<Body>) -> Response<Body> {
    // Without a way out in the middle of a piece, the compiler looks at many bytes at once.
    let holds_lost = |piece: &[u8]| piece.iter().fold(false, |found, byte| found | is_lost(*byte));
    let document = answer.body().bytes().filter(|document| document.chunks(1024).any(holds_lost));
    let Some(document) = document.filter(|_| names_keys(operation)) else { return answer };
    let document = with_references(&document);
    let (mut head, _) = answer.into_parts();
    if head.headers.contains_key(header::CONTENT_LENGTH) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
    }
    Response::from_parts(head, Body::from(document))
}

fn with_references(document: &[u8]) -> Bytes {
    let mut written = Vec::with_capacity(document.len() + 64);
    for &byte in document {
        if is_lost(byte) {
            write!(written, "&#{byte};").expect("a vector takes everything");
        } else {
            written.push(byte);
        }
    }
    written.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(operation: &str, document: &'static str) -> (Bytes, HeaderValue) {
        let answer = Response::builder().header("content-length", document.len()).body(Body::from(document.to_owned()));
        let (head, body) = escape(operation, answer.expect("an answer")).into_parts();
        (body.bytes().expect("a document"), head.headers["content-length"].clone())
    }

    #[test]
    fn keys_keep_their_control_characters() {
        let (document, length) = escaped("ListObjects", "<Key>a\rb\u{1}\n\tü</Key>");
        assert_eq!(document, "<Key>a&#13;b&#1;\n\tü</Key>");
        assert_eq!(length, document.len().to_string());
    }

    #[test]
    fn objects_are_left_alone() {
        assert_eq!(escaped("GetObject", "a\r\nb\0").0, "a\r\nb\0");
    }
}
