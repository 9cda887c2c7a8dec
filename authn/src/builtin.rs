//! Policies that exist without anybody making them: AWS's by their names, and the roles of AIStore as policies.
//!
//! Source: "AWS managed policy reference"; the names of AIStore's access levels and roles, `ais auth`.

use crate::policy::{Policy, Purpose};
use std::sync::{Arc, LazyLock};

/// What the ARNs of all of them begin with.
pub const ARN_PREFIX: &str = "arn:aws:iam::aws:policy/";
const BUCKET_OWNER: &str = "bucket-owner:";

pub struct Builtin {
    pub name: &'static str,
    pub description: &'static str,
    /// Its text, version `v1`.
    pub document: &'static str,
}

pub const ALL: [Builtin; 10] = [
    Builtin {
        name: "AdministratorAccess",
        description: "Everything in the account.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
    },
    Builtin {
        name: "AmazonS3FullAccess",
        description: "All buckets and objects of the account.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","s3-object-lambda:*"],"Resource":"*"}]}"#,
    },
    Builtin {
        name: "AmazonS3ReadOnlyAccess",
        description: "Reads all buckets and objects of the account.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:Describe*","s3-object-lambda:Get*","s3-object-lambda:List*"],"Resource":"*"}]}"#,
    },
    Builtin {
        name: "IAMFullAccess",
        description: "Users, groups, roles and policies of the account.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:*","organizations:DescribeAccount","organizations:DescribeOrganization","organizations:DescribeOrganizationalUnit","organizations:DescribePolicy","organizations:ListChildren","organizations:ListParents","organizations:ListPoliciesForTarget","organizations:ListRoots","organizations:ListPolicies","organizations:ListTargetsForPolicy"],"Resource":"*"}]}"#,
    },
    Builtin {
        name: "IAMReadOnlyAccess",
        description: "Reads users, groups, roles and policies of the account.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:GenerateCredentialReport","iam:GenerateServiceLastAccessedDetails","iam:Get*","iam:List*","iam:SimulateCustomPolicy","iam:SimulatePrincipalPolicy"],"Resource":"*"}]}"#,
    },
    // AIStore's `ro`, `rw` and `su`.
    Builtin {
        name: "weir-ro",
        description: "Reads objects and lists buckets.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"}]}"#,
    },
    Builtin {
        name: "weir-rw",
        description: "Reads, writes and deletes objects and lists buckets; changes no bucket.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:PutObject*","s3:DeleteObject*","s3:RenameObject","s3:RestoreObject","s3:AbortMultipartUpload"],"Resource":"*"}]}"#,
    },
    Builtin {
        name: "weir-su",
        description: "All buckets and objects, and past governance retention.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","kms:*"],"Resource":"*"}]}"#,
    },
    // AIStore's roles `ClusterOwner`, `BucketOwner` and `Guest`.
    Builtin {
        name: "cluster-owner",
        description: "The appliance: in the administrators' account only.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["weir:*","s3:*","iam:*","sts:*","kms:*"],"Resource":"*"}]}"#,
    },
    Builtin {
        name: "guest",
        description: "Lists buckets and reads objects, nothing of their configuration.",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion","s3:GetObjectAttributes","s3:GetObjectVersionAttributes","s3:GetBucketLocation","s3:ListAllMyBuckets","s3:ListBucket","s3:ListBucketVersions"],"Resource":"*"}]}"#,
    },
];

static COMPILED: LazyLock<Vec<Arc<Policy>>> = LazyLock::new(|| {
    let parse = |builtin: &Builtin| Policy::parse(builtin.document, Purpose::Identity);
    ALL.iter().map(|builtin| Arc::new(parse(builtin).expect("a test parses all of them"))).collect()
});

