//! Virtual-hosted style: `bucket.domain` for the configured domains. Every other host name means path style, so that
//! `localhost` and a second name go on working beside a domain.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};
use std::sync::Arc;

#[derive(Clone)]
pub struct Domains(Arc<[String]>);

impl Domains {
    pub fn new(domains: &[String]) -> Self {
        Self(domains.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect())
    }

    /// The bucket in a `Host` header, in lower case as host names are.
    pub fn bucket_of(&self, host: &str) -> Option<String> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.to_ascii_lowercase();
        let bucket = |domain: &String| name.strip_suffix(domain.as_str())?.strip_suffix('.').map(str::to_owned);
        self.0.iter().find_map(bucket).filter(|bucket| !bucket.is_empty())
    }
}

impl Domains {
    /// The bucket whose website a `Host` header names: `BUCKET.s3-website.DOMAIN`.
    pub fn site_of(&self, host: &str) -> Option<String> {
        let bucket = self.bucket_of(host)?;
        bucket.strip_suffix(".s3-website").filter(|bucket| !bucket.is_empty()).map(str::to_owned)
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket_of(host) {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn websites_have_hosts_of_their_own() {
        let domains = Domains::new(&["s3.example.com".to_owned()]);
        let site = |host: &str| domains.site_of(host);
        assert_eq!(site("A.b.s3-website.s3.example.com:80"), Some("a.b".to_owned()));
        for other in
            ["b.s3.example.com", "s3-website.s3.example.com", ".s3-website.s3.example.com", "b.s3-website.example.com"]
        {
            assert_eq!(site(other), None, "{other}");
        }
    }

    #[test]
    fn only_configured_domains_hold_buckets() {
        let domains = Domains::new(&["s3.example.com".to_owned(), "localhost".to_owned()]);
        let bucket = |host: &str| domains.bucket_of(host);
        assert_eq!(bucket("a.s3.example.com"), Some("a".to_owned()));
        assert_eq!(bucket("A.b.S3.example.com:9000"), Some("a.b".to_owned()));
        assert_eq!(bucket("bucket.localhost:9000"), Some("bucket".to_owned()));
        for path_style in
            ["s3.example.com", "xs3.example.com", "other.org:80", "127.0.0.1:9000", "[::1]:9000", ".localhost"]
        {
            assert_eq!(bucket(path_style), None, "{path_style}");
        }
    }
}
