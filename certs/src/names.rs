//! The names by which this machine is asked: for the certificate that the own authority issues.

use crate::error::{Error, Result};
use crate::limits;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name as certificates have it: lower case, without a dot at its end.
pub fn parse(name: &str) -> Result<String> {
    let wrong = || Error::Name(name.to_owned());
    let name = name.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let host = name.strip_prefix("*.").unwrap_or(&name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > limits::NAME_BYTES_MAX || !host.split('.').all(is_label) {
        return Err(wrong());
    }
    // A wildcard directly below the root of the name system stands for everybody.
    if host.len() < name.len() && !host.contains('.') {
        return Err(wrong());
    }
    Ok(name)
}

/// Host name, addresses of the interfaces and localhost, and those that are configured: each once, the configured first.
pub fn wanted(configured: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in configured {
        all.push(parse(name)?);
    }
    all.extend(of_machine());
    let mut seen = BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    all.truncate(limits::NAMES_MAX);
    Ok(all)
}

/// What the kernel says. Where it says nothing there is still localhost.
#[expect(clippy::disallowed_methods, reason = "the kernel's own tables are no data")]
pub fn of_machine() -> Vec<String> {
    let read =
        |path: &str| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let host = parse(read("/proc/sys/kernel/hostname").trim()).ok().filter(|name| name.parse::<IpAddr>().is_err());
    let mut names: Vec<String> = host.into_iter().collect();
    names.push("localhost".to_owned());
    let four = four(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::from);
    let six = six(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::from);
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let addresses: BTreeSet<IpAddr> = four.chain(six).chain(loopback).collect();
    names.extend(addresses.into_iter().map(|address| address.to_string()));
    names
}

/// The local addresses in `/proc/net/fib_trie`: an address' line stands before the one that says what it is. Networks that are
/// local as a whole are no address.
fn four(table: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in table.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found
}

/// Those of `/proc/net/if_inet6`. Addresses of a link mean nothing without the link.
fn six(table: &str) -> BTreeSet<Ipv6Addr> {
    let digits = table.lines().filter_map(|line| line.split_whitespace().next());
    let addresses = digits.filter_map(|digits| u128::from_str_radix(digits, 16).ok()).map(Ipv6Addr::from);
    addresses.filter(|address| !address.is_unicast_link_local()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_wildcards_and_addresses() {
        for (text, name) in [
            ("S3.Example.com.", "s3.example.com"),
            ("*.s3.example.com", "*.s3.example.com"),
            ("[::1]", "::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(parse(text).unwrap(), name);
        }
        for bad in ["", ".", "a..b", "*", "*.com", "a.*.b", "-a", "a/b", "a b", &"a".repeat(64), "ü"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_kernels_tables_name_addresses() {
        let table = "Main:\n  +-- 10.0.0.0/24 2 0 2\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.7\n        \
                     /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\nLocal:\n     |-- 10.0.0.7\n        \
                     /32 host LOCAL\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- nonsense\n        /32 host LOCAL\n";
        assert_eq!(four(table), [Ipv4Addr::new(10, 0, 0, 7)].into());
        let table =
            "fd000000000000000000000000000001 02 40 00 80 eth0\nfe80000000000000000000000000000f 02 40 20 80 eth0\nx\n";
        assert_eq!(six(table), ["fd00::1".parse().unwrap()].into());
        assert!(four("").is_empty() && six("").is_empty());
    }

    #[test]
    fn configured_names_come_first_and_once() {
        let names = wanted(&["s3.example.com".to_owned(), "LOCALHOST".to_owned()]).unwrap();
        assert_eq!(names[..2], ["s3.example.com", "localhost"]);
        assert!(names.contains(&"127.0.0.1".to_owned()) && names.contains(&"::1".to_owned()));
        assert_eq!(names.iter().filter(|name| *name == "localhost").count(), 1);
        assert!(wanted(&["a b".to_owned()]).is_err());
    }
}
