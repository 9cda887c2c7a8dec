//! Which target a key belongs to. Today there is one and it is here; operations ask all the same, so that a second one
//! changes this file and each `let Target::Here(..)`, which the compiler then finds.

use common::{BucketId, Epoch, ObjectKey};
use std::sync::Arc;

#[derive(Clone)]
pub enum Target {
    /// In this process.
    Here(Arc<storage::Target>),
}

pub struct Router {
    here: Arc<storage::Target>,
}

impl Router {
    pub fn new(here: Arc<storage::Target>) -> Self {
        Self { here }
    }

    /// The target that orders all writes of this key.
    pub fn owner_of(&self, _bucket: BucketId, _key: &ObjectKey) -> Target {
        Target::Here(self.here.clone())
    }

    /// The target that can list this bucket.
    pub fn lister_of(&self, _bucket: BucketId) -> Target {
        Target::Here(self.here.clone())
    }

    /// The epoch that this gateway's map has.
    pub fn epoch(&self) -> Epoch {
        self.here.epoch()
    }
}
