//! Whether a request was signed by an administrator, now, and completely. Pure.

use crate::access::verdict;
use crate::admin::problem::Problem;
use crate::audit::Asked;
use crate::directory;
use crate::sessions::Current;
use authn::Identity;
use cluster::State;
use common::sigv4::{self, Authorization};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

/// A signature is good for this long before and after its time.
const SKEW_MS_MAX: u64 = 15 * 60 * 1000;

const SERVICE: &str = "s3";
const PAYLOAD_HASH: &str = "x-amz-content-sha256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";

/// The hash that the request's body must have, from a request that an administrator signed, and who that is.
///
/// `session`: what its token opened to (`claimed_token`).
pub(super) fn administrator<'a>(
    head: &'a Parts,
    (state, session): (&State, Option<&Current>),
    now_ms: u64,
    region: &str,
) -> Result<(&'a str, Identity), Problem> {
    if !head.headers.contains_key("authorization") {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "MissingAuthentication",
            "sign the request with the access key of an administrator",
        ));
    }
    let authorization = Authorization::parse(only(&head.headers, "authorization")?)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", error.to_string()))?;
    let timestamp = only(&head.headers, DATE)?;
    let payload_hash = only(&head.headers, PAYLOAD_HASH)?;
    check_time(timestamp, &authorization, now_ms)?;
    if authorization.scope.service != SERVICE {
        return Err(malformed(format!("sign the request for the service {SERVICE}")));
    }
    if authorization.scope.region != region {
        return Err(Problem::wrong_region(region));
    }

    let request = sigv4::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: signed_headers(&head.headers, &authorization)?,
        payload_hash,
    };
    let key = directory::active_key(state, &authorization.access_key).filter(|_| session.is_none());
    let secret = session.map(Current::secret).or(key.map(|key| key.secret.as_str()));
    // An unknown key takes the same way and gets the same answer as a wrong signature: neither tells which keys exist.
    let signed = authorization.is_signed_by(secret.unwrap_or(""), timestamp, &request) && secret.is_some();
    let caller = match (session, key) {
        (Some(session), _) if signed => session.caller().map_err(Problem::of_token)?,
        (None, Some(key)) if signed => directory::caller(state, &key.id.0).map_err(Problem::of_token)?,
        _ => {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "SignatureDoesNotMatch",
                "no access key has made this signature: check the access key and its secret",
            ));
        }
    };
    let identity = Identity::Known(caller);
    let verdict = verdict(&identity, "weir:Administer", None);
    if let Some(asked) = head.extensions.get::<Asked>() {
        asked.administers(&identity, head.uri.path(), &verdict);
    }
    if verdict.allowed {
        return Ok((payload_hash, identity));
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "AccessDenied",
        format!("access key {} is not an administrator's", authorization.access_key),
    ))
}

/// The session token of a request, with the access key that it claims to be of.
pub(super) fn claimed_token(head: &Parts) -> Result<Option<(String, &str)>, Problem> {
    if !head.headers.contains_key(TOKEN) || !head.headers.contains_key("authorization") {
        return Ok(None);
    }
    let authorization = Authorization::parse(only(&head.headers, "authorization")?)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", error.to_string()))?;
    Ok(Some((authorization.access_key, only(&head.headers, TOKEN)?)))
}

fn check_time(timestamp: &str, authorization: &Authorization, now_ms: u64) -> Result<(), Problem> {
    let signed_ms = sigv4::parse_timestamp(timestamp)
        .filter(|_| timestamp.get(..8) == Some(authorization.scope.date.as_str()))
        .ok_or_else(|| malformed(format!("{DATE} is no time, or not of the scope's day")))?;
    if now_ms.abs_diff(signed_ms) > SKEW_MS_MAX {
        let now = sigv4::timestamp(now_ms);
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "RequestTimeTooSkewed",
            format!("the request is of {timestamp}, and here it is {now}: set one of the clocks"),
        ));
    }
    Ok(())
}

/// The headers that were signed, as they arrived. What could change the request's meaning must be among them.
fn signed_headers<'a>(
    headers: &'a HeaderMap,
    authorization: &'a Authorization,
) -> Result<Vec<(&'a str, &'a str)>, Problem> {
    let is_signed = |name: &str| authorization.signed_headers.iter().any(|signed| signed == name);
    let amz = headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-"));
    for name in ["host", DATE, PAYLOAD_HASH].into_iter().chain(amz) {
        if !is_signed(name) {
            return Err(malformed(format!("the header {name} must be signed")));
        }
    }
    only(headers, "host")?;

    let mut signed = Vec::new();
    for name in &authorization.signed_headers {
        let before = signed.len();
        for value in headers.get_all(name.as_str()) {
            let value = value.to_str().map_err(|_| malformed(format!("the header {name} is not plain text")))?;
            signed.push((name.as_str(), value));
        }
        if signed.len() == before {
            return Err(malformed(format!("the signed header {name} is missing")));
        }
    }
    Ok(signed)
}

/// The one value of a header: with two, signer and reader could mean different ones.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(malformed(format!("the header {name} must be there exactly once, in plain text"))),
    }
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", detail)
}
