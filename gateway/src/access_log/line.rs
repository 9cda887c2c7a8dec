//! One line of a server access log. Pure.
//!
//! Source: "Amazon S3 server access log format", Amazon S3 User Guide. A field that is not known, or that a request has not,
//! is `-`; so are always the cipher suite, the version of TLS and the access point, as there is neither, and whether an
//! access control list was needed.

use crate::guard::query_pairs;
use http::{HeaderMap, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Write;
use std::net::IpAddr;
use time::OffsetDateTime;

/// What stays as it is in a key. A space or a quote in it must not look like the end of a field.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Parameters of a query that would let the log's reader send a request again.
const SECRETS: [&str; 3] = ["X-Amz-Signature", "X-Amz-Security-Token", "Signature"];

/// A request and its answer, as far as the log tells of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub owner: String,
    pub bucket: String,
    pub time_ms: u64,
    pub remote: Option<IpAddr>,
    /// The owner id of the key that signed.
    pub requester: Option<String>,
    pub request_id: String,
    /// As `operation::of` names it.
    pub operation: String,
    pub key: Option<String>,
    pub method: String,
    /// Path and query as they were on the wire; empty for one of many things that a request did.
    pub target: String,
    pub status: u16,
    pub error_code: Option<String>,
    pub bytes_sent: u64,
    pub object_bytes: Option<u64>,
    pub total_ms: u64,
    /// From the request's head to the answer's.
    pub turnaround_ms: u64,
    pub referer: Option<String>,
    pub user_agent: Option<String>,
    pub version_id: Option<String>,
    pub host_id: String,
    pub signature: Option<Signature>,
    pub host: Option<String>,
}

/// Where a request had its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Header,
    Query,
    /// Of version 2.
    OldHeader,
    OldQuery,
}

impl Signature {
    pub fn of(headers: &HeaderMap, query: &str) -> Option<Self> {
        if let Some(authorization) = headers.get(header::AUTHORIZATION) {
            let is_old = authorization.as_bytes().starts_with(b"AWS ");
            return Some(if is_old { Self::OldHeader } else { Self::Header });
        }
        if query.contains("X-Amz-Signature=") {
            return Some(Self::Query);
        }
        query.contains("AWSAccessKeyId=").then_some(Self::OldQuery)
    }
}

impl Entry {
    /// The line with its line end.
    pub fn line(&self) -> String {
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let (signed, where_signed) = match self.signature {
            None => ("-", "-"),
            Some(Signature::Header) => ("SigV4", "AuthHeader"),
            Some(Signature::Query) => ("SigV4", "QueryString"),
            Some(Signature::OldHeader) => ("SigV2", "AuthHeader"),
            Some(Signature::OldQuery) => ("SigV2", "QueryString"),
        };
        let mut line = String::with_capacity(512);
        let mut field = |text: &str| {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(text);
        };
        field(&bare(Some(&self.owner)));
        field(&self.bucket);
        field(&time(self.time_ms));
        field(&self.remote.map_or_else(|| "-".to_owned(), |address| address.to_string()));
        field(&bare(self.requester.as_deref()));
        field(&self.request_id);
        field(&self.operation);
        field(&self.key.as_ref().map_or_else(|| "-".to_owned(), |key| utf8_percent_encode(key, PLAIN).to_string()));
        let request =
            (!self.target.is_empty()).then(|| format!("{} {} HTTP/1.1", self.method, without_secrets(&self.target)));
        field(&quoted(request.as_deref()));
        field(&self.status.to_string());
        field(&bare(self.error_code.as_deref()));
        field(&number(Some(self.bytes_sent).filter(|bytes| *bytes > 0)));
        field(&number(self.object_bytes));
        field(&self.total_ms.to_string());
        field(&self.turnaround_ms.to_string());
        field(&quoted(self.referer.as_deref().map(without_secrets).as_deref()));
        field(&quoted(self.user_agent.as_deref()));
        field(&bare(self.version_id.as_deref()));
        field(&self.host_id);
        field(signed);
        field("-");
        field(where_signed);
        field(&bare(self.host.as_deref()));
        field("-");
        field("-");
        field("-");
        line.push('\n');
        line
    }
}

fn time(ms: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = moment(ms);
    let month = MONTHS[usize::from(u8::from(time.month())) - 1];
    let (day, year) = (time.day(), time.year());
    let (hour, minute, second) = time.to_hms();
    format!("[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000]")
}

pub fn moment(ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A field without quotes: what would end it is encoded.
fn bare(text: Option<&str>) -> String {
    let text = text.unwrap_or("-");
    if text.is_empty() { "-".to_owned() } else { written(text, |byte| byte <= b' ' || byte == b'"') }
}

/// A field in quotes: a client's own words, which may hold anything that a header can.
fn quoted(text: Option<&str>) -> String {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("-");
    format!("\"{}\"", written(text, |byte| byte < b' ' || byte == b'"' || byte == b'\\'))
}

fn written(text: &str, is_special: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte == 0x7f || (character.is_ascii() && is_special(byte)) => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(character),
        }
    }
    out
}

