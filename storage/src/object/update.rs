//! What is kept beside an object's bytes, changed without them: PutObjectTagging, PutObjectRetention, PutObjectLegalHold,
//! and a change of metadata.

use crate::target::Target;
use crate::types::{UpdateOutcome, UpdateRequest};
use crate::{Error, Result};

impl Target {
    /// Durable and visible when this returns. The version keeps its id, ETag and place among the versions of its key.
    pub async fn update(&self, _request: UpdateRequest) -> Result<UpdateOutcome> {
        Err(Error::Refused("changes of metadata come with the next commit".into()))
    }
}
