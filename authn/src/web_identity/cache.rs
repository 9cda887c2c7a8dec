//! When an issuer's keys are fetched, and for how long they serve: a state machine without clock or I/O. The time is told.

use super::keys::KeySet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the issuer says of how long its keys are fresh counts between these two.
const FRESH_MS_MIN: u64 = 60_000;
const FRESH_MS_MAX: u64 = 24 * 3_600_000;
/// If it says nothing.
const FRESH_MS: u64 = 300_000;
/// For so long they serve when the issuer cannot be reached.
const STALE_MS_MAX: u64 = 24 * 3_600_000;
/// An issuer is asked once in so long at most, whatever tokens come.
const PAUSE_MS: u64 = 30_000;
/// Issuers are registered by administrators of accounts. Beyond these the longest unused one is forgotten.
const ISSUERS_MAX: usize = 1000;

/// What to do about an issuer's keys.
#[derive(Debug, Clone)]
pub enum Answer {
    /// They are fresh, and the one that is looked for is among them.
    Keys(Arc<KeySet>),
    /// Fetch them, say so with `begin` and `end`, and ask again. One at a time.
    Fetch,
    /// What there is has to do, as the issuer was asked just now: fresh keys without the one that is looked for, stale ones,
    /// or none.
    Last(Option<Arc<KeySet>>),
}

#[derive(Debug, Default)]
struct Issuer {
    keys: Option<Arc<KeySet>>,
    fetched_ms: u64,
    fresh_until_ms: u64,
    asked_ms: Option<u64>,
    used_ms: u64,
}

#[derive(Debug, Default)]
pub struct KeyCache(BTreeMap<String, Issuer>);

impl KeyCache {
    pub fn ask(&mut self, issuer: &str, key_id: Option<&str>, now_ms: u64) -> Answer {
        let Some(known) = self.0.get_mut(issuer) else { return Answer::Fetch };
        known.used_ms = now_ms;
        let fresh = known.keys.as_ref().filter(|_| now_ms < known.fresh_until_ms);
        if let Some(keys) = fresh.filter(|keys| keys.has(key_id)) {
            return Answer::Keys(Arc::clone(keys));
        }
        if known.asked_ms.is_none_or(|asked_ms| now_ms.saturating_sub(asked_ms) >= PAUSE_MS) {
            return Answer::Fetch;
        }
        let served_until_ms = known.fresh_until_ms.max(known.fetched_ms.saturating_add(STALE_MS_MAX));
        Answer::Last(known.keys.clone().filter(|_| now_ms < served_until_ms))
    }

    /// The issuer is being asked.
    pub fn begin(&mut self, issuer: &str, now_ms: u64) {
        if !self.0.contains_key(issuer) && self.0.len() >= ISSUERS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.used_ms).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.0.remove(&name));
        }
        let known = self.0.entry(issuer.to_owned()).or_default();
        (known.asked_ms, known.used_ms) = (Some(now_ms), now_ms);
    }

    /// It has answered, with the seconds that its keys are fresh if it says so; or it has not.
    pub fn end(&mut self, issuer: &str, outcome: Option<(KeySet, Option<u64>)>, now_ms: u64) {
        let (Some((keys, fresh_seconds)), Some(known)) = (outcome, self.0.get_mut(issuer)) else { return };
        let fresh_ms = fresh_seconds.map_or(FRESH_MS, |seconds| seconds.saturating_mul(1000));
        known.keys = Some(Arc::new(keys));
        known.fetched_ms = now_ms;
        known.fresh_until_ms = now_ms.saturating_add(fresh_ms.clamp(FRESH_MS_MIN, FRESH_MS_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn keys(id: &str) -> KeySet {
        let key =
            format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "{id}", "x": "{}"}}]}}"#, "A".repeat(43));
        KeySet::parse(key.as_bytes()).expect("a key set")
    }

    fn kind(answer: &Answer) -> &'static str {
        match answer {
            Answer::Keys(_) => "keys",
            Answer::Fetch => "fetch",
            Answer::Last(Some(_)) => "last",
            Answer::Last(None) => "none",
        }
    }

    #[test]
    fn keys_are_fresh_between_a_minute_and_a_day() {
        for (said, fresh_ms) in
            [(None, 300_000), (Some(0), 60_000), (Some(600), 600_000), (Some(u64::MAX), 24 * HOUR_MS)]
        {
            let mut cache = KeyCache::default();
            assert_eq!(kind(&cache.ask("i", Some("a"), 0)), "fetch");
            cache.begin("i", 0);
            cache.end("i", Some((keys("a"), said)), 0);
            assert_eq!(kind(&cache.ask("i", Some("a"), fresh_ms - 1)), "keys", "{said:?}");
            assert_eq!(kind(&cache.ask("i", Some("a"), fresh_ms)), "fetch", "{said:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_asked_for_once_in_half_a_minute() {
        let mut cache = KeyCache::default();
        cache.begin("i", 1_000);
        cache.end("i", Some((keys("a"), Some(HOUR_MS))), 1_000);
        assert_eq!(kind(&cache.ask("i", Some("b"), 30_999)), "last");
        assert_eq!(kind(&cache.ask("i", Some("b"), 31_000)), "fetch");
        cache.begin("i", 31_000);
        assert_eq!(kind(&cache.ask("i", Some("b"), 31_001)), "last");
        assert_eq!(kind(&cache.ask("i", Some("a"), 31_001)), "keys");
        cache.end("i", Some((keys("b"), Some(HOUR_MS))), 31_002);
        assert_eq!(kind(&cache.ask("i", Some("b"), 31_003)), "keys");
        assert_eq!(kind(&cache.ask("i", None, 31_003)), "keys");
    }

    #[test]
    fn stale_keys_serve_a_day_while_the_issuer_is_down() {
        let mut cache = KeyCache::default();
        cache.begin("i", 0);
        cache.end("i", Some((keys("a"), Some(60))), 0);
        for (now_ms, afterwards) in [(60_000, "last"), (24 * HOUR_MS - 40_000, "last"), (24 * HOUR_MS, "none")] {
            assert_eq!(kind(&cache.ask("i", Some("a"), now_ms)), "fetch");
            cache.begin("i", now_ms);
            cache.end("i", None, now_ms);
            assert_eq!(kind(&cache.ask("i", Some("a"), now_ms)), afterwards, "{now_ms}");
        }
        let mut cache = KeyCache::default();
        cache.begin("down", 5);
        cache.end("down", None, 6);
        assert_eq!(kind(&cache.ask("down", Some("a"), 7)), "none");
        assert_eq!(kind(&cache.ask("down", Some("a"), 30_005)), "fetch");
    }

    #[test]
    fn the_longest_unused_issuer_is_forgotten() {
        let mut cache = KeyCache::default();
        for index in 0..=ISSUERS_MAX {
            cache.begin(&index.to_string(), index as u64);
        }
        assert_eq!(cache.0.len(), ISSUERS_MAX);
        assert!(!cache.0.contains_key("0") && cache.0.contains_key("1"));
    }
}
