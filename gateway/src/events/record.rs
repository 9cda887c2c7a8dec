//! One event as S3 writes it.
//!
//! Source: "Event message structure", Amazon S3 User Guide.

use cluster::Bucket;
use common::VersionId;
use serde_json::{Value, json};
use std::fmt::Write;
use storage::feed::{Change, Event};
use time::OffsetDateTime;
use time::macros::format_description;

/// Without the `s3:` before it, as in a record.
pub fn name_of(change: Change) -> &'static str {
    match change {
        Change::Put => "ObjectCreated:Put",
        Change::Post => "ObjectCreated:Post",
        // A change of metadata is a copy of an object onto itself.
        Change::Copy | Change::Metadata => "ObjectCreated:Copy",
        Change::CompleteUpload => "ObjectCreated:CompleteMultipartUpload",
        Change::Tags => "ObjectTagging:Put",
        Change::TagsRemoved => "ObjectTagging:Delete",
        Change::Acl => "ObjectAcl:Put",
        // S3 has no events for these; the names are MinIO's.
        Change::Retention => "ObjectCreated:PutRetention",
        Change::LegalHold => "ObjectCreated:PutLegalHold",
        Change::Transition => "LifecycleTransition",
        Change::Delete => "ObjectRemoved:Delete",
        Change::DeleteMarker => "ObjectRemoved:DeleteMarkerCreated",
        Change::Expired => "LifecycleExpiration:Delete",
        Change::ExpiredByMarker => "LifecycleExpiration:DeleteMarkerCreated",
    }
}

/// Events that S3 added later have a higher version.
fn version_of(name: &str) -> &'static str {
    let early = name.starts_with("ObjectCreated:") || name.starts_with("ObjectRemoved:");
    if early { "2.1" } else { "2.3" }
}

/// What the record says of its surroundings.
pub struct Context<'c> {
    pub bucket: &'c Bucket,
    pub region: &'c str,
    /// The `Id` of the configuration that asked for it.
    pub configuration: &'c str,
    pub now_ms: u64,
}

/// Who asked and from where is not kept: the principal is the bucket's owner, or S3 itself where a rule of the bucket did it.
pub fn record(event: &Event, context: &Context<'_>) -> Value {
    let name = name_of(event.change);
    let by_rule = name.starts_with("Lifecycle");
    let owner = context.bucket.owner.0.as_str();
    let mut object = json!({
        "key": encoded(&event.key),
        "sequencer": format!("{:016X}", event.stamp.0),
    });
    if let Some(etag) = &event.etag {
        object["size"] = json!(event.size);
        object["eTag"] = json!(etag.to_string());
    }
    if let VersionId::Id(..) = event.version {
        object["versionId"] = json!(event.version.to_string());
    }
    json!({
        "eventVersion": version_of(name),
        "eventSource": "aws:s3",
        "awsRegion": context.region,
        "eventTime": iso8601(event.at_ms.unwrap_or(context.now_ms)),
        "eventName": name,
        "userIdentity": { "principalId": if by_rule { "s3.amazonaws.com" } else { owner } },
        "requestParameters": { "sourceIPAddress": if by_rule { "s3.amazonaws.com" } else { "" } },
        "responseElements": { "x-amz-request-id": "", "x-amz-id-2": "" },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": context.configuration,
            "bucket": {
                "name": context.bucket.name.as_str(),
                "ownerIdentity": { "principalId": owner },
                "arn": format!("arn:aws:s3:::{}", context.bucket.name),
            },
            "object": object,
        },
    })
}

/// As S3 does it: like a form's value, but slashes stay.
fn encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' | b'/' => text.push(byte as char),
            b' ' => text.push('+'),
            other => write!(text, "%{other:02X}").expect("a string takes everything"),
        }
    }
    text
}

/// With milliseconds, which S3 always writes.
pub fn iso8601(ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    time.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::BucketState;
    use common::{BucketId, BucketName, ETag, OwnerId, Stamp};
    use std::collections::BTreeMap;

    #[test]
    fn a_record_has_the_structure_of_s3() {
        let bucket = Bucket {
            id: BucketId(1),
            name: BucketName::parse("photos").expect("a name"),
            owner: OwnerId("ann".into()),
            created_ms: 0,
            version: 1,
            state: BucketState::Active,
            region: "us-east-1".into(),
            documents: BTreeMap::new(),
        };
        let event = Event {
            stamp: Stamp(0x2_0000_000a),
            bucket: BucketId(1),
            key: "in/red flower+ü.jpg".into(),
            version: VersionId::Null,
            change: Change::Put,
            size: 7,
            etag: Some(ETag::of_md5([0; 16])),
            at_ms: Some(784_111_777_009),
        };
        let context = Context { bucket: &bucket, region: "eu-west-1", configuration: "all", now_ms: 0 };
        let told = record(&event, &context);
        assert_eq!(told["eventName"], "ObjectCreated:Put");
        assert_eq!(told["eventTime"], "1994-11-06T08:49:37.009Z");
        assert_eq!(told["eventVersion"], "2.1");
        assert_eq!(told["s3"]["bucket"]["arn"], "arn:aws:s3:::photos");
        assert_eq!(
            told["s3"]["object"],
            json!({
                "key": "in/red+flower%2B%C3%BC.jpg",
                "size": 7,
                "eTag": "00000000000000000000000000000000",
                "sequencer": "000000020000000A",
            })
        );
        let version = VersionId::Id(Stamp(9), 1);
        let gone = Event { change: Change::Delete, etag: None, version, ..event };
        let told = record(&gone, &context);
        assert_eq!(told["s3"]["object"].get("size"), None);
        assert_eq!(told["s3"]["object"]["versionId"], version.to_string());
    }
}
