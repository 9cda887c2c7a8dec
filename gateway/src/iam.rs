//! IAM over its query API: one file for each kind of thing that actions are about.
//!
//! Every action asks `authn` whether the caller may do `iam:ACTION` to the entity's ARN. An account is managed by its own users
//! and its root only: no action reaches into another one. Whatever is created here has no more than an account's rights; an
//! administrator's key is made by the admin API alone.
//!
//! Source: AWS IAM API reference, version 2010-05-08.

mod access_keys;
mod account;
mod groups;
mod holders;
mod policies;
mod providers;
mod roles;
mod simulation;
mod tags;
mod users;

use crate::audit;
use crate::peer::Peer;
use crate::query_api::{Call, Form, QueryService, Refusal, Reply, Xml};
use authn::policy::Context;
use authn::simulation::keys_of_caller;
use authn::{By, Caller, Question, authorize};
use cluster::iam::{Account, Named};
use cluster::{Applied, Command, ControlPlane, IamChange, State, limits};
use common::{OwnerId, Random};
use holders::Kind;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::sync::Arc;
use tags::tags;

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
        "ListUsers" | "ListGroups" | "ListRoles" => &["PathPrefix", "Marker", "MaxItems"],
        "CreateAccessKey" => &["UserName"],
        "ListAccessKeys" | "ListGroupsForUser" | "ListUserPolicies" | "ListUserTags" => {
            &["UserName", "Marker", "MaxItems"]
        }
        "UpdateAccessKey" => &["UserName", "AccessKeyId", "Status"],
        "DeleteAccessKey" => &["UserName", "AccessKeyId"],
        "GetAccessKeyLastUsed" => &["AccessKeyId"],
        "CreateGroup" => &["GroupName", "Path"],
        "GetGroup" | "ListGroupPolicies" => &["GroupName", "Marker", "MaxItems"],
        "UpdateGroup" => &["GroupName", "NewGroupName", "NewPath"],
        "DeleteGroup" => &["GroupName"],
        "AddUserToGroup" | "RemoveUserFromGroup" => &["GroupName", "UserName"],
        "PutUserPolicy" => &["UserName", "PolicyName", "PolicyDocument"],
        "PutGroupPolicy" => &["GroupName", "PolicyName", "PolicyDocument"],
        "PutRolePolicy" => &["RoleName", "PolicyName", "PolicyDocument"],
        "GetUserPolicy" | "DeleteUserPolicy" => &["UserName", "PolicyName"],
        "GetGroupPolicy" | "DeleteGroupPolicy" => &["GroupName", "PolicyName"],
        "GetRolePolicy" | "DeleteRolePolicy" => &["RoleName", "PolicyName"],
        "ListRolePolicies" | "ListRoleTags" => &["RoleName", "Marker", "MaxItems"],
        "AttachUserPolicy" | "DetachUserPolicy" => &["UserName", "PolicyArn"],
        "AttachGroupPolicy" | "DetachGroupPolicy" => &["GroupName", "PolicyArn"],
        "AttachRolePolicy" | "DetachRolePolicy" => &["RoleName", "PolicyArn"],
        "ListAttachedUserPolicies" => &["UserName", "PathPrefix", "Marker", "MaxItems"],
        "ListAttachedGroupPolicies" => &["GroupName", "PathPrefix", "Marker", "MaxItems"],
        "ListAttachedRolePolicies" => &["RoleName", "PathPrefix", "Marker", "MaxItems"],
        "PutUserPermissionsBoundary" => &["UserName", "PermissionsBoundary"],
        "PutRolePermissionsBoundary" => &["RoleName", "PermissionsBoundary"],
        "DeleteUserPermissionsBoundary" => &["UserName"],
        "TagUser" => &["UserName", "Tags"],
        "TagRole" => &["RoleName", "Tags"],
        "UntagUser" => &["UserName", "TagKeys"],
        "UntagRole" => &["RoleName", "TagKeys"],
        "CreatePolicy" => &["PolicyName", "Path", "PolicyDocument", "Description", "Tags"],
        "GetPolicy" | "DeletePolicy" => &["PolicyArn"],
        "TagPolicy" => &["PolicyArn", "Tags"],
        "UntagPolicy" => &["PolicyArn", "TagKeys"],
        "TagOpenIDConnectProvider" => &["OpenIDConnectProviderArn", "Tags"],
        "UntagOpenIDConnectProvider" => &["OpenIDConnectProviderArn", "TagKeys"],
        "ListOpenIDConnectProviderTags" => &["OpenIDConnectProviderArn", "Marker", "MaxItems"],
        "ListPolicies" => &["Scope", "OnlyAttached", "PathPrefix", "PolicyUsageFilter", "Marker", "MaxItems"],
        "CreatePolicyVersion" => &["PolicyArn", "PolicyDocument", "SetAsDefault"],
        "GetPolicyVersion" | "DeletePolicyVersion" | "SetDefaultPolicyVersion" => &["PolicyArn", "VersionId"],
        "ListPolicyVersions" | "ListPolicyTags" => &["PolicyArn", "Marker", "MaxItems"],
        "ListEntitiesForPolicy" => {
            &["PolicyArn", "EntityFilter", "PathPrefix", "PolicyUsageFilter", "Marker", "MaxItems"]
        }
        "CreateRole" => &[
            "RoleName",
            "AssumeRolePolicyDocument",
            "Path",
            "Description",
            "MaxSessionDuration",
            "PermissionsBoundary",
            "Tags",
        ],
        "GetRole" | "DeleteRole" | "DeleteRolePermissionsBoundary" => &["RoleName"],
        "UpdateRole" => &["RoleName", "Description", "MaxSessionDuration"],
        "UpdateAssumeRolePolicy" => &["RoleName", "PolicyDocument"],
        "CreateOpenIDConnectProvider" => &["Url", "ClientIDList", "ThumbprintList", "Tags"],
        "GetOpenIDConnectProvider" | "DeleteOpenIDConnectProvider" => &["OpenIDConnectProviderArn"],
        "AddClientIDToOpenIDConnectProvider" | "RemoveClientIDFromOpenIDConnectProvider" => {
            &["OpenIDConnectProviderArn", "ClientID"]
        }
        "UpdateOpenIDConnectProviderThumbprint" => &["OpenIDConnectProviderArn", "ThumbprintList"],
        "ListOpenIDConnectProviders" | "GetAccountSummary" => &[],
        "ListAccountAliases" => &["Marker", "MaxItems"],
        "SimulateCustomPolicy" => &[
            "PolicyInputList",
            "PermissionsBoundaryPolicyInputList",
            "ActionNames",
            "ResourceArns",
            "ResourcePolicy",
            "ResourceOwner",
            "CallerArn",
            "ContextEntries",
            "ResourceHandlingOption",
            "MaxItems",
            "Marker",
        ],
        "SimulatePrincipalPolicy" => &[
            "PolicySourceArn",
            "PolicyInputList",
            "PermissionsBoundaryPolicyInputList",
            "ActionNames",
            "ResourceArns",
            "ResourcePolicy",
            "ResourceOwner",
            "CallerArn",
            "ContextEntries",
            "ResourceHandlingOption",
            "MaxItems",
            "Marker",
        ],
        "GetContextKeysForCustomPolicy" => &["PolicyInputList"],
        "GetContextKeysForPrincipalPolicy" => &["PolicySourceArn", "PolicyInputList"],
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
            "PutUserPermissionsBoundary" => self.put_boundary(Kind::User).await,
            "DeleteUserPermissionsBoundary" => self.delete_boundary(Kind::User).await,
            "TagUser" => self.tag(Kind::User).await,
            "UntagUser" => self.untag(Kind::User).await,
            "ListUserTags" => self.list_tags(Kind::User),

            "CreateAccessKey" => self.create_access_key().await,
            "ListAccessKeys" => self.list_access_keys(),
            "UpdateAccessKey" => self.update_access_key().await,
            "DeleteAccessKey" => self.delete_access_key().await,
            "GetAccessKeyLastUsed" => self.get_access_key_last_used(),

            "CreateGroup" => self.create_group().await,
            "GetGroup" => self.get_group(),
            "UpdateGroup" => self.update_group().await,
            "DeleteGroup" => self.delete_group().await,
            "ListGroups" => self.list_groups(),
            "ListGroupsForUser" => self.list_groups_for_user(),
            "AddUserToGroup" => self.set_member(true).await,
            "RemoveUserFromGroup" => self.set_member(false).await,

            "PutUserPolicy" => self.put_inline_policy(Kind::User).await,
            "PutGroupPolicy" => self.put_inline_policy(Kind::Group).await,
            "PutRolePolicy" => self.put_inline_policy(Kind::Role).await,
            "GetUserPolicy" => self.get_inline_policy(Kind::User),
            "GetGroupPolicy" => self.get_inline_policy(Kind::Group),
            "GetRolePolicy" => self.get_inline_policy(Kind::Role),
            "DeleteUserPolicy" => self.delete_inline_policy(Kind::User).await,
            "DeleteGroupPolicy" => self.delete_inline_policy(Kind::Group).await,
            "DeleteRolePolicy" => self.delete_inline_policy(Kind::Role).await,
            "ListUserPolicies" => self.list_inline_policies(Kind::User),
            "ListGroupPolicies" => self.list_inline_policies(Kind::Group),
            "ListRolePolicies" => self.list_inline_policies(Kind::Role),
            "AttachUserPolicy" => self.set_attached(Kind::User, true).await,
            "AttachGroupPolicy" => self.set_attached(Kind::Group, true).await,
            "AttachRolePolicy" => self.set_attached(Kind::Role, true).await,
            "DetachUserPolicy" => self.set_attached(Kind::User, false).await,
            "DetachGroupPolicy" => self.set_attached(Kind::Group, false).await,
            "DetachRolePolicy" => self.set_attached(Kind::Role, false).await,
            "ListAttachedUserPolicies" => self.list_attached_policies(Kind::User),
            "ListAttachedGroupPolicies" => self.list_attached_policies(Kind::Group),
            "ListAttachedRolePolicies" => self.list_attached_policies(Kind::Role),

            "CreatePolicy" => self.create_policy().await,
            "GetPolicy" => self.get_policy(),
            "DeletePolicy" => self.delete_policy().await,
            "ListPolicies" => self.list_policies(),
            "CreatePolicyVersion" => self.create_policy_version().await,
            "GetPolicyVersion" => self.get_policy_version(),
            "DeletePolicyVersion" => self.delete_policy_version().await,
            "ListPolicyVersions" => self.list_policy_versions(),
            "SetDefaultPolicyVersion" => self.set_default_policy_version().await,
            "ListEntitiesForPolicy" => self.list_entities_for_policy(),
            "TagPolicy" => self.tag_policy().await,
            "UntagPolicy" => self.untag_policy().await,
            "ListPolicyTags" => self.list_policy_tags(),

            "CreateRole" => self.create_role().await,
            "GetRole" => self.get_role(),
            "UpdateRole" => self.update_role().await,
            "UpdateAssumeRolePolicy" => self.update_assume_role_policy().await,
            "DeleteRole" => self.delete_role().await,
            "ListRoles" => self.list_roles(),
            "PutRolePermissionsBoundary" => self.put_boundary(Kind::Role).await,
            "DeleteRolePermissionsBoundary" => self.delete_boundary(Kind::Role).await,
            "TagRole" => self.tag(Kind::Role).await,
            "UntagRole" => self.untag(Kind::Role).await,
            "ListRoleTags" => self.list_tags(Kind::Role),

            "CreateOpenIDConnectProvider" => self.create_provider().await,
            "GetOpenIDConnectProvider" => self.get_provider(),
            "DeleteOpenIDConnectProvider" => self.delete_provider().await,
            "ListOpenIDConnectProviders" => self.list_providers(),
            "AddClientIDToOpenIDConnectProvider" => self.set_client_id(true).await,
            "RemoveClientIDFromOpenIDConnectProvider" => self.set_client_id(false).await,
            "UpdateOpenIDConnectProviderThumbprint" => self.update_thumbprints().await,
            "TagOpenIDConnectProvider" => self.tag_provider().await,
            "UntagOpenIDConnectProvider" => self.untag_provider().await,
            "ListOpenIDConnectProviderTags" => self.list_provider_tags(),

            "GetAccountSummary" => self.get_account_summary(),
            "ListAccountAliases" => self.list_account_aliases(),

            "SimulateCustomPolicy" => self.simulate_custom_policy(),
            "SimulatePrincipalPolicy" => self.simulate_principal_policy(),
            "GetContextKeysForCustomPolicy" => self.get_context_keys_for_custom_policy(),
            "GetContextKeysForPrincipalPolicy" => self.get_context_keys_for_principal_policy(),
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
        self.authorize_tagged(arn, keys, None)
    }

    /// The same on what has tags.
    fn authorize_tagged(
        &self,
        arn: &str,
        keys: &[(&str, Option<&str>)],
        tags: Option<&BTreeMap<String, String>>,
    ) -> Result<(), Refusal> {
        let action = format!("iam:{}", self.call.action);
        let mut context = context(self.caller, self.call);
        self.request_tags(&mut context)?;
        resource_tags(&mut context, tags.unwrap_or(&BTreeMap::new()));
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
        audit::decided(&self.call.head.extensions, &action, arn, &verdict);
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

    /// The condition keys of the tags that a request sets or takes away.
    fn request_tags(&self, context: &mut Context) -> Result<(), Refusal> {
        let set = self.form.tags("Tags")?;
        let mut names: Vec<String> = self.form.list("TagKeys")?.into_iter().map(str::to_owned).collect();
        names.extend(set.keys().cloned());
        if !names.is_empty() {
            context.trust("aws:TagKeys", names);
        }
        for (key, value) in set {
            context.trust(format!("aws:RequestTag/{key}"), vec![value]);
        }
        Ok(())
    }

    /// What has this name, whatever its case: as IAM has it, where no two names differ by case alone. Whoever finds something so
    /// goes on with its own name and ARN.
    fn named<'m, T>(&self, map: &'m BTreeMap<Named, Arc<T>>, name: &str) -> Option<&'m Arc<T>> {
        let exact = map.get(&(self.owner().clone(), name.to_owned()));
        exact.or_else(|| {
            let rows = map.range((self.owner().clone(), String::new())..);
            let mut own = rows.take_while(|((owner, _), _)| owner == self.owner());
            own.find(|((_, taken), _)| taken.eq_ignore_ascii_case(name)).map(|(_, record)| record)
        })
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

    /// One page of what is listed by name, from the marker on, and the marker of the next. Names are in their order whatever
    /// their case, as IAM lists them.
    fn page<T>(
        &self,
        all: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), Refusal> {
        let most = self.form.number("MaxItems", 1, PAGE_ENTRIES_MAX)?.unwrap_or(PAGE_ENTRIES) as usize;
        let place = |name: &str| (name.to_ascii_lowercase(), name.to_owned());
        let after = self.form.optional("Marker").map(place);
        let mut page: Vec<T> =
            all.filter(|entry| after.as_ref().is_none_or(|after| place(name(entry)) > *after)).collect();
        page.sort_by_cached_key(|entry| place(name(entry)));
        let is_cut = page.len() > most;
        page.truncate(most);
        let next = page.last().filter(|_| is_cut).map(|last| name(last).to_owned());
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

/// A policy's text as IAM gives it back: percent-encoded.
fn encoded(text: &str) -> String {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, PLAIN).to_string()
}

