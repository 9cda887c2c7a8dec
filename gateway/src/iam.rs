//! IAM over its query API: one file for each kind of thing that actions are about.
//!
//! Every action asks `authn` whether the caller may do `iam:ACTION` to the entity's ARN. An account is managed by its own users
//! and its root only: no action reaches into another one. Whatever is created here has no more than an account's rights; an
//! administrator's key is made by the admin API alone.
//!
//! Source: AWS IAM API reference, version 2010-05-08.

mod users;

use crate::query_api::{Call, Form, QueryService, Refusal, Reply, Xml};
use authn::policy::Context;
use authn::{By, Caller, Question, authorize};
use cluster::iam::Account;
use cluster::{Applied, Command, ControlPlane, IamChange, State, limits};
use common::{OwnerId, Random};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const VERSION: &str = "2010-05-08";

/// Entries of a page, where nothing else is asked for, and at most.
const PAGE_ENTRIES: u32 = 100;
const PAGE_ENTRIES_MAX: u32 = 1000;

pub struct Iam {
    control: Arc<dyn ControlPlane>,
    random: Arc<dyn Random>,
}

impl Iam {
    pub fn new(control: Arc<dyn ControlPlane>, random: Arc<dyn Random>) -> Self {
        Self { control, random }
    }
}

/// What an action may have as parameters; `None` for what is no action.
fn parameters(action: &str) -> Option<&'static [&'static str]> {
    Some(match action {
        "CreateUser" => &["UserName", "Path", "PermissionsBoundary", "Tags"],
        "GetUser" | "DeleteUser" => &["UserName"],
        "UpdateUser" => &["UserName", "NewUserName", "NewPath"],
        "ListUsers" => &["PathPrefix", "Marker", "MaxItems"],
        _ => return None,
    })
}

#[async_trait::async_trait]
impl QueryService for Iam {
    fn service(&self) -> &'static str {
        "iam"
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn namespace(&self) -> &'static str {
        "https://iam.amazonaws.com/doc/2010-05-08/"
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Reply, Refusal> {
        let known = parameters(call.action).ok_or_else(|| Refusal::invalid_action(call.action, VERSION))?;
        if let Some(unknown) = call.form.unknown(known) {
            return Err(Refusal::validation(format!("{} has no parameter {unknown}", call.action)));
        }
        let caller = call.identity.caller().ok_or_else(Refusal::missing_token)?;
        let state = self.control.read().await?;
        let account = state.iam.accounts.get(&caller.owner).cloned();
        let account = account.ok_or_else(|| Refusal::access_denied("The account is not there any more."))?;
        Action { iam: self, call, form: call.form, caller, state, account }.perform().await
    }
}

/// One action on the caller's own account.
struct Action<'a> {
    iam: &'a Iam,
    call: &'a Call<'a>,
    form: &'a Form,
    caller: &'a Caller,
    state: Arc<State>,
    account: Arc<Account>,
}

impl Action<'_> {
    async fn perform(&self) -> Result<Reply, Refusal> {
        match self.call.action {
            "CreateUser" => self.create_user().await,
            "GetUser" => self.get_user(),
            "UpdateUser" => self.update_user().await,
            "DeleteUser" => self.delete_user().await,
            "ListUsers" => self.list_users(),
            other => Err(Refusal::invalid_action(other, VERSION)),
        }
    }

    fn owner(&self) -> &OwnerId {
        &self.account.owner
    }

    fn number(&self) -> &str {
        &self.account.number
    }

    /// Whether the caller may do this action to what has this ARN.
    fn authorize(&self, arn: &str) -> Result<(), Refusal> {
        self.authorize_with(arn, &[])
    }

    /// The same with condition keys of the action's own.
    fn authorize_with(&self, arn: &str, keys: &[(&str, Option<&str>)]) -> Result<(), Refusal> {
        let action = format!("iam:{}", self.call.action);
        let mut context = context(self.caller, self.call);
        for (key, value) in keys {
            if let Some(value) = value {
                context.trust(*key, vec![(*value).to_owned()]);
            }
        }
        let verdict = authorize(&Question {
            identity: &self.call.identity,
            action: &action,
            resource: arn,
            context: &context,
            owner: Some(self.owner()),
            bucket_policy: None,
            restrict_public: false,
            acl_grants: false,
        });
        if verdict.allowed {
            return Ok(());
        }
        let why = match verdict.by {
            By::Statement { .. } => "with an explicit deny in a policy".to_owned(),
            By::Beyond(policy) => format!("because {policy} does not allow the {action} action"),
            _ => format!("because no identity-based policy allows the {action} action"),
        };
        let who = self.caller.arn();
        Err(Refusal::access_denied(format!(
            "User: {who} is not authorized to perform: {action} on resource: {arn} {why}"
        )))
    }

    async fn change(&self, change: IamChange) -> Result<Applied, Refusal> {
        let command = Command::Iam { account: self.owner().clone(), change };
        Ok(self.iam.control.propose(command).await?)
    }

    fn new_id(&self, prefix: &str) -> String {
        authn::unique_id(prefix, &*self.iam.random)
    }

    /// A name as IAM takes it.
    fn name(&self, parameter: &str, limit: usize) -> Result<&str, Refusal> {
        let name = self.form.required(parameter)?;
        check_name(parameter, name, limit)?;
        Ok(name)
    }

    fn user_name(&self) -> Result<&str, Refusal> {
        // Also what was never given, as it may be asked for.
        self.name("UserName", limits::GROUP_NAME_CHARACTERS_MAX)
    }

    fn path(&self, parameter: &str) -> Result<Option<&str>, Refusal> {
        let Some(path) = self.form.optional(parameter) else { return Ok(None) };
        let is_path = path.starts_with('/') && path.ends_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if is_path && path.len() <= limits::PATH_CHARACTERS_MAX {
            return Ok(Some(path));
        }
        Err(Refusal::validation(format!(
            "Value at '{}' failed to satisfy constraint: The specified value for path is invalid. It must begin and end \
             with / and contain only alphanumeric characters and/or / characters.",
            crate::query_api::camel(parameter)
        )))
    }

    fn path_prefix(&self) -> Result<&str, Refusal> {
        let prefix = self.form.optional("PathPrefix").unwrap_or("/");
        let is_path = prefix.starts_with('/') && prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if is_path && prefix.len() <= limits::PATH_CHARACTERS_MAX {
            return Ok(prefix);
        }
        Err(Refusal::validation(
            "Value at 'pathPrefix' failed to satisfy constraint: Member must satisfy regular expression pattern: \
             \\u002F[\\u0021-\\u007F]*",
        ))
    }

    /// One page of what is listed by name, from the marker on, and the marker of the next.
    fn page<T>(
        &self,
        all: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), Refusal> {
        let most = self.form.number("MaxItems", 1, PAGE_ENTRIES_MAX)?.unwrap_or(PAGE_ENTRIES) as usize;
        let after = self.form.optional("Marker");
        let mut rest = all.filter(|entry| after.is_none_or(|marker| name(entry) > marker)).peekable();
        let page: Vec<T> = rest.by_ref().take(most).collect();
        let next = rest.peek().and_then(|_| page.last()).map(|last| name(last).to_owned());
        Ok((page, next))
    }
}

