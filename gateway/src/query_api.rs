//! The query APIs, `POST /` (or `GET /?Action=`) on the data port: one action with its parameters in a form, signed for the
//! service whose version it names, answered in XML. IAM and STS speak this way.
//!
//! Source: "Making query requests", AWS IAM User Guide; "Create a signed AWS API request", the same.
//!
//! Nothing of a body is read before its length is known to be good, and of whoever shows no good access key only
//! `UNSIGNED_FORM_BYTES_MAX`. The service in the scope of a signature is the one that the form asks: a signature for S3 moves
//! nobody's users, and one for IAM reads no object.

mod form;
mod refusal;
mod xml;

pub use form::{Form, camel};
pub use refusal::Refusal;
pub use xml::Xml;

use crate::access::{self, Access};
use crate::audit;
use crate::error::Error;
use crate::guard::{GUESSED_REGION, HeaderSignature, query_value};
use crate::limits;
use crate::rates::{self, Verb};
use authn::Identity;
use cluster::ControlPlane;
use common::{Clock, sigv4};
use http::request::Parts as Head;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use s3s::Body;
use std::sync::Arc;

/// A signature is good for this long before and after its time.
const SKEW_MS_MAX: u64 = 15 * 60 * 1000;

/// One of the APIs, which knows its actions.
#[async_trait::async_trait]
pub trait QueryService: Send + Sync {
    /// As in a signature's scope.
    fn service(&self) -> &'static str;

    /// The `Version` that its forms name.
    fn version(&self) -> &'static str;

    /// Of its answers.
    fn namespace(&self) -> &'static str;

    /// Whether the action needs no signature.
    fn is_unsigned(&self, _action: &str) -> bool {
        false
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Reply, Refusal>;
}

/// One verified request.
pub struct Call<'c> {
    pub action: &'c str,
    pub form: &'c Form,
    pub identity: Identity,
    pub head: &'c Head,
    pub now_ms: u64,
}

/// The inside of the answer's `...Result` element; `None` where an action has none.
pub type Reply = Option<Xml>;

pub struct QueryApi {
    access: Access,
    control: Arc<dyn ControlPlane>,
    clock: Arc<dyn Clock>,
    region: String,
    services: Vec<Arc<dyn QueryService>>,
}

