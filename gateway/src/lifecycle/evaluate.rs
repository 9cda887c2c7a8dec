//! What a bucket's rules mean for one version at one moment. No clock, no store.
//!
//! Of several rules the earliest wins, and an expiration goes before a transition. Days are counted from when the version
//! came (or stopped being current) and end at the next midnight UTC.

use super::rules::{Filter, Noncurrent, Rule, When};
use storage::ListedVersion;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long a day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Days {
    /// As everywhere, rounded up to midnight.
    Real,
    /// In tests: so many milliseconds, and no midnight.
    Short { day_ms: u64 },
}

impl Days {
    /// The moment at which so many days are over.
    pub fn after(self, from_ms: u64, days: u32) -> u64 {
        match self {
            Self::Real => (from_ms.saturating_add(u64::from(days) * DAY_MS)).div_ceil(DAY_MS).saturating_mul(DAY_MS),
            Self::Short { day_ms } => from_ms.saturating_add(u64::from(days).saturating_mul(day_ms)),
        }
    }

    fn of(self, when: When, from_ms: u64) -> u64 {
        match when {
            When::Days(days) => self.after(from_ms, days),
            When::Date(at_ms) => at_ms,
        }
    }
}

/// One version among those of its key.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    pub version: &'f ListedVersion,
    /// Noncurrent versions of the same key that are newer than this one.
    pub newer_noncurrent: u32,
    /// There is no other version of the key.
    pub is_alone: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Keep,
    /// Delete the current object as a client would: where versions are kept, by a delete marker.
    Expire,
    /// End this version, or delete marker, for good.
    End,
    /// Give it this storage class.
    Transition(String),
}

pub fn evaluate(rules: &[Rule], facts: &Facts<'_>, now_ms: u64, days: Days) -> Action {
    let version = facts.version;
    let rules = || rules.iter().filter(|rule| rule.filter.takes_in(version));
    if version.is_latest && version.is_marker {
        let is_due = |rule: &Rule| {
            let by_age = rule.expiration.is_some_and(|when| days.of(when, version.modified_ms) <= now_ms);
            rule.expired_markers || by_age
        };
        return if facts.is_alone && rules().any(is_due) { Action::End } else { Action::Keep };
    }
    if version.is_latest {
        if expiration(rules(), version.modified_ms, days).is_some_and(|(due_ms, _)| due_ms <= now_ms) {
            return Action::Expire;
        }
        let transitions = rules().flat_map(|rule| &rule.transitions);
        let due = transitions.filter(|(when, _)| days.of(*when, version.modified_ms) <= now_ms);
        return transition(version, due.map(|(_, class)| class));
    }
    // Without a time at which it stopped being current, nothing can be due.
    let Some(since_ms) = version.noncurrent_ms else { return Action::Keep };
    let is_due = |noncurrent: &Noncurrent| {
        days.after(since_ms, noncurrent.days) <= now_ms && facts.newer_noncurrent >= noncurrent.newer
    };
    if rules().filter_map(|rule| rule.noncurrent_expiration.as_ref()).any(is_due) && !is_locked(version, now_ms) {
        return Action::End;
    }
    let transitions = rules().flat_map(|rule| &rule.noncurrent_transitions);
    transition(version, transitions.filter(|(noncurrent, _)| is_due(noncurrent)).map(|(_, class)| class))
}

/// Whether an upload that was begun then is to be aborted.
pub fn aborts(rules: &[Rule], key: &str, created_ms: u64, now_ms: u64, days: Days) -> bool {
    // Uploads have no size, and S3 takes no tags in such a rule.
    let of_key = rules.iter().filter(|rule| key.starts_with(&rule.filter.prefix));
    let mut limits = of_key.filter_map(|rule| rule.abort_uploads_days);
    limits.any(|limit| days.after(created_ms, limit) <= now_ms)
}

/// When a current object expires, and by which rule: the earliest.
pub fn expiration<'r>(rules: impl Iterator<Item = &'r Rule>, modified_ms: u64, days: Days) -> Option<(u64, &'r Rule)> {
    let due = rules.filter_map(|rule| Some((days.of(rule.expiration?, modified_ms), rule)));
    due.min_by_key(|(due_ms, _)| *due_ms)
}

/// The coldest class that is due, if the version is not as cold already: nothing ever comes back by a rule.
fn transition<'c>(version: &ListedVersion, due: impl Iterator<Item = &'c String>) -> Action {
    if version.is_marker {
        return Action::Keep;
    }
    let current = version.class.as_deref().map_or(0, coldness);
    match due.max_by_key(|class| coldness(class)) {
        Some(class) if coldness(class) > current => Action::Transition(class.clone()),
        _ => Action::Keep,
    }
}

