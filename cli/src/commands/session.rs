//! `weir session`: temporary credentials, through the admin API.

use crate::admin_client::AccountClient;
use crate::args::{SessionArgs, SessionVerb};
use crate::error::Result;
use crate::output;
use http::Method;
use serde_json::Value;

pub async fn run(args: SessionArgs) -> Result<()> {
    let SessionVerb::Revoke { user, role, issuer } = args.verb;
    let client = AccountClient::find(&args.account).await?;
    // The server knows an issuer by its URL without the scheme.
    let issuer = issuer.map(|url| url.split_once("://").map_or(&*url, |(_, name)| name).to_owned());
    let of = [("user", "users", user), ("role", "roles", role), ("issuer", "issuers", issuer)];
    let of = of.into_iter().find_map(|(noun, segment, name)| Some((noun, segment, name?)));
    match of {
        None => {
            client.ask(Method::DELETE, &["sessions"], &Value::Null).await?;
            output::line(format_args!("revoked all sessions of the account"));
        }
        Some((noun, segment, name)) => {
            client.ask(Method::DELETE, &[segment, &name, "sessions"], &Value::Null).await?;
            output::line(format_args!("revoked the sessions of the {noun} {name}"));
        }
    }
    Ok(())
}
