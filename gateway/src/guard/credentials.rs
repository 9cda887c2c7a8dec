//! What must hold of a request's credentials before s3s verifies the signature: one mechanism, every `x-amz-*` header
//! signed, a bounded life. s3s 0.14.1 checks none of it, and a presigned PUT with an unsigned `x-amz-copy-source` would be
//! a copy under the signer's rights.
//!
//! Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.

use super::query::Pair;
use super::version_2::{self, Claim, SignatureV2};
use crate::error::{Error, Result};
use crate::limits;
use common::sigv4;
use http::{HeaderMap, header};

/// How a request says who sent it, with the access key that it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    Anonymous,
    Header(String),
    Presigned(String),
    /// Of Signature Version 2.
    Old(Claim),
}

impl Mechanism {
    pub fn claimed_key(self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::Header(key) | Self::Presigned(key) => Some(key),
            Self::Old(claim) => Some(claim.access_key),
        }
    }
}

const NOT_SUPPORTED: &str =
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
/// What Signature Version 2 is allowed for, and the time that its dates are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Old {
    pub allowed: SignatureV2,
    pub now_ms: u64,
}

/// boto3 and aws version 1 presign this way unless told otherwise, so the answer tells.
const VERSION_2: &str = "The authorization mechanism you have provided, Signature Version 2, is not supported. Please use \
    AWS4-HMAC-SHA256: in boto3 set config=Config(signature_version='s3v4') on the client; for aws run 'aws configure set \
    default.s3.signature_version s3v4'; for s3cmd set signature_v2 = False.";

/// The body of unsigned chunks with a trailer, as `x-amz-content-sha256` names it.
pub const UNSIGNED_TRAILER: &[u8] = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER";

