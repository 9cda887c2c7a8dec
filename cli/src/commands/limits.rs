//! `weir limits`: rules of rates and bandwidths of a running appliance, through its admin API, which reads them.

use crate::admin_client::{AdminClient, segment_of};
use crate::args::{LimitsArgs, LimitsVerb, SetLimitArgs};
use crate::error::{Error, Result};
use crate::{credentials, output};
use http::Method;
use serde_json::{Map, Value, json};

const LIMITS: &str = "/api/v1/limits";

pub async fn run(args: LimitsArgs) -> Result<()> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let wanted = match &args.verb {
        LimitsVerb::Set(set) => Some(document(set)?),
        _ => None,
    };
    let client = AdminClient::find(credentials::find(&args.data, environment)?, environment).await?;
    let path = |name: &str| Ok::<_, Error>(format!("{LIMITS}/{}", segment_of(name)?));
    match args.verb {
        LimitsVerb::Show { name: None, json: as_json } => {
            let listed = client.ask(Method::GET, LIMITS, &Value::Null).await?;
            if as_json { output::json(&listed) } else { show(listed["limits"].as_array().map_or(&[], Vec::as_slice)) }
        }
        LimitsVerb::Show { name: Some(name), json: as_json } => {
            let limit = client.ask(Method::GET, &path(&name)?, &Value::Null).await?;
            if as_json { output::json(&limit) } else { show(&[limit]) }
        }
        LimitsVerb::Set(set) => {
            let limit = client.ask(Method::PUT, &path(&set.name)?, &wanted.unwrap_or_default()).await?;
            if set.json {
                output::json(&limit);
            } else {
                output::line(format_args!("set {}, version {}", set.name, limit["version"]));
            }
        }
        LimitsVerb::Remove { name } => {
            client.ask(Method::DELETE, &path(&name)?, &Value::Null).await?;
        }
        LimitsVerb::Explain { access_key, verb, bucket, from, json: as_json } => {
            let asked = json!({ "access_key": access_key, "verb": verb, "bucket": bucket, "address": from });
            let told = client.ask(Method::POST, &format!("{LIMITS}/explain"), &asked).await?;
            if as_json {
                output::json(&told)
            } else {
                explain(&told)
            }
            if let Some(name) = told["refused_by"].as_str() {
                return Err(Error::Failed(format!("the limit {name} would refuse it now")));
            }
        }
    }
    Ok(())
}

/// The JSON of the limit that the flags mean.
#[expect(clippy::disallowed_methods, reason = "the file of a limit is no data")]
fn document(set: &SetLimitArgs) -> Result<Value> {
    let mut document = match &set.file {
        Some(file) => {
            let wrong = |error: &dyn std::fmt::Display| Error::Usage(format!("{}: {error}", file.display()));
            let text = std::fs::read(file).map_err(|error| wrong(&error))?;
            serde_json::from_slice(&text).map_err(|error| wrong(&error))?
        }
        None => of_flags(set)?,
    };
    if let (Some(version), Some(document)) = (set.if_version, document.as_object_mut()) {
        document.insert("version".to_owned(), json!(version));
    }
    Ok(document)
}

fn of_flags(set: &SetLimitArgs) -> Result<Value> {
    let mut matches = Map::new();
    for (name, values) in [
        ("tenant", &set.tenant),
        ("principal", &set.principal),
        ("access_key", &set.access_key),
        ("bucket", &set.bucket),
        ("verb", &set.verb),
        ("cidr", &set.cidr),
    ] {
        if !values.is_empty() {
            matches.insert(name.to_owned(), json!(values));
        }
    }
    let bytes = |text: &Option<String>| text.as_deref().map(bytes).transpose();
    let (bytes_in, bytes_out) = (bytes(&set.bandwidth_in)?, bytes(&set.bandwidth_out)?);
    let mut document = json!({ "match": matches, "per": set.per, "dry_run": set.dry_run });
    if let Some(rate) = set.rate {
        document["rate"] = json!(rate);
    }
    if let Some(burst) = set.burst {
        document["burst"] = json!(burst);
    }
    if bytes_in.is_some() || bytes_out.is_some() {
        document["bandwidth"] = json!({ "in": bytes_in, "out": bytes_out });
    }
    Ok(document)
}

/// 10MB, 8MiB or a number.
fn bytes(text: &str) -> Result<u64> {
    let wrong = || Error::Usage(format!("bytes a second are a number, like 10MB or 8MiB, and {text:?} is not"));
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

fn show(limits: &[Value]) {
    let mut rows = vec![["NAME", "PER", "MATCH", "RATE", "BURST", "IN", "OUT", "MODE"].map(str::to_owned).to_vec()];
    for limit in limits {
        let matches = limit["match"].as_object().into_iter().flatten().map(|(name, values)| {
            let values = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
            format!("{name}={}", values.join("|"))
        });
        let matches = matches.collect::<Vec<_>>().join(" ");
        let mode = match (&limit["dry_run"], &limit["built_in"]) {
            (Value::Bool(true), _) => "dry run",
            (_, Value::Bool(true)) => "built in",
            _ => "in force",
        };
        rows.push(vec![
            text(&limit["name"]),
            text(&limit["per"]),
            if matches.is_empty() { "everything".to_owned() } else { matches },
            text(&limit["rate"]),
            text(&limit["burst"]),
            text(&limit["bandwidth"]["in"]),
            text(&limit["bandwidth"]["out"]),
            mode.to_owned(),
        ]);
    }
    output::table(&rows);
}

fn explain(told: &Value) {
    let mut rows = vec![["LIMIT", "DECISION", "COUNTED", "LEFT", "OF", "WHY"].map(str::to_owned).to_vec()];
    for rule in told["rules"].as_array().into_iter().flatten() {
        let shapes = [("in", &rule["bandwidth_in"]), ("out", &rule["bandwidth_out"])];
        let shapes = shapes.into_iter().filter(|(_, bytes)| !bytes.is_null());
        let shapes = shapes.map(|(way, bytes)| format!("{bytes} bytes a second {way}")).collect::<Vec<_>>().join(", ");
        let decision = match (&rule["applies"], rule["decision"].as_str()) {
            (Value::Bool(false), _) => "-".to_owned(),
            (_, Some(decision)) => decision.replace('_', " "),
            _ => "shapes".to_owned(),
        };
        let why = rule["reason"].as_str().map_or(shapes, str::to_owned);
        rows.push(vec![
            text(&rule["name"]),
            decision,
            text(&rule["counted"]),
            text(&rule["left"]),
            text(&rule["burst"]),
            if why.is_empty() { "-".to_owned() } else { why },
        ]);
    }
    output::line(format_args!("{} would {}, and costs {}", text(&told["verb"]), text(&told["decision"]), told["cost"]));
    output::table(&rows);
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        let read = |text: &str| bytes(text).ok();
        assert_eq!((read("10MB"), read("8MiB"), read("1024")), (Some(10_000_000), Some(8 << 20), Some(1024)));
        assert_eq!((read("5kib"), read("2GB"), read("7b")), (Some(5120), Some(2_000_000_000), Some(7)));
        for wrong in ["", "MB", "10 MB", "1.5MB", "10Mbit", "-5", "99999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
