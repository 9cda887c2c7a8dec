//! The issuer of OpenID Connect that the suite's web identities come from, in the place of the Keycloak that it was written for: two
//! documents over HTTP, and two tokens. `openssl` makes the key and signs.

use crate::command;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The suite's own: it can be told another realm, but no other place.
pub const HOST: &str = "localhost:8080";
const ADDRESS: &str = "127.0.0.1:8080";
pub const REALM: &str = "weir";

const AUDIENCE: &str = "s3-tests-audience";
const SUBJECT: &str = "s3-tests-subject";
const PARTY: &str = "s3-tests-party";
/// A run is over long before.
const TOKEN_SECONDS: u64 = 6 * 3600;
const READ: Duration = Duration::from_secs(5);
const REQUEST_BYTES_MAX: u64 = 16 * 1024;

/// Answers until the process ends.
pub struct Issuer {
    work: PathBuf,
    key: PathBuf,
}

impl Issuer {
    pub fn start(work: &Path) -> Result<Self> {
        let key = work.join("issuer.pem");
        let mut make = command::new("openssl", work);
        make.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]).arg(&key);
        command::output(&mut make).context("making the issuer's key")?;
        let mut modulus = command::new("openssl", work);
        let modulus = command::output(modulus.args(["rsa", "-noout", "-modulus", "-in"]).arg(&key))?;
        let modulus = modulus.trim().strip_prefix("Modulus=").context("openssl gave no modulus")?.to_ascii_lowercase();
        let keys = json!({ "keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": BASE64.encode(hex::decode(modulus)?), "e": "AQAB",
        }] });
        let listener = TcpListener::bind(ADDRESS)
            .with_context(|| format!("the suite wants its issuer at {HOST}, and that address is not free"))?;
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever gives up or says nothing gets nothing.
                let _ = answer(client, &keys);
            }
        });
        Ok(Self { work: work.to_owned(), key })
    }

    /// The section of the suite's configuration.
    pub fn section(&self) -> Result<String> {
        let tags = json!({ "https://aws.amazon.com/tags": { "principal_tags": { "Department": ["Engineering"] } } });
        Ok(format!(
            "\n[webidentity]\nthumbprint = {}\naud = {AUDIENCE}\nsub = {SUBJECT}\nazp = {PARTY}\nKC_REALM = {REALM}\ntoken = {}\n\
             user_token = {}\n",
            "0".repeat(40),
            self.token(&json!({}))?,
            self.token(&tags)?
        ))
    }

    fn token(&self, more: &Value) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut claims = json!({
            "iss": issuer(), "iat": now, "exp": now + TOKEN_SECONDS, "sub": SUBJECT, "azp": PARTY, "aud": AUDIENCE,
            // What Ceph calls the audience in conditions.
            "app_id": AUDIENCE,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "1" });
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let file = self.work.join("token");
        std::fs::write(&file, &message)?;
        let mut sign = command::new("openssl", &self.work);
        let signed = sign.args(["dgst", "-sha256", "-sign"]).arg(&self.key).arg(&file).output()?;
        ensure!(signed.status.success(), "openssl did not sign: {}", String::from_utf8_lossy(&signed.stderr));
        Ok(format!("{message}.{}", BASE64.encode(signed.stdout)))
    }
}

fn issuer() -> String {
    format!("http://{HOST}/auth/realms/{REALM}")
}

fn answer(client: TcpStream, keys: &Value) -> std::io::Result<()> {
    client.set_read_timeout(Some(READ))?;
    let mut lines = BufReader::new((&client).take(REQUEST_BYTES_MAX)).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, document) = document(request.split(' ').nth(1).unwrap_or(""), keys);
    let body = document.to_string();
    write!(
        &client,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn document(path: &str, keys: &Value) -> (&'static str, Value) {
    let path = path.strip_prefix(&format!("/auth/realms/{REALM}")).unwrap_or("");
    match path {
        "/.well-known/openid-configuration" => {
            ("200 OK", json!({ "issuer": issuer(), "jwks_uri": format!("{}/keys", issuer()) }))
        }
        "/keys" => ("200 OK", keys.clone()),
        _ => ("404 Not Found", json!({})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_has_two_documents() {
        let keys = json!({ "keys": [] });
        let (status, discovery) = document("/auth/realms/weir/.well-known/openid-configuration", &keys);
        assert_eq!((status, &discovery["issuer"]), ("200 OK", &json!("http://localhost:8080/auth/realms/weir")));
        assert_eq!(document("/auth/realms/weir/keys", &keys), ("200 OK", keys.clone()));
        assert_eq!(document("/keys", &keys).0, "404 Not Found");
    }
}
