//! Users, groups, policies and roles of every account, for administrators. What an account does with its own, it does by IAM.

use crate::admin::problem::Problem;
use crate::admin::routes::Route;
use crate::admin::{AdminParts, Answer};
use crate::directory;
use authn::policy::{Policy, Purpose};
use cluster::iam::{Account, Attached, BUILT_IN, Group, Iam, ManagedPolicy, PolicyVersion, Role, User, in_account};
use cluster::{Command, Error, Holder, IamChange, State, limits};
use common::OwnerId;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateHolder {
    name: String,
    path: Option<String>,
    /// Names or ARNs.
    #[serde(default)]
    policies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreatePolicy {
    name: String,
    document: Value,
    path: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdatePolicy {
    document: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRole {
    name: String,
    trust: Value,
    path: Option<String>,
    description: Option<String>,
    session_seconds_max: Option<u32>,
    #[serde(default)]
    policies: Vec<String>,
}

pub(super) fn list(state: &State) -> Answer {
    let describe = |account: &Arc<Account>| {
        let owner = state.owners.get(&account.owner);
        json!({
            "owner": account.owner.0,
            "account": account.number,
            "display_name": owner.map(|owner| &owner.display_name),
            "email": owner.and_then(|owner| owner.email.as_ref()),
            "tenant": account.tenant,
            "users": in_account(&state.iam.users, &account.owner).count(),
            "groups": in_account(&state.iam.groups, &account.owner).count(),
            "policies": in_account(&state.iam.policies, &account.owner).count(),
            "roles": in_account(&state.iam.roles, &account.owner).count(),
        })
    };
    let accounts: Vec<Value> = state.iam.accounts.values().map(describe).collect();
    Answer::json(StatusCode::OK, json!({ "accounts": accounts }))
}

/// `names` has what the path names: the account first.
pub(super) async fn answer(
    parts: &AdminParts,
    state: &State,
    route: Route,
    names: &[String],
    body: &[u8],
) -> Result<Answer, Problem> {
    let [account, names @ ..] = names else { return Err(Problem::invalid("the path names no account")) };
    let account = find_account(&state.iam, account)?;
    let in_account = InAccount { parts, state, account };
    let name = |at: usize| names.get(at).map_or("", String::as_str);
    match route {
        Route::ListUsers => Ok(in_account.list_users()),
        Route::CreateUser => in_account.create_user(body).await,
        Route::DeleteUser => in_account.change(IamChange::DeleteUser(name(0).to_owned())).await,
        Route::ListGroups => Ok(in_account.list_groups()),
        Route::CreateGroup => in_account.create_group(body).await,
        Route::DeleteGroup => in_account.change(IamChange::DeleteGroup(name(0).to_owned())).await,
        Route::AddMember | Route::RemoveMember => {
            let (group, user) = (name(0).to_owned(), name(1).to_owned());
            in_account.change(IamChange::SetMember { group, user, member: route == Route::AddMember }).await
        }
        Route::AttachToUser | Route::DetachFromUser => {
            in_account.attach(Holder::User(name(0).to_owned()), name(1), route == Route::AttachToUser).await
        }
        Route::AttachToGroup | Route::DetachFromGroup => {
            in_account.attach(Holder::Group(name(0).to_owned()), name(1), route == Route::AttachToGroup).await
        }
        Route::AttachToRole | Route::DetachFromRole => {
            in_account.attach(Holder::Role(name(0).to_owned()), name(1), route == Route::AttachToRole).await
        }
        Route::ListPolicies => Ok(in_account.list_policies()),
        Route::CreatePolicy => in_account.create_policy(body).await,
        Route::GetPolicy => in_account.get_policy(name(0)),
        Route::UpdatePolicy => in_account.update_policy(name(0), body).await,
        Route::DeletePolicy => in_account.change(IamChange::DeletePolicy(name(0).to_owned())).await,
        Route::ListRoles => Ok(in_account.list_roles()),
        Route::CreateRole => in_account.create_role(body).await,
        Route::DeleteRole => in_account.change(IamChange::DeleteRole(name(0).to_owned())).await,
        Route::RevokeSessions => in_account.revoke(None).await,
        Route::RevokeUserSessions => in_account.revoke(Some(Holder::User(name(0).to_owned()))).await,
        Route::RevokeRoleSessions => in_account.revoke(Some(Holder::Role(name(0).to_owned()))).await,
        Route::RevokeIssuerSessions => {
            let (provider, not_before_ms) = (name(0).to_owned(), in_account.revoked_until_ms());
            in_account.change(IamChange::SetProviderNotBefore { provider, not_before_ms }).await
        }
        other => Err(Problem::invalid(format!("{other:?} is not about an account"))),
    }
}

/// The account of an owner, or of a number.
pub(super) fn find_account<'s>(iam: &'s Iam, name: &str) -> Result<&'s Arc<Account>, Problem> {
    let by_owner = iam.accounts.get(&OwnerId(name.to_owned()));
    by_owner.or_else(|| iam.account_of_number(name)).ok_or_else(|| no_such(format!("there is no account {name}")))
}

/// The ARN of a managed policy that is named by it, or by its name in the account or among those that are built in.
pub(super) fn policy_arn(iam: &Iam, owner: &OwnerId, name: &str) -> Result<String, Problem> {
    let account = iam.accounts.get(owner).map_or("", |account| account.number.as_str());
    let own = iam.policies.get(&(owner.clone(), name.to_owned())).map(|policy| policy.arn(account));
    let arn = match own {
        Some(arn) => arn,
        None if name.starts_with("arn:") => name.to_owned(),
        None => format!("{BUILT_IN}{name}"),
    };
    if directory::managed_text(iam, owner, &arn).is_some() {
        return Ok(arn);
    }
    Err(no_such(format!("there is no policy {name}")))
}

pub(super) fn no_such(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "NoSuchEntity", detail)
}

