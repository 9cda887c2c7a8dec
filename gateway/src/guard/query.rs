//! The sub-resource allow-list. s3s 0.14.1 routes a sub-resource that it does not know to the plain verb, so that
//! `DELETE key?annotation` would delete the object. Here every query key is known for its method and level, or the request
//! is refused before s3s sees it.

use crate::error::{Error, Result};
use http::Method;
use std::borrow::Cow;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Root,
    Bucket,
    Object,
}

impl Level {
    /// From a decoded path, exactly as s3s reads it.
    pub fn of(path: &str, bucket_in_host: bool) -> Self {
        let rest = path.strip_prefix('/').unwrap_or(path);
        if bucket_in_host {
            return if rest.is_empty() { Self::Bucket } else { Self::Object };
        }
        match rest.split_once('/') {
            None if rest.is_empty() => Self::Root,
            None | Some((_, "")) => Self::Bucket,
            Some(_) => Self::Object,
        }
    }
}

/// One operation as the query names it: its sub-resource (none for the plain verb), what else it takes, what it needs.
struct Shape {
    sub_resource: Option<&'static str>,
    takes: &'static [&'static str],
    needs: &'static [&'static str],
}

const fn plain(takes: &'static [&'static str]) -> Shape {
    Shape { sub_resource: None, takes, needs: &[] }
}

const fn sub(name: &'static str, takes: &'static [&'static str]) -> Shape {
    Shape { sub_resource: Some(name), takes, needs: &[] }
}

const READ: &[&str] = &[
    "versionId",
    "partNumber",
    "response-content-type",
    "response-content-language",
    "response-expires",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
];

/// `metadata` is MinIO's extension: its clients list with it and take an answer without. `allow-unordered` is Ceph's: an
/// order does no harm to who does not ask for one. `KeyMarker` and `UploadIdMarker`
/// are what s3cmd calls the markers of ListMultipartUploads.
const GET_BUCKET: &[Shape] = &[
    plain(&[
        "delimiter",
        "encoding-type",
        "marker",
        "max-keys",
        "prefix",
        "list-type",
        "continuation-token",
        "fetch-owner",
        "start-after",
        "metadata",
        "allow-unordered",
    ]),
    sub(
        "uploads",
        &[
            "delimiter",
            "encoding-type",
            "key-marker",
            "max-uploads",
            "prefix",
            "upload-id-marker",
            "KeyMarker",
            "UploadIdMarker",
        ],
    ),
    sub(
        "versions",
        &["delimiter", "encoding-type", "key-marker", "max-keys", "prefix", "version-id-marker", "metadata"],
    ),
    sub(EVENTS, &["prefix", "suffix", "cursor", "after", "ping"]),
    sub("accelerate", &[]),
    sub("acl", &[]),
    sub("cors", &[]),
    sub("encryption", &[]),
    sub("lifecycle", &[]),
    sub("location", &[]),
    sub("logging", &[]),
    sub("notification", &[]),
    sub("object-lock", &[]),
    sub("ownershipControls", &[]),
    sub("policy", &[]),
    sub("policyStatus", &[]),
    sub("publicAccessBlock", &[]),
    sub("replication", &[]),
    sub("requestPayment", &[]),
    sub("tagging", &[]),
    sub("versioning", &[]),
    sub("website", &[]),
    sub("analytics", LISTED),
    sub("intelligent-tiering", LISTED),
    sub("inventory", LISTED),
    sub("metrics", LISTED),
];

/// What a form's redirect adds to its address (`s3/post_object.rs`). Where that is the bucket's own, its listing is asked for
/// with all three, which select nothing.
const REDIRECTED: [&str; 3] = ["bucket", "key", "etag"];

/// MinIO's: each event that is wanted is one of these.
const EVENTS: &str = "events";

/// With an id one configuration is read, without one they are listed.
const LISTED: &[&str] = &["id", "continuation-token"];

/// One of the configurations of which a bucket has many.
const fn one_of(name: &'static str) -> Shape {
    Shape { sub_resource: Some(name), takes: &["id"], needs: &["id"] }
}

const GET_OBJECT: &[Shape] = &[
    plain(READ),
    sub("uploadId", &["max-parts", "part-number-marker", "encoding-type"]),
    sub("acl", &["versionId"]),
    sub("attributes", &["versionId"]),
    sub("legal-hold", &["versionId"]),
    sub("retention", &["versionId"]),
    sub("tagging", &["versionId"]),
];

/// The configuration documents whose absence S3 confirms.
const DELETE_BUCKET: &[Shape] = &[
    plain(&[]),
    sub("cors", &[]),
    sub("encryption", &[]),
    sub("lifecycle", &[]),
    sub("ownershipControls", &[]),
    sub("policy", &[]),
    sub("publicAccessBlock", &[]),
    sub("replication", &[]),
    sub("tagging", &[]),
    sub("website", &[]),
    one_of("analytics"),
    one_of("intelligent-tiering"),
    one_of("inventory"),
    one_of("metrics"),
];

/// The configuration documents that a bucket can be given.
const PUT_BUCKET: &[Shape] = &[
    plain(&[]),
    sub("accelerate", &[]),
    sub("acl", &[]),
    sub("ownershipControls", &[]),
    sub("cors", &[]),
    sub("encryption", &[]),
    sub("lifecycle", &[]),
    sub("logging", &[]),
    sub("notification", &[]),
    sub("object-lock", &[]),
    sub("policy", &[]),
    sub("publicAccessBlock", &[]),
    sub("requestPayment", &[]),
    sub("tagging", &[]),
    sub("versioning", &[]),
    sub("website", &[]),
    one_of("analytics"),
    one_of("intelligent-tiering"),
    one_of("inventory"),
    one_of("metrics"),
];

const DELETE_OBJECT: &[Shape] = &[plain(&["versionId"]), sub("uploadId", &[]), sub("tagging", &["versionId"])];

const PUT_OBJECT: &[Shape] = &[
    plain(&[]),
    Shape { sub_resource: Some("uploadId"), takes: &["partNumber"], needs: &["partNumber"] },
    sub("acl", &["versionId"]),
    sub("legal-hold", &["versionId"]),
    sub("renameObject", &[]),
    sub("retention", &["versionId"]),
    sub("tagging", &["versionId"]),
];

fn shapes(method: &Method, level: Level) -> Option<&'static [Shape]> {
    Some(match (method.as_str(), level) {
        ("GET", Level::Root) => &const { [plain(&["prefix", "max-buckets", "continuation-token", "bucket-region"])] },
        ("GET", Level::Bucket) => GET_BUCKET,
        ("GET", Level::Object) => GET_OBJECT,
        ("HEAD", Level::Bucket) => &const { [plain(&[])] },
        ("HEAD", Level::Object) => &const { [plain(READ)] },
        ("PUT", Level::Bucket) => PUT_BUCKET,
        ("PUT", Level::Object) => PUT_OBJECT,
        ("POST", Level::Bucket) => &const { [sub("delete", &[])] },
        ("POST", Level::Object) => &const { [sub("uploads", &[]), sub("uploadId", &[])] },
        ("DELETE", Level::Bucket) => DELETE_BUCKET,
        ("DELETE", Level::Object) => DELETE_OBJECT,
        _ => return None,
    })
}

