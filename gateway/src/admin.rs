//! The admin API, `/api/v1` on the admin port: JSON, signed with Signature Version 4 by an administrator's key.
//!
//! `routes.rs` is the table of what there is; `GET /api/v1/openapi.json` describes it to programs.
//!
//! Every other answer is an `application/problem+json` (RFC 9457) of `problem.rs`. The signature is verified before
//! the first byte of the body is read, and the body against the signed hash before it is parsed.

mod accounts;
mod backup;
mod explain_token;
mod keys;
mod limits;
mod named_keys;
mod problem;
mod routes;
mod simulate;
mod tls;
mod verify;

use crate::admin::problem::Problem;
use crate::admin::routes::{Found, Route};
use crate::admission::Admission;
use crate::audit::{self, Asked};
use crate::concurrency::Concurrency;
use crate::guard::ErrorCode;
use crate::kms::NamedKeys;
use crate::peer::Peer;
use crate::rates::{Arrival, Asker, COST, Rates, Taken, Throttle, Verb};
use crate::sessions::Sessions;
use crate::sts::Issuers;
use authn::Identity;
use bytes::Bytes;
use cluster::{ControlPlane, State};
use common::{Clock, Random, sigv4};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde_json::json;
use std::sync::Arc;

const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the admin API works with.
pub struct AdminParts {
    pub control: Arc<dyn ControlPlane>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub named_keys: Arc<NamedKeys>,
    /// Where decisions are made, to ask about one; none where no data is served.
    pub admission: Option<Arc<Admission>>,
    /// Who judges tokens of issuers, to ask about one; none likewise.
    pub issuers: Option<Issuers>,
    /// The rules of who may ask how often; none likewise.
    pub rates: Option<Arc<Rates>>,
    /// Places at the target, where their number is limited.
    pub concurrency: Option<Arc<Concurrency>>,
    /// The region that requests must be signed for.
    pub region: String,
    /// Certificates, and what listeners speak; none likewise.
    pub edge: Option<Arc<certs::Edge>>,
}

impl AdminParts {
    fn sessions(&self) -> Sessions {
        Sessions::new(self.control.clone(), self.named_keys.clone(), self.clock.clone(), self.random.clone())
    }
}

/// Answers one request. Never fails: what goes wrong is in the answer.
pub async fn handle<B>(parts: &AdminParts, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let mut code = None;
    let answer = answer(parts, &head, body).await.unwrap_or_else(|problem| {
        code = Some(ErrorCode(problem.code.to_owned()));
        if problem.status.is_server_error() {
            tracing::error!(method = %head.method, path = head.uri.path(), %problem, "admin request failed");
        } else {
            tracing::info!(method = %head.method, path = head.uri.path(), %problem, "admin request refused");
        }
        problem.into_answer()
    });
    let mut response = answer.into_response();
    if let Some(code) = code {
        response.extensions_mut().insert(code);
    }
    response
}

/// Nothing if an administrator signed the request, and else the refusal: for pages of the admin port that are no part of the API.
pub async fn check<B>(parts: &AdminParts, head: &Head, body: B) -> Option<Response<Full<Bytes>>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let checked = async {
        let arrival = arrives(parts, head)?;
        let state = parts.control.read().await.map_err(Problem::from)?;
        let payload_hash = charged(parts, &arrival, verified(parts, head, &state))?.0;
        drop(arrival);
        read_body(body, payload_hash).await
    };
    checked.await.err().map(|problem| {
        tracing::info!(method = %head.method, path = head.uri.path(), %problem, "refused");
        problem.into_answer().into_response()
    })
}

/// The answer to a request that the listener refused before it was one.
pub fn refuse(error: &crate::Error) -> Response<Full<Bytes>> {
    let crate::Answer { code, status } = error.answer();
    Problem::new(status, code, error.to_string()).into_answer().into_response()
}