/// The text of a built-in policy.
pub fn document(arn: &str) -> Option<String> {
    let name = arn.strip_prefix(ARN_PREFIX)?;
    match name.strip_prefix(BUCKET_OWNER) {
        Some(bucket) => bucket_owner(bucket),
        None => ALL.iter().find(|builtin| builtin.name == name).map(|builtin| builtin.document.to_owned()),
    }
}

/// The same, compiled.
pub fn policy(arn: &str) -> Option<Arc<Policy>> {
    let name = arn.strip_prefix(ARN_PREFIX)?;
    if name.starts_with(BUCKET_OWNER) {
        return Policy::parse(&document(arn)?, Purpose::Identity).ok().map(Arc::new);
    }
    ALL.iter().position(|builtin| builtin.name == name).map(|at| COMPILED[at].clone())
}

/// `bucket-owner:NAME`: everything in this one bucket.
fn bucket_owner(bucket: &str) -> Option<String> {
    let bucket = common::BucketName::parse(bucket).ok()?;
    let arn = format!("arn:aws:s3:::{bucket}");
    Some(format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:*","Resource":["{arn}","{arn}/*"]}}]}}"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MANAGED_POLICY_CHARACTERS_MAX;
    use crate::policy::{Asked, Context, Found, Who, characters};

    fn allows(name: &str, action: &str, resource: &str) -> bool {
        let policy = policy(&format!("{ARN_PREFIX}{name}")).expect(name);
        let context = Context::default();
        let asked = Asked { who: Who::Anonymous, action, resource, context: &context };
        matches!(policy.evaluate(&asked), Found::Allow(..))
    }

    #[test]
    fn each_is_a_policy_and_means_what_it_says() {
        for builtin in &ALL {
            assert!(policy(&format!("{ARN_PREFIX}{}", builtin.name)).is_some(), "{}", builtin.name);
            assert!(characters(builtin.document) <= MANAGED_POLICY_CHARACTERS_MAX);
        }
        assert_eq!(document("arn:aws:iam::aws:policy/none"), None);
        assert_eq!(document("arn:aws:iam::111111111111:policy/guest"), None);
        let object = "arn:aws:s3:::pics/x";
        for (action, who) in [
            ("s3:GetObject", "guest weir-ro weir-rw weir-su cluster-owner AmazonS3ReadOnlyAccess AdministratorAccess"),
            ("s3:GetObjectTagging", "weir-ro weir-rw weir-su cluster-owner AmazonS3ReadOnlyAccess AdministratorAccess"),
            ("s3:PutObject", "weir-rw weir-su cluster-owner AdministratorAccess"),
            ("s3:DeleteObjectVersion", "weir-rw weir-su cluster-owner AdministratorAccess"),
            ("s3:PutBucketPolicy", "weir-su cluster-owner AdministratorAccess"),
            ("s3:BypassGovernanceRetention", "weir-su cluster-owner AdministratorAccess"),
            ("iam:CreateUser", "IAMFullAccess cluster-owner AdministratorAccess"),
            ("iam:GetUser", "IAMReadOnlyAccess IAMFullAccess cluster-owner AdministratorAccess"),
            ("weir:Administer", "cluster-owner AdministratorAccess"),
        ] {
            for builtin in ALL.iter().filter(|builtin| builtin.name != "AmazonS3FullAccess") {
                let expected = who.split(' ').any(|name| name == builtin.name);
                assert_eq!(allows(builtin.name, action, object), expected, "{} {action}", builtin.name);
            }
        }
        assert!(allows("bucket-owner:pics", "s3:PutBucketPolicy", "arn:aws:s3:::pics"));
        assert!(allows("bucket-owner:pics", "s3:PutObject", object));
        assert!(!allows("bucket-owner:pics", "s3:PutObject", "arn:aws:s3:::pics2/x"));
        assert_eq!(document("arn:aws:iam::aws:policy/bucket-owner:*"), None);
        assert_eq!(document("arn:aws:iam::aws:policy/bucket-owner:A\"b"), None);
    }
}
