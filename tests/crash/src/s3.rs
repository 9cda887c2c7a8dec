//! A small S3 client: one connection, HTTP/1.1, SigV4 in the header. It never retries, because the rounds must know
//! for each request whether it was acknowledged, refused, or neither.

use anyhow::{Context, Result, bail};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

const REGION: &str = "us-east-1";
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

pub struct Client {
    address: SocketAddr,
    access_key: String,
    secret_key: String,
    connection: Option<BufReader<TcpStream>>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    #[cfg(test)]
    pub fn for_test(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body }
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The text of the first element of this name.
    pub fn element(&self, name: &str) -> Option<String> {
        elements(&String::from_utf8_lossy(&self.body), name).into_iter().next()
    }
}

/// A request before it is signed. The path is the key as it is; it is encoded here.
pub struct Request<'a> {
    pub method: &'static str,
    pub bucket: &'a str,
    pub key: &'a str,
    pub query: &'a [(&'a str, &'a str)],
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// Ten seconds of them.
const LISTING_RETRIES_MAX: u32 = 50;

impl Client {
    pub fn new(address: SocketAddr, access_key: &str, secret_key: &str) -> Self {
        Self { address, access_key: access_key.to_owned(), secret_key: secret_key.to_owned(), connection: None }
    }

    /// An error means that nobody knows whether the server did it.
    pub fn send(&mut self, request: &Request<'_>) -> Result<Response> {
        let outcome = self.exchange(request);
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    pub fn put(&mut self, bucket: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        self.send(&Request { method: "PUT", bucket, key, query: &[], headers, body })
    }

    pub fn get(&mut self, bucket: &str, key: &str) -> Result<Response> {
        self.send(&Request { method: "GET", bucket, key, query: &[], headers: &[], body: &[] })
    }

    pub fn head(&mut self, bucket: &str, key: &str) -> Result<Response> {
        self.send(&Request { method: "HEAD", bucket, key, query: &[], headers: &[], body: &[] })
    }

    pub fn delete(&mut self, bucket: &str, key: &str) -> Result<Response> {
        self.send(&Request { method: "DELETE", bucket, key, query: &[], headers: &[], body: &[] })
    }

    pub fn create_upload(&mut self, bucket: &str, key: &str, headers: &[(&str, &str)]) -> Result<Response> {
        self.send(&Request { method: "POST", bucket, key, query: &[("uploads", "")], headers, body: &[] })
    }

    pub fn put_part(&mut self, bucket: &str, key: &str, upload: &str, part: u32, body: &[u8]) -> Result<Response> {
        let part = part.to_string();
        let query = [("partNumber", part.as_str()), ("uploadId", upload)];
        self.send(&Request { method: "PUT", bucket, key, query: &query, headers: &[], body })
    }

    pub fn complete_upload(&mut self, bucket: &str, key: &str, upload: &str, etags: &[String]) -> Result<Response> {
        let mut parts = String::new();
        for (index, etag) in etags.iter().enumerate() {
            parts += &format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", index + 1);
        }
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let query = [("uploadId", upload)];
        let answer =
            self.send(&Request { method: "POST", bucket, key, query: &query, headers: &[], body: body.as_bytes() })?;
        // S3 may say 200 before it knows, and put the error into the body.
        if answer.is_success() && answer.element("ETag").is_none() {
            bail!("complete answered 200 without a result: {}", String::from_utf8_lossy(&answer.body));
        }
        Ok(answer)
    }

    pub fn abort_upload(&mut self, bucket: &str, key: &str, upload: &str) -> Result<Response> {
        let query = [("uploadId", upload)];
        self.send(&Request { method: "DELETE", bucket, key, query: &query, headers: &[], body: &[] })
    }

    /// Number and length of each part of an open upload; `None` if there is no such upload.
    pub fn list_parts(&mut self, bucket: &str, key: &str, upload: &str) -> Result<Option<Vec<(u32, u64)>>> {
        let query = [("uploadId", upload)];
        let answer = self.send(&Request { method: "GET", bucket, key, query: &query, headers: &[], body: &[] })?;
        if answer.status == 404 {
            return Ok(None);
        }
        anyhow::ensure!(answer.is_success(), "listing the parts answered {}", answer.status);
        let mut parts = Vec::new();
        for entry in elements(&String::from_utf8_lossy(&answer.body), "Part") {
            let number = elements(&entry, "PartNumber").pop().context("a part without a number")?;
            let size = elements(&entry, "Size").pop().context("a part without a size")?;
            parts.push((number.parse()?, size.parse()?));
        }
        Ok(Some(parts))
    }

    /// All keys of the bucket, page by page, with their lengths.
    pub fn list(&mut self, bucket: &str, page: u32) -> Result<Vec<(String, u64)>> {
        let mut keys = Vec::new();
        let mut token = None::<String>;
        let page = page.to_string();
        loop {
            let mut query = vec![("list-type", "2"), ("max-keys", page.as_str())];
            if let Some(token) = &token {
                query.push(("continuation-token", token));
            }
            let request = Request { method: "GET", bucket, key: "", query: &query, headers: &[], body: &[] };
            let mut answer = self.send(&request)?;
            // An index that met an error of the disk is being built anew: every client comes again after 503.
            for _ in 0..LISTING_RETRIES_MAX {
                if answer.status != 503 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
                answer = self.send(&request)?;
            }
            anyhow::ensure!(answer.is_success(), "listing answered {}", answer.status);
            let text = String::from_utf8_lossy(&answer.body);
            for entry in elements(&text, "Contents") {
                let key = elements(&entry, "Key").pop().context("an entry without a key")?;
                let size = elements(&entry, "Size").pop().context("an entry without a size")?;
                keys.push((key, size.parse()?));
            }
            if elements(&text, "IsTruncated").first().is_none_or(|truncated| truncated != "true") {
                return Ok(keys);
            }
            let next = elements(&text, "NextContinuationToken").pop().context("a truncated page without a token")?;
            anyhow::ensure!(token.as_ref() != Some(&next), "a page gave its own token again");
            token = Some(next);
        }
    }

    fn exchange(&mut self, request: &Request<'_>) -> Result<Response> {
        let head = self.signed_head(request, OffsetDateTime::now_utc())?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, ANSWER_WITHIN)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                self.connection.insert(BufReader::new(stream))
            }
        };
        connection.get_mut().write_all(head.as_bytes())?;
        let sent = connection.get_mut().write_all(request.body);
        // A refusal may come before the body is through, and its sender may not want the rest.
        let (response, reusable) = read_response(connection, request.method == "HEAD")?;
        if !reusable || sent.is_err() {
            self.connection = None;
        }
        Ok(response)
    }

    fn signed_head(&self, request: &Request<'_>, now: OffsetDateTime) -> Result<String> {
        let timestamp = now.format(format_description!("[year][month][day]T[hour][minute][second]Z"))?;
        let day = &timestamp[..8];
        let path = match request.key {
            "" => format!("/{}", request.bucket),
            key => format!("/{}/{}", request.bucket, encode(key, true)),
        };
        let mut query: Vec<_> = request
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)))
            .collect();
        query.sort();
        let query = query.join("&");
        let body_hash = hex::encode(Sha256::digest(request.body));

        let mut headers = vec![
            ("host".to_owned(), self.address.to_string()),
            ("x-amz-content-sha256".to_owned(), body_hash.clone()),
            ("x-amz-date".to_owned(), timestamp.clone()),
        ];
        headers.extend(request.headers.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())));
        headers.sort();
        let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();

        let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{body_hash}", request.method);
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let canonical_hash = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{canonical_hash}");
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, REGION, "s3", "aws4_request"] {
            key = hmac_sha256(&key, part)?;
        }
        let signature = hex::encode(hmac_sha256(&key, &to_sign)?);

        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut head = format!("{} {target} HTTP/1.1\r\ncontent-length: {}\r\n", request.method, request.body.len());
        for (name, value) in &headers {
            head += &format!("{name}: {value}\r\n");
        }
        let access_key = &self.access_key;
        head += &format!(
            "authorization: AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n"
        );
        Ok(head)
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

