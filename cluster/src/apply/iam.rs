//! Users, groups, roles, policies and providers of an account. Whether a text is a policy is not known here; its length is.

use super::keys::{create_key, keys_of, must_have_room};
use super::{following, owner_must_exist};
use crate::command::{Applied, Holder, IamChange, Tagged};
use crate::error::{Error, Result};
use crate::iam::{
    Attached, BUILT_IN, Group, Iam, ManagedPolicy, Named, OidcProvider, PolicyVersion, Role, User, in_account,
};
use crate::limits;
use crate::state::{AccessKey, State};
use common::OwnerId;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

const DETACH_FIRST: Error = Error::DeleteConflict("Cannot delete entity, must detach all policies first.");
const POLICIES_FIRST: Error = Error::DeleteConflict("Cannot delete entity, must delete policies first.");
const KEYS_FIRST: Error = Error::DeleteConflict("Cannot delete entity, must delete access keys first.");
const GROUPS_FIRST: Error = Error::DeleteConflict("Cannot delete entity, must remove users from group first.");
const POLICY_IN_USE: Error = Error::DeleteConflict("Cannot delete a policy attached to entities.");
const VERSIONS_FIRST: Error = Error::DeleteConflict(
    "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default \
     version is deleted with the policy.",
);
const DEFAULT_STAYS: Error = Error::DeleteConflict("Cannot delete the default version of a policy.");

pub fn change(state: &State, account: &OwnerId, change: &IamChange) -> Result<(State, Applied)> {
    owner_must_exist(state, account)?;
    if let IamChange::CreateKey(key) = change {
        if key.owner != *account || key.admin {
            return Err(Error::Invalid("an account makes keys of its own, and none of an administrator".to_owned()));
        }
        must_have_room(state, account, key.user.as_deref())?;
        return create_key(state, key);
    }
    let mut next = following(state);
    let applied = Change { state, account, next: &mut next }.decide(change)?;
    if next.iam == state.iam && next.keys == state.keys {
        return Ok((state.clone(), applied));
    }
    Ok((next, applied))
}

struct Change<'c> {
    state: &'c State,
    account: &'c OwnerId,
    next: &'c mut State,
}

