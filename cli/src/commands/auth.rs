//! `weir auth explain-token`: whose a token is, and why it is taken or not, as the appliance judges it.

use crate::admin_client::AdminClient;
use crate::args::{AuthArgs, AuthVerb};
use crate::error::{Error, Result};
use crate::{credentials, output};
use http::Method;
use serde_json::{Value, json};
use std::io::Read;

const EXPLAIN: &str = "/api/v1/auth/explain-token";

/// More than any token has.
const TOKEN_BYTES_MAX: u64 = 32 * 1024;

pub async fn run(args: AuthArgs) -> Result<()> {
    let AuthVerb::ExplainToken { token, access_key, json: as_json } = args.verb;
    let token = if token == "-" { from_standard_input()? } else { token };
    if token.trim().is_empty() || token.len() as u64 > TOKEN_BYTES_MAX {
        return Err(Error::Usage(format!("a token has 1 to {TOKEN_BYTES_MAX} bytes")));
    }
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let client = AdminClient::find(credentials::find(&args.data, environment)?, environment).await?;
    let told = client.ask(Method::POST, EXPLAIN, &json!({ "token": token.trim(), "access_key": access_key })).await?;
    if as_json {
        output::json(&told);
    } else {
        show(&told);
    }
    match told["accepted"] {
        Value::Bool(true) => Ok(()),
        _ => Err(Error::Failed(format!("not taken ({}): {}", text(&told["step"]), text(&told["reason"])))),
    }
}

fn from_standard_input() -> Result<String> {
    let mut token = String::new();
    let mut input = std::io::stdin().lock().take(TOKEN_BYTES_MAX + 1);
    input.read_to_string(&mut token).map_err(Error::io("the token cannot be read from standard input"))?;
    Ok(token)
}

fn show(told: &Value) {
    let line = |name: &str, value: &Value| {
        if !value.is_null() {
            output::line(format_args!("{name:10}{}", plain(value)));
        }
    };
    line("kind", &told["kind"]);
    line("header", &told["header"]);
    line("claims", &told["claims"]);
    for name in ["principal", "account", "of", "name", "session", "issuer"] {
        line(name, &told[name]);
    }
    for (name, member) in [("issued", "issued_ms"), ("expires", "expires_ms")] {
        if let Some(ms) = told[member].as_u64() {
            output::line(format_args!("{name:10}{} (seconds since 1970)", ms / 1000));
        }
    }
    for provider in told["providers"].as_array().into_iter().flatten() {
        let taken = if provider["accepted"] == true {
            "taken".to_owned()
        } else {
            format!("refused: {}", text(&provider["reason"]))
        };
        output::line(format_args!("provider  {} {taken}", text(&provider["provider"])));
        for role in provider["roles"].as_array().into_iter().flatten() {
            let trusts = if role["trusted"] == true { "trusts it" } else { "does not trust it" };
            output::line(format_args!("role      {} {trusts}", text(&role["role"])));
            for statement in role["statements"].as_array().into_iter().flatten() {
                for condition in statement["conditions"].as_array().into_iter().flatten() {
                    let met = if condition["met"] == true { "met" } else { "not met" };
                    let (name, effect) = (text(&statement["statement"]), text(&statement["effect"]));
                    let (key, value) = (text(&condition["key"]), plain(&condition["value"]));
                    output::line(format_args!("          statement {name} ({effect}): {key} is {value}: {met}"));
                }
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "absent".to_owned() } else { value.to_string() }, str::to_owned)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
