//! PutBucketVersioning. Versioning that was ever on can be suspended and not be switched off; a bucket that can lock its
//! versions keeps them. Deletion with a second factor does not exist here and is refused by name.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketVersioning.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use cluster::Bucket;
use http::HeaderMap;
use s3s::dto::{
    BucketVersioningStatus, MFADelete, PutBucketVersioningInput, PutBucketVersioningOutput, VersioningConfiguration,
};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_versioning(
    service: &Service,
    request: S3Request<PutBucketVersioningInput>,
) -> Result<S3Response<PutBucketVersioningOutput>> {
    document::received(&request, &request.input.versioning_configuration)?;
    let status = wanted(&request.input.versioning_configuration, &request.headers)?;
    let decide = move |bucket: &Bucket| {
        if status == BucketVersioningStatus::SUSPENDED && documents::can_lock(bucket) {
            return Err(Error::InvalidBucketState(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            ));
        }
        Ok([(documents::VERSIONING.to_owned(), Some(status.as_bytes().to_vec()))].into())
    };
    document::change(service, &request.input.bucket, decide).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

fn wanted(configuration: &VersioningConfiguration, headers: &HeaderMap) -> Result<&'static str> {
    let second_factor = || Error::NotImplemented("Deletion with multi-factor authentication".to_owned());
    if headers.contains_key("x-amz-mfa") {
        return Err(second_factor());
    }
    match configuration.mfa_delete.as_ref().map(MFADelete::as_str) {
        None | Some(MFADelete::DISABLED) => {}
        Some(MFADelete::ENABLED) => return Err(second_factor()),
        Some(_) => return Err(Error::MalformedXml("MfaDelete is Enabled or Disabled")),
    }
    match configuration.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Ok(BucketVersioningStatus::ENABLED),
        Some(BucketVersioningStatus::SUSPENDED) => Ok(BucketVersioningStatus::SUSPENDED),
        Some(_) => Err(Error::MalformedXml("Status is Enabled or Suspended")),
        None => Err(Error::IllegalVersioning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_states_are_taken() {
        let code = |status: Option<&str>, mfa: Option<&str>| {
            let configuration = VersioningConfiguration {
                mfa_delete: mfa.map(|mfa| MFADelete::from(mfa.to_owned())),
                status: status.map(|status| BucketVersioningStatus::from(status.to_owned())),
            };
            wanted(&configuration, &HeaderMap::new()).map_err(|error| error.answer().code)
        };
        assert_eq!(code(Some("Enabled"), None), Ok("Enabled"));
        assert_eq!(code(Some("Suspended"), Some("Disabled")), Ok("Suspended"));
        assert_eq!(code(Some("enabled"), None), Err("MalformedXML"));
        assert_eq!(code(Some("Enabled"), Some("Enabled")), Err("NotImplemented"));
        assert_eq!(code(Some("Enabled"), Some("On")), Err("MalformedXML"));
        assert_eq!(code(None, None), Err("IllegalVersioningConfigurationException"));
    }
}