impl<'c> Change<'c> {
    fn decide(&mut self, change: &IamChange) -> Result<Applied> {
        match change {
            IamChange::CreateUser(user) => self.create_user(user)?,
            IamChange::EnsureUser(user) => {
                if self.iam().user(self.account, &user.name).is_none() {
                    self.create_user(user)?;
                }
            }
            // Decided before, as it is of keys.
            IamChange::CreateKey(_) => {}
            IamChange::UpdateUser { name, new_name, new_path } => {
                self.update_user(name, new_name.as_deref(), new_path.as_deref())?;
            }
            IamChange::DeleteUser(name) => self.delete_user(name)?,
            IamChange::CreateGroup(group) => self.create_group(group)?,
            IamChange::UpdateGroup { name, new_name, new_path } => {
                self.update_group(name, new_name.as_deref(), new_path.as_deref())?;
            }
            IamChange::DeleteGroup(name) => self.delete_group(name)?,
            IamChange::SetMember { group, user, member } => self.set_member(group, user, *member)?,
            IamChange::CreateRole(role) => self.create_role(role)?,
            IamChange::UpdateRole { name, description, session_seconds_max } => {
                self.update_role(name, description.as_deref(), *session_seconds_max)?;
            }
            IamChange::SetTrust { role, trust } => {
                trust_must_fit(trust)?;
                self.role(role)?.trust.clone_from(trust);
            }
            IamChange::DeleteRole(name) => self.delete_role(name)?,
            IamChange::CreatePolicy(policy) => self.create_policy(policy)?,
            IamChange::DeletePolicy(name) => self.delete_policy(name)?,
            IamChange::CreatePolicyVersion { policy, document, created_ms, set_default } => {
                return self.create_policy_version(policy, document, *created_ms, *set_default);
            }
            IamChange::DeletePolicyVersion { policy, version } => self.delete_policy_version(policy, *version)?,
            IamChange::SetDefaultPolicyVersion { policy, version } => {
                let policy = self.policy(policy)?;
                version_must_exist(policy, *version)?;
                policy.default_version = *version;
            }
            IamChange::SetInlinePolicy { of, name, document } => {
                self.set_inline_policy(of, name, document.as_deref())?;
            }
            IamChange::SetAttached { of, arn, attached } => self.set_attached(of, arn, *attached)?,
            IamChange::SetBoundary { of, arn } => {
                if let Some(arn) = arn {
                    self.managed_policy_must_exist(arn)?;
                }
                self.boundary(of)?.clone_from(arn);
            }
            IamChange::ChangeTags { of, set, remove } => {
                tags_must_fit(set)?;
                let tags = self.tags(of)?;
                let gone: BTreeSet<String> = remove.iter().chain(set.keys()).map(|key| key.to_lowercase()).collect();
                tags.retain(|key, _| !gone.contains(&key.to_lowercase()));
                tags.extend(set.clone());
                tags_must_be_few(tags)?;
            }
            // What was revoked stays so when the clock goes back.
            IamChange::SetNotBefore { of, not_before_ms } => {
                let kept = self.not_before(of.as_ref())?;
                *kept = (*kept).max(*not_before_ms);
            }
            IamChange::SetTenant(tenant) => {
                if let Some(tenant) = tenant {
                    super::text_must_fit("a tenant's name", tenant)?;
                }
                self.own_account()?.tenant.clone_from(tenant);
            }
            IamChange::DropNumber => {
                // Whoever is found by a number is found by one alone.
                if let Some(other) = self.iam().account_of_number("").filter(|other| other.owner != *self.account) {
                    return Err(Error::Invalid(format!("{} is the account without a number", other.owner.0)));
                }
                self.own_account()?.number.clear();
            }
            IamChange::CreateProvider(provider) => self.create_provider(provider)?,
            IamChange::DeleteProvider(url) => {
                self.provider(url)?;
                Arc::make_mut(&mut self.next.iam.providers).remove(&named(self.account, url));
            }
            IamChange::SetClientId { provider, client_id, known } => {
                let provider = self.provider(provider)?;
                if *known {
                    provider.client_ids.insert(client_id.clone());
                } else {
                    provider.client_ids.remove(client_id);
                }
                provider_must_fit(provider)?;
            }
            IamChange::SetThumbprints { provider, thumbprints } => {
                let provider = self.provider(provider)?;
                provider.thumbprints.clone_from(thumbprints);
                provider_must_fit(provider)?;
            }
            IamChange::SetProviderNotBefore { provider, not_before_ms } => {
                let kept = &mut self.provider(provider)?.not_before_ms;
                *kept = (*kept).max(*not_before_ms);
            }
        }
        Ok(Applied::Nothing)
    }

