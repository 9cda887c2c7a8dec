//! Tags, of whatever has some: which there may be, how they change, and a page of them.
//!
//! Source: "Tags for IAM resources", AWS IAM User Guide; `TagPolicy` and its siblings, AWS IAM API reference.

use super::{Action, paged};
use crate::query_api::{Refusal, Reply, Xml};
use cluster::{IamChange, Tagged, limits};
use std::collections::{BTreeMap, BTreeSet};

type Tags = BTreeMap<String, String>;

impl Action<'_> {
    /// The tags that a request sets: what a request of its own may be refused for is found here, so that it is told as AWS does.
    pub fn new_tags(&self) -> Result<Tags, Refusal> {
        let tags = self.form.tags("Tags")?;
        must_be_few("tags", tags.len())?;
        let mut lower = BTreeSet::new();
        for (key, value) in &tags {
            check("key", key, 1, limits::TAG_KEY_CHARACTERS_MAX, "+")?;
            check("value", value, 0, limits::TAG_VALUE_CHARACTERS_MAX, "*")?;
            if key.to_lowercase().starts_with("aws:") {
                return Err(Refusal::invalid_input(format!(
                    "Invalid tag key {key}: keys that begin with aws: are reserved for system use."
                )));
            }
            if !lower.insert(key.to_lowercase()) {
                return Err(Refusal::invalid_input(
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                ));
            }
        }
        Ok(tags)
    }

    pub async fn set_tags(&self, of: Tagged, set: Tags) -> Result<Reply, Refusal> {
        self.change(IamChange::ChangeTags { of, set, remove: BTreeSet::new() }).await?;
        Ok(None)
    }

    /// `TagKeys`.
    pub fn old_tags(&self) -> Result<BTreeSet<String>, Refusal> {
        let keys = self.form.list("TagKeys")?;
        must_be_few("tagKeys", keys.len())?;
        for key in &keys {
            check("tagKeys", key, 1, limits::TAG_KEY_CHARACTERS_MAX, "+")?;
        }
        Ok(keys.into_iter().map(str::to_owned).collect())
    }

    pub async fn remove_tags(&self, of: Tagged, remove: BTreeSet<String>) -> Result<Reply, Refusal> {
        self.change(IamChange::ChangeTags { of, set: Tags::new(), remove }).await?;
        Ok(None)
    }

    pub fn page_of_tags(&self, all: &Tags) -> Result<Reply, Refusal> {
        let (page, marker) = self.page(all.iter(), |(key, _)| key)?;
        let page = page.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut xml = Xml::default();
        tags(&mut xml, &page);
        paged(&mut xml, marker.as_deref());
        Ok(Some(xml))
    }
}

pub fn tags(xml: &mut Xml, tags: &Tags) {
    xml.members("Tags", tags, |tag, (key, value)| {
        tag.text("Key", key);
        tag.text("Value", value);
    });
}

fn must_be_few(parameter: &str, count: usize) -> Result<(), Refusal> {
    let limit = limits::TAGS_PER_ENTITY_MAX;
    if count <= limit {
        return Ok(());
    }
    Err(Refusal::validation(format!(
        "Value at '{parameter}' failed to satisfy constraint: Member must have length less than or equal to {limit}"
    )))
}

fn check(what: &str, text: &str, least: usize, most: usize, repeated: &str) -> Result<(), Refusal> {
    let failed =
        |why: String| Err(Refusal::validation(format!("Value at '{what}' failed to satisfy constraint: {why}")));
    if !(least..=most).contains(&text.chars().count()) {
        return failed(format!("Member must have length between {least} and {most}"));
    }
    let is_of_a_tag = |letter: char| {
        letter.is_alphanumeric() || (letter.is_whitespace() && !letter.is_control()) || "_.:/=+-@".contains(letter)
    };
    if !text.chars().all(is_of_a_tag) {
        return failed(format!(
            "Member must satisfy regular expression pattern: [\\p{{L}}\\p{{Z}}\\p{{N}}_.:/=+\\-@]{repeated}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_tags_have_lengths_and_letters() {
        let good = |text: &str| check("key", text, 1, 128, "+").is_ok();
        for text in ["a", "Köln am Rhein", "_.:/=+-@9", &"x".repeat(128)] {
            assert!(good(text), "{text}");
        }
        for text in ["", "a\n", "a<b", "a&b", "\u{0}", &"x".repeat(129)] {
            assert!(!good(text), "{text}");
        }
        assert!(check("value", "", 0, 256, "*").is_ok());
        assert!(must_be_few("tags", 50).is_ok() && must_be_few("tags", 51).is_err());
    }
}
