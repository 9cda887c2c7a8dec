//! The answer's last steps: ids on every answer and inside of every error document, no body where HTTP has none, and one
//! line in the log for each failure.

use super::witness::ErrorCode;
use crate::error::{Answer, Fault};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use common::Random;
use http::request::Parts as Head;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use s3s::Body;

/// Error documents are small, and a thousand parts with their checksums stay below this; anything larger is none of ours.
const DOCUMENT_BYTES_MAX: u64 = 512 * 1024;

const UNREAD_BODY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>IncompleteBody</Code><Message>The body did not \
    come whole, or does not match x-amz-content-sha256.</Message></Error>";

/// AWS tells an unknown key from a wrong secret by code, SDKs and conformance suites know both codes, and the person at the
/// client needs to know which of the two to correct. It gives nothing away that is secret: the id of a key stands in every
/// presigned URL. What must not tell more than the code is the time: `access.rs` gives an unknown key a secret, so that its
/// signature is computed like any other, and the code is put right here.
const UNKNOWN_KEY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidAccessKeyId</Code><Message>The AWS access \
    key ID that you provided does not exist in our records.</Message></Error>";

/// One request and its answer.
pub struct Exchange {
    request_id: String,
    host_id: String,
    method: Method,
    resource: String,
    /// Whether the access key that the request claims is none.
    pub key_is_unknown: bool,
}

impl Exchange {
    pub fn begin(random: &dyn Random, head: &Head) -> Self {
        let mut host_id = [0; 24];
        random.fill(&mut host_id);
        Self {
            request_id: format!("{:016X}", random.u64()),
            host_id: BASE64.encode(host_id),
            method: head.method.clone(),
            resource: head.uri.path().to_owned(),
            key_is_unknown: false,
        }
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    pub async fn complete(self, answer: Response<Body>, operation: &str) -> Response<Body> {
        let (mut head, mut body) = answer.into_parts();
        if self.method == Method::HEAD
            && head.headers.contains_key(header::CONTENT_RANGE)
            && head.status == StatusCode::OK
        {
            head.status = StatusCode::PARTIAL_CONTENT;
        }
        if head.status.is_client_error() || head.status.is_server_error() {
            let mut document = collect(body).await;
            if self.is_unread_body(&document) {
                head.status = StatusCode::BAD_REQUEST;
                document = UNREAD_BODY.to_owned();
            }
            if self.key_is_unknown && element(&document, "Code") == "SignatureDoesNotMatch" {
                document = UNKNOWN_KEY.to_owned();
            }
            self.log(head.status, operation, &document);
            head.extensions.insert(ErrorCode(element(&document, "Code").to_owned()));
            let document = self.document(&document, head.headers.get("x-amz-bucket-region"));
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
            body = Body::from(document);
        }
        if operation == "GetObjectAttributes" && head.status == StatusCode::OK {
            let document = with_bare_etag(&collect(body).await);
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
            body = Body::from(document);
        }
        let bodyless = head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
        if bodyless {
            head.headers.remove(header::CONTENT_LENGTH);
            head.headers.remove(header::CONTENT_TYPE);
        }
        if bodyless || self.method == Method::HEAD {
            if self.method == Method::HEAD && (head.status.is_client_error() || head.status.is_server_error()) {
                head.headers.remove(header::CONTENT_LENGTH);
            }
            body = Body::empty();
        }
        let ours = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        head.headers.insert("x-amz-request-id", ours(&self.request_id));
        head.headers.insert("x-amz-id-2", ours(&self.host_id));
        head.headers.insert(header::SERVER, HeaderValue::from_static("weir"));
        Response::from_parts(head, body)
    }

    /// s3s calls it an internal error, without a message, when the XML that it parses itself does not come whole or does not
    /// have the payload hash that was signed. Our own internal errors have messages.
    fn is_unread_body(&self, document: &str) -> bool {
        let sends = self.method == Method::PUT || self.method == Method::POST;
        sends && element(document, "Code") == "InternalError" && element(document, "Message").is_empty()
    }

    /// An error document with the elements that s3s leaves out.
    fn document(&self, document: &str, region: Option<&HeaderValue>) -> String {
        let Some(inside) = document.strip_suffix("</Error>") else { return document.to_owned() };
        let message = match element(document, "Message") {
            "" => format!("<Message>{}</Message>", message_of(element(document, "Code"))),
            _ => String::new(),
        };
        let region = region.and_then(|region| region.to_str().ok());
        let region = region.map(|region| format!("<Region>{}</Region>", escape(region))).unwrap_or_default();
        format!(
            "{inside}{message}{region}<Resource>{}</Resource><RequestId>{}</RequestId><HostId>{}</HostId></Error>",
            escape(&self.resource),
            self.request_id,
            self.host_id
        )
    }

    fn log(&self, status: StatusCode, operation: &str, document: &str) {
        let code = element(document, "Code");
        let detail = element(document, "Message");
        let request_id = self.request_id.as_str();
        let status_code = status.as_u16();
        match (Answer { code: "", status }).fault() {
            Fault::Us => {
                tracing::error!(request_id, operation, code, status = status_code, detail, "request failed");
            }
            Fault::Caller => {
                tracing::info!(request_id, operation, code, status = status_code, detail, "request refused");
            }
        }
    }
}

async fn collect(body: Body) -> String {
    if body.size_hint().lower() > DOCUMENT_BYTES_MAX {
        return String::new();
    }
    let bytes = body.collect().await.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// GetObjectAttributes is the one document that has its ETag without quotes, and s3s 0.14.1 writes all with them.
fn with_bare_etag(document: &str) -> String {
    let etag = element(document, "ETag");
    let bare = etag.trim_matches('"').trim_start_matches("&quot;").trim_end_matches("&quot;");
    document.replacen(&format!("<ETag>{etag}</ETag>"), &format!("<ETag>{bare}</ETag>"), 1)
}

/// What s3s leaves unsaid.
fn message_of(code: &str) -> &'static str {
    match code {
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema",
        "MissingRequestBodyError" => "Request Body is empty",
        "MaxMessageLengthExceeded" => "Your request was too big",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "AccessDenied" => "Access Denied",
        _ => "The request was refused.",
    }
}

/// The text of the first element of this name.
fn element<'d>(document: &'d str, name: &str) -> &'d str {
    let open = format!("<{name}>");
    let close = format!("</{name}>");
    let inside = document.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    inside.map_or("", |(text, _)| text)
}

