//! The S3 operations, one file each, and their table. s3s parses requests and writes answers; its types stay in this
//! directory, and storage never sees them.

mod abort_multipart_upload;
mod absent_documents;
mod acl_request;
mod append;
mod attributes;
mod body;
mod checksums;
mod complete_multipart_upload;
mod conditions;
mod copy_object;
pub mod cors;
pub mod create_bucket;
mod create_multipart_upload;
pub mod dates;
pub mod delete_bucket;
mod delete_bucket_analytics_configuration;
mod delete_bucket_cors;
mod delete_bucket_encryption;
mod delete_bucket_intelligent_tiering_configuration;
mod delete_bucket_inventory_configuration;
mod delete_bucket_lifecycle;
mod delete_bucket_metrics_configuration;
mod delete_bucket_ownership_controls;
mod delete_bucket_policy;
mod delete_bucket_tagging;
mod delete_bucket_website;
mod delete_object;
mod delete_object_tagging;
mod delete_objects;
mod delete_public_access_block;
pub mod document;
mod expiration;
mod get_bucket_accelerate_configuration;
mod get_bucket_acl;
mod get_bucket_analytics_configuration;
mod get_bucket_cors;
mod get_bucket_encryption;
mod get_bucket_intelligent_tiering_configuration;
mod get_bucket_inventory_configuration;
mod get_bucket_lifecycle_configuration;
mod get_bucket_location;
mod get_bucket_logging;
mod get_bucket_metrics_configuration;
mod get_bucket_notification_configuration;
mod get_bucket_ownership_controls;
mod get_bucket_policy;
mod get_bucket_policy_status;
mod get_bucket_request_payment;
mod get_bucket_tagging;
mod get_bucket_versioning;
mod get_bucket_website;
mod get_object;
mod get_object_acl;
mod get_object_attributes;
mod get_object_legal_hold;
mod get_object_lock_configuration;
mod get_object_retention;
mod get_object_tagging;
mod get_public_access_block;
mod head_bucket;
mod head_object;
mod list_bucket_analytics_configurations;
mod list_bucket_intelligent_tiering_configurations;
mod list_bucket_inventory_configurations;
mod list_bucket_metrics_configurations;
mod list_buckets;
mod list_multipart_uploads;
mod list_object_versions;
mod list_objects;
mod list_objects_v2;
mod list_parts;
mod listed;
pub mod listen_events;
mod listing;
mod lock;
mod metadata_listing;
pub mod named;
pub mod post_object;
mod post_policy;
mod put_bucket_accelerate_configuration;
mod put_bucket_acl;
mod put_bucket_analytics_configuration;
mod put_bucket_cors;
mod put_bucket_encryption;
mod put_bucket_intelligent_tiering_configuration;
mod put_bucket_inventory_configuration;
mod put_bucket_lifecycle_configuration;
pub mod put_bucket_logging;
mod put_bucket_metrics_configuration;
mod put_bucket_notification_configuration;
mod put_bucket_ownership_controls;
mod put_bucket_policy;
mod put_bucket_request_payment;
mod put_bucket_tagging;
mod put_bucket_versioning;
mod put_bucket_website;
pub mod put_object;
mod put_object_acl;
mod put_object_legal_hold;
mod put_object_lock_configuration;
mod put_object_retention;
mod put_object_tagging;
pub mod put_public_access_block;
pub mod rename_object;
mod strict;
pub mod tags;
mod upload_part;
mod upload_part_copy;
pub mod website;
mod whole_checksum;
pub mod written;

use self::absent_documents::*;
use self::rename_object::RenameTokens;
use crate::Parts;
use crate::access;
use crate::admission::Admission;
use crate::error::{Error, Result};
use crate::events::webhook::Webhook;
use crate::lifecycle::rules::Known;
use crate::route::Router;
use authn::acl::Ownership;
use authn::{Identity, KeyService};
use cluster::Bucket;
use common::OwnerId;
use http::Extensions;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};
use std::sync::Arc;

/// What every operation is given.
pub struct Service {
    pub parts: Parts,
    pub region: String,
    pub router: Router,
    pub admission: Arc<Admission>,
    pub keys: Arc<dyn KeyService>,
    /// Whether customers' keys may come with requests that others could read: in a test.
    customer_keys: bool,
    pub renames: RenameTokens,
    lifecycles: Known,
    /// The names of the webhooks in the settings.
    receivers: Vec<String>,
    /// Whether new buckets begin with a public access block.
    blocks_public_access: bool,
    /// What new buckets begin with.
    ownership: Ownership,
}

impl Service {
    pub fn new(parts: Parts, admission: Arc<Admission>, region: String, customer_keys: bool) -> Self {
        let router = Router::new(parts.target.clone());
        let keys = parts.named_keys.clone();
        let (renames, lifecycles, receivers) = (RenameTokens::default(), Known::default(), Vec::new());
        Self {
            parts,
            region,
            router,
            admission,
            keys,
            customer_keys,
            renames,
            lifecycles,
            receivers,
            blocks_public_access: true,
            ownership: Ownership::default(),
        }
    }

    /// Knows the receivers that notifications may name.
    pub fn telling(mut self, webhooks: &[Webhook]) -> Self {
        self.receivers = webhooks.iter().map(|webhook| webhook.name.clone()).collect();
        self
    }

    pub fn blocking_public_access(mut self, blocks: bool) -> Self {
        self.blocks_public_access = blocks;
        self
    }

