//! Which events somebody wants: by their names, with `*` at the end, and by the beginning and the end of the key.

use super::record::name_of;
use storage::feed::Event;

/// `s3:ObjectCreated:*`, `s3:ObjectRemoved:Delete`, ...
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// The events that S3 and MinIO know. Some of them never happen here: to want them is no mistake.
const KINDS: [(&str, &[&str]); 9] = [
    ("ObjectCreated", &["Put", "Post", "Copy", "CompleteMultipartUpload", "PutRetention", "PutLegalHold"]),
    ("ObjectRemoved", &["Delete", "DeleteMarkerCreated"]),
    ("ObjectTagging", &["Put", "Delete"]),
    ("ObjectAcl", &["Put"]),
    ("LifecycleExpiration", &["Delete", "DeleteMarkerCreated"]),
    ("ObjectRestore", &["Post", "Completed", "Delete"]),
    (
        "Replication",
        &[
            "OperationFailedReplication",
            "OperationNotTracked",
            "OperationMissedThreshold",
            "OperationReplicatedAfterThreshold",
        ],
    ),
    ("ObjectAccessed", &["Get", "Head", "GetRetention", "GetLegalHold"]),
    ("IntelligentTiering", &[]),
];
const ALONE: [&str; 3] = ["LifecycleTransition", "ReducedRedundancyLostObject", "IntelligentTiering"];

impl Pattern {
    /// `None` of what is no event.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("s3:")?;
        let is_known = match name.split_once(':') {
            None => ALONE.contains(&name),
            Some((kind, what)) => {
                let known = KINDS.iter().find(|(known, whats)| *known == kind && !whats.is_empty());
                known.is_some_and(|(_, whats)| what == "*" || whats.contains(&what))
            }
        };
        is_known.then(|| Self(name.to_owned()))
    }

    fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => self.0 == name,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these; none of them wants all.
    pub patterns: Vec<Pattern>,
    pub prefix: String,
    pub suffix: String,
}

impl Filter {
    pub fn wants(&self, event: &Event) -> bool {
        let name = name_of(event.change);
        let by_name = self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(name));
        by_name && event.key.starts_with(&self.prefix) && event.key.ends_with(&self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{BucketId, Stamp, VersionId};
    use storage::feed::Change;

    fn event(key: &str, change: Change) -> Event {
        let (stamp, bucket, version) = (Stamp(1), BucketId(1), VersionId::Null);
        Event { stamp, bucket, key: key.to_owned(), version, change, size: 0, etag: None, at_ms: None }
    }

    #[test]
    fn names_have_stars_at_their_end_and_nowhere_else() {
        for good in [
            "s3:ObjectCreated:*",
            "s3:ObjectRemoved:DeleteMarkerCreated",
            "s3:LifecycleExpiration:*",
            "s3:LifecycleTransition",
            "s3:ObjectTagging:Put",
        ] {
            assert!(Pattern::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "*", "s3:*", "ObjectCreated:*", "s3:ObjectCreated", "s3:ObjectCreated:P*", "s3:ObjectCreated:Get"]
        {
            assert!(Pattern::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn name_prefix_and_suffix_must_all_fit() {
        let patterns = ["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"];
        let patterns = patterns.iter().filter_map(|text| Pattern::parse(text)).collect();
        let filter = Filter { patterns, prefix: "in/".to_owned(), suffix: ".jpg".to_owned() };
        assert!(filter.wants(&event("in/a.jpg", Change::Put)));
        assert!(filter.wants(&event("in/a.jpg", Change::CompleteUpload)));
        assert!(filter.wants(&event("in/a.jpg", Change::Delete)));
        assert!(!filter.wants(&event("in/a.jpg", Change::DeleteMarker)));
        assert!(!filter.wants(&event("out/a.jpg", Change::Put)));
        assert!(!filter.wants(&event("in/a.png", Change::Put)));
        assert!(Filter::default().wants(&event("x", Change::DeleteMarker)));
    }
}
