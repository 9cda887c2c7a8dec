//! Signature Version 2, where `--signature-v2` allows it: in headers and in presigned URLs. It is verified here, in constant
//! time, and s3s sees a request without a signature and the key that was verified.
//!
//! Version 2 signs the method, four headers, every `x-amz-*` and the sub-resources of a list that ended in 2019. What is
//! asked for by any other parameter could be written into somebody's URL afterwards, so it is refused; only parameters that
//! select what a listing shows may come unsigned, as they always could.
//!
//! Source: "Signing and authenticating REST requests (AWS signature version 2)", Amazon S3 User Guide.

use super::credentials::is_key_id;
use super::query::Pair;
use crate::access::Access;
use crate::admission::{Proof, ProofKind};
use crate::error::{Error, Result};
use crate::lenient::Verified;
use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::sigv2;
use http::request::Parts as Head;
use http::{HeaderMap, Method, Uri, header};
use std::collections::BTreeMap;
use std::fmt::Write;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Where signatures of version 2 are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureV2 {
    #[default]
    Off,
    /// In the policies of form uploads.
    Forms,
    /// In presigned URLs.
    Urls,
    /// There and in headers.
    All,
}

impl SignatureV2 {
    pub const NAMES: [&str; 4] = ["off", "forms", "urls", "all"];

    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Off, Self::Forms, Self::Urls, Self::All];
        Self::NAMES.iter().position(|name| *name == word).map(|at| all[at])
    }

    pub fn takes_forms(self) -> bool {
        matches!(self, Self::Forms | Self::All)
    }

    pub fn takes_urls(self) -> bool {
        matches!(self, Self::Urls | Self::All)
    }

    pub fn takes_headers(self) -> bool {
        self == Self::All
    }
}

/// A signature as the request claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub access_key: String,
    signature: String,
    proof: Proof,
    /// The third line of what is signed: a date, or when the URL ends.
    when: String,
}

const SKEW_MS: u64 = 900 * 1000;
/// The parameters of a presigned URL that are its signature.
const SIGNATURE_KEYS: [&str; 3] = ["AWSAccessKeyId", "Expires", "Signature"];

