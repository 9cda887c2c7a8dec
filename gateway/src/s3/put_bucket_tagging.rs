//! PutBucketTagging: replaces all tags.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketTagging.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::{Service, document};
use s3s::dto::{PutBucketTaggingInput, PutBucketTaggingOutput, Tag, Tagging};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_tagging(
    service: &Service,
    request: S3Request<PutBucketTaggingInput>,
) -> Result<S3Response<PutBucketTaggingOutput>> {
    let Tagging { tag_set } = &request.input.tagging;
    let content = document::received(&request, &request.input.tagging)?;
    check(tag_set)?;
    let content = (!tag_set.is_empty()).then_some(content);
    document::set(service, &request.input.bucket, documents::TAGGING, content).await?;
    let mut answer = S3Response::new(PutBucketTaggingOutput::default());
    answer.status = Some(http::StatusCode::NO_CONTENT);
    Ok(answer)
}

fn check(tags: &[Tag]) -> Result<()> {
    if tags.len() > limits::BUCKET_TAGS_MAX {
        return Err(Error::InvalidTag("Bucket tag count cannot be greater than 50"));
    }
    for (at, tag) in tags.iter().enumerate() {
        check_tag(tag)?;
        if tags[..at].iter().any(|earlier| earlier.key == tag.key) {
            return Err(Error::InvalidTag("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(())
}

/// One tag, of a bucket or in a filter.
pub fn check_tag(tag: &Tag) -> Result<()> {
    let (Some(key), Some(value)) = (&tag.key, &tag.value) else {
        return Err(Error::MalformedXml("A tag has a Key and a Value"));
    };
    let is_within = |text: &str, limit: usize| text.chars().count() <= limit && text.chars().all(is_of_a_tag);
    if key.is_empty() || !is_within(key, limits::TAG_KEY_CHARACTERS_MAX) {
        return Err(Error::InvalidTag("The TagKey you have provided is invalid"));
    }
    if !is_within(value, limits::TAG_VALUE_CHARACTERS_MAX) {
        return Err(Error::InvalidTag("The TagValue you have provided is invalid"));
    }
    if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
        return Err(Error::InvalidTag("System tags cannot be added/updated by requester"));
    }
    Ok(())
}

/// "Letters, whitespace, and numbers, plus the following special characters" (Billing User Guide, "User-defined tags").
fn is_of_a_tag(character: char) -> bool {
    character.is_alphanumeric()
        || (character.is_whitespace() && !character.is_control())
        || "+-=._:/@".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(pairs: &[(&str, &str)]) -> &'static str {
        let tag = |&(key, value): &(&str, &str)| Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) };
        let tags: Vec<Tag> = pairs.iter().map(tag).collect();
        check(&tags).map_or_else(|error| error.answer().code, |()| "ok")
    }

    #[test]
    fn tags_have_bounds() {
        assert_eq!(code(&[]), "ok");
        assert_eq!(code(&[("Größe 1", "a+b-c=d.e_f:g/h@i"), ("k", "")]), "ok");
        assert_eq!(code(&[(&"k".repeat(128), &"ü".repeat(256))]), "ok");
        assert_eq!(code(&[(&"k".repeat(129), "v")]), "InvalidTag");
        assert_eq!(code(&[("k", &"v".repeat(257))]), "InvalidTag");
        assert_eq!(code(&[("", "v")]), "InvalidTag");
        assert_eq!(code(&[("k", "1"), ("l", "1"), ("k", "2")]), "InvalidTag");
        assert_eq!(code(&[("k", "1"), ("K", "2")]), "ok");
        assert_eq!(code(&[("aws:k", "v")]), "InvalidTag");
        assert_eq!(code(&[("AWS:k", "v")]), "InvalidTag");
        assert_eq!(code(&[("k", "a<b")]), "InvalidTag");
        assert_eq!(code(&[("k\n", "v")]), "InvalidTag");
        let names: Vec<String> = (0..51).map(|n| format!("k{n}")).collect();
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        assert_eq!(code(&pairs[..50]), "ok");
        assert_eq!(code(&pairs), "InvalidTag");
        let half = check(&[Tag { key: Some("k".to_owned()), value: None }]);
        assert_eq!(half.expect_err("refused").answer().code, "MalformedXML");
    }
}