/// Keys that belong to the signature of a presigned URL, or that SDKs add to any request.
fn is_universal(key: &str) -> bool {
    const PRESIGNED: [&str; 9] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
        "x-id",
    ];
    // Presigners move these from headers to the query; without the body at hand their values are placeholders.
    PRESIGNED.contains(&key)
        || key == "x-amz-checksum-mode"
        || key == "x-amz-sdk-checksum-algorithm"
        || key == "x-amz-user-agent"
        || key.starts_with("x-amz-checksum-")
}

/// Whether a query names the plain verb.
pub fn is_plain(pairs: &[Pair<'_>]) -> bool {
    pairs.iter().all(|(key, _)| is_universal(key))
}

/// Refuses every query that is not exactly one known operation.
pub fn check(method: &Method, level: Level, pairs: &[Pair<'_>]) -> Result<()> {
    let shapes = shapes(method, level).ok_or(Error::MethodNotAllowed)?;
    let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_ref()).filter(|key| !is_universal(key)).collect();
    let is_repeated = |at: usize, key: &&str| *key != EVENTS && keys[..at].contains(key);
    if let Some(key) = keys.iter().enumerate().find_map(|(at, key)| is_repeated(at, key).then_some(key)) {
        return Err(Error::InvalidArgument(format!("the query parameter {key} is there twice")));
    }
    if *method == Method::GET && level == Level::Bucket && keys == REDIRECTED {
        return Ok(());
    }
    let named = shapes.iter().find(|shape| shape.sub_resource.is_some_and(|name| keys.contains(&name)));
    let shape = named.or_else(|| shapes.iter().find(|shape| shape.sub_resource.is_none()));
    let unknown = |key: &str| Error::NotImplemented(format!("{method} with the query parameter {key}"));
    let Some(shape) = shape else {
        return Err(keys.first().map_or(Error::MethodNotAllowed, |key| unknown(key)));
    };
    if let Some(key) = keys.iter().find(|key| Some(**key) != shape.sub_resource && !shape.takes.contains(key)) {
        return Err(unknown(key));
    }
    match shape.needs.iter().find(|key| !keys.contains(key)) {
        Some(key) => Err(Error::InvalidArgument(format!("the query parameter {key} is missing"))),
        None => Ok(()),
    }
}

/// The pairs of a query; what needs no decoding is borrowed.
pub type Pair<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The pairs of a query, decoded as s3s decodes them (`application/x-www-form-urlencoded`), by the same crate.
pub fn pairs(query: &str) -> Vec<Pair<'_>> {
    form_urlencoded::parse(query.as_bytes()).collect()
}

