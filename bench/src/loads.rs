//! The loads: where requests come from.

use crate::answer::AnswerReader;
use crate::limits::PAYLOAD_BYTES;
use crate::request::{Body, Expected, Request, Requests};
use crate::signer::Signer;

/// Requests that were signed before, one after the other: round and round, or once.
pub struct Prepared {
    heads: Vec<Vec<u8>>,
    at: usize,
    once: bool,
    body_bytes: u64,
    expected: Expected,
}

impl Prepared {
    pub fn new(heads: Vec<Vec<u8>>, expected: Expected) -> Self {
        Self { heads, at: 0, once: false, body_bytes: 0, expected }
    }

    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    pub fn with_body(mut self, bytes: u64) -> Self {
        self.body_bytes = bytes;
        self
    }
}

impl Requests for Prepared {
    fn next(&mut self, _connection: usize, request: &mut Request) -> bool {
        if self.once && self.at == self.heads.len() {
            return false;
        }
        request.head.extend_from_slice(&self.heads[self.at % self.heads.len()]);
        request.body = body(self.body_bytes, self.at as u64);
        request.expected = self.expected;
        self.at += 1;
        true
    }
}

/// Puts numbered objects, each once. Signed on the way: a million heads would take half a gigabyte.
pub struct Fill<'a> {
    signer: &'a mut Signer,
    /// The path of an object.
    path: &'a (dyn Fn(u64, &mut String) + Sync),
    next: u64,
    end: u64,
    body_bytes: u64,
    text: String,
}

impl<'a> Fill<'a> {
    pub fn new(
        signer: &'a mut Signer,
        path: &'a (dyn Fn(u64, &mut String) + Sync),
        numbers: std::ops::Range<u64>,
        body_bytes: u64,
    ) -> Self {
        Self { signer, path, next: numbers.start, end: numbers.end, body_bytes, text: String::new() }
    }
}

impl Requests for Fill<'_> {
    fn next(&mut self, _connection: usize, request: &mut Request) -> bool {
        if self.next == self.end {
            return false;
        }
        self.text.clear();
        (self.path)(self.next, &mut self.text);
        self.signer.head(&mut request.head, "PUT", &self.text, "", Some(self.body_bytes));
        request.body = body(self.body_bytes, self.next);
        request.expected = Expected::default();
        self.next += 1;
        true
    }
}

/// The body of an object: no two neighbours have the same one, which a server that looks for equal blocks would store once.
fn body(bytes: u64, number: u64) -> Body {
    match bytes {
        0 => Body::None,
        bytes => Body::Payload { bytes, from: (number.wrapping_mul(4099) % PAYLOAD_BYTES as u64) as usize },
    }
}

/// Uploads in parts: create, the parts one after the other, complete. One operation each.
pub struct Multipart<'a> {
    signer: &'a mut Signer,
    bucket: String,
    parts: u32,
    part_bytes: u64,
    uploads: Vec<Upload>,
    next_key: u64,
}

/// How far a connection's upload has come.
#[derive(Default)]
struct Upload {
    key: u64,
    id: Option<String>,
    etags: Vec<String>,
}

impl<'a> Multipart<'a> {
    pub fn new(signer: &'a mut Signer, bucket: &str, connections: usize, parts: u32, part_bytes: u64) -> Self {
        let uploads = (0..connections).map(|_| Upload::default()).collect();
        Self { signer, bucket: bucket.to_owned(), parts, part_bytes, uploads, next_key: 0 }
    }
}

/// Keys of uploads in parts, which are overwritten again and again.
const MULTIPART_KEYS: u64 = 32;

