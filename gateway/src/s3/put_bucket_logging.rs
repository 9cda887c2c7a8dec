//! PutBucketLogging: access to this bucket is logged into objects of another one, of the same owner. Grants on these objects
//! are refused by name, as grants are everywhere. `crate::access_log` acts on it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLogging.html>

use crate::access;
use crate::access_log::{Destination, KeyFormat};
use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{Service, document};
use cluster::{Bucket, ControlPlane};
use s3s::dto::{
    BucketLoggingStatus, LoggingEnabled, ObjectLockConfiguration, PartitionDateSource, PutBucketLoggingInput,
    PutBucketLoggingOutput,
};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_logging(
    service: &Service,
    request: S3Request<PutBucketLoggingInput>,
) -> Result<S3Response<PutBucketLoggingOutput>> {
    let status = &request.input.bucket_logging_status;
    let content = document::received(&request, status)?;
    let Some(logging) = &status.logging_enabled else {
        document::set(service, &request.input.bucket, documents::LOGGING, None).await?;
        return Ok(S3Response::new(PutBucketLoggingOutput::default()));
    };
    check(logging)?;
    let bucket = service.bucket(&request.input.bucket)?;
    check_target(&*service.parts.control, &bucket, &logging.target_bucket)?;
    document::set(service, &request.input.bucket, documents::LOGGING, Some(content)).await?;
    Ok(S3Response::new(PutBucketLoggingOutput::default()))
}

/// Where a document that was kept sends the lines.
pub fn destination(content: &[u8]) -> Result<Destination> {
    let status: BucketLoggingStatus = document::parse(content)?;
    let logging = status.logging_enabled.ok_or(Error::Internal("a bucket without a log is logged"))?;
    let partitioned = logging.target_object_key_format.and_then(|format| format.partitioned_prefix);
    let format = match partitioned.map(|partitioned| partitioned.partition_date_source) {
        None => KeyFormat::Simple,
        Some(Some(source)) if source.as_str() == PartitionDateSource::EVENT_TIME => KeyFormat::ByEvent,
        Some(_) => KeyFormat::ByDelivery,
    };
    Ok(Destination { bucket: logging.target_bucket, prefix: logging.target_prefix, format })
}

fn check(logging: &LoggingEnabled) -> Result<()> {
    if logging.target_grants.as_ref().is_some_and(|grants| !grants.is_empty()) {
        return Err(Error::NotImplemented("TargetGrants".to_owned()));
    }
    if logging.target_prefix.len() > limits::LOG_PREFIX_BYTES_MAX {
        let limit = limits::LOG_PREFIX_BYTES_MAX;
        return Err(Error::InvalidArgument(format!("The TargetPrefix has more than {limit} bytes")));
    }
    let Some(format) = &logging.target_object_key_format else { return Ok(()) };
    match (&format.simple_prefix, &format.partitioned_prefix) {
        (Some(_), None) => Ok(()),
        (None, Some(partitioned)) => {
            match partitioned.partition_date_source.as_ref().map(PartitionDateSource::as_str) {
                None | Some(PartitionDateSource::EVENT_TIME | PartitionDateSource::DELIVERY_TIME) => Ok(()),
                Some(_) => Err(Error::MalformedXml("PartitionDateSource is EventTime or DeliveryTime")),
            }
        }
        _ => Err(Error::MalformedXml("TargetObjectKeyFormat has either a SimplePrefix or a PartitionedPrefix")),
    }
}

fn check_target(control: &dyn ControlPlane, bucket: &Bucket, target: &str) -> Result<()> {
    let refused = |why| Err(Error::InvalidTargetBucket(why));
    let Ok(target) = access::find(control, target) else {
        return refused("The target bucket for logging does not exist");
    };
    if target.owner != bucket.owner {
        return refused("The owner for the bucket to be logged and the target bucket must be the same.");
    }
    let lock: Option<ObjectLockConfiguration> = document::read(&target, documents::OBJECT_LOCK)?;
    if lock.is_some_and(|lock| lock.rule.is_some()) {
        return refused("The target bucket for logging cannot have a default retention period.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(inside: &str) -> &'static str {
        let document = format!(
            "<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket>{inside}</LoggingEnabled>\
             </BucketLoggingStatus>"
        );
        let status: BucketLoggingStatus = document::parse(document.as_bytes()).expect("readable");
        check(&status.logging_enabled.expect("there")).map_or_else(|error| error.answer().code, |()| "ok")
    }

    #[test]
    fn targets_are_described_once() {
        let with = |format: &str| {
            code(&format!("<TargetPrefix>a/</TargetPrefix><TargetObjectKeyFormat>{format}</TargetObjectKeyFormat>"))
        };
        assert_eq!(code("<TargetPrefix></TargetPrefix>"), "ok");
        assert_eq!(with("<SimplePrefix/>"), "ok");
        assert_eq!(with("<PartitionedPrefix/>"), "ok");
        let source = |source| {
            with(&format!("<PartitionedPrefix><PartitionDateSource>{source}</PartitionDateSource></PartitionedPrefix>"))
        };
        assert_eq!(source("EventTime"), "ok");
        assert_eq!(source("DeliveryTime"), "ok");
        assert_eq!(source("kaboom"), "MalformedXML");
        assert_eq!(with("<SimplePrefix/><PartitionedPrefix/>"), "MalformedXML");
        assert_eq!(with(""), "MalformedXML");
        assert_eq!(code(&format!("<TargetPrefix>{}</TargetPrefix>", "a".repeat(1000))), "InvalidArgument");
        let grants = "<TargetPrefix/><TargetGrants><Grant><Permission>READ</Permission></Grant></TargetGrants>";
        assert_eq!(code(grants), "NotImplemented");
    }
}
