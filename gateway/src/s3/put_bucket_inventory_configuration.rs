//! PutBucketInventoryConfiguration: kept and given back (`listed.rs`).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketInventoryConfiguration.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{Service, listed};
use s3s::dto::{InventoryConfiguration, PutBucketInventoryConfigurationInput, PutBucketInventoryConfigurationOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_inventory_configuration(
    service: &Service,
    request: S3Request<PutBucketInventoryConfigurationInput>,
) -> Result<S3Response<PutBucketInventoryConfigurationOutput>> {
    let input = &request.input;
    let configuration = &input.inventory_configuration;
    check(configuration)?;
    let content = listed::received(&request, &input.id, &configuration.id, configuration)?;
    listed::put(service, &input.bucket, documents::INVENTORY, &input.id, content).await?;
    Ok(S3Response::new(PutBucketInventoryConfigurationOutput::default()))
}

fn check(configuration: &InventoryConfiguration) -> Result<()> {
    let destination = &configuration.destination.s3_bucket_destination;
    let is_one_of = |value: &str, known: &[&str]| known.contains(&value);
    let known = is_one_of(configuration.schedule.frequency.as_str(), &["Daily", "Weekly"])
        && is_one_of(configuration.included_object_versions.as_str(), &["All", "Current"])
        && is_one_of(destination.format.as_str(), &["CSV", "ORC", "Parquet"]);
    if !known {
        return Err(Error::MalformedXml("Frequency, IncludedObjectVersions or Format have an unknown value"));
    }
    listed::check_destination(&destination.bucket)
}
