//! The actions that exist, so that a misspelt one is refused where it is written and not found out when it protects nothing.
//!
//! Source: "Actions, resources, and condition keys for AWS services", Service Authorization Reference; `weir:` are Weir's own.

/// Of buckets and objects, `ListenBucketNotification` of MinIO's, and those of S3 that Weir has no operation for: AWS's own policies name them.
#[rustfmt::skip]
const S3: &[&str] = &[
    "AbortMultipartUpload", "AllowVendedLogDeliveryForResource", "AssociateAccessGrantsIdentityCenter", "BypassGovernanceRetention", "CreateAccessGrant",
    "CreateAccessGrantsInstance", "CreateAccessGrantsLocation", "CreateAccessPoint",
    "CreateAccessPointForObjectLambda", "CreateBucket", "CreateBucketMetadataTableConfiguration", "CreateJob",
    "CreateMultiRegionAccessPoint", "CreateStorageLensGroup", "DeleteAccessGrant", "DeleteAccessGrantsInstance",
    "DeleteAccessGrantsInstanceResourcePolicy", "DeleteAccessGrantsLocation", "DeleteAccessPoint",
    "DeleteAccessPointForObjectLambda", "DeleteAccessPointPolicy", "DeleteAccessPointPolicyForObjectLambda",
    "DeleteBucket", "DeleteBucketMetadataTableConfiguration", "DeleteBucketPolicy", "DeleteBucketWebsite",
    "DeleteJobTagging", "DeleteMultiRegionAccessPoint", "DeleteObject", "DeleteObjectAnnotation",
    "DeleteObjectTagging", "DeleteObjectVersion", "DeleteObjectVersionTagging", "DeleteStorageLensConfiguration",
    "DeleteStorageLensConfigurationTagging", "DeleteStorageLensGroup", "DescribeJob",
    "DescribeMultiRegionAccessPointOperation", "DissociateAccessGrantsIdentityCenter", "GetAccelerateConfiguration",
    "GetAccessGrant", "GetAccessGrantsInstance", "GetAccessGrantsInstanceForPrefix",
    "GetAccessGrantsInstanceResourcePolicy", "GetAccessGrantsLocation", "GetAccessPoint",
    "GetAccessPointConfigurationForObjectLambda", "GetAccessPointForObjectLambda", "GetAccessPointPolicy",
    "GetAccessPointPolicyForObjectLambda", "GetAccessPointPolicyStatus", "GetAccessPointPolicyStatusForObjectLambda",
    "GetAccountPublicAccessBlock", "GetAnalyticsConfiguration", "GetBucketAbac", "GetBucketAcl", "GetBucketCORS",
    "GetBucketLocation", "GetBucketLogging", "GetBucketMetadataTableConfiguration", "GetBucketNotification",
    "GetBucketObjectLockConfiguration", "GetBucketOwnershipControls", "GetBucketPolicy", "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock", "GetBucketRequestPayment", "GetBucketTagging", "GetBucketVersioning",
    "GetBucketWebsite", "GetDataAccess", "GetEncryptionConfiguration", "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration", "GetJobTagging", "GetLifecycleConfiguration", "GetMetricsConfiguration",
    "GetMultiRegionAccessPoint", "GetMultiRegionAccessPointPolicy", "GetMultiRegionAccessPointPolicyStatus",
    "GetMultiRegionAccessPointRoutes", "GetObject", "GetObjectAcl", "GetObjectAnnotation", "GetObjectAttributes",
    "GetObjectLegalHold", "GetObjectRetention", "GetObjectTagging", "GetObjectTorrent", "GetObjectVersion",
    "GetObjectVersionAcl", "GetObjectVersionAttributes", "GetObjectVersionForReplication", "GetObjectVersionTagging",
    "GetObjectVersionTorrent", "GetReplicationConfiguration", "GetStorageLensConfiguration",
    "GetStorageLensConfigurationTagging", "GetStorageLensDashboard", "GetStorageLensGroup", "InitiateReplication",
    "ListAccessGrants", "ListAccessGrantsInstances", "ListAccessGrantsLocations", "ListAccessPoints",
    "ListAccessPointsForObjectLambda", "ListAllMyBuckets", "ListBucket", "ListBucketMultipartUploads",
    "ListBucketVersions", "ListCallerAccessGrants", "ListJobs", "ListMultiRegionAccessPoints",
    "ListMultipartUploadParts", "ListObjectAnnotations", "ListStorageLensConfigurations", "ListStorageLensGroups",
    "ListTagsForResource", "ListenBucketNotification", "ObjectOwnerOverrideToBucketOwner", "PauseReplication", "PutAccelerateConfiguration",
    "PutAccessGrantsInstanceResourcePolicy", "PutAccessPointConfigurationForObjectLambda", "PutAccessPointPolicy",
    "PutAccessPointPolicyForObjectLambda", "PutAccessPointPublicAccessBlock", "PutAccountPublicAccessBlock",
    "PutAnalyticsConfiguration", "PutBucketAbac", "PutBucketAcl", "PutBucketCORS", "PutBucketLogging",
    "PutBucketNotification", "PutBucketObjectLockConfiguration", "PutBucketOwnershipControls", "PutBucketPolicy",
    "PutBucketPublicAccessBlock", "PutBucketRequestPayment", "PutBucketTagging", "PutBucketVersioning",
    "PutBucketWebsite", "PutEncryptionConfiguration", "PutIntelligentTieringConfiguration",
    "PutInventoryConfiguration", "PutJobTagging", "PutLifecycleConfiguration", "PutMetricsConfiguration",
    "PutMultiRegionAccessPointPolicy", "PutObject", "PutObjectAcl", "PutObjectAnnotation", "PutObjectLegalHold",
    "PutObjectRetention", "PutObjectTagging", "PutObjectVersionAcl", "PutObjectVersionTagging",
    "PutReplicationConfiguration", "PutStorageLensConfiguration", "PutStorageLensConfigurationTagging",
    "RenameObject", "ReplicateDelete", "ReplicateObject", "ReplicateTags", "RestoreObject",
    "SubmitMultiRegionAccessPointRoutes", "TagResource", "UntagResource", "UpdateAccessGrantsLocation",
    "UpdateBucketMetadataAnnotationTableConfiguration", "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration", "UpdateJobPriority", "UpdateJobStatus", "UpdateObjectEncryption",
    "UpdateStorageLensGroup",
];

