//! `weir policy simulate`: what policies would decide, and by which statement. Policies in files are judged here, by the code that
//! judges requests; who is there already, the appliance judges.

use super::why::context;
use crate::admin_client::AccountClient;
use crate::args::{AccountArgs, SimulateArgs};
use crate::error::{Error, Result};
use crate::output;
use authn::Identity;
use authn::identity::Standing;
use authn::policy::{self, Policy, Purpose};
use authn::simulation::{Ground, ResourcePolicy, account_of, imagined_caller, keys_of_caller, simulate};
use common::OwnerId;
use gateway::simulation::{QUESTIONS_MAX, described, given_context};
use http::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Who asks where nobody is named: somebody of an account that is no other's.
const SOMEBODY: &str = "arn:aws:iam::000000000000:user/somebody";

const ALLOWED: &str = "allowed";

pub async fn run(args: &SimulateArgs, account: &AccountArgs) -> Result<()> {
    let everything = ["*".to_owned()];
    let resources = if args.resources.is_empty() { &everything[..] } else { &args.resources };
    let actions = args.actions.iter().map(|action| policy::action(action)).collect::<Result<Vec<_>, _>>();
    let actions = actions.map_err(|error| Error::Usage(error.to_string()))?;
    if actions.len().saturating_mul(resources.len()) > QUESTIONS_MAX {
        return Err(Error::Usage(format!("ask at most {QUESTIONS_MAX} questions, which are actions times resources")));
    }
    let is_there = args.user.is_some() || args.group.is_some() || args.role.is_some() || args.access_key.is_some();
    let told =
        if is_there { ask(args, account, (&actions, resources)).await? } else { judge(args, &actions, resources)? };
    let results = told["results"].as_array().map_or(&[][..], Vec::as_slice);
    if args.json {
        output::json(&told);
    } else {
        show(results);
    }
    match results.iter().filter(|result| result["decision"] != ALLOWED).count() {
        0 => Ok(()),
        refused => Err(Error::Failed(format!("{refused} of {} refused", results.len()))),
    }
}

/// What the appliance says of who is there.
async fn ask(
    args: &SimulateArgs,
    account: &AccountArgs,
    (actions, resources): (&[String], &[String]),
) -> Result<Value> {
    let asked = json!({
        "user": args.user,
        "group": args.group,
        "role": args.role,
        "access_key": args.access_key,
        "policies": args.policy_files.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?,
        "boundary": args.boundary_file.as_deref().map(read).transpose()?,
        "bucket_policy": args.bucket_policy_file.as_deref().map(read).transpose()?,
        "resource_owner": args.resource_owner,
        "actions": actions,
        "resources": resources,
        "context": known_context(args)?,
    });
    let client = AccountClient::find(account).await?;
    client.ask(Method::POST, &["simulations"], &asked).await
}

/// The same of files.
fn judge(args: &SimulateArgs, actions: &[String], resources: &[String]) -> Result<Value> {
    let identity = args.policy_files.iter().map(|file| identity_policy(file)).collect::<Result<Vec<_>>>()?;
    let boundary = args.boundary_file.as_deref().map(identity_policy).transpose()?;
    let standing = Standing { identity, boundary, ..Standing::default() };
    let arn = args.caller.as_deref().unwrap_or(SOMEBODY);
    let caller = imagined_caller(arn, standing)
        .ok_or_else(|| Error::Usage(format!("{arn:?} is neither a user's ARN nor a role's")))?;
    let owner = args.resource_owner.as_deref().unwrap_or(&caller.account).to_owned();
    if account_of(&format!("arn:aws:iam::{owner}:root")).is_none() {
        return Err(Error::Usage(format!("{owner:?} is no account: write its number of twelve digits")));
    }
    let mut context = given_context(known_context(args)?.into_iter().map(|(key, values)| (key, owned(&values))));
    keys_of_caller(&mut context, &caller);
    let identity = Identity::Known(Arc::new(caller));
    let bucket_policy =
        args.bucket_policy_file.as_deref().map(|file| read(file).map(|text| (file, text))).transpose()?;
    let mut results = Vec::new();
    for resource in resources {
        let parsed = bucket_policy.as_ref().map(|(file, text)| {
            ResourcePolicy::parse(text, resource).map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
        });
        let number = account_of(resource).unwrap_or(&owner);
        let ground = Ground {
            owner: OwnerId(number.to_owned()),
            policy: parsed.transpose()?.map(Arc::new),
            restrict_public: false,
        };
        for action in actions {
            let simulated = simulate(&identity, &context, (action, resource), &ground);
            results.push(described(&identity, (action, resource), &simulated));
        }
    }
    Ok(json!({ "principal": identity.caller().map(authn::Caller::arn), "results": results }))
}

fn identity_policy(file: &Path) -> Result<(String, Arc<Policy>)> {
    let parsed = Policy::parse(&read(file)?, Purpose::Identity);
    let policy = parsed.map_err(|error| Error::Usage(format!("{}: {error}", file.display())))?;
    Ok((file.display().to_string(), Arc::new(policy)))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// A misspelt key would be one that is missing.
fn known_context(args: &SimulateArgs) -> Result<std::collections::BTreeMap<&str, Vec<&str>>> {
    let context = context(&args.context)?;
    match context.keys().find(|key| !policy::is_condition_key(key)) {
        Some(key) => Err(Error::Usage(format!("there is no condition key {key:?}"))),
        None => Ok(context),
    }
}

fn show(results: &[Value]) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut rows = vec![["DECISION", "ACTION", "RESOURCE", "BY", "MISSING"].map(str::to_owned).to_vec()];
    for result in results {
        let by = match (result["policy"].as_str(), result["statement"].as_str()) {
            (Some(policy), Some(statement)) => format!("{policy}: {statement}"),
            (Some(policy), None) => format!("not within {policy}"),
            _ => text(&result["decided_by"]),
        };
        let missing = result["missing"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = missing.collect::<Vec<_>>().join(",");
        let missing = if missing.is_empty() { "-".to_owned() } else { missing };
        rows.push(vec![text(&result["decision"]), text(&result["action"]), text(&result["resource"]), by, missing]);
    }
    output::table(&rows);
}
