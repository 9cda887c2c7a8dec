//! `weir kms`: named encryption keys of a running appliance, through its admin API.

use crate::admin_client::AdminClient;
use crate::args::{KmsArgs, KmsVerb};
use crate::error::{Error, Result};
use crate::{credentials, output};
use http::Method;
use serde_json::{Value, json};

const KEYS: &str = "/api/v1/kms";

pub async fn run(args: KmsArgs) -> Result<()> {
    if let KmsVerb::Create { name } | KmsVerb::Rotate { name } = &args.verb
        && authn::kms::parse_name(name) != Ok(name.as_str())
    {
        return Err(Error::Usage(authn::KmsError::Name.to_string()));
    }
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let client = AdminClient::find(credentials::find(&args.data, environment)?, environment).await?;

    match args.verb {
        KmsVerb::Create { name } => {
            client.ask(Method::POST, KEYS, &json!({ "name": name })).await?;
            output::line(format_args!("created {name}"));
        }
        KmsVerb::List { json: as_json } => {
            let listed = client.ask(Method::GET, KEYS, &Value::Null).await?;
            if as_json { output::json(&listed["keys"]) } else { show(&listed["keys"]) }
        }
        KmsVerb::Rotate { name } => {
            let rotated = client.ask(Method::POST, &format!("{KEYS}/{name}/versions"), &Value::Null).await?;
            let name = rotated["name"].as_str().unwrap_or(&name);
            output::line(format_args!("{name} has version {}", rotated["versions"]));
        }
    }
    Ok(())
}

fn show(keys: &Value) {
    let heading = ["NAME", "VERSIONS"].map(str::to_owned).to_vec();
    let row = |key: &Value| vec![key["name"].as_str().unwrap_or("-").to_owned(), key["versions"].to_string()];
    let rows = keys.as_array().into_iter().flatten().map(row);
    output::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
}
