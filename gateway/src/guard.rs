//! What stands before s3s and enforces what s3s 0.14.1 does not: known queries only (`guard/query.rs`), signed headers and
//! one credential mechanism (`guard/credentials.rs`; `guard/version_2.rs` verifies the old one, and
//! `guard/version_4.rs` requests without a body, by signing keys that are kept), bounded framing (`guard/framing.rs`) and documents
//! (`guard/xml.rs`), one host. Forms of query APIs go to `query_api.rs`. Behind s3s it completes the answer: control characters (`guard/control.rs`), ids, error documents, bodies that
//! HTTP does not allow, and the line in the log.

mod answer;
mod body;
mod control;
pub(crate) mod credentials;
pub(crate) mod form;
pub(crate) mod framing;
pub(crate) mod query;
mod site;
mod version_2;
mod version_4;
mod witness;
pub(crate) mod xml;

pub use answer::{escape, escape_into};
pub use body::{BodyDigests, DocumentBytes};
pub use credentials::{GUESSED_REGION, HeaderSignature, check_scope};
pub use form::{Event, FormError, FormParser};
pub use framing::{CHUNKING_ERROR, Trailers};
pub use query::{Pair, pairs as query_pairs, value_of as query_value};
pub use version_2::SignatureV2;
pub use version_4::SigningKeys;
pub use witness::ErrorCode;

use crate::access::{Access, OperationName, Requester};
use crate::access_log::AccessLog;
use crate::audit::{self, Asked};
use crate::concurrency;
use crate::encryption;
use crate::error::{Error, Result};
use crate::health::{self, Health};
use crate::host::Domains;
use crate::lenient::Verified;
use crate::limits;
use crate::listener::Incoming;
use crate::peer::Peer;
use crate::query_api::{self, QueryApi, Refusal};
use crate::rates::{RULE_HEADER, Rates, Shaped};
use crate::s3::cors;
use crate::s3::post_object::Forms;
use crate::s3::written;
use crate::sessions::{Current, within};
use answer::Exchange;
use body::{GuardedBody, Lent, Treatment};
use cluster::Bucket;
use common::{Clock, Random};
use credentials::{Mechanism, Old};
use framing::Framing;
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use query::Level;
use s3s::service::S3Service;
use s3s::{Body, S3Error};
use std::sync::Arc;
use version_2::Unverified;
use version_4::Claimed;
use witness::Witness;
use xml::Bounds;

pub struct Guard {
    pub s3: S3Service,
    pub access: Access,
    pub forms: Forms,
    pub domains: Domains,
    pub region: String,
    pub signature_v2: SignatureV2,
    pub signing_keys: SigningKeys,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub health: Health,
    pub log: Arc<AccessLog>,
    pub query_api: QueryApi,
    pub rates: Arc<Rates>,
}

impl Guard {
    /// The answer to a request that the listener refused before it was one.
    pub async fn refuse(&self, head: &Head, error: Error) -> Response<Body> {
        Exchange::begin(&*self.random, head).complete(refusal(error), "-").await
    }

