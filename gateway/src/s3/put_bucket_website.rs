//! PutBucketWebsite.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketWebsite.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{Service, document};
use s3s::dto::{
    Condition, Protocol, PutBucketWebsiteInput, PutBucketWebsiteOutput, Redirect, RoutingRule, WebsiteConfiguration,
};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_website(
    service: &Service,
    request: S3Request<PutBucketWebsiteInput>,
) -> Result<S3Response<PutBucketWebsiteOutput>> {
    let configuration = &request.input.website_configuration;
    let content = document::received(&request, configuration)?;
    check(configuration)?;
    document::set(service, &request.input.bucket, documents::WEBSITE, Some(content)).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput::default()))
}

fn argument(text: &str) -> Error {
    Error::InvalidArgument(text.to_owned())
}

fn request(text: impl Into<String>) -> Error {
    Error::InvalidRequest(text.into())
}

fn check(configuration: &WebsiteConfiguration) -> Result<()> {
    let WebsiteConfiguration { error_document, index_document, redirect_all_requests_to, routing_rules } =
        configuration;
    if let Some(redirect) = redirect_all_requests_to {
        if error_document.is_some() || index_document.is_some() || routing_rules.is_some() {
            return Err(argument("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."));
        }
        check_host_name(&redirect.host_name)?;
        return check_protocol(redirect.protocol.as_ref());
    }
    let Some(index) = index_document else {
        return Err(argument("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"));
    };
    if index.suffix.is_empty() || index.suffix.contains('/') || !is_of_a_key(&index.suffix) {
        return Err(argument("The IndexDocument Suffix is not well formed"));
    }
    if error_document.as_ref().is_some_and(|error| error.key.is_empty() || !is_of_a_key(&error.key)) {
        return Err(argument("The ErrorDocument Key is not well formed"));
    }
    let rules = routing_rules.as_deref().unwrap_or_default();
    if rules.len() > limits::ROUTING_RULES_MAX {
        let (count, limit) = (rules.len(), limits::ROUTING_RULES_MAX);
        return Err(request(format!(
            "{count} routing rules provided, the number of routing rules in a website configuration is limited to {limit}."
        )));
    }
    rules.iter().try_for_each(check_rule)
}