    fn iam(&self) -> &'c Iam {
        &self.state.iam
    }

    fn create_user(&mut self, user: &User) -> Result<()> {
        name_must_fit("a user", &user.name, limits::USER_NAME_CHARACTERS_MAX)?;
        path_must_fit(&user.path)?;
        tags_must_fit(&user.tags)?;
        if let Some(arn) = &user.boundary {
            self.managed_policy_must_exist(arn)?;
        }
        name_must_be_free(&self.iam().users, self.account, &user.name, || {
            format!("User with name {} already exists.", user.name)
        })?;
        quota("UsersPerAccount", in_account(&self.iam().users, self.account).count(), limits::USERS_PER_ACCOUNT_MAX)?;
        let user = User { account: self.account.clone(), attached: Attached::default(), ..user.clone() };
        Arc::make_mut(&mut self.next.iam.users).insert(named(self.account, &user.name), Arc::new(user));
        Ok(())
    }

    fn update_user(&mut self, name: &str, new_name: Option<&str>, new_path: Option<&str>) -> Result<()> {
        if let Some(path) = new_path {
            path_must_fit(path)?;
            path.clone_into(&mut self.user(name)?.path);
        }
        let Some(new_name) = new_name.filter(|new_name| *new_name != name) else {
            return self.user(name).map(drop);
        };
        name_must_fit("a user", new_name, limits::USER_NAME_CHARACTERS_MAX)?;
        self.user(name)?.name = new_name.to_owned();
        rename(&mut self.next.iam.users, self.account, (name, new_name), || {
            format!("User with name {new_name} already exists.")
        })?;
        let groups = self.iam().groups_of(self.account, name).map(|group| group.name.clone()).collect::<Vec<_>>();
        for group in groups {
            let members = &mut self.group(&group)?.members;
            members.remove(name);
            members.insert(new_name.to_owned());
        }
        let keys = keys_of(self.state, self.account, name).map(|key| AccessKey::clone(key)).collect::<Vec<_>>();
        for key in keys {
            let key = AccessKey { user: Some(new_name.to_owned()), ..key };
            Arc::make_mut(&mut self.next.keys).insert(key.id.clone(), Arc::new(key));
        }
        Ok(())
    }

    fn delete_user(&mut self, name: &str) -> Result<()> {
        let attached = self.user(name)?.attached.clone();
        if keys_of(self.state, self.account, name).next().is_some() {
            return Err(KEYS_FIRST);
        }
        if self.iam().groups_of(self.account, name).next().is_some() {
            return Err(GROUPS_FIRST);
        }
        has_no_policies(&attached)?;
        Arc::make_mut(&mut self.next.iam.users).remove(&named(self.account, name));
        Ok(())
    }

    fn create_group(&mut self, group: &Group) -> Result<()> {
        name_must_fit("a group", &group.name, limits::GROUP_NAME_CHARACTERS_MAX)?;
        path_must_fit(&group.path)?;
        let groups = &self.iam().groups;
        name_must_be_free(groups, self.account, &group.name, || {
            format!("Group with name {} already exists.", group.name)
        })?;
        quota("GroupsPerAccount", in_account(groups, self.account).count(), limits::GROUPS_PER_ACCOUNT_MAX)?;
        let (account, attached) = (self.account.clone(), Attached::default());
        let group = Group { account, attached, members: BTreeSet::new(), ..group.clone() };
        Arc::make_mut(&mut self.next.iam.groups).insert(named(self.account, &group.name), Arc::new(group));
        Ok(())
    }

    fn update_group(&mut self, name: &str, new_name: Option<&str>, new_path: Option<&str>) -> Result<()> {
        if let Some(path) = new_path {
            path_must_fit(path)?;
            path.clone_into(&mut self.group(name)?.path);
        }
        let Some(new_name) = new_name.filter(|new_name| *new_name != name) else {
            return self.group(name).map(drop);
        };
        name_must_fit("a group", new_name, limits::GROUP_NAME_CHARACTERS_MAX)?;
        self.group(name)?.name = new_name.to_owned();
        rename(&mut self.next.iam.groups, self.account, (name, new_name), || {
            format!("Group with name {new_name} already exists.")
        })
    }

    fn delete_group(&mut self, name: &str) -> Result<()> {
        let group = self.group(name)?;
        if !group.members.is_empty() {
            return Err(GROUPS_FIRST);
        }
        has_no_policies(&group.attached)?;
        Arc::make_mut(&mut self.next.iam.groups).remove(&named(self.account, name));
        Ok(())
    }

    fn set_member(&mut self, group: &str, user: &str, member: bool) -> Result<()> {
        if self.iam().user(self.account, user).is_none() {
            return self.user(user).map(drop);
        }
        let members = &mut self.group(group)?.members;
        if member {
            members.insert(user.to_owned());
            let others = self.iam().groups_of(self.account, user).filter(|other| other.name != group).count();
            return quota("GroupsPerUser", others, limits::GROUPS_PER_USER_MAX);
        }
        if !members.remove(user) {
            return Err(Error::NoSuchEntity(format!("The user {user} is not in the group {group}.")));
        }
        Ok(())
    }

    fn create_role(&mut self, role: &Role) -> Result<()> {
        name_must_fit("a role", &role.name, limits::ROLE_NAME_CHARACTERS_MAX)?;
        path_must_fit(&role.path)?;
        tags_must_fit(&role.tags)?;
        description_must_fit(&role.description)?;
        session_must_fit(role.session_seconds_max)?;
        trust_must_fit(&role.trust)?;
        if let Some(arn) = &role.boundary {
            self.managed_policy_must_exist(arn)?;
        }
        let roles = &self.iam().roles;
        name_must_be_free(roles, self.account, &role.name, || format!("Role with name {} already exists.", role.name))?;
        quota("RolesPerAccount", in_account(roles, self.account).count(), limits::ROLES_PER_ACCOUNT_MAX)?;
        let role = Role { account: self.account.clone(), attached: Attached::default(), ..role.clone() };
        Arc::make_mut(&mut self.next.iam.roles).insert(named(self.account, &role.name), Arc::new(role));
        Ok(())
    }

    fn update_role(&mut self, name: &str, description: Option<&str>, session_seconds_max: Option<u32>) -> Result<()> {
        let role = self.role(name)?;
        if let Some(description) = description {
            description_must_fit(description)?;
            description.clone_into(&mut role.description);
        }
        if let Some(seconds) = session_seconds_max {
            session_must_fit(seconds)?;
            role.session_seconds_max = seconds;
        }
        Ok(())
    }

    fn delete_role(&mut self, name: &str) -> Result<()> {
        let role = self.role(name)?;
        has_no_policies(&role.attached)?;
        Arc::make_mut(&mut self.next.iam.roles).remove(&named(self.account, name));
        Ok(())
    }

    fn create_policy(&mut self, policy: &ManagedPolicy) -> Result<()> {
        name_must_fit("a policy", &policy.name, limits::POLICY_NAME_CHARACTERS_MAX)?;
        path_must_fit(&policy.path)?;
        description_must_fit(&policy.description)?;
        tags_must_fit(&policy.tags)?;
        if policy.versions.len() != 1 || !policy.versions.contains_key(&1) {
            return Err(Error::Invalid("a new policy has the version 1 only".to_owned()));
        }
        for version in policy.versions.values() {
            document_must_fit("PolicySize", limits::MANAGED_POLICY_CHARACTERS_MAX, [&version.document])?;
        }
        let policies = &self.iam().policies;
        name_must_be_free(policies, self.account, &policy.name, || {
            format!("A policy called {} already exists. Duplicate names are not allowed.", policy.name)
        })?;
        quota("PoliciesPerAccount", in_account(policies, self.account).count(), limits::POLICIES_PER_ACCOUNT_MAX)?;
        let account = self.account.clone();
        let policy = ManagedPolicy { account, default_version: 1, last_version: 1, ..policy.clone() };
        Arc::make_mut(&mut self.next.iam.policies).insert(named(self.account, &policy.name), Arc::new(policy));
        Ok(())
    }

    fn delete_policy(&mut self, name: &str) -> Result<()> {
        let policy = self.policy(name)?.clone();
        let number = self.iam().accounts.get(self.account).map_or("", |account| &account.number);
        let arn = policy.arn(number);
        if self.iam().uses_of_policy(self.account, &arn) != (0, 0) {
            return Err(POLICY_IN_USE);
        }
        if policy.versions.len() > 1 {
            return Err(VERSIONS_FIRST);
        }
        Arc::make_mut(&mut self.next.iam.policies).remove(&named(self.account, name));
        Ok(())
    }

    fn create_policy_version(
        &mut self,
        name: &str,
        document: &str,
        created_ms: u64,
        set_default: bool,
    ) -> Result<Applied> {
        document_must_fit("PolicySize", limits::MANAGED_POLICY_CHARACTERS_MAX, [document])?;
        let policy = self.policy(name)?;
        quota("VersionsPerPolicy", policy.versions.len(), limits::POLICY_VERSIONS_MAX)?;
        let version = policy
            .last_version
            .checked_add(1)
            .ok_or(Error::LimitExceeded { what: "VersionsPerPolicy", limit: u32::MAX as usize })?;
        policy.versions.insert(version, PolicyVersion { document: document.to_owned(), created_ms });
        policy.last_version = version;
        policy.updated_ms = created_ms;
        if set_default {
            policy.default_version = version;
        }
        Ok(Applied::PolicyVersion(version))
    }

    fn delete_policy_version(&mut self, name: &str, version: u32) -> Result<()> {
        let policy = self.policy(name)?;
        version_must_exist(policy, version)?;
        if policy.default_version == version {
            return Err(DEFAULT_STAYS);
        }
        policy.versions.remove(&version);
        Ok(())
    }

    fn set_inline_policy(&mut self, of: &Holder, name: &str, document: Option<&str>) -> Result<()> {
        name_must_fit("a policy", name, limits::POLICY_NAME_CHARACTERS_MAX)?;
        let (what, limit) = match of {
            Holder::User(_) => ("user", limits::USER_POLICIES_CHARACTERS_MAX),
            Holder::Group(_) => ("group", limits::GROUP_POLICIES_CHARACTERS_MAX),
            Holder::Role(_) => ("role", limits::ROLE_POLICIES_CHARACTERS_MAX),
        };
        let inline = &mut self.attached(of)?.inline;
        let Some(document) = document else {
            return match inline.remove(name) {
                Some(_) => Ok(()),
                None => Err(Error::NoSuchEntity(format!("The {what} policy with name {name} cannot be found."))),
            };
        };
        inline.insert(name.to_owned(), document.to_owned());
        document_must_fit("InlinePolicySize", limit, inline.values())
    }

    fn set_attached(&mut self, of: &Holder, arn: &str, attached: bool) -> Result<()> {
        if attached {
            self.attached(of)?;
            self.managed_policy_must_exist(arn)?;
            let managed = &mut self.attached(of)?.managed;
            managed.insert(arn.to_owned());
            return quota("PoliciesPerEntity", managed.len() - 1, limits::ATTACHED_PER_ENTITY_MAX);
        }
        if !self.attached(of)?.managed.remove(arn) {
            return Err(Error::NoSuchEntity(format!("Policy {arn} was not found.")));
        }
        Ok(())
    }

    fn create_provider(&mut self, provider: &OidcProvider) -> Result<()> {
        let (url, limit) = (provider.host_and_path(), limits::PROVIDER_URL_CHARACTERS_MAX);
        let is_graphic = url.bytes().all(|byte| byte.is_ascii_graphic());
        if url.is_empty() || !is_graphic || provider.url.len() > limit {
            return Err(Error::Invalid(format!("a provider's URL has up to {limit} characters and no spaces")));
        }
        provider_must_fit(provider)?;
        tags_must_fit(&provider.tags)?;
        let providers = &self.iam().providers;
        name_must_be_free(providers, self.account, url, || {
            format!("Provider with url {} already exists.", provider.url)
        })?;
        let count = in_account(providers, self.account).count();
        quota("OpenIDConnectProvidersPerAccount", count, limits::PROVIDERS_PER_ACCOUNT_MAX)?;
        let provider = OidcProvider { account: self.account.clone(), ..provider.clone() };
        Arc::make_mut(&mut self.next.iam.providers).insert(named(self.account, url), Arc::new(provider));
        Ok(())
    }

    fn user(&mut self, name: &str) -> Result<&mut User> {
        entity(&mut self.next.iam.users, self.account, name, "user")
    }

    fn group(&mut self, name: &str) -> Result<&mut Group> {
        entity(&mut self.next.iam.groups, self.account, name, "group")
    }

    fn role(&mut self, name: &str) -> Result<&mut Role> {
        entity(&mut self.next.iam.roles, self.account, name, "role")
    }

    fn policy(&mut self, name: &str) -> Result<&mut ManagedPolicy> {
        entity(&mut self.next.iam.policies, self.account, name, "policy")
    }

    fn provider(&mut self, url: &str) -> Result<&mut OidcProvider> {
        entity(&mut self.next.iam.providers, self.account, url, "OpenIDConnect provider")
    }

    fn own_account(&mut self) -> Result<&mut crate::iam::Account> {
        let account = Arc::make_mut(&mut self.next.iam.accounts).get_mut(self.account).map(Arc::make_mut);
        account.ok_or_else(|| Error::Invalid(format!("owner {} has no account", self.account.0)))
    }

    fn attached(&mut self, of: &Holder) -> Result<&mut Attached> {
        match of {
            Holder::User(name) => self.user(name).map(|user| &mut user.attached),
            Holder::Group(name) => self.group(name).map(|group| &mut group.attached),
            Holder::Role(name) => self.role(name).map(|role| &mut role.attached),
        }
    }

    fn boundary(&mut self, of: &Holder) -> Result<&mut Option<String>> {
        match of {
            Holder::User(name) => self.user(name).map(|user| &mut user.boundary),
            Holder::Role(name) => self.role(name).map(|role| &mut role.boundary),
            Holder::Group(_) => Err(Error::Invalid("a group has no permissions boundary".to_owned())),
        }
    }

    fn tags(&mut self, of: &Tagged) -> Result<&mut BTreeMap<String, String>> {
        match of {
            Tagged::Holder(Holder::User(name)) => self.user(name).map(|user| &mut user.tags),
            Tagged::Holder(Holder::Role(name)) => self.role(name).map(|role| &mut role.tags),
            Tagged::Holder(Holder::Group(_)) => Err(Error::Invalid("a group has no tags".to_owned())),
            Tagged::Policy(name) => self.policy(name).map(|policy| &mut policy.tags),
            Tagged::Provider(url) => self.provider(url).map(|provider| &mut provider.tags),
        }
    }

    fn not_before(&mut self, of: Option<&Holder>) -> Result<&mut u64> {
        match of {
            None => self.own_account().map(|account| &mut account.not_before_ms),
            Some(Holder::User(name)) => self.user(name).map(|user| &mut user.not_before_ms),
            Some(Holder::Role(name)) => self.role(name).map(|role| &mut role.not_before_ms),
            Some(Holder::Group(_)) => Err(Error::Invalid("a group has no sessions".to_owned())),
        }
    }

    /// Of this account, or built in: which of those there are, the sender has looked up.
    fn managed_policy_must_exist(&self, arn: &str) -> Result<()> {
        let built_in = arn.strip_prefix(BUILT_IN).is_some_and(|name| !name.is_empty());
        if built_in || self.iam().policy_of_arn(self.account, arn).is_some() {
            return Ok(());
        }
        Err(Error::NoSuchEntity(format!("Policy {arn} does not exist or is not attachable.")))
    }
}

