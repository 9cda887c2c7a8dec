//! Users: CreateUser, GetUser, UpdateUser, DeleteUser, ListUsers.

use super::{Action, boundary, check_name, paged, tags};
use crate::query_api::{Refusal, Reply, Xml};
use authn::identity::Kind;
use cluster::iam::{Attached, User, in_account};
use cluster::{IamChange, limits};
use std::sync::Arc;

impl Action<'_> {
    pub async fn create_user(&self) -> Result<Reply, Refusal> {
        let name = self.name("UserName", limits::USER_NAME_CHARACTERS_MAX)?;
        let user = User {
            account: self.owner().clone(),
            name: name.to_owned(),
            path: self.path("Path")?.unwrap_or("/").to_owned(),
            id: self.new_id("AIDA"),
            created_ms: self.call.now_ms,
            attached: Attached::default(),
            boundary: self.form.optional("PermissionsBoundary").map(str::to_owned),
            tags: self.new_tags()?,
            not_before_ms: 0,
        };
        self.authorize_with(&user.arn(self.number()), &[("iam:PermissionsBoundary", user.boundary.as_deref())])?;
        if let Some(arn) = &user.boundary {
            self.must_be_attachable(arn)?;
        }
        self.change(IamChange::CreateUser(user.clone())).await?;
        Ok(self.described(&user))
    }

    pub fn get_user(&self) -> Result<Reply, Refusal> {
        let Some(name) = self.form.optional("UserName") else {
            let Some(name) = self.own_user_name() else {
                return self.get_root();
            };
            let user = self.user(name)?;
            return Ok(self.described(&user));
        };
        check_name("UserName", name, limits::GROUP_NAME_CHARACTERS_MAX)?;
        let user = self.user(name)?;
        Ok(self.described(&user))
    }

    pub async fn update_user(&self) -> Result<Reply, Refusal> {
        let user = self.user(self.user_name()?)?;
        let new_name = self.form.optional("NewUserName");
        if let Some(name) = new_name {
            check_name("NewUserName", name, limits::USER_NAME_CHARACTERS_MAX)?;
        }
        let new_path = self.path("NewPath")?;
        // On the new name, too: a policy may be about names and paths.
        let renamed = User {
            name: new_name.unwrap_or(&user.name).to_owned(),
            path: new_path.unwrap_or(&user.path).to_owned(),
            ..User::clone(&user)
        };
        self.authorize_tagged(&renamed.arn(self.number()), &[], Some(&user.tags))?;
        let (name, new_name, new_path) = (user.name.clone(), new_name.map(str::to_owned), new_path.map(str::to_owned));
        self.change(IamChange::UpdateUser { name, new_name, new_path }).await?;
        Ok(None)
    }

    pub async fn delete_user(&self) -> Result<Reply, Refusal> {
        let user = self.user(self.user_name()?)?;
        self.change(IamChange::DeleteUser(user.name.clone())).await?;
        Ok(None)
    }

    pub fn list_users(&self) -> Result<Reply, Refusal> {
        let prefix = self.path_prefix()?;
        self.authorize(&format!("arn:aws:iam::{}:user{prefix}", self.number()))?;
        let users = in_account(&self.state.iam.users, self.owner()).filter(|user| user.path.starts_with(prefix));
        let (users, marker) = self.page(users, |user| &user.name)?;
        let mut xml = Xml::default();
        xml.members("Users", users, |member, user| describe(member, user, self.number()));
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    /// A user, if the caller may do this action to it. Whether it is there is not told to whom may not.
    pub fn user(&self, name: &str) -> Result<Arc<User>, Refusal> {
        self.user_with(name, &[])
    }

    pub fn user_with(&self, name: &str, keys: &[(&str, Option<&str>)]) -> Result<Arc<User>, Refusal> {
        let found = self.named(&self.state.iam.users, name);
        let arn =
            found.map_or_else(|| format!("arn:aws:iam::{}:user/{name}", self.number()), |user| user.arn(self.number()));
        self.authorize_tagged(&arn, keys, found.map(|user| &user.tags))?;
        let absent = || Refusal::no_such_entity(format!("The user with name {name} cannot be found."));
        found.cloned().ok_or_else(absent)
    }

    /// The name of the user that the caller is.
    pub fn own_user_name(&self) -> Option<&str> {
        match &self.caller.kind {
            Kind::User(user) => Some(&user.name),
            Kind::Session(session) => match &session.of {
                authn::identity::SessionOf::User(user) => Some(&user.name),
                _ => None,
            },
            Kind::Root => None,
        }
    }

    /// What a root is told of itself.
    fn get_root(&self) -> Result<Reply, Refusal> {
        self.must_be_root()?;
        self.authorize(&self.caller.arn())?;
        let mut xml = Xml::default();
        xml.element("User", |user| {
            user.text("Path", "/");
            user.optional("UserName", self.state.owners.get(self.owner()).map(|owner| &*owner.display_name));
            user.text("UserId", self.number());
            user.text("Arn", &self.caller.arn());
            user.date("CreateDate", 0);
        });
        Ok(Some(xml))
    }

    /// Refuses whoever is neither a user nor the account itself, such as a role, where an action is about oneself.
    pub fn must_be_root(&self) -> Result<(), Refusal> {
        if self.caller.standing.unlimited {
            return Ok(());
        }
        Err(Refusal::validation("Must specify userName when calling with non-User credentials"))
    }

    fn described(&self, user: &User) -> Reply {
        let mut xml = Xml::default();
        xml.element("User", |element| {
            describe(element, user, self.number());
            boundary(element, user.boundary.as_deref());
            tags(element, &user.tags);
        });
        Some(xml)
    }
}

pub fn describe(xml: &mut Xml, user: &User, number: &str) {
    xml.text("Path", &user.path);
    xml.text("UserName", &user.name);
    xml.text("UserId", &user.id);
    xml.text("Arn", &user.arn(number));
    xml.date("CreateDate", user.created_ms);
}
