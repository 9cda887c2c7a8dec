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
    /// In lower case: keys know no case.
    key: String,
    pub values: Vec<String>,
    addresses: OnceLock<Vec<Option<IpAddr>>>,
    times_ms: OnceLock<Vec<Option<i128>>>,
}

impl Fact {
    /// The values as addresses, one of IPv4 in its own form: it may have come over a socket of either family. `None`: it is none.
    pub fn addresses(&self) -> &[Option<IpAddr>] {
        let address = |value: &String| value.parse().ok().map(|address: IpAddr| address.to_canonical());
        self.addresses.get_or_init(|| self.values.iter().map(address).collect())
    }

    /// The values as times, in milliseconds since 1970.
    pub fn times_ms(&self) -> &[Option<i128>] {
        self.times_ms.get_or_init(|| self.values.iter().map(|value| super::condition::time_ms(value)).collect())
    }
}

impl Context {
    /// A key that Weir vouches for.
    pub fn trust(&mut self, key: impl AsRef<str>, values: Vec<String>) {
        self.trusted.push(fact(key.as_ref(), values));
    }

    /// A key whose value the client chose.
    pub fn request(&mut self, key: impl AsRef<str>, values: Vec<String>) {
        self.requested.push(fact(key.as_ref(), values));
    }

    /// Without regard to case. What is trusted wins.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.fact(&key.to_ascii_lowercase()).map(|fact| &*fact.values)
    }

    /// By a key in lower case, as compiled policies have them.
    pub(super) fn fact(&self, key: &str) -> Option<&Fact> {
        for facts in [&self.trusted, &self.requested] {
            for fact in facts {
                if fact.key == key {
                    return Some(fact);
                }
            }
        }
        None
    }
}

fn fact(key: &str, values: Vec<String>) -> Fact {
    Fact { key: key.to_ascii_lowercase(), values, addresses: OnceLock::new(), times_ms: OnceLock::new() }
}