async fn answer<B>(parts: &AdminParts, head: &Head, body: B) -> Result<Answer, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = head.uri.path();
    let found = routes::find(&head.method, path);
    if let (Found::Route(route, _), Some(asked)) = (&found, head.extensions.get::<Asked>()) {
        let _ = asked.operation.0.set(format!("weir:{route:?}"));
    }
    if let Found::Route(Route::OpenApi, _) = found {
        return Ok(Answer::json(StatusCode::OK, routes::openapi()));
    }
    let admitted = arrives(parts, head);
    let state = parts.control.read().await.map_err(Problem::from)?;
    let verified = admitted.and_then(|arrival| {
        let (payload_hash, identity) = charged(parts, &arrival, verified(parts, head, &state))?;
        admit_rate(parts, head, &identity).map(|()| payload_hash)
    });
    let payload_hash = match verified {
        Ok(payload_hash) => payload_hash,
        Err(problem) => {
            // A body that nobody reads ends the connection, and the client's next request with it.
            let _ = Limited::new(body, BODY_BYTES_MAX).collect().await;
            return Err(problem);
        }
    };
    let body = read_body(body, payload_hash).await?;

    let (route, names) = match found {
        Found::Route(route, names) => (route, names),
        Found::WrongMethod => return Err(Problem::wrong_method(&head.method)),
        Found::Nothing => return Err(Problem::no_such_path(path)),
    };
    let name = names.first().map_or("", String::as_str);
    match route {
        Route::OpenApi => Ok(Answer::json(StatusCode::OK, routes::openapi())),
        Route::CreateBackup => backup::create(parts).await,
        Route::ListKeys => Ok(keys::list(&state)),
        Route::CreateKey => {
            let answer = keys::create(parts, &body).await?;
            let made = answer.body.as_ref().and_then(|body| body["access_key"].as_str());
            audit::issued(&head.extensions, made.unwrap_or("-"));
            Ok(answer)
        }
        Route::UpdateKey => keys::update(parts, name, &body).await,
        Route::DeleteKey => keys::delete(parts, name).await,
        Route::ListNamedKeys => Ok(named_keys::list(&state)),
        Route::CreateNamedKey => named_keys::create(parts, &body).await,
        Route::RotateNamedKey => named_keys::rotate(parts, name).await,
        Route::SimulatePolicy => simulate::answer(parts, &state, &body).await,
        Route::SimulateIdentity => simulate::of_identity(&state, name, &body),
        Route::ExplainToken => explain_token::answer(parts, &state, &body).await,
        Route::ListLimits | Route::GetLimit | Route::PutLimit | Route::DeleteLimit | Route::ExplainLimits => {
            limits::answer(parts, &state, (route, name), head, &body).await
        }
        Route::ShowConcurrency => {
            let status = parts.concurrency.as_ref().map(|concurrency| concurrency.status());
            Ok(Answer::json(StatusCode::OK, json!({ "targets": status.into_iter().collect::<Vec<_>>() })))
        }
        Route::ListAccounts => Ok(accounts::list(&state)),
        Route::ShowTls
        | Route::ReloadTls
        | Route::ValidateTls
        | Route::IssueCertificate
        | Route::RenewCertificate
        | Route::SwitchListener => {
            let edge = parts.edge.as_ref().ok_or_else(|| Problem::no_such_path(path))?;
            tls::answer(edge, route, name, &body).await
        }
        _ => accounts::answer(parts, &state, route, &names, &body).await,
    }
}

/// Whether the rules of rates let an address ask.
fn arrives(parts: &AdminParts, head: &Head) -> Result<Arrival, Problem> {
    let address = head.extensions.get::<Peer>().map(|peer| peer.address);
    let Some(rates) = &parts.rates else { return Ok(Arrival::default()) };
    rates.arrives(address, &head.headers, is_of_limits(head)).map_err(|throttle| throttled(head, throttle))
}

/// A credential that is not good costs its address, before anything else happens to the request.
fn charged<T>(parts: &AdminParts, arrival: &Arrival, verified: Result<T, Problem>) -> Result<T, Problem> {
    if let Some(rates) = &parts.rates {
        let code = verified.as_ref().err().map(|problem| ErrorCode(problem.code.to_owned()));
        rates.ended(Some(arrival), code.as_ref());
    }
    verified
}

/// Whether the rules let a request through, where it is known who asks.
fn admit_rate(parts: &AdminParts, head: &Head, identity: &Identity) -> Result<(), Problem> {
    let Some(rates) = parts.rates.as_ref().filter(|rates| !is_of_limits(head) && rates.asks_by_identity()) else {
        return Ok(());
    };
    let address = head.extensions.get::<Peer>().map(|peer| peer.address);
    let asker = Asker { identity, address, bucket: None, verb: Verb::Admin, headers: Some(&head.headers) };
    rates.admits(&asker, COST, Taken::default()).map(drop).map_err(|throttle| throttled(head, throttle))
}

/// Whoever changes the rules is not stopped by one that went wrong.
fn is_of_limits(head: &Head) -> bool {
    head.uri.path().starts_with("/api/v1/limits")
}

fn throttled(head: &Head, throttle: Throttle) -> Problem {
    audit::reason(&head.extensions, throttle.reason());
    Problem::throttled(throttle)
}

/// The hash that the request's body must have, from a request that an administrator signed, and who that is.
fn verified<'h>(parts: &AdminParts, head: &'h Head, state: &State) -> Result<(&'h str, Identity), Problem> {
    let session = verify::claimed_token(head)?.map(|(key, token)| parts.sessions().open(Some(&key), token));
    let session = session.transpose().map_err(Problem::of_token)?;
    verify::administrator(head, (state, session.as_deref()), parts.clock.now_ms(), &parts.region)
}

/// The whole body, proven to be the one that was signed.
async fn read_body<B>(body: B, payload_hash: &str) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BodyTooLarge",
                format!("a body has at most {BODY_BYTES_MAX} bytes"),
            );
        }
        Problem::new(StatusCode::BAD_REQUEST, "IncompleteBody", "the body broke off")
    })?;
    let body = body.to_bytes();
    // No secret is compared here, only what the client has computed of its own body.
    if sigv4::payload_hash(&body) != payload_hash {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "the body is not the one that was signed",
        ));
    }
    Ok(body)
}

/// An answer before it is HTTP.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Option<serde_json::Value>,
    headers: HeaderMap,
}

impl Answer {
    fn json(status: StatusCode, body: serde_json::Value) -> Self {
        Self { status, content_type: "application/json", body: Some(body), headers: HeaderMap::new() }
    }

    fn done() -> Self {
        Self { status: StatusCode::NO_CONTENT, content_type: "", body: None, headers: HeaderMap::new() }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let body = self.body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        // An answer may hold a new secret.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests;
