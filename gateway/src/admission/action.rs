//! What each operation needs: one table. An operation that does not stand in it is nobody's (and fails a test, which goes by the
//! table of operations itself).
//!
//! Source: "Actions, resources, and condition keys for Amazon S3", Service Authorization Reference; "Required permissions for
//! Amazon S3 API operations", Amazon S3 User Guide.

use crate::error::{Error, Result};
use http::HeaderMap;
use s3s::dto::CopySource;

/// What an operation is about, as its resource says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// No bucket: the caller's own account.
    Account,
    /// A bucket that is not there yet.
    NewBucket,
    Bucket,
    Object,
    /// Many keys, each of which has a decision of its own, made by the operation.
    Keys,
}

#[derive(Debug)]
pub struct Rule {
    /// As s3s names it, or Weir.
    pub operation: &'static str,
    pub on: On,
    pub action: &'static str,
    /// In place of it where the request names a version.
    of_version: &'static str,
    more: More,
}

/// What an operation can need beside its own action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Nothing,
    /// An action of the same resource, always: alone, and where a version is named.
    Also(&'static str, &'static str),
    /// What the headers of a new object ask for, and a condition on the one that is there.
    Writes,
    /// A condition on the object that is there.
    Ends,
    /// The same as a write, and the source.
    Copies,
    /// The source alone.
    CopiesPart,
    /// What the headers of a new bucket ask for.
    Creates,
    /// The source goes away.
    Renames,
}

const fn rule(operation: &'static str, on: On, action: &'static str) -> Rule {
    Rule { operation, on, action, of_version: action, more: More::Nothing }
}

const fn bucket(operation: &'static str, action: &'static str) -> Rule {
    rule(operation, On::Bucket, action)
}

const fn object(operation: &'static str, action: &'static str, of_version: &'static str) -> Rule {
    Rule { of_version, ..rule(operation, On::Object, action) }
}

/// An object as it will be: there is no version to name.
const fn write(operation: &'static str, more: More) -> Rule {
    Rule { more, ..rule(operation, On::Object, "s3:PutObject") }
}

