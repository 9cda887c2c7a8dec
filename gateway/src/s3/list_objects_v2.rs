//! ListObjectsV2: in the order of the keys' bytes; a common prefix counts as one entry and is on one page only, for which
//! the continuation token remembers whether to go on after a key or after a prefix.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use crate::error::Result;
use crate::guard::query_pairs;
use crate::route::Target;
use crate::s3::Service;
use crate::s3::listing::{self, Encoding};
use crate::s3::metadata_listing;
use s3s::dto::{ListObjectsV2Input, ListObjectsV2Output};
use s3s::{S3Request, S3Response};
use storage::{After, ListPage, ListRequest};

pub async fn list_objects_v2(
    service: &Service,
    request: S3Request<ListObjectsV2Input>,
) -> Result<S3Response<ListObjectsV2Output>> {
    let query = query_pairs(request.uri.query().unwrap_or(""));
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let limit = listing::page_size(input.max_keys, "max-keys")?;
    let delimiter = listing::delimiter(input.delimiter);
    listing::check_unordered(&query, delimiter.as_deref())?;
    let prefix = input.prefix.unwrap_or_default();
    let after = start(input.continuation_token.as_deref(), input.start_after.as_deref())?;

    let list = ListRequest { bucket: bucket.id, prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = page(service, list).await?;

    let next = page.entries.last().filter(|_| page.more).map(listing::after_entry);
    let owners = input.fetch_owner.unwrap_or(false).then(|| service.owners(&bucket));
    let key_count = listing::count(page.entries.len());
    let mut output = ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.name(&prefix)),
        max_keys: Some(listing::count(limit)),
        key_count: Some(key_count),
        is_truncated: Some(page.more),
        next_continuation_token: next.as_ref().and_then(listing::token),
        delimiter: delimiter.map(|delimiter| encoding.name(&delimiter)),
        encoding_type: encoding.answer(),
        continuation_token: input.continuation_token,
        start_after: input.start_after.map(|name| encoding.name(&name)),
        ..Default::default()
    };
    if query.iter().any(|(key, value)| key == "metadata" && value == "true") {
        let kept = metadata_listing::read(service, &bucket, &page.entries).await;
        let document = metadata_listing::write(&output, &page.entries, encoding, owners, &kept);
        let mut answer = S3Response::new(output);
        answer.extensions.insert(document);
        return Ok(answer);
    }
    let (contents, common_prefixes) = listing::contents(page.entries, encoding, owners);
    output.contents = Some(contents);
    output.common_prefixes = Some(common_prefixes);
    Ok(S3Response::new(output))
}

/// One page. A page of nothing is never asked for: it would have no end to go on after.
pub async fn page(service: &Service, list: ListRequest) -> Result<ListPage> {
    if list.limit == 0 {
        return Ok(ListPage { entries: Vec::new(), more: false });
    }
    let Target::Here(target) = service.router.lister_of(list.bucket);
    Ok(target.list(list).await?)
}

/// A token wins over `start-after`. An empty token begins at the beginning, as the conformance suite expects.
fn start(token: Option<&str>, start_after: Option<&str>) -> Result<After> {
    match (token.filter(|token| !token.is_empty()), start_after.filter(|name| !name.is_empty())) {
        (Some(token), _) => listing::parse_token(token),
        (None, Some(name)) => Ok(After::Key(name.to_owned())),
        (None, None) => Ok(After::Beginning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_wins_over_start_after() {
        let token = listing::token(&After::Prefix("p/".to_owned())).expect("a token");
        assert_eq!(start(Some(&token), Some("a")).expect("token"), After::Prefix("p/".to_owned()));
        assert_eq!(start(Some(""), Some("a")).expect("start"), After::Key("a".to_owned()));
        assert_eq!(start(None, Some("")).expect("empty"), After::Beginning);
        assert!(start(Some("blah!"), None).is_err());
    }
}
