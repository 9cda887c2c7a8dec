//! `weir group`: groups of an account and who is in them, through the admin API.

use crate::admin_client::AccountClient;
use crate::args::{GroupArgs, GroupVerb};
use crate::error::Result;
use crate::output;
use http::Method;
use serde_json::{Value, json};

pub async fn run(args: GroupArgs) -> Result<()> {
    let client = AccountClient::find(&args.account).await?;
    match args.verb {
        GroupVerb::List { json: as_json } => {
            let listed = client.ask(Method::GET, &["groups"], &Value::Null).await?;
            if as_json { output::json(&listed["groups"]) } else { show(&listed["groups"]) }
        }
        GroupVerb::Create { name, path, policy, json: as_json } => {
            let asked = json!({ "name": name, "path": path, "policies": policy });
            let made = client.ask(Method::POST, &["groups"], &asked).await?;
            output::made(&made, as_json);
        }
        GroupVerb::Delete { name } => {
            client.ask(Method::DELETE, &["groups", &name], &Value::Null).await?;
            output::line(format_args!("deleted {name}"));
        }
        GroupVerb::Add { name, user } => {
            client.ask(Method::PUT, &["groups", &name, "members", &user], &Value::Null).await?;
            output::line(format_args!("{user} is in {name}"));
        }
        GroupVerb::Remove { name, user } => {
            client.ask(Method::DELETE, &["groups", &name, "members", &user], &Value::Null).await?;
            output::line(format_args!("{user} is not in {name}"));
        }
    }
    Ok(())
}

fn show(groups: &Value) {
    output::listing(
        groups,
        &[
            ("NAME", "name"),
            ("PATH", "path"),
            ("MEMBERS", "members"),
            ("POLICIES", "policies"),
            ("INLINE", "inline_policies"),
        ],
    );
}
