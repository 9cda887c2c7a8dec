//! ListObjects, ListObjectVersions and ListMultipartUploads: one page each, from the index alone.

use crate::Result;
use crate::index::list::{list_objects, list_uploads};
use crate::index::list_versions::list_versions;
use crate::target::{Target, blocking};
use crate::types::{ListPage, ListRequest, ListUploadsRequest, ListVersionsRequest, UploadsPage, VersionsPage};
use std::sync::Arc;

impl Target {
    pub async fn list(&self, request: ListRequest) -> Result<ListPage> {
        let store = Arc::clone(&self.disks()[0]);
        blocking(move || store.index.patiently(|| list_objects(&store.index, &request))).await
    }

    pub async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        let store = Arc::clone(&self.disks()[0]);
        blocking(move || store.index.patiently(|| list_uploads(&store.index, &request))).await
    }

    /// One page of ListObjectVersions.
    pub async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionsPage> {
        let store = Arc::clone(&self.disks()[0]);
        blocking(move || store.index.patiently(|| list_versions(&store.index, &request))).await
    }
}
