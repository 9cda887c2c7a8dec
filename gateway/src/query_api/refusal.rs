//! What a query API refuses or fails at, in the envelope of AWS.
//!
//! Source: "Common errors", AWS IAM API reference; the errors of its actions, the same.

use super::xml::{CONTENT_TYPE, Xml};
use crate::error::Error;
use crate::rates::Throttle;
use http::{HeaderValue, Response, StatusCode, header};
use s3s::Body;

#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Where a rule of rates refuses it.
    throttle: Option<Throttle>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), throttle: None }
    }

    fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub fn missing(code: &'static str, name: &str) -> Self {
        Self::bad(code, format!("The request must contain the parameter {name}."))
    }

    pub fn malformed(message: impl Into<String>) -> Self {
        Self::bad("MalformedQueryString", message)
    }

    pub fn invalid_action(action: &str, version: &str) -> Self {
        Self::bad("InvalidAction", format!("Could not find operation {action} for version {version}"))
    }

    /// One sentence of what is wrong with a value.
    pub fn validation(what: impl AsRef<str>) -> Self {
        Self::bad("ValidationError", format!("1 validation error detected: {}", what.as_ref()))
    }

    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::bad("InvalidInput", message)
    }

    pub fn malformed_policy(message: impl Into<String>) -> Self {
        Self::bad("MalformedPolicyDocument", message)
    }

    pub fn no_such_entity(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchEntity", message)
    }

    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::forbidden("AccessDenied", message)
    }

    pub fn missing_token() -> Self {
        Self::forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
    }

    pub fn incomplete(message: impl Into<String>) -> Self {
        Self::bad("IncompleteSignature", message)
    }

    pub fn signature(message: impl Into<String>) -> Self {
        Self::forbidden("SignatureDoesNotMatch", message)
    }

    /// AWS has this code here, and another one in S3.
    pub fn unknown_key() -> Self {
        Self::forbidden("InvalidClientTokenId", "The security token included in the request is invalid.")
    }

    pub fn into_answer(self, namespace: &str, request_id: &str) -> Response<Body> {
        let mut inside = Xml::default();
        // What the guard's log reads, too, as of S3's errors.
        inside.element("Error", |error| {
            error.text("Type", if self.status.is_server_error() { "Receiver" } else { "Sender" });
            error.text("Code", self.code);
            error.text("Message", &self.message);
        });
        inside.text("RequestId", request_id);
        let mut answer = Response::new(Body::from(inside.document("ErrorResponse", namespace)));
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(throttle) = &self.throttle {
            answer.headers_mut().extend(throttle.headers());
        }
        answer
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let answer = error.answer();
        match &error {
            Error::Cluster(error) => return error.clone().into(),
            Error::Throttled(throttle) => {
                let refusal = Self::new(answer.status, answer.code, error.to_string());
                return Self { throttle: Some(throttle.clone()), ..refusal };
            }
            Error::InvalidAccessKeyId | Error::InvalidToken => return Self::unknown_key(),
            Error::ExpiredToken => return Self::forbidden("ExpiredToken", error.to_string()),
            Error::AuthorizationMalformed(text) => return Self::incomplete(text.clone()),
            _ => {}
        }
        if answer.status.is_server_error() {
            tracing::error!(%error, "a request to a query API failed");
            return Self::new(answer.status, "ServiceFailure", "The request failed for a reason of ours.");
        }
        Self::new(answer.status, answer.code, error.to_string())
    }
}

impl From<cluster::Error> for Refusal {
    fn from(error: cluster::Error) -> Self {
        use StatusCode as S;
        use cluster::Error as E;
        let message = error.to_string();
        match error {
            E::NoSuchEntity(_) => Self::no_such_entity(message),
            E::NoSuchKey(id) => Self::no_such_entity(format!("The Access Key with id {} cannot be found.", id.0)),
            E::EntityExists(_) | E::KeyExists(_) => Self::new(S::CONFLICT, "EntityAlreadyExists", message),
            E::DeleteConflict(_) | E::LastAdminKey(_) => Self::new(S::CONFLICT, "DeleteConflict", message),
            E::LimitExceeded { .. } => Self::new(S::CONFLICT, "LimitExceeded", message),
            E::Invalid(_) => Self::validation(message),
            error => {
                tracing::error!(%error, "a request to a query API failed");
                Self::new(S::INTERNAL_SERVER_ERROR, "ServiceFailure", "The request failed for a reason of ours.")
            }
        }
    }
}
