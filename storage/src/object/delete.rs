//! DeleteObject.

use crate::Result;
use crate::commit::decide::{Mutation, Request};
use crate::target::Target;
use crate::types::{DeleteOutcome, DeleteRequest};
use common::VersionId;
use std::sync::Arc;

impl Target {
    /// Ends the current object, if there is one.
    pub async fn delete(&self, request: DeleteRequest) -> Result<DeleteOutcome> {
        let DeleteRequest { epoch, bucket, key, version, precondition, bypass_governance: _ } = request;
        if matches!(version, Some(VersionId::Id(..))) {
            // There is one version of each key, the null one. A delete of another must not take it.
            return Ok(DeleteOutcome { stamp: None, version, is_marker: false });
        }
        let store = Arc::clone(self.home(bucket, &key));
        let mutation = Mutation::Delete { precondition };
        let request = Request { epoch, bucket, key: key.into(), mutation, is_housekeeping: false };
        Ok(DeleteOutcome { stamp: store.mutate(request, None, Vec::new()).await?, version, is_marker: false })
    }
}
