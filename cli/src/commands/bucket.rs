//! `weir bucket`: buckets of a running appliance, through plain S3 requests.

use crate::args::{BucketArgs, BucketVerb};
use crate::error::{Error, Result};
use crate::s3_client::S3Client;
use crate::{credentials, output};
use common::BucketName;
use http::Method;
use serde::Deserialize;
use serde_json::json;

/// The document of ListBuckets.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    buckets: Buckets,
    continuation_token: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Buckets {
    bucket: Vec<Bucket>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bucket {
    name: String,
    creation_date: String,
    bucket_region: Option<String>,
}

pub async fn run(args: BucketArgs) -> Result<()> {
    if let BucketVerb::Create { settings, .. } = &args.verb
        && let Some(setting) = settings.first()
    {
        return Err(Error::Usage(format!(
            "{setting} comes with a later version: the bucket was not made. Leave it out"
        )));
    }
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let client = S3Client::find(credentials::find(&args.data, environment)?, environment);
    match args.verb {
        BucketVerb::Create { name, .. } => {
            client.tell(Method::PUT, &path(&name)?).await?;
            output::line(format_args!("created {name}"));
        }
        BucketVerb::List { json } => {
            let buckets = list(&client).await?;
            if json { show_json(&buckets) } else { show(buckets) }
        }
        BucketVerb::Delete { name } => {
            client.tell(Method::DELETE, &path(&name)?).await?;
            output::line(format_args!("deleted {name}"));
        }
    }
    Ok(())
}

/// What is no bucket's name must not become another path.
fn path(name: &str) -> Result<String> {
    let name = BucketName::parse(name).map_err(|error| Error::Usage(format!("{name}: {error}")))?;
    Ok(format!("/{name}"))
}

async fn list(client: &S3Client) -> Result<Vec<Bucket>> {
    let mut all = Vec::new();
    let mut path = "/".to_owned();
    loop {
        let page: Page = client.read(&path).await?;
        all.extend(page.buckets.bucket);
        match page.continuation_token {
            // Our tokens are of letters that need no escape.
            Some(token) if !token.is_empty() => path = format!("/?continuation-token={token}"),
            Some(_) | None => return Ok(all),
        }
    }
}

fn show_json(buckets: &[Bucket]) {
    let buckets = buckets
        .iter()
        .map(|bucket| json!({ "name": bucket.name, "created": bucket.creation_date, "region": bucket.bucket_region }));
    output::json(&buckets.collect());
}

fn show(buckets: Vec<Bucket>) {
    let heading = vec!["NAME".to_owned(), "CREATED".to_owned()];
    let rows = buckets.into_iter().map(|bucket| vec![bucket.name, bucket.creation_date]);
    output::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read() {
        let page = |text: &str| quick_xml::de::from_str::<Page>(text).unwrap();
        let head = "<?xml version=\"1.0\"?><ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        let bucket = |name: &str| {
            format!(
                "<Bucket><BucketRegion>r</BucketRegion><CreationDate>2026-01-01T00:00:00.000Z</CreationDate>\
                 <Name>{name}</Name></Bucket>"
            )
        };
        let two = page(&format!(
            "{head}<Buckets>{}{}</Buckets><ContinuationToken>t</ContinuationToken></ListAllMyBucketsResult>",
            bucket("one"),
            bucket("two")
        ));
        let names: Vec<_> = two.buckets.bucket.iter().map(|bucket| bucket.name.as_str()).collect();
        assert_eq!((names, two.continuation_token.as_deref()), (vec!["one", "two"], Some("t")));
        assert_eq!(page(&format!("{head}<Buckets></Buckets></ListAllMyBucketsResult>")), Page::default());
        assert_eq!(page(&format!("{head}<Buckets/></ListAllMyBucketsResult>")), Page::default());
    }

    #[test]
    fn only_names_become_paths() {
        assert_eq!(path("abc").unwrap(), "/abc");
        for bad in ["", "ab", "a/b", "abc?policy", "../x", "ABC"] {
            assert!(matches!(path(bad), Err(Error::Usage(_))), "{bad}");
        }
    }
}
