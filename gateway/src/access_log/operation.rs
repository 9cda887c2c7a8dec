//! What access logs call an operation: `REST.`, the method, and the kind of resource.
//!
//! Source: "Amazon S3 server access log format", Amazon S3 User Guide, field "Operation".

/// `operation` is S3's name of it, `-` where a request was refused before it had one.
pub fn of(method: &str, operation: &str, names_a_key: bool) -> String {
    match operation {
        "CopyObject" => "REST.COPY.OBJECT".to_owned(),
        "UploadPartCopy" => "REST.COPY.PART".to_owned(),
        "Website" => format!("WEBSITE.{method}.OBJECT"),
        _ => format!("REST.{method}.{}", resource(operation).unwrap_or(if names_a_key { "OBJECT" } else { "BUCKET" })),
    }
}

/// One key of a DeleteObjects.
pub const DELETED_KEY: &str = "BATCH.DELETE.OBJECT";

/// What is read of the source of a copy.
pub fn of_source(operation: &str) -> &'static str {
    if operation == "UploadPartCopy" { "REST.COPY.PART_GET" } else { "REST.COPY.OBJECT_GET" }
}

fn resource(operation: &str) -> Option<&'static str> {
    // Of every verb: Get, Put, Delete, List.
    let verbs = ["Get", "Put", "Delete", "List", "Create"];
    let noun = verbs.iter().find_map(|verb| operation.strip_prefix(verb)).unwrap_or(operation);
    Some(match noun {
        "Object" | "HeadObject" | "PostObject" | "Bucket" | "HeadBucket" | "Objects" | "ObjectsV2"
            if operation != "DeleteObjects" =>
        {
            return None;
        }
        "Objects" => "MULTI_OBJECT_DELETE",
        "ObjectVersions" => "BUCKETVERSIONS",
        "MultipartUploads" => "UPLOADS",
        "MultipartUpload" => "UPLOADS",
        "CompleteMultipartUpload" | "AbortMultipartUpload" | "Parts" => "UPLOAD",
        "UploadPart" => "PART",
        "ObjectAttributes" => "OBJECT_ATTRIBUTES",
        "ObjectAcl" | "BucketAcl" => "ACL",
        "ObjectTagging" => "OBJECT_TAGGING",
        "ObjectLegalHold" => "LEGAL_HOLD",
        "ObjectRetention" => "OBJECT_LOCK_RETENTION",
        "ObjectLockConfiguration" => "OBJECT_LOCK_CONFIGURATION",
        "BucketAccelerateConfiguration" => "ACCELERATE",
        "BucketCors" => "CORS",
        "BucketEncryption" => "ENCRYPTION",
        "BucketLifecycle" | "BucketLifecycleConfiguration" => "LIFECYCLE",
        "BucketLocation" => "LOCATION",
        "BucketLogging" => "LOGGING_STATUS",
        "BucketNotificationConfiguration" => "NOTIFICATION",
        "BucketOwnershipControls" => "OWNERSHIP_CONTROLS",
        "BucketPolicy" => "BUCKETPOLICY",
        "BucketPolicyStatus" => "POLICY_STATUS",
        "PublicAccessBlock" => "PUBLIC_ACCESS_BLOCK",
        "BucketReplication" => "REPLICATION",
        "BucketRequestPayment" => "REQUEST_PAYMENT",
        "BucketTagging" => "TAGGING",
        "BucketVersioning" => "VERSIONING",
        "BucketWebsite" => "WEBSITE",
        "BucketAnalyticsConfiguration" | "BucketAnalyticsConfigurations" => "ANALYTICS",
        "BucketInventoryConfiguration" | "BucketInventoryConfigurations" => "INVENTORY",
        "BucketMetricsConfiguration" | "BucketMetricsConfigurations" => "METRICS",
        "BucketIntelligentTieringConfiguration" | "BucketIntelligentTieringConfigurations" => "INTELLIGENT_TIERING",
        "PreflightObject" => "PREFLIGHT",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_s3() {
        for (method, operation, names_a_key, expected) in [
            ("GET", "GetObject", true, "REST.GET.OBJECT"),
            ("HEAD", "HeadObject", true, "REST.HEAD.OBJECT"),
            ("PUT", "PutObject", true, "REST.PUT.OBJECT"),
            ("PUT", "CopyObject", true, "REST.COPY.OBJECT"),
            ("PUT", "UploadPart", true, "REST.PUT.PART"),
            ("PUT", "UploadPartCopy", true, "REST.COPY.PART"),
            ("POST", "CreateMultipartUpload", true, "REST.POST.UPLOADS"),
            ("POST", "CompleteMultipartUpload", true, "REST.POST.UPLOAD"),
            ("DELETE", "AbortMultipartUpload", true, "REST.DELETE.UPLOAD"),
            ("GET", "ListParts", true, "REST.GET.UPLOAD"),
            ("GET", "ListMultipartUploads", false, "REST.GET.UPLOADS"),
            ("DELETE", "DeleteObject", true, "REST.DELETE.OBJECT"),
            ("POST", "DeleteObjects", false, "REST.POST.MULTI_OBJECT_DELETE"),
            ("POST", "PostObject", false, "REST.POST.BUCKET"),
            ("GET", "ListObjectsV2", false, "REST.GET.BUCKET"),
            ("GET", "ListObjects", false, "REST.GET.BUCKET"),
            ("GET", "ListObjectVersions", false, "REST.GET.BUCKETVERSIONS"),
            ("HEAD", "HeadBucket", false, "REST.HEAD.BUCKET"),
            ("DELETE", "DeleteBucket", false, "REST.DELETE.BUCKET"),
            ("GET", "GetBucketVersioning", false, "REST.GET.VERSIONING"),
            ("PUT", "PutBucketLogging", false, "REST.PUT.LOGGING_STATUS"),
            ("DELETE", "DeleteBucketLifecycle", false, "REST.DELETE.LIFECYCLE"),
            ("GET", "GetBucketPolicy", false, "REST.GET.BUCKETPOLICY"),
            ("GET", "ListBucketMetricsConfigurations", false, "REST.GET.METRICS"),
            ("OPTIONS", "PreflightObject", true, "REST.OPTIONS.PREFLIGHT"),
            ("GET", "Website", false, "WEBSITE.GET.OBJECT"),
            ("GET", "-", true, "REST.GET.OBJECT"),
            ("PUT", "-", false, "REST.PUT.BUCKET"),
        ] {
            assert_eq!(of(method, operation, names_a_key), expected, "{operation}");
        }
        assert_eq!(of_source("CopyObject"), "REST.COPY.OBJECT_GET");
        assert_eq!(of_source("UploadPartCopy"), "REST.COPY.PART_GET");
    }
}
