//! Object tags: read from a header or a document, judged, and written. No I/O.
//!
//! Source: "Categorizing your storage using tags", Amazon S3 User Guide, and "Tag naming limits", AWS Billing User Guide.

use crate::error::{Error, Result};
use crate::limits;
use crate::s3::Service;
use crate::s3::named::Named;
use http::{Extensions, HeaderMap};
use s3s::dto;
use storage::Update;

pub type Tags = Vec<(String, String)>;

pub const HEADER: &str = "x-amz-tagging";

/// The tags that a write asks for.
pub fn of_header(headers: &HeaderMap) -> Result<Tags> {
    let Some(value) = headers.get(HEADER) else { return Ok(Tags::new()) };
    let wrong = || {
        Error::InvalidArgument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name \
             duplicates."
                .to_owned(),
        )
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let mut tags = Tags::new();
    for piece in text.split('&').filter(|piece| !piece.is_empty()) {
        let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
        let (key, value) = (decode(key).ok_or_else(wrong)?, decode(value).ok_or_else(wrong)?);
        if tags.iter().any(|(known, _)| *known == key) {
            return Err(wrong());
        }
        tags.push((key, value));
    }
    check(&tags)?;
    Ok(tags)
}

/// The tags of a document.
pub fn of_document(tag_set: Vec<dto::Tag>) -> Result<Tags> {
    let pair = |tag: dto::Tag| tag.key.zip(tag.value).ok_or(Error::MalformedXml("A tag has no Key or no Value"));
    let tags = tag_set.into_iter().map(pair).collect::<Result<Tags>>()?;
    check(&tags)?;
    Ok(tags)
}

/// The tags of a form's field, which holds a document.
pub fn of_field(text: &str) -> Result<Tags> {
    let tagging: dto::Tagging = super::written::parse(text.as_bytes())?;
    of_document(tagging.tag_set)
}

/// In the order of their keys.
pub fn to_document(mut tags: Tags) -> Vec<dto::Tag> {
    tags.sort_unstable();
    tags.into_iter().map(|(key, value)| dto::Tag { key: Some(key), value: Some(value) }).collect()
}

/// In the place of all tags that the version has. Gives the version as the answer names it.
pub async fn replace(service: &Service, named: &Named, extensions: &Extensions, tags: Tags) -> Result<Option<String>> {
    let outcome = named.update_seen(service, extensions, Update::Tags(tags)).await?;
    Ok(named.answered(outcome.version))
}

fn check(tags: &[(String, String)]) -> Result<()> {
    if tags.len() > limits::TAGS_MAX {
        return Err(Error::TooManyTags { limit: limits::TAGS_MAX });
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > limits::TAG_KEY_CHARACTERS_MAX || !key.chars().all(is_allowed) {
            return Err(Error::InvalidTag("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > limits::TAG_VALUE_CHARACTERS_MAX || !value.chars().all(is_allowed) {
            return Err(Error::InvalidTag("The TagValue you have provided is invalid"));
        }
        if key.starts_with("aws:") {
            return Err(Error::InvalidTag("System tags cannot be added/updated by requester"));
        }
        if tags[..at].iter().any(|(known, _)| known == key) {
            return Err(Error::InvalidTag("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(())
}

fn is_allowed(character: char) -> bool {
    character.is_alphanumeric()
        || (character.is_whitespace() && !character.is_control())
        || "+-=._:/@".contains(character)
}

/// A piece of a query, strictly: escapes are escapes, and what they say is UTF-8.
fn decode(piece: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !piece.split('%').skip(1).all(is_escape) {
        return None;
    }
    let piece = piece.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&piece).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Tags> {
        of_header(&[(http::HeaderName::from_static(HEADER), text.parse().expect("a value"))].into_iter().collect())
    }

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn document(pairs: &[(&str, &str)]) -> Result<Tags> {
        of_document(to_document(tags(pairs)))
    }

    #[test]
    fn headers_are_queries() {
        assert_eq!(of_header(&HeaderMap::new()).expect("none"), tags(&[]));
        assert_eq!(header("").expect("none"), tags(&[]));
        assert_eq!(header("a=b&c=&d").expect("three"), tags(&[("a", "b"), ("c", ""), ("d", "")]));
        assert_eq!(header("a+b=%2B%C3%BC%3D").expect("encoded"), tags(&[("a b", "+ü=")]));
        for bad in ["a=1&a=2", "a=%", "a=%4", "a=%zz", "a=%ff", "%=b"] {
            assert_eq!(header(bad).expect_err(bad).answer().code, "InvalidArgument", "{bad}");
        }
        assert_eq!(header("=b").expect_err("no key").answer().code, "InvalidTag");
    }

    #[test]
    fn tags_are_bounded() {
        let many =
            |count: usize| of_document(to_document((0..count).map(|at| (at.to_string(), String::new())).collect()));
        assert_eq!(many(10).expect("ten").len(), 10);
        assert_eq!(many(11).expect_err("eleven").answer().code, "BadRequest");
        let (key, value) = ("ü".repeat(128), "ü".repeat(256));
        assert!(document(&[(&key, &value)]).is_ok());
        assert!(document(&[("a b+-=._:/@", "")]).is_ok());
        for bad in [
            &[(format!("{key}x").as_str(), "")],
            &[("a", format!("{value}x").as_str())],
            &[("", "")],
            &[("a\n", "")],
            &[("a", "b*")],
            &[("aws:a", "b")],
        ] {
            assert_eq!(document(bad).expect_err("refused").answer().code, "InvalidTag", "{bad:?}");
        }
        assert_eq!(document(&[("a", "1"), ("a", "2")]).expect_err("twice").answer().code, "InvalidTag");
        let half = dto::Tag { key: Some("a".to_owned()), value: None };
        assert_eq!(of_document(vec![half]).expect_err("half").answer().code, "MalformedXML");
    }

    #[test]
    fn fields_are_documents() {
        let field = |inside: &str| of_field(&format!("<Tagging><TagSet>{inside}</TagSet></Tagging>"));
        assert_eq!(field("").expect("none"), tags(&[]));
        assert_eq!(field("<Tag><Key>a</Key><Value>b</Value></Tag>").expect("one"), tags(&[("a", "b")]));
        for bad in ["a=b", "<Tagging/>x", "<!DOCTYPE x><Tagging><TagSet/></Tagging>"] {
            assert_eq!(of_field(bad).expect_err(bad).answer().code, "MalformedXML", "{bad}");
        }
    }
}
