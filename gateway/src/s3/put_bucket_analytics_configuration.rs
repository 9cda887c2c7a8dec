//! PutBucketAnalyticsConfiguration: kept and given back (`listed.rs`).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAnalyticsConfiguration.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, listed};
use s3s::dto::{AnalyticsConfiguration, PutBucketAnalyticsConfigurationInput, PutBucketAnalyticsConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_analytics_configuration(
    service: &Service,
    request: S3Request<PutBucketAnalyticsConfigurationInput>,
) -> Result<S3Response<PutBucketAnalyticsConfigurationOutput>> {
    let input = &request.input;
    let configuration = &input.analytics_configuration;
    check(configuration)?;
    let content = listed::received(&request, &input.id, &configuration.id, configuration)?;
    listed::put(service, &input.bucket, documents::ANALYTICS, &input.id, content).await?;
    Ok(S3Response::new(PutBucketAnalyticsConfigurationOutput::default()))
}

fn check(configuration: &AnalyticsConfiguration) -> Result<()> {
    let Some(export) = &configuration.storage_class_analysis.data_export else { return Ok(()) };
    let destination = &export.destination.s3_bucket_destination;
    if export.output_schema_version.as_str() != "V_1" || destination.format.as_str() != "CSV" {
        return Err(Error::MalformedXml("OutputSchemaVersion is V_1, and Format is CSV"));
    }
    listed::check_destination(&destination.bucket)
}
