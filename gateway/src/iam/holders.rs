//! What users, groups and roles have of policies, boundaries and tags: the same actions on each kind.

use super::{Action, encoded, paged};
use crate::directory;
use crate::query_api::{Refusal, Reply, Xml};
use authn::policy::{Policy, Purpose};
use cluster::iam::Attached;
use cluster::{Holder, IamChange, Tagged, limits};
use std::collections::BTreeMap;

/// The kind of holder that an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User,
    Group,
    Role,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::Role => "Role",
        }
    }
}

/// One of them, as it is.
struct Found {
    holder: Holder,
    name: String,
    attached: Attached,
    tags: BTreeMap<String, String>,
    boundary: Option<String>,
}

impl Action<'_> {
    pub async fn put_inline_policy(&self, kind: Kind) -> Result<Reply, Refusal> {
        let name = self.policy_name()?.to_owned();
        let text = self.form.required("PolicyDocument")?;
        let found = self.holder(kind, &[])?;
        identity_policy(text)?;
        self.change(IamChange::SetInlinePolicy { of: found.holder, name, document: Some(text.to_owned()) }).await?;
        Ok(None)
    }

    pub fn get_inline_policy(&self, kind: Kind) -> Result<Reply, Refusal> {
        let name = self.policy_name()?;
        let found = self.holder(kind, &[])?;
        let Some(text) = found.attached.inline.get(name) else {
            let what = kind.word().to_ascii_lowercase();
            return Err(Refusal::no_such_entity(format!("The {what} policy with name {name} cannot be found.")));
        };
        let mut xml = Xml::default();
        xml.text(&format!("{}Name", kind.word()), &found.name);
        xml.text("PolicyName", name);
        xml.text("PolicyDocument", &encoded(text));
        Ok(Some(xml))
    }

    pub async fn delete_inline_policy(&self, kind: Kind) -> Result<Reply, Refusal> {
        let name = self.policy_name()?.to_owned();
        let found = self.holder(kind, &[])?;
        self.change(IamChange::SetInlinePolicy { of: found.holder, name, document: None }).await?;
        Ok(None)
    }

    pub fn list_inline_policies(&self, kind: Kind) -> Result<Reply, Refusal> {
        let found = self.holder(kind, &[])?;
        let (names, marker) = self.page(found.attached.inline.keys(), |name| name)?;
        let mut xml = Xml::default();
        xml.texts("PolicyNames", names.into_iter().map(String::as_str));
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub async fn set_attached(&self, kind: Kind, attached: bool) -> Result<Reply, Refusal> {
        let arn = self.policy_arn("PolicyArn")?;
        let found = self.holder(kind, &[("iam:PolicyARN", Some(arn))])?;
        if attached {
            self.must_be_attachable(arn)?;
        }
        self.change(IamChange::SetAttached { of: found.holder, arn: arn.to_owned(), attached }).await?;
        Ok(None)
    }

    pub fn list_attached_policies(&self, kind: Kind) -> Result<Reply, Refusal> {
        let prefix = self.path_prefix()?;
        let found = self.holder(kind, &[])?;
        let arns = found.attached.managed.iter().filter(|arn| path_of(arn).starts_with(prefix));
        let (arns, marker) = self.page(arns, |arn| arn)?;
        let mut xml = Xml::default();
        xml.members("AttachedPolicies", arns, |member, arn| {
            member.text("PolicyName", arn.rsplit('/').next().unwrap_or(arn));
            member.text("PolicyArn", arn);
        });
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub async fn put_boundary(&self, kind: Kind) -> Result<Reply, Refusal> {
        let arn = self.policy_arn("PermissionsBoundary")?;
        let found = self.holder(kind, &[("iam:PermissionsBoundary", Some(arn))])?;
        self.must_be_attachable(arn)?;
        self.change(IamChange::SetBoundary { of: found.holder, arn: Some(arn.to_owned()) }).await?;
        Ok(None)
    }

    pub async fn delete_boundary(&self, kind: Kind) -> Result<Reply, Refusal> {
        let found = self.holder(kind, &[])?;
        self.change(IamChange::SetBoundary { of: found.holder, arn: None }).await?;
        Ok(None)
    }

    pub async fn tag(&self, kind: Kind) -> Result<Reply, Refusal> {
        let set = self.new_tags()?;
        self.set_tags(Tagged::Holder(self.holder(kind, &[])?.holder), set).await
    }

    pub async fn untag(&self, kind: Kind) -> Result<Reply, Refusal> {
        let remove = self.old_tags()?;
        self.remove_tags(Tagged::Holder(self.holder(kind, &[])?.holder), remove).await
    }

    pub fn list_tags(&self, kind: Kind) -> Result<Reply, Refusal> {
        self.page_of_tags(&self.holder(kind, &[])?.tags)
    }

    /// Whether a managed policy is one of the account's, or built in.
    pub fn must_be_attachable(&self, arn: &str) -> Result<(), Refusal> {
        if directory::managed_text(&self.state.iam, self.owner(), arn).is_some() {
            return Ok(());
        }
        Err(Refusal::no_such_entity(format!("Policy {arn} does not exist or is not attachable.")))
    }

    pub fn policy_arn(&self, parameter: &str) -> Result<&str, Refusal> {
        let arn = self.form.required(parameter)?;
        if (20..=2048).contains(&arn.len()) {
            if arn.starts_with("arn:aws:iam::") {
                return Ok(arn);
            }
            return Err(Refusal::invalid_input(format!("ARN {arn} is not valid.")));
        }
        Err(Refusal::validation(format!(
            "Value at '{}' failed to satisfy constraint: Member must have length greater than or equal to 20",
            crate::query_api::camel(parameter)
        )))
    }

    fn policy_name(&self) -> Result<&str, Refusal> {
        self.name("PolicyName", limits::POLICY_NAME_CHARACTERS_MAX)
    }

    /// Who the action is about, if the caller may do it.
    fn holder(&self, kind: Kind, keys: &[(&str, Option<&str>)]) -> Result<Found, Refusal> {
        let now = self.holder_now(kind)?.filter(|_| ABOUT_BOUNDED.contains(&self.call.action));
        let boundary = now.as_ref().and_then(|now| now.boundary.as_deref());
        let keys = [keys, &[("iam:PermissionsBoundary", boundary)]].concat();
        let keys = &keys[..];
        Ok(match kind {
            Kind::User => found_user(&*self.user_with(self.user_name()?, keys)?),
            Kind::Role => found_role(&*self.role_with(self.role_name()?, keys)?),
            Kind::Group => {
                let group = self.group_with(self.group_name()?, keys)?;
                Found {
                    holder: Holder::Group(group.name.clone()),
                    name: group.name.clone(),
                    attached: group.attached.clone(),
                    tags: BTreeMap::new(),
                    boundary: None,
                }
            }
        })
    }

    /// As it is now, for what is asked of the caller's policies.
    fn holder_now(&self, kind: Kind) -> Result<Option<Found>, Refusal> {
        Ok(match kind {
            Kind::User => self.named(&self.state.iam.users, self.user_name()?).map(|user| found_user(user)),
            Kind::Role => self.named(&self.state.iam.roles, self.role_name()?).map(|role| found_role(role)),
            Kind::Group => None,
        })
    }
}

/// Actions that a policy may allow for who has a certain boundary: what they give goes no further, and it cannot be taken away.
///
/// Source: "Actions defined by AWS Identity and Access Management (IAM)", Service Authorization Reference.
const ABOUT_BOUNDED: [&str; 10] = [
    "AttachRolePolicy",
    "AttachUserPolicy",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
    "PutRolePolicy",
    "PutUserPolicy",
];

fn found_user(user: &cluster::iam::User) -> Found {
    Found {
        holder: Holder::User(user.name.clone()),
        name: user.name.clone(),
        attached: user.attached.clone(),
        tags: user.tags.clone(),
        boundary: user.boundary.clone(),
    }
}

fn found_role(role: &cluster::iam::Role) -> Found {
    Found {
        holder: Holder::Role(role.name.clone()),
        name: role.name.clone(),
        attached: role.attached.clone(),
        tags: role.tags.clone(),
        boundary: role.boundary.clone(),
    }
}

pub fn identity_policy(text: &str) -> Result<(), Refusal> {
    match Policy::parse(text, Purpose::Identity) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal::malformed_policy(error.to_string())),
    }
}

/// The path in a policy's ARN: `/a/` of `arn:aws:iam::1:policy/a/name`.
fn path_of(arn: &str) -> &str {
    let resource = arn.split_once(":policy").map_or("/", |(_, path)| path);
    resource.rfind('/').map_or("/", |end| &resource[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policys_path_is_in_its_arn() {
        assert_eq!(path_of("arn:aws:iam::1:policy/a/b/name"), "/a/b/");
        assert_eq!(path_of("arn:aws:iam::aws:policy/name"), "/");
        assert_eq!(path_of("nonsense"), "/");
    }
}