pub fn check(headers: &HeaderMap, query: &[Pair<'_>], region: &str, old: Old) -> Result<Mechanism> {
    let authorizations = headers.get_all(header::AUTHORIZATION).iter().count();
    let presigned = query.iter().any(|(key, _)| is_presign_key(key));
    let version_2 = version_2::is_presigned(query);
    match (authorizations, presigned, version_2) {
        (0, false, false) => {}
        (0, false, true) if !old.allowed.takes_urls() => return Err(Error::InvalidRequest(VERSION_2.to_owned())),
        (1, false, false) | (0, true, false) | (0, false, true) => {}
        _ => {
            return Err(Error::InvalidArgument(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified"
                    .to_owned(),
            ));
        }
    }
    check_amz_headers(headers)?;
    // A checksum behind the body, which is how SDKs upload over TLS, needs no signature.
    let streaming = headers
        .get("x-amz-content-sha256")
        .is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-") && hash.as_bytes() != UNSIGNED_TRAILER);
    if version_2 {
        return version_2::of_query(headers, query, old.now_ms).map(Mechanism::Old);
    }
    match (authorizations, presigned) {
        (0, false) if streaming => {
            Err(Error::InvalidRequest("an unsigned request cannot have signed chunks".to_owned()))
        }
        (0, false) => Ok(Mechanism::Anonymous),
        (0, true) => check_presigned(headers, query, region).map(Mechanism::Presigned),
        _ => check_header(headers, query, region, old),
    }
}

/// The session token of a request whose credentials were checked: one, where its kind of signature has it. The header is among
/// the signed ones by then, and every parameter of a query is signed.
pub fn token(headers: &HeaderMap, query: &[Pair<'_>], mechanism: &Mechanism) -> Result<Option<String>> {
    let header = headers.get("x-amz-security-token").map(|value| value.to_str().map_err(|_| Error::InvalidToken));
    let mut in_query = query.iter().filter(|(key, _)| key == "X-Amz-Security-Token").map(|(_, value)| value.as_ref());
    match (mechanism, header.transpose()?, in_query.next(), in_query.next()) {
        (_, None, None, None) => Ok(None),
        (Mechanism::Header(_) | Mechanism::Presigned(_), Some(token), None, None)
        | (Mechanism::Presigned(_), None, Some(token), None) => Ok(Some(token.to_owned())),
        _ => Err(Error::InvalidToken),
    }
}

/// What a request to a query API was signed with, before it is verified.
pub struct HeaderSignature {
    pub authorization: sigv4::Authorization,
    /// The value of `x-amz-date`.
    pub timestamp: String,
}

/// The signature of a request to a query API, if it has one: in a header only. Its scope is not looked at, as the service stands
/// in the form.
pub fn check_query_api(headers: &HeaderMap, query: &[Pair<'_>]) -> Result<Option<HeaderSignature>> {
    if query.iter().any(|(key, _)| is_presign_key(key) || key == "Signature" || key == "AWSAccessKeyId") {
        return Err(Error::InvalidRequest("Sign the request in the Authorization header, not in its query".to_owned()));
    }
    check_amz_headers(headers)?;
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    let Some(text) = authorizations.next() else { return Ok(None) };
    if authorizations.next().is_some() {
        return Err(Error::InvalidArgument("Only one auth mechanism allowed".to_owned()));
    }
    let malformed =
        |what: &str| Error::AuthorizationMalformed(format!("The authorization header is malformed; {what}"));
    let authorization = text.to_str().ok().and_then(|text| sigv4::Authorization::parse(text).ok());
    let authorization = authorization.ok_or_else(|| malformed("expecting AWS4-HMAC-SHA256"))?;
    if !is_key_id(&authorization.access_key) {
        return Err(malformed("the credential has no access key"));
    }
    let timestamp = headers.get("x-amz-date").and_then(|value| value.to_str().ok());
    let timestamp = timestamp.ok_or_else(|| malformed("expecting x-amz-date"))?.to_owned();
    check_signed(headers, &authorization.signed_headers)?;
    Ok(Some(HeaderSignature { authorization, timestamp }))
}

fn is_presign_key(key: &str) -> bool {
    PRESIGN_KEYS.contains(&key)
}

const PRESIGN_KEYS: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"];

/// A query that is half signed is refused: s3s would take it for an anonymous one. So is one that says a thing twice, where
/// two readers could read different ones. Returns the claimed key.
fn check_presigned(headers: &HeaderMap, query: &[Pair<'_>], region: &str) -> Result<String> {
    let values = PRESIGN_KEYS.map(|name| {
        let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        values.next().filter(|_| values.next().is_none())
    });
    let [Some(algorithm), Some(credential), Some(date), Some(expires), Some(signed), Some(signature)] = values else {
        return Err(Error::QueryAuthorization(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
             X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each once.",
        ));
    };
    if algorithm != sigv4::ALGORITHM {
        return Err(Error::QueryAuthorization("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    if sigv4::parse_timestamp(date).is_none() {
        return Err(Error::QueryAuthorization(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        ));
    }
    if expires.is_empty() || !expires.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::QueryAuthorization("X-Amz-Expires should be a number"));
    }
    match expires.parse::<u64>() {
        Ok(1..=limits::PRESIGNED_SECONDS_MAX) => {}
        Ok(0) => return Err(Error::QueryAuthorization("X-Amz-Expires must be at least one second")),
        Ok(_) | Err(_) => {
            return Err(Error::QueryAuthorization(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
                 604800 seconds",
            ));
        }
    }
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(Error::QueryAuthorization("X-Amz-Signature is 64 lower-case hexadecimal digits"));
    }
    let credential = CredentialScope::parse(credential)?;
    credential.check(region)?;
    check_signed(headers, &signed.split(';').collect::<Vec<_>>())?;
    Ok(credential.access_key.to_owned())
}

fn check_header(headers: &HeaderMap, query: &[Pair<'_>], region: &str, old: Old) -> Result<Mechanism> {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    if text.starts_with("AWS ") && old.allowed.takes_headers() {
        return version_2::of_header(text, headers, query, old.now_ms).map(Mechanism::Old);
    }
    let Some(fields) = text.strip_prefix(sigv4::ALGORITHM) else {
        let message = if text.starts_with("AWS ") { VERSION_2 } else { NOT_SUPPORTED };
        return Err(Error::InvalidRequest(message.to_owned()));
    };
    let field = |name: &str| {
        let found = fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| Error::AuthorizationMalformed(format!("The authorization header is malformed: no {name}")))
    };
    let credential = CredentialScope::parse(field("Credential")?)?;
    credential.check(region)?;
    // What no reader could take for anything else: each field once, in the grammar.
    let authorization = sigv4::Authorization::parse(text)
        .map_err(|error| Error::AuthorizationMalformed(format!("The authorization header is malformed: {error}")))?;
    check_signed(headers, &authorization.signed_headers)?;
    Ok(Mechanism::Header(authorization.access_key))
}

/// Whether a form's credential is one for this service.
pub fn check_scope(credential: &str, expected_region: &str) -> Result<()> {
    CredentialScope::parse(credential)?.check(expected_region)
}

/// `key/date/region/service/aws4_request`.
struct CredentialScope<'c> {
    access_key: &'c str,
    region: &'c str,
    service: &'c str,
}

/// What the ids of keys are made of (`authn`). Any other character could be read as the header's own grammar.
pub fn is_key_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl<'c> CredentialScope<'c> {
    fn parse(credential: &'c str) -> Result<Self> {
        let fields: Vec<&str> = credential.split('/').collect();
        match fields[..] {
            [access_key, date, region, service, "aws4_request"]
                if is_key_id(access_key) && date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(Self { access_key, region, service })
            }
            _ => Err(Error::AuthorizationMalformed(
                "The credential is malformed; expecting \"<key>/YYYYMMDD/REGION/SERVICE/aws4_request\".".to_owned(),
            )),
        }
    }

    /// The region is ours, or the one that clients guess when nobody told them. For any other the answer names ours, and
    /// clients sign again for it. The service is S3.
    fn check(&self, expected: &str) -> Result<()> {
        if self.service != "s3" {
            return Err(Error::AuthorizationMalformed(format!(
                "The authorization header is malformed; incorrect service \"{}\". This endpoint belongs to \"s3\".",
                self.service
            )));
        }
        if self.region != expected && self.region != GUESSED_REGION {
            return Err(Error::WrongRegion { given: self.region.to_owned(), expected: expected.to_owned() });
        }
        Ok(())
    }
}