/// A user as it is made.
pub(super) fn new_user(parts: &AdminParts, owner: &OwnerId, name: &str, path: Option<String>) -> User {
    User {
        account: owner.clone(),
        name: name.to_owned(),
        path: path.unwrap_or_else(root_path),
        id: authn::unique_id("AIDA", &*parts.random),
        created_ms: parts.clock.now_ms(),
        attached: Attached::default(),
        boundary: None,
        tags: BTreeMap::new(),
        not_before_ms: 0,
    }
}

fn root_path() -> String {
    "/".to_owned()
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not the JSON of {what}: {error}")))
}

/// The text of a policy that is one: given as JSON, or as a text of JSON.
fn policy_text(document: &Value, purpose: Purpose<'_>) -> Result<String, Problem> {
    let text = document.as_str().map_or_else(|| document.to_string(), str::to_owned);
    let malformed = |why: String| Problem::new(StatusCode::BAD_REQUEST, "MalformedPolicyDocument", why);
    match Policy::parse(&text, purpose) {
        Ok(policy) if policy.has_role_without_account() => Err(malformed("a role's ARN names its account".to_owned())),
        Ok(_) => Ok(text),
        Err(error) => Err(malformed(error.to_string())),
    }
}

struct InAccount<'a> {
    parts: &'a AdminParts,
    state: &'a State,
    account: &'a Account,
}

