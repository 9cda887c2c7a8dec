//! Requests to the admin API of a running appliance: found, signed, sent, and their problems turned into exit statuses.

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::signed::{self, Answer};
use crate::{DATA_ENDPOINT, REGION};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

pub struct AdminClient {
    endpoint: String,
    credentials: Credentials,
}

impl AdminClient {
    /// The admin port is at `WEIR_ADMIN_ENDPOINT`, or where `/-/info` of the data port (`WEIR_ENDPOINT`) says.
    pub async fn find(credentials: Credentials, environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        if let Some(endpoint) = environment("WEIR_ADMIN_ENDPOINT") {
            return Ok(Self { endpoint, credentials });
        }
        let data = environment("WEIR_ENDPOINT").unwrap_or_else(|| DATA_ENDPOINT.to_owned());
        let (status, info) = parsed(signed::get(&data, "/-/info").await?);
        match info["admin"].as_str() {
            Some(endpoint) if status.is_success() => Ok(Self { endpoint: endpoint.to_owned(), credentials }),
            _ => Err(Error::Failed(format!("{data} is not a weir: set WEIR_ADMIN_ENDPOINT"))),
        }
    }

    /// One signed request; the answer is its JSON, `Null` without a body.
    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let (mut status, mut answer) = self.ask_in(REGION, &method, path, body.clone()).await?;
        // The appliance alone knows its region, and says it when the guess was wrong.
        if let Some(region) = answer["region"].as_str().filter(|_| status == StatusCode::BAD_REQUEST) {
            (status, answer) = self.ask_in(region, &method, path, body).await?;
        }
        if status.is_success() { Ok(answer) } else { Err(from_problem(status, &answer)) }
    }

    async fn ask_in(&self, region: &str, method: &Method, path: &str, body: Bytes) -> Result<(StatusCode, Value)> {
        Ok(parsed(signed::ask(&self.endpoint, &self.credentials, region, method, path, body).await?))
    }
}

fn parsed(answer: Answer) -> (StatusCode, Value) {
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

fn from_problem(status: StatusCode, problem: &Value) -> Error {
    let detail = problem["detail"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
    Error::of_status(status, detail)
}
