//! Managed policies, their versions, and who has them. Those that everybody has are listed and read, and never changed.

use super::holders::identity_policy;
use super::{Action, encoded, paged, tags};
use crate::directory;
use crate::query_api::{Refusal, Reply, Xml};
use cluster::iam::{BUILT_IN, Iam, ManagedPolicy, PolicyVersion, in_account};
use cluster::{Applied, IamChange, Tagged, limits};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `ListEntitiesForPolicy` lists: kind, name and id.
type Entity<'e> = (String, &'static str, &'e str, &'e str);

impl Action<'_> {
    pub async fn create_policy(&self) -> Result<Reply, Refusal> {
        let text = self.form.required("PolicyDocument")?;
        let version = PolicyVersion { document: text.to_owned(), created_ms: self.call.now_ms };
        let policy = ManagedPolicy {
            account: self.owner().clone(),
            name: self.name("PolicyName", limits::POLICY_NAME_CHARACTERS_MAX)?.to_owned(),
            path: self.path("Path")?.unwrap_or("/").to_owned(),
            id: self.new_id("ANPA"),
            description: self.form.optional("Description").unwrap_or("").to_owned(),
            created_ms: self.call.now_ms,
            updated_ms: self.call.now_ms,
            default_version: 1,
            versions: [(1, version)].into(),
            last_version: 1,
            tags: self.new_tags()?,
        };
        self.authorize(&policy.arn(self.number()))?;
        identity_policy(text)?;
        self.change(IamChange::CreatePolicy(policy.clone())).await?;
        let mut xml = Xml::default();
        xml.element("Policy", |element| {
            self.describe_policy(element, &policy);
            tags(element, &policy.tags);
        });
        Ok(Some(xml))
    }

    pub fn get_policy(&self) -> Result<Reply, Refusal> {
        let policy = self.policy()?;
        let mut xml = Xml::default();
        xml.element("Policy", |element| {
            self.describe_policy(element, &policy);
            if !policy.description.is_empty() {
                element.text("Description", &policy.description);
            }
            tags(element, &policy.tags);
        });
        Ok(Some(xml))
    }

    pub async fn delete_policy(&self) -> Result<Reply, Refusal> {
        let policy = self.own_policy()?;
        self.change(IamChange::DeletePolicy(policy.name.clone())).await?;
        Ok(None)
    }

    pub fn list_policies(&self) -> Result<Reply, Refusal> {
        let prefix = self.path_prefix()?;
        let scope = self.choice("Scope", &["All", "AWS", "Local"])?;
        let usage = self.choice("PolicyUsageFilter", &["", "PermissionsPolicy", "PermissionsBoundary"])?;
        let only_attached = self.form.flag("OnlyAttached")?;
        self.authorize(&format!("arn:aws:iam::{}:policy{prefix}", self.number()))?;
        let built_in = built_in_policies().filter(|_| scope != "Local");
        let own = in_account(&self.state.iam.policies, self.owner()).filter(|_| scope != "AWS").cloned();
        let mut all = BTreeMap::new();
        for policy in built_in.chain(own).filter(|policy| policy.path.starts_with(prefix)) {
            let arn = self.arn_of(&policy);
            let (attached, boundaries) = self.state.iam.uses_of_policy(self.owner(), &arn);
            let is_used = match usage {
                "PermissionsBoundary" => boundaries > 0,
                _ => attached > 0,
            };
            if (usage != "PermissionsBoundary" && !only_attached) || is_used {
                all.insert(arn, policy);
            }
        }
        let (policies, marker) = self.page(all.iter(), |(arn, _)| arn)?;
        let mut xml = Xml::default();
        xml.members("Policies", policies, |member, (_, policy)| self.describe_policy(member, policy));
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub async fn create_policy_version(&self) -> Result<Reply, Refusal> {
        let policy = self.own_policy()?;
        let document = self.form.required("PolicyDocument")?.to_owned();
        identity_policy(&document)?;
        let (set_default, created_ms) = (self.form.flag("SetAsDefault")?, self.call.now_ms);
        let name = policy.name.clone();
        let change = IamChange::CreatePolicyVersion { policy: name, document, created_ms, set_default };
        let Applied::PolicyVersion(number) = self.change(change).await? else {
            return Err(crate::Error::Internal("CreatePolicyVersion gave no version").into());
        };
        let mut xml = Xml::default();
        xml.element("PolicyVersion", |version| describe_version(version, number, set_default, created_ms));
        Ok(Some(xml))
    }

    pub fn get_policy_version(&self) -> Result<Reply, Refusal> {
        let policy = self.policy()?;
        let number = self.version_id()?;
        let Some(found) = policy.versions.get(&number) else {
            let arn = self.arn_of(&policy);
            return Err(Refusal::no_such_entity(format!("Policy {arn} version v{number} does not exist.")));
        };
        let mut xml = Xml::default();
        xml.element("PolicyVersion", |version| {
            version.text("Document", &encoded(&found.document));
            describe_version(version, number, number == policy.default_version, found.created_ms);
        });
        Ok(Some(xml))
    }

    pub fn list_policy_versions(&self) -> Result<Reply, Refusal> {
        let policy = self.policy()?;
        // At most five: they fit into every page but the smallest.
        let names = policy
            .versions
            .iter()
            .rev()
            .map(|(number, version)| (format!("{:010}", u32::MAX - number), number, version));
        let (versions, marker) = self.page(names, |(name, ..)| name)?;
        let mut xml = Xml::default();
        xml.members("Versions", versions, |member, (_, number, version)| {
            describe_version(member, *number, *number == policy.default_version, version.created_ms);
        });
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub async fn delete_policy_version(&self) -> Result<Reply, Refusal> {
        let (policy, version) = (self.own_policy()?.name.clone(), self.version_id()?);
        self.change(IamChange::DeletePolicyVersion { policy, version }).await?;
        Ok(None)
    }

    pub async fn set_default_policy_version(&self) -> Result<Reply, Refusal> {
        let (policy, version) = (self.own_policy()?.name.clone(), self.version_id()?);
        self.change(IamChange::SetDefaultPolicyVersion { policy, version }).await?;
        Ok(None)
    }

    pub fn list_entities_for_policy(&self) -> Result<Reply, Refusal> {
        let policy = self.policy()?;
        let filter =
            self.choice("EntityFilter", &["", "User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"])?;
        let usage = self.choice("PolicyUsageFilter", &["", "PermissionsPolicy", "PermissionsBoundary"])?;
        let (prefix, arn, iam) = (self.path_prefix()?, self.arn_of(&policy), &self.state.iam);
        let has = |attached: &cluster::iam::Attached, boundary: Option<&String>| {
            (usage != "PermissionsBoundary" && attached.managed.contains(&arn))
                || (usage != "PermissionsPolicy" && boundary == Some(&arn))
        };
        let mut entities: Vec<Entity<'_>> = Vec::new();
        let mut add = |kind: &'static str, path: &str, name, id, has: bool| {
            if has && path.starts_with(prefix) && (filter.is_empty() || filter == kind) {
                entities.push((format!("{kind}/{name}"), kind, name, id));
            }
        };
        for group in in_account(&iam.groups, self.owner()) {
            add("Group", &group.path, &group.name, &group.id, has(&group.attached, None));
        }
        for role in in_account(&iam.roles, self.owner()) {
            add("Role", &role.path, &role.name, &role.id, has(&role.attached, role.boundary.as_ref()));
        }
        for user in in_account(&iam.users, self.owner()) {
            add("User", &user.path, &user.name, &user.id, has(&user.attached, user.boundary.as_ref()));
        }
        let (page, marker) = self.page(entities.into_iter(), |entity| &entity.0)?;
        let mut xml = Xml::default();
        for kind in ["Group", "User", "Role"] {
            let of_kind = page.iter().filter(|entity| entity.1 == kind);
            xml.members(&format!("Policy{kind}s"), of_kind, |member, (_, _, name, id)| {
                member.text(&format!("{kind}Name"), name);
                member.text(&format!("{kind}Id"), id);
            });
        }
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub async fn tag_policy(&self) -> Result<Reply, Refusal> {
        let set = self.new_tags()?;
        self.set_tags(Tagged::Policy(self.own_policy()?.name.clone()), set).await
    }

    pub async fn untag_policy(&self) -> Result<Reply, Refusal> {
        let remove = self.old_tags()?;
        self.remove_tags(Tagged::Policy(self.own_policy()?.name.clone()), remove).await
    }

    pub fn list_policy_tags(&self) -> Result<Reply, Refusal> {
        self.page_of_tags(&self.policy()?.tags)
    }

    /// The policy that the action names, if the caller may do it.
    fn policy(&self) -> Result<Arc<ManagedPolicy>, Refusal> {
        let arn = self.policy_arn("PolicyArn")?;
        let found = match arn.strip_prefix(BUILT_IN) {
            Some(name) => built_in(name).map(Arc::new),
            None => self.state.iam.policy_of_arn(self.owner(), arn).cloned(),
        };
        self.authorize_tagged(arn, &[], found.as_ref().map(|policy| &policy.tags))?;
        found.ok_or_else(|| Refusal::no_such_entity(format!("Policy {arn} was not found.")))
    }

    /// One of the account's own, as nobody changes those that are built in.
    fn own_policy(&self) -> Result<Arc<ManagedPolicy>, Refusal> {
        let policy = self.policy()?;
        if policy.account == *self.owner() {
            return Ok(policy);
        }
        Err(Refusal::access_denied(format!("The policy {} is built in, and cannot be changed.", policy.name)))
    }

    fn arn_of(&self, policy: &ManagedPolicy) -> String {
        if policy.account == *self.owner() {
            return policy.arn(self.number());
        }
        format!("{BUILT_IN}{}", policy.name)
    }

    /// `v1` is 1.
    fn version_id(&self) -> Result<u32, Refusal> {
        let text = self.form.required("VersionId")?;
        let number = text.strip_prefix('v').filter(|number| !number.starts_with(['0', '+']));
        number.and_then(|number| number.parse().ok()).ok_or_else(|| {
            Refusal::validation(
                "Value at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: \
                 v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?",
            )
        })
    }

    /// One of these words, the first where nothing is said.
    fn choice<'w>(&self, parameter: &str, words: &[&'w str]) -> Result<&'w str, Refusal> {
        let Some(text) = self.form.optional(parameter) else { return Ok(words[0]) };
        words.iter().copied().find(|word| *word == text && !word.is_empty()).ok_or_else(|| {
            Refusal::validation(format!(
                "Value at '{}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
                crate::query_api::camel(parameter),
                words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(", ")
            ))
        })
    }

    fn describe_policy(&self, xml: &mut Xml, policy: &ManagedPolicy) {
        let arn = self.arn_of(policy);
        let (attached, boundaries) = self.state.iam.uses_of_policy(self.owner(), &arn);
        xml.text("PolicyName", &policy.name);
        xml.text("PolicyId", &policy.id);
        xml.text("Arn", &arn);
        xml.text("Path", &policy.path);
        xml.text("DefaultVersionId", &format!("v{}", policy.default_version));
        xml.text("AttachmentCount", &attached.to_string());
        xml.text("PermissionsBoundaryUsageCount", &boundaries.to_string());
        xml.flag("IsAttachable", true);
        xml.date("CreateDate", policy.created_ms);
        xml.date("UpdateDate", policy.updated_ms);
    }
}

fn describe_version(xml: &mut Xml, number: u32, is_default: bool, created_ms: u64) {
    xml.text("VersionId", &format!("v{number}"));
    xml.flag("IsDefaultVersion", is_default);
    xml.date("CreateDate", created_ms);
}

fn built_in_policies() -> impl Iterator<Item = Arc<ManagedPolicy>> {
    directory::built_in_names().filter_map(|name| built_in(name).map(Arc::new))
}

/// What is built in, in the form of the others: it belongs to no account.
fn built_in(name: &str) -> Option<ManagedPolicy> {
    let account = common::OwnerId("aws".to_owned());
    let document = directory::managed_text(&Iam::default(), &account, &format!("{BUILT_IN}{name}"))?.into_owned();
    let letters = name.chars().filter(char::is_ascii_alphanumeric).take(17).collect::<String>();
    Some(ManagedPolicy {
        account,
        name: name.to_owned(),
        path: "/".to_owned(),
        id: format!("ANPA{:X<17}", letters.to_ascii_uppercase()),
        description: String::new(),
        created_ms: 0,
        updated_ms: 0,
        default_version: 1,
        versions: [(1, PolicyVersion { document, created_ms: 0 })].into(),
        last_version: 1,
        tags: BTreeMap::new(),
    })
}