pub fn escape(text: &str) -> String {
    let printable = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    escape_text(&text.chars().map(printable).collect::<String>())
}

/// As `escape`, with control characters as they are: for documents of which `control.rs` takes care.
pub fn escape_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    escaped
}

/// Appends it escaped. What needs no escape is copied in one piece.
pub fn escape_into(escaped: &mut String, text: &str) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let reference = match byte {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'"' => "&quot;",
            b'\'' => "&apos;",
            _ => continue,
        };
        // These are ASCII, so both ends are those of characters.
        escaped.push_str(&text[plain..at]);
        escaped.push_str(reference);
        plain = at + 1;
    }
    escaped.push_str(&text[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;
    use http::Request;

    fn exchange(method: &str) -> Exchange {
        let request = Request::builder().method(method).uri("/b/k'").body(()).expect("a request");
        let (head, ()) = request.into_parts();
        Exchange::begin(&*SeededRandom::new(1), &head)
    }

    async fn text(answer: Response<Body>) -> String {
        collect(answer.into_body()).await
    }

    fn error() -> Response<Body> {
        let document = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>".to_owned();
        let mut answer = Response::new(Body::from(document));
        *answer.status_mut() = StatusCode::NOT_FOUND;
        answer
    }

    #[tokio::test]
    async fn errors_name_the_request() {
        let answer = exchange("GET").complete(error(), "GetObject").await;
        let id = answer.headers()["x-amz-request-id"].to_str().expect("hexadecimal").to_owned();
        assert_eq!(id.len(), 16);
        assert_eq!(answer.headers()["server"], "weir");
        let text = text(answer).await;
        assert_eq!(element(&text, "RequestId"), id);
        assert_eq!(element(&text, "Code"), "NoSuchKey");
        assert!(element(&text, "Resource").starts_with("/b/k&apos;"));
        assert!(!element(&text, "HostId").is_empty() && !element(&text, "Message").is_empty());
    }

    #[tokio::test]
    async fn heads_and_bodyless_statuses_have_no_body() {
        let answer = exchange("HEAD").complete(error(), "HeadObject").await;
        assert_eq!(answer.status(), 404);
        assert_eq!(text(answer).await, "");
        let mut unchanged = Response::new(Body::from("<Error></Error>".to_owned()));
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"e\""));
        let answer = exchange("GET").complete(unchanged, "GetObject").await;
        assert_eq!(answer.headers()["etag"], "\"e\"");
        assert_eq!(text(answer).await, "");
    }

    #[tokio::test]
    async fn an_unread_body_is_the_clients_fault() {
        let document = "<Error><Code>InternalError</Code></Error>";
        let failed = || {
            let mut answer = Response::new(Body::from(document.to_owned()));
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            answer
        };
        assert_eq!(exchange("POST").complete(failed(), "DeleteObjects").await.status(), 400);
        assert_eq!(exchange("GET").complete(failed(), "GetObject").await.status(), 500);
    }

    #[tokio::test]
    async fn attributes_have_a_bare_etag() {
        let answer = Response::new(Body::from("<A><ETag>\"ab-2\"</ETag><B>\"</B></A>".to_owned()));
        let answer = exchange("GET").complete(answer, "GetObjectAttributes").await;
        assert_eq!(answer.headers()["content-length"], "32");
        assert_eq!(text(answer).await, "<A><ETag>ab-2</ETag><B>\"</B></A>");
    }

    #[tokio::test]
    async fn a_head_of_a_range_is_partial() {
        let mut answer = Response::new(Body::empty());
        answer.headers_mut().insert(header::CONTENT_RANGE, HeaderValue::from_static("bytes 0-0/2"));
        assert_eq!(exchange("HEAD").complete(answer, "HeadObject").await.status(), 206);
    }
}
