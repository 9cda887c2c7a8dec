//! What must hold of a request's credentials before s3s verifies the signature: one mechanism, every `x-amz-*` header
//! signed, a bounded life. s3s 0.14.1 checks none of it, and a presigned PUT with an unsigned `x-amz-copy-source` would be
//! a copy under the signer's rights.
//!
//! Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.

use crate::error::{Error, Result};
use crate::limits;
use http::{HeaderMap, header};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Anonymous,
    Header,
    Presigned,
}

const NOT_SUPPORTED: &str =
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
/// boto3 and aws version 1 presign this way unless told otherwise, so the answer tells.
const VERSION_2: &str = "The authorization mechanism you have provided, Signature Version 2, is not supported. Please use \
    AWS4-HMAC-SHA256: in boto3 set config=Config(signature_version='s3v4') on the client; for aws run 'aws configure set \
    default.s3.signature_version s3v4'; for s3cmd set signature_v2 = False.";

pub fn check(headers: &HeaderMap, query: &[(String, String)], region: &str) -> Result<Mechanism> {
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let authorizations = headers.get_all(header::AUTHORIZATION).iter().count();
    let presigned = query.iter().any(|(key, _)| is_presign_key(key));
    let version_2 = value("AWSAccessKeyId").is_some() || value("Signature").is_some();
    match (authorizations, presigned, version_2) {
        (0, false, false) => {}
        (0, false, true) => return Err(Error::InvalidRequest(VERSION_2.to_owned())),
        (1, false, false) | (0, true, false) => {}
        _ => {
            return Err(Error::InvalidArgument(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified"
                    .to_owned(),
            ));
        }
    }
    if headers.contains_key("x-amz-security-token") || value("X-Amz-Security-Token").is_some() {
        return Err(Error::InvalidToken);
    }
    let streaming = headers.get("x-amz-content-sha256").is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-"));
    match (authorizations, presigned) {
        (0, false) if streaming => {
            Err(Error::InvalidRequest("an unsigned request cannot have an aws-chunked body".to_owned()))
        }
        (0, false) => Ok(Mechanism::Anonymous),
        (0, true) => check_presigned(headers, value, region).map(|()| Mechanism::Presigned),
        _ => check_header(headers, region).map(|()| Mechanism::Header),
    }
}

fn is_presign_key(key: &str) -> bool {
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Expires"].contains(&key)
}

/// A query that is half signed is refused: s3s would take it for an anonymous one.
fn check_presigned<'q>(headers: &HeaderMap, value: impl Fn(&str) -> Option<&'q str>, region: &str) -> Result<()> {
    const MISSING: Error = Error::QueryAuthorization(
        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
         X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
    );
    let required = ["X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Date"];
    if required.iter().any(|name| value(name).is_none()) {
        return Err(MISSING);
    }
    let expires = value("X-Amz-Expires").ok_or(MISSING)?;
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
    check_scope(value("X-Amz-Credential").ok_or(MISSING)?, region)?;
    check_signed(headers, value("X-Amz-SignedHeaders").ok_or(MISSING)?)
}

fn check_header(headers: &HeaderMap, region: &str) -> Result<()> {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(fields) = text.strip_prefix("AWS4-HMAC-SHA256") else {
        let message = if text.starts_with("AWS ") { VERSION_2 } else { NOT_SUPPORTED };
        return Err(Error::InvalidRequest(message.to_owned()));
    };
    let field = |name: &str| {
        let found = fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| Error::AuthorizationMalformed(format!("The authorization header is malformed: no {name}")))
    };
    check_scope(field("Credential")?, region)?;
    check_signed(headers, field("SignedHeaders")?)
}

/// `key/date/region/service/aws4_request`. Any name of a region is taken, as clients guess one. What is no name (s3cmd
/// signs its first request for `US`) is answered with the right one, which the client then signs for. The service is S3.
fn check_scope(credential: &str, expected: &str) -> Result<()> {
    let mut fields = credential.rsplit('/');
    let (terminator, service, region) = (fields.next(), fields.next(), fields.next().unwrap_or(""));
    match (terminator, service) {
        (Some("aws4_request"), Some("s3")) => {}
        (_, Some(service)) => {
            return Err(Error::AuthorizationMalformed(format!(
                "The authorization header is malformed; incorrect service \"{service}\". This endpoint belongs to \"s3\"."
            )));
        }
        (_, None) => return Err(Error::AuthorizationMalformed("The credential is malformed".to_owned())),
    }
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.is_empty() || !region.bytes().all(is_name) {
        return Err(Error::WrongRegion { given: region.to_owned(), expected: expected.to_owned() });
    }
    Ok(())
}