/// Of the IAM API.
#[rustfmt::skip]
const IAM: &[&str] = &[
    "AcceptDelegationRequest", "AcquireRole", "AddClientIDToOpenIDConnectProvider", "AddRoleToInstanceProfile",
    "AddUserToGroup", "AssociateDelegationRequest", "AttachGroupPolicy", "AttachRolePolicy", "AttachUserPolicy",
    "ChangePassword", "CreateAccessKey", "CreateAccountAlias", "CreateDelegationRequest", "CreateGroup",
    "CreateInstanceProfile", "CreateLoginProfile", "CreateOpenIDConnectProvider", "CreatePolicy",
    "CreatePolicyVersion", "CreateRole", "CreateSAMLProvider", "CreateServiceLinkedRole",
    "CreateServiceSpecificCredential", "CreateUser", "CreateVirtualMFADevice", "DeactivateMFADevice",
    "DeleteAccessKey", "DeleteAccountAlias", "DeleteAccountPasswordPolicy", "DeleteCloudFrontPublicKey",
    "DeleteGroup", "DeleteGroupPolicy", "DeleteInstanceProfile", "DeleteLoginProfile", "DeleteOpenIDConnectProvider",
    "DeletePolicy", "DeletePolicyVersion", "DeleteRole", "DeleteRolePermissionsBoundary", "DeleteRolePolicy",
    "DeleteSAMLProvider", "DeleteSSHPublicKey", "DeleteServerCertificate", "DeleteServiceLinkedRole",
    "DeleteServiceSpecificCredential", "DeleteSigningCertificate", "DeleteUser", "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy", "DeleteVirtualMFADevice", "DetachGroupPolicy", "DetachRolePolicy", "DetachUserPolicy",
    "DisableOrganizationsRootCredentialsManagement", "DisableOrganizationsRootSessions",
    "DisableOutboundWebIdentityFederation", "EnableMFADevice", "EnableOrganizationsRootCredentialsManagement",
    "EnableOrganizationsRootSessions", "EnableOutboundWebIdentityFederation", "GenerateCredentialReport",
    "GenerateOrganizationsAccessReport", "GenerateServiceLastAccessedDetails", "GetAccessKeyLastUsed",
    "GetAccountAuthorizationDetails", "GetAccountPasswordPolicy", "GetAccountProperties", "GetAccountSummary",
    "GetCloudFrontPublicKey", "GetContextKeysForCustomPolicy", "GetContextKeysForPrincipalPolicy",
    "GetCredentialReport", "GetDelegationRequest", "GetGroup", "GetGroupPolicy", "GetHumanReadableSummary",
    "GetInstanceProfile", "GetLoginProfile", "GetMFADevice", "GetOpenIDConnectProvider",
    "GetOrganizationsAccessReport", "GetOutboundWebIdentityFederationInfo", "GetPolicy", "GetPolicyVersion",
    "GetRole", "GetRolePolicy", "GetRoleTemplateVersion", "GetSAMLProvider", "GetSSHPublicKey",
    "GetServerCertificate", "GetServiceLastAccessedDetails", "GetServiceLastAccessedDetailsWithEntities",
    "GetServiceLinkedRoleDeletionStatus", "GetUser", "GetUserPolicy", "ListAccessKeys", "ListAccountAliases",
    "ListAttachedGroupPolicies", "ListAttachedRolePolicies", "ListAttachedUserPolicies", "ListCloudFrontPublicKeys",
    "ListDelegationRequests", "ListEntitiesForPolicy", "ListGroupPolicies", "ListGroups", "ListGroupsForUser",
    "ListInstanceProfileTags", "ListInstanceProfiles", "ListInstanceProfilesForRole", "ListMFADeviceTags",
    "ListMFADevices", "ListOpenIDConnectProviderTags", "ListOpenIDConnectProviders", "ListOrganizationsFeatures",
    "ListPolicies", "ListPoliciesGrantingServiceAccess", "ListPolicyTags", "ListPolicyVersions", "ListRolePolicies",
    "ListRoleTags", "ListRoles", "ListSAMLProviderTags", "ListSAMLProviders", "ListSSHPublicKeys",
    "ListSTSRegionalEndpointsStatus", "ListServerCertificateTags", "ListServerCertificates",
    "ListServiceSpecificCredentials", "ListSigningCertificates", "ListUserPolicies", "ListUserTags", "ListUsers",
    "ListVirtualMFADevices", "PassRole", "PutAccountProperties", "PutGroupPolicy", "PutRolePermissionsBoundary",
    "PutRolePolicy", "PutUserPermissionsBoundary", "PutUserPolicy", "RejectDelegationRequest",
    "RemoveClientIDFromOpenIDConnectProvider", "RemoveRoleFromInstanceProfile", "RemoveUserFromGroup",
    "ResetServiceSpecificCredential", "ResyncMFADevice", "SendDelegationToken", "SetDefaultPolicyVersion",
    "SetSTSRegionalEndpointStatus", "SetSecurityTokenServicePreferences", "SimulateCustomPolicy",
    "SimulatePrincipalPolicy", "TagInstanceProfile", "TagMFADevice", "TagOpenIDConnectProvider", "TagPolicy",
    "TagRole", "TagSAMLProvider", "TagServerCertificate", "TagUser", "UntagInstanceProfile", "UntagMFADevice",
    "UntagOpenIDConnectProvider", "UntagPolicy", "UntagRole", "UntagSAMLProvider", "UntagServerCertificate",
    "UntagUser", "UpdateAccessKey", "UpdateAccountPasswordPolicy", "UpdateAssumeRolePolicy",
    "UpdateCloudFrontPublicKey", "UpdateDelegationRequest", "UpdateGroup", "UpdateLoginProfile",
    "UpdateOpenIDConnectProvider", "UpdateOpenIDConnectProviderThumbprint", "UpdateRole", "UpdateRoleDescription",
    "UpdateSAMLProvider", "UpdateSSHPublicKey", "UpdateServerCertificate", "UpdateServiceSpecificCredential",
    "UpdateSigningCertificate", "UpdateUser", "UploadCloudFrontPublicKey", "UploadSSHPublicKey",
    "UploadServerCertificate", "UploadSigningCertificate",
];

