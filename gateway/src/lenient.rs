//! Headers that S3 ignores when they are malformed and that s3s refuses: a `Range` that is not one valid range, a date in a
//! condition that is none. And a `Range` beyond 2^63, which s3s cannot read. They cannot be dropped before s3s, as most clients sign them; so such a request takes this way:
//! s3s verifies its signature, then it is asked again without these headers and with the verified key in place of the
//! signature.

use crate::admission::Proof;
use crate::guard::query_pairs;
use common::ByteRange;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, HttpRequest, S3Request, S3Response, S3Result, s3_error};

/// The access key whose signature was verified, and the proof, which is taken away. Made here only, and never from anything that a client can send.
#[derive(Clone)]
pub struct Verified(pub String, pub Proof);

pub struct Lenient {
    /// The same service, without this route.
    inner: S3Service,
}

impl Lenient {
    pub fn new(inner: S3Service) -> Self {
        Self { inner }
    }
}

#[async_trait::async_trait]
impl S3Route for Lenient {
    fn is_match(&self, method: &Method, _: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        (method == Method::GET || method == Method::HEAD)
            && (ignored(headers).next().is_some() || smaller_range(headers).is_some())
    }

    /// The inner service decides, with the identity of the verified key.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        if let Some(range) = smaller_range(&request.headers) {
            request.headers.insert(header::RANGE, range);
        }
        let dropped: Vec<HeaderName> = ignored(&request.headers).collect();
        for name in dropped {
            request.headers.remove(name);
        }
        let proof = Proof::of(&request.headers, request.uri.query().unwrap_or(""));
        request.headers.remove(header::AUTHORIZATION);
        let mut again = HttpRequest::new(Body::empty());
        *again.method_mut() = request.method;
        *again.uri_mut() = unsigned(&request.uri).ok_or_else(|| s3_error!(InvalidURI))?;
        *again.headers_mut() = request.headers;
        *again.extensions_mut() = request.extensions;
        if let Some(credentials) = request.credentials {
            again.extensions_mut().insert(Verified(credentials.access_key, proof));
        }
        let answer =
            self.inner.call(again).await.map_err(|_| s3_error!(InternalError, "the answer could not be written"))?;
        let (head, body) = answer.into_parts();
        let mut answer = S3Response::with_status(body, head.status);
        answer.headers = head.headers;
        answer.extensions = head.extensions;
        Ok(answer)
    }
}

/// A range that s3s cannot read in numbers that it can. No object has as many bytes, so it names the same ones.
pub(crate) fn smaller_range(headers: &HeaderMap) -> Option<HeaderValue> {
    const LARGEST: u64 = i64::MAX.unsigned_abs();
    let text = headers.get(header::RANGE)?.to_str().ok()?;
    let range = ByteRange::parse(text).ok()?;
    if s3s::dto::Range::parse(text).is_ok() {
        return None;
    }
    let text = match range {
        ByteRange::FromTo(first, last) => format!("bytes={}-{}", first.min(LARGEST), last.min(LARGEST)),
        ByteRange::From(first) => format!("bytes={}-", first.min(LARGEST)),
        ByteRange::Last(length) => format!("bytes=-{}", length.min(LARGEST)),
    };
    HeaderValue::try_from(text).ok()
}

/// The headers of a read that S3 would ignore.
fn ignored(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let range = headers.get(header::RANGE).map(|value| value.to_str().is_ok_and(|text| ByteRange::parse(text).is_ok()));
    let date = |name: &HeaderName| {
        let value = headers.get(name)?;
        Some(value.to_str().is_ok_and(|text| Timestamp::parse(TimestampFormat::HttpDate, text).is_ok()))
    };
    let judged = [
        (header::RANGE, range),
        (header::IF_MODIFIED_SINCE, date(&header::IF_MODIFIED_SINCE)),
        (header::IF_UNMODIFIED_SINCE, date(&header::IF_UNMODIFIED_SINCE)),
    ];
    judged.into_iter().filter(|(_, valid)| *valid == Some(false)).map(|(name, _)| name)
}

/// The URI without the parameters of a presigned URL.
pub(crate) fn unsigned(uri: &Uri) -> Option<Uri> {
    let is_signature = |piece: &str| query_pairs(piece).iter().any(|(key, _)| key.starts_with("X-Amz-"));
    let query = uri.query().unwrap_or("").split('&').filter(|piece| !is_signature(piece)).collect::<Vec<_>>().join("&");
    format!("{}?{query}", uri.path()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn dropped(name: HeaderName, value: &'static str) -> usize {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        ignored(&headers).count()
    }

    #[test]
    fn only_malformed_headers_are_ignored() {
        assert_eq!(dropped(header::RANGE, "bytes=1-2"), 0);
        assert_eq!(dropped(header::RANGE, "bytes=1-2,4-5"), 1);
        assert_eq!(dropped(header::RANGE, "lines=1-2"), 1);
        assert_eq!(dropped(header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT"), 0);
        assert_eq!(dropped(header::IF_MODIFIED_SINCE, "yesterday"), 1);
        assert_eq!(dropped(header::IF_UNMODIFIED_SINCE, "784111777"), 1);
        assert_eq!(dropped(header::IF_RANGE, "nonsense"), 0);
    }

    #[test]
    fn large_ranges_become_readable() {
        let smaller = |range: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(range));
            smaller_range(&headers).map(|value| value.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(smaller("bytes=0-5"), None);
        assert_eq!(smaller("bytes=5-2"), None);
        assert_eq!(smaller("bytes=0-18446744073709551615").as_deref(), Some("bytes=0-9223372036854775807"));
        assert_eq!(smaller("bytes=99999999999999999999-").as_deref(), Some("bytes=9223372036854775807-"));
        assert_eq!(smaller("bytes=-99999999999999999999").as_deref(), Some("bytes=-9223372036854775807"));
    }

    #[test]
    fn signatures_leave_the_query() {
        let uri: Uri = "/b/k%20?X-Amz-Signature=00&versionId=null&X-Amz-Expires=1".parse().expect("a URI");
        assert_eq!(unsigned(&uri).expect("a URI").to_string(), "/b/k%20?versionId=null");
    }
}