fn named(account: &OwnerId, name: &str) -> Named {
    (account.clone(), name.to_owned())
}

fn entity<'m, T: Clone>(
    map: &'m mut Arc<BTreeMap<Named, Arc<T>>>,
    account: &OwnerId,
    name: &str,
    what: &str,
) -> Result<&'m mut T> {
    let found = Arc::make_mut(map).get_mut(&named(account, name)).map(Arc::make_mut);
    found.ok_or_else(|| Error::NoSuchEntity(format!("The {what} with name {name} cannot be found.")))
}

/// Names differ by more than case.
fn name_must_be_free<T>(
    map: &BTreeMap<Named, T>,
    account: &OwnerId,
    name: &str,
    message: impl FnOnce() -> String,
) -> Result<()> {
    let rows = map.range((account.clone(), String::new())..).take_while(|((owner, _), _)| owner == account);
    let taken = rows.into_iter().any(|((_, taken), _)| taken.eq_ignore_ascii_case(name));
    if taken { Err(Error::EntityExists(message())) } else { Ok(()) }
}

/// Puts what was changed already under its new name.
fn rename<T>(
    map: &mut Arc<BTreeMap<Named, Arc<T>>>,
    account: &OwnerId,
    (name, new_name): (&str, &str),
    message: impl FnOnce() -> String,
) -> Result<()> {
    let map = Arc::make_mut(map);
    let Some(record) = map.remove(&named(account, name)) else { return Ok(()) };
    name_must_be_free(map, account, new_name, message)?;
    map.insert(named(account, new_name), record);
    Ok(())
}

