//! ListBuckets: the buckets of the caller's account, by name; an administrator sees all of them.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>

use crate::error::{Error, Result};
use crate::limits;
use crate::s3::listing::{parse_token, token};
use crate::s3::{Service, dates};
use s3s::dto::{self, ListBucketsInput, ListBucketsOutput};
use s3s::{S3Request, S3Response};
use storage::After;

pub async fn list_buckets(
    service: &Service,
    request: S3Request<ListBucketsInput>,
) -> Result<S3Response<ListBucketsOutput>> {
    let identity = service.identity(&request)?;
    let owner = identity.owner().cloned().ok_or(Error::AccessDenied)?;
    let input = request.input;
    let limit = page_size(input.max_buckets)?;
    let after =
        match input.continuation_token.as_deref().filter(|token| !token.is_empty()).map(parse_token).transpose()? {
            None => String::new(),
            Some(After::Key(name)) => name,
            Some(After::Prefix(_) | After::Beginning) => {
                return Err(Error::InvalidArgument("The continuation token provided is incorrect".to_owned()));
            }
        };
    let prefix = input.prefix.clone().unwrap_or_default();

    let state = service.parts.control.current();
    let in_region = |region: &str| input.bucket_region.as_deref().is_none_or(|asked| asked == region);
    let mut buckets: Vec<_> = state
        .buckets
        .values()
        .filter(|bucket| (identity.is_admin() || bucket.owner == owner) && in_region(&bucket.region))
        .filter(|bucket| bucket.name.as_str().starts_with(&prefix) && bucket.name.as_str() > after.as_str())
        .take(limit + 1)
        .map(|bucket| dto::Bucket {
            name: Some(bucket.name.to_string()),
            creation_date: Some(dates::timestamp(bucket.created_ms)),
            bucket_region: Some(bucket.region.clone()),
        })
        .collect();
    let more = buckets.len() > limit;
    buckets.truncate(limit);

    let last = buckets.last().and_then(|bucket| bucket.name.clone());
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token: last.filter(|_| more).and_then(|name| token(&After::Key(name))),
        owner: Some(service.owner(&owner)),
        prefix: input.prefix,
    }))
}

fn page_size(asked: Option<i32>) -> Result<usize> {
    match asked.map(usize::try_from) {
        None => Ok(limits::BUCKETS_PAGE_MAX),
        Some(Ok(count @ 1..=limits::BUCKETS_PAGE_MAX)) => Ok(count),
        Some(_) => {
            Err(Error::InvalidArgument("Argument max-buckets must be an integer between 1 and 10000".to_owned()))
        }
    }
}
