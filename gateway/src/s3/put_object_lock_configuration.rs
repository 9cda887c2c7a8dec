//! PutObjectLockConfiguration: lets a bucket lock its versions, and says for how long new ones are locked by themselves. It
//! cannot be taken back. A bucket that was made without it needs its versioning switched on first.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLockConfiguration.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{Service, document};
use cluster::Bucket;
use s3s::dto::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
};
use s3s::{S3Request, S3Response};
use storage::Versioning;

pub async fn put_object_lock_configuration(
    service: &Service,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> Result<S3Response<PutObjectLockConfigurationOutput>> {
    let Some(configuration) = &request.input.object_lock_configuration else {
        return Err(Error::MalformedXml("The document is missing"));
    };
    let content = document::received(&request, configuration)?;
    check(configuration)?;
    let decide = move |bucket: &Bucket| {
        if documents::versioning(bucket) == Versioning::Enabled {
            Ok([(documents::OBJECT_LOCK.to_owned(), Some(content.clone()))].into())
        } else {
            Err(Error::InvalidBucketState(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            ))
        }
    };
    document::change(service, &request.input.bucket, decide).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

/// What a bucket is given that is made with locks: no rule.
pub fn enabled() -> ObjectLockConfiguration {
    let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
    ObjectLockConfiguration { object_lock_enabled: Some(enabled), rule: None }
}

fn check(configuration: &ObjectLockConfiguration) -> Result<()> {
    if configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(Error::MalformedXml("ObjectLockEnabled is Enabled"));
    }
    let Some(ObjectLockRule { default_retention }) = &configuration.rule else { return Ok(()) };
    let Some(DefaultRetention { days, mode, years }) = default_retention else {
        return Err(Error::MalformedXml("A rule has a DefaultRetention"));
    };
    match mode.as_ref().map(ObjectLockRetentionMode::as_str) {
        Some(ObjectLockRetentionMode::COMPLIANCE | ObjectLockRetentionMode::GOVERNANCE) => {}
        _ => return Err(Error::MalformedXml("Mode is GOVERNANCE or COMPLIANCE")),
    }
    let (period, most) = match (days, years) {
        (Some(days), None) => (*days, limits::RETENTION_DAYS_MAX),
        (None, Some(years)) => (*years, limits::RETENTION_YEARS_MAX),
        _ => return Err(Error::MalformedXml("A DefaultRetention has either Days or Years")),
    };
    if period < 1 {
        return Err(Error::InvalidRetentionPeriod("Default retention period must be a positive integer value."));
    }
    if period > most {
        return Err(Error::InvalidRetentionPeriod("Default retention period is too large."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(document: &str) -> &'static str {
        let configuration = document::parse(document.as_bytes()).expect("readable");
        check(&configuration).map_or_else(|error| error.answer().code, |()| "ok")
    }

    fn retention(inside: &str) -> &'static str {
        code(&format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{inside}\
             </DefaultRetention></Rule></ObjectLockConfiguration>"
        ))
    }

    #[test]
    fn retention_has_one_period() {
        assert_eq!(retention("<Mode>GOVERNANCE</Mode><Days>1</Days>"), "ok");
        assert_eq!(retention("<Mode>COMPLIANCE</Mode><Days>36500</Days>"), "ok");
        assert_eq!(retention("<Mode>COMPLIANCE</Mode><Years>100</Years>"), "ok");
        assert_eq!(retention("<Mode>COMPLIANCE</Mode><Days>1</Days><Years>1</Years>"), "MalformedXML");
        assert_eq!(retention("<Mode>COMPLIANCE</Mode>"), "MalformedXML");
        assert_eq!(retention("<Days>1</Days>"), "MalformedXML");
        assert_eq!(retention("<Mode>governance</Mode><Days>1</Days>"), "MalformedXML");
        assert_eq!(retention("<Mode>GOVERNANCE</Mode><Days>0</Days>"), "InvalidRetentionPeriod");
        assert_eq!(retention("<Mode>GOVERNANCE</Mode><Years>-1</Years>"), "InvalidRetentionPeriod");
        assert_eq!(retention("<Mode>GOVERNANCE</Mode><Days>36501</Days>"), "InvalidRetentionPeriod");
        assert_eq!(retention("<Mode>GOVERNANCE</Mode><Years>101</Years>"), "InvalidRetentionPeriod");
    }

    #[test]
    fn a_lock_cannot_be_switched_off() {
        let with = |inside: &str| code(&format!("<ObjectLockConfiguration>{inside}</ObjectLockConfiguration>"));
        assert_eq!(with("<ObjectLockEnabled>Enabled</ObjectLockEnabled>"), "ok");
        assert_eq!(with("<ObjectLockEnabled>Disabled</ObjectLockEnabled>"), "MalformedXML");
        assert_eq!(with(""), "MalformedXML");
        assert_eq!(with("<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule></Rule>"), "MalformedXML");
    }
}
