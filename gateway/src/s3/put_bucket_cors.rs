//! PutBucketCors. `cors.rs` acts on it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{Service, document};
use s3s::dto::{CORSRule, PutBucketCorsInput, PutBucketCorsOutput};
use s3s::{S3Request, S3Response};

const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

pub async fn put_bucket_cors(
    service: &Service,
    request: S3Request<PutBucketCorsInput>,
) -> Result<S3Response<PutBucketCorsOutput>> {
    let configuration = &request.input.cors_configuration;
    let content = document::received(&request, configuration)?;
    check(&configuration.cors_rules)?;
    document::set(service, &request.input.bucket, documents::CORS, Some(content)).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

fn check(rules: &[CORSRule]) -> Result<()> {
    if rules.is_empty() {
        return Err(Error::MalformedXml("The configuration has no CORSRule"));
    }
    let refused = |text: String| Err(Error::InvalidRequest(text));
    if rules.len() > limits::CORS_RULES_MAX {
        let limit = limits::CORS_RULES_MAX;
        return refused(format!("The number of CORS rules should not exceed allowed limit of {limit} rules."));
    }
    for (at, rule) in rules.iter().enumerate() {
        if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(Error::MalformedXml("A CORSRule has an AllowedMethod and an AllowedOrigin"));
        }
        if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return refused(format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}"));
        }
        let more_than_one = |text: &&String| text.matches('*').count() > 1;
        if let Some(origin) = rule.allowed_origins.iter().find(more_than_one) {
            return refused(format!("AllowedOrigin \"{origin}\" can not have more than one wildcard."));
        }
        if let Some(name) = rule.allowed_headers.iter().flatten().find(more_than_one) {
            return refused(format!("AllowedHeader \"{name}\" can not have more than one wildcard."));
        }
        for name in rule.expose_headers.iter().flatten() {
            if name.contains('*') {
                return refused(format!(
                    "ExposeHeader \"{name}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
                ));
            }
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return refused(format!("ExposeHeader \"{name}\" is not the name of a header."));
            }
        }
        if rule.max_age_seconds.is_some_and(|seconds| seconds < 0) {
            return Err(Error::MalformedXml("MaxAgeSeconds is negative"));
        }
        let Some(id) = &rule.id else { continue };
        if id.chars().count() > limits::RULE_ID_CHARACTERS_MAX {
            return refused(format!("ID length should not exceed allowed limit of {}", limits::RULE_ID_CHARACTERS_MAX));
        }
        if rules[..at].iter().any(|earlier| earlier.id.as_ref() == Some(id)) {
            return refused("Rule ID must be unique. Found same ID for more than one rule".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::CORSConfiguration;

    fn code(rules: &str) -> &'static str {
        let document = format!("<CORSConfiguration>{rules}</CORSConfiguration>");
        let configuration: CORSConfiguration = document::parse(document.as_bytes()).expect("readable");
        check(&configuration.cors_rules).map_or_else(|error| error.answer().code, |()| "ok")
    }

    fn rule(more: &str) -> String {
        format!("<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>{more}</CORSRule>")
    }

    #[test]
    fn rules_are_those_of_s3() {
        assert_eq!(code(&rule("")), "ok");
        assert_eq!(
            code(&rule(
                "<ID>a</ID><AllowedOrigin>http://*.example</AllowedOrigin><AllowedHeader>x-*</AllowedHeader>\
                 <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3000</MaxAgeSeconds>"
            )),
            "ok"
        );
        assert_eq!(code(&rule("").repeat(100)), "ok");
        assert_eq!(code(&rule("").repeat(101)), "InvalidRequest");
        for bad in [
            "<AllowedMethod>PATCH</AllowedMethod>",
            "<AllowedMethod>get</AllowedMethod>",
            "<AllowedMethod>OPTIONS</AllowedMethod>",
            "<AllowedOrigin>*.a.*</AllowedOrigin>",
            "<AllowedHeader>*a*</AllowedHeader>",
            "<ExposeHeader>x-*</ExposeHeader>",
            "<ExposeHeader>a b</ExposeHeader>",
            "<ExposeHeader></ExposeHeader>",
        ] {
            assert_eq!(code(&rule(bad)), "InvalidRequest", "{bad}");
        }
        assert_eq!(code(&rule("<MaxAgeSeconds>-1</MaxAgeSeconds>")), "MalformedXML");
        assert_eq!(code(&rule(&format!("<ID>{}</ID>", "a".repeat(256)))), "InvalidRequest");
        assert_eq!(code(&rule("<ID>a</ID>").repeat(2)), "InvalidRequest");
        assert_eq!(check(&[]).expect_err("refused").answer().code, "MalformedXML");
    }
}