/// Of STS; `AssumeRoleWithCertificate` is of MinIO's.
#[rustfmt::skip]
const STS: &[&str] = &[
    "AssumeRole", "AssumeRoleWithCertificate", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot",
    "DecodeAuthorizationMessage", "GetAccessKeyInfo", "GetCallerIdentity", "GetDelegatedAccessToken",
    "GetFederationToken", "GetScopedCredentials", "GetServiceBearerToken", "GetSessionToken", "GetWebIdentityToken",
    "SetContext", "SetSourceIdentity", "TagSession",
];

/// Actions of these services are taken as they are: Weir asks for none of them, or checks their names itself.
const UNCHECKED: &[&str] = &["kms", "organizations", "s3-object-lambda", "s3express", "weir"];

/// The action as whoever asks for it spells it: `s3:GetObject` for `s3:getobject`. A pattern, and an action of another service, in
/// lower case. An error if nobody could ever ask for it. What comes in is in lower case and has a service.
pub(super) fn spelled(pattern: &str) -> Result<String, String> {
    let (service, name) = pattern.split_once(':').unwrap_or_default();
    let table = match service {
        "s3" => S3,
        "iam" => IAM,
        "sts" => STS,
        _ if UNCHECKED.contains(&service) => return Ok(pattern.to_owned()),
        _ => return Err(format!("knows no service {service:?}")),
    };
    if name.contains(['*', '?']) {
        return Ok(pattern.to_owned());
    }
    let known = table.iter().find(|action| action.eq_ignore_ascii_case(name));
    known.map(|action| format!("{service}:{action}")).ok_or_else(|| format!("knows no action {name:?} of {service}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_actions_are_unknown() {
        for known in
            ["s3:getobject", "s3:get*", "s3:x*", "iam:createuser", "sts:assumerole", "weir:administer", "kms:decrypt"]
        {
            assert!(spelled(known).is_ok_and(|spelled| spelled.eq_ignore_ascii_case(known)), "{known}");
        }
        assert_eq!(spelled("s3:getobject"), Ok("s3:GetObject".to_owned()));
        for unknown in ["s3:getobjects", "s3:", "ec2:runinstances", "s3", "iam:createusr"] {
            assert!(spelled(unknown).is_err(), "{unknown}");
        }
    }
}
