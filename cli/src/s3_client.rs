//! Plain S3 requests to the data port of a running appliance, as any client sends them.

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::{DATA_ENDPOINT, REGION, signed};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub struct S3Client {
    endpoint: String,
    credentials: Credentials,
}

/// S3's error document.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Problem {
    code: String,
    message: String,
}

impl S3Client {
    /// The data port is at `WEIR_ENDPOINT`.
    pub fn find(credentials: Credentials, environment: impl Fn(&str) -> Option<String>) -> Self {
        let endpoint = environment("WEIR_ENDPOINT").unwrap_or_else(|| DATA_ENDPOINT.to_owned());
        Self { endpoint, credentials }
    }

    /// One request without a body, whose answer does not matter if it is a success.
    pub async fn tell(&self, method: Method, path: &str) -> Result<()> {
        self.ask(&method, path).await.map(|_| ())
    }

    /// A document.
    pub async fn read<D: DeserializeOwned>(&self, path: &str) -> Result<D> {
        let body = self.ask(&Method::GET, path).await?;
        let document = quick_xml::de::from_reader(body.as_ref());
        document.map_err(|error| Error::Failed(format!("{} did not answer as S3 does: {error}", self.endpoint)))
    }

    async fn ask(&self, method: &Method, path: &str) -> Result<Bytes> {
        let answer = signed::ask(&self.endpoint, &self.credentials, REGION, method, path, Bytes::new()).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(from_document(answer.status, &answer.body)) }
    }
}

fn from_document(status: StatusCode, body: &[u8]) -> Error {
    let Problem { code, message } = quick_xml::de::from_reader(body).unwrap_or_default();
    let detail = match (code.as_str(), message.as_str()) {
        ("", _) => format!("the server answered {status}"),
        (code, "") => code.to_owned(),
        (code, message) => format!("{message} ({code})"),
    };
    Error::of_status(status, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_documents_become_sentences() {
        let text = |body: &str| from_document(StatusCode::CONFLICT, body.as_bytes()).to_string();
        let document = "<?xml version=\"1.0\"?><Error><Code>BucketNotEmpty</Code><Message>not &amp; empty</Message>\
            <Resource>/b</Resource></Error>";
        assert_eq!(text(document), "not & empty (BucketNotEmpty)");
        assert_eq!(text("<Error><Code>A</Code></Error>"), "A");
        assert_eq!(text("a proxy's words"), "the server answered 409 Conflict");
        assert_eq!(from_document(StatusCode::CONFLICT, b"").exit_status(), 4);
    }
}