fn boundary(xml: &mut Xml, arn: Option<&str>) {
    if let Some(arn) = arn {
        xml.element("PermissionsBoundary", |boundary| {
            boundary.text("PermissionsBoundaryType", "Policy");
            boundary.text("PermissionsBoundaryArn", arn);
        });
    }
}

/// The condition keys of the tags that a user, a role, a policy or a provider has.
pub fn resource_tags(context: &mut Context, tags: &BTreeMap<String, String>) {
    for (key, value) in tags {
        for prefix in ["aws", "iam"] {
            context.trust(format!("{prefix}:ResourceTag/{key}"), vec![value.clone()]);
        }
    }
}

/// The condition keys of a request that are of its caller, and of how it came.
pub fn context(caller: &Caller, call: &Call<'_>) -> Context {
    use crate::s3::dates::{iso_date, timestamp};
    let mut context = Context::default();
    keys_of_caller(&mut context, caller);
    let mut trust = |key: &str, value: String| context.trust(key, vec![value]);
    let peer = call.head.extensions.get::<Peer>();
    trust("aws:SecureTransport", peer.is_some_and(|peer| peer.is_secure).to_string());
    trust("aws:EpochTime", (call.now_ms / 1000).to_string());
    trust("aws:CurrentTime", iso_date(&timestamp(call.now_ms)));
    if let Some(peer) = peer {
        trust("aws:SourceIp", peer.address.to_canonical().to_string());
    }
    if let authn::identity::Kind::Session(session) = &caller.kind {
        trust("aws:TokenIssueTime", iso_date(&timestamp(session.issued_ms)));
    }
    for (key, header) in [("aws:UserAgent", http::header::USER_AGENT), ("aws:Referer", http::header::REFERER)] {
        if let Some(value) = call.head.headers.get(header) {
            context.request(key, vec![String::from_utf8_lossy(value.as_bytes()).into_owned()]);
        }
    }
    context
}
