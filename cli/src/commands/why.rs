//! `weir why s3://BUCKET/KEY`: what would be decided about a right, and which statement decides it.

use crate::admin_client::AdminClient;
use crate::args::WhyArgs;
use crate::error::{Error, Result};
use crate::{credentials, output};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SIMULATE: &str = "/api/v1/policy/simulate";

pub async fn run(args: WhyArgs) -> Result<()> {
    let place = args.place.strip_prefix("s3://").filter(|place| !place.is_empty() && !place.starts_with('/'));
    let place = place.ok_or_else(|| Error::Usage("write s3://BUCKET or s3://BUCKET/KEY".to_owned()))?;
    let (bucket, key) = place.split_once('/').map_or((place, None), |(bucket, key)| (bucket, Some(key)));
    let key = key.filter(|key| !key.is_empty());
    let context = context(&args.context)?;
    let asked = json!({
        "access_key": args.access_key,
        "action": args.action,
        "bucket": bucket,
        "key": key,
        "version": args.version_id,
        "context": context,
    });
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let client = AdminClient::find(credentials::find(&args.data, environment)?, environment).await?;
    let told = client.ask(Method::POST, SIMULATE, &asked).await?;
    if args.json {
        output::json(&told);
    } else {
        output::line(format_args!("{} {} {}", text(&told["principal"]), text(&told["action"]), args.place));
        output::line(text(&told["reason"]));
    }
    Ok(())
}

/// Condition keys with their values, in the order in which they were given.
pub fn context(pairs: &[String]) -> Result<BTreeMap<&str, Vec<&str>>> {
    let mut context: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Error::Usage(format!("{pair:?} is no condition key with a value: write aws:SourceIp=10.0.0.1"))
        })?;
        context.entry(name).or_default().push(value);
    }
    Ok(context)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