/// Whether the query is, or says to be, a URL presigned with version 2.
pub fn is_presigned(query: &[Pair<'_>]) -> bool {
    query.iter().any(|(key, _)| key == "AWSAccessKeyId" || key == "Signature")
}

/// What stands in an `Authorization` header that begins with `AWS `.
pub fn of_header(text: &str, headers: &HeaderMap, query: &[Pair<'_>], now_ms: u64) -> Result<Claim> {
    let parsed = text.strip_prefix("AWS ").and_then(|rest| rest.split_once(':'));
    let Some((access_key, signature)) = parsed.filter(|(key, signature)| is_key_id(key) && is_signature(signature))
    else {
        return Err(Error::InvalidArgument(
            "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature".to_owned(),
        ));
    };
    check_companions(headers, query)?;
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let (text, when) = match (value("x-amz-date"), value("date")) {
        (Some(text), _) => (text, String::new()),
        (None, Some(text)) => (text, text.to_owned()),
        (None, None) => return Err(Error::OldSignature(NO_DATE)),
    };
    let signed_ms = date(text).ok_or(Error::OldSignature(NO_DATE))?;
    if signed_ms.abs_diff(now_ms) > SKEW_MS {
        return Err(Error::RequestTimeTooSkewed);
    }
    let proof = Proof { kind: ProofKind::OldHeader, signed_ms: Some(signed_ms) };
    Ok(Claim { access_key: access_key.to_owned(), signature: signature.to_owned(), proof, when })
}

const NO_DATE: &str = "AWS authentication requires a valid Date or x-amz-date header";

/// What stands in a presigned URL, which ends at most as far ahead as one of version 4 can.
pub fn of_query(headers: &HeaderMap, query: &[Pair<'_>], now_ms: u64) -> Result<Claim> {
    let values = SIGNATURE_KEYS.map(|name| {
        let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        values.next().filter(|_| values.next().is_none())
    });
    let [Some(access_key), Some(expires), Some(signature)] = values else {
        return Err(Error::OldSignature(
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters, each once",
        ));
    };
    if !is_key_id(access_key) || !is_signature(signature) {
        return Err(Error::OldSignature("AWSAccessKeyId is no access key, or Signature none in base64"));
    }
    check_companions(headers, query)?;
    let is_number = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
    let ends_ms = expires.parse::<u64>().ok().filter(|_| is_number).and_then(|seconds| seconds.checked_mul(1000));
    let ends_ms =
        ends_ms.ok_or(Error::OldSignature("Expires is the second, counted from 1970, at which the URL ends"))?;
    if ends_ms <= now_ms {
        return Err(Error::OldSignature("Request has expired"));
    }
    if ends_ms - now_ms > limits::PRESIGNED_SECONDS_MAX * 1000 {
        return Err(Error::OldSignature("Expires must be less than a week ahead"));
    }
    let proof = Proof { kind: ProofKind::OldQuery, signed_ms: None };
    Ok(Claim { access_key: access_key.to_owned(), signature: signature.to_owned(), proof, when: expires.to_owned() })
}

/// 20 bytes in base64.
fn is_signature(text: &str) -> bool {
    text.len() == 28
        && text.ends_with('=')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

/// Milliseconds since 1970 of a date as mails and HTTP have it.
fn date(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    u64::try_from(time.unix_timestamp()).ok()?.checked_mul(1000)
}

/// What goes with version 4 only.
fn check_companions(headers: &HeaderMap, query: &[Pair<'_>]) -> Result<()> {
    let refused = |what: &str| Err(Error::InvalidRequest(format!("{what} needs AWS4-HMAC-SHA256")));
    let is_token = |name: &str| name.eq_ignore_ascii_case("x-amz-security-token");
    if headers.contains_key("x-amz-security-token") || query.iter().any(|(key, _)| is_token(key)) {
        return refused("A session token");
    }
    match headers.get("x-amz-content-sha256") {
        Some(hash) if hash != "UNSIGNED-PAYLOAD" => refused("A hash of the body, or one in chunks,"),
        _ => Ok(()),
    }
}

/// The sub-resources and parameters that are signed, in order.
const SIGNED: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// What may come unsigned with a GET: it selects what a listing shows. `x-id` is for logs.
const SELECTING: [&str; 16] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "x-id",
];

/// What the signature is of: the text, and another form of it. `bucket_in_host` is the bucket of a virtual-hosted request. The
/// path of a bucket alone is signed with a slash behind it, which the request need not have, and by some clients without.
fn strings_to_sign(
    head: &Head,
    query: &[Pair<'_>],
    bucket_in_host: Option<&str>,
    claim: &Claim,
) -> Result<(String, String)> {
    let in_query = claim.proof.kind == ProofKind::OldQuery;
    let mut text = head.method.to_string();
    for name in ["content-md5", "content-type"] {
        let mut values = head.headers.get_all(name).iter();
        let value = values.next().map_or(Some(""), |value| value.to_str().ok());
        match value.filter(|_| values.next().is_none()) {
            Some(value) => text.extend(["\n", value.trim()]),
            None => return Err(Error::InvalidArgument(format!("the header {name} is there twice, or not ASCII"))),
        }
    }
    if head.headers.get_all(header::DATE).iter().nth(1).is_some() {
        return Err(Error::InvalidArgument("the header date is there twice".to_owned()));
    }
    text.extend(["\n", &claim.when, "\n"]);

    let mut amz: BTreeMap<&str, String> = BTreeMap::new();
    for name in head.headers.keys().map(header::HeaderName::as_str).filter(|name| name.starts_with("x-amz-")) {
        let values = head.headers.get_all(name).iter().map(|value| std::str::from_utf8(value.as_bytes()).unwrap_or(""));
        amz.insert(name, values.map(str::trim).collect::<Vec<_>>().join(","));
    }
    let mut resource: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in query {
        let (key, value) = (key.as_ref(), value.as_ref());
        if in_query && SIGNATURE_KEYS.contains(&key) {
            continue;
        }
        if SIGNED.contains(&key) {
            // Behind an `&` in a value stands what could as well be a parameter of its own.
            let names = value.split('&').skip(1).map(|piece| piece.split('=').next().unwrap_or(""));
            if names.into_iter().any(|name| SIGNED.contains(&name)) || resource.insert(key, value).is_some() {
                return Err(uncovered(key));
            }
        } else if in_query && key.starts_with("x-amz-") && !amz.contains_key(key) {
            // Presigners write headers into the query, and sign them as headers.
            amz.insert(key, value.trim().to_owned());
        } else if key != "x-id" && !(head.method == Method::GET && SELECTING.contains(&key)) {
            return Err(uncovered(key));
        }
    }
    for (name, value) in amz {
        let _ = writeln!(text, "{name}:{value}");
    }
    if let Some(bucket) = bucket_in_host {
        text.extend(["/", bucket]);
    }
    let path = head.uri.path();
    text.push_str(path);
    let is_bucket = bucket_in_host.is_none() && path.len() > 1 && path.rfind('/') == Some(0);
    let mut other = format!("{text}{}", if is_bucket { "/" } else { "" });
    for (at, (key, value)) in resource.into_iter().enumerate() {
        for text in [&mut text, &mut other] {
            text.extend([if at == 0 { "?" } else { "&" }, key]);
            if !value.is_empty() {
                text.extend(["=", value]);
            }
        }
    }
    Ok((text, other))
}

fn uncovered(key: &str) -> Error {
    Error::InvalidRequest(format!(
        "Signature Version 2 does not sign the query parameter {key}. Please use AWS4-HMAC-SHA256."
    ))
}

/// A claim with what it has to be a signature of.
#[derive(Debug)]
pub struct Unverified {
    claim: Claim,
    texts: (String, String),
}

impl Unverified {
    pub fn of(head: &Head, query: &[Pair<'_>], bucket_in_host: Option<&str>, claim: &Claim) -> Result<Self> {
        let texts = strings_to_sign(head, query, bucket_in_host, claim)?;
        Ok(Self { claim: claim.clone(), texts })
    }

    /// The verified key. Every wrong signature takes the same time, and one with an unknown key does too.
    pub fn verify(self, access: &Access) -> Result<Verified> {
        let Self { claim, texts } = self;
        let secret = access.secret(&claim.access_key);
        if is_signed_by(&secret, &texts.0, &claim.signature) | is_signed_by(&secret, &texts.1, &claim.signature) {
            Ok(Verified(claim.access_key, claim.proof))
        } else {
            Err(Error::SignatureDoesNotMatch)
        }
    }
}

fn is_signed_by(secret: &str, text: &str, signature: &str) -> bool {
    BASE64.encode(sigv2::signature(secret, text)).as_bytes().ct_eq(signature.as_bytes()).into()
}

/// Takes the signature away, so that s3s does not verify it in its own way.
pub fn take_away(head: &mut Head) -> Result<()> {
    head.headers.remove(header::AUTHORIZATION);
    let Some(query) = head.uri.query() else { return Ok(()) };
    let is_ours =
        |piece: &str| super::query::pairs(piece).iter().any(|(key, _)| SIGNATURE_KEYS.contains(&key.as_ref()));
    let query = query.split('&').filter(|piece| !is_ours(piece)).collect::<Vec<_>>().join("&");
    let mut parts = head.uri.clone().into_parts();
    let path = format!("{}?{query}", head.uri.path());
    parts.path_and_query = Some(path.parse().map_err(|_| Error::InvalidUri("its query cannot be read"))?);
    head.uri = Uri::from_parts(parts).map_err(|_| Error::InvalidUri("its query cannot be read"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::query::pairs;
    use super::*;
    use http::Request;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const NOW_MS: u64 = 1_175_024_202_000;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Head {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    fn text_of(head: &Head, bucket: Option<&str>, claim: &Claim) -> Result<String> {
        strings_to_sign(head, &pairs(head.uri.query().unwrap_or("")), bucket, claim).map(|texts| texts.0)
    }

    fn by_header(head: &Head) -> Result<Claim> {
        let text = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        of_header(text, &head.headers, &pairs(head.uri.query().unwrap_or("")), NOW_MS)
    }

    fn by_query(query: &str, now_ms: u64) -> Result<Claim> {
        of_query(&HeaderMap::new(), &pairs(query), now_ms)
    }

    fn code<T>(result: Result<T>) -> &'static str {
        result.map_or_else(|error| error.answer().code, |_| "ok")
    }

    fn presigned() -> Claim {
        let signature = "0".repeat(27) + "=";
        by_query(&format!("AWSAccessKeyId=AK&Expires=1175024300&Signature={signature}"), NOW_MS).expect("a claim")
    }

    /// The examples of the guide, with Amazon's own signatures.
    #[test]
    fn the_examples_of_the_guide_are_right() {
        let authorization = |signature: &str| format!("AWS AKIAIOSFODNN7EXAMPLE:{signature}");
        for (method, uri, headers, signature) in [
            (
                "GET",
                "/photos/puppy.jpg",
                &[("date", "Tue, 27 Mar 2007 19:36:42 +0000")][..],
                "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
            ),
            (
                "PUT",
                "/photos/puppy.jpg",
                &[("content-type", "image/jpeg"), ("date", "Tue, 27 Mar 2007 19:36:42 +0000")],
                "",
            ),
            (
                "GET",
                "/?prefix=photos&max-keys=50&marker=puppy",
                &[("date", "Tue, 27 Mar 2007 19:42:41 +0000"), ("user-agent", "Mozilla/5.0")],
                "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
            ),
            ("GET", "/?acl", &[("date", "Tue, 27 Mar 2007 19:44:46 +0000")], "82ZHiFIjc+WbcwFKGUVEQspPn+0="),
        ] {
            let claimed = if signature.is_empty() { "0".repeat(27) + "=" } else { signature.to_owned() };
            let mut headers = headers.to_vec();
            let authorization = authorization(&claimed);
            headers.push(("authorization", &authorization));
            let head = head(method, uri, &headers);
            let claim = by_header(&head).expect("a claim");
            let text = text_of(&head, Some("awsexamplebucket1"), &claim).expect("signable");
            assert_eq!(is_signed_by(SECRET, &text, &claim.signature), !signature.is_empty(), "{text}");
            assert!(!is_signed_by("another", &text, &claim.signature));
        }
    }

    #[test]
    fn dates_of_headers_are_near_and_there() {
        let signature = "0".repeat(27) + "=";
        let authorization = format!("AWS AK:{signature}");
        let of = |name: &str, value: &str| {
            code(by_header(&head("GET", "/b", &[("authorization", &authorization), (name, value)])))
        };
        assert_eq!(of("date", "Tue, 27 Mar 2007 19:36:42 +0000"), "ok");
        assert_eq!(of("x-amz-date", "Tue, 27 Mar 2007 20:51:00 +0100"), "ok");
        assert_eq!(of("date", "Tue, 27 Mar 2007 19:21:00 GMT"), "RequestTimeTooSkewed");
        assert_eq!(of("date", "Tue, 27 Mar 2007 19:52:00 GMT"), "RequestTimeTooSkewed");
        // The weekdays are wrong, which nobody has to check.
        assert_eq!(of("x-amz-date", "Tue, 07 Jul 2010 21:53:04 GMT"), "RequestTimeTooSkewed");
        assert_eq!(of("x-amz-date", "Tue, 07 Jul 9999 21:53:04 GMT"), "RequestTimeTooSkewed");
        for bad in ["Tue, 07 Jul 1950 21:53:04 GMT", "Bad Date", "", "20070327T193642Z"] {
            assert_eq!(of("x-amz-date", bad), "AccessDenied", "{bad}");
        }
        assert_eq!(of("x", "y"), "AccessDenied");
        assert_eq!(code(by_header(&head("GET", "/", &[("authorization", "AWS HAHAHA")]))), "InvalidArgument");
        assert_eq!(code(by_header(&head("GET", "/", &[("authorization", "AWS a,b:x=")]))), "InvalidArgument");
    }

    #[test]
    fn urls_end_within_a_week() {
        let at = |expires: &str| {
            let signature = "0".repeat(27) + "=";
            code(by_query(&format!("AWSAccessKeyId=AK&Expires={expires}&Signature={signature}"), NOW_MS))
        };
        let now = NOW_MS / 1000;
        assert_eq!(at(&(now + 1).to_string()), "ok");
        assert_eq!(at(&(now + limits::PRESIGNED_SECONDS_MAX).to_string()), "ok");
        for bad in [now, now - 1, 0, now + limits::PRESIGNED_SECONDS_MAX + 1, u64::MAX] {
            assert_eq!(at(&bad.to_string()), "AccessDenied", "{bad}");
        }
        for bad in ["", "-1", "%2B1175024300", "1175024300.0", "tomorrow", "1175024300&Expires=1175024300"] {
            assert_eq!(at(bad), "AccessDenied", "{bad}");
        }
        assert_eq!(code(by_query("AWSAccessKeyId=AK&Expires=1175024300", NOW_MS)), "AccessDenied");
        assert_eq!(code(by_query("AWSAccessKeyId=AK&Expires=1175024300&Signature=x", NOW_MS)), "AccessDenied");
    }

    #[test]
    fn what_belongs_to_version_4_is_refused_with_it() {
        let signature = "0".repeat(27) + "=";
        let query = format!("AWSAccessKeyId=AK&Expires=1175024300&Signature={signature}");
        let with = |headers: &[(&str, &str)], more: &str| {
            let head = head("GET", "/b", headers);
            code(of_query(&head.headers, &pairs(&format!("{query}{more}")), NOW_MS))
        };
        assert_eq!(with(&[], ""), "ok");
        assert_eq!(with(&[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], ""), "ok");
        assert_eq!(with(&[("x-amz-security-token", "t")], ""), "InvalidRequest");
        assert_eq!(with(&[], "&x-amz-security-token=t"), "InvalidRequest");
        assert_eq!(with(&[], "&X-Amz-Security-Token=t"), "InvalidRequest");
        assert_eq!(with(&[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")], ""), "InvalidRequest");
        assert_eq!(with(&[("x-amz-content-sha256", &"0".repeat(64))], ""), "InvalidRequest");
    }

    /// Two requests that do different things never have the same text.
    #[test]
    fn nothing_can_be_written_into_a_url() {
        let claim = presigned();
        let text =
            |method: &str, uri: &str, headers: &[(&str, &str)]| text_of(&head(method, uri, headers), None, &claim);
        let plain = text("GET", "/b/k", &[]).expect("signable");
        assert_eq!(plain, "GET\n\n\n1175024300\n/b/k");
        for (method, uri, headers) in [
            ("PUT", "/b/k", &[][..]),
            ("GET", "/b/k?acl", &[]),
            ("GET", "/b/k?versionId=1", &[]),
            ("GET", "/b/k?response-content-type=a", &[]),
            ("GET", "/b/l", &[]),
            ("GET", "/b/%6B", &[]),
            ("GET", "/b/k", &[("x-amz-copy-source", "/a/b")]),
            ("GET", "/b/k", &[("content-type", "a")]),
            ("GET", "/b/k", &[("content-md5", "a")]),
            ("GET", "/b/k?x-amz-checksum-crc32=a", &[]),
        ] {
            assert_ne!(text(method, uri, headers).expect("signable"), plain, "{method} {uri}");
        }
        for uri in [
            "/b/k?attributes",
            "/b/k?legal-hold",
            "/b/k?retention",
            "/b/k?renameObject",
            "/b?encryption",
            "/b?events=s3:*",
            "/b?intelligent-tiering",
            "/b?metrics&id=a",
            "/b?metadata=true",
            "/b?ownershipControls",
            "/b?policyStatus",
            "/b?publicAccessBlock",
            "/b?acl&acl",
            "/b/k?response-content-type=a%26versionId%3D1",
            "/b/k?X-Amz-Content-Sha256=a",
            "/b/k?unknown",
        ] {
            assert_eq!(code(text("GET", uri, &[])), "InvalidRequest", "{uri}");
            assert_eq!(code(text("PUT", uri, &[])), "InvalidRequest", "{uri}");
        }
        assert_eq!(code(text("PUT", "/b?prefix=a", &[])), "InvalidRequest");
        assert_eq!(text("GET", "/b?prefix=a&list-type=2", &[]).expect("signable"), "GET\n\n\n1175024300\n/b");
        let twice = [("x-amz-acl", "private")];
        assert_eq!(code(text("PUT", "/b/k?x-amz-acl=public-read", &twice)), "InvalidRequest");
        assert_eq!(code(text("PUT", "/b/k", &[("content-type", "a"), ("content-type", "b")])), "InvalidArgument");
        assert_eq!(
            text(
                "PUT",
                "/b/k?versionId=2&tagging",
                &[("x-amz-meta-a", " 1 "), ("x-amz-meta-a", "2"), ("x-amz-acl", "p")]
            )
            .expect("signable"),
            "PUT\n\n\n1175024300\nx-amz-acl:p\nx-amz-meta-a:1,2\n/b/k?tagging&versionId=2"
        );
    }

    #[test]
    fn only_a_bucket_may_lack_its_slash() {
        let claim = presigned();
        let other = |uri: &str, bucket: Option<&str>| {
            let head = head("GET", uri, &[]);
            let texts =
                strings_to_sign(&head, &pairs(head.uri.query().unwrap_or("")), bucket, &claim).expect("signable");
            (texts.0 != texts.1).then(|| texts.1.rsplit('\n').next().unwrap_or("").to_owned())
        };
        assert_eq!(other("/b?acl", None).as_deref(), Some("/b/?acl"));
        for uri in ["/", "/b/", "/b/k", "/b//"] {
            assert_eq!(other(uri, None), None, "{uri}");
        }
        assert_eq!(other("/k", Some("b")), None);
    }

    #[test]
    fn s3s_sees_no_signature() {
        let mut head = head(
            "GET",
            "/b/k%20?AWSAccessKeyId=AK&versionId=a%2Bb&%45xpires=1&Signature=x%3D",
            &[("authorization", "x")],
        );
        take_away(&mut head).expect("a URI");
        assert_eq!(head.uri.to_string(), "/b/k%20?versionId=a%2Bb");
        assert!(!head.headers.contains_key("authorization"));
    }

    #[test]
    fn words_and_lists_are_in_order() {
        assert!(SIGNED.is_sorted() && SELECTING.is_sorted());
        let takes =
            |word: &str| SignatureV2::parse(word).map(|it| (it.takes_forms(), it.takes_urls(), it.takes_headers()));
        assert_eq!(takes("off"), Some((false, false, false)));
        assert_eq!(takes("forms"), Some((true, false, false)));
        assert_eq!(takes("urls"), Some((false, true, false)));
        assert_eq!(takes("all"), Some((true, true, true)));
        assert_eq!(takes("on"), None);
    }
}
