//! Signature Version 4 of requests that have no body, with signing keys that are kept: one is derived anew for each key, day and
//! region, not for each request. s3s sees a request without a signature and the key that was verified. Whatever is not verified
//! here, for whichever reason, goes on as it is: s3s verifies all of it and says what is wrong.
//!
//! Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.

use super::query::{self, Pair};
use crate::admission::{Proof, ProofKind};
use crate::lenient::{Verified, unsigned};
use crate::limits;
use common::sigv4::{self, SigningKey};
use http::request::Parts as Head;
use http::{HeaderValue, Method, header};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const SKEW_MS: u64 = 900 * 1000;
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// Of no bytes.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Whose secret a signature is compared with.
pub struct Claimed {
    pub secret: String,
    /// Else the secret is one that nobody has, and all who claim unknown keys share what is kept of it: it takes as long.
    pub is_known: bool,
}

/// Signing keys by what they were derived from.
#[derive(Default)]
pub struct SigningKeys {
    kept: RwLock<HashMap<Box<str>, Kept>>,
}

struct Kept {
    /// A key's secret can change.
    secret: Zeroizing<String>,
    key: SigningKey,
}

impl SigningKeys {
    /// Whether this is the signature of a text. `credential`: `key/date/region/service/aws4_request`.
    pub fn verify(&self, credential: &str, claimed: &Claimed, text: &[u8], signature: &[u8; 64]) -> bool {
        let Some((_, scope)) = credential.split_once('/') else { return false };
        let name = if claimed.is_known { credential } else { scope };
        let matches = |key: &SigningKey| words(&hexadecimal(key.sign(text))).ct_eq(&words(signature)).into();
        {
            let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
            // Both secrets are ours: no client can measure how far they are the same.
            if let Some(kept) = kept.get(name).filter(|kept| *kept.secret == claimed.secret) {
                return matches(&kept.key);
            }
        }
        let mut parts = scope.split('/');
        let (Some(date), Some(region), Some(service)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let key = SigningKey::derive(&claimed.secret, date, region, service);
        let is_right = matches(&key);
        // What a client made up is not worth a place.
        if is_right || !claimed.is_known {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= limits::SIGNING_KEYS_MAX {
                kept.clear();
            }
            kept.insert(name.into(), Kept { secret: Zeroizing::new(claimed.secret.clone()), key });
        }
        is_right
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hexadecimal(bytes: [u8; 32]) -> [u8; 64] {
    std::array::from_fn(|at| {
        let byte = bytes[at / 2];
        DIGITS[usize::from(if at % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// To compare eight bytes at a time.
fn words(bytes: &[u8; 64]) -> [u64; 8] {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_ne_bytes(words[at]))
}

/// A header's line.
type Field<'h> = (&'h str, &'h HeaderValue);

/// What a request says of its signature.
struct Claim<'h> {
    credential: &'h str,
    signed_headers: &'h str,
    signature: &'h str,
    timestamp: &'h str,
    signed_ms: u64,
    payload: &'h str,
    in_query: bool,
}

impl<'h> Claim<'h> {
    fn of(headers: &[Field<'h>], pairs: &'h [Pair<'h>], now_ms: u64) -> Option<Self> {
        let header =
            |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_str().ok());
        let hash = header("x-amz-content-sha256");
        if hash.is_some_and(|hash| hash.is_none_or(|hash| ![EMPTY, UNSIGNED].contains(&hash))) {
            return None;
        }
        if let Some(text) = header(header::AUTHORIZATION.as_str()) {
            let (timestamp, payload) = (header("x-amz-date")??, hash??);
            let (mut credential, mut signed_headers, mut signature) = ("", "", "");
            for field in text?.strip_prefix(sigv4::ALGORITHM)?.split(',') {
                match field.trim().split_once('=')? {
                    ("Credential", value) => credential = value,
                    ("SignedHeaders", value) => signed_headers = value,
                    ("Signature", value) => signature = value,
                    _ => return None,
                }
            }
            let signed_ms = signed_ms(credential, timestamp)?;
            let in_query = false;
            let claim = Self { credential, signed_headers, signature, timestamp, signed_ms, payload, in_query };
            return (signed_ms.abs_diff(now_ms) <= SKEW_MS).then_some(claim);
        }
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        let (credential, timestamp) = (value("X-Amz-Credential")?, value("X-Amz-Date")?);
        let (signed_headers, signature) = (value("X-Amz-SignedHeaders")?, value("X-Amz-Signature")?);
        let signed_ms = signed_ms(credential, timestamp)?;
        let expires_ms = value("X-Amz-Expires")?.parse::<u64>().ok()?.checked_mul(1000)?;
        let is_now = now_ms.saturating_sub(signed_ms) <= expires_ms && signed_ms.saturating_sub(now_ms) <= SKEW_MS;
        let payload = UNSIGNED;
        is_now.then_some(Self { credential, signed_headers, signature, timestamp, signed_ms, payload, in_query: true })
    }

    fn access_key(&self) -> &'h str {
        self.credential.split_once('/').map_or("", |(access_key, _)| access_key)
    }

    fn string_to_sign(&self, canonical: &str) -> Vec<u8> {
        let hash = hexadecimal(Sha256::digest(canonical).into());
        let scope = self.credential.split_once('/').map_or("", |(_, scope)| scope);
        let (timestamp, scope) = (self.timestamp.as_bytes(), scope.as_bytes());
        [sigv4::ALGORITHM.as_bytes(), b"\n", timestamp, b"\n", scope, b"\n", &hash].concat()
    }

    /// With the path as clients should encode it, or as it came.
    fn canonical(
        &self,
        head: &Head,
        headers: &[Field<'_>],
        pairs: &[Pair<'_>],
        path_as_it_came: bool,
    ) -> Option<String> {
        let mut text = String::with_capacity(512);
        text.push_str(head.method.as_str());
        text.push('\n');
        let path = head.uri.path();
        if path_as_it_came {
            text.push_str(path);
        } else {
            encode(&mut text, query::percent_decode(path).as_bytes(), true);
        }
        text.push('\n');
        let pairs = pairs.iter().filter(|(name, _)| !(self.in_query && name == "X-Amz-Signature"));
        let mut encoded: Vec<_> = pairs
            .map(|(name, value)| {
                let mut text = String::with_capacity(name.len() + value.len() + 1);
                encode(&mut text, name.as_bytes(), false);
                let end_of_name = text.len();
                text.push('=');
                encode(&mut text, value.as_bytes(), false);
                (text, end_of_name)
            })
            .collect();
        // By their names; values of the same name in their order.
        encoded.sort_by(|(left, left_end), (right, right_end)| left[..*left_end].cmp(&right[..*right_end]));
        for (at, (pair, _)) in encoded.iter().enumerate() {
            if at > 0 {
                text.push('&');
            }
            text.push_str(pair);
        }
        text.push('\n');
        let mut last = "";
        for name in self.signed_headers.split(';') {
            // In order, each once, and never one of the signature itself.
            if name <= last || name == "authorization" {
                return None;
            }
            last = name;
            text.push_str(name);
            let mut separator = ':';
            for (_, value) in headers.iter().filter(|(came, _)| *came == name) {
                text.push(separator);
                push_spaced(&mut text, std::str::from_utf8(value.as_bytes()).ok()?);
                separator = ',';
            }
            if separator == ':' {
                return None;
            }
            text.push('\n');
        }
        for piece in ["\n", self.signed_headers, "\n", self.payload] {
            text.push_str(piece);
        }
        Some(text)
    }
}

/// Verifies the signature of a request without a body, and takes it away. The request has passed `credentials.rs`. `claimed` gives
/// what belongs to an access key.
pub fn verify(head: &mut Head, keys: &SigningKeys, now_ms: u64, claimed: impl Fn(&str) -> Claimed) -> Option<Verified> {
    if ![Method::GET, Method::HEAD, Method::DELETE].contains(&head.method) {
        return None;
    }
    let (access_key, in_query, signed_ms) = {
        let pairs = query::pairs(head.uri.query().unwrap_or(""));
        // Looked through several times, which is quicker than to look names up: there are few.
        let headers: Vec<Field<'_>> = head.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let claim = Claim::of(&headers, &pairs, now_ms)?;
        let signature = claim.signature.as_bytes().try_into().ok()?;
        let claimed = claimed(claim.access_key());
        let is_right = |path_as_it_came| {
            let canonical = claim.canonical(head, &headers, &pairs, path_as_it_came);
            canonical.is_some_and(|canonical| {
                keys.verify(claim.credential, &claimed, &claim.string_to_sign(&canonical), signature)
            })
        };
        let is_verified = is_right(false) || (has_unencoded(head.uri.path()) && is_right(true));
        if !is_verified {
            return None;
        }
        (claim.access_key().to_owned(), claim.in_query, claim.signed_ms)
    };
    let kind = if in_query { ProofKind::Query } else { ProofKind::Header };
    if in_query {
        head.uri = unsigned(&head.uri)?;
    } else {
        head.headers.remove(header::AUTHORIZATION);
    }
    Some(Verified(access_key, Proof { kind, signed_ms: Some(signed_ms) }))
}

/// When a request was signed, which is on the day that its key is for.
fn signed_ms(credential: &str, timestamp: &str) -> Option<u64> {
    let (_, scope) = credential.split_once('/')?;
    let is_for_the_day = scope.get(..8).is_some_and(|date| timestamp.starts_with(date));
    sigv4::parse_timestamp(timestamp).filter(|_| is_for_the_day)
}

fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

/// Some clients sign a path as they send it, with characters that should have been encoded.
fn has_unencoded(path: &str) -> bool {
    path.bytes().any(|byte| !is_unreserved(byte) && byte != b'/' && byte != b'%')
}

fn encode(text: &mut String, bytes: &[u8], keeps_slashes: bool) {
    if let Ok(plain) = std::str::from_utf8(bytes)
        && bytes.iter().all(|&byte| is_unreserved(byte) || (byte == b'/' && keeps_slashes))
    {
        text.push_str(plain);
        return;
    }
    for &byte in bytes {
        if is_unreserved(byte) || (byte == b'/' && keeps_slashes) {
            text.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)].to_ascii_uppercase());
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// A header's value with one space where there is any white space, and none around it.
fn push_spaced(text: &mut String, value: &str) {
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        text.push_str(value);
        return;
    }
    for (at, word) in value.split_whitespace().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const HOST: &str = "examplebucket.s3.amazonaws.com";
    const NOW: &str = "20130524T000000Z";

    fn now_ms() -> u64 {
        sigv4::parse_timestamp(NOW).expect("a time")
    }

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Head {
        let request = Request::builder().method(method).uri(uri).header("host", HOST);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    fn by_header(uri: &str, headers: &[(&str, &str)], signature: &str) -> Head {
        let mut names = vec!["host", "x-amz-content-sha256", "x-amz-date"];
        names.extend(headers.iter().map(|(name, _)| *name));
        names.sort_unstable();
        let text = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request, SignedHeaders={}, Signature={signature}",
            names.join(";")
        );
        let mut all = vec![("x-amz-date", NOW), ("x-amz-content-sha256", EMPTY), ("authorization", text.as_str())];
        all.extend(headers);
        head("GET", uri, &all)
    }

    fn presigned(parameters: &str, signature: &str) -> Head {
        let uri = format!(
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date={NOW}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host{parameters}&X-Amz-Signature={signature}"
        );
        head("GET", &uri, &[])
    }

    fn known(_: &str) -> Claimed {
        Claimed { secret: SECRET.to_owned(), is_known: true }
    }

    fn verified(keys: &SigningKeys, mut head: Head, now_ms: u64) -> Option<(String, Head)> {
        verify(&mut head, keys, now_ms, known).map(|Verified(key, _)| (key, head))
    }

    /// Amazon's own requests and signatures.
    #[test]
    fn the_examples_of_the_reference_are_right() {
        let keys = SigningKeys::default();
        let examples = [
            by_header(
                "/test.txt",
                &[("range", "bytes=0-9")],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            by_header("/?lifecycle", &[], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            by_header("/?max-keys=2&prefix=J", &[], "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ];
        for example in examples {
            let uri = example.uri.clone();
            // Derived, and kept.
            for _ in 0..2 {
                let (key, head) = verified(&keys, example.clone(), now_ms()).unwrap_or_else(|| panic!("{uri}"));
                assert_eq!((key.as_str(), &head.uri), (KEY, &uri));
                assert!(!head.headers.contains_key("authorization"));
            }
            let mut other = example.clone();
            other.uri = "/other?lifecycle".parse().expect("a URI");
            assert!(verified(&keys, other, now_ms()).is_none());
            assert!(verified(&keys, example, now_ms() + SKEW_MS + 1).is_none());
        }
        let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        let (key, head) =
            verified(&keys, presigned("", signature), now_ms() + 86_400_000).expect("the presigned example");
        assert_eq!((key.as_str(), head.uri.to_string().as_str()), (KEY, "/test.txt?"));
        assert!(verified(&keys, presigned("", signature), now_ms() + 86_400_001).is_none());
        assert!(verified(&keys, presigned("", signature), now_ms() - SKEW_MS - 1).is_none());
        assert!(verified(&keys, presigned("&versionId=1", signature), now_ms()).is_none());
        assert_eq!(keys.kept.read().expect("whole").len(), 1);
    }

    #[test]
    fn a_new_secret_is_in_force_at_once_and_unknown_keys_share_a_place() {
        let keys = SigningKeys::default();
        let example =
            || by_header("/?lifecycle", &[], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
        let with = |secret: &'static str, is_known| move |_: &str| Claimed { secret: secret.to_owned(), is_known };
        assert!(verify(&mut example(), &keys, now_ms(), with(SECRET, true)).is_some());
        assert!(verify(&mut example(), &keys, now_ms(), with("another", true)).is_none());
        assert_eq!(keys.kept.read().expect("whole").len(), 1, "a wrong signature leaves nothing behind");
        assert!(verify(&mut example(), &keys, now_ms(), with("nobody's", false)).is_none());
        let mut stranger = example();
        let text = stranger.headers["authorization"].to_str().expect("ASCII").replace(KEY, "SOMEBODY");
        stranger.headers.insert("authorization", text.parse().expect("a value"));
        assert!(verify(&mut stranger, &keys, now_ms(), with("nobody's", false)).is_none());
        assert_eq!(keys.kept.read().expect("whole").len(), 2);
    }

    #[test]
    fn what_s3s_would_refuse_is_left_to_it() {
        let keys = SigningKeys::default();
        let signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
        let example = || by_header("/?lifecycle", &[], signature);
        let without = |name: &str| {
            let mut head = example();
            head.headers.remove(name);
            head
        };
        for name in ["authorization", "host", "x-amz-date", "x-amz-content-sha256"] {
            assert!(verified(&keys, without(name), now_ms()).is_none(), "{name}");
        }
        let with = |name: &'static str, value: &'static str| {
            let mut head = example();
            head.headers.insert(name, value.parse().expect("a value"));
            head
        };
        for (name, value) in
            [("x-amz-date", "20130525T000000Z"), ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]
        {
            assert!(verified(&keys, with(name, value), now_ms()).is_none(), "{name}");
        }
        let mut put = example();
        put.method = Method::PUT;
        assert!(verified(&keys, put, now_ms()).is_none());
        assert!(verified(&keys, example(), now_ms()).is_some());
    }

    /// The two verifiers and the signers agree on odd paths, queries and values.
    #[test]
    fn odd_requests_are_right_too() {
        let keys = SigningKeys::default();
        let scope =
            || sigv4::Scope { date: NOW[..8].to_owned(), region: "us-east-1".to_owned(), service: "s3".to_owned() };
        for (path, query) in [
            ("/b/a%20b%2Bc%2Fd", "prefix=a%2Fb&a=&b=%20&a=1&A=2"),
            ("/b/%C3%A4~-._", "versionId=null&max-keys=1&max=2"),
            ("/b//x/../y", "list-type=2&delimiter=%2F&start-after=%F0%9F%A6%80"),
        ] {
            let headers = [
                ("host", HOST),
                ("x-amz-content-sha256", EMPTY),
                ("x-amz-date", NOW),
                ("x-amz-meta-a", "  a   b  "),
                ("x-amz-meta-a", "c"),
            ];
            let request = sigv4::Request { method: "GET", path, query, headers: headers.to_vec(), payload_hash: EMPTY };
            let text = sigv4::Authorization::sign(KEY, SECRET, scope(), NOW, &request).to_string();
            let mut all = headers[1..].to_vec();
            all.push(("authorization", &text));
            let found = verified(&keys, head("GET", &format!("{path}?{query}"), &all), now_ms());
            assert!(found.is_some(), "{path}?{query}");
        }
        // As it came: the parentheses are not encoded in what was signed.
        let canonical = format!(
            "GET\n/b/(1)\n\nhost:{HOST}\nx-amz-content-sha256:{EMPTY}\nx-amz-date:{NOW}\n\nhost;x-amz-content-sha256;x-amz-date\n{EMPTY}"
        );
        let text = format!("AWS4-HMAC-SHA256\n{NOW}\n{}\n{}", scope(), sigv4::payload_hash(canonical.as_bytes()));
        let signature = hex::encode(SigningKey::derive(SECRET, &NOW[..8], "us-east-1", "s3").sign(text.as_bytes()));
        assert!(verified(&keys, by_header("/b/(1)", &[], &signature), now_ms()).is_some());
        assert!(verified(&keys, by_header("/b/%281%29", &[], &signature), now_ms()).is_none());
    }

    /// What the kept key is for: the shortest of many rounds of either, in turn.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the time that verification takes is measured here")]
    fn a_kept_key_halves_verification() {
        const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let example = by_header("/test.txt", &[("range", "bytes=0-9")], SIGNATURE);
        let shared = SigningKeys::default();
        let round = |kept: bool| {
            let mut heads = vec![example.clone(); 200];
            let start = std::time::Instant::now();
            for head in &mut heads {
                let fresh = SigningKeys::default();
                assert!(verify(head, if kept { &shared } else { &fresh }, now_ms(), known).is_some());
            }
            start.elapsed()
        };
        let [kept, derived] = (0..50).fold([std::time::Duration::MAX; 2], |[kept, derived], _| {
            [kept.min(round(true)), derived.min(round(false))]
        });
        println!("200 verifications: {kept:?} with a kept key, {derived:?} with derived ones");
        // Without the optimizer what is around the hashes weighs more.
        let percent = if cfg!(debug_assertions) { 70 } else { 50 };
        assert!(kept * 100 <= derived * percent, "{kept:?} with a kept key, {derived:?} with derived ones");
    }
}
