//! Groups and who is in them.

use super::{Action, paged, users};
use crate::query_api::{Refusal, Reply, Xml};
use cluster::iam::{Attached, Group, in_account};
use cluster::{IamChange, limits};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Action<'_> {
    pub async fn create_group(&self) -> Result<Reply, Refusal> {
        let group = Group {
            account: self.owner().clone(),
            name: self.name("GroupName", limits::GROUP_NAME_CHARACTERS_MAX)?.to_owned(),
            path: self.path("Path")?.unwrap_or("/").to_owned(),
            id: self.new_id("AGPA"),
            created_ms: self.call.now_ms,
            attached: Attached::default(),
            members: BTreeSet::new(),
        };
        self.authorize(&group.arn(self.number()))?;
        self.change(IamChange::CreateGroup(group.clone())).await?;
        let mut xml = Xml::default();
        xml.element("Group", |element| describe(element, &group, self.number()));
        Ok(Some(xml))
    }

    /// The group and a page of its users.
    pub fn get_group(&self) -> Result<Reply, Refusal> {
        let group = self.group(self.group_name()?)?;
        let members = group.members.iter().filter_map(|name| self.state.iam.user(self.owner(), name));
        let (members, marker) = self.page(members, |user| &user.name)?;
        let mut xml = Xml::default();
        xml.element("Group", |element| describe(element, &group, self.number()));
        xml.members("Users", members, |member, user| users::describe(member, user, self.number()));
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub async fn update_group(&self) -> Result<Reply, Refusal> {
        let group = self.group(self.group_name()?)?;
        let new_name = self.form.optional("NewGroupName");
        if let Some(name) = new_name {
            super::check_name("NewGroupName", name, limits::GROUP_NAME_CHARACTERS_MAX)?;
        }
        let new_path = self.path("NewPath")?;
        let renamed = Group {
            name: new_name.unwrap_or(&group.name).to_owned(),
            path: new_path.unwrap_or(&group.path).to_owned(),
            ..Group::clone(&group)
        };
        self.authorize(&renamed.arn(self.number()))?;
        let (name, new_name, new_path) = (group.name.clone(), new_name.map(str::to_owned), new_path.map(str::to_owned));
        self.change(IamChange::UpdateGroup { name, new_name, new_path }).await?;
        Ok(None)
    }

    pub async fn delete_group(&self) -> Result<Reply, Refusal> {
        let group = self.group(self.group_name()?)?;
        self.change(IamChange::DeleteGroup(group.name.clone())).await?;
        Ok(None)
    }

    pub fn list_groups(&self) -> Result<Reply, Refusal> {
        let prefix = self.path_prefix()?;
        self.authorize(&format!("arn:aws:iam::{}:group{prefix}", self.number()))?;
        let groups = in_account(&self.state.iam.groups, self.owner()).filter(|group| group.path.starts_with(prefix));
        self.listed_groups(groups)
    }

    pub fn list_groups_for_user(&self) -> Result<Reply, Refusal> {
        let user = self.user(self.user_name()?)?;
        self.listed_groups(self.state.iam.groups_of(self.owner(), &user.name))
    }

    pub async fn set_member(&self, member: bool) -> Result<Reply, Refusal> {
        let group = self.group(self.group_name()?)?.name.clone();
        let user = self.user_name()?;
        let user = self.named(&self.state.iam.users, user).map_or(user, |user| &user.name).to_owned();
        self.change(IamChange::SetMember { group, user, member }).await?;
        Ok(None)
    }

    pub fn group_name(&self) -> Result<&str, Refusal> {
        self.name("GroupName", limits::GROUP_NAME_CHARACTERS_MAX)
    }

    /// As `user`.
    pub fn group(&self, name: &str) -> Result<Arc<Group>, Refusal> {
        self.group_with(name, &[])
    }

    pub fn group_with(&self, name: &str, keys: &[(&str, Option<&str>)]) -> Result<Arc<Group>, Refusal> {
        let found = self.named(&self.state.iam.groups, name);
        let arn = found
            .map_or_else(|| format!("arn:aws:iam::{}:group/{name}", self.number()), |group| group.arn(self.number()));
        self.authorize_with(&arn, keys)?;
        let absent = || Refusal::no_such_entity(format!("The group with name {name} cannot be found."));
        found.cloned().ok_or_else(absent)
    }

    fn listed_groups<'g>(&self, groups: impl Iterator<Item = &'g Arc<Group>>) -> Result<Reply, Refusal> {
        let (groups, marker) = self.page(groups, |group| &group.name)?;
        let mut xml = Xml::default();
        xml.members("Groups", groups, |member, group| describe(member, group, self.number()));
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }
}

fn describe(xml: &mut Xml, group: &Group, number: &str) {
    xml.text("Path", &group.path);
    xml.text("GroupName", &group.name);
    xml.text("GroupId", &group.id);
    xml.text("Arn", &group.arn(number));
    xml.date("CreateDate", group.created_ms);
}
