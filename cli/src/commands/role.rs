//! `weir role`: roles of an account, through the admin API.

use crate::admin_client::AccountClient;
use crate::args::{RoleArgs, RoleVerb};
use crate::commands::policy;
use crate::error::Result;
use crate::output;
use http::Method;
use serde_json::{Value, json};

pub async fn run(args: RoleArgs) -> Result<()> {
    match args.verb {
        RoleVerb::List { json: as_json } => {
            let client = AccountClient::find(&args.account).await?;
            let listed = client.ask(Method::GET, &["roles"], &Value::Null).await?;
            if as_json { output::json(&listed["roles"]) } else { show(&listed["roles"]) }
        }
        RoleVerb::Create { name, trust, description, session_seconds, policy, json: as_json } => {
            let asked = json!({
                "name": name,
                "trust": policy::read(&trust)?,
                "description": description,
                "session_seconds_max": session_seconds,
                "policies": policy,
            });
            let client = AccountClient::find(&args.account).await?;
            let made = client.ask(Method::POST, &["roles"], &asked).await?;
            output::made(&made, as_json);
        }
        RoleVerb::Delete { name } => {
            let client = AccountClient::find(&args.account).await?;
            client.ask(Method::DELETE, &["roles", &name], &Value::Null).await?;
            output::line(format_args!("deleted {name}"));
        }
    }
    Ok(())
}

fn show(roles: &Value) {
    output::listing(
        roles,
        &[("NAME", "name"), ("ARN", "arn"), ("POLICIES", "policies"), ("INLINE", "inline_policies")],
    );
}