/// By name, so that one is found quickly.
pub const RULES: &[Rule] = &[
    rule("AbortMultipartUpload", On::Object, "s3:AbortMultipartUpload"),
    write("CompleteMultipartUpload", More::Ends),
    write("CopyObject", More::Copies),
    Rule { more: More::Creates, ..rule("CreateBucket", On::NewBucket, "s3:CreateBucket") },
    write("CreateMultipartUpload", More::Writes),
    bucket("DeleteBucket", "s3:DeleteBucket"),
    bucket("DeleteBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration"),
    bucket("DeleteBucketCors", "s3:PutBucketCORS"),
    bucket("DeleteBucketEncryption", "s3:PutEncryptionConfiguration"),
    bucket("DeleteBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration"),
    bucket("DeleteBucketInventoryConfiguration", "s3:PutInventoryConfiguration"),
    bucket("DeleteBucketLifecycle", "s3:PutLifecycleConfiguration"),
    bucket("DeleteBucketMetricsConfiguration", "s3:PutMetricsConfiguration"),
    bucket("DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    bucket("DeleteBucketPolicy", "s3:DeleteBucketPolicy"),
    bucket("DeleteBucketReplication", "s3:PutReplicationConfiguration"),
    bucket("DeleteBucketTagging", "s3:PutBucketTagging"),
    bucket("DeleteBucketWebsite", "s3:DeleteBucketWebsite"),
    Rule { more: More::Ends, ..object("DeleteObject", "s3:DeleteObject", "s3:DeleteObjectVersion") },
    object("DeleteObjectTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
    rule("DeleteObjects", On::Keys, "s3:DeleteObject"),
    bucket("DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    bucket("GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration"),
    bucket("GetBucketAcl", "s3:GetBucketAcl"),
    bucket("GetBucketAnalyticsConfiguration", "s3:GetAnalyticsConfiguration"),
    bucket("GetBucketCors", "s3:GetBucketCORS"),
    bucket("GetBucketEncryption", "s3:GetEncryptionConfiguration"),
    bucket("GetBucketIntelligentTieringConfiguration", "s3:GetIntelligentTieringConfiguration"),
    bucket("GetBucketInventoryConfiguration", "s3:GetInventoryConfiguration"),
    bucket("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration"),
    bucket("GetBucketLocation", "s3:GetBucketLocation"),
    bucket("GetBucketLogging", "s3:GetBucketLogging"),
    bucket("GetBucketMetricsConfiguration", "s3:GetMetricsConfiguration"),
    bucket("GetBucketNotificationConfiguration", "s3:GetBucketNotification"),
    bucket("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls"),
    bucket("GetBucketPolicy", "s3:GetBucketPolicy"),
    bucket("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus"),
    bucket("GetBucketReplication", "s3:GetReplicationConfiguration"),
    bucket("GetBucketRequestPayment", "s3:GetBucketRequestPayment"),
    bucket("GetBucketTagging", "s3:GetBucketTagging"),
    bucket("GetBucketVersioning", "s3:GetBucketVersioning"),
    bucket("GetBucketWebsite", "s3:GetBucketWebsite"),
    object("GetObject", "s3:GetObject", "s3:GetObjectVersion"),
    object("GetObjectAcl", "s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
    Rule {
        more: More::Also("s3:GetObject", "s3:GetObjectVersion"),
        ..object("GetObjectAttributes", "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes")
    },
    rule("GetObjectLegalHold", On::Object, "s3:GetObjectLegalHold"),
    bucket("GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration"),
    rule("GetObjectRetention", On::Object, "s3:GetObjectRetention"),
    object("GetObjectTagging", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    bucket("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
    bucket("HeadBucket", "s3:ListBucket"),
    object("HeadObject", "s3:GetObject", "s3:GetObjectVersion"),
    bucket("ListBucketAnalyticsConfigurations", "s3:GetAnalyticsConfiguration"),
    bucket("ListBucketIntelligentTieringConfigurations", "s3:GetIntelligentTieringConfiguration"),
    bucket("ListBucketInventoryConfigurations", "s3:GetInventoryConfiguration"),
    bucket("ListBucketMetricsConfigurations", "s3:GetMetricsConfiguration"),
    rule("ListBuckets", On::Account, "s3:ListAllMyBuckets"),
    bucket("ListMultipartUploads", "s3:ListBucketMultipartUploads"),
    bucket("ListObjectVersions", "s3:ListBucketVersions"),
    bucket("ListObjects", "s3:ListBucket"),
    bucket("ListObjectsV2", "s3:ListBucket"),
    rule("ListParts", On::Object, "s3:ListMultipartUploadParts"),
    // MinIO's, by its name and with its action.
    bucket("ListenBucketNotification", "s3:ListenBucketNotification"),
    write("PostObject", More::Writes),
    bucket("PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration"),
    bucket("PutBucketAcl", "s3:PutBucketAcl"),
    bucket("PutBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration"),
    bucket("PutBucketCors", "s3:PutBucketCORS"),
    bucket("PutBucketEncryption", "s3:PutEncryptionConfiguration"),
    bucket("PutBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration"),
    bucket("PutBucketInventoryConfiguration", "s3:PutInventoryConfiguration"),
    bucket("PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
    bucket("PutBucketLogging", "s3:PutBucketLogging"),
    bucket("PutBucketMetricsConfiguration", "s3:PutMetricsConfiguration"),
    bucket("PutBucketNotificationConfiguration", "s3:PutBucketNotification"),
    bucket("PutBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    bucket("PutBucketPolicy", "s3:PutBucketPolicy"),
    bucket("PutBucketRequestPayment", "s3:PutBucketRequestPayment"),
    bucket("PutBucketTagging", "s3:PutBucketTagging"),
    bucket("PutBucketVersioning", "s3:PutBucketVersioning"),
    bucket("PutBucketWebsite", "s3:PutBucketWebsite"),
    write("PutObject", More::Writes),
    object("PutObjectAcl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
    rule("PutObjectLegalHold", On::Object, "s3:PutObjectLegalHold"),
    bucket("PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration"),
    rule("PutObjectRetention", On::Object, "s3:PutObjectRetention"),
    object("PutObjectTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
    bucket("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    // A PutObject to s3s.
    write("RenameObject", More::Renames),
    write("UploadPart", More::Nothing),
    write("UploadPartCopy", More::CopiesPart),
];

pub fn of(operation: &str) -> Option<&'static Rule> {
    let at = RULES.binary_search_by(|rule| rule.operation.cmp(operation)).ok()?;
    Some(&RULES[at])
}

/// An action as the table spells it, if an operation on a bucket or an object can need it.
pub fn by_name(name: &str) -> Option<&'static str> {
    let of_rules = RULES.iter().filter(|rule| !matches!(rule.on, On::Account | On::NewBucket));
    let mut all = of_rules.flat_map(|rule| [rule.action, rule.of_version]).chain(["s3:BypassGovernanceRetention"]);
    all.find(|action| action.eq_ignore_ascii_case(name))
}

/// One right that a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need<'r> {
    pub action: &'static str,
    pub bucket: &'r str,
    pub key: Option<&'r str>,
    pub version: Option<&'r str>,
    /// Where the resource belongs to: the source of a copy may be another bucket's.
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Target,
    Source,
}

impl Need<'_> {
    pub fn resource(&self) -> String {
        match self.key {
            None => format!("arn:aws:s3:::{}", self.bucket),
            Some(key) => format!("arn:aws:s3:::{}/{key}", self.bucket),
        }
    }
}

/// The object that a request's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

impl Source {
    /// As s3s reads it. No copy is decided about without its source.
    pub fn of_copy(headers: &HeaderMap) -> Result<Self> {
        let wrong =
            || Error::InvalidArgument("Copy Source must mention the source bucket and key: /bucket/key".to_owned());
        let text = headers.get("x-amz-copy-source").and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        match CopySource::parse(text.ok_or_else(wrong)?).map_err(|_| wrong())? {
            CopySource::Bucket { bucket, key, version_id } => {
                Ok(Self { bucket: bucket.into(), key: key.into(), version: version_id.map(Into::into) })
            }
            CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
                Err(Error::NotImplemented("A copy source that is an access point".to_owned()))
            }
        }
    }
}

/// What a request names.
#[derive(Debug, Clone, Copy)]
pub struct Names<'r> {
    pub bucket: &'r str,
    pub key: Option<&'r str>,
    pub version: Option<&'r str>,
}

impl Rule {
    /// All that a request needs, its own action first.
    pub fn needs<'r>(&self, names: Names<'r>, source: Option<&'r Source>, headers: &HeaderMap) -> Vec<Need<'r>> {
        let Names { bucket, key, version } = names;
        let key = key.filter(|_| self.on == On::Object);
        let version = version.filter(|_| self.on == On::Object);
        let target = |action| Need { action, bucket, key, version, place: Place::Target };
        let mut needs = vec![target(if version.is_some() { self.of_version } else { self.action })];
        match self.more {
            More::Nothing => {}
            More::Also(action, of_version) => needs.push(target(if version.is_some() { of_version } else { action })),
            More::Writes | More::Copies => needs.extend(of_write(headers).map(target)),
            More::Ends => needs.extend(of_condition(headers).map(target)),
            More::Creates => needs.extend(of_creation(headers).map(target)),
            More::CopiesPart | More::Renames => {}
        }
        if let Some(Source { bucket, key, version }) = source {
            let version = version.as_deref();
            let of_source = |action| Need { action, bucket, key: Some(key), version, place: Place::Source };
            match self.more {
                More::Copies | More::CopiesPart => {
                    needs.push(of_source(if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" }));
                }
                More::Renames => needs.extend(["s3:GetObject", "s3:DeleteObject"].map(of_source)),
                _ => {}
            }
        }
        needs
    }

    /// Whether an object is read or changed whose absence would be news.
    pub fn tells_of_absence(&self, headers: &HeaderMap) -> bool {
        self.on == On::Object && (self.more != More::Writes || headers.contains_key("if-match"))
    }

    /// Its own action where a version is named.
    pub fn of_version(&self) -> &'static str {
        self.of_version
    }

    pub fn moves_tags(&self) -> bool {
        self.more == More::Copies
    }

    /// Whether it makes an object, or begins to.
    pub fn makes_object(&self) -> bool {
        matches!(self.more, More::Writes | More::Copies)
    }

    /// Whether it is about two objects.
    pub fn has_source(&self) -> bool {
        matches!(self.more, More::Copies | More::CopiesPart | More::Renames)
    }
}

/// The rights that a copy needs where its source's tags come along.
pub fn to_move_tags<'r>(names: Names<'r>, source: &'r Source) -> [Need<'r>; 2] {
    let version = source.version.as_deref();
    let read = if version.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
    let Names { bucket, key, .. } = names;
    [
        Need { action: read, bucket: &source.bucket, key: Some(&source.key), version, place: Place::Source },
        Need { action: "s3:PutObjectTagging", bucket, key, version: None, place: Place::Target },
    ]
}

fn asks_for_acl(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name == "x-amz-acl" || name.as_str().starts_with("x-amz-grant-"))
}

fn of_write(headers: &HeaderMap) -> impl Iterator<Item = &'static str> {
    let has = |names: &[&str]| names.iter().any(|name| headers.contains_key(*name));
    let asked = [
        ("s3:PutObjectAcl", asks_for_acl(headers)),
        ("s3:PutObjectTagging", has(&["x-amz-tagging"])),
        ("s3:PutObjectRetention", has(&["x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"])),
        ("s3:PutObjectLegalHold", has(&["x-amz-object-lock-legal-hold"])),
    ];
    asked.into_iter().filter_map(|(action, asked)| asked.then_some(action)).chain(of_condition(headers))
}

/// Whether an ETag is the object's only who may read it gets to know.
fn of_condition(headers: &HeaderMap) -> Option<&'static str> {
    let condition = headers.get("if-match").filter(|value| value.as_bytes() != b"*");
    condition.map(|_| "s3:GetObject")
}

fn of_creation(headers: &HeaderMap) -> impl Iterator<Item = &'static str> {
    let lock = headers.get("x-amz-bucket-object-lock-enabled");
    let locks = lock.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let asked = [
        ("s3:PutBucketAcl", asks_for_acl(headers)),
        ("s3:PutBucketOwnershipControls", headers.contains_key("x-amz-object-ownership")),
        ("s3:PutBucketObjectLockConfiguration", locks),
        ("s3:PutBucketVersioning", locks),
    ];
    asked.into_iter().filter_map(|(action, asked)| asked.then_some(action))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn needed(operation: &str, version: Option<&str>, pairs: &[(&'static str, &'static str)]) -> Vec<String> {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let rule = of(operation).expect("an operation");
        let source = Source::of_copy(&headers).ok().filter(|_| rule.has_source());
        let names = Names { bucket: "b", key: Some("k"), version };
        let needs = rule.needs(names, source.as_ref(), &headers);
        needs.iter().map(|need| format!("{} {}", need.action, &need.resource()["arn:aws:s3:::".len()..])).collect()
    }

    #[test]
    fn operations_are_in_order_and_once() {
        for pair in RULES.windows(2) {
            assert!(pair[0].operation < pair[1].operation, "{} is out of order", pair[1].operation);
        }
    }

    /// A new operation without a decision fails here.
    #[test]
    fn every_operation_has_a_rule() {
        for operation in crate::s3::OPERATIONS {
            let name: String = operation.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            assert!(of(&name).is_some(), "{name} has no rule in admission/action.rs");
        }
        for ours in ["PostObject", "ListenBucketNotification", "RenameObject"] {
            assert!(of(ours).is_some(), "{ours}");
        }
        assert!(of("GetObjectTorrent").is_none());
    }

    /// Every action of the table is one that policies can name.
    #[test]
    fn policies_can_speak_of_every_action() {
        let mut actions: Vec<&str> = RULES.iter().flat_map(|rule| [rule.action, rule.of_version]).collect();
        actions.extend(RULES.iter().filter_map(|rule| match rule.more {
            More::Also(action, _) => Some(action),
            _ => None,
        }));
        for action in actions {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
            );
            authn::policy::Policy::parse(&text, authn::policy::Purpose::Identity).expect(action);
        }
    }

    #[test]
    fn versions_have_actions_of_their_own() {
        for (operation, alone, of_version) in [
            ("GetObject", "s3:GetObject", "s3:GetObjectVersion"),
            ("HeadObject", "s3:GetObject", "s3:GetObjectVersion"),
            ("DeleteObject", "s3:DeleteObject", "s3:DeleteObjectVersion"),
            ("GetObjectTagging", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
            ("PutObjectTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
            ("DeleteObjectTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
            ("GetObjectAcl", "s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
            ("PutObjectAcl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
        ] {
            assert_eq!(needed(operation, None, &[]), [format!("{alone} b/k")]);
            assert_eq!(needed(operation, Some("null"), &[]), [format!("{of_version} b/k")]);
        }
        assert_eq!(needed("GetObjectAttributes", None, &[]), ["s3:GetObjectAttributes b/k", "s3:GetObject b/k"]);
        assert_eq!(
            needed("GetObjectAttributes", Some("v"), &[]),
            ["s3:GetObjectVersionAttributes b/k", "s3:GetObjectVersion b/k"]
        );
    }

    #[test]
    fn names_that_mislead_lead_right() {
        assert_eq!(needed("HeadBucket", None, &[]), ["s3:ListBucket b"]);
        assert_eq!(needed("ListObjects", None, &[]), ["s3:ListBucket b"]);
        assert_eq!(needed("ListObjectsV2", None, &[]), ["s3:ListBucket b"]);
        assert_eq!(needed("ListObjectVersions", None, &[]), ["s3:ListBucketVersions b"]);
        assert_eq!(needed("ListMultipartUploads", None, &[]), ["s3:ListBucketMultipartUploads b"]);
        assert_eq!(needed("ListParts", None, &[]), ["s3:ListMultipartUploadParts b/k"]);
        assert_eq!(needed("AbortMultipartUpload", None, &[]), ["s3:AbortMultipartUpload b/k"]);
        for part in ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"] {
            assert_eq!(needed(part, None, &[]), ["s3:PutObject b/k"]);
        }
    }

    #[test]
    fn copies_need_both_ends() {
        let source = ("x-amz-copy-source", "/src/a%20b");
        let versioned = ("x-amz-copy-source", "src/k?versionId=v");
        for copy in ["CopyObject", "UploadPartCopy"] {
            assert_eq!(needed(copy, None, &[source]), ["s3:PutObject b/k", "s3:GetObject src/a b"]);
            assert_eq!(needed(copy, None, &[versioned]), ["s3:PutObject b/k", "s3:GetObjectVersion src/k"]);
        }
        let moved = Source { bucket: "c".into(), key: "k".into(), version: None };
        let names = Names { bucket: "b", key: Some("k"), version: None };
        let needs = of("RenameObject").expect("ours").needs(names, Some(&moved), &HeaderMap::new());
        let actions: Vec<_> = needs.iter().map(|need| (need.action, need.place)).collect();
        assert_eq!(
            actions,
            [("s3:PutObject", Place::Target), ("s3:GetObject", Place::Source), ("s3:DeleteObject", Place::Source)]
        );
    }

    #[test]
    fn headers_need_rights() {
        let put = |pairs: &[(&'static str, &'static str)]| needed("PutObject", None, pairs).split_off(1);
        assert_eq!(put(&[]), [""; 0]);
        assert_eq!(put(&[("x-amz-acl", "private")]), ["s3:PutObjectAcl b/k"]);
        assert_eq!(put(&[("x-amz-grant-read", "id=a")]), ["s3:PutObjectAcl b/k"]);
        assert_eq!(put(&[("x-amz-tagging", "a=b")]), ["s3:PutObjectTagging b/k"]);
        assert_eq!(put(&[("x-amz-object-lock-mode", "GOVERNANCE")]), ["s3:PutObjectRetention b/k"]);
        assert_eq!(put(&[("x-amz-object-lock-legal-hold", "ON")]), ["s3:PutObjectLegalHold b/k"]);
        assert_eq!(put(&[("if-match", "\"0\"")]), ["s3:GetObject b/k"]);
        assert_eq!(put(&[("if-match", "*")]), [""; 0]);
        let create = |pairs: &[(&'static str, &'static str)]| needed("CreateBucket", None, pairs);
        assert_eq!(create(&[]), ["s3:CreateBucket b"]);
        assert_eq!(
            create(&[("x-amz-acl", "private"), ("x-amz-bucket-object-lock-enabled", "True")]),
            [
                "s3:CreateBucket b",
                "s3:PutBucketAcl b",
                "s3:PutBucketObjectLockConfiguration b",
                "s3:PutBucketVersioning b"
            ]
        );
    }
}
