//! The condition keys of a request.

use std::net::IpAddr;
use std::sync::OnceLock;

/// Keys with their values. Those that Weir itself knows (`aws:`, the proof's) are kept apart from those that were made
/// of the request's headers and query, so that a header can never pass for one.
#[derive(Debug, Default, Clone)]
pub struct Context {
    trusted: Vec<Fact>,
    requested: Vec<Fact>,
}

/// One key. Every statement of a policy may compare it, so what its values mean is found out once.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    key: String,
    pub values: Vec<String>,
    addresses: OnceLock<Vec<Option<IpAddr>>>,
    times_ms: OnceLock<Vec<Option<i128>>>,
}

impl Fact {
    /// The values as addresses. `None`: it is none.
    pub fn addresses(&self) -> &[Option<IpAddr>] {
        self.addresses.get_or_init(|| self.values.iter().map(|value| value.parse().ok()).collect())
    }

    /// The values as times, in milliseconds since 1970.
    pub fn times_ms(&self) -> &[Option<i128>] {
        self.times_ms.get_or_init(|| self.values.iter().map(|value| super::condition::time_ms(value)).collect())
    }
}

impl Context {
    /// A key that Weir vouches for.
    pub fn trust(&mut self, key: impl Into<String>, values: Vec<String>) {
        self.trusted.push(fact(key.into(), values));
    }

    /// A key whose value the client chose.
    pub fn request(&mut self, key: impl Into<String>, values: Vec<String>) {
        self.requested.push(fact(key.into(), values));
    }

    /// Without regard to case. What is trusted wins.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.fact(key).map(|fact| &*fact.values)
    }

    pub(super) fn fact(&self, key: &str) -> Option<&Fact> {
        let mut all = self.trusted.iter().chain(&self.requested);
        all.find(|fact| is_key(&fact.key, key))
    }
}

fn fact(key: String, values: Vec<String>) -> Fact {
    Fact { key, values, addresses: OnceLock::new(), times_ms: OnceLock::new() }
}

pub(super) fn is_key(name: &str, key: &str) -> bool {
    name.len() == key.len() && (name == key || name.eq_ignore_ascii_case(key))
}
