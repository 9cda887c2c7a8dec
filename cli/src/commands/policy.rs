//! `weir policy`: managed policies of an account, through the admin API.

use crate::admin_client::AccountClient;
use crate::args::{HolderArgs, PolicyArgs, PolicyVerb};
use crate::error::{Error, Result};
use crate::output;
use http::Method;
use serde_json::{Value, json};
use std::path::Path;

pub async fn run(args: PolicyArgs) -> Result<()> {
    // A file that cannot be read is found before anybody is asked.
    let document = match &args.verb {
        PolicyVerb::Create { file, .. } | PolicyVerb::Update { file, .. } => read(file)?,
        PolicyVerb::Simulate(asked) => return super::simulate::run(asked, &args.account).await,
        _ => Value::Null,
    };
    let client = AccountClient::find(&args.account).await?;
    match args.verb {
        PolicyVerb::List { json: as_json } => {
            let listed = client.ask(Method::GET, &["policies"], &Value::Null).await?;
            if as_json { output::json(&listed["policies"]) } else { show(&listed["policies"]) }
        }
        PolicyVerb::Show { name } => {
            let found = client.ask(Method::GET, &["policies", &name], &Value::Null).await?;
            output::json(&found["document"]);
        }
        PolicyVerb::Create { name, description, json: as_json, .. } => {
            let asked = json!({ "name": name, "document": document, "description": description });
            let made = client.ask(Method::POST, &["policies"], &asked).await?;
            output::made(&made, as_json);
        }
        PolicyVerb::Update { name, .. } => {
            let asked = json!({ "document": document });
            let made = client.ask(Method::POST, &["policies", &name, "versions"], &asked).await?;
            output::line(format_args!("{name} has version {}", made["version"]));
        }
        PolicyVerb::Delete { name } => {
            client.ask(Method::DELETE, &["policies", &name], &Value::Null).await?;
            output::line(format_args!("deleted {name}"));
        }
        // Was answered above, as it may need nobody to ask.
        PolicyVerb::Simulate(_) => {}
        PolicyVerb::Attach { name, to } => {
            let (kind, holder) = holder(&to);
            client.ask(Method::PUT, &[kind, holder, "policies", &name], &Value::Null).await?;
            output::line(format_args!("{holder} has {name}"));
        }
        PolicyVerb::Detach { name, from } => {
            let (kind, holder) = holder(&from);
            client.ask(Method::DELETE, &[kind, holder, "policies", &name], &Value::Null).await?;
            output::line(format_args!("{holder} has {name} no more"));
        }
    }
    Ok(())
}

/// The text of a policy, as it is: the appliance says what is wrong with it.
pub fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file);
    text.map(Value::String).map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
}

fn holder(args: &HolderArgs) -> (&'static str, &str) {
    match (&args.user, &args.group, &args.role) {
        (Some(name), ..) => ("users", name),
        (_, Some(name), _) => ("groups", name),
        (.., role) => ("roles", role.as_deref().unwrap_or_default()),
    }
}

fn show(policies: &Value) {
    output::listing(policies, &[("NAME", "name"), ("ARN", "arn"), ("VERSION", "version"), ("ATTACHED", "attached")]);
}