/// The end of a page.
fn paged(xml: &mut Xml, marker: Option<&str>) {
    xml.flag("IsTruncated", marker.is_some());
    xml.optional("Marker", marker);
}

fn check_name(parameter: &str, name: &str, limit: usize) -> Result<(), Refusal> {
    let parameter = crate::query_api::camel(parameter);
    if !(1..=limit).contains(&name.chars().count()) {
        return Err(Refusal::validation(format!(
            "Value at '{parameter}' failed to satisfy constraint: Member must have length between 1 and {limit}"
        )));
    }
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)) {
        return Ok(());
    }
    Err(Refusal::validation(format!(
        "Value at '{parameter}' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+"
    )))
}

fn tags(xml: &mut Xml, tags: &BTreeMap<String, String>) {
    xml.members("Tags", tags, |tag, (key, value)| {
        tag.text("Key", key);
        tag.text("Value", value);
    });
}

fn boundary(xml: &mut Xml, arn: Option<&str>) {
    if let Some(arn) = arn {
        xml.element("PermissionsBoundary", |boundary| {
            boundary.text("PermissionsBoundaryType", "Policy");
            boundary.text("PermissionsBoundaryArn", arn);
        });
    }
}

/// The condition keys of a request to IAM that are of its caller.
fn context(caller: &Caller, call: &Call<'_>) -> Context {
    use authn::identity::{Kind, Session, SessionOf};
    let mut context = Context::default();
    let mut trust = |key: &str, value: String| context.trust(key, vec![value]);
    trust("aws:PrincipalArn", caller.arn());
    trust("aws:PrincipalAccount", caller.account.clone());
    trust("aws:userid", caller.user_id());
    trust("aws:SecureTransport", "false".to_owned());
    trust("aws:EpochTime", (call.now_ms / 1000).to_string());
    trust("aws:CurrentTime", crate::s3::dates::iso_date(&crate::s3::dates::timestamp(call.now_ms)));
    if let Some(peer) = call.head.extensions.get::<crate::guard::Peer>() {
        trust("aws:SourceIp", peer.0.to_string());
    }
    let (kind, user) = match &caller.kind {
        Kind::Root | Kind::Session(Session { of: SessionOf::Root, .. }) => ("Account", None),
        Kind::User(user) | Kind::Session(Session { of: SessionOf::User(user), .. }) => ("User", Some(user)),
        Kind::Session(Session { of: SessionOf::Role { .. }, .. }) => ("AssumedRole", None),
    };
    trust("aws:PrincipalType", kind.to_owned());
    if let Some(user) = user {
        trust("aws:username", user.name.clone());
        for (key, value) in &user.tags {
            trust(&format!("aws:PrincipalTag/{key}"), value.clone());
        }
    }
    if let Kind::Session(session) = &caller.kind {
        for (key, value) in &session.tags {
            trust(&format!("aws:PrincipalTag/{key}"), value.clone());
        }
    }
    context
}