    /// One request of the data port.
    pub async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        if health::is_asked(request.uri().path(), request.headers(), &self.domains)
            && let Some(answer) = self.health.answer(request.method(), request.uri().path())
        {
            return answer;
        }
        let (mut head, incoming) = request.into_parts();
        encryption::hide_secrets(&mut head.headers);
        let exchange = Exchange::begin(&*self.random, &head);
        let address = head.extensions.get::<Peer>().map(|peer| peer.address);
        let arrival = match self.rates.arrives(address, &head.headers, false) {
            Ok(arrival) => arrival,
            Err(throttle) => {
                audit::reason(&head.extensions, throttle.reason());
                return unread(&head, incoming, exchange, refusal(Error::Throttled(throttle)), "-").await;
            }
        };
        let asked = head.extensions.get::<Asked>().cloned();
        let (operation, requester) = asked.as_ref().map_or_else(
            || (OperationName::default(), Requester::default()),
            |asked| (asked.operation.clone(), asked.requester.clone()),
        );
        let _ = requester.0.arrival.set(arrival);
        let findings = self.rates.asks_by_identity().then(|| requester.clone());
        let place = Place::of(&head, &self.domains);
        if asked.is_some() {
            let _ = requester.0.trail.place.set((place.bucket.clone(), place.key(&head)));
        }
        let bucket = place.bucket.as_ref().and_then(|name| self.access.bucket(name));
        let cors = bucket.as_deref().map(|bucket| cors::ordinary(&head.headers, &head.method, bucket));
        let mut witness = bucket.as_ref().and_then(|bucket| {
            let find = |name: &str| self.access.bucket(name);
            Witness::of(&self.log, bucket, &head, requester.clone(), place.style != Style::Path, find)
        });
        let mut answer = if head.method == Method::OPTIONS {
            let _ = operation.0.set("PreflightObject".to_owned());
            self.preflight(&head, bucket.as_deref(), incoming, exchange).await
        } else if place.style == Style::Site {
            let _ = operation.0.set("Website".to_owned());
            let mut answer = self.page(&head, bucket.as_deref(), incoming, exchange).await;
            answer.headers_mut().extend(cors.into_iter().flatten());
            answer
        } else {
            head.extensions.insert(operation.clone());
            head.extensions.insert(requester.clone());
            let deleted = asked.map(|asked| asked.deleted);
            if let Some(witness) = &mut witness {
                head.extensions.insert(witness.deleted(deleted));
            } else if let Some(deleted) = deleted {
                head.extensions.insert(deleted);
            }
            let mut answer = self.ask(head, incoming, exchange, &operation, &requester).await;
            answer.headers_mut().extend(cors.into_iter().flatten());
            answer
        };
        self.rates.ended(requester.0.arrival.get(), answer.extensions().get());
        // A page of a website has findings of its own.
        let findings = findings.map(|ours| answer.extensions_mut().remove::<Requester>().unwrap_or(ours));
        if let Some(shape) = findings.as_ref().and_then(|requester| requester.0.shape.get()) {
            answer = answer.map(|body| Shaped::answer(&shape.outbound, body));
        }
        if let Some(witness) = witness {
            answer = witness.sees(answer, operation.0.get().map_or("-", String::as_str));
        }
        answer
    }

    /// Everything that is no preflight.
    async fn ask(
        &self,
        mut head: Head,
        incoming: Incoming,
        mut exchange: Exchange,
        operation: &OperationName,
        requester: &Requester,
    ) -> Response<Body> {
        if Place::of(&head, &self.domains).style == Style::Path && query_api::is_for(&head) {
            return self.query(&head, incoming, exchange, operation).await;
        }
        let old = Old { allowed: self.signature_v2, now_ms: self.clock.now_ms() };
        let checked = prepare(&mut head, &self.domains, &self.region, old).and_then(|checked| {
            let key = checked.claimed_key.as_deref();
            let session = checked.token.as_deref().map(|token| self.access.sessions().open(key, token)).transpose()?;
            Ok((checked, session))
        });
        let mut session = None;
        let (body, lent) = match checked {
            Ok((checked, opened)) => {
                let claimed = checked.claimed_key.filter(|_| opened.is_none());
                exchange.key_is_unknown = claimed.is_some_and(|key| !self.access.knows(&key));
                session = opened;
                let verified = match checked.old {
                    Some(old) => old.verify(&self.access).map(Some),
                    None if incoming.is_end_stream() && checked.form_of.is_none() => {
                        Ok(self.verify(&mut head, session.as_ref()))
                    }
                    None => Ok(None),
                };
                let shape = head.extensions.get::<Requester>().filter(|_| self.rates.shapes()).cloned();
                let (body, lent) = GuardedBody::lend(
                    incoming,
                    Treatment { shape, stays: Some(requester.clone()), ..checked.treatment },
                );
                let verified = verified.map(|verified| verified.map(|it| head.extensions.insert(it)));
                (verified.map(|_| (body, checked.form_of)), lent)
            }
            Err(error) => {
                let (_, lent) = GuardedBody::lend(incoming, Treatment::default());
                (Err(error), lent)
            }
        };
        let waits = waits(&head.headers);
        let mut answer = match body {
            Ok((body, Some(bucket))) => {
                let _ = operation.0.set("PostObject".to_owned());
                self.forms.post_object(&head, &bucket, body).await.unwrap_or_else(refusal)
            }
            Ok((body, None)) => match within(session, self.s3.call(Request::from_parts(head, body))).await {
                Ok(answer) => written::replace(answer),
                Err(_) => refusal(Error::Internal("the answer could not be written")),
            },
            Err(error) => refusal(error),
        };
        if let Some(error) = lent.refusal() {
            answer = refusal(error);
        }
        let operation = operation.0.get().map_or("-", String::as_str);
        let answer = exchange.complete(control::escape(operation, answer), operation).await;
        self.rates.ended(requester.0.arrival.get(), answer.extensions().get());
        // A place is for the target's work, and what a refused request still sends makes none.
        let mut answer = concurrency::hold(requester, answer);
        settle(&mut answer, lent, waits).await;
        answer
    }

    /// The key whose signature of Version 4 is right, where that is found out here.
    fn verify(&self, head: &mut Head, session: Option<&Arc<Current>>) -> Option<Verified> {
        version_4::verify(head, &self.signing_keys, self.clock.now_ms(), |access_key| match session {
            Some(session) => Claimed { secret: session.secret().to_owned(), is_known: true },
            None => Claimed { secret: self.access.secret(access_key), is_known: self.access.knows(access_key) },
        })
    }

    /// A request to a query API, which s3s does not see.
    async fn query(
        &self,
        head: &Head,
        incoming: Incoming,
        exchange: Exchange,
        operation: &OperationName,
    ) -> Response<Body> {
        let pairs = query::pairs(head.uri.query().unwrap_or(""));
        let checked = check_host(head).and_then(|_| check_expect(head));
        let checked = checked.and_then(|()| {
            let signature = credentials::check_query_api(&head.headers, &pairs)?;
            let key = signature.as_ref().map(|signature| signature.authorization.access_key.clone());
            let mechanism = key.clone().map_or(Mechanism::Anonymous, Mechanism::Header);
            let token = credentials::token(&head.headers, &pairs, &mechanism)?;
            let session = token.map(|token| self.access.sessions().open(key.as_deref(), &token)).transpose()?;
            Ok((signature, session))
        });
        let (body, lent) = GuardedBody::lend(incoming, Treatment::default());
        let mut answer = match checked {
            Ok((signature, session)) => {
                let named = |name| drop(operation.0.set(name));
                let answer = self.query_api.answer(head, signature, body, exchange.request_id(), named);
                within(session, answer).await
            }
            Err(error) => {
                drop(body);
                Refusal::from(error).into_answer("", exchange.request_id())
            }
        };
        if let Some(error) = lent.refusal() {
            answer = refusal(error);
        }
        let mut answer = exchange.complete(answer, operation.0.get().map_or("-", String::as_str)).await;
        self.rates
            .ended(head.extensions.get::<Requester>().and_then(|it| it.0.arrival.get()), answer.extensions().get());
        settle(&mut answer, lent, waits(&head.headers)).await;
        answer
    }

    /// A browser's question before its request. It is never signed.
    async fn preflight(
        &self,
        head: &Head,
        bucket: Option<&Bucket>,
        incoming: Incoming,
        exchange: Exchange,
    ) -> Response<Body> {
        let granted = check_host(head).and_then(|_| cors::preflight(&head.headers, bucket));
        let answer = granted.map_or_else(refusal, |headers| {
            let mut answer = Response::new(Body::empty());
            *answer.headers_mut() = headers;
            answer
        });
        unread(head, incoming, exchange, answer, "PreflightObject").await
    }

    /// A page of a bucket's website. Its reader has no credentials.
    async fn page(
        &self,
        head: &Head,
        bucket: Option<&Bucket>,
        incoming: Incoming,
        exchange: Exchange,
    ) -> Response<Body> {
        let path = query::percent_decode(head.uri.path());
        let host = check_host(head).map(Option::unwrap_or_default);
        let answer = match host {
            Ok(host) => site::answer(&self.s3, head, &path, &host, bucket).await,
            Err(error) => refusal(error),
        };
        unread(head, incoming, exchange, answer, "Website").await
    }
}

