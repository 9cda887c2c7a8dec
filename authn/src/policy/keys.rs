//! The condition keys that exist. A misspelt one would be missing in every request, and what it protects stays open.
//!
//! Source: "AWS global condition context keys", AWS IAM User Guide; "Condition keys for Amazon S3", Service Authorization
//! Reference. Keys that Weir has no value for (organisations, private networks) are known too: they are missing, as they are in
//! AWS for who has none of these.

/// In lower case. Those that end in a slash go on with the name of a tag.
#[rustfmt::skip]
const AWS: &[&str] = &[
    "assumedroot", "calledvia", "calledviafirst", "calledvialast", "chatbotsourcearn", "currenttime",
    "ec2instancesourceprivateipv4", "ec2instancesourcevpc", "epochtime", "federatedprovider", "multifactorauthage",
    "multifactorauthpresent", "principalaccount", "principalarn", "principalisawsservice", "principalorgid",
    "principalorgpaths", "principalservicename", "principalservicenameslist", "principaltag/", "principaltype", "referer",
    "requestedregion", "requesttag/", "resourceaccount", "resourceorgid", "resourceorgpaths", "resourcetag/",
    "securetransport", "sourceaccount", "sourcearn", "sourceidentity", "sourceip", "sourceorgid", "sourceorgpaths",
    "sourceowner", "sourcevpc", "sourcevpcarn", "sourcevpce", "tagkeys", "tokenissuetime", "useragent", "userid", "username",
    "viaawsservice", "vpceaccount", "vpceorgid", "vpceorgpaths", "vpcsourceip",
];

#[rustfmt::skip]
const S3: &[&str] = &[
    "accessgrantsinstancearn", "accesspointnetworkorigin", "accesspointtag/", "authtype", "buckettag/",
    "dataaccesspointaccount", "dataaccesspointarn", "delimiter", "destinationregion", "existingjoboperation",
    "existingjobpriority", "existingobjecttag/", "if-match", "if-none-match", "inventoryaccessibleoptionalfields",
    "isreplicationpauserequest", "jobsuspendedcause", "locationconstraint", "max-keys", "object-lock-legal-hold",
    "object-lock-mode", "object-lock-remaining-retention-days", "object-lock-retain-until-date",
    "objectcreationoperation", "prefix", "requestjoboperation", "requestjobpriority", "requestobjecttag/",
    "requestobjecttagkeys", "resourceaccount", "signatureage", "signatureversion", "tlsversion", "versionid", "x-amz-acl",
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

fn is_in(table: &[&str], name: &str) -> bool {
    match name.split_once('/') {
        Some((kind, tag)) => !tag.is_empty() && table.iter().any(|known| known.strip_suffix('/') == Some(kind)),
        None => table.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
