//! What the admin API refuses or fails at, as `application/problem+json` (RFC 9457) with our `code`. The one table from
//! the control plane's errors to statuses of HTTP.

use crate::admin::Answer;
use crate::rates::Throttle;
use cluster::Error;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::fmt;

#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    detail: String,
    /// The region to sign for, when another one was named: clients try again with it.
    region: Option<String>,
    throttle: Option<Throttle>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), region: None, throttle: None }
    }

    pub(super) fn wrong_region(region: &str) -> Self {
        let detail = format!("sign the request for the region {region}");
        let problem = Self::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", detail);
        Self { region: Some(region.to_owned()), ..problem }
    }

    /// Of a rule of rates.
    pub(super) fn throttled(throttle: Throttle) -> Self {
        let detail = format!("the rule {} limits how often this may be asked", throttle.rule);
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "SlowDown", detail);
        Self { throttle: Some(throttle), ..problem }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", detail)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchPath", format!("nothing is at {path}"))
    }

    pub(super) fn wrong_method(method: &Method) -> Self {
        let detail = format!("{method} is not possible here");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", detail)
    }

    /// Of what the data port answers with an error of its own.
    pub(super) fn of_error(error: crate::Error) -> Self {
        Self::of_token(error)
    }

    /// Of a session token, or of a session that is void.
    pub(super) fn of_token(error: crate::Error) -> Self {
        let crate::Answer { code, status } = error.answer();
        Self::new(status, code, error.to_string())
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut body = json!({ "status": self.status.as_u16(), "code": self.code, "detail": self.detail });
        if let Some(region) = self.region {
            body["region"] = Value::String(region);
        }
        let headers = self.throttle.as_ref().map(Throttle::headers).unwrap_or_default();
        Answer { status: self.status, content_type: "application/problem+json", body: Some(body), headers }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::NoSuchKey(_) => (StatusCode::NOT_FOUND, "NoSuchKey"),
            Error::NoSuchBucket(_) => (StatusCode::NOT_FOUND, "NoSuchBucket"),
            Error::KeyExists(_) => (StatusCode::CONFLICT, "KeyExists"),
            Error::NoSuchKmsKey(_) => (StatusCode::NOT_FOUND, "NoSuchKey"),
            Error::KmsKeyExists(_) => (StatusCode::CONFLICT, "KeyExists"),
            Error::LastAdminKey(_) => (StatusCode::CONFLICT, "LastAdminKey"),
            Error::BucketExists { .. } => (StatusCode::CONFLICT, "BucketExists"),
            Error::BucketDeleting(_) => (StatusCode::CONFLICT, "BucketDeleting"),
            Error::BucketChanged(_) => (StatusCode::CONFLICT, "BucketChanged"),
            Error::TooManyBuckets { .. } => (StatusCode::BAD_REQUEST, "TooManyBuckets"),
            Error::NoSuchEntity(_) => (StatusCode::NOT_FOUND, "NoSuchEntity"),
            Error::EntityExists(_) => (StatusCode::CONFLICT, "EntityAlreadyExists"),
            Error::DeleteConflict(_) => (StatusCode::CONFLICT, "DeleteConflict"),
            Error::NoSuchLimit(_) => (StatusCode::NOT_FOUND, "NoSuchLimit"),
            Error::LimitChanged { .. } => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            Error::LimitExceeded { .. } => (StatusCode::CONFLICT, "LimitExceeded"),
            Error::Invalid(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            Error::TermsExhausted | Error::Store(_) | Error::NewerFormat { .. } | Error::Locked => {
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
        };
        Self::new(status, code, error.to_string())
    }
}
