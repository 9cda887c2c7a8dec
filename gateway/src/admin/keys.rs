//! Access keys and their owners, for administrators.

use crate::admin::accounts::{new_user, policy_arn};
use crate::admin::problem::Problem;
use crate::admin::{AdminParts, Answer};
use authn::Secret;
use cluster::{AccessKey, Command, Error, Holder, IamChange, Owner, State};
use common::{AccessKeyId, OwnerId};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// The body of `POST /api/v1/keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateKey {
    owner: String,
    /// By default the owner's id, or what is known of an owner that exists.
    display_name: Option<String>,
    email: Option<String>,
    #[serde(default)]
    admin: bool,
    /// Both are given, to import a key, or neither, to have one made.
    access_key: Option<String>,
    secret_key: Option<String>,
    /// Of the account.
    tenant: Option<String>,
    /// The user whose key it is: made where it is not there yet. Without one, and without a policy, it is the account's root's.
    user: Option<String>,
    #[serde(default)]
    account_root: bool,
    /// A managed policy, which the user gets. A user without a name is called like the owner.
    policy: Option<String>,
}

/// The body of `PATCH /api/v1/keys/{id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateKey {
    active: bool,
}

pub(super) fn list(state: &State) -> Answer {
    let keys: Vec<_> =
        state.keys.values().map(|key| describe(key, state.owners.get(&key.owner).map(|o| &**o))).collect();
    Answer::json(StatusCode::OK, json!({ "keys": keys }))
}

pub(super) async fn create(parts: &AdminParts, body: &[u8]) -> Result<Answer, Problem> {
    // Not the parser's own words: they may quote the body, and the body may hold a secret.
    let asked: CreateKey = serde_json::from_slice(body).map_err(|error| {
        Problem::invalid(format!(
            "the body is not the JSON of a key (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    let (id, secret, made) = match (&asked.access_key, &asked.secret_key) {
        (Some(id), Some(secret)) => {
            let id = authn::parse_access_key_id(id).map_err(|error| Problem::invalid(error.to_string()))?;
            (id, Secret::parse(secret).map_err(|error| Problem::invalid(error.to_string()))?, false)
        }
        (None, None) => (authn::access_key_id(&*parts.random), authn::secret_key(&*parts.random), true),
        _ => return Err(Problem::invalid("give access_key and secret_key, or neither")),
    };

    let state = parts.control.read().await?;
    let owner = merge_owner(&asked, &state);
    let user = user_of(&asked)?;
    let policy = asked.policy.as_ref().map(|policy| policy_arn(&state.iam, &owner.id, policy)).transpose()?;
    let in_account = |change| Command::Iam { account: owner.id.clone(), change };
    let mut commands = vec![Command::PutOwner { owner: owner.clone() }];
    commands.extend(asked.tenant.as_ref().map(|tenant| in_account(IamChange::SetTenant(Some(tenant.clone())))));
    if let Some(name) = &user {
        commands.push(in_account(IamChange::EnsureUser(new_user(parts, &owner.id, name, None))));
        let attach = |arn| IamChange::SetAttached { of: Holder::User(name.clone()), arn, attached: true };
        commands.extend(policy.map(|arn| in_account(attach(arn))));
    }
    let key = AccessKey {
        id,
        secret: secret.expose().to_owned(),
        owner: owner.id.clone(),
        admin: asked.admin,
        created_ms: parts.clock.now_ms(),
        user,
        active: true,
    };
    commands.push(Command::CreateKey { key: key.clone() });
    // Together, so that nothing is left where one of them is refused, or the power is cut.
    parts.control.propose(Command::All(commands)).await?;

    let mut answer = describe(&key, Some(&owner));
    if made {
        answer["secret_key"] = Value::String(key.secret);
    }
    Ok(Answer::json(StatusCode::CREATED, answer))
}

pub(super) async fn delete(parts: &AdminParts, id: &str) -> Result<Answer, Problem> {
    parts.control.propose(Command::DeleteKey { id: AccessKeyId(id.to_owned()) }).await?;
    Ok(Answer::done())
}

pub(super) async fn update(parts: &AdminParts, id: &str, body: &[u8]) -> Result<Answer, Problem> {
    let asked: UpdateKey = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not the JSON of a key's change: {error}")))?;
    let id = AccessKeyId(id.to_owned());
    parts.control.propose(Command::SetKeyActive { id: id.clone(), active: asked.active }).await?;
    let state = parts.control.read().await?;
    let key = state.keys.get(&id).ok_or(Error::NoSuchKey(id))?;
    Ok(Answer::json(StatusCode::OK, describe(key, state.owners.get(&key.owner).map(|owner| &**owner))))
}

/// The user whose key it is to be.
fn user_of(asked: &CreateKey) -> Result<Option<String>, Problem> {
    let is_users = asked.user.is_some() || asked.policy.is_some();
    if is_users && asked.account_root {
        return Err(Problem::invalid("the key of the account's root has no user and needs no policy"));
    }
    if is_users && asked.admin {
        return Err(Problem::invalid("an administrator's key has no user and needs no policy"));
    }
    Ok(is_users.then(|| asked.user.clone().unwrap_or_else(|| asked.owner.clone())))
}

/// The owner as asked for; what was not said stays as it is known.
fn merge_owner(asked: &CreateKey, state: &State) -> Owner {
    let id = OwnerId(asked.owner.clone());
    let known = state.owners.get(&id);
    let display_name = asked.display_name.clone().or_else(|| known.map(|owner| owner.display_name.clone()));
    Owner {
        display_name: display_name.unwrap_or_else(|| asked.owner.clone()),
        email: asked.email.clone().or_else(|| known.and_then(|owner| owner.email.clone())),
        id,
    }
}

/// A key without its secret.
fn describe(key: &AccessKey, owner: Option<&Owner>) -> Value {
    json!({
        "access_key": key.id.0,
        "owner": key.owner.0,
        "display_name": owner.map(|owner| &owner.display_name),
        "email": owner.and_then(|owner| owner.email.as_ref()),
        "user": key.user,
        "admin": key.admin,
        "active": key.active,
        "created_ms": key.created_ms,
    })
}
