//! AWS Signature Version 4 in the `Authorization` header: the arithmetic that signer and verifier share.
//!
//! Source: AWS IAM User Guide, "Create a signed AWS API request". As for every S3 request, the path is percent-encoded
//! once, not twice.
//!
//! ```text
//! canonical request = METHOD \n path \n query \n name:value\n ... \n name;name... \n hex(SHA256(body))
//! string to sign    = AWS4-HMAC-SHA256 \n timestamp \n scope \n hex(SHA256(canonical request))
//! signing key       = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), service), "aws4_request")
//! signature         = hex(HMAC(signing key, string to sign))
//! ```
//!
//! No clock and no limits here: the verifier checks the time, which headers must be signed, and the body's hash.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fmt::Write;
use subtle::ConstantTimeEq;
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as far as it is signed.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As on the wire, percent-encoded.
    pub path: &'a str,
    /// As on the wire, without the question mark.
    pub query: &'a str,
    /// The headers to sign: lower-case names in any order. A name may repeat.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The value of `x-amz-content-sha256`.
    pub payload_hash: &'a str,
}

/// What a signature is valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    pub region: String,
    pub service: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// The value of the `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    pub access_key: String,
    pub scope: Scope,
    /// Lower-case names, ascending.
    pub signed_headers: Vec<String>,
    /// 64 lower-case hexadecimal digits.
    pub signature: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Authorization header is not a {ALGORITHM} one")]
pub struct MalformedAuthorization;

impl Authorization {
    /// The header for `request`, which must already have its `host`, `x-amz-date` (= `timestamp`) and
    /// `x-amz-content-sha256` among its headers.
    pub fn sign(access_key: &str, secret: &str, scope: Scope, timestamp: &str, request: &Request<'_>) -> Self {
        let mut signed_headers: Vec<_> = request.headers.iter().map(|(name, _)| (*name).to_owned()).collect();
        signed_headers.sort_unstable();
        signed_headers.dedup();
        let signature = signature(secret, &scope, timestamp, request);
        Self { access_key: access_key.to_owned(), scope, signed_headers, signature }
    }

    pub fn parse(header: &str) -> Result<Self, MalformedAuthorization> {
        Self::parse_fields(header).ok_or(MalformedAuthorization)
    }

    fn parse_fields(header: &str) -> Option<Self> {
        let fields = header.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=')?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }

        let mut credential = credential?.split('/');
        let mut next = || credential.next().map(str::to_owned);
        // A client that was told of no region signs for an empty one: whoever verifies says whether that will do.
        let (access_key, date, region, service, end) = (next()?, next()?, next()?, next()?, next()?);
        if [&access_key, &date, &service].into_iter().any(String::is_empty) {
            return None;
        }
        if end != "aws4_request" || credential.next().is_some() {
            return None;
        }
        let signed_headers: Vec<_> = signed_headers?.split(';').map(str::to_owned).collect();
        let ascending = signed_headers.windows(2).all(|pair| pair[0] < pair[1]);
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let signature = signature.filter(|text| text.len() == 64 && text.bytes().all(lower_hex))?.to_owned();
        let scope = Scope { date, region, service };
        ascending.then_some(Self { access_key, scope, signed_headers, signature })
    }

    /// Whether the holder of `secret` signed this `request` at `timestamp`. Takes the same time for every wrong signature.
    pub fn is_signed_by(&self, secret: &str, timestamp: &str, request: &Request<'_>) -> bool {
        signature(secret, &self.scope, timestamp, request).as_bytes().ct_eq(self.signature.as_bytes()).into()
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access_key, scope, signed_headers, signature } = self;
        let signed_headers = signed_headers.join(";");
        write!(f, "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed_headers}, Signature={signature}")
    }
}

/// `YYYYMMDDTHHMMSSZ` of milliseconds since 1970: the value of `x-amz-date`. Its first eight characters are a scope's date.
pub fn timestamp(now_ms: u64) -> String {
    let seconds = i64::try_from(now_ms / 1000).ok();
    let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    time.and_then(|time| time.format(format).ok()).expect("a clock before the year 10000")
}

/// Milliseconds since 1970 of such a value.
pub fn parse_timestamp(text: &str) -> Option<u64> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    let number = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .try_fold(0_u16, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u16::from(byte - b'0')))
    };
    let pair = |at: usize| number(at..at + 2).and_then(|number| u8::try_from(number).ok());
    let month = Month::try_from(pair(4)?).ok()?;
    let date = Date::from_calendar_date(number(0..4)?.into(), month, pair(6)?).ok()?;
    let time = Time::from_hms(pair(9)?, pair(11)?, pair(13)?).ok().filter(|_| bytes[8] == b'T' && bytes[15] == b'Z')?;
    u64::try_from(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp()).ok()?.checked_mul(1000)
}

/// The hexadecimal SHA-256 of a body: the value of `x-amz-content-sha256`.
pub fn payload_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

fn signature(secret: &str, scope: &Scope, timestamp: &str, request: &Request<'_>) -> String {
    let hash = payload_hash(canonical_request(request).as_bytes());
    let string_to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{hash}");
    signature_of(secret, scope, &string_to_sign)
}

/// The signature of a form upload's policy, which is signed as the form has it, in base64.
pub fn policy_signature(secret: &str, scope: &Scope, policy: &str) -> String {
    signature_of(secret, scope, policy)
}

fn signature_of(secret: &str, scope: &Scope, string_to_sign: &str) -> String {
    let Scope { date, region, service } = scope;
    hex::encode(SigningKey::derive(secret, date, region, service).sign(string_to_sign.as_bytes()))
}

