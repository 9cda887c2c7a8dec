//! PutBucketIntelligentTieringConfiguration: kept and given back (`listed.rs`).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketIntelligentTieringConfiguration.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, listed};
use s3s::dto::{
    IntelligentTieringConfiguration, PutBucketIntelligentTieringConfigurationInput,
    PutBucketIntelligentTieringConfigurationOutput,
};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_intelligent_tiering_configuration(
    service: &Service,
    request: S3Request<PutBucketIntelligentTieringConfigurationInput>,
) -> Result<S3Response<PutBucketIntelligentTieringConfigurationOutput>> {
    let input = &request.input;
    let configuration = &input.intelligent_tiering_configuration;
    check(configuration)?;
    let content = listed::received(&request, &input.id, &configuration.id, configuration)?;
    listed::put(service, &input.bucket, documents::INTELLIGENT_TIERING, &input.id, content).await?;
    Ok(S3Response::new(PutBucketIntelligentTieringConfigurationOutput::default()))
}

fn check(configuration: &IntelligentTieringConfiguration) -> Result<()> {
    if !["Enabled", "Disabled"].contains(&configuration.status.as_str()) {
        return Err(Error::MalformedXml("Status is Enabled or Disabled"));
    }
    if configuration.tierings.is_empty() {
        return Err(Error::MalformedXml("The configuration has a Tiering"));
    }
    for tiering in &configuration.tierings {
        let days = match tiering.access_tier.as_str() {
            "ARCHIVE_ACCESS" => 90..=730,
            "DEEP_ARCHIVE_ACCESS" => 180..=730,
            _ => return Err(Error::MalformedXml("AccessTier is ARCHIVE_ACCESS or DEEP_ARCHIVE_ACCESS")),
        };
        if !days.contains(&tiering.days) {
            return Err(Error::InvalidArgument("The Days of a Tiering are too few or too many".to_owned()));
        }
    }
    Ok(())
}