fn has_no_policies(attached: &Attached) -> Result<()> {
    match (attached.managed.is_empty(), attached.inline.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(DETACH_FIRST),
        (true, false) => Err(POLICIES_FIRST),
    }
}

fn version_must_exist(policy: &ManagedPolicy, version: u32) -> Result<()> {
    if policy.versions.contains_key(&version) {
        return Ok(());
    }
    Err(Error::NoSuchEntity(format!("Policy {} version v{version} does not exist or is not attachable.", policy.name)))
}

/// Whether one more fits beside `count` others.
fn quota(what: &'static str, count: usize, limit: usize) -> Result<()> {
    if count < limit { Ok(()) } else { Err(Error::LimitExceeded { what, limit }) }
}

/// Source: AWS IAM User Guide, "IAM object quotas and IAM name requirements".
fn name_must_fit(what: &str, name: &str, limit: usize) -> Result<()> {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if (1..=limit).contains(&name.len()) && name.bytes().all(is_of_a_name) {
        return Ok(());
    }
    Err(Error::Invalid(format!("the name of {what} has 1 to {limit} letters, digits and characters of _+=,.@-")))
}

fn path_must_fit(path: &str) -> Result<()> {
    let limit = limits::PATH_CHARACTERS_MAX;
    let is_path = path.starts_with('/') && path.ends_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && path.len() <= limit {
        return Ok(());
    }
    Err(Error::Invalid(format!("a path begins and ends with a slash and has up to {limit} characters, none a space")))
}

