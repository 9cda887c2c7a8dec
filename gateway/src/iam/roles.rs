//! Roles, and the policies that say who may assume them.

use super::{Action, boundary, encoded, paged, tags};
use crate::query_api::{Refusal, Reply, Xml};
use authn::policy::{Policy, Purpose};
use cluster::iam::{Attached, Role, in_account};
use cluster::{IamChange, limits};
use std::sync::Arc;

impl Action<'_> {
    pub async fn create_role(&self) -> Result<Reply, Refusal> {
        let role = Role {
            account: self.owner().clone(),
            name: self.name("RoleName", limits::ROLE_NAME_CHARACTERS_MAX)?.to_owned(),
            path: self.path("Path")?.unwrap_or("/").to_owned(),
            id: self.new_id("AROA"),
            description: self.form.optional("Description").unwrap_or("").to_owned(),
            created_ms: self.call.now_ms,
            trust: self.trust("AssumeRolePolicyDocument")?,
            attached: Attached::default(),
            boundary: self.form.optional("PermissionsBoundary").map(str::to_owned),
            tags: self.new_tags()?,
            session_seconds_max: self.session_seconds()?.unwrap_or(limits::ROLE_SESSION_SECONDS_MIN),
            not_before_ms: 0,
        };
        self.authorize_with(&role.arn(self.number()), &[("iam:PermissionsBoundary", role.boundary.as_deref())])?;
        if let Some(arn) = &role.boundary {
            self.must_be_attachable(arn)?;
        }
        self.change(IamChange::CreateRole(role.clone())).await?;
        let mut xml = Xml::default();
        xml.element("Role", |element| self.describe_role(element, &role, true));
        Ok(Some(xml))
    }

    pub fn get_role(&self) -> Result<Reply, Refusal> {
        let role = self.role(self.role_name()?)?;
        let mut xml = Xml::default();
        xml.element("Role", |element| self.describe_role(element, &role, true));
        Ok(Some(xml))
    }

    pub async fn update_role(&self) -> Result<Reply, Refusal> {
        let name = self.role(self.role_name()?)?.name.clone();
        let description = self.form.optional("Description").map(str::to_owned);
        let session_seconds_max = self.session_seconds()?;
        self.change(IamChange::UpdateRole { name, description, session_seconds_max }).await?;
        Ok(Some(Xml::default()))
    }

    pub async fn update_assume_role_policy(&self) -> Result<Reply, Refusal> {
        let role = self.role(self.role_name()?)?.name.clone();
        let trust = self.trust("PolicyDocument")?;
        self.change(IamChange::SetTrust { role, trust }).await?;
        Ok(None)
    }

    pub async fn delete_role(&self) -> Result<Reply, Refusal> {
        let role = self.role(self.role_name()?)?;
        self.change(IamChange::DeleteRole(role.name.clone())).await?;
        Ok(None)
    }

    pub fn list_roles(&self) -> Result<Reply, Refusal> {
        let prefix = self.path_prefix()?;
        self.authorize(&format!("arn:aws:iam::{}:role{prefix}", self.number()))?;
        let roles = in_account(&self.state.iam.roles, self.owner()).filter(|role| role.path.starts_with(prefix));
        let (roles, marker) = self.page(roles, |role| &role.name)?;
        let mut xml = Xml::default();
        xml.members("Roles", roles, |member, role| self.describe_role(member, role, false));
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub fn role_name(&self) -> Result<&str, Refusal> {
        self.name("RoleName", limits::ROLE_NAME_CHARACTERS_MAX)
    }

    /// As `user`.
    pub fn role(&self, name: &str) -> Result<Arc<Role>, Refusal> {
        self.role_with(name, &[])
    }

    pub fn role_with(&self, name: &str, keys: &[(&str, Option<&str>)]) -> Result<Arc<Role>, Refusal> {
        let found = self.named(&self.state.iam.roles, name);
        let arn =
            found.map_or_else(|| format!("arn:aws:iam::{}:role/{name}", self.number()), |role| role.arn(self.number()));
        self.authorize_tagged(&arn, keys, found.map(|role| &role.tags))?;
        let absent = || Refusal::no_such_entity(format!("The role with name {name} cannot be found."));
        found.cloned().ok_or_else(absent)
    }

    fn trust(&self, parameter: &str) -> Result<String, Refusal> {
        let text = self.form.required(parameter)?;
        let policy =
            Policy::parse(text, Purpose::Trust).map_err(|error| Refusal::malformed_policy(error.to_string()))?;
        if policy.has_role_without_account() && self.state.iam.account_of_number("").is_none() {
            return Err(Refusal::malformed_policy("Invalid principal in policy: a role's ARN names its account"));
        }
        Ok(text.to_owned())
    }

    fn session_seconds(&self) -> Result<Option<u32>, Refusal> {
        let (least, most) = (limits::ROLE_SESSION_SECONDS_MIN, limits::ROLE_SESSION_SECONDS_MAX);
        self.form.number("MaxSessionDuration", least, most)
    }

    /// Listings leave the boundary and the tags out.
    fn describe_role(&self, xml: &mut Xml, role: &Role, whole: bool) {
        xml.text("Path", &role.path);
        xml.text("RoleName", &role.name);
        xml.text("RoleId", &role.id);
        xml.text("Arn", &role.arn(self.number()));
        xml.date("CreateDate", role.created_ms);
        xml.text("AssumeRolePolicyDocument", &encoded(&role.trust));
        if !role.description.is_empty() {
            xml.text("Description", &role.description);
        }
        xml.text("MaxSessionDuration", &role.session_seconds_max.to_string());
        if whole {
            boundary(xml, role.boundary.as_deref());
            tags(xml, &role.tags);
        }
    }
}
