//! `weir user`: users of an account, through the admin API.

use crate::admin_client::AccountClient;
use crate::args::{UserArgs, UserVerb};
use crate::error::Result;
use crate::output;
use http::Method;
use serde_json::{Value, json};

pub async fn run(args: UserArgs) -> Result<()> {
    let client = AccountClient::find(&args.account).await?;
    match args.verb {
        UserVerb::List { json: as_json } => {
            let listed = client.ask(Method::GET, &["users"], &Value::Null).await?;
            if as_json { output::json(&listed["users"]) } else { show(&listed["users"]) }
        }
        UserVerb::Create { name, path, policy, json: as_json } => {
            let asked = json!({ "name": name, "path": path, "policies": policy });
            let made = client.ask(Method::POST, &["users"], &asked).await?;
            output::made(&made, as_json);
        }
        UserVerb::Delete { name } => {
            client.ask(Method::DELETE, &["users", &name], &Value::Null).await?;
            output::line(format_args!("deleted {name}"));
        }
    }
    Ok(())
}

fn show(users: &Value) {
    output::listing(
        users,
        &[
            ("NAME", "name"),
            ("PATH", "path"),
            ("GROUPS", "groups"),
            ("KEYS", "keys"),
            ("POLICIES", "policies"),
            ("INLINE", "inline_policies"),
        ],
    );
}
