//! Which certificate a client gets: that of the name it asks for, one of a wildcard for its first label, or the default.

use crate::check::{self, Facts};
use crate::error::Fault;
use crate::load::Hash;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// One pair that is served.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub facts: Facts,
    pub key: Arc<CertifiedKey>,
    pub hash: Hash,
    /// Issued by the own authority, and in no directory of the user's.
    pub is_own: bool,
}

#[derive(Debug, Default)]
pub struct Store {
    entries: Vec<Arc<Entry>>,
    /// The best of each name, and whether its time is now.
    by_name: HashMap<String, (Arc<Entry>, bool)>,
    fallback: Option<Arc<Entry>>,
}

impl Store {
    /// Of several certificates with a name the one that ends last is taken. One whose time is over, or has not come, is neither
    /// taken for a name nor the default where there is another.
    pub fn of(mut entries: Vec<Arc<Entry>>, now_s: i64) -> Self {
        let is_timely = |entry: &Entry| check::untimely(&entry.name, &entry.facts, now_s).is_none();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut by_name: HashMap<String, (Arc<Entry>, bool)> = HashMap::new();
        for entry in &entries {
            let timely = is_timely(entry);
            for name in &entry.facts.names {
                let kept = by_name.entry(name.clone()).or_insert_with(|| (entry.clone(), timely));
                if (kept.1, kept.0.facts.not_after_s) < (timely, entry.facts.not_after_s) {
                    *kept = (entry.clone(), timely);
                }
            }
        }
        let of_default = entries.iter().find(|entry| entry.name == "default" && is_timely(entry));
        let timely = || entries.iter().find(|entry| is_timely(entry));
        let fallback = of_default.or_else(timely).or(entries.first()).cloned();
        Self { entries, by_name, fallback }
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub fn fallback(&self) -> Option<&Arc<Entry>> {
        self.fallback.as_ref()
    }

    /// `name` is what the client asked for (SNI). The exact name goes before a wildcard, where both are good now or neither is.
    pub fn pick(&self, name: Option<&str>) -> Option<&Arc<Entry>> {
        let Some(name) = name else { return self.fallback() };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.by_name.get(&format!("*.{parent}")));
        let picked = match self.by_name.get(&name) {
            exact @ (None | Some((_, false))) => wildcard().filter(|found| found.1 || exact.is_none()).or(exact),
            exact => exact,
        };
        picked.map(|(entry, _)| entry).or(self.fallback())
    }
}

/// What a pair of the directory is now.
pub type Loaded = BTreeMap<String, Result<(Arc<Entry>, Option<Fault>), Fault>>;

/// What is served after a look at the directory: of each name the new pair, or while there is something wrong with it the old
/// one. Names that are gone go, unless there would be none.
pub fn merge(old: &Store, loaded: Loaded, now_s: i64) -> (Vec<Arc<Entry>>, Vec<Fault>) {
    let before = |name: &str| old.entries.iter().find(|entry| entry.name == name && !entry.is_own).cloned();
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (name, result) in loaded {
        match result {
            Ok((entry, None)) => entries.push(entry),
            Ok((entry, Some(fault))) => {
                let better = before(&name).filter(|old| check::untimely(&name, &old.facts, now_s).is_none());
                entries.push(better.unwrap_or(entry));
                faults.push(fault);
            }
            Err(fault) => {
                entries.extend(before(&name));
                faults.push(fault);
            }
        }
    }
    if entries.is_empty() {
        entries.extend(old.entries.iter().filter(|entry| !entry.is_own).cloned());
    }
    (entries, faults)
}

/// What rustls asks, for all listeners.
#[derive(Debug, Default)]
pub struct Resolver(RwLock<Arc<Store>>);

impl Resolver {
    pub fn store(&self) -> Arc<Store> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn swap(&self, store: Store) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(store);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.store().pick(hello.server_name()).map(|entry| entry.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Authority, Purpose};
    use common::doors::SeededRandom;

    const NOW_S: i64 = 1_790_000_000;

    fn entry(name: &str, names: &[&str], issued_s: i64) -> Arc<Entry> {
        let random = SeededRandom::new(issued_s as u64);
        let made = Authority::make(issued_s as u64 * 1000, &*random).unwrap();
        let authority = Authority::open(&made.certificate_pem, &made.key_pem, "x").unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = authority.issue(&names, Purpose::Server, issued_s as u64 * 1000, &*random).unwrap();
        let checked = check::check(name, pair.certificate_pem.as_bytes(), pair.key_pem.as_bytes(), NOW_S).unwrap();
        Arc::new(Entry { name: name.into(), facts: checked.facts, key: checked.key, hash: [0; 32], is_own: false })
    }

