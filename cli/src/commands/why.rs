//! `weir why s3://BUCKET/KEY`: what would be decided about a right, and which statement decides it.

use crate::admin_client::AdminClient;
use crate::args::WhyArgs;
use crate::error::{Error, Result};
use crate::{credentials, output};
use http::Method;
use serde_json::{Map, Value, json};

const SIMULATE: &str = "/api/v1/policy/simulate";

pub async fn run(args: WhyArgs) -> Result<()> {
    let place = args.place.strip_prefix("s3://").filter(|place| !place.is_empty() && !place.starts_with('/'));
    let place = place.ok_or_else(|| Error::Usage("write s3://BUCKET or s3://BUCKET/KEY".to_owned()))?;
    let (bucket, key) = place.split_once('/').map_or((place, None), |(bucket, key)| (bucket, Some(key)));
    let key = key.filter(|key| !key.is_empty());
    let mut context = Map::new();
    for pair in &args.context {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Error::Usage(format!("{pair:?} is no condition key with a value: write aws:SourceIp=10.0.0.1"))
        })?;
        let values = context.entry(name).or_insert_with(|| json!([]));
        values.as_array_mut().expect("made as a list").push(json!(value));
    }
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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