pub const GUESSED_REGION: &str = "us-east-1";

/// `host` and every `x-amz-*` header must be among the signed ones. `x-amz-content-sha256` need not: its value is part of
/// what is signed anyway.
///
/// And every name among the signed ones must be that of a header that came: s3s leaves a name without a header out of what
/// it verifies, upper-case names included, so that a name could be written into the list for a header that was never signed.
fn check_signed(headers: &HeaderMap, signed: &[impl AsRef<str>]) -> Result<()> {
    for name in signed.iter().map(AsRef::as_ref) {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) || !headers.contains_key(name) {
            return Err(Error::SignedHeaderAbsent(name.to_owned()));
        }
    }
    let is_signed = |name: &str| signed.iter().any(|signed| signed.as_ref() == name);
    let must = |name: &&str| name.starts_with("x-amz-") && *name != "x-amz-content-sha256";
    let unsigned = headers.keys().map(header::HeaderName::as_str).filter(must).find(|name| !is_signed(name));
    match unsigned {
        Some(name) => Err(Error::HeadersNotSigned(name.to_owned())),
        None if !is_signed("host") => Err(Error::HeadersNotSigned("host".to_owned())),
        None => Ok(()),
    }
}

/// Headers that may come in several lines: metadata, whose values S3 joins, and lists.
fn may_repeat(name: &str) -> bool {
    name.starts_with("x-amz-meta-")
        || name == "x-amz-object-attributes"
        || name == "x-amz-optional-object-attributes"
        || name == "x-amz-trailer"
}