fn without_secrets(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let is_secret = |name: &str| {
        let read = query_pairs(name);
        let is_any = |read: &str| SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(read));
        read.first().is_some_and(|(read, _)| is_any(read))
    };
    let piece = |piece: &str| match piece.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=REDACTED"),
        _ => piece.to_owned(),
    };
    format!("{path}?{}", query.split('&').map(piece).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            owner: "ann".into(),
            bucket: "photos".into(),
            time_ms: 1_549_411_238_999,
            remote: Some(IpAddr::from([192, 0, 2, 3])),
            requester: Some("bob".into()),
            request_id: "3E57427F3EXAMPLE".into(),
            operation: "REST.GET.OBJECT".into(),
            key: Some("a b/ü\"c".into()),
            method: "GET".into(),
            target: "/photos/a%20b?versionId=null".into(),
            status: 200,
            error_code: None,
            bytes_sent: 113,
            object_bytes: Some(4096),
            total_ms: 7,
            turnaround_ms: 3,
            referer: None,
            user_agent: Some("S3Console/0.4 \"x\"".into()),
            version_id: Some("null".into()),
            host_id: "s9lz+Q=".into(),
            signature: Some(Signature::Header),
            host: Some("s3.example:9000".into()),
        }
    }

    #[test]
    fn lines_have_the_fields_of_s3() {
        assert_eq!(
            entry().line(),
            "ann photos [06/Feb/2019:00:00:38 +0000] 192.0.2.3 bob 3E57427F3EXAMPLE REST.GET.OBJECT a%20b/%C3%BC%22c \
             \"GET /photos/a%20b?versionId=null HTTP/1.1\" 200 - 113 4096 7 3 \"-\" \"S3Console/0.4 %22x%22\" null s9lz+Q= \
             SigV4 - AuthHeader s3.example:9000 - - -\n"
        );
        let refused = Entry {
            status: 404,
            error_code: Some("NoSuchKey".into()),
            bytes_sent: 0,
            object_bytes: None,
            key: None,
            remote: None,
            requester: None,
            version_id: None,
            signature: None,
            host: None,
            ..entry()
        };
        assert_eq!(
            refused.line(),
            "ann photos [06/Feb/2019:00:00:38 +0000] - - 3E57427F3EXAMPLE REST.GET.OBJECT - \
             \"GET /photos/a%20b?versionId=null HTTP/1.1\" 404 NoSuchKey - - 7 3 \"-\" \"S3Console/0.4 %22x%22\" - s9lz+Q= \
             - - - - - - -\n"
        );
    }

    /// Whatever a client sends, a line is one line with 26 fields.
    #[test]
    fn clients_cannot_forge_fields() {
        let forged = "x\" 200 - 1\\\nann photos [";
        let line = Entry {
            owner: "a b".into(),
            requester: Some("c\nd".into()),
            key: Some(forged.into()),
            target: forged.into(),
            referer: Some(forged.into()),
            user_agent: Some(String::new()),
            version_id: Some("a \"b".into()),
            host: Some("c d".into()),
            ..entry()
        }
        .line();
        assert_eq!(line.matches('\n').count(), 1);
        let mut fields = 0;
        let mut rest = line.trim_end();
        while !rest.is_empty() {
            let end = match rest.as_bytes()[0] {
                b'"' => rest[1..].find('"').expect("a quote ends") + 2,
                b'[' => rest.find(']').expect("a time ends") + 1,
                _ => rest.find(' ').unwrap_or(rest.len()),
            };
            fields += 1;
            rest = rest[end..].strip_prefix(' ').unwrap_or(&rest[end..]);
        }
        assert_eq!(fields, 26);
    }

    #[test]
    fn signatures_stay_out() {
        let entry =
            Entry { target: "/b/k?X-Amz-Signature=abc&X-Amz-Expires=5&X-Amz-Security-Token=t".into(), ..entry() };
        let line = entry.line();
        assert!(line.contains("/b/k?X-Amz-Signature=REDACTED&X-Amz-Expires=5&X-Amz-Security-Token=REDACTED HTTP/1.1"));
    }

    /// However its name is written, and in the page that a browser came from too.
    #[test]
    fn signatures_stay_out_of_referers_and_other_spellings() {
        let target = "/b/k?X%2DAmz%2DSignature=abc&%58-amz-security-token=abc&signature=abc&Signatures=abd".to_owned();
        let line = Entry { referer: Some(format!("http://web{target}")), target, ..entry() }.line();
        assert_eq!((line.matches("=abc").count(), line.matches("=abd").count()), (0, 2), "{line}");
        assert_eq!(line.matches("?X%2DAmz%2DSignature=REDACTED&%58-amz-security-token=REDACTED&").count(), 2, "{line}");
    }

    #[test]
    fn signatures_are_in_one_place() {
        let mut headers = HeaderMap::new();
        assert_eq!(Signature::of(&headers, "versionId=null"), None);
        assert_eq!(Signature::of(&headers, "a=b&X-Amz-Signature=0"), Some(Signature::Query));
        headers.insert(header::AUTHORIZATION, http::HeaderValue::from_static("AWS4-HMAC-SHA256 x"));
        assert_eq!(Signature::of(&headers, ""), Some(Signature::Header));
        headers.insert(header::AUTHORIZATION, http::HeaderValue::from_static("AWS a:b"));
        assert_eq!(Signature::of(&headers, ""), Some(Signature::OldHeader));
        assert_eq!(Signature::of(&HeaderMap::new(), "AWSAccessKeyId=a"), Some(Signature::OldQuery));
    }
}