impl Requests for Multipart<'_> {
    fn next(&mut self, connection: usize, request: &mut Request) -> bool {
        let upload = &mut self.uploads[connection];
        request.expected = Expected::default();
        let Some(id) = &upload.id else {
            upload.key = self.next_key % MULTIPART_KEYS;
            self.next_key += 1;
            let path = format!("/{}/multipart/{:06}", self.bucket, upload.key);
            self.signer.head(&mut request.head, "POST", &path, "uploads=", Some(0));
            request.body = Body::None;
            (request.keep, request.unfinished) = (true, true);
            return true;
        };
        let path = format!("/{}/multipart/{:06}", self.bucket, upload.key);
        let done = upload.etags.len() as u32;
        if done < self.parts {
            let query = format!("partNumber={}&uploadId={id}", done + 1);
            self.signer.head(&mut request.head, "PUT", &path, &query, Some(self.part_bytes));
            request.body = body(self.part_bytes, upload.key * 7 + u64::from(done));
            (request.keep, request.unfinished) = (true, true);
            return true;
        }
        let text = completion(&upload.etags);
        let query = format!("uploadId={id}");
        self.signer.head(&mut request.head, "POST", &path, &query, Some(text.len() as u64));
        request.body = Body::Text(text.into_bytes());
        (request.keep, request.unfinished) = (true, false);
        true
    }

    fn answered(&mut self, connection: usize, answer: &AnswerReader) -> Result<(), String> {
        let upload = &mut self.uploads[connection];
        let body = String::from_utf8_lossy(&answer.body);
        if upload.id.is_none() {
            let id = element(&body, "UploadId").ok_or_else(|| format!("no UploadId in {body}"))?;
            upload.id = Some(id.to_owned());
        } else if (upload.etags.len() as u32) < self.parts {
            upload.etags.push(answer.header("etag").ok_or("a part without an ETag")?.to_owned());
        } else {
            *upload = Upload::default();
            // S3 may say 200 before it knows, and put the error into the body.
            element(&body, "ETag").ok_or_else(|| format!("completed without an ETag: {body}"))?;
        }
        Ok(())
    }
}

fn completion(etags: &[String]) -> String {
    let part = |(index, etag): (usize, &String)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", index + 1)
    };
    let parts: String = etags.iter().enumerate().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// The text of the first element of this name.
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_requests_go_round_or_end() {
        let heads = vec![b"a".to_vec(), b"b".to_vec()];
        let mut request = Request::default();
        let mut round = Prepared::new(heads.clone(), Expected::default());
        for _ in 0..3 {
            assert!(round.next(0, &mut request));
        }
        assert_eq!(request.head, b"aba");
        let mut once = Prepared::new(heads, Expected::default()).once();
        assert!(once.next(0, &mut request) && once.next(0, &mut request) && !once.next(0, &mut request));
    }

    #[test]
    fn an_upload_in_parts_is_one_operation() {
        let mut signer = Signer::none("h");
        let mut load = Multipart::new(&mut signer, "b", 1, 1, 5);
        let mut reader = AnswerReader::new();
        let mut step = |load: &mut Multipart<'_>, answer: &[u8]| {
            let mut request = Request::default();
            assert!(load.next(0, &mut request) && request.keep);
            reader.expect(false, true);
            reader.take(answer).unwrap().unwrap();
            load.answered(0, &reader).unwrap();
            (String::from_utf8(request.head).unwrap().lines().next().unwrap().to_owned(), request.unfinished)
        };
        let created = b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n<R><UploadId>u</UploadId>";
        let (line, unfinished) = step(&mut load, created);
        assert!(line.starts_with("POST /b/multipart/000000?uploads= ") && unfinished, "{line}");
        let (line, unfinished) = step(&mut load, b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n");
        assert!(line.starts_with("PUT /b/multipart/000000?partNumber=1&uploadId=u ") && unfinished, "{line}");
        let completed = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n<ETag>\"x\"</ETag>x";
        let (line, unfinished) = step(&mut load, completed);
        assert!(line.starts_with("POST /b/multipart/000000?uploadId=u ") && !unfinished, "{line}");
        let (line, _) = step(&mut load, created);
        assert!(line.starts_with("POST /b/multipart/000001?uploads= "), "{line}");
    }
}
