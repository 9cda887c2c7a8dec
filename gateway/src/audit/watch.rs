//! Stands around a listener's handler: sees each request come and its answer go, and makes the line.

use super::judge::{Class, Judgement, auth_type, claimed_key, of_denial};
use super::trail::{Asked, Decided};
use super::{Audit, Reads};
use crate::admission::action;
use crate::admission::explanation;
use crate::error::Error;
use crate::guard::{ErrorCode, query_pairs};
use crate::health;
use crate::host::Domains;
use crate::listener::{Handler, Incoming};
use crate::peer::Peer;
use authn::Identity;
use authn::audit::{Decision, Outcome, time};
use bytes::Bytes;
use http::request::Parts as Head;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::{Body as _, Frame, SizeHint};
use s3s::{Body, StdError};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

pub const DATA: &str = "data";
pub const ADMIN: &str = "admin";

const REQUEST_ID: &str = "x-amz-request-id";

/// A listener's handler, watched.
pub struct Watched {
    inner: Arc<dyn Handler>,
    audit: Arc<Audit>,
    listener: &'static str,
    /// Of hosts that name a bucket.
    domains: Domains,
}

impl Watched {
    pub fn data(inner: Arc<dyn Handler>, audit: Arc<Audit>, domains: Domains) -> Arc<Self> {
        Arc::new(Self { inner, audit, listener: DATA, domains })
    }

    pub fn admin(inner: Arc<dyn Handler>, audit: Arc<Audit>) -> Arc<Self> {
        Arc::new(Self { inner, audit, listener: ADMIN, domains: Domains::new(&[]) })
    }

    /// The answer to a request whose line has no place.
    async fn unheard(&self, head: &Head) -> Response<Body> {
        let mut answer = self.inner.refuse(head, Error::NotAudited).await;
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}

#[async_trait::async_trait]
impl Handler for Watched {
    async fn handle(&self, mut request: Request<Incoming>) -> Response<Body> {
        // Health: there is nothing to decide.
        if health::is_asked(request.uri().path(), request.headers(), &self.domains) {
            return self.inner.handle(request).await;
        }
        if !self.audit.has_room() {
            return self.unheard(&request.into_parts().0).await;
        }
        let watch = Watch::begin(&self.audit, self.listener, &request);
        request.extensions_mut().insert(watch.asked.clone());
        let answer = self.inner.handle(request).await;
        match watch.sees(answer) {
            Ok(answer) => answer,
            Err(head) => self.unheard(&head).await,
        }
    }

