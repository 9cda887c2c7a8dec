//! CreateMultipartUpload: metadata, tags, lock and checksum algorithm are fixed here. A default retention counts from here.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>

use crate::encryption::Seal;
use crate::error::{Error, Result};
use crate::route::Target;
use crate::s3::{Service, acl_request, attributes};
use common::{Algorithm, ObjectKey};
use s3s::dto::{ChecksumAlgorithm, ChecksumType, CreateMultipartUploadInput, CreateMultipartUploadOutput};
use s3s::{S3Request, S3Response};
use storage::{ChecksumKind, CreateUploadRequest};

pub async fn create_multipart_upload(
    service: &Service,
    request: S3Request<CreateMultipartUploadInput>,
) -> Result<S3Response<CreateMultipartUploadOutput>> {
    let writer = acl_request::writer(&request.extensions);
    let S3Request { input, headers, .. } = request;
    let bucket = service.bucket(&input.bucket)?;
    let key = ObjectKey::parse(&input.key)?;
    let mut attributes = attributes::of_write(&headers, input.metadata, &bucket, service.parts.clock.now_ms())?;
    attributes.acl = service.acl_of_write(&headers, &bucket, &writer)?;
    let algorithm = input.checksum_algorithm.as_ref().map(|name| algorithm(name.as_str())).transpose()?;
    let checksum_type = checksum_type(algorithm, input.checksum_type.as_ref().map(|kind| kind.as_str()))?;
    let create = CreateUploadRequest {
        epoch: service.router.epoch(),
        bucket: bucket.id,
        key: key.clone(),
        attributes,
        algorithm,
        kind: match checksum_type {
            Some(ChecksumType::COMPOSITE) => ChecksumKind::Composite,
            Some(_) | None => ChecksumKind::FullObject,
        },
    };

    let Target::Here(target) = service.router.owner_of(bucket.id, &key);
    let (sealing, answer) = Seal::split(Seal::begin(service, &headers, &bucket, &key).await?);
    let upload = target.create_sealed_upload(create, sealing.map(|sealing| sealing.envelope)).await?;
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload.upload.to_string()),
        checksum_algorithm: algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: checksum_type.map(ChecksumType::from_static),
        ..Default::default()
    };
    Ok(S3Response::with_headers(output, answer))
}

fn algorithm(name: &str) -> Result<Algorithm> {
    Algorithm::parse(name).ok_or_else(|| Error::NotImplemented(format!("The checksum algorithm {name}")))
}

/// Which kinds of checksum an algorithm has: a CRC can be had of the whole object by combining those of the parts, a SHA
/// cannot. What is not asked for is S3's default.
fn checksum_type(algorithm: Option<Algorithm>, asked: Option<&str>) -> Result<Option<&'static str>> {
    const FULL: &str = ChecksumType::FULL_OBJECT;
    const COMPOSITE: &str = ChecksumType::COMPOSITE;
    let wrong = |text: String| Err(Error::InvalidRequest(text));
    match (algorithm, asked) {
        (None, None) => Ok(None),
        (None, Some(_)) => wrong(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.".to_owned(),
        ),
        (Some(Algorithm::Crc64Nvme), None | Some(FULL)) => Ok(Some(FULL)),
        (Some(Algorithm::Crc32 | Algorithm::Crc32c), Some(FULL)) => Ok(Some(FULL)),
        (Some(Algorithm::Crc64Nvme), Some(COMPOSITE)) | (Some(Algorithm::Sha1 | Algorithm::Sha256), Some(FULL)) => {
            let name = algorithm.map_or("", Algorithm::name);
            wrong(format!(
                "The {} checksum type cannot be used with the {name} checksum algorithm.",
                asked.unwrap_or("")
            ))
        }
        (Some(_), None | Some(COMPOSITE)) => Ok(Some(COMPOSITE)),
        (Some(_), Some(_)) => wrong("Value for x-amz-checksum-type header is invalid.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_checksums_follow_the_algorithm() {
        let kind = |algorithm, asked| checksum_type(algorithm, asked).ok().flatten();
        assert_eq!(kind(Some(Algorithm::Crc32), None), Some("COMPOSITE"));
        assert_eq!(kind(Some(Algorithm::Crc32), Some("FULL_OBJECT")), Some("FULL_OBJECT"));
        assert_eq!(kind(Some(Algorithm::Crc64Nvme), None), Some("FULL_OBJECT"));
        assert_eq!(kind(Some(Algorithm::Sha256), None), Some("COMPOSITE"));
        assert!(checksum_type(Some(Algorithm::Sha256), Some("FULL_OBJECT")).is_err());
        assert!(checksum_type(Some(Algorithm::Crc64Nvme), Some("COMPOSITE")).is_err());
        assert!(checksum_type(Some(Algorithm::Crc32), Some("HALF")).is_err());
        assert!(checksum_type(None, Some("COMPOSITE")).is_err());
    }
}