/// The end of a request whose body was lent: what is left of it, and whether its connection goes on.
async fn settle(answer: &mut Response<Body>, lent: Lent, waits: bool) {
    if waits && !lent.was_asked_for() {
        // The client got this answer instead of `100 Continue`, so its body (if it has one) never comes. botocore would
        // also take this answer's status for that of the connection's next request, unless the connection ends here.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else if !answer.status().is_success() {
        // A client that sends its body must not find the connection reset instead of the refusal.
        let may_go_on = lent.drain(drained_bytes_max(answer)).await;
        if !may_go_on {
            // Unless it is told, the client sends its next request into a connection that ends.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

fn drained_bytes_max(answer: &Response<Body>) -> u64 {
    let throttled = answer.headers().contains_key(RULE_HEADER);
    if throttled { limits::THROTTLED_DRAIN_BYTES_MAX } else { limits::DRAIN_BYTES_MAX }
}

/// Completes an answer that does not depend on the request's body.
async fn unread(
    head: &Head,
    incoming: Incoming,
    exchange: Exchange,
    mut answer: Response<Body>,
    operation: &str,
) -> Response<Body> {
    let (_, lent) = GuardedBody::lend(incoming, Treatment::default());
    if waits(&head.headers) || !lent.drain(drained_bytes_max(&answer)).await {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.complete(answer, operation).await
}

/// The bucket that a request is for. Whether the request is in order is decided later.
struct Place {
    bucket: Option<String>,
    style: Style,
}

/// Where a request names its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Path,
    Host,
    /// In the host of its website.
    Site,
}

impl Place {
    fn of(head: &Head, domains: &Domains) -> Self {
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        if let Some(bucket) = domains.site_of(host) {
            return Self { bucket: Some(bucket), style: Style::Site };
        }
        if let Some(bucket) = domains.bucket_of(host) {
            return Self { bucket: Some(bucket), style: Style::Host };
        }
        let path = query::percent_decode(head.uri.path());
        let bucket = path.strip_prefix('/').unwrap_or(&path).split('/').next();
        Self { bucket: bucket.filter(|bucket| !bucket.is_empty()).map(str::to_owned), style: Style::Path }
    }
}

impl Place {
    /// The key that the request names, if it does.
    fn key(&self, head: &Head) -> Option<String> {
        let path = query::percent_decode(head.uri.path());
        let path = path.strip_prefix('/').unwrap_or(&path);
        let key = if self.style == Style::Path { path.split_once('/').map_or("", |(_, key)| key) } else { path };
        Some(key.to_owned()).filter(|key| !key.is_empty())
    }
}

/// What is known of an accepted request.
struct Checked {
    treatment: Treatment,
    claimed_key: Option<String>,
    token: Option<String>,
    /// A signature that s3s does not verify.
    old: Option<Unverified>,
    /// The bucket that a form is for: it does not go to s3s.
    form_of: Option<String>,
}

/// Decides whether s3s may see the request, and corrects what s3s is too strict about. No I/O.
fn prepare(head: &mut Head, domains: &Domains, region: &str, old: Old) -> Result<Checked> {
    let host = check_host(head)?;
    check_expect(head)?;
    let path = query::percent_decode(head.uri.path());
    if path.contains('\0') {
        return Err(Error::InvalidUri("a key has no NUL"));
    }
    let bucket_in_host = host.and_then(|host| domains.bucket_of(&host));
    let level = Level::of(&path, bucket_in_host.is_some());
    let pairs = query::pairs(head.uri.query().unwrap_or(""));
    mend_transfer_encoding(&mut head.headers);
    let mechanism = credentials::check(&head.headers, &pairs, region, old)
        // A date that is far off has a code of its own.
        .inspect_err(|error| match error {
            Error::RequestTimeTooSkewed => {}
            _ => audit::reason(&head.extensions, "malformed"),
        })?;
    let token = credentials::token(&head.headers, &pairs, &mechanism)?;
    if is_form(head) {
        if head.headers.get("x-amz-content-sha256").is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-")) {
            return Err(Error::InvalidRequest("a form cannot have an aws-chunked body".to_owned()));
        }
        // s3s would hold the whole file in memory, before it knows whose it is.
        let form_of = bucket_in_host.unwrap_or_else(|| path.trim_matches('/').to_owned());
        check_form(level, &mechanism, &pairs)?;
        let treatment = Treatment::default();
        return Ok(Checked { treatment, claimed_key: None, token, old: None, form_of: Some(form_of) });
    }
    let old = match &mechanism {
        Mechanism::Old(claim) => Some(Unverified::of(head, &pairs, bucket_in_host.as_deref(), claim)?),
        _ => None,
    };
    let pairs = if old.is_some() {
        version_2::take_away(head)?;
        query::pairs(head.uri.query().unwrap_or(""))
    } else {
        pairs
    };
    query::check(&head.method, level, &pairs)?;

    // s3s wants a length where a client that has no body may leave it out. An upload without one stays as it is: that
    // client has a body and did not say how long.
    let uploads =
        head.method == Method::PUT && level == Level::Object && !head.headers.contains_key("x-amz-copy-source");
    let has_length =
        head.headers.contains_key(header::CONTENT_LENGTH) || head.headers.contains_key(header::TRANSFER_ENCODING);
    if !uploads && !has_length && (head.method == Method::PUT || head.method == Method::POST) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }

    let hash = head.headers.get("x-amz-content-sha256").map(HeaderValue::as_bytes).unwrap_or_default();
    let is_framed = hash.starts_with(b"STREAMING-");
    let is_signed = !hash.starts_with(b"STREAMING-UNSIGNED-");
    let document = document_bounds(&head.method, level, &pairs);
    if is_framed && document.is_some() {
        // No SDK frames a document, and what stands in front of s3s could not read it.
        return Err(Error::NotImplemented("A document with an aws-chunked body".to_owned()));
    }
    let framing = match mechanism {
        _ if !is_framed => None,
        Mechanism::Anonymous => Some(take_framing_off(head)?),
        _ => Some(Framing::new(is_signed)),
    };
    // s3s parses documents before an operation sees them, so their digests are taken here, and of those that are kept the
    // bytes. The checksums beside a list of parts are the object's.
    let keeps = document.is_some() && head.method == Method::PUT;
    let digests = (keeps || (head.method == Method::POST && level == Level::Bucket)).then(BodyDigests::default);
    let bytes = keeps.then(DocumentBytes::default);
    if let Some(digests) = &digests {
        head.extensions.insert(digests.clone());
    }
    if let Some(bytes) = &bytes {
        head.extensions.insert(bytes.clone());
    }
    Ok(Checked {
        treatment: Treatment { framing, digests, document, bytes, shape: None, stays: None },
        claimed_key: mechanism.claimed_key(),
        token,
        old,
        form_of: None,
    })
}

/// The framing of a request without a signature, which s3s would store. The request becomes the one without it.
fn take_framing_off(head: &mut Head) -> Result<Framing> {
    if !head.headers.contains_key("x-amz-trailer") {
        return Err(Error::InvalidRequest("missing header: x-amz-trailer".to_owned()));
    }
    let length = head.headers.get("x-amz-decoded-content-length").ok_or(Error::MissingContentLength)?;
    let is_number =
        length.to_str().is_ok_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok());
    if !is_number {
        return Err(Error::InvalidRequest("x-amz-decoded-content-length is no number of bytes".to_owned()));
    }
    let length = length.clone();
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.insert(header::CONTENT_LENGTH, length);
    let trailers = Trailers::default();
    head.extensions.insert(trailers.clone());
    Ok(Framing::taken_off(trailers))
}