    /// For bytes that are no request, about which nothing is decided.
    async fn refuse(&self, head: &Head, error: Error) -> Response<Body> {
        self.inner.refuse(head, error).await
    }
}

/// What came of a request, as far as its answer says it.
struct Answered {
    status: StatusCode,
    code: Option<String>,
    request_id: String,
    version: Option<HeaderValue>,
}

/// One request, until its line is written. One that is given up without an answer has a line too.
struct Watch {
    audit: Arc<Audit>,
    asked: Asked,
    listener: &'static str,
    begun_us: u64,
    method: Method,
    uri: Uri,
    peer: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    length: Option<HeaderValue>,
    source: Option<HeaderValue>,
    answered: Option<Answered>,
    bytes_out: u64,
    sampled: Option<u32>,
    is_done: bool,
}

impl Watch {
    fn begin(audit: &Arc<Audit>, listener: &'static str, request: &Request<Incoming>) -> Self {
        let header = |name: HeaderName| request.headers().get(name).cloned();
        let decoded = HeaderName::from_static("x-amz-decoded-content-length");
        Self {
            audit: audit.clone(),
            asked: Asked::default(),
            listener,
            begun_us: audit.clock.now_us(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            peer: request.extensions().get::<Peer>().map(|peer| peer.address),
            user_agent: header(header::USER_AGENT),
            authorization: header(header::AUTHORIZATION),
            source: header(HeaderName::from_static("x-amz-copy-source"))
                .or_else(|| header(HeaderName::from_static("x-amz-rename-source"))),
            length: header(decoded).or_else(|| header(header::CONTENT_LENGTH)),
            answered: None,
            bytes_out: 0,
            sampled: None,
            is_done: false,
        }
    }

    /// The line is written when the answer's body has ended, or is given up. Where a line must not be missing it is written now,
    /// and the request's head comes back if there is no room for it.
    fn sees(mut self, mut answer: Response<Body>) -> Result<Response<Body>, Box<Head>> {
        let status = answer.status();
        let code = answer.extensions().get::<ErrorCode>().map(|code| code.0.clone()).filter(|code| !code.is_empty());
        let operation = self.asked.operation.0.get().map(String::as_str);
        let judged = Judgement::of(&self.asked.requester.0, operation, self.auth_type(), (status, code.as_deref()));
        if !self.has_line(judged.outcome) {
            self.is_done = true;
            return Ok(answer);
        }
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let request_id = answer.headers().get(REQUEST_ID).map(text).unwrap_or_else(|| {
            // The admin API's answers have none of their own.
            let id = format!("{:016X}", self.audit.random.u64());
            answer.headers_mut().extend(HeaderValue::from_str(&id).map(|id| (HeaderName::from_static(REQUEST_ID), id)));
            id
        });
        let version = answer.headers().get("x-amz-version-id").cloned();
        self.answered = Some(Answered { status, code, request_id, version });
        let exact = answer.body().size_hint().exact();
        if let Some(bytes) = exact.filter(|_| self.audit.config.is_strict) {
            self.bytes_out = bytes;
            if !self.write() {
                return Err(Box::new(self.made_up_head()));
            }
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        Ok(Response::from_parts(head, Body::http_body(Counted { body, watch: self })))
    }

    /// Whether the request has a line: every one that is denied or may have changed something, and reads as configured.
    fn has_line(&mut self, outcome: Outcome) -> bool {
        let operation = self.asked.operation.0.get().map(String::as_str);
        if Class::of(operation, &self.method, self.listener) != Class::Read || outcome == Outcome::Deny {
            return true;
        }
        let sampled = self.audit.sample();
        self.sampled = sampled.filter(|_| self.audit.config.reads != Reads::All);
        sampled.is_some()
    }

    fn auth_type(&self) -> &'static str {
        let proof = self.asked.requester.0.trail.proof.get().copied();
        let operation = self.asked.operation.0.get().map(String::as_str);
        auth_type(self.authorization.as_ref(), self.uri.query().unwrap_or(""), proof, operation)
    }

    fn made_up_head(&self) -> Head {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        request.into_parts().0
    }

    /// Makes the lines and gives them to the sinks; says whether there was room for all of them.
    fn write(&mut self) -> bool {
        self.is_done = true;
        let findings = &self.asked.requester.0;
        let trail = &findings.trail;
        let query = self.uri.query().unwrap_or("");
        let operation = self.asked.operation.0.get().map(String::as_str);
        let (status, code) =
            self.answered.as_ref().map_or((None, None), |answered| (Some(answered.status), answered.code.as_deref()));
        let auth_type = self.auth_type();
        let judged = Judgement::of(findings, operation, auth_type, (status.unwrap_or(StatusCode::OK), code));
        // Without an answer nobody knows whether it would have been allowed, unless it was decided.
        let is_unknown = status.is_none() && judged.by.is_none() && judged.outcome != Outcome::Deny;
        let caller = trail.identity.get().and_then(Identity::caller);
        let proven = caller.and_then(|caller| caller.access_key.as_ref()).map(|key| key.0.clone());
        let claimed = || trail.claimed_key.get().cloned().or_else(|| claimed_key(self.authorization.as_ref(), query));
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let place = trail.place.get();
        let (bucket, key) = place.map_or((None, None), |(bucket, key)| (bucket.as_deref(), key.as_deref()));
        let key = key.or(trail.key.get().map(String::as_str));
        let resource = match (bucket, key) {
            _ if operation.is_some_and(|operation| operation.contains(':')) => None,
            (Some(bucket), Some(key)) => Some(format!("arn:aws:s3:::{bucket}/{key}")),
            (Some(bucket), None) => Some(format!("arn:aws:s3:::{bucket}")),
            _ if self.listener == ADMIN => Some(self.uri.path().to_owned()),
            _ => None,
        };
        let asked_version = || {
            let pairs = query_pairs(query);
            pairs.into_iter().find(|(name, _)| name == "versionId").map(|(_, version)| version.into_owned())
        };
        let answered_version = self.answered.as_ref().and_then(|answered| answered.version.as_ref()).map(text);
        let version = answered_version.or_else(|| place.and_then(|_| asked_version()));
        let rule = operation.and_then(action::of);
        let action = match operation {
            Some(operation) if operation.contains(':') => Some(operation),
            _ => rule.map(|rule| if query.contains("versionId=") { rule.of_version() } else { rule.action }),
        };
        let request_id = self.answered.as_ref().map_or("", |answered| answered.request_id.as_str());
        let line = Decision {
            kind: Decision::KIND,
            time: time(self.begun_us / 1000),
            request_id: request_id.into(),
            listener: self.listener,
            tenant: caller.and_then(|caller| caller.tenant.as_deref()),
            account: caller.map(|caller| caller.account.as_str()),
            principal: caller.map(authn::Caller::arn),
            auth_type,
            subject: trail.subject.get().map(|subject| Cow::Borrowed(subject.as_str())),
            access_key: proven.or_else(claimed).map(Cow::Owned),
            source_ip: self.peer.map(|peer| peer.to_canonical().to_string()),
            user_agent: self.user_agent.as_ref().map(text).map(Cow::Owned),
            class: Class::of(operation, &self.method, self.listener).name(),
            operation: operation.unwrap_or("-").into(),
            action: judged.right.map(|right| right.action.as_ref()).or(action).map(Cow::Borrowed),
            resource: judged.right.map(|right| right.resource.clone()).or(resource).map(Cow::Owned),
            source: self.source.as_ref().map(text).map(Cow::Owned),
            issued_key: trail.issued_key.get().map(String::as_str),
            version_id: version.map(Cow::Owned),
            decision: if is_unknown { Outcome::None } else { judged.outcome },
            decided_by: None,
            deciding_policy: None,
            deciding_statement: None,
            reason_class: judged.reason,
            status: status.map_or(0, |status| status.as_u16()),
            error_code: code.map(Cow::Borrowed),
            bytes_in: self.length.as_ref().and_then(|length| length.to_str().ok()?.parse().ok()),
            bytes_out: self.bytes_out,
            duration_us: self.audit.clock.now_us().saturating_sub(self.begun_us),
            sampled: self.sampled,
        };
        let line = match judged.by {
            Some(by) => line.by(explanation::kind(by), by),
            None => line,
        };
        let mut object = Vec::with_capacity(1024);
        let mut fits = self.write_keys(&line, bucket, &mut object);
        object.clear();
        line.write(&mut object);
        fits &= self.audit.push(&object);
        fits
    }

    /// The keys of a request for many that were refused, each in a line like the request's.
    fn write_keys(&self, line: &Decision<'_>, bucket: Option<&str>, object: &mut Vec<u8>) -> bool {
        let refused = self.asked.deleted.0.get().into_iter().flatten();
        let refused = refused.filter(|deleted| deleted.error_code.as_deref() == Some("AccessDenied"));
        let denied = self.asked.requester.0.trail.denied_keys.lock().unwrap_or_else(PoisonError::into_inner);
        let by_place: HashMap<(&str, Option<&str>), &Decided> =
            denied.iter().map(|denied| ((denied.resource.as_str(), denied.version.as_deref()), denied)).collect();
        let mut fits = true;
        for deleted in refused {
            let resource = format!("arn:aws:s3:::{}/{}", bucket.unwrap_or(""), deleted.key);
            let denied = by_place.get(&(resource.as_str(), deleted.version_id.as_deref()));
            let key = Decision {
                action: denied.map(|denied| denied.action.as_ref().into()).or(line.action.clone()),
                resource: Some(Cow::Owned(resource.clone())),
                version_id: deleted.version_id.as_deref().map(Cow::Borrowed),
                decision: Outcome::Deny,
                reason_class: Some(denied.map_or("operation", |denied| of_denial(&denied.by)).into()),
                status: deleted.status,
                error_code: deleted.error_code.as_deref().map(Cow::Borrowed),
                bytes_in: None,
                bytes_out: 0,
                ..line.clone()
            };
            let key = match denied {
                Some(denied) => key.by(explanation::kind(&denied.by), &denied.by),
                None => key,
            };
            object.clear();
            key.write(object);
            fits &= self.audit.push(object);
        }
        fits
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // Without an answer it was not asked yet. Of a denial there would be one.
        if self.answered.is_some() || self.has_line(Outcome::None) {
            self.write();
        }
    }
}

/// An answer's body whose bytes are counted.
struct Counted {
    body: Body,
    watch: Watch,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.watch.bytes_out += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