    pub fn with_ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = ownership;
        self
    }

    pub fn check_customer_keys_allowed(&self) -> Result<()> {
        if self.customer_keys || crate::tls::is_secure() {
            return Ok(());
        }
        Err(Error::InvalidRequest(
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection."
                .to_owned(),
        ))
    }

    /// The bucket of a request; that the caller may use it was decided before (`admission.rs`).
    fn bucket(&self, name: &str) -> Result<Arc<Bucket>> {
        access::find(&*self.parts.control, name)
    }

    /// The caller, who may be nobody.
    fn identity<T>(&self, request: &S3Request<T>) -> Result<Identity> {
        identity_of(&request.extensions)
    }

    /// The owners of a page's entries, by the names that storage has of them.
    fn owners<'b>(&self, bucket: &'b Bucket) -> listing::Owners<'_, 'b> {
        listing::Owners::new(self, bucket)
    }

    /// An owner as S3's documents name one.
    fn owner(&self, id: &OwnerId) -> dto::Owner {
        let state = self.parts.control.current();
        let name = state.owners.get(id).map(|owner| owner.display_name.clone());
        dto::Owner { id: Some(id.0.clone()), display_name: name }
    }
}

/// Who sent the request that has these extensions: who may be nobody.
fn identity_of(extensions: &Extensions) -> Result<Identity> {
    extensions.get::<Identity>().cloned().ok_or(Error::AccessDenied)
}

/// Forwards each method of s3s's trait to the file of the same name.
macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident,)*) => {
        /// The names of them, for the test that each has a decision.
        #[cfg(test)]
        pub const OPERATIONS: &[&str] = &[$(stringify!($operation),)*];

        #[async_trait::async_trait]
        impl s3s::S3 for Service {
            $(async fn $operation(
                &self,
                request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                let sees_absence = access::admitted(&request.extensions).is_some_and(|admitted| admitted.sees_absence);
                let answered = $operation::$operation(self, request).await;
                Ok(answered.map_err(|error| if sees_absence { error } else { error.without_absence() })?)
            })*

            /// Forms do not come here. Without this, s3s would put the object.
            async fn post_object(
                &self,
                _: S3Request<dto::PostObjectInput>,
            ) -> S3Result<S3Response<dto::PostObjectOutput>> {
                Err(Error::AccessDenied.into())
            }
        }
    };
}

operations! {
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput,
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput,
    copy_object(CopyObjectInput) -> CopyObjectOutput,
    create_bucket(CreateBucketInput) -> CreateBucketOutput,
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput,
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput,
    delete_bucket_analytics_configuration(DeleteBucketAnalyticsConfigurationInput)
        -> DeleteBucketAnalyticsConfigurationOutput,
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput,
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput,
    delete_bucket_intelligent_tiering_configuration(DeleteBucketIntelligentTieringConfigurationInput)
        -> DeleteBucketIntelligentTieringConfigurationOutput,
    delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput)
        -> DeleteBucketInventoryConfigurationOutput,
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput,
    delete_bucket_metrics_configuration(DeleteBucketMetricsConfigurationInput)
        -> DeleteBucketMetricsConfigurationOutput,
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput,
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput,
    delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput,
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput,
    delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput,
    delete_object(DeleteObjectInput) -> DeleteObjectOutput,
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput,
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput,
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput,
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
        -> GetBucketAccelerateConfigurationOutput,
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput,
    get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput) -> GetBucketAnalyticsConfigurationOutput,
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput,
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput,
    get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput)
        -> GetBucketIntelligentTieringConfigurationOutput,
    get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput) -> GetBucketInventoryConfigurationOutput,
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput,
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput,
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput,
    get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput) -> GetBucketMetricsConfigurationOutput,
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput,
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput,
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput,
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput,
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput,
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput,
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput,
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput,
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput,
    get_object(GetObjectInput) -> GetObjectOutput,
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput,
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput,
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput,
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput,
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput,
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput,
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput,
    head_bucket(HeadBucketInput) -> HeadBucketOutput,
    head_object(HeadObjectInput) -> HeadObjectOutput,
    list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput)
        -> ListBucketAnalyticsConfigurationsOutput,
    list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput)
        -> ListBucketIntelligentTieringConfigurationsOutput,
    list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput)
        -> ListBucketInventoryConfigurationsOutput,
    list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput,
    list_buckets(ListBucketsInput) -> ListBucketsOutput,
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput,
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput,
    list_objects(ListObjectsInput) -> ListObjectsOutput,
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output,
    list_parts(ListPartsInput) -> ListPartsOutput,
    put_bucket_accelerate_configuration(PutBucketAccelerateConfigurationInput)
        -> PutBucketAccelerateConfigurationOutput,
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput,
    put_bucket_analytics_configuration(PutBucketAnalyticsConfigurationInput) -> PutBucketAnalyticsConfigurationOutput,
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput,
    put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput,
    put_bucket_intelligent_tiering_configuration(PutBucketIntelligentTieringConfigurationInput)
        -> PutBucketIntelligentTieringConfigurationOutput,
    put_bucket_inventory_configuration(PutBucketInventoryConfigurationInput) -> PutBucketInventoryConfigurationOutput,
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput,
    put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput,
    put_bucket_metrics_configuration(PutBucketMetricsConfigurationInput) -> PutBucketMetricsConfigurationOutput,
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput)
        -> PutBucketNotificationConfigurationOutput,
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput,
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput,
    put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput,
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput,
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput,
    put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput,
    put_object(PutObjectInput) -> PutObjectOutput,
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput,
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput,
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput,
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput,
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput,
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput,
    upload_part(UploadPartInput) -> UploadPartOutput,
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput,
}
