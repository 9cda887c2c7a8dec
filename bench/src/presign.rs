//! Query presigning with the signing key derived once: two hashes a request in place of seven. The arithmetic is that of
//! `common::sigv4`, which the tests hold this to.

use common::sigv4;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::io::Write as _;

pub const REGION: &str = "us-east-1";

/// A day: no run is longer.
const EXPIRES_SECONDS: u32 = 86_400;

pub struct Presigner {
    host: String,
    timestamp: String,
    scope: String,
    /// `X-Amz-Algorithm=...&...&X-Amz-SignedHeaders=host`, which is the same for all requests.
    query: String,
    key: Hmac<Sha256>,
    canonical: Vec<u8>,
}

impl Presigner {
    pub fn new(host: &str, access_key: &str, secret_key: &str, now_ms: u64) -> Self {
        let timestamp = sigv4::timestamp(now_ms);
        let date = &timestamp[..8];
        let scope = format!("{date}/{REGION}/s3/aws4_request");
        let query = format!(
            "X-Amz-Algorithm={}&X-Amz-Credential={access_key}%2F{}&X-Amz-Date={timestamp}\
             &X-Amz-Expires={EXPIRES_SECONDS}&X-Amz-SignedHeaders=host",
            sigv4::ALGORITHM,
            scope.replace('/', "%2F"),
        );
        let secret = format!("AWS4{secret_key}").into_bytes();
        let key = [date, REGION, "s3", "aws4_request"].iter().fold(secret, |key, step| {
            let mut mac = keyed(&key);
            mac.update(step.as_bytes());
            mac.finalize().into_bytes().to_vec()
        });
        Self { host: host.to_owned(), timestamp, scope, query, key: keyed(&key), canonical: Vec::new() }
    }

    /// Appends a request line and all headers to `out`. `path` and `query` are in the form that is signed: encoded, and the
    /// query's names ascending and in lower case.
    pub fn head(&mut self, out: &mut Vec<u8>, method: &str, path: &str, query: &str, body_bytes: Option<u64>) {
        let and = if query.is_empty() { "" } else { "&" };
        self.canonical.clear();
        let host = &self.host;
        let common = &self.query;
        write!(self.canonical, "{method}\n{path}\n{common}{and}{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD")
            .expect("memory takes all bytes");
        let hash = hex::encode(Sha256::digest(&self.canonical));
        let mut mac = self.key.clone();
        for part in [sigv4::ALGORITHM, "\n", &self.timestamp, "\n", &self.scope, "\n", &hash] {
            mac.update(part.as_bytes());
        }
        let signature = hex::encode(mac.finalize().into_bytes());
        write!(out, "{method} {path}?{common}{and}{query}&X-Amz-Signature={signature} HTTP/1.1\r\nHost: {host}\r\n")
            .expect("memory takes all bytes");
        if let Some(bytes) = body_bytes {
            write!(out, "Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n")
                .expect("memory takes all bytes");
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::sigv4::{Authorization, Request, Scope};

    #[test]
    fn a_signature_is_the_one_that_the_shared_arithmetic_gives() {
        for (method, path, query) in [
            ("GET", "/bucket/a/b", ""),
            ("GET", "/bucket", "delimiter=%2F&list-type=2&max-keys=1000&prefix=p"),
            ("PUT", "/bucket/key", "partNumber=1&uploadId=abc"),
        ] {
            let mut presigner = Presigner::new("127.0.0.1:9000", "AK", "secret", 1_767_323_045_000);
            let mut head = Vec::new();
            presigner.head(&mut head, method, path, query, None);
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap();
            let (signed, signature) = target.rsplit_once("&X-Amz-Signature=").unwrap();
            let request = Request {
                method,
                path,
                query: signed.split_once('?').unwrap().1,
                headers: vec![("host", "127.0.0.1:9000")],
                payload_hash: "UNSIGNED-PAYLOAD",
            };
            let scope = Scope { date: "20260102".into(), region: REGION.into(), service: "s3".into() };
            let expected = Authorization::sign("AK", "secret", scope, "20260102T030405Z", &request);
            assert_eq!(signature, expected.signature, "{head}");
        }
    }

    #[test]
    fn a_body_has_its_length_in_the_head() {
        let mut head = Vec::new();
        Presigner::new("h", "AK", "s", 0).head(&mut head, "PUT", "/b/k", "", Some(4096));
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("PUT /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F19700101%2F"));
        assert!(head.ends_with(
            " HTTP/1.1\r\nHost: h\r\nContent-Type: application/octet-stream\r\nContent-Length: 4096\r\n\r\n"
        ));
    }
}