/// The value of the first pair of this name, as `pairs` would give it. Names that are written as they are need no decoding,
/// and what is looked for is rarely there.
pub fn value_of<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let is_named = |piece: &&str| {
        let written = piece.split_once('=').map_or(*piece, |(written, _)| written);
        match written.contains(['%', '+']) {
            false => written == name,
            true => form_urlencoded::parse(written.as_bytes()).next().is_some_and(|(written, _)| written == name),
        }
    };
    let piece = query.split('&').filter(|piece| !piece.is_empty()).find(is_named)?;
    form_urlencoded::parse(piece.as_bytes()).next().map(|(_, value)| value)
}

/// Percent-decoding that leaves malformed escapes as they are, as s3s's does.
pub fn percent_decode(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(method: Method, level: Level, query: &str) -> &'static str {
        check(&method, level, &pairs(query)).map_or_else(|error| error.answer().code, |()| "ok")
    }

    /// What SDKs can send and s3s would have routed to the plain verb: each would lose or change data.
    #[test]
    fn unknown_sub_resources_never_fall_through() {
        for (method, level, query) in [
            (Method::DELETE, Level::Object, "annotation"),
            (Method::DELETE, Level::Object, "annotation=x&versionId=null"),
            (Method::DELETE, Level::Object, "tagging&uploadId=x"),
            (Method::DELETE, Level::Object, "legal-hold"),
            (Method::DELETE, Level::Bucket, "metadataConfiguration"),
            (Method::DELETE, Level::Bucket, "metrics&id=x&uploadId=y"),
            (Method::PUT, Level::Bucket, "replication"),
            (Method::PUT, Level::Bucket, "cors&tagging"),
            (Method::DELETE, Level::Bucket, "policy&cors"),
            (Method::PUT, Level::Object, "annotation"),
            (Method::PUT, Level::Object, "encryption"),
            (Method::PUT, Level::Object, "renameObject&versionId=null"),
            (Method::PUT, Level::Bucket, "renameObject"),
            (Method::PUT, Level::Object, "partNumber=1"),
            (Method::PUT, Level::Bucket, "abac"),
            (Method::GET, Level::Object, "annotation"),
            (Method::GET, Level::Bucket, "metadataConfiguration"),
            (Method::GET, Level::Bucket, "acl&tagging"),
            (Method::GET, Level::Bucket, "versions&uploads"),
            (Method::POST, Level::Object, "restore"),
            (Method::POST, Level::Bucket, "metadataTable"),
            (Method::GET, Level::Bucket, "bucket=b&key=k"),
            (Method::GET, Level::Bucket, "bucket=b&key=k&etag=e&acl"),
            (Method::GET, Level::Bucket, "bucket=b&key=k&etag=e&prefix=p"),
            (Method::PUT, Level::Bucket, "bucket=b&key=k&etag=e"),
            (Method::DELETE, Level::Bucket, "bucket=b&key=k&etag=e"),
            (Method::GET, Level::Object, "bucket=b&key=k&etag=e"),
            (Method::GET, Level::Object, "%61nnotation"),
            (Method::PUT, Level::Object, "x-amz-acl=public-read"),
        ] {
            assert_eq!(code(method.clone(), level, query), "NotImplemented", "{method} {query}");
        }
    }

    #[test]
    fn what_clients_send_every_day_passes() {
        for (method, level, query) in [
            (Method::GET, Level::Root, "x-id=ListBuckets&max-buckets=10"),
            (
                Method::GET,
                Level::Bucket,
                "list-type=2&prefix=a&delimiter=%2F&encoding-type=url&fetch-owner=true&metadata=true",
            ),
            (Method::GET, Level::Bucket, "location"),
            (Method::GET, Level::Bucket, "uploads&KeyMarker=a&UploadIdMarker=b"),
            (Method::GET, Level::Bucket, "versions&max-keys=2"),
            (Method::GET, Level::Bucket, "events=s3:ObjectCreated:*&events=s3:ObjectRemoved:*&prefix=a&ping=5"),
            (Method::GET, Level::Object, "versionId=null&response-content-type=a&partNumber=1&x-id=GetObject"),
            (Method::GET, Level::Bucket, "bucket=b&key=k&etag=%22e%22"),
            (Method::GET, Level::Object, "uploadId=x&max-parts=3"),
            (Method::GET, Level::Object, "attributes&versionId=null"),
            (Method::GET, Level::Bucket, "allow-unordered=true"),
            (Method::PUT, Level::Object, "partNumber=1&uploadId=x&x-id=UploadPart"),
            (Method::PUT, Level::Object, "X-Amz-Signature=a&X-Amz-Expires=5&x-amz-checksum-crc32=AAAAAA%3D%3D"),
            (Method::PUT, Level::Object, "acl&versionId=null"),
            (Method::PUT, Level::Object, "tagging"),
            (Method::PUT, Level::Object, "renameObject&x-id=RenameObject"),
            (Method::PUT, Level::Object, "retention&versionId=null"),
            (Method::PUT, Level::Object, "legal-hold="),
            (Method::PUT, Level::Bucket, "acl"),
            (Method::PUT, Level::Bucket, "ownershipControls"),
            (Method::PUT, Level::Bucket, "lifecycle="),
            (Method::PUT, Level::Bucket, "policy"),
            (Method::PUT, Level::Bucket, "publicAccessBlock"),
            (Method::PUT, Level::Bucket, "inventory&id=x&x-id=PutBucketInventoryConfiguration"),
            (Method::GET, Level::Bucket, "metrics&continuation-token=a"),
            (Method::DELETE, Level::Bucket, "intelligent-tiering&id=x"),
            (Method::POST, Level::Object, "uploads="),
            (Method::POST, Level::Object, "uploadId=x"),
            (Method::POST, Level::Bucket, "delete="),
            (Method::DELETE, Level::Object, "uploadId=x"),
            (Method::DELETE, Level::Bucket, ""),
            (Method::DELETE, Level::Bucket, "policy"),
            (Method::DELETE, Level::Bucket, "publicAccessBlock="),
            (Method::DELETE, Level::Object, "tagging&versionId=null"),
        ] {
            assert_eq!(code(method.clone(), level, query), "ok", "{method} {query}");
        }
    }

    #[test]
    fn half_an_operation_is_refused() {
        assert_eq!(code(Method::PUT, Level::Object, "uploadId=x"), "InvalidArgument");
        assert_eq!(code(Method::PUT, Level::Bucket, "inventory"), "InvalidArgument");
        assert_eq!(code(Method::DELETE, Level::Bucket, "metrics"), "InvalidArgument");
        assert_eq!(code(Method::GET, Level::Bucket, "prefix=a&prefix=b"), "InvalidArgument");
        assert_eq!(code(Method::POST, Level::Object, ""), "MethodNotAllowed");
        assert_eq!(code(Method::POST, Level::Root, ""), "MethodNotAllowed");
        assert_eq!(code(Method::PATCH, Level::Object, ""), "MethodNotAllowed");
        assert_eq!(code(Method::HEAD, Level::Root, ""), "MethodNotAllowed");
    }

    #[test]
    fn levels_are_read_like_s3s_reads_them() {
        assert_eq!(Level::of("/", false), Level::Root);
        assert_eq!(Level::of("/b", false), Level::Bucket);
        assert_eq!(Level::of("/b/", false), Level::Bucket);
        assert_eq!(Level::of("/b/k", false), Level::Object);
        assert_eq!(Level::of("/b//", false), Level::Object);
        assert_eq!(Level::of(&percent_decode("/b%2Fk"), false), Level::Object);
        assert_eq!(Level::of("/", true), Level::Bucket);
        assert_eq!(Level::of("/k", true), Level::Object);
    }

    #[test]
    fn one_value_is_what_it_is_among_all() {
        let queries = [
            "",
            "&",
            "=",
            "=x",
            "a",
            "a=",
            "a=1",
            "a=1&a=2",
            "b&a=%20c+d",
            "%61=1",
            "a%3D=1",
            "a%=1",
            "a%zz=1&a=2",
            "+a=1&a",
            "a==",
            "a=b=c",
            "A=1",
            "&&a=%ff",
            "%61%3d&a",
            "a%26=1",
            "aa=1&a",
        ];
        for query in queries {
            for name in ["a", "", " a", "a=", "a%", "a%zz", "a&", "aa"] {
                let among_all = pairs(query).into_iter().find(|(key, _)| key == name).map(|(_, value)| value);
                assert_eq!(value_of(query, name), among_all, "{query} {name}");
            }
        }
    }

    #[test]
    fn queries_are_decoded() {
        assert_eq!(pairs("a=b%20c+d&&e"), [("a".into(), "b c d".into()), ("e".into(), "".into())]);
        assert_eq!(pairs("a%3D=%zz%4"), [("a=".into(), "%zz%4".into())]);
    }
}