/// SigV4's URI encoding.
fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            b'/' if keep_slash => encoded.push('/'),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// A whole response, and whether the connection can carry another.
fn read_response(connection: &mut impl BufRead, without_body: bool) -> Result<(Response, bool)> {
    let (status, headers) = loop {
        let head = read_head(connection)?;
        // 100 Continue and its like come before the answer.
        if head.0 >= 200 {
            break head;
        }
    };
    let mut response = Response { status, headers, body: Vec::new() };
    let mut reusable = response.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    let length = response.header("content-length").map(str::parse::<usize>).transpose()?;
    let chunked = response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if without_body || status == 204 || status == 304 {
        return Ok((response, reusable));
    }
    if chunked {
        response.body = read_chunks(connection)?;
    } else if let Some(length) = length {
        response.body = vec![0; length];
        connection.read_exact(&mut response.body).context("the body ends early")?;
    } else {
        connection.read_to_end(&mut response.body)?;
        reusable = false;
    }
    Ok((response, reusable))
}

fn read_head(connection: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let status_line = read_line(connection)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("not a status line: {status_line:?}"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_chunks(connection: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(connection)?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)?;
        if length == 0 {
            while !read_line(connection)?.is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + length, 0);
        connection.read_exact(&mut body[start..])?;
        anyhow::ensure!(read_line(connection)?.is_empty(), "a chunk is longer than it says");
    }
}

