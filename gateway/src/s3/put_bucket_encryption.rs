//! PutBucketEncryption: one rule, which says what a write is encrypted with that does not say so itself.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{Service, document};
use s3s::dto::{
    PutBucketEncryptionInput, PutBucketEncryptionOutput, ServerSideEncryption, ServerSideEncryptionConfiguration,
};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_encryption(
    service: &Service,
    request: S3Request<PutBucketEncryptionInput>,
) -> Result<S3Response<PutBucketEncryptionOutput>> {
    let configuration = &request.input.server_side_encryption_configuration;
    let content = document::received(&request, configuration)?;
    check(configuration)?;
    document::set(service, &request.input.bucket, documents::ENCRYPTION, Some(content)).await?;
    Ok(S3Response::new(PutBucketEncryptionOutput::default()))
}

fn check(configuration: &ServerSideEncryptionConfiguration) -> Result<()> {
    let [rule] = configuration.rules.as_slice() else {
        return Err(Error::MalformedXml("The configuration has one Rule"));
    };
    let Some(default) = &rule.apply_server_side_encryption_by_default else {
        return Err(Error::MalformedXml("A Rule has an ApplyServerSideEncryptionByDefault"));
    };
    match (default.sse_algorithm.as_str(), &default.kms_master_key_id) {
        (ServerSideEncryption::AES256, None) | (ServerSideEncryption::AWS_KMS, None) => Ok(()),
        (ServerSideEncryption::AWS_KMS, Some(key)) if !(1..=limits::KMS_KEY_ID_BYTES_MAX).contains(&key.len()) => {
            Err(Error::InvalidArgument("The KMSMasterKeyID is not well formed".to_owned()))
        }
        (ServerSideEncryption::AWS_KMS, Some(_)) => Ok(()),
        (ServerSideEncryption::AES256, Some(_)) => Err(Error::InvalidArgument(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms".to_owned(),
        )),
        (ServerSideEncryption::AWS_KMS_DSSE, _) => Err(Error::NotImplemented("Encryption in two layers".to_owned())),
        _ => Err(Error::MalformedXml("SSEAlgorithm is AES256 or aws:kms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(rules: &str) -> &'static str {
        let document = format!("<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>");
        let configuration = document::parse(document.as_bytes()).expect("readable");
        check(&configuration).map_or_else(|error| error.answer().code, |()| "ok")
    }

    fn rule(inside: &str) -> String {
        format!("<Rule><ApplyServerSideEncryptionByDefault>{inside}</ApplyServerSideEncryptionByDefault></Rule>")
    }

    #[test]
    fn one_rule_with_a_known_algorithm() {
        assert_eq!(code(&rule("<SSEAlgorithm>AES256</SSEAlgorithm>")), "ok");
        assert_eq!(code(&rule("<SSEAlgorithm>aws:kms</SSEAlgorithm>")), "ok");
        assert_eq!(code(&rule("<KMSMasterKeyID>k</KMSMasterKeyID><SSEAlgorithm>aws:kms</SSEAlgorithm>")), "ok");
        assert_eq!(code(&rule("<KMSMasterKeyID/><SSEAlgorithm>aws:kms</SSEAlgorithm>")), "InvalidArgument");
        assert_eq!(
            code(&rule("<KMSMasterKeyID>k</KMSMasterKeyID><SSEAlgorithm>AES256</SSEAlgorithm>")),
            "InvalidArgument"
        );
        assert_eq!(code(&rule("<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>")), "NotImplemented");
        assert_eq!(code(&rule("<SSEAlgorithm>aes256</SSEAlgorithm>")), "MalformedXML");
        assert_eq!(code("<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>"), "MalformedXML");
        assert_eq!(code(&rule("<SSEAlgorithm>AES256</SSEAlgorithm>").repeat(2)), "MalformedXML");
    }
}