    #[test]
    fn names_are_picked_exactly_then_by_wildcard() {
        let entries = [
            entry("b", &["b.example", "*.b.example"], NOW_S),
            entry("exact", &["x.b.example"], NOW_S),
            entry("a", &["a.example"], NOW_S),
        ];
        let store = Store::of(entries.into(), NOW_S);
        let picked = |name: Option<&str>| store.pick(name).unwrap().name.clone();
        for (asked, name) in [
            (Some("B.Example."), "b"),
            (Some("y.b.example"), "b"),
            (Some("x.b.example"), "exact"),
            (Some("z.y.b.example"), "a"),
            (Some("example"), "a"),
            (Some(""), "a"),
            (None, "a"),
        ] {
            assert_eq!(picked(asked), name, "{asked:?}");
        }
        let store = Store::of(vec![entry("a", &["a.example"], NOW_S), entry("default", &["d.example"], NOW_S)], NOW_S);
        assert_eq!(store.pick(None).unwrap().name, "default");
        assert!(Store::default().pick(None).is_none());
    }

    #[test]
    fn the_one_that_ends_last_has_the_name() {
        let store = Store::of(vec![entry("a", &["n.example"], NOW_S), entry("b", &["n.example"], NOW_S + 100)], NOW_S);
        assert_eq!(store.pick(Some("n.example")).unwrap().name, "b");
        let expired = entry("a", &["old.example"], NOW_S - 100 * 24 * 3600);
        let store = Store::of(vec![expired.clone(), entry("b", &["n.example"], NOW_S)], NOW_S);
        assert_eq!(store.pick(None).unwrap().name, "b", "what has ended is no default");
        assert_eq!(store.pick(Some("old.example")).unwrap().name, "a");
        assert_eq!(Store::of(vec![expired], NOW_S).pick(None).unwrap().name, "a", "but where there is nothing else");
    }

    #[test]
    fn what_is_good_now_goes_before_the_exact_name() {
        let (old, new) = (NOW_S - 100 * 24 * 3600, NOW_S);
        for (exact_s, wildcard_s, name) in
            [(new, new, "exact"), (old, new, "wildcard"), (new, old, "exact"), (old, old, "exact")]
        {
            let exact = entry("exact", &["x.b.example"], exact_s);
            let wildcard = entry("wildcard", &["*.b.example"], wildcard_s);
            let other = entry("default", &["d.example"], NOW_S);
            let store = Store::of(vec![exact, wildcard, other], NOW_S);
            assert_eq!(store.pick(Some("x.b.example")).unwrap().name, name, "{exact_s} {wildcard_s}");
            assert_eq!(store.pick(Some("y.b.example")).unwrap().name, "wildcard");
        }
    }

    #[test]
    fn what_is_wrong_leaves_the_old_one() {
        let (one, two) = (entry("one", &["one.example"], NOW_S), entry("two", &["two.example"], NOW_S));
        let old = Store::of(vec![one.clone(), two.clone()], NOW_S);
        let fault = || Fault::KeyMismatch("one.key".into());
        let names = |(entries, faults): (Vec<Arc<Entry>>, Vec<Fault>)| {
            let names: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), entry.facts.serial.clone())).collect();
            (names, faults)
        };
        let of = |entry: &Arc<Entry>| (entry.name.clone(), entry.facts.serial.clone());
        let newer = entry("two", &["two.example"], NOW_S + 7);
        let loaded = [("one".to_owned(), Err(fault())), ("two".to_owned(), Ok((newer.clone(), None)))].into();
        assert_eq!(names(merge(&old, loaded, NOW_S)), (vec![of(&one), of(&newer)], vec![fault()]));
        // One that is gone goes, but not the last one.
        let loaded = [("two".to_owned(), Ok((two.clone(), None)))].into();
        assert_eq!(names(merge(&old, loaded, NOW_S)).0, [of(&two)]);
        assert_eq!(names(merge(&old, Loaded::new(), NOW_S)).0, [of(&one), of(&two)]);
        // An expired one replaces nothing that is good, and is served where there is nothing else.
        let expired = || Fault::Expired("one.crt".into());
        let late = entry("one", &["one.example"], NOW_S - 100 * 24 * 3600);
        let loaded = || [("one".to_owned(), Ok((late.clone(), Some(expired()))))].into();
        assert_eq!(names(merge(&old, loaded(), NOW_S)), (vec![of(&one)], vec![expired()]));
        assert_eq!(names(merge(&Store::default(), loaded(), NOW_S)), (vec![of(&late)], vec![expired()]));
    }
}