/// Whether a request to the root of the data port is for here: S3 has no forms there, and no actions.
pub fn is_for(head: &Head) -> bool {
    if head.uri.path() != "/" {
        return false;
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = content_type.split(';').next().unwrap_or("").trim();
    let names_action = || query_value(head.uri.query().unwrap_or(""), "Action").is_some();
    match head.method {
        Method::POST => kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") || names_action(),
        Method::GET => names_action(),
        _ => false,
    }
}

impl QueryApi {
    pub fn new(
        access: Access,
        control: Arc<dyn ControlPlane>,
        clock: Arc<dyn Clock>,
        region: String,
        services: Vec<Arc<dyn QueryService>>,
    ) -> Self {
        Self { access, control, clock, region, services }
    }

    /// Answers one request whose credentials the guard has looked at; `named` is told `SERVICE:ACTION` once it is known.
    pub async fn answer(
        &self,
        head: &Head,
        signature: Option<HeaderSignature>,
        body: Body,
        request_id: &str,
        named: impl FnOnce(String),
    ) -> Response<Body> {
        let mut namespace = self.services.first().map_or("", |service| service.namespace());
        let answered = self.perform(head, signature, body, named, &mut namespace).await;
        let mut answer = match answered {
            Ok((action, reply)) => xml::success(&action, namespace, reply, request_id),
            Err(refusal) => refusal.into_answer(namespace, request_id),
        };
        if let Ok(id) = HeaderValue::from_str(request_id) {
            answer.headers_mut().insert("x-amzn-requestid", id);
        }
        // An answer may hold a new secret.
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }

    async fn perform(
        &self,
        head: &Head,
        signature: Option<HeaderSignature>,
        body: Body,
        named: impl FnOnce(String),
        namespace: &mut &'static str,
    ) -> Result<(String, Reply), Refusal> {
        let now_ms = self.clock.now_ms();
        if let Some(signature) = &signature {
            check_time(&signature.timestamp, &signature.authorization.scope, now_ms)?;
        }
        let is_known =
            signature.as_ref().is_some_and(|signature| self.access.knows(&signature.authorization.access_key));
        let limit = if is_known { limits::SIGNED_FORM_BYTES_MAX } else { limits::UNSIGNED_FORM_BYTES_MAX };
        let body = read(body, limit).await?;
        let form = Form::parse(head.uri.query().unwrap_or(""), &body)?;

        let version = form.optional("Version").ok_or_else(|| Refusal::missing("MissingParameter", "Version"))?;
        let action = form.optional("Action").ok_or_else(|| Refusal::missing("MissingAction", "Action"))?;
        let service = self.services.iter().find(|service| service.version() == version);
        let service = service.ok_or_else(|| Refusal::invalid_action(action, version))?;
        *namespace = service.namespace();
        named(format!("{}:{}", service.service(), loggable(action)));

        let identity = match &signature {
            None if service.is_unsigned(action) => Identity::Anonymous,
            None => return Err(Refusal::missing_token()),
            Some(signature) => self.verify(head, signature, &body, service.service())?,
        };
        audit::identified(&head.extensions, &identity);
        self.access.admit_rate((Verb::Auth, rates::COST), None, &identity, (&head.headers, &head.extensions))?;
        let call = Call { action, form: &form, identity, head, now_ms };
        let reply = service.answer(&call).await?;
        Ok((action.to_owned(), reply))
    }

    fn verify(
        &self,
        head: &Head,
        signature: &HeaderSignature,
        body: &[u8],
        service: &str,
    ) -> Result<Identity, Refusal> {
        let HeaderSignature { authorization, timestamp } = signature;
        check_scope(&authorization.scope, service, &self.region)?;
        let payload_hash = sigv4::payload_hash(body);
        if let Some(claimed) = head.headers.get("x-amz-content-sha256")
            && claimed.as_bytes() != payload_hash.as_bytes()
        {
            return Err(Refusal::signature("The body is not the one that x-amz-content-sha256 is of."));
        }
        let mut headers = Vec::new();
        for name in &authorization.signed_headers {
            for value in head.headers.get_all(name.as_str()) {
                let value = std::str::from_utf8(value.as_bytes())
                    .map_err(|_| Refusal::signature("A signed header is not UTF-8."))?;
                headers.push((name.as_str(), value));
            }
        }
        let request = sigv4::Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or(""),
            headers,
            payload_hash: &payload_hash,
        };
        // An unknown key takes the same way, with a secret that nobody has.
        let access_key = &authorization.access_key;
        let signed = authorization.is_signed_by(&self.access.secret(access_key), timestamp, &request);
        match access::identity(&*self.control, access_key) {
            Ok(identity) if signed => Ok(identity),
            Ok(_) => Err(Refusal::signature(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            )),
            Err(Error::InvalidAccessKeyId) => Err(Refusal::unknown_key()),
            Err(error) if signed => Err(error.into()),
            Err(_) => Err(Refusal::unknown_key()),
        }
    }
}

fn check_scope(scope: &sigv4::Scope, service: &str, region: &str) -> Result<(), Refusal> {
    if scope.service != service {
        return Err(Refusal::signature(format!("Credential should be scoped to correct service: '{service}'.")));
    }
    // Neither IAM nor STS belongs to a region, and clients without one sign for an empty name.
    if ![region, GUESSED_REGION, ""].contains(&scope.region.as_str()) {
        return Err(Refusal::signature(format!("Credential should be scoped to a valid region: '{region}'.")));
    }
    Ok(())
}

