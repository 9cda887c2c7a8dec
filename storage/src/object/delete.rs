//! DeleteObject.

use crate::Result;
use crate::commit::Decided;
use crate::commit::decide::{Mutation, Request};
use crate::format::record::Cause;
use crate::target::Target;
use crate::types::{DeleteOutcome, DeleteRequest};
use common::VersionId;
use std::sync::Arc;

impl Target {
    /// Ends the current object, if there is one: by a delete marker where versions are kept. Or ends one version.
    pub async fn delete(&self, request: DeleteRequest) -> Result<DeleteOutcome> {
        self.delete_by(request, Cause::Usual).await
    }

    /// The same by a lifecycle rule, which the change feed tells apart.
    pub async fn expire(&self, request: DeleteRequest) -> Result<DeleteOutcome> {
        self.delete_by(request, Cause::Lifecycle).await
    }

    async fn delete_by(&self, request: DeleteRequest, cause: Cause) -> Result<DeleteOutcome> {
        let DeleteRequest { epoch, bucket, key, version, seen, precondition, bypass_governance } = request;
        let store = Arc::clone(self.home(bucket, &key));
        let mutation = Mutation::Delete { version, seen, precondition, bypass_governance };
        let nonce = store.random.u64();
        let request = Request { epoch, bucket, key: key.into(), mutation, nonce, cause, is_housekeeping: false };
        let Decided { stamp, version: ended, is_marker } = store.mutate(request, None, Vec::new()).await?;
        // A bucket that never kept versions names none, unless it was asked for one.
        let is_named = version.is_some() || is_marker || ended != VersionId::Null;
        Ok(DeleteOutcome { stamp, version: is_named.then_some(ended), is_marker })
    }
}