impl InAccount<'_> {
    fn owner(&self) -> &OwnerId {
        &self.account.owner
    }

    async fn propose(&self, change: IamChange) -> Result<(), Problem> {
        self.parts.control.propose(Command::Iam { account: self.owner().clone(), change }).await?;
        Ok(())
    }

    async fn change(&self, change: IamChange) -> Result<Answer, Problem> {
        self.propose(change).await?;
        Ok(Answer::done())
    }

    /// Behind every session that began before, in this millisecond too.
    fn revoked_until_ms(&self) -> u64 {
        self.parts.clock.now_ms() + 1
    }

    async fn revoke(&self, of: Option<Holder>) -> Result<Answer, Problem> {
        self.change(IamChange::SetNotBefore { of, not_before_ms: self.revoked_until_ms() }).await
    }

    async fn attach(&self, of: Holder, policy: &str, attached: bool) -> Result<Answer, Problem> {
        let arn = policy_arn(&self.state.iam, self.owner(), policy)?;
        self.change(IamChange::SetAttached { of, arn, attached }).await
    }

    /// Makes somebody who has these policies from the first moment on.
    async fn create_with(&self, made: IamChange, of: &Holder, arns: &[String]) -> Result<(), Problem> {
        let attach = |arn: &String| IamChange::SetAttached { of: of.clone(), arn: arn.clone(), attached: true };
        let changes = std::iter::once(made).chain(arns.iter().map(attach));
        let commands = changes.map(|change| Command::Iam { account: self.owner().clone(), change }).collect();
        self.parts.control.propose(Command::All(commands)).await?;
        Ok(())
    }

    fn arns(&self, policies: &[String]) -> Result<Vec<String>, Problem> {
        let limit = limits::ATTACHED_PER_ENTITY_MAX;
        if policies.len() > limit {
            return Err(Error::LimitExceeded { what: "PoliciesPerEntity", limit }.into());
        }
        policies.iter().map(|policy| policy_arn(&self.state.iam, self.owner(), policy)).collect()
    }

    fn list_users(&self) -> Answer {
        let users: Vec<Value> = in_account(&self.state.iam.users, self.owner()).map(|user| self.user(user)).collect();
        Answer::json(StatusCode::OK, json!({ "users": users }))
    }

    async fn create_user(&self, body: &[u8]) -> Result<Answer, Problem> {
        let CreateHolder { name, path, policies } = parse(body, "a user")?;
        let arns = self.arns(&policies)?;
        let mut user = new_user(self.parts, self.owner(), &name, path);
        self.create_with(IamChange::CreateUser(user.clone()), &Holder::User(name), &arns).await?;
        user.attached.managed.extend(arns);
        Ok(Answer::json(StatusCode::CREATED, self.user(&user)))
    }

    fn user(&self, user: &User) -> Value {
        let groups: Vec<&str> =
            self.state.iam.groups_of(self.owner(), &user.name).map(|group| group.name.as_str()).collect();
        let keys = self.state.keys.values().filter(|key| key.owner == *self.owner());
        let keys = keys.filter(|key| key.user.as_deref() == Some(&user.name));
        let keys: Vec<&str> = keys.map(|key| key.id.0.as_str()).collect();
        json!({
            "name": user.name,
            "path": user.path,
            "id": user.id,
            "arn": user.arn(&self.account.number),
            "created_ms": user.created_ms,
            "groups": groups,
            "keys": keys,
            "inline_policies": user.attached.inline.keys().collect::<Vec<_>>(),
            "policies": user.attached.managed,
            "boundary": user.boundary,
            "tags": user.tags,
        })
    }

    fn list_groups(&self) -> Answer {
        let groups = in_account(&self.state.iam.groups, self.owner());
        let groups: Vec<Value> = groups.map(|group| self.group(group)).collect();
        Answer::json(StatusCode::OK, json!({ "groups": groups }))
    }

    async fn create_group(&self, body: &[u8]) -> Result<Answer, Problem> {
        let CreateHolder { name, path, policies } = parse(body, "a group")?;
        let arns = self.arns(&policies)?;
        let mut group = Group {
            account: self.owner().clone(),
            name: name.clone(),
            path: path.unwrap_or_else(root_path),
            id: authn::unique_id("AGPA", &*self.parts.random),
            created_ms: self.parts.clock.now_ms(),
            attached: Attached::default(),
            members: BTreeSet::new(),
        };
        self.create_with(IamChange::CreateGroup(group.clone()), &Holder::Group(name), &arns).await?;
        group.attached.managed.extend(arns);
        Ok(Answer::json(StatusCode::CREATED, self.group(&group)))
    }

    fn group(&self, group: &Group) -> Value {
        json!({
            "name": group.name,
            "path": group.path,
            "id": group.id,
            "arn": group.arn(&self.account.number),
            "created_ms": group.created_ms,
            "members": group.members,
            "inline_policies": group.attached.inline.keys().collect::<Vec<_>>(),
            "policies": group.attached.managed,
        })
    }

    fn list_policies(&self) -> Answer {
        let own = in_account(&self.state.iam.policies, self.owner()).map(|policy| self.policy(policy));
        let built_in = directory::built_in_names()
            .map(|name| json!({ "name": name, "path": "/", "arn": format!("{BUILT_IN}{name}"), "built_in": true }));
        Answer::json(StatusCode::OK, json!({ "policies": own.chain(built_in).collect::<Vec<Value>>() }))
    }

    async fn create_policy(&self, body: &[u8]) -> Result<Answer, Problem> {
        let asked: CreatePolicy = parse(body, "a policy")?;
        let document = policy_text(&asked.document, Purpose::Identity)?;
        let created_ms = self.parts.clock.now_ms();
        let policy = ManagedPolicy {
            account: self.owner().clone(),
            name: asked.name,
            path: asked.path.unwrap_or_else(root_path),
            id: authn::unique_id("ANPA", &*self.parts.random),
            description: asked.description.unwrap_or_default(),
            created_ms,
            updated_ms: created_ms,
            default_version: 1,
            versions: [(1, PolicyVersion { document, created_ms })].into(),
            last_version: 1,
            tags: BTreeMap::new(),
        };
        self.propose(IamChange::CreatePolicy(policy.clone())).await?;
        Ok(Answer::json(StatusCode::CREATED, self.policy(&policy)))
    }

    /// Its text too: as JSON where it is, and it is.
    fn get_policy(&self, name: &str) -> Result<Answer, Problem> {
        let arn = policy_arn(&self.state.iam, self.owner(), name)?;
        let text = directory::managed_text(&self.state.iam, self.owner(), &arn);
        let text = text.ok_or_else(|| no_such(format!("there is no policy {name}")))?;
        let own = self.state.iam.policy_of_arn(self.owner(), &arn);
        let mut described = own.map_or_else(
            || json!({ "name": arn.strip_prefix(BUILT_IN), "path": "/", "arn": arn, "built_in": true }),
            |policy| self.policy(policy),
        );
        described["document"] = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
        Ok(Answer::json(StatusCode::OK, described))
    }

    async fn update_policy(&self, name: &str, body: &[u8]) -> Result<Answer, Problem> {
        let asked: UpdatePolicy = parse(body, "a policy's new text")?;
        let document = policy_text(&asked.document, Purpose::Identity)?;
        let (policy, created_ms) = (name.to_owned(), self.parts.clock.now_ms());
        self.propose(IamChange::CreatePolicyVersion { policy, document, created_ms, set_default: true }).await?;
        let state = self.parts.control.read().await?;
        let policy = state.iam.policies.get(&(self.owner().clone(), name.to_owned()));
        let policy = policy.ok_or_else(|| no_such(format!("there is no policy {name}")))?;
        Ok(Answer::json(StatusCode::CREATED, self.policy(policy)))
    }

    fn policy(&self, policy: &ManagedPolicy) -> Value {
        let arn = policy.arn(&self.account.number);
        let (attached, boundaries) = self.state.iam.uses_of_policy(self.owner(), &arn);
        json!({
            "name": policy.name,
            "path": policy.path,
            "id": policy.id,
            "arn": arn,
            "description": policy.description,
            "built_in": false,
            "created_ms": policy.created_ms,
            "updated_ms": policy.updated_ms,
            "version": policy.default_version,
            "versions": policy.versions.keys().collect::<Vec<_>>(),
            "attached": attached,
            "boundary_of": boundaries,
        })
    }

    fn list_roles(&self) -> Answer {
        let roles: Vec<Value> = in_account(&self.state.iam.roles, self.owner()).map(|role| self.role(role)).collect();
        Answer::json(StatusCode::OK, json!({ "roles": roles }))
    }

    async fn create_role(&self, body: &[u8]) -> Result<Answer, Problem> {
        let asked: CreateRole = parse(body, "a role")?;
        let arns = self.arns(&asked.policies)?;
        let mut role = Role {
            account: self.owner().clone(),
            name: asked.name,
            path: asked.path.unwrap_or_else(root_path),
            id: authn::unique_id("AROA", &*self.parts.random),
            description: asked.description.unwrap_or_default(),
            created_ms: self.parts.clock.now_ms(),
            trust: policy_text(&asked.trust, Purpose::Trust)?,
            attached: Attached::default(),
            boundary: None,
            tags: BTreeMap::new(),
            session_seconds_max: asked.session_seconds_max.unwrap_or(limits::ROLE_SESSION_SECONDS_MIN),
            not_before_ms: 0,
        };
        self.create_with(IamChange::CreateRole(role.clone()), &Holder::Role(role.name.clone()), &arns).await?;
        role.attached.managed.extend(arns);
        Ok(Answer::json(StatusCode::CREATED, self.role(&role)))
    }

    fn role(&self, role: &Role) -> Value {
        json!({
            "name": role.name,
            "path": role.path,
            "id": role.id,
            "arn": role.arn(&self.account.number),
            "description": role.description,
            "created_ms": role.created_ms,
            "trust": serde_json::from_str(&role.trust).unwrap_or_else(|_| Value::String(role.trust.clone())),
            "session_seconds_max": role.session_seconds_max,
            "inline_policies": role.attached.inline.keys().collect::<Vec<_>>(),
            "policies": role.attached.managed,
            "boundary": role.boundary,
            "tags": role.tags,
        })
    }
}