/// The order in which S3 lets rules move objects.
fn coldness(class: &str) -> usize {
    const CLASSES: [&str; 7] =
        ["STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];
    CLASSES.iter().position(|known| *known == class).unwrap_or(0)
}

fn is_locked(version: &ListedVersion, now_ms: u64) -> bool {
    let lock = &version.lock;
    lock.legal_hold || lock.retention.is_some_and(|retention| retention.until_ms > now_ms)
}

impl Filter {
    fn takes_in(&self, version: &ListedVersion) -> bool {
        let about_content = !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some();
        // A delete marker has no tags and no size.
        if version.is_marker && about_content {
            return false;
        }
        self.takes(&version.key, version.size, &version.tags)
    }

    pub fn takes(&self, key: &str, size: u64, tags: &[(String, String)]) -> bool {
        key.starts_with(&self.prefix)
            && self.tags.iter().all(|tag| tags.contains(tag))
            && self.larger_than.is_none_or(|bytes| size > bytes)
            && self.smaller_than.is_none_or(|bytes| size < bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{ETag, Stamp, VersionId};
    use storage::{Lock, Mode, Retention};

    /// 1994-11-06T08:49:37Z.
    const THEN: u64 = 784_111_777_000;
    const SHORT: Days = Days::Short { day_ms: 10 };

    fn version() -> ListedVersion {
        ListedVersion {
            key: "in/key".into(),
            version: VersionId::Id(Stamp(1), 1),
            stamp: Stamp(1),
            is_latest: true,
            is_marker: false,
            size: 100,
            etag: Some(ETag::of_md5([0; 16])),
            modified_ms: THEN,
            noncurrent_ms: None,
            class: None,
            tags: vec![("a".into(), "1".into()), ("b".into(), "2".into())],
            lock: Lock::default(),
            owner: None,
        }
    }

    fn marker() -> ListedVersion {
        ListedVersion { is_marker: true, size: 0, etag: None, tags: Vec::new(), ..version() }
    }

    fn noncurrent() -> ListedVersion {
        ListedVersion { is_latest: false, noncurrent_ms: Some(THEN), modified_ms: 0, ..version() }
    }

    fn action(rules: &[Rule], version: &ListedVersion, days_later: u64) -> Action {
        let facts = Facts { version, newer_noncurrent: 0, is_alone: false };
        evaluate(rules, &facts, THEN + days_later * 10, SHORT)
    }

    fn expires(days: u32) -> Rule {
        Rule { expiration: Some(When::Days(days)), ..Rule::default() }
    }

    #[test]
    fn days_end_at_midnight_unless_they_are_short() {
        // 1994-11-08T00:00:00Z.
        assert_eq!(Days::Real.after(THEN, 1), 784_252_800_000);
        assert_eq!(Days::Real.after(784_252_800_000, 1), 784_252_800_000 + DAY_MS);
        assert_eq!(Days::Real.after(u64::MAX, u32::MAX) % DAY_MS, u64::MAX % DAY_MS);
        assert_eq!(SHORT.after(THEN, 3), THEN + 30);
    }

    #[test]
    fn a_current_object_expires_by_days_or_date() {
        assert_eq!(action(&[expires(2)], &version(), 1), Action::Keep);
        assert_eq!(action(&[expires(2)], &version(), 2), Action::Expire);
        let date = Rule { expiration: Some(When::Date(THEN + 50)), ..Rule::default() };
        assert_eq!(action(std::slice::from_ref(&date), &version(), 4), Action::Keep);
        assert_eq!(action(&[expires(9), date], &version(), 5), Action::Expire);
    }

    #[test]
    fn filters_must_fit_wholly() {
        let with = |filter| Rule { filter, ..expires(0) };
        let is_taken = |filter| action(&[with(filter)], &version(), 0) == Action::Expire;
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let filter = Filter::default();
        assert!(is_taken(filter.clone()));
        assert!(is_taken(Filter { prefix: "in/".into(), ..filter.clone() }));
        assert!(!is_taken(Filter { prefix: "out/".into(), ..filter.clone() }));
        assert!(is_taken(Filter { tags: vec![tag("b", "2"), tag("a", "1")], ..filter.clone() }));
        assert!(!is_taken(Filter { tags: vec![tag("a", "1"), tag("c", "3")], ..filter.clone() }));
        assert!(!is_taken(Filter { larger_than: Some(100), ..filter.clone() }));
        assert!(is_taken(Filter { larger_than: Some(99), smaller_than: Some(101), ..filter.clone() }));
        assert!(!is_taken(Filter { smaller_than: Some(100), ..filter }));
    }

    #[test]
    fn delete_markers_go_when_nothing_is_behind_them() {
        let marker = marker();
        let alone = |rule: Rule, is_alone, days_later: u64| {
            let facts = Facts { version: &marker, newer_noncurrent: 0, is_alone };
            evaluate(&[rule], &facts, THEN + days_later * 10, SHORT)
        };
        let cleans = Rule { expired_markers: true, ..Rule::default() };
        assert_eq!(alone(cleans.clone(), true, 0), Action::End);
        assert_eq!(alone(cleans.clone(), false, 0), Action::Keep);
        assert_eq!(alone(expires(2), true, 1), Action::Keep);
        assert_eq!(alone(expires(2), true, 2), Action::End);
        let about_size = Filter { larger_than: Some(0), ..Filter::default() };
        assert_eq!(alone(Rule { filter: about_size, ..cleans }, true, 0), Action::Keep);
    }

    #[test]
    fn noncurrent_versions_end_by_age_and_number() {
        let rule = |days, newer| Rule { noncurrent_expiration: Some(Noncurrent { days, newer }), ..Rule::default() };
        let noncurrent = noncurrent();
        let with_newer = |rule: Rule, newer_noncurrent, days_later: u64| {
            let facts = Facts { version: &noncurrent, newer_noncurrent, is_alone: false };
            evaluate(&[rule], &facts, THEN + days_later * 10, SHORT)
        };
        assert_eq!(with_newer(rule(2, 0), 0, 1), Action::Keep);
        assert_eq!(with_newer(rule(2, 0), 0, 2), Action::End);
        assert_eq!(with_newer(rule(2, 3), 2, 9), Action::Keep);
        assert_eq!(with_newer(rule(2, 3), 3, 9), Action::End);
        assert_eq!(action(&[expires(0)], &noncurrent, 9), Action::Keep, "the rule is about current objects");
        assert_eq!(action(&[rule(0, 0)], &version(), 9), Action::Keep, "and this one is not");
        let old_marker = ListedVersion { is_marker: true, ..noncurrent.clone() };
        assert_eq!(action(&[rule(1, 0)], &old_marker, 9), Action::End);
    }

    #[test]
    fn what_is_locked_stays() {
        let rule = Rule { noncurrent_expiration: Some(Noncurrent { days: 0, newer: 0 }), ..Rule::default() };
        let retention = |mode, until_ms| Lock { retention: Some(Retention { mode, until_ms }), legal_hold: false };
        for (lock, expected) in [
            (Lock { retention: None, legal_hold: true }, Action::Keep),
            (retention(Mode::Governance, THEN + 11), Action::Keep),
            (retention(Mode::Compliance, THEN + 11), Action::Keep),
            (retention(Mode::Compliance, THEN + 10), Action::End),
        ] {
            assert_eq!(
                action(std::slice::from_ref(&rule), &ListedVersion { lock, ..noncurrent() }, 1),
                expected,
                "{lock:?}"
            );
        }
        let lock = Lock { retention: None, legal_hold: true };
        assert_eq!(action(&[expires(0)], &ListedVersion { lock, ..version() }, 0), Action::Expire, "a marker hides it");
    }

    #[test]
    fn transitions_go_to_the_coldest_class_and_never_back() {
        let to = |days, class: &str| (When::Days(days), class.to_owned());
        let rule = Rule { transitions: vec![to(1, "STANDARD_IA"), to(3, "GLACIER")], ..Rule::default() };
        let moved = |class: Option<&str>, days_later: u64| {
            let version = ListedVersion { class: class.map(str::to_owned), ..version() };
            action(std::slice::from_ref(&rule), &version, days_later)
        };
        assert_eq!(moved(None, 0), Action::Keep);
        assert_eq!(moved(None, 1), Action::Transition("STANDARD_IA".into()));
        assert_eq!(moved(Some("STANDARD_IA"), 2), Action::Keep);
        assert_eq!(moved(Some("STANDARD_IA"), 3), Action::Transition("GLACIER".into()));
        assert_eq!(moved(None, 3), Action::Transition("GLACIER".into()));
        assert_eq!(moved(Some("DEEP_ARCHIVE"), 3), Action::Keep);
        let both = Rule { expiration: Some(When::Days(3)), ..rule.clone() };
        assert_eq!(action(&[both], &version(), 3), Action::Expire, "expiration goes first");
        let later = Noncurrent { days: 2, newer: 0 };
        let noncurrent_rule = Rule { noncurrent_transitions: vec![(later, "GLACIER".into())], ..Rule::default() };
        assert_eq!(action(std::slice::from_ref(&noncurrent_rule), &noncurrent(), 1), Action::Keep);
        assert_eq!(action(&[noncurrent_rule], &noncurrent(), 2), Action::Transition("GLACIER".into()));
    }

    #[test]
    fn old_uploads_are_aborted() {
        let filter = Filter { prefix: "in/".into(), ..Filter::default() };
        let rules = [Rule { abort_uploads_days: Some(2), filter, ..Rule::default() }];
        assert!(!aborts(&rules, "in/a", THEN, THEN + 19, SHORT));
        assert!(aborts(&rules, "in/a", THEN, THEN + 20, SHORT));
        assert!(!aborts(&rules, "out", THEN, THEN + 20, SHORT));
        assert!(!aborts(&[expires(0)], "in/a", THEN, THEN + 20, SHORT));
    }
}
