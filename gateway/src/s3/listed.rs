//! Configurations of which a bucket has many, each with an id: inventories, analytics, metrics, tierings. They are kept and
//! given back; nothing here acts on them.

use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{Service, document};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cluster::Bucket;
use s3s::S3Request;
use s3s::xml::{Deserialize, Serialize};
use std::ops::Bound;

/// A configuration as it will be kept. The id inside must be the one that the query names.
pub fn received<I>(request: &S3Request<I>, id: &str, inside: &str, configuration: &impl Serialize) -> Result<Vec<u8>> {
    let content = document::received(request, configuration)?;
    check_id(id)?;
    if id == inside { Ok(content) } else { Err(Error::IdMismatch) }
}

pub async fn put(service: &Service, bucket: &str, kind: &'static str, id: &str, content: Vec<u8>) -> Result<()> {
    let name = name(kind, id);
    document::change(service, bucket, move |bucket: &Bucket| {
        if !bucket.documents.contains_key(&name) && of_kind(bucket, kind, None).count() >= limits::CONFIGURATIONS_MAX {
            return Err(Error::TooManyConfigurations { limit: limits::CONFIGURATIONS_MAX });
        }
        Ok([(name.clone(), Some(content.clone()))].into())
    })
    .await
}

/// The bucket that reports go to: `arn:aws:s3:::NAME`.
pub fn check_destination(name: &str) -> Result<()> {
    let is_bucket = name.splitn(6, ':').nth(5).is_some_and(|bucket| common::BucketName::parse(bucket).is_ok());
    if name.starts_with("arn:") && name.contains(":s3:::") && is_bucket {
        Ok(())
    } else {
        Err(Error::InvalidArgument("The destination is not the ARN of a bucket".to_owned()))
    }
}

pub fn get<T: for<'xml> Deserialize<'xml>>(bucket: &Bucket, kind: &'static str, id: &str) -> Result<T> {
    document::read(bucket, &name(kind, id))?.ok_or(Error::NoSuchDocument("NoSuchConfiguration", kind))
}

/// Unlike other documents, one that is not there cannot be taken away.
pub async fn delete(service: &Service, bucket: &str, kind: &'static str, id: &str) -> Result<()> {
    let name = name(kind, id);
    document::change(service, bucket, move |bucket: &Bucket| match bucket.documents.contains_key(&name) {
        true => Ok([(name.clone(), None)].into()),
        false => Err(Error::NoSuchDocument("NoSuchConfiguration", kind)),
    })
    .await
}

pub struct Page<T> {
    pub entries: Vec<T>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

/// A page of all of a kind, in the order of their ids. A token is the last id of the page before.
pub fn page<T: for<'xml> Deserialize<'xml>>(
    bucket: &Bucket,
    kind: &'static str,
    token: Option<&str>,
) -> Result<Page<T>> {
    let after = token.map(|token| {
        let id = BASE64.decode(token).ok().and_then(|id| String::from_utf8(id).ok());
        id.ok_or_else(|| Error::InvalidArgument("The continuation token provided is incorrect".to_owned()))
    });
    let after = after.transpose()?;
    let mut found = of_kind(bucket, kind, after.as_deref());
    let mut last = None;
    let mut entries = Vec::new();
    for (id, content) in found.by_ref().take(limits::CONFIGURATIONS_PAGE_MAX) {
        entries.push(document::parse(content)?);
        last = Some(id);
    }
    let next = found.next().and(last).map(|id| BASE64.encode(id));
    Ok(Page { entries, next })
}

fn name(kind: &str, id: &str) -> String {
    format!("{kind}/{id}")
}

/// Ids and documents behind an id.
fn of_kind<'b>(
    bucket: &'b Bucket,
    kind: &'static str,
    after: Option<&str>,
) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'b> {
    let from = name(kind, after.unwrap_or(""));
    let range = bucket.documents.range::<str, _>((Bound::Excluded(from.as_str()), Bound::Unbounded));
    range.map_while(move |(name, content)| {
        let id = name.strip_prefix(kind)?.strip_prefix('/')?;
        Some((id, content.as_slice()))
    })
}

/// "Identifiers are limited to 64 characters and may only contain letters, numbers, periods, dashes, and underscores."
fn check_id(id: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if (1..=limits::CONFIGURATION_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(good) {
        Ok(())
    } else {
        Err(Error::InvalidConfigurationId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::BucketState;
    use common::{BucketId, BucketName, OwnerId};
    use s3s::dto::MetricsConfiguration;

    fn bucket(ids: impl Iterator<Item = String>) -> Bucket {
        let document = |id: String| {
            let content = format!("<MetricsConfiguration><Id>{id}</Id></MetricsConfiguration>");
            (format!("metrics/{id}"), content.into_bytes())
        };
        let others = ["metric", "metrics", "metrics0", "notification"].map(|name| (name.to_owned(), Vec::new()));
        Bucket {
            id: BucketId(1),
            name: BucketName::parse("photos").expect("a name"),
            owner: OwnerId("ann".into()),
            created_ms: 0,
            version: 1,
            state: BucketState::Active,
            region: "r".into(),
            documents: ids.map(document).chain(others).collect(),
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let ids: Vec<String> = (0..250).map(|n| format!("id-{n:03}")).collect();
        let bucket = bucket(ids.iter().cloned());
        let (mut seen, mut token, mut pages) = (Vec::new(), None, 0);
        loop {
            let page: Page<MetricsConfiguration> = page(&bucket, "metrics", token.as_deref()).expect("a page");
            seen.extend(page.entries.into_iter().map(|entry| entry.id));
            pages += 1;
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (ids, 3));
        assert!(page::<MetricsConfiguration>(&bucket, "metrics", Some("!")).is_err());
        let all: Page<MetricsConfiguration> = page(&bucket, "inventory", None).expect("a page");
        assert!(all.entries.is_empty() && all.next.is_none());
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let bucket = bucket((0..limits::CONFIGURATIONS_PAGE_MAX).map(|n| format!("{n:03}")));
        let page: Page<MetricsConfiguration> = page(&bucket, "metrics", None).expect("a page");
        assert_eq!((page.entries.len(), page.next), (limits::CONFIGURATIONS_PAGE_MAX, None));
    }

    #[test]
    fn ids_are_plain() {
        assert!(check_id("a.b-c_D9").is_ok());
        assert!(check_id(&"a".repeat(64)).is_ok());
        for bad in ["", "a/b", "ä", "a b", &"a".repeat(65)] {
            assert_eq!(check_id(bad).expect_err("refused").answer().code, "InvalidConfigurationId", "{bad}");
        }
    }
}