/// The bounds of the document that this request's body is; `None` where the body is an object's bytes.
fn document_bounds(method: &Method, level: Level, pairs: &[query::Pair<'_>]) -> Option<Bounds> {
    let names = |name: &str| pairs.iter().any(|(key, _)| key == name);
    match (method.as_str(), level) {
        ("POST", Level::Bucket) if names("delete") => Some(Bounds::list(limits::DELETE_KEYS_MAX)),
        ("POST", Level::Object) if names("uploadId") => Some(Bounds::list(limits::PARTS_MAX)),
        ("PUT", Level::Object) if query::is_plain(pairs) || names("uploadId") => None,
        ("PUT", Level::Bucket) if names("policy") => Some(Bounds::POLICY),
        ("PUT", Level::Bucket) if names("lifecycle") => Some(Bounds::LIFECYCLE),
        ("PUT" | "POST", _) => Some(Bounds::SMALL),
        _ => None,
    }
}

/// An expectation that is not known is passed over, as in S3. One to continue must be the only one: hyper would overlook it
/// beside another, and its client would wait.
fn check_expect(head: &Head) -> Result<()> {
    let mut lines = head.headers.get_all(header::EXPECT).iter();
    if waits(&head.headers) && !lines.all(|line| line.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Error::ExpectationFailed);
    }
    Ok(())
}

