//! Access keys: CreateAccessKey, ListAccessKeys, UpdateAccessKey, DeleteAccessKey, GetAccessKeyLastUsed.
//!
//! Without a user's name they are about whoever asks. The root's keys are the root's business alone: no user and no role can
//! make, change or see one, whatever its policies say.

use super::{Action, paged};
use crate::audit;
use crate::query_api::{Refusal, Reply, Xml};
use cluster::{AccessKey, Command, IamChange};
use common::AccessKeyId;
use http::StatusCode;
use std::sync::Arc;

impl Action<'_> {
    pub async fn create_access_key(&self) -> Result<Reply, Refusal> {
        let user = self.key_holder()?;
        let key = AccessKey {
            id: authn::access_key_id(&*self.iam.random),
            secret: authn::secret_key(&*self.iam.random).expose().to_owned(),
            owner: self.owner().clone(),
            admin: false,
            created_ms: self.call.now_ms,
            user,
            active: true,
        };
        self.change(IamChange::CreateKey(key.clone())).await?;
        audit::issued(&self.call.head.extensions, &key.id.0);
        let mut xml = Xml::default();
        xml.element("AccessKey", |element| {
            self.describe_key(element, &key);
            element.text("SecretAccessKey", &key.secret);
        });
        Ok(Some(xml))
    }

    pub fn list_access_keys(&self) -> Result<Reply, Refusal> {
        let user = self.key_holder()?;
        let (keys, marker) = self.page(self.keys_of(user.as_deref()), |key| &key.id.0)?;
        let mut xml = Xml::default();
        xml.optional("UserName", user.as_deref());
        xml.members("AccessKeyMetadata", keys, |member, key| self.describe_key(member, key));
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }

    pub async fn update_access_key(&self) -> Result<Reply, Refusal> {
        let active = match self.form.required("Status")? {
            "Active" => true,
            "Inactive" => false,
            _ => {
                return Err(Refusal::validation(
                    "Value at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]",
                ));
            }
        };
        let id = self.held_key()?;
        self.iam.control.propose(Command::SetKeyActive { id, active }).await?;
        Ok(None)
    }

    pub async fn delete_access_key(&self) -> Result<Reply, Refusal> {
        let id = self.held_key()?;
        self.iam.control.propose(Command::DeleteKey { id }).await?;
        Ok(None)
    }

    /// When a key was used is not kept: it would be a durable write for each request.
    pub fn get_access_key_last_used(&self) -> Result<Reply, Refusal> {
        let id = self.form.required("AccessKeyId")?;
        let key = self.state.keys.get(id).filter(|key| key.owner == *self.owner());
        match key.map(|key| key.user.as_deref()) {
            Some(Some(user)) => drop(self.user(user)?),
            Some(None) => self.must_be_root()?,
            None => self.authorize(&format!("arn:aws:iam::{}:user/*", self.number()))?,
        }
        let key = key.ok_or_else(|| no_such_key(id))?;
        let mut xml = Xml::default();
        xml.text("UserName", &self.holder_name(key));
        xml.element("AccessKeyLastUsed", |used| {
            used.text("ServiceName", "N/A");
            used.text("Region", "N/A");
        });
        Ok(Some(xml))
    }

    /// The user whose keys the action is about, `None` for the root's, if the caller may do it.
    fn key_holder(&self) -> Result<Option<String>, Refusal> {
        let name = match self.form.optional("UserName") {
            Some(_) => Some(self.user_name()?),
            None => self.own_user_name(),
        };
        if let Some(name) = name {
            return self.user(name).map(|user| Some(user.name.clone()));
        }
        self.must_be_root()?;
        self.authorize(&self.caller.arn())?;
        Ok(None)
    }

    /// The key that the action names, which is its holder's.
    fn held_key(&self) -> Result<AccessKeyId, Refusal> {
        let holder = self.key_holder()?;
        let id = self.form.required("AccessKeyId")?;
        let key = self.keys_of(holder.as_deref()).find(|key| key.id.0 == id);
        key.map(|key| key.id.clone()).ok_or_else(|| no_such_key(id))
    }

    fn keys_of(&self, user: Option<&str>) -> impl Iterator<Item = &Arc<AccessKey>> {
        let keys = self.state.keys.values().filter(|key| key.owner == *self.owner());
        keys.filter(move |key| key.user.as_deref() == user)
    }

    fn holder_name(&self, key: &AccessKey) -> String {
        let root = || self.state.owners.get(self.owner()).map_or_else(String::new, |owner| owner.display_name.clone());
        key.user.clone().unwrap_or_else(root)
    }

    fn describe_key(&self, xml: &mut Xml, key: &AccessKey) {
        xml.text("UserName", &self.holder_name(key));
        xml.text("AccessKeyId", &key.id.0);
        xml.text("Status", if key.active { "Active" } else { "Inactive" });
        xml.date("CreateDate", key.created_ms);
    }
}

fn no_such_key(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NoSuchEntity", format!("The Access Key with id {id} cannot be found."))
}
