//! What a proof (a signature, later a token or a certificate) establishes.

use common::{AccessKeyId, OwnerId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// No credential was shown.
    Anonymous,
    /// A request signed with an access key.
    Key {
        access_key: AccessKeyId,
        owner: OwnerId,
        /// An administrator sees and changes everything.
        admin: bool,
    },
}

impl Identity {
    pub fn owner(&self) -> Option<&OwnerId> {
        match self {
            Self::Anonymous => None,
            Self::Key { owner, .. } => Some(owner),
        }
    }

    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Key { admin: true, .. })
    }
}