/// Whether the client may keep its body until it is told to continue.
fn waits(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::EXPECT).iter().map(HeaderValue::as_bytes);
    let mut members = lines.flat_map(|line| line.split(|byte| *byte == b','));
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}

/// A form goes to a bucket, says nothing in its query, and has its signature among its fields.
fn check_form(level: Level, mechanism: &Mechanism, pairs: &[query::Pair<'_>]) -> Result<()> {
    if level != Level::Bucket {
        return Err(Error::MethodNotAllowed);
    }
    if let Some((key, _)) = pairs.first() {
        return Err(Error::NotImplemented(format!("A form upload with the query parameter {key}")));
    }
    match mechanism {
        Mechanism::Anonymous => Ok(()),
        Mechanism::Header(_) | Mechanism::Presigned(_) | Mechanism::Old(_) => {
            Err(Error::InvalidArgument("Only one auth mechanism allowed; a form has its own".to_owned()))
        }
    }
}

/// boto3 of before 2025 signs `Transfer-Encoding: chunked`, and a proxy that has read the whole body (nginx) sends it on with its
/// length instead. The framing was the proxy's to change; what was signed can have had this value only.
fn mend_transfer_encoding(headers: &mut HeaderMap) {
    let signs = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or("");
        let signed = text.split([',', ' ']).find_map(|field| field.strip_prefix("SignedHeaders="));
        signed.is_some_and(|names| names.split(';').any(|name| name == "transfer-encoding"))
    };
    let framed_by_length =
        headers.contains_key(header::CONTENT_LENGTH) && !headers.contains_key(header::TRANSFER_ENCODING);
    if framed_by_length && headers.get(header::AUTHORIZATION).is_some_and(signs) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// One `Host`, the same as in an absolute URI: a proxy and we must not read two different buckets. Without one, as HTTP/1.0 may
/// be, there is no authority either: s3s would not see that.
fn check_host(head: &Head) -> Result<Option<String>> {
    let wrong = |what: &str| Error::InvalidRequest(format!("Invalid host header: {what}"));
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let first = hosts.next().map(|host| host.to_str().map_err(|_| wrong("not ASCII"))).transpose()?;
    if hosts.next().is_some() {
        return Err(wrong("more than one"));
    }
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if first.is_some_and(|host| host.is_empty() || !host.bytes().all(is_of_a_host)) {
        return Err(wrong("not a name or address"));
    }
    let authority = head.uri.authority().map(|authority| authority.as_str());
    if authority.is_some_and(|authority| first.is_none_or(|host| !host.eq_ignore_ascii_case(authority))) {
        return Err(wrong("another one than in the request line"));
    }
    Ok(first.map(str::to_owned))
}

/// Whether s3s would take it for a form, or anybody could. The bytes are compared: s3s reads a content type that is not ASCII,
/// and of two lines the one that it can read.
fn is_form(head: &Head) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    let mut types = head.headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    let begins =
        |text: &[u8]| text.trim_ascii_start().get(..FORM.len()).is_some_and(|it| it.eq_ignore_ascii_case(FORM));
    head.method == Method::POST && types.any(begins)
}

