//! Cross-origin resource sharing as a bucket's rules grant it: the decision, pure, and the headers that say it.
//!
//! The first rule decides that allows the origin, the method and every header that was asked for; one `*` in an origin or a
//! header's name stands for any characters. A preflight that no rule allows is 403, and an ordinary answer that none allows
//! goes out without these headers: the browser then keeps it from the page.
//!
//! Source: "Using cross-origin resource sharing (CORS)", Amazon S3 User Guide.

use crate::error::{Error, Result};
use crate::{documents, s3::document};
use cluster::Bucket;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use s3s::dto::{CORSConfiguration, CORSRule};

/// What a browser asks for: in a preflight, or by an ordinary request that has an `Origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    origin: String,
    method: String,
    /// In lower case, as headers are compared.
    headers: Vec<String>,
}

/// Answers caches must keep apart. On every answer of a bucket that has rules, whether or not one matched.
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// The headers that answer a preflight.
pub fn preflight(headers: &HeaderMap, bucket: Option<&Bucket>) -> Result<HeaderMap> {
    if !headers.contains_key(header::ORIGIN) {
        return Err(Error::CorsRequest("Insufficient information. Origin request header needed.".to_owned()));
    }
    let method = text(headers, header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or("null");
    if !["GET", "PUT", "HEAD", "POST", "DELETE"].contains(&method) {
        return Err(Error::CorsRequest(format!("Invalid Access-Control-Request-Method: {method}")));
    }
    let question = Question::of(headers, method);
    let Some(bucket) = bucket else { return Err(Error::CorsForbidden("Bucket not found")) };
    let rules: Option<CORSConfiguration> = document::read(bucket, documents::CORS)?;
    let rules = rules.ok_or(Error::CorsForbidden("CORS is not enabled for this bucket."))?;
    question.and_then(|question| grant(&rules.cors_rules, &question)).ok_or(Error::CorsForbidden(
        "This CORS request is not allowed. This is usually because the evalution of Origin, request method / \
         Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
    ))
}

/// The headers that an ordinary answer of this bucket gets, an error included.
pub fn ordinary(headers: &HeaderMap, method: &Method, bucket: &Bucket) -> HeaderMap {
    if !bucket.documents.contains_key(documents::CORS) {
        return HeaderMap::new();
    }
    let method = text(headers, header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str());
    let granted = Question::of(headers, method).and_then(|question| {
        let rules: CORSConfiguration = document::read(bucket, documents::CORS).ok().flatten()?;
        grant(&rules.cors_rules, &question)
    });
    granted.unwrap_or_else(|| HeaderMap::from_iter([(header::VARY, HeaderValue::from_static(VARY))]))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl Question {
    fn of(headers: &HeaderMap, method: &str) -> Option<Self> {
        let origin = text(headers, header::ORIGIN)?.to_owned();
        let asked = text(headers, header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or("").split(',');
        let asked = asked.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        Some(Self { origin, method: method.to_owned(), headers: asked.collect() })
    }
}

fn grant(rules: &[CORSRule], question: &Question) -> Option<HeaderMap> {
    let (rule, origin) = rules.iter().find_map(|rule| Some((rule, allowed_by(rule, question)?)))?;
    let mut headers = HeaderMap::new();
    let mut say = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if origin == "*" {
        say(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        say(header::ACCESS_CONTROL_ALLOW_ORIGIN, &question.origin);
        say(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    say(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods.join(", "));
    if !question.headers.is_empty() {
        say(header::ACCESS_CONTROL_ALLOW_HEADERS, &question.headers.join(", "));
    }
    if let Some(exposed) = rule.expose_headers.as_ref().filter(|exposed| !exposed.is_empty()) {
        say(header::ACCESS_CONTROL_EXPOSE_HEADERS, &exposed.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        say(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    say(header::VARY, VARY);
    Some(headers)
}

/// The rule's origin that allows the question, if the rule does.
fn allowed_by<'r>(rule: &'r CORSRule, question: &Question) -> Option<&'r str> {
    let origin = rule.allowed_origins.iter().find(|pattern| matches(pattern, &question.origin))?;
    let allows = |name: &String| {
        let mut patterns = rule.allowed_headers.iter().flatten();
        patterns.any(|pattern| matches(&pattern.to_ascii_lowercase(), name))
    };
    (rule.allowed_methods.contains(&question.method) && question.headers.iter().all(allows)).then_some(origin)
}

/// One `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::BucketState;
    use common::{BucketId, BucketName, OwnerId};

    fn bucket(rules: Option<&str>) -> Bucket {
        let document =
            |rules| (documents::CORS.to_owned(), format!("<CORSConfiguration>{rules}</CORSConfiguration>").into());
        Bucket {
            id: BucketId(1),
            name: BucketName::parse("photos").expect("a name"),
            owner: OwnerId("ann".into()),
            created_ms: 0,
            version: 1,
            state: BucketState::Active,
            region: "r".into(),
            documents: rules.map(document).into_iter().collect(),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().expect("a header value"))
        };
        pairs.iter().map(pair).collect()
    }

    const RULES: &str = "<CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedOrigin>http://one</AllowedOrigin>\
        <AllowedMethod>GET</AllowedMethod><AllowedMethod>HEAD</AllowedMethod><AllowedHeader>X-Amz-*</AllowedHeader>\
        <ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-a</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>\
        <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader></CORSRule>";

    fn ask(origin: &str, method: &str, asked: &str) -> Result<HeaderMap> {
        let mut pairs = vec![("origin", origin), ("access-control-request-method", method)];
        if !asked.is_empty() {
            pairs.push(("access-control-request-headers", asked));
        }
        preflight(&headers(&pairs), Some(&bucket(Some(RULES))))
    }

    #[test]
    fn a_preflight_is_told_everything() {
        let told = ask("https://a.example", "GET", "X-Amz-Date, x-amz-meta-b").expect("allowed");
        let expected = headers(&[
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, HEAD"),
            ("access-control-allow-headers", "x-amz-date, x-amz-meta-b"),
            ("access-control-expose-headers", "ETag, x-a"),
            ("access-control-max-age", "60"),
            ("vary", VARY),
        ]);
        assert_eq!(told, expected);
        let told = ask("http://other", "PUT", "content-type").expect("allowed by the second");
        let expected = headers(&[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "PUT"),
            ("access-control-allow-headers", "content-type"),
            ("vary", VARY),
        ]);
        assert_eq!(told, expected);
    }

    #[test]
    fn everything_asked_for_must_be_allowed_by_one_rule() {
        let code =
            |origin, method, asked| ask(origin, method, asked).map_or_else(|error| error.answer().code, |_| "ok");
        assert_eq!(code("http://one", "GET", ""), "ok");
        assert_eq!(code("http://one", "GET", "content-type"), "AccessForbidden");
        assert_eq!(code("http://one", "GET", "x-amz-date, content-type"), "AccessForbidden");
        assert_eq!(code("http://two", "GET", ""), "AccessForbidden");
        assert_eq!(code("HTTP://one", "GET", ""), "AccessForbidden");
        assert_eq!(code("https://example", "GET", ""), "AccessForbidden");
        assert_eq!(code("http://one", "DELETE", ""), "AccessForbidden");
        assert_eq!(code("http://one", "PATCH", ""), "BadRequest");
        assert_eq!(code("http://one", "get", ""), "BadRequest");
    }

    #[test]
    fn questions_that_are_none_are_told_so() {
        let code = |pairs: &[(&'static str, &str)], bucket: Option<&Bucket>| {
            let error = preflight(&headers(pairs), bucket).expect_err("refused");
            (error.answer().code, error.answer().status.as_u16())
        };
        let good = [("origin", "http://one"), ("access-control-request-method", "GET")];
        assert_eq!(code(&[], None), ("BadRequest", 400));
        assert_eq!(code(&good[1..], None), ("BadRequest", 400));
        assert_eq!(code(&good[..1], Some(&bucket(Some(RULES)))), ("BadRequest", 400));
        assert_eq!(code(&good, None), ("AccessForbidden", 403));
        assert_eq!(code(&good, Some(&bucket(None))), ("AccessForbidden", 403));
    }

    #[test]
    fn ordinary_answers_say_what_is_granted_and_vary_in_any_case() {
        let bucket_with_rules = bucket(Some(RULES));
        let answer =
            |pairs: &[(&'static str, &str)], method: Method| ordinary(&headers(pairs), &method, &bucket_with_rules);
        let allowed = |answer: &HeaderMap| answer.get("access-control-allow-origin").cloned();
        let granted = answer(&[("origin", "http://one")], Method::GET);
        assert_eq!(allowed(&granted).expect("granted"), "http://one");
        assert_eq!(granted["access-control-expose-headers"], "ETag, x-a");
        for (pairs, method) in [(&[][..], Method::GET), (&[("origin", "http://two")], Method::GET)] {
            let told = answer(pairs, method);
            assert_eq!((allowed(&told), told.len()), (None, 1));
            assert_eq!(told["vary"], VARY);
        }
        assert!(ordinary(&headers(&[("origin", "http://one")]), &Method::GET, &bucket(None)).is_empty());
    }

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text) in [("*", ""), ("a*", "a"), ("*a", "ba"), ("a*c", "abc"), ("a*c", "ac"), ("a", "a")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*a", "a"), ("a", "ab"), ("*a", "ab"), ("a*c", "abd"), ("", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