fn description_must_fit(description: &str) -> Result<()> {
    let limit = limits::DESCRIPTION_CHARACTERS_MAX;
    if description.chars().count() <= limit {
        return Ok(());
    }
    Err(Error::Invalid(format!("a description has at most {limit} characters")))
}

fn session_must_fit(seconds: u32) -> Result<()> {
    let (least, most) = (limits::ROLE_SESSION_SECONDS_MIN, limits::ROLE_SESSION_SECONDS_MAX);
    if (least..=most).contains(&seconds) {
        return Ok(());
    }
    Err(Error::Invalid(format!("a role's sessions last between {least} and {most} seconds at most")))
}

fn trust_must_fit(trust: &str) -> Result<()> {
    document_must_fit("ACLSizePerRole", limits::TRUST_POLICY_CHARACTERS_MAX, [trust])
}

/// White space is not counted.
fn document_must_fit<T: AsRef<str>>(
    what: &'static str,
    limit: usize,
    documents: impl IntoIterator<Item = T>,
) -> Result<()> {
    let mut characters = 0;
    for document in documents {
        let document = document.as_ref();
        if document.len() > limits::POLICY_BYTES_MAX {
            return Err(Error::LimitExceeded { what, limit });
        }
        characters += document.chars().filter(|character| !character.is_whitespace()).count();
    }
    if characters <= limit { Ok(()) } else { Err(Error::LimitExceeded { what, limit }) }
}