fn check_rule(rule: &RoutingRule) -> Result<()> {
    if let Some(Condition { http_error_code_returned_equals: code, key_prefix_equals: prefix }) = &rule.condition {
        if code.is_none() && prefix.is_none() {
            return Err(request(
                "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be \
                 present.",
            ));
        }
        if let Some(code) = code.as_ref().filter(|code| !is_status(code, 400..=599)) {
            return Err(request(format!(
                "The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX."
            )));
        }
        if prefix.as_ref().is_some_and(|prefix| !is_of_a_key(prefix)) {
            return Err(argument("The KeyPrefixEquals is not well formed"));
        }
    }
    let Redirect { host_name, http_redirect_code, protocol, replace_key_prefix_with, replace_key_with } =
        &rule.redirect;
    if rule.redirect == Redirect::default() {
        return Err(request("Redirect cannot be empty."));
    }
    if replace_key_prefix_with.is_some() && replace_key_with.is_some() {
        return Err(request("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    if [replace_key_prefix_with, replace_key_with].into_iter().flatten().any(|key| !is_of_a_key(key)) {
        return Err(argument("The key of a Redirect is not well formed"));
    }
    if let Some(code) = http_redirect_code.as_ref().filter(|code| !is_status(code, 301..=399)) {
        return Err(request(format!(
            "The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300."
        )));
    }
    if let Some(host_name) = host_name {
        check_host_name(host_name)?;
    }
    check_protocol(protocol.as_ref())
}

fn is_status(text: &str, codes: std::ops::RangeInclusive<u16>) -> bool {
    text.len() == 3 && text.parse().is_ok_and(|code| codes.contains(&code))
}

fn is_of_a_key(text: &str) -> bool {
    text.len() <= common::ObjectKey::LENGTH_BYTES_MAX && !text.chars().any(char::is_control)
}

/// It will stand in a `Location`.
fn check_host_name(name: &str) -> Result<()> {
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]/".contains(&byte);
    if !name.is_empty() && name.len() <= limits::HOST_NAME_BYTES_MAX && name.bytes().all(is_of_a_host) {
        Ok(())
    } else {
        Err(argument("The HostName is not well formed"))
    }
}

fn check_protocol(protocol: Option<&Protocol>) -> Result<()> {
    match protocol.map(Protocol::as_str) {
        None | Some(Protocol::HTTP | Protocol::HTTPS) => Ok(()),
        Some(_) => Err(request(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(inside: &str) -> &'static str {
        let document = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
        let configuration = document::parse(document.as_bytes()).expect("readable");
        check(&configuration).map_or_else(|error| error.answer().code, |()| "ok")
    }

    const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

    #[test]
    fn a_website_has_an_index_or_is_elsewhere() {
        assert_eq!(code(INDEX), "ok");
        assert_eq!(code(&format!("{INDEX}<ErrorDocument><Key>e/404.html</Key></ErrorDocument>")), "ok");
        assert_eq!(code(""), "InvalidArgument");
        assert_eq!(code("<IndexDocument><Suffix></Suffix></IndexDocument>"), "InvalidArgument");
        assert_eq!(code("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"), "InvalidArgument");
        assert_eq!(code(&format!("{INDEX}<ErrorDocument><Key></Key></ErrorDocument>")), "InvalidArgument");
        let all = |inside: &str| format!("<RedirectAllRequestsTo>{inside}</RedirectAllRequestsTo>");
        assert_eq!(code(&all("<HostName>a.example</HostName>")), "ok");
        assert_eq!(code(&all("<HostName>a.example</HostName><Protocol>https</Protocol>")), "ok");
        assert_eq!(code(&all("<HostName>a.example</HostName><Protocol>ftp</Protocol>")), "InvalidRequest");
        assert_eq!(code(&all("<HostName></HostName>")), "InvalidArgument");
        assert_eq!(code(&all("<HostName>a&#13;&#10;b</HostName>")), "InvalidArgument");
        assert_eq!(code(&(all("<HostName>a</HostName>") + INDEX)), "InvalidArgument");
    }

    #[test]
    fn routing_rules_are_complete() {
        let rule = |inside: &str| format!("<RoutingRule>{inside}</RoutingRule>");
        let rules = |inside: &str| code(&format!("{INDEX}<RoutingRules>{inside}</RoutingRules>"));
        let redirect = "<Redirect><ReplaceKeyWith>b</ReplaceKeyWith></Redirect>";
        assert_eq!(rules(&rule(redirect)), "ok");
        assert_eq!(rules(&rule(redirect).repeat(50)), "ok");
        assert_eq!(rules(&rule(redirect).repeat(51)), "InvalidRequest");
        let condition = |inside: &str| rules(&rule(&format!("<Condition>{inside}</Condition>{redirect}")));
        assert_eq!(condition("<KeyPrefixEquals>a/</KeyPrefixEquals>"), "ok");
        assert_eq!(condition("<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>"), "ok");
        assert_eq!(condition("<HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals>"), "InvalidRequest");
        assert_eq!(condition("<HttpErrorCodeReturnedEquals>+404</HttpErrorCodeReturnedEquals>"), "InvalidRequest");
        assert_eq!(condition(""), "InvalidRequest");
        let to = |inside: &str| rules(&rule(&format!("<Redirect>{inside}</Redirect>")));
        assert_eq!(to(""), "InvalidRequest");
        assert_eq!(to("<HttpRedirectCode>302</HttpRedirectCode>"), "ok");
        assert_eq!(to("<HttpRedirectCode>300</HttpRedirectCode>"), "InvalidRequest");
        assert_eq!(to("<HttpRedirectCode>404</HttpRedirectCode>"), "InvalidRequest");
        assert_eq!(to("<HostName>a b</HostName>"), "InvalidArgument");
        assert_eq!(
            to("<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>"),
            "InvalidRequest"
        );
    }
}
