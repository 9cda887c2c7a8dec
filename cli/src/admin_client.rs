//! Requests to the admin API of a running appliance: found, signed, sent, and their problems turned into exit statuses.

use crate::args::AccountArgs;
use crate::credentials::{self, Credentials};
use crate::error::{Error, Result};
use crate::signed::{self, Answer};
use crate::{DATA_ENDPOINT, REGION};
use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use serde_json::Value;
use std::net::IpAddr;

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
            Some(announced) if status.is_success() => Ok(Self { endpoint: reachable(&data, announced)?, credentials }),
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

    /// The same of a path that is made for it.
    pub async fn ask_owned(&self, method: Method, path: String, body: Value) -> Result<Value> {
        self.ask(method, &path, &body).await
    }

    async fn ask_in(&self, region: &str, method: &Method, path: &str, body: Bytes) -> Result<(StatusCode, Value)> {
        Ok(parsed(signed::ask(&self.endpoint, &self.credentials, region, method, path, body).await?))
    }
}

/// The same for what belongs to one account.
pub struct AccountClient {
    client: AdminClient,
    account: String,
}

impl AccountClient {
    pub async fn find(args: &AccountArgs) -> Result<Self> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let client = AdminClient::find(credentials::find(&args.data, environment)?, environment).await?;
        Ok(Self { client, account: args.account.clone() })
    }

    /// `segments` are the path behind the account's.
    pub async fn ask(&self, method: Method, segments: &[&str], body: &Value) -> Result<Value> {
        let segments = segments.iter().map(|segment| segment_of(segment)).collect::<Result<Vec<_>>>()?;
        let path = format!("/api/v1/accounts/{}/{}", segment_of(&self.account)?, segments.join("/"));
        self.client.ask(method, &path, body).await
    }
}

/// A name as one segment of a path. What is no name must not become another path.
pub fn segment_of(name: &str) -> Result<String> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(Error::Usage(format!("{name:?} is no name")));
    }
    let mut segment = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(segment)
}

/// The admin port as it is reached from here: an appliance that listens on all addresses announces the wildcard, and one
/// that listens on its own loopback cannot be asked from elsewhere.
fn reachable(data: &str, announced: &str) -> Result<String> {
    let host_of = |endpoint: &str| endpoint.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let ip_of = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let (Some(here), Ok(admin)) = (host_of(data), announced.parse::<Uri>()) else { return Ok(announced.to_owned()) };
    let ip = admin.host().and_then(ip_of);
    if ip.is_some_and(|ip| ip.is_unspecified()) {
        let scheme = admin.scheme_str().unwrap_or("http");
        return Ok(format!("{scheme}://{here}:{}", admin.port_u16().unwrap_or(80)));
    }
    let is_local = here == "localhost" || ip_of(&here).is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
    if ip.is_some_and(|ip| ip.is_loopback()) && !is_local {
        return Err(Error::Refused(format!(
            "the admin port of {data} listens on that machine's own {announced}: run this there, start the appliance with \
             --admin-listen, or set WEIR_ADMIN_ENDPOINT to a way to it"
        )));
    }
    Ok(announced.to_owned())
}

fn parsed(answer: Answer) -> (StatusCode, Value) {
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

fn from_problem(status: StatusCode, problem: &Value) -> Error {
    let detail = problem["detail"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
    Error::of_status(status, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment_of("a b/c@d").unwrap(), "a%20b%2Fc%40d");
        for bad in ["", ".", ".."] {
            assert!(segment_of(bad).is_err());
        }
    }

    #[test]
    fn the_admin_port_is_where_it_can_be_reached() {
        let found = |data, announced| reachable(data, announced).unwrap();
        assert_eq!(found("http://127.0.0.1:9000", "http://127.0.0.1:9001"), "http://127.0.0.1:9001");
        assert_eq!(found("http://localhost:9000", "http://[::1]:9001"), "http://[::1]:9001");
        assert_eq!(found("http://store:9000", "http://0.0.0.0:9001"), "http://store:9001");
        assert_eq!(found("https://store:9000", "https://0.0.0.0:9001"), "https://store:9001");
        assert_eq!(found("http://[fd00::1]:9000/", "http://[::]:9001"), "http://[fd00::1]:9001");
        assert_eq!(found("http://store:9000", "http://192.0.2.1:9001"), "http://192.0.2.1:9001");
        assert!(matches!(reachable("http://store:9000", "http://127.0.0.1:9001"), Err(Error::Refused(_))));
    }
}
