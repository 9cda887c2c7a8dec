//! `weir tls`: certificates of a running appliance, through its admin API.

use crate::admin_client::AdminClient;
use crate::args::{TlsArgs, TlsVerb};
use crate::error::{Error, Result};
use crate::{DATA_ENDPOINT, credentials, output, signed, trust};
use common::Clock;
use common::doors::SystemClock;
use http::Method;
use serde_json::{Value, json};
use std::path::Path;

const TLS: &str = "/api/v1/tls";

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub async fn run(args: TlsArgs) -> Result<()> {
    match args.verb {
        TlsVerb::Validate { dir: Some(dir), name, json } => {
            let pairs = certs::validate(&dir, &name, SystemClock.now_ms());
            let pairs = serde_json::to_value(pairs).map_err(|error| Error::Failed(error.to_string()))?;
            judged(&pairs, json)
        }
        TlsVerb::Trust { fingerprint } => trust_authority(fingerprint.as_deref()).await,
        verb => {
            let client = AdminClient::find(credentials::find(&args.data, environment)?, environment).await?;
            ask(&client, verb).await
        }
    }
}

async fn ask(client: &AdminClient, verb: TlsVerb) -> Result<()> {
    let post = |path: &str| client.ask_owned(Method::POST, format!("{TLS}/{path}"), Value::Null);
    match verb {
        TlsVerb::Show { json } => {
            let state = client.ask(Method::GET, TLS, &Value::Null).await?;
            if json { output::json(&state) } else { show(&state) }
        }
        TlsVerb::Reload { json } => {
            let report = post("reload").await?;
            if json {
                output::json(&report);
            } else {
                output::line(text(&report["result"]));
                certificates(&report["certificates"]);
            }
            let faults = list(&report["faults"]);
            if !faults.is_empty() {
                return Err(Error::Failed(format!("{}: those before are served", faults.join("; "))));
            }
        }
        TlsVerb::Validate { json, .. } => {
            let report = post("validate").await?;
            if report["dir"].is_null() {
                return Err(Error::Usage("the appliance has no --tls-dir: give --dir DIR".into()));
            }
            return judged(&report["pairs"], json);
        }
        TlsVerb::Issue { name: None, .. } => {
            let report = post("renew").await?;
            certificates(&report["certificates"]);
        }
        TlsVerb::Issue { name: Some(name), names, client: is_client, output } => {
            let mut all = vec![name.clone()];
            all.extend(names);
            let body = json!({ "names": all, "client": is_client });
            let issued = client.ask(Method::POST, &format!("{TLS}/certificates"), &body).await?;
            write(&output, &name, &issued)?;
        }
        TlsVerb::Switch { listener, scheme, client_auth } => {
            let mut body = json!({});
            if let Some(scheme) = scheme {
                body["scheme"] = Value::String(scheme);
            }
            if let Some(level) = client_auth {
                body["client_auth"] = Value::String(level);
            }
            if listener.is_empty() || !listener.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Error::Usage(format!("{listener:?} is no listener: data, https or admin")));
            }
            let state = client.ask(Method::PUT, &format!("{TLS}/listeners/{listener}"), &body).await?;
            listeners(&state["listeners"]);
        }
        TlsVerb::Trust { .. } => {}
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn show(state: &Value) {
    certificates(&state["certificates"]);
    output::line("");
    listeners(&state["listeners"]);
    output::line("");
    if let Some(dir) = state["dir"].as_str() {
        output::line(format_args!("directory          {dir}"));
    }
    if let Some(fingerprint) = state["authority"]["fingerprint"].as_str() {
        output::line(format_args!("own authority      {fingerprint}"));
    }
    for authority in list(&state["client_authorities"]) {
        output::line(format_args!("clients of         {authority}"));
    }
    for warning in state["certificates"].as_array().into_iter().flatten().flat_map(|one| list(&one["warnings"])) {
        output::line(format_args!("warning            {warning}"));
    }
    for fault in list(&state["faults"]) {
        output::line(format_args!("not taken          {fault}"));
    }
}

fn certificates(served: &Value) {
    let heading = ["NAME", "STATE", "ENDS", "SERIAL", "NAMES"].map(str::to_owned).to_vec();
    let row = |one: &Value| {
        let default = if one["is_default"] == true { " (default)" } else { "" };
        vec![
            format!("{}{default}", text(&one["name"])),
            text(&one["state"]).to_owned(),
            date(one["not_after_s"].as_i64().unwrap_or(0)),
            text(&one["serial"]).to_owned(),
            list(&one["names"]).join(","),
        ]
    };
    let rows = served.as_array().into_iter().flatten().map(row);
    output::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
}

fn listeners(listeners: &Value) {
    output::listing(
        listeners,
        &[("LISTENER", "listener"), ("SCHEME", "scheme"), ("CLIENT CERTIFICATES", "client_auth")],
    );
}

/// The day, in UTC (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(24 * 3600) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn judged(pairs: &Value, as_json: bool) -> Result<()> {
    let mut wrong = Vec::new();
    if as_json {
        output::json(pairs);
    }
    for pair in pairs.as_array().into_iter().flatten() {
        let fault = pair["fault"].as_str();
        wrong.extend(fault);
        if !as_json {
            output::line(format_args!("{}  {}", text(&pair["name"]), fault.unwrap_or("good")));
            for warning in list(&pair["warnings"]) {
                output::line(format_args!("  warning: {warning}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Failed(wrong.join("; "))) }
}

fn write(directory: &Path, name: &str, issued: &Value) -> Result<()> {
    // A wildcard is a bad file's name.
    let stem = name.replace('*', "_").replace([':', '/'], "-");
    let (certificate, key) = (directory.join(format!("{stem}.crt")), directory.join(format!("{stem}.key")));
    for (path, member) in [(&key, "key"), (&certificate, "certificate")] {
        let content = issued[member].as_str().ok_or_else(|| Error::Failed("the server issued nothing".into()))?;
        certs::write_private(path, content.as_bytes())?;
    }
    output::line(format_args!("{} and {}", certificate.display(), key.display()));
    Ok(())
}

/// Trust on first use, with the fingerprint that the appliance has printed.
async fn trust_authority(fingerprint: Option<&str>) -> Result<()> {
    let endpoint = environment("WEIR_ENDPOINT").unwrap_or_else(|| DATA_ENDPOINT.to_owned());
    let answer = signed::get_blindly(&endpoint, "/-/ca.pem").await?;
    if !answer.status.is_success() {
        return Err(Error::NotFound(format!("{endpoint} has no authority of its own: name yours in WEIR_CA_FILE")));
    }
    let (certificate, found) = certs::only_certificate(&answer.body)
        .ok_or_else(|| Error::Failed(format!("{endpoint} is not a weir: /-/ca.pem is not one certificate")))?;
    let Some(wanted) = fingerprint else {
        output::line(format_args!("{found}"));
        return Err(Error::Refused(
            "nothing is trusted yet: compare this with what the appliance printed at its start, or with weir tls show there, and \
             say --fingerprint"
                .into(),
        ));
    };
    let digits = |text: &str| text.replace(':', "").to_ascii_uppercase();
    if digits(wanted) != found {
        return Err(Error::Refused(format!("{endpoint} shows an authority with another fingerprint: {found}")));
    }
    let path = trust::file(environment)?;
    certs::write_private(&path, format!("{certificate}\n").as_bytes())?;
    output::line(format_args!("trusted from now on: {}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in
            [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_798_761_599, "2026-12-31"), (-1, "1969-12-31")]
        {
            assert_eq!(date(seconds), day);
        }
    }
}
