//! The condition keys that exist. A misspelt one would be missing in every request, and what it protects stays open.
//!
//! Source: "AWS global condition context keys", AWS IAM User Guide; "Condition keys for Amazon S3", Service Authorization
//! Reference. Keys that Weir has no value for (organisations, private networks) are known too: they are missing, as they are in
//! AWS for who has none of these.

/// Spelled as AWS does. Those that end in a slash go on with the name of a tag.
#[rustfmt::skip]
const AWS: &[&str] = &[
    "AssumedRoot", "CalledVia", "CalledViaFirst", "CalledViaLast", "ChatbotSourceArn", "CurrentTime",
    "Ec2InstanceSourcePrivateIPv4", "Ec2InstanceSourceVpc", "EpochTime", "FederatedProvider", "MultiFactorAuthAge",
    "MultiFactorAuthPresent", "PrincipalAccount", "PrincipalArn", "PrincipalIsAWSService", "PrincipalOrgID",
    "PrincipalOrgPaths", "PrincipalServiceName", "PrincipalServiceNamesList", "PrincipalTag/", "PrincipalType", "Referer",
    "RequestedRegion", "RequestTag/", "ResourceAccount", "ResourceOrgID", "ResourceOrgPaths", "ResourceTag/",
    "SecureTransport", "SourceAccount", "SourceArn", "SourceIdentity", "SourceIp", "SourceOrgID", "SourceOrgPaths",
    "SourceOwner", "SourceVpc", "SourceVpcArn", "SourceVpce", "TagKeys", "TokenIssueTime", "UserAgent", "userid", "username",
    "ViaAWSService", "VpceAccount", "VpceOrgID", "VpceOrgPaths", "VpcSourceIp",
];

#[rustfmt::skip]
const S3: &[&str] = &[
    "AccessGrantsInstanceArn", "AccessPointNetworkOrigin", "AccessPointTag/", "authType", "BucketTag/",
    "DataAccessPointAccount", "DataAccessPointArn", "delimiter", "DestinationRegion", "ExistingJobOperation",
    "ExistingJobPriority", "ExistingObjectTag/", "if-match", "if-none-match", "InventoryAccessibleOptionalFields",
    "isReplicationPauseRequest", "JobSuspendedCause", "LocationConstraint", "max-keys", "object-lock-legal-hold",
    "object-lock-mode", "object-lock-remaining-retention-days", "object-lock-retain-until-date",
    "ObjectCreationOperation", "prefix", "RequestJobOperation", "RequestJobPriority", "RequestObjectTag/",
    "RequestObjectTagKeys", "ResourceAccount", "signatureAge", "signatureversion", "TlsVersion", "VersionId", "x-amz-acl",
    "x-amz-content-sha256", "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp",
    "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive", "x-amz-object-ownership",
    "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location",
];

/// Keys of other prefixes are taken as they are: issuers of web identities have their own (`idp.example.com:sub`).
pub(super) fn is_known(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // An issuer may have a port and a path: the name of the key stands behind the last colon.
    match key.split_once(':') {
        Some(("aws", name)) => is_in(AWS, name),
        Some(("s3", name)) => is_in(S3, name),
        _ => key.rsplit_once(':').is_some_and(|(prefix, name)| !prefix.is_empty() && !name.is_empty()),
    }
}

fn is_in(table: &[&'static str], name: &str) -> bool {
    match name.split_once('/') {
        Some((kind, tag)) => !tag.is_empty() && tag_kind(table, kind).is_some(),
        None => table.iter().any(|known| known.eq_ignore_ascii_case(name)),
    }
}

fn tag_kind(table: &[&'static str], kind: &str) -> Option<&'static str> {
    table.iter().copied().find(|known| known.strip_suffix('/').is_some_and(|known| known.eq_ignore_ascii_case(kind)))
}

/// A key in lower case as AWS spells it, for whoever reads it.
pub(super) fn spelled(key: &str) -> String {
    let (table, prefix, name) = match key.split_once(':') {
        Some(("aws", name)) => (AWS, "aws", name),
        Some(("s3", name)) => (S3, "s3", name),
        _ => return key.to_owned(),
    };
    match name.split_once('/') {
        Some((kind, tag)) => tag_kind(table, kind).map(|kind| format!("{prefix}:{kind}{tag}")),
        None => table.iter().find(|known| known.eq_ignore_ascii_case(name)).map(|known| format!("{prefix}:{known}")),
    }
    .unwrap_or_else(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_as_aws_spells_them() {
        for key in [
            "aws:SourceIp",
            "aws:username",
            "s3:ExistingObjectTag/a",
            "s3:x-amz-acl",
            "aws:PrincipalTag/a/b",
            "idp:sub",
        ] {
            assert_eq!(spelled(&key.to_ascii_lowercase()), key);
        }
        assert_eq!(spelled("aws:none"), "aws:none");
    }

    #[test]
    fn misspelt_keys_are_unknown() {
        for known in [
            "aws:SourceIp",
            "AWS:sourceip",
            "s3:VersionId",
            "aws:PrincipalTag/a/b",
            "jwt:groups",
            "https://idp:8443/x:sub",
        ] {
            assert!(is_known(known), "{known}");
        }
        for unknown in
            ["aws:SourcIp", "aws:PrincipalTag", "aws:PrincipalTag/", "aws:", "s3:x-amz-acll", "", "x", ":x", "x:"]
        {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