fn refusal(error: Error) -> Response<Body> {
    let status = error.answer().status;
    S3Error::from(error).to_http_response().unwrap_or_else(|_| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = status;
        answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Head {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    const OFF: Old = Old { allowed: SignatureV2::Off, now_ms: 0 };

    fn code(mut head: Head) -> &'static str {
        let domains = Domains::new(&["s3.test".to_owned()]);
        prepare(&mut head, &domains, "us-east-1", OFF).map_or_else(|error| error.answer().code, |_| "ok")
    }

    #[test]
    fn levels_come_from_host_and_path() {
        assert_eq!(code(head("DELETE", "/b/k?annotation", &[("host", "localhost")])), "NotImplemented");
        assert_eq!(code(head("GET", "/?location", &[("host", "b.s3.test")])), "ok");
        assert_eq!(code(head("GET", "/?location", &[("host", "s3.test")])), "NotImplemented");
        assert_eq!(code(head("GET", "/b%2Fk?location", &[("host", "s3.test")])), "NotImplemented");
    }

    #[test]
    fn there_is_one_host() {
        assert_eq!(code(head("GET", "/", &[("host", "a"), ("host", "a")])), "InvalidRequest");
        assert_eq!(code(head("GET", "http://a/", &[("host", "b")])), "InvalidRequest");
        assert_eq!(code(head("GET", "http://a:80/", &[("host", "A:80")])), "ok");
        assert_eq!(code(head("GET", "http://b.s3.test/k", &[])), "InvalidRequest");
        assert_eq!(code(head("GET", "/b/k", &[])), "ok");
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        for good in ["a.example:9000", "127.0.0.1:9000", "[::1]:9000", "localhost", "under_score.local"] {
            assert_eq!(code(head("GET", "/", &[("host", good)])), "ok", "{good}");
        }
        for bad in ["", "a b", "user@host", "a/b", "a,b", "a?b"] {
            assert_eq!(code(head("GET", "/", &[("host", bad)])), "InvalidRequest", "{bad}");
        }
    }

    #[test]
    fn who_waits_for_a_continue_waits_for_nothing_else() {
        let code =
            |lines: &[&str]| code(head("PUT", "/b/k", &lines.iter().map(|it| ("expect", *it)).collect::<Vec<_>>()));
        for good in [
            &["100-Continue"][..],
            &["200-ok"],
            &[""],
            &["x", "y"],
            &["x, y=\"100\""],
            &["100-continue", "100-continue"],
        ] {
            assert_eq!(code(good), "ok", "{good:?}");
        }
        for bad in [
            &["100-continue", "x"][..],
            &["x", "100-continue"],
            &["x, 100-continue"],
            &["100-continue,"],
            &["", "100-continue"],
        ] {
            assert_eq!(code(bad), "ExpectationFailed", "{bad:?}");
        }
    }

    #[test]
    fn documents_are_told_from_objects() {
        let bounds = |method: &str, level, text: &str| {
            document_bounds(&method.parse().expect("a method"), level, &query::pairs(text))
        };
        assert_eq!(bounds("PUT", Level::Object, "X-Amz-Signature=0"), None);
        assert_eq!(bounds("PUT", Level::Object, "uploadId=u&partNumber=1&x-id=UploadPart"), None);
        assert_eq!(bounds("PUT", Level::Object, "tagging"), Some(Bounds::SMALL));
        assert_eq!(bounds("PUT", Level::Bucket, ""), Some(Bounds::SMALL));
        assert_eq!(bounds("POST", Level::Object, "uploadId=u"), Some(Bounds::list(limits::PARTS_MAX)));
        assert_eq!(bounds("POST", Level::Bucket, "delete"), Some(Bounds::list(limits::DELETE_KEYS_MAX)));
        assert_eq!(bounds("GET", Level::Object, ""), None);
        assert_eq!(
            code(head("POST", "/b?delete", &[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")])),
            "NotImplemented"
        );
    }

    #[test]
    fn keys_have_no_nul() {
        assert_eq!(code(head("PUT", "/b/a%00b", &[])), "InvalidURI");
    }

    #[test]
    fn forms_go_to_buckets_and_say_everything_in_their_fields() {
        let form = ("content-type", "Multipart/Form-Data; boundary=x");
        assert_eq!(code(head("POST", "/b", &[form])), "ok");
        assert_eq!(code(head("POST", "/b/", &[form])), "ok");
        assert_eq!(code(head("POST", "/", &[("host", "b.s3.test"), form])), "ok");
        assert_eq!(code(head("POST", "/b/k", &[form])), "MethodNotAllowed");
        assert_eq!(code(head("POST", "/", &[form])), "MethodNotAllowed");
        assert_eq!(code(head("POST", "/b?delete", &[form])), "NotImplemented");
        for kind in [
            "multipart/form-data; boundary=x; a=\"é\"",
            "\tMULTIPART/form-data;boundary=\"x\"",
            "multipart/form-data+xml; boundary=x",
        ] {
            assert_eq!(code(head("POST", "/b?delete", &[("content-type", kind)])), "NotImplemented", "{kind}");
        }
        assert_eq!(code(head("POST", "/b?delete", &[("content-type", "a\u{80}"), form])), "NotImplemented");
        assert_eq!(code(head("POST", "/b?delete", &[("content-type", "multipart/form-dat")])), "ok");
        let zeros = "0".repeat(64);
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=a/20260102/us-east-1/s3/aws4_request, SignedHeaders=host, Signature={zeros}"
        );
        let headers = [form, ("host", "localhost"), ("authorization", signed.as_str())];
        assert_eq!(code(head("POST", "/b", &headers)), "InvalidArgument");
    }

    #[test]
    fn a_signed_framing_that_a_proxy_changed_is_put_back() {
        let mended = |signed: &str, framing: (&str, &str)| {
            let authorization = format!("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders={signed}, Signature=c");
            let mut head = head("PUT", "/b/k", &[("authorization", &authorization), framing]);
            mend_transfer_encoding(&mut head.headers);
            head.headers.get("transfer-encoding").cloned()
        };
        let value = |text| Some(HeaderValue::from_static(text));
        assert_eq!(mended("host;transfer-encoding;x-amz-date", ("content-length", "5")), value("chunked"));
        assert_eq!(mended("host;x-amz-date", ("content-length", "5")), None);
        assert_eq!(mended("host;x-transfer-encoding", ("content-length", "5")), None);
        assert_eq!(mended("host;transfer-encoding", ("transfer-encoding", "gzip")), value("gzip"));
        assert_eq!(mended("host;transfer-encoding", ("x", "y")), None);
    }

    #[test]
    fn what_s3s_is_too_strict_about_is_corrected() {
        let domains = Domains::new(&[]);
        let mut create = head("POST", "/b/k?uploads", &[]);
        prepare(&mut create, &domains, "us-east-1", OFF).expect("accepted");
        assert_eq!(create.headers["content-length"], "0");
        let mut put = head("PUT", "/b/k", &[]);
        prepare(&mut put, &domains, "us-east-1", OFF).expect("accepted");
        assert!(!put.headers.contains_key("content-length"));
    }
}