/// Each `x-amz-*` header once and in UTF-8. s3s joins repeated ones when it verifies and reads the first when it acts, and
/// leaves out what is not UTF-8: either way the signature would be of another value than the one that counts.
fn check_amz_headers(headers: &HeaderMap) -> Result<()> {
    for name in headers.keys().map(header::HeaderName::as_str).filter(|name| name.starts_with("x-amz-")) {
        let values = headers.get_all(name);
        if values.iter().any(|value| std::str::from_utf8(value.as_bytes()).is_err()) {
            return Err(Error::InvalidArgument(format!("the header {name} is not UTF-8")));
        }
        if values.iter().nth(1).is_some() && !may_repeat(name) {
            return Err(Error::InvalidArgument(format!("the header {name} is there twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::query::pairs;
    use super::*;
    use http::{HeaderName, HeaderValue};

    const OFF: Old = Old { allowed: SignatureV2::Off, now_ms: 0 };

    fn answer(headers: &[(&'static str, &str)], query: &str) -> String {
        let mut map = HeaderMap::new();
        map.append(header::HOST, HeaderValue::from_static("localhost"));
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
            );
        }
        let pairs = pairs(query);
        let checked = check(&map, &pairs, "us-east-1", OFF).and_then(|mechanism| {
            let token = token(&map, &pairs, &mechanism)?.map(|token| format!(" with {token}")).unwrap_or_default();
            Ok(match mechanism {
                Mechanism::Anonymous => format!("Anonymous{token}"),
                Mechanism::Header(key) => format!("header of {key}{token}"),
                Mechanism::Presigned(key) => format!("presigned by {key}{token}"),
                Mechanism::Old(claim) => format!("signed the old way by {}{token}", claim.access_key),
            })
        });
        checked.unwrap_or_else(|error| error.answer().code.to_owned())
    }

    fn authorization(signed: &str) -> String {
        let signature = "0".repeat(64);
        format!(
            "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders={signed}, \
             Signature={signature}"
        )
    }

    fn presigned(expires: &str, signed: &str) -> String {
        let signature = "0".repeat(64);
        format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&\
             X-Amz-Date=20260101T000000Z&X-Amz-Expires={expires}&X-Amz-SignedHeaders={signed}&X-Amz-Signature={signature}"
        )
    }

    #[test]
    fn every_amz_header_must_be_signed() {
        let all = authorization("host;x-amz-acl;x-amz-date");
        let some = authorization("host;x-amz-date");
        let hostless = authorization("x-amz-date");
        let date = ("x-amz-date", "20260101T000000Z");
        assert_eq!(answer(&[("authorization", &all), date, ("x-amz-acl", "private")], ""), "header of AK");
        assert_eq!(answer(&[("authorization", &some), date, ("x-amz-content-sha256", "00")], ""), "header of AK");
        assert_eq!(answer(&[("authorization", &some), date, ("x-amz-acl", "private")], ""), "AccessDenied");
        assert_eq!(answer(&[("authorization", &some), date, ("x-amz-copy-source", "/b/k")], ""), "AccessDenied");
        assert_eq!(answer(&[("authorization", &hostless), date], ""), "AccessDenied");
        assert_eq!(answer(&[("x-amz-copy-source", "/b/k")], &presigned("60", "host")), "AccessDenied");
        assert_eq!(answer(&[("x-amz-content-sha256", "00")], &presigned("60", "host")), "presigned by AK");
    }

    /// s3s would verify without these names, and act on the headers that they only seem to cover.
    #[test]
    fn what_is_said_to_be_signed_is_there_as_said() {
        let copy = ("x-amz-copy-source", "/b/k");
        let upper = authorization("X-Amz-Copy-Source;host");
        assert_eq!(answer(&[("authorization", &upper), copy], ""), "SignatureDoesNotMatch");
        let absent = authorization("host;x-amz-acl");
        assert_eq!(answer(&[("authorization", &absent)], ""), "SignatureDoesNotMatch");
        let twice = authorization("host").replace("Signature=", "SignedHeaders=host;x-amz-copy-source, Signature=");
        assert_eq!(answer(&[("authorization", &twice), copy], ""), "AuthorizationHeaderMalformed");
        let signed = authorization("host;x-amz-copy-source");
        assert_eq!(answer(&[("authorization", &signed), copy, copy], ""), "InvalidArgument");
        assert_eq!(answer(&[("authorization", &signed), copy], ""), "header of AK");
        let meta = authorization("host;x-amz-meta-a");
        assert_eq!(
            answer(&[("authorization", &meta), ("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")], ""),
            "header of AK"
        );
        let mut map = HeaderMap::new();
        map.append("x-amz-meta-a", HeaderValue::from_bytes(b"\xff").expect("a header value"));
        assert!(check(&map, &[], "us-east-1", OFF).is_err());
    }

    #[test]
    fn a_session_token_is_signed_and_there_once() {
        let token = ("x-amz-security-token", "t");
        assert_eq!(answer(&[("authorization", &authorization("host")), token], ""), "AccessDenied");
        let signed = authorization("host;x-amz-security-token");
        assert_eq!(answer(&[("authorization", &signed), token], ""), "header of AK with t");
        assert_eq!(answer(&[("authorization", &signed), token, token], ""), "InvalidArgument");
        assert_eq!(answer(&[("authorization", &signed), token], "X-Amz-Security-Token=t"), "InvalidToken");
        assert_eq!(answer(&[("authorization", &authorization("host"))], "X-Amz-Security-Token=t"), "InvalidToken");
        let query = |tokens: &str| format!("{}{tokens}", presigned("60", "host"));
        assert_eq!(answer(&[], &query("&X-Amz-Security-Token=t")), "presigned by AK with t");
        assert_eq!(answer(&[], &query("&X-Amz-Security-Token=t&X-Amz-Security-Token=t")), "InvalidToken");
        assert_eq!(answer(&[token], &query("")), "AccessDenied");
        assert_eq!(answer(&[token], &presigned("60", "host;x-amz-security-token")), "presigned by AK with t");
        assert_eq!(answer(&[], "X-Amz-Security-Token=t"), "InvalidToken");
    }

    #[test]
    fn there_is_one_mechanism() {
        let header = authorization("host");
        assert_eq!(answer(&[], ""), "Anonymous");
        assert_eq!(answer(&[("authorization", &header)], &presigned("60", "host")), "InvalidArgument");
        assert_eq!(answer(&[("authorization", &header), ("authorization", &header)], ""), "InvalidArgument");
        assert_eq!(answer(&[], "AWSAccessKeyId=a&Signature=b&Expires=1"), "InvalidRequest");
        assert_eq!(answer(&[("authorization", "AWS AK:sig")], ""), "InvalidRequest");
        assert_eq!(answer(&[("authorization", "Bearer x")], ""), "InvalidRequest");
        assert_eq!(answer(&[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")], ""), "Anonymous");
        for signed in
            ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-X"]
        {
            assert_eq!(answer(&[("x-amz-content-sha256", signed)], ""), "InvalidRequest");
        }
        assert_eq!(answer(&[("x-amz-security-token", "t")], ""), "InvalidToken");
    }

    #[test]
    fn version_2_is_told_what_to_set() {
        let text =
            |headers: &HeaderMap, query: &str| check(headers, &pairs(query), "us-east-1", OFF).unwrap_err().to_string();
        assert!(text(&HeaderMap::new(), "AWSAccessKeyId=a&Signature=b&Expires=1").contains("signature_version='s3v4'"));
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("AWS AK:sig"));
        assert!(text(&headers, "").contains("signature_version='s3v4'"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(!text(&headers, "").contains("s3v4"));
    }

    #[test]
    fn half_a_signature_is_no_anonymity() {
        let wrong = "AuthorizationQueryParametersError";
        assert_eq!(answer(&[], "X-Amz-Date=20260101T000000Z"), wrong);
        assert_eq!(answer(&[], &format!("{}&X-Amz-Expires=60", presigned("60", "host"))), wrong);
        assert_eq!(answer(&[], "X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"), wrong);
        assert_eq!(answer(&[], "X-Amz-Signature=00"), wrong);
        assert_eq!(answer(&[], "X-Amz-Algorithm=AWS4-HMAC-SHA256"), wrong);
    }

    #[test]
    fn presigned_urls_live_a_week_at_most() {
        assert_eq!(answer(&[], &presigned("1", "host")), "presigned by AK");
        assert_eq!(answer(&[], &presigned("604800", "host")), "presigned by AK");
        for bad in ["0", "-1", "604801", "315360000", "1e30", "1;2", "", "99999999999999999999999"] {
            assert_eq!(answer(&[], &presigned(bad, "host")), "AuthorizationQueryParametersError", "{bad}");
        }
    }

    #[test]
    fn query_apis_are_signed_in_one_header() {
        let (date, token) = (("x-amz-date", "20260102T030405Z"), ("x-amz-security-token", "t"));
        let good = authorization("host;x-amz-date").replace("/s3/", "/iam/");
        let code = |headers: &[(&'static str, &str)], query: &str| {
            let mut map = HeaderMap::new();
            map.insert(header::HOST, HeaderValue::from_static("h"));
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
            }
            check_query_api(&map, &pairs(query)).map_or_else(
                |error| error.answer().code.to_owned(),
                |signature| signature.map_or("none".to_owned(), |signature| signature.authorization.access_key),
            )
        };
        let signed = ("authorization", good.as_str());
        assert_eq!(code(&[date, signed], "Action=GetUser"), "AK");
        assert_eq!(code(&[], ""), "none");
        assert_eq!(code(&[date, signed, signed], ""), "InvalidArgument");
        assert_eq!(code(&[signed], ""), "AuthorizationHeaderMalformed");
        assert_eq!(code(&[date, date, signed], ""), "InvalidArgument");
        assert_eq!(code(&[date, signed, token], ""), "AccessDenied");
        assert_eq!(code(&[date, ("authorization", "Bearer x")], ""), "AuthorizationHeaderMalformed");
        let unsigned_host = good.replace("host;", "");
        assert_eq!(code(&[date, ("authorization", &unsigned_host)], ""), "AccessDenied");
        for query in ["X-Amz-Signature=x", "X-Amz-Algorithm=x", "Signature=x", "AWSAccessKeyId=x"] {
            assert_eq!(code(&[date, signed], query), "InvalidRequest", "{query}");
        }
    }

    #[test]
    fn the_scope_names_s3() {
        let sts = authorization("host").replace("/s3/", "/sts/");
        assert_eq!(answer(&[("authorization", &sts)], ""), "AuthorizationHeaderMalformed");
        let us = authorization("host").replace("/us-east-1/", "/US/");
        assert_eq!(answer(&[("authorization", &us)], ""), "AuthorizationHeaderMalformed");
        let elsewhere = authorization("host").replace("/us-east-1/", "/mars-1/");
        assert_eq!(answer(&[("authorization", &elsewhere)], ""), "AuthorizationHeaderMalformed");
        assert_eq!(answer(&[("authorization", "AWS4-HMAC-SHA256 nonsense")], ""), "AuthorizationHeaderMalformed");
        let key = authorization("host").replace("AK/", "ASignedHeaders=x/");
        assert_eq!(answer(&[("authorization", &key)], ""), "AuthorizationHeaderMalformed");
        assert_eq!(
            answer(&[], &presigned("60", "host").replace("%2Fs3%2F", "%2Fiam%2F")),
            "AuthorizationHeaderMalformed"
        );
    }
}
