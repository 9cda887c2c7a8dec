//! A bucket's lifecycle configuration as it decides: the rules that are enabled.

use crate::documents;
use crate::tree::Node;
use cluster::Bucket;
use common::BucketId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    pub id: String,
    pub filter: Filter,
    pub expiration: Option<When>,
    /// Delete markers behind which nothing is left go.
    pub expired_markers: bool,
    pub noncurrent_expiration: Option<Noncurrent>,
    pub transitions: Vec<(When, String)>,
    pub noncurrent_transitions: Vec<(Noncurrent, String)>,
    pub abort_uploads_days: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub prefix: String,
    pub tags: Vec<(String, String)>,
    pub larger_than: Option<u64>,
    pub smaller_than: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// After the version came.
    Days(u32),
    /// At this moment, milliseconds since 1970.
    Date(u64),
}

/// So long after a newer version came, if at least so many other ones came in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noncurrent {
    pub days: u32,
    pub newer: u32,
}

/// The enabled rules of a document as it is kept.
pub fn parse(document: &[u8]) -> Vec<Rule> {
    let Some(root) = Node::parse(document) else {
        tracing::error!("a lifecycle configuration cannot be read: nothing is done by it");
        return Vec::new();
    };
    root.all("Rule").filter(|rule| rule.text("Status") == Some("Enabled")).filter_map(rule).collect()
}

/// `None` of a filter that cannot be read: it would otherwise take in every object.
fn rule(node: &Node) -> Option<Rule> {
    let expiration = node.child("Expiration");
    let noncurrent = |node: &Node| {
        let days = node.number("NoncurrentDays").unwrap_or(0);
        Noncurrent { days, newer: node.number("NewerNoncurrentVersions").unwrap_or(0) }
    };
    let class = |node: &Node| node.text("StorageClass").map(str::to_owned);
    let transition = |node: &Node| Some((when(node)?, class(node)?));
    Some(Rule {
        id: node.text("ID").or(node.text("Id")).unwrap_or("").to_owned(),
        filter: filter(node)?,
        expiration: expiration.and_then(when),
        expired_markers: expiration.and_then(|node| node.text("ExpiredObjectDeleteMarker")) == Some("true"),
        noncurrent_expiration: node.child("NoncurrentVersionExpiration").map(noncurrent),
        transitions: node.all("Transition").filter_map(transition).collect(),
        noncurrent_transitions: node
            .all("NoncurrentVersionTransition")
            .filter_map(|node| Some((noncurrent(node), class(node)?)))
            .collect(),
        abort_uploads_days: node
            .child("AbortIncompleteMultipartUpload")
            .and_then(|node| node.number("DaysAfterInitiation")),
    })
}

fn filter(rule: &Node) -> Option<Filter> {
    let Some(filter) = rule.child("Filter") else {
        let prefix = rule.text("Prefix").unwrap_or("").to_owned();
        return Some(Filter { prefix, ..Filter::default() });
    };
    // Whatever stands beside an `And` narrows it.
    match filter.child("And") {
        None => conditions(filter),
        Some(and) => Some(conditions(and)?.and(conditions(filter)?)),
    }
}

fn conditions(inside: &Node) -> Option<Filter> {
    let tag = |node: &Node| Some((node.text("Key")?.to_owned(), node.text("Value")?.to_owned()));
    let bytes = |name| inside.text(name).map(|_| inside.number::<u64>(name).ok_or(())).transpose().ok();
    Some(Filter {
        prefix: inside.text("Prefix").unwrap_or("").to_owned(),
        tags: inside.all("Tag").map(tag).collect::<Option<_>>()?,
        larger_than: bytes("ObjectSizeGreaterThan")?,
        smaller_than: bytes("ObjectSizeLessThan")?,
    })
}

impl Filter {
    fn and(mut self, other: Self) -> Self {
        if self.prefix.is_empty() {
            self.prefix = other.prefix;
        }
        self.tags.extend(other.tags);
        self.larger_than = self.larger_than.max(other.larger_than);
        self.smaller_than = [self.smaller_than, other.smaller_than].into_iter().flatten().min();
        self
    }
}

fn when(node: &Node) -> Option<When> {
    match node.number("Days") {
        Some(days) => Some(When::Days(days)),
        None => date_ms(node.text("Date")?.trim()).map(When::Date),
    }
}

fn date_ms(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(date.midnight().assume_utc())
    })?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

/// The rules of buckets, read once for each state of their configuration.
#[derive(Default)]
pub struct Known(Mutex<HashMap<BucketId, (u64, Rules)>>);

pub type Rules = Arc<Vec<Rule>>;

/// Buckets whose rules are remembered.
const KNOWN_MAX: usize = 1024;

impl Known {
    /// `None` of a bucket without rules, which is most of them.
    pub fn of(&self, bucket: &Bucket) -> Option<Rules> {
        let document = bucket.documents.get(documents::LIFECYCLE)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rules)) = known.get(&bucket.id).filter(|(version, _)| *version == bucket.version) {
            return Some(Arc::clone(rules));
        }
        let rules = Arc::new(parse(document));
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(bucket.id, (bucket.version, Arc::clone(&rules)));
        Some(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_rules() {
        let document = "<LifecycleConfiguration>\
            <Rule><ID>one</ID><Status>Enabled</Status><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>\
            <ObjectSizeGreaterThan>10</ObjectSizeGreaterThan></And></Filter><Expiration><Days>3</Days></Expiration>\
            <Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>\
            <NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>4</NewerNoncurrentVersions>\
            </NoncurrentVersionExpiration></Rule>\
            <Rule><ID>off</ID><Status>Disabled</Status><Prefix></Prefix><Expiration><Days>1</Days></Expiration></Rule>\
            <Rule><ID>old</ID><Status>Enabled</Status><Prefix>b/</Prefix><Expiration><Date>2026-01-02T00:00:00.000Z</Date></Expiration>\
            <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
            <Rule><ID>marker</ID><Status>Enabled</Status><Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>\
            </Expiration></Rule><Rule><ID>odd</ID><Status>Enabled</Status><Filter><ObjectSizeLessThan>x</ObjectSizeLessThan></Filter></Rule>\
            </LifecycleConfiguration>";
        let rules = parse(document.as_bytes());
        assert_eq!(rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["one", "old", "marker"]);
        let one = &rules[0];
        assert_eq!((one.filter.prefix.as_str(), one.filter.larger_than, one.filter.tags.len()), ("a/", Some(10), 1));
        assert_eq!(one.expiration, Some(When::Days(3)));
        assert_eq!(one.transitions, [(When::Days(1), "GLACIER".to_owned())]);
        assert_eq!(one.noncurrent_expiration, Some(Noncurrent { days: 2, newer: 4 }));
        assert_eq!((rules[1].expiration, rules[1].abort_uploads_days), (Some(When::Date(1_767_312_000_000)), Some(7)));
        assert!(rules[2].expired_markers && rules[2].expiration.is_none());
        assert_eq!(date_ms("2026-01-02"), date_ms("2026-01-02T00:00:00Z"));
    }
}