/// `host` and every `x-amz-*` header must be among the signed ones. `x-amz-content-sha256` need not: its value is part of
/// what is signed anyway.
fn check_signed(headers: &HeaderMap, signed: &str) -> Result<()> {
    let is_signed = |name: &str| signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name));
    let must = |name: &&str| name.starts_with("x-amz-") && *name != "x-amz-content-sha256";
    let unsigned = headers.keys().map(header::HeaderName::as_str).filter(must).find(|name| !is_signed(name));
    match unsigned {
        Some(name) => Err(Error::HeadersNotSigned(name.to_owned())),
        None if !is_signed("host") => Err(Error::HeadersNotSigned("host".to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::pairs;
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn answer(headers: &[(&'static str, &str)], query: &str) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
        }
        match check(&map, &pairs(query), "us-east-1") {
            Ok(mechanism) => format!("{mechanism:?}"),
            Err(error) => error.answer().code.to_owned(),
        }
    }

    fn authorization(signed: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders={signed}, Signature=00"
        )
    }

    fn presigned(expires: &str, signed: &str) -> String {
        format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&\
             X-Amz-Date=20260101T000000Z&X-Amz-Expires={expires}&X-Amz-SignedHeaders={signed}&X-Amz-Signature=00"
        )
    }

    #[test]
    fn every_amz_header_must_be_signed() {
        let all = authorization("host;x-amz-date;x-amz-acl");
        let some = authorization("host;x-amz-date");
        let hostless = authorization("x-amz-date");
        let date = ("x-amz-date", "20260101T000000Z");
        assert_eq!(answer(&[("authorization", &all), date, ("x-amz-acl", "private")], ""), "Header");
        assert_eq!(answer(&[("authorization", &some), date, ("x-amz-content-sha256", "00")], ""), "Header");
        assert_eq!(answer(&[("authorization", &some), date, ("x-amz-acl", "private")], ""), "AccessDenied");
        assert_eq!(answer(&[("authorization", &some), date, ("x-amz-copy-source", "/b/k")], ""), "AccessDenied");
        assert_eq!(answer(&[("authorization", &hostless), date], ""), "AccessDenied");
        assert_eq!(answer(&[("x-amz-copy-source", "/b/k")], &presigned("60", "host")), "AccessDenied");
        assert_eq!(answer(&[("x-amz-content-sha256", "00")], &presigned("60", "host")), "Presigned");
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
        assert_eq!(answer(&[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")], ""), "InvalidRequest");
        assert_eq!(answer(&[("x-amz-security-token", "t")], ""), "InvalidToken");
    }

    #[test]
    fn version_2_is_told_what_to_set() {
        let text =
            |headers: &HeaderMap, query: &str| check(headers, &pairs(query), "us-east-1").unwrap_err().to_string();
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
        assert_eq!(answer(&[], "X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"), wrong);
        assert_eq!(answer(&[], "X-Amz-Signature=00"), wrong);
        assert_eq!(answer(&[], "X-Amz-Algorithm=AWS4-HMAC-SHA256"), wrong);
    }

    #[test]
    fn presigned_urls_live_a_week_at_most() {
        assert_eq!(answer(&[], &presigned("1", "host")), "Presigned");
        assert_eq!(answer(&[], &presigned("604800", "host")), "Presigned");
        for bad in ["0", "-1", "604801", "315360000", "1e30", "1;2", "", "99999999999999999999999"] {
            assert_eq!(answer(&[], &presigned(bad, "host")), "AuthorizationQueryParametersError", "{bad}");
        }
    }

    #[test]
    fn the_scope_names_s3() {
        let sts = authorization("host").replace("/s3/", "/sts/");
        assert_eq!(answer(&[("authorization", &sts)], ""), "AuthorizationHeaderMalformed");
        let us = authorization("host").replace("/us-east-1/", "/US/");
        assert_eq!(answer(&[("authorization", &us)], ""), "AuthorizationHeaderMalformed");
        let elsewhere = authorization("host").replace("/us-east-1/", "/eu-west-1/");
        assert_eq!(answer(&[("authorization", &elsewhere)], ""), "Header");
        assert_eq!(answer(&[("authorization", "AWS4-HMAC-SHA256 nonsense")], ""), "AuthorizationHeaderMalformed");
        assert_eq!(
            answer(&[], &presigned("60", "host").replace("%2Fs3%2F", "%2Fiam%2F")),
            "AuthorizationHeaderMalformed"
        );
    }
}