/// What requests of one day, region and service are signed with. To derive it takes longer than to sign with it.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    pub fn derive(secret: &str, date: &str, region: &str, service: &str) -> Self {
        let first = keyed(format!("AWS4{secret}").as_bytes());
        [date, region, service, "aws4_request"]
            .iter()
            .fold(Self(first), |key, step| Self(keyed(&key.sign(step.as_bytes()))))
    }

    pub fn sign(&self, string_to_sign: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(string_to_sign).finalize().into_bytes().into()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn canonical_request(request: &Request<'_>) -> String {
    // Stable, so that values of a repeated name keep their order.
    let mut headers = request.headers.clone();
    headers.sort_by_key(|(name, _)| *name);
    let groups: Vec<_> = headers.chunk_by(|left, right| left.0 == right.0).collect();

    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method,
        encode(&decode(request.path), Slash::Kept),
        canonical_query(request.query)
    );
    for group in &groups {
        let values: Vec<_> = group.iter().map(|(_, value)| single_spaced(value)).collect();
        text.push_str(&format!("{}:{}\n", group[0].0, values.join(",")));
    }
    let names: Vec<_> = groups.iter().map(|group| group[0].0).collect();
    text.push_str(&format!("\n{}\n{}", names.join(";"), request.payload_hash));
    text
}

fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs: Vec<_> =
        pairs.map(|(name, value)| [name, value].map(|part| encode(&decode(part), Slash::Encoded))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|[name, value]| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn single_spaced(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

enum Slash {
    Kept,
    Encoded,
}

fn encode(bytes: &[u8], slash: Slash) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            b'/' if matches!(slash, Slash::Kept) => text.push('/'),
            _ => write!(text, "%{byte:02X}").expect("a string takes all text"),
        }
    }
    text
}

/// A percent sign that no two digits follow stands for itself.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let mut decoded = [0];
        match after.get(..2) {
            Some(digits) if byte == b'%' && hex::decode_to_slice(digits, &mut decoded).is_ok() => {
                bytes.push(decoded[0]);
                rest = &after[2..];
            }
            _ => bytes.push(byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const TIMESTAMP: &str = "20260102T030405Z";

    fn scope() -> Scope {
        Scope { date: "20260102".into(), region: "us-east-1".into(), service: "s3".into() }
    }

    fn request(payload_hash: &str) -> Request<'_> {
        Request {
            method: "POST",
            path: "/api/v1/keys/a%20b",
            query: "prefix=x%2Fy&b=2&a=%C3%A4&flag",
            headers: vec![
                ("x-amz-date", TIMESTAMP),
                ("host", "127.0.0.1:9001"),
                ("x-amz-content-sha256", payload_hash),
                ("content-type", "application/json"),
            ],
            payload_hash,
        }
    }

    /// The expected header was made by botocore 1.43.
    #[test]
    fn signs_like_botocore() {
        let hash = payload_hash(br#"{"owner":"ann"}"#);
        let header = Authorization::sign("WKEXAMPLE", SECRET, scope(), TIMESTAMP, &request(&hash)).to_string();
        assert_eq!(
            header,
            "AWS4-HMAC-SHA256 Credential=WKEXAMPLE/20260102/us-east-1/s3/aws4_request, \
             SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, \
             Signature=82d4a80f3526c2126509458ea6a3059ba7ea460667a5fc13b47d26cd5a6bee97"
        );
        let parsed = Authorization::parse(&header).unwrap();
        assert!(parsed.is_signed_by(SECRET, TIMESTAMP, &request(&hash)));
        assert!(!parsed.is_signed_by("another", TIMESTAMP, &request(&hash)));
        assert!(!parsed.is_signed_by(SECRET, "20260102T030406Z", &request(&hash)));
        let other = payload_hash(b"");
        assert!(!parsed.is_signed_by(SECRET, TIMESTAMP, &request(&other)));
    }

    #[test]
    fn canonical_text() {
        let request = Request {
            method: "GET",
            path: "/a b/%7euser/%zz/%C3%A4",
            query: "b=1&&a=2&a=1&c+d=x%20y",
            headers: vec![("x-b", " 1   2 "), ("x-a", "z"), ("x-b", "0")],
            payload_hash: "hash",
        };
        assert_eq!(
            canonical_request(&request),
            "GET\n/a%20b/~user/%25zz/%C3%A4\na=1&a=2&b=1&c%2Bd=x%20y\nx-a:z\nx-b:1 2,0\n\nx-a;x-b\nhash"
        );
    }

    #[test]
    fn malformed_headers_are_refused() {
        let hash = payload_hash(b"");
        let good = Authorization::sign("WK", SECRET, scope(), TIMESTAMP, &request(&hash)).to_string();
        assert!(Authorization::parse(&good.replace(", ", ",")).is_ok());
        for bad in [
            String::new(),
            "Bearer x".into(),
            "AWS WK:signature".into(),
            good.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
            good.replace("/aws4_request", ""),
            good.replace("/aws4_request", "/aws4_request/more"),
            good.replace("Credential=WK/", "Credential=/"),
            good.replace("Credential=", "Credentials="),
            good.replace("content-type;host", "host;content-type"),
            good.replace("content-type;host", "host;host"),
            format!("{good}0"),
            format!("{good}, Signature={}", "0".repeat(64)),
            good.replace("Signature=", "Signature=A"),
        ] {
            assert_eq!(Authorization::parse(&bad), Err(MalformedAuthorization), "{bad}");
        }
    }

    #[test]
    fn timestamps_go_there_and_back() {
        assert_eq!(timestamp(1_767_323_045_999), TIMESTAMP);
        assert_eq!(parse_timestamp(TIMESTAMP), Some(1_767_323_045_000));
        for bad in ["", "20260102", "20261302T030405Z", "19691231T235959Z", "20260102T030405"] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
    }
}