fn check_time(timestamp: &str, scope: &sigv4::Scope, now_ms: u64) -> Result<(), Refusal> {
    let signed_ms = sigv4::parse_timestamp(timestamp).filter(|_| timestamp.get(..8) == Some(scope.date.as_str()));
    let Some(signed_ms) = signed_ms else {
        return Err(Refusal::incomplete(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.",
        ));
    };
    if now_ms.abs_diff(signed_ms) > SKEW_MS_MAX {
        let now = sigv4::timestamp(now_ms);
        let word = if signed_ms < now_ms { "expired" } else { "not yet current" };
        return Err(Refusal::signature(format!("Signature {word}: {timestamp} is more than 15 minutes from {now}.")));
    }
    Ok(())
}

/// What a client wrote, as far as it is a name.
fn loggable(action: &str) -> &str {
    let is_name = action.len() <= 64 && action.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name { action } else { "-" }
}

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("The request may have {limit} bytes."),
        )),
        // Why a connection broke, the guard knows.
        Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "IncompleteBody", "The body broke off.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn forms_and_actions_at_the_root_are_for_here() {
        let is = |method: &str, uri: &str, kind: &str| {
            let request = Request::builder().method(method).uri(uri).header("content-type", kind).body(());
            is_for(&request.expect("a request").into_parts().0)
        };
        let form = "application/x-www-form-urlencoded";
        for (method, uri, kind) in [
            ("POST", "/", form),
            ("POST", "/", "application/x-www-form-urlencoded; charset=utf-8"),
            ("POST", "/?Action=GetUser", "text/plain"),
            ("GET", "/?Action=GetUser&Version=1", ""),
        ] {
            assert!(is(method, uri, kind), "{method} {uri} {kind}");
        }
        for (method, uri, kind) in [
            ("POST", "/bucket", form),
            ("POST", "//", form),
            ("POST", "/", "multipart/form-data; boundary=x"),
            ("POST", "/", "application/x-www-form-urlencodedx"),
            ("PUT", "/", form),
            ("GET", "/", form),
            ("GET", "/?max-buckets=1", ""),
            ("GET", "/?action=GetUser", ""),
            ("GET", "/b?Action=GetUser", ""),
        ] {
            assert!(!is(method, uri, kind), "{method} {uri} {kind}");
        }
    }

    #[test]
    fn a_signature_is_for_one_service() {
        let scope = |region: &str, service: &str| sigv4::Scope {
            date: "20260102".into(),
            region: region.into(),
            service: service.into(),
        };
        let code =
            |scope: &sigv4::Scope| check_scope(scope, "iam", "here").map_or_else(|refusal| refusal.code, |()| "ok");
        assert_eq!(code(&scope("us-east-1", "iam")), "ok");
        assert_eq!(code(&scope("here", "iam")), "ok");
        assert_eq!(code(&scope("", "iam")), "ok");
        for (region, service) in [("there", "iam"), ("here", "s3"), ("here", "sts"), ("here", "IAM"), ("", "s3")] {
            assert_eq!(code(&scope(region, service)), "SignatureDoesNotMatch", "{region} {service}");
        }
    }

    #[test]
    fn signatures_are_good_for_a_quarter_of_an_hour() {
        let scope = sigv4::Scope { date: "20260102".into(), region: "r".into(), service: "iam".into() };
        let code = |timestamp: &str, now_ms| {
            check_time(timestamp, &scope, now_ms).map_or_else(|refusal| refusal.code, |()| "ok")
        };
        let now_ms = 1_767_323_045_000;
        assert_eq!(code("20260102T030405Z", now_ms), "ok");
        assert_eq!(code("20260102T030405Z", now_ms + SKEW_MS_MAX), "ok");
        assert_eq!(code("20260102T030405Z", now_ms + SKEW_MS_MAX + 1000), "SignatureDoesNotMatch");
        assert_eq!(code("20260102T032405Z", now_ms), "SignatureDoesNotMatch");
        for bad in ["", "20260103T030405Z", "20260102", "2026-01-02T03:04:05Z"] {
            assert_eq!(code(bad, now_ms), "IncompleteSignature", "{bad}");
        }
    }
}