fn read_line(connection: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    anyhow::ensure!(connection.take(64 * 1024).read_line(&mut line)? > 0, "the connection was closed");
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The texts of all elements of this name that hold no element of the same name. Enough for S3's answers.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut texts = Vec::new();
    let mut rest = xml;
    while let Some((_, after)) = rest.split_once(&open) {
        let Some((text, after)) = after.split_once(&close) else { break };
        // Inner elements stay as they are: only a leaf's text is unescaped.
        texts.push(if text.contains('<') { text.to_owned() } else { unescape(text) });
        rest = after;
    }
    texts
}

fn unescape(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&#34;", "\"").replace("&apos;", "'").replace("&#39;", "'");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// The example of the documentation of SigV4.
    #[test]
    fn the_signing_key_is_that_of_the_documentation() {
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20150830", "us-east-1", "iam", "aws4_request"] {
            key = hmac_sha256(&key, part).unwrap();
        }
        assert_eq!(hex::encode(key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn a_head_names_every_signed_header_once_and_in_order() {
        let client = Client::new("127.0.0.1:9000".parse().unwrap(), "AK", "SK");
        let request = Request {
            method: "PUT",
            bucket: "b",
            key: "a b/ü",
            query: &[("uploadId", "x/y"), ("partNumber", "1")],
            headers: &[("x-amz-meta-seq", "7")],
            body: b"hello",
        };
        let head = client.signed_head(&request, datetime!(2026-01-02 03:04:05 UTC)).unwrap();
        assert!(head.starts_with("PUT /b/a%20b/%C3%BC?partNumber=1&uploadId=x%2Fy HTTP/1.1\r\ncontent-length: 5\r\n"));
        assert!(head.contains("x-amz-date: 20260102T030405Z\r\n"));
        assert!(head.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-seq, Signature="));
        assert!(head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn responses_are_read_whole_or_not_at_all() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 3\r\n\r\nabcHTTP";
        let (response, reusable) = read_response(&mut &text[..], false).unwrap();
        assert_eq!((response.status, response.body.as_slice(), reusable), (200, &b"abc"[..], true));
        assert_eq!(response.header("etag"), Some("\"x\""));

        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(read_response(&mut &text[..], false).unwrap().0.body, b"abcde");

        for torn in [&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"[..], b"HTTP/1.1 200 OK\r\nContent-Le", b""] {
            assert!(read_response(&mut &torn[..], false).is_err(), "{}", String::from_utf8_lossy(torn));
        }
    }

    #[test]
    fn elements_of_a_listing() {
        let xml = "<R><Contents><Key>a&amp;b</Key><Size>1</Size></Contents><Contents><Key>c</Key></Contents></R>";
        let entries = elements(xml, "Contents");
        assert_eq!(entries.len(), 2);
        assert_eq!(elements(&entries[0], "Key"), ["a&b"]);
        assert_eq!(elements(xml, "NextMarker"), Vec::<String>::new());
    }
}
