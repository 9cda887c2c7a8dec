//! `weir key`: access keys of a running appliance, through its admin API.

use crate::admin_client::AdminClient;
use crate::args::{KeyArgs, KeyVerb};
use crate::error::{Error, Result};
use crate::{credentials, output};
use http::Method;
use serde_json::{Value, json};

const KEYS: &str = "/api/v1/keys";

pub async fn run(args: KeyArgs) -> Result<()> {
    if let KeyVerb::Delete { id } = &args.verb {
        // What cannot be a key's id must not become another path.
        authn::parse_access_key_id(id).map_err(|error| Error::Usage(error.to_string()))?;
    }
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let client = AdminClient::find(credentials::find(&args.data, environment)?, environment).await?;

    match args.verb {
        KeyVerb::Create { owner, display_name, email, admin, user, policy, json: as_json } => {
            let asked = json!({
                "owner": owner,
                "display_name": display_name,
                "email": email,
                "admin": admin,
                "user": user,
                "policy": policy,
            });
            let made = client.ask(Method::POST, KEYS, &asked).await?;
            if as_json { output::json(&made) } else { show_made(&made) }
        }
        KeyVerb::List { json: as_json } => {
            let listed = client.ask(Method::GET, KEYS, &Value::Null).await?;
            if as_json { output::json(&listed["keys"]) } else { show_list(&listed["keys"]) }
        }
        KeyVerb::Delete { id } => {
            client.ask(Method::DELETE, &format!("{KEYS}/{id}"), &Value::Null).await?;
            output::line(format_args!("deleted {id}"));
        }
        KeyVerb::Import(import) => {
            let asked = json!({
                "owner": import.owner,
                "display_name": import.display_name,
                "email": import.email,
                "admin": import.admin,
                "access_key": import.access_key,
                "secret_key": import.secret_key,
                "tenant": import.tenant,
                "account_root": import.account_root,
                "user": import.user,
                "policy": import.policy,
            });
            client.ask(Method::POST, KEYS, &asked).await?;
            output::line(format_args!("imported {}", import.access_key));
        }
    }
    Ok(())
}

fn show_made(made: &Value) {
    output::line(format_args!("access key  {}", text(&made["access_key"])));
    output::line(format_args!("secret key  {}", text(&made["secret_key"])));
    output::line("The secret is shown this once.");
}

fn show_list(keys: &Value) {
    output::listing(
        keys,
        &[
            ("ACCESS KEY", "access_key"),
            ("OWNER", "owner"),
            ("USER", "user"),
            ("DISPLAY NAME", "display_name"),
            ("EMAIL", "email"),
            ("ADMIN", "admin"),
            ("ACTIVE", "active"),
        ],
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
