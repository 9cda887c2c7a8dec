//! What there is of an account itself.

use super::Action;
use crate::query_api::{Refusal, Reply, Xml};
use cluster::iam::in_account;
use cluster::limits;

impl Action<'_> {
    pub fn get_account_summary(&self) -> Result<Reply, Refusal> {
        self.authorize("*")?;
        let (iam, owner) = (&self.state.iam, self.owner());
        let policies = || in_account(&iam.policies, owner);
        let summary = [
            ("Users", in_account(&iam.users, owner).count()),
            ("UsersQuota", limits::USERS_PER_ACCOUNT_MAX),
            ("Groups", in_account(&iam.groups, owner).count()),
            ("GroupsQuota", limits::GROUPS_PER_ACCOUNT_MAX),
            ("Roles", in_account(&iam.roles, owner).count()),
            ("RolesQuota", limits::ROLES_PER_ACCOUNT_MAX),
            ("Policies", policies().count()),
            ("PoliciesQuota", limits::POLICIES_PER_ACCOUNT_MAX),
            ("PolicyVersionsInUse", policies().map(|policy| policy.versions.len()).sum()),
            ("Providers", in_account(&iam.providers, owner).count()),
            ("AccessKeysPerUserQuota", limits::KEYS_PER_USER_MAX),
            ("GroupsPerUserQuota", limits::GROUPS_PER_USER_MAX),
            ("AttachedPoliciesPerUserQuota", limits::ATTACHED_PER_ENTITY_MAX),
            ("AttachedPoliciesPerGroupQuota", limits::ATTACHED_PER_ENTITY_MAX),
            ("AttachedPoliciesPerRoleQuota", limits::ATTACHED_PER_ENTITY_MAX),
            ("VersionsPerPolicyQuota", limits::POLICY_VERSIONS_MAX),
            ("PolicySizeQuota", limits::MANAGED_POLICY_CHARACTERS_MAX),
            ("UserPolicySizeQuota", limits::USER_POLICIES_CHARACTERS_MAX),
            ("GroupPolicySizeQuota", limits::GROUP_POLICIES_CHARACTERS_MAX),
            ("AssumeRolePolicySizeQuota", limits::TRUST_POLICY_CHARACTERS_MAX),
            ("AccountMFAEnabled", 0),
            ("AccountAccessKeysPresent", usize::from(self.has_root_key())),
        ];
        let mut xml = Xml::default();
        xml.element("SummaryMap", |map| {
            for (key, value) in summary {
                map.element("entry", |entry| {
                    entry.text("key", key);
                    entry.text("value", &value.to_string());
                });
            }
        });
        Ok(Some(xml))
    }

    /// Accounts have no other names than their numbers.
    pub fn list_account_aliases(&self) -> Result<Reply, Refusal> {
        self.authorize("*")?;
        let mut xml = Xml::default();
        xml.texts("AccountAliases", []);
        xml.flag("IsTruncated", false);
        Ok(Some(xml))
    }

    fn has_root_key(&self) -> bool {
        self.state.keys.values().any(|key| key.owner == *self.owner() && key.user.is_none())
    }
}
