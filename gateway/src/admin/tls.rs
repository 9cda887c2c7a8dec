//! Certificates and what listeners speak, for administrators. Loads wait for the disk, so they have a thread of their own.

use crate::admin::Answer;
use crate::admin::problem::Problem;
use crate::admin::routes::Route;
use certs::{Edge, Error, Level, Purpose, Reason, Scheme};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The body of `POST /api/v1/tls/certificates`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    names: Vec<String>,
    #[serde(default)]
    client: bool,
}

/// The body of `PUT /api/v1/tls/listeners/{listener}`: what is not named stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    scheme: Option<Scheme>,
    /// A level's name or number.
    client_auth: Option<String>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::Name(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            Error::NoListener(..) => (StatusCode::NOT_FOUND, "NoSuchListener"),
            Error::PlainHttp(_) | Error::ClientAuthority(_) => (StatusCode::CONFLICT, "TlsPolicy"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "TlsFailed"),
        };
        Self::new(status, code, error.to_string())
    }
}

pub(super) async fn answer(edge: &Arc<Edge>, route: Route, name: &str, body: &[u8]) -> Result<Answer, Problem> {
    match route {
        Route::ReloadTls => waiting(edge, |edge| edge.reload(Reason::Api)).await.map(done),
        Route::ValidateTls => {
            let pairs = waiting(edge, Edge::validate).await?;
            Ok(done(json!({ "dir": edge.state().dir, "pairs": pairs })))
        }
        Route::RenewCertificate => Ok(done(waiting(edge, Edge::renew).await??)),
        Route::IssueCertificate => issue(edge, body).await,
        Route::SwitchListener => switch(edge, name, body).await,
        _ => Ok(done(&*edge.state())),
    }
}

async fn waiting<T: Send + 'static>(
    edge: &Arc<Edge>,
    work: impl FnOnce(&Edge) -> T + Send + 'static,
) -> Result<T, Problem> {
    let edge = edge.clone();
    tokio::task::spawn_blocking(move || work(&edge))
        .await
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "TlsFailed", "the work broke off"))
}

fn done(value: impl serde::Serialize) -> Answer {
    Answer::json(StatusCode::OK, serde_json::to_value(value).unwrap_or(Value::Null))
}

async fn issue(edge: &Arc<Edge>, body: &[u8]) -> Result<Answer, Problem> {
    let Issue { names, client } = parsed(body)?;
    if names.is_empty() || names.len() > certs::limits::NAMES_MAX {
        return Err(Problem::invalid(format!("a certificate has 1 to {} names", certs::limits::NAMES_MAX)));
    }
    let purpose = if client { Purpose::Client } else { Purpose::Server };
    let issued = waiting(edge, move |edge| edge.issue(&names, purpose)).await??;
    let certificate = json!({
        "certificate": issued.certificate_pem,
        "key": issued.key_pem.as_str(),
        "authority": edge.authority_pem().as_deref(),
    });
    Ok(Answer::json(StatusCode::CREATED, certificate))
}

async fn switch(edge: &Arc<Edge>, listener: &str, body: &[u8]) -> Result<Answer, Problem> {
    let Switch { scheme, client_auth } = parsed(body)?;
    let level = client_auth.map(|text| {
        let names = Level::ALL.map(Level::name).join(", ");
        Level::parse(&text)
            .ok_or_else(|| Problem::invalid(format!("client_auth is one of {names} or its number, and not {text}")))
    });
    let level = level.transpose()?;
    let name = listener.to_owned();
    waiting(edge, move |edge| edge.switch(&name, scheme, level)).await??;
    Ok(done(&*edge.state()))
}

fn parsed<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("the body is not the JSON of it: {error}")))
}
