//! Websites of buckets, at `BUCKET.s3-website.DOMAIN` for each configured domain. Their readers have no credentials: each read is
//! asked of s3s as an anonymous GetObject, so that the one decision about access is made for it too, and a page is 403 as long
//! as nothing makes its object public. Redirects need nothing to be read.

use super::escape;
use crate::access::Requester;
use crate::concurrency;
use crate::documents;
use crate::peer::Peer;
use crate::rates::Throttle;
use crate::s3::document;
use crate::s3::website::{self, Asked, Read, Step, What};
use crate::tls;
use cluster::Bucket;
use http::request::Parts as Head;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::Body;
use s3s::dto::WebsiteConfiguration;
use s3s::service::S3Service;

/// What of a client's headers a read of its page keeps.
const KEPT: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// What of them a policy may ask for.
const DECIDING: [HeaderName; 2] = [header::REFERER, header::USER_AGENT];

/// Why a page is not shown: S3's code and message.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    /// Where a rule of rates refuses it.
    throttle: Option<Throttle>,
}

const fn refusal(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
    Refusal { status, code, message, throttle: None }
}

const NO_METHOD: Refusal = refusal(
    StatusCode::METHOD_NOT_ALLOWED,
    "MethodNotAllowed",
    "The specified method is not allowed against this resource.",
);
const NO_BUCKET: Refusal = refusal(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist");
const NO_SITE: Refusal = refusal(
    StatusCode::NOT_FOUND,
    "NoSuchWebsiteConfiguration",
    "The specified bucket does not have a website configuration",
);
const NO_KEY: Refusal = refusal(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.");
const NO_ACCESS: Refusal = refusal(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied");
const FAULT: Refusal =
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "We encountered an internal error. Please try again.");

/// The answer to a request for a page of this bucket. `path` is decoded, `host` as the client named it.
pub async fn answer(s3: &S3Service, head: &Head, path: &str, host: &str, bucket: Option<&Bucket>) -> Response<Body> {
    let asked = Asked { scheme: tls::scheme(), host, path: path.strip_prefix('/').unwrap_or(path) };
    walk(s3, head, asked, bucket).await.unwrap_or_else(|refusal| refusal.page())
}

async fn walk(
    s3: &S3Service,
    head: &Head,
    asked: Asked<'_>,
    bucket: Option<&Bucket>,
) -> Result<Response<Body>, Refusal> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(NO_METHOD);
    }
    let bucket = bucket.ok_or(NO_BUCKET)?;
    let site: Option<WebsiteConfiguration> = document::read(bucket, documents::WEBSITE).map_err(|_| FAULT)?;
    let site = site.ok_or(NO_SITE)?;
    let mut step = website::begin(&site, asked);
    let mut object = None;
    loop {
        step = match step {
            Step::Read { key, what } => {
                let answer = read(s3, head, bucket, &key, what).await?;
                let outcome = outcome(&answer)?;
                object = Some(answer);
                website::after(&site, asked, what, outcome)
            }
            Step::Serve { error } => {
                let mut object = object.ok_or(FAULT)?;
                if let Some(status) = error {
                    *object.status_mut() = StatusCode::from_u16(status).map_err(|_| FAULT)?;
                }
                return Ok(object);
            }
            Step::Redirect { status, location } => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::from_u16(status).map_err(|_| FAULT)?;
                let location = HeaderValue::from_str(&location).map_err(|_| FAULT)?;
                answer.headers_mut().insert(header::LOCATION, location);
                return Ok(answer);
            }
            Step::Fail { status: 404 } => return Err(NO_KEY),
            Step::Fail { .. } => return Err(NO_ACCESS),
        };
    }
}

/// An object as somebody without credentials sees it.
async fn read(s3: &S3Service, head: &Head, bucket: &Bucket, key: &str, what: What) -> Result<Response<Body>, Refusal> {
    // An empty key would be the bucket, and the read a listing.
    if key.is_empty() {
        return Err(NO_KEY);
    }
    let method = if what == What::Index { &Method::HEAD } else { &head.method };
    let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
    // A host that is no domain, so that the path names the bucket.
    let mut request =
        Request::builder().method(method).uri(format!("/{}/{key}", bucket.name)).header("host", "localhost");
    let of_page = KEPT.iter().filter(|_| what == What::Page);
    for name in DECIDING.iter().chain(of_page) {
        for value in head.headers.get_all(name) {
            request = request.header(name, value);
        }
    }
    // Each read is a decision of its own, about a reader at the same place.
    let requester = Requester::default();
    request = request.extension(requester.clone());
    if let Some(peer) = head.extensions.get::<Peer>() {
        request = request.extension(peer.clone());
    }
    let request = request.body(Body::empty()).map_err(|_| NO_KEY)?;
    // A page that is not shown gives its place back before the next one is looked for.
    let mut answer = concurrency::hold(&requester, s3.call(request).await.map_err(|_| FAULT)?);
    if let Some(throttle) = requester.0.throttled.get() {
        let throttle = Some(throttle.clone());
        let (code, message) = ("SlowDown", "Please reduce your request rate.");
        return Err(Refusal { status: answer.status(), code, message, throttle });
    }
    answer.extensions_mut().insert(requester);
    Ok(answer)
}

/// A condition that does not hold is an answer about an object that is there.
fn outcome(answer: &Response<Body>) -> Result<Read, Refusal> {
    let status = answer.status();
    match status {
        StatusCode::NOT_FOUND => Ok(Read::Missing),
        StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => {
            Ok(Read::Found(None))
        }
        status if status.is_success() => {
            let elsewhere = answer.headers().get("x-amz-website-redirect-location");
            Ok(Read::Found(elsewhere.and_then(|location| location.to_str().ok()).map(str::to_owned)))
        }
        status if status.is_server_error() => Err(Refusal { status, ..FAULT }),
        _ => Ok(Read::Forbidden),
    }
}

impl Refusal {
    fn page(&self) -> Response<Body> {
        let Self { status, code, message, throttle } = self;
        let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
        let page = format!(
            "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n<li>Code: {code}</li>\n\
             <li>Message: {}</li>\n</ul>\n<hr/>\n</body>\n</html>\n",
            escape(message)
        );
        let mut answer = Response::new(Body::from(page));
        *answer.status_mut() = *status;
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, html);
        if let Some(throttle) = throttle {
            answer.headers_mut().extend(throttle.headers());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_s3s_are_outcomes() {
        let of = |status: u16, location: Option<&'static str>| {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
            if let Some(location) = location {
                let location = HeaderValue::from_static(location);
                answer.headers_mut().insert("x-amz-website-redirect-location", location);
            }
            outcome(&answer).map_err(|refusal| refusal.status.as_u16())
        };
        assert_eq!(of(200, None), Ok(Read::Found(None)));
        assert_eq!(of(206, Some("/a")), Ok(Read::Found(Some("/a".into()))));
        assert_eq!(of(304, None), Ok(Read::Found(None)));
        assert_eq!(of(404, None), Ok(Read::Missing));
        for refused in [400, 403, 405] {
            assert_eq!(of(refused, None), Ok(Read::Forbidden));
        }
        assert_eq!(of(503, None), Err(503));
    }
}