/// Source: AWS IAM User Guide, "Rules for tagging in IAM and AWS STS".
fn tags_must_fit(tags: &BTreeMap<String, String>) -> Result<()> {
    let (key_limit, value_limit) = (limits::TAG_KEY_CHARACTERS_MAX, limits::TAG_VALUE_CHARACTERS_MAX);
    let mut lower = BTreeSet::new();
    for (key, value) in tags {
        if !(1..=key_limit).contains(&key.chars().count()) || value.chars().count() > value_limit {
            return Err(Error::Invalid(format!(
                "a tag has a key of 1 to {key_limit} and a value of up to {value_limit} characters"
            )));
        }
        let is_of_a_tag = |text: &str| text.chars().all(is_of_a_tag);
        if !is_of_a_tag(key) || !is_of_a_tag(value) {
            return Err(Error::Invalid("a tag has letters, digits, spaces and characters of _.:/=+-@".to_owned()));
        }
        if key.to_lowercase().starts_with("aws:") {
            return Err(Error::Invalid(format!("the key of a tag does not begin with aws:, and {key} does")));
        }
        if !lower.insert(key.to_lowercase()) {
            return Err(Error::Invalid(format!("keys of tags differ by more than case, and {key} does not")));
        }
    }
    tags_must_be_few(tags)
}

fn is_of_a_tag(character: char) -> bool {
    character.is_alphanumeric()
        || (character.is_whitespace() && !character.is_control())
        || "_.:/=+-@".contains(character)
}

fn tags_must_be_few(tags: &BTreeMap<String, String>) -> Result<()> {
    let limit = limits::TAGS_PER_ENTITY_MAX;
    if tags.len() <= limit { Ok(()) } else { Err(Error::LimitExceeded { what: "TagsPerEntity", limit }) }
}

fn provider_must_fit(provider: &OidcProvider) -> Result<()> {
    let (ids, prints) = (&provider.client_ids, &provider.thumbprints);
    let id_limit = limits::CLIENT_ID_CHARACTERS_MAX;
    if ids.iter().any(|id| !(1..=id_limit).contains(&id.chars().count()) || id.chars().any(char::is_control)) {
        return Err(Error::Invalid(format!("a client id has 1 to {id_limit} characters")));
    }
    // IAM documents their length alone, and shows one that ends in EXAMPLE. Nothing is trusted because of them.
    let length = limits::THUMBPRINT_CHARACTERS;
    if prints.iter().any(|print| print.len() != length || !print.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return Err(Error::Invalid(format!("a thumbprint has {length} letters and digits")));
    }
    let limit = limits::CLIENT_IDS_PER_PROVIDER_MAX;
    if ids.len() > limit {
        return Err(Error::LimitExceeded { what: "ClientIdsPerOpenIdConnectProvider", limit });
    }
    let limit = limits::THUMBPRINTS_PER_PROVIDER_MAX;
    if prints.len() > limit {
        return Err(Error::LimitExceeded { what: "ThumbprintsPerOpenIdConnectProvider", limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
