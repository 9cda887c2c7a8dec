//! Conditional requests (RFC 9110 section 13) as S3 honours them. Reads are decided here; writes carry their condition to
//! the committer, which decides it together with the write.
//!
//! Source: "Conditional requests", Amazon S3 User Guide.

use crate::error::{Error, Result};
use common::ETag;
use http::HeaderMap;
use s3s::dto::{Timestamp, TimestampFormat};
use storage::{Match, ObjectInfo, Precondition};

/// The four conditions of a read, or of a copy's source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_match: Option<Match>,
    pub if_none_match: Option<Match>,
    /// Seconds since 1970.
    pub if_modified_since: Option<i64>,
    pub if_unmodified_since: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// 304 for GET and HEAD, 412 for a copy.
    NotModified,
    /// 412; the name of the header.
    Failed(&'static str),
}

impl Conditions {
    /// From `If-*` headers with this prefix: none for a read, `x-amz-copy-source-` for a copy's source. A date that is
    /// none is ignored (RFC 9110 section 13.1.3).
    pub fn parse(headers: &HeaderMap, prefix: &str) -> Self {
        let text = |name: &str| {
            let value = if prefix.is_empty() { headers.get(name) } else { headers.get(format!("{prefix}{name}")) };
            value.and_then(|value| value.to_str().ok())
        };
        let date = |name| {
            let parsed = Timestamp::parse(TimestampFormat::HttpDate, text(name)?).ok()?;
            Some(super::dates::seconds(&parsed))
        };
        Self {
            if_match: text("if-match").map(parse_match),
            if_none_match: text("if-none-match").map(parse_match),
            if_modified_since: date("if-modified-since"),
            if_unmodified_since: date("if-unmodified-since"),
        }
    }

    /// ETags win over dates: `If-Unmodified-Since` is not looked at beside `If-Match`, nor `If-Modified-Since` beside
    /// `If-None-Match`.
    pub fn decide(&self, etag: &ETag, modified_ms: u64) -> Verdict {
        let modified = i64::try_from(modified_ms / 1000).unwrap_or(i64::MAX);
        match (&self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) if !matches(wanted, etag) => return Verdict::Failed("If-Match"),
            (None, Some(since)) if modified > since => return Verdict::Failed("If-Unmodified-Since"),
            (Some(_), _) | (None, _) => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(unwanted), _) if matches(unwanted, etag) => Verdict::NotModified,
            (None, Some(since)) if modified <= since => Verdict::NotModified,
            (Some(_), _) | (None, _) => Verdict::Go,
        }
    }

    /// The decision for GET and HEAD.
    pub fn check_read(&self, info: &ObjectInfo) -> Result<()> {
        match self.decide(&info.etag, info.modified_ms) {
            Verdict::Go => Ok(()),
            Verdict::NotModified => Err(Error::NotModified { etag: info.etag, modified_ms: info.modified_ms }),
            Verdict::Failed(condition) => Err(Error::PreconditionFailed(condition)),
        }
    }

    /// The decision for a copy's source, where every failure is 412.
    pub fn check_source(&self, info: &ObjectInfo) -> Result<()> {
        match self.decide(&info.etag, info.modified_ms) {
            Verdict::Go => Ok(()),
            Verdict::NotModified => Err(Error::PreconditionFailed("x-amz-copy-source-If-None-Match")),
            Verdict::Failed(condition) => Err(Error::PreconditionFailed(condition)),
        }
    }
}

/// The condition of a write.
pub fn precondition(headers: &HeaderMap) -> Precondition {
    let conditions = Conditions::parse(headers, "");
    Precondition { if_match: conditions.if_match, if_none_match: conditions.if_none_match, ..Precondition::default() }
}

/// `*` or a list of ETags. One that no object of this store can have is left out: it matches nothing.
fn parse_match(header: &str) -> Match {
    if header.trim() == "*" {
        return Match::Any;
    }
    let etags = header.split(',').map(|text| text.trim().trim_start_matches("W/"));
    Match::ETags(etags.filter_map(ETag::parse).collect())
}

fn matches(condition: &Match, etag: &ETag) -> bool {
    match condition {
        Match::Any => true,
        Match::ETags(etags) => etags.contains(etag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: ETag = ETag { md5: [1; 16], parts: 0 };
    const MS: u64 = 784_111_777_500;
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn verdict(pairs: &[(&'static str, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().expect("a header value"));
        }
        Conditions::parse(&headers, "").decide(&OLD, MS)
    }

    #[test]
    fn etags_decide() {
        let this = format!("\"{OLD}\"");
        let other = format!("\"{}\"", ETag::of_md5([2; 16]));
        assert_eq!(verdict(&[]), Verdict::Go);
        assert_eq!(verdict(&[("if-match", &this)]), Verdict::Go);
        assert_eq!(verdict(&[("if-match", &format!("{other}, {this}"))]), Verdict::Go);
        assert_eq!(verdict(&[("if-match", "*")]), Verdict::Go);
        assert_eq!(verdict(&[("if-match", &other)]), Verdict::Failed("If-Match"));
        assert_eq!(verdict(&[("if-match", "\"nonsense\"")]), Verdict::Failed("If-Match"));
        assert_eq!(verdict(&[("if-none-match", &this)]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-none-match", &format!("W/{this}"))]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-none-match", "*")]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-none-match", &other)]), Verdict::Go);
    }

    #[test]
    fn dates_decide_alone_only() {
        let this = format!("\"{OLD}\"");
        let other = format!("\"{}\"", ETag::of_md5([2; 16]));
        assert_eq!(verdict(&[("if-modified-since", AT)]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-modified-since", BEFORE)]), Verdict::Go);
        assert_eq!(verdict(&[("if-modified-since", "yesterday")]), Verdict::Go);
        assert_eq!(verdict(&[("if-unmodified-since", AT)]), Verdict::Go);
        assert_eq!(verdict(&[("if-unmodified-since", BEFORE)]), Verdict::Failed("If-Unmodified-Since"));
        assert_eq!(verdict(&[("if-match", &this), ("if-unmodified-since", BEFORE)]), Verdict::Go);
        assert_eq!(verdict(&[("if-none-match", &other), ("if-modified-since", AT)]), Verdict::Go);
    }
}
