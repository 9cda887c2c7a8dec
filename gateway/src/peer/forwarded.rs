//! What proxies say about their clients: `X-Forwarded-For` with `X-Forwarded-Proto`, or `Forwarded` (RFC 7239). Each proxy puts its
//! client behind what it was told, so the list is believed from its end, as far as trusted addresses stand there; the first
//! other one is the client. What stands before that the client wrote itself, and nobody reads it. Pure.
//!
//! A proxy that writes one of the two hands on the other one as its client wrote it. Where they tell different things nobody
//! knows which one to believe, and the request is refused.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::{IpAddr, SocketAddr};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client, as a trusted proxy knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub address: IpAddr,
    /// It came by TLS, said the proxy that it came to.
    pub is_secure: bool,
}

/// One proxy's client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Hop {
    node: Option<String>,
    proto: Option<String>,
}

impl Told {
    /// Nothing if no proxy has said anything. An error names the header that cannot be understood.
    pub fn of(headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Result<Option<Self>, &'static str> {
        let listed = listed(headers)?.map(|hops| client(&hops, &trusts)).transpose().map_err(|()| "X-Forwarded-For")?;
        let standard = standard(headers)?.map(|hops| client(&hops, &trusts)).transpose().map_err(|()| "Forwarded")?;
        match (listed, standard) {
            (Some((one, listed)), Some((other, standard))) => {
                let agree = one == other && (listed.is_none() || standard.is_none() || listed == standard);
                let is_secure = listed.or(standard).unwrap_or(false);
                if agree { Ok(Some(Self { address: one, is_secure })) } else { Err("Forwarded beside X-Forwarded-For") }
            }
            (Some((address, secure)), None) | (None, Some((address, secure))) => {
                Ok(Some(Self { address, is_secure: secure.unwrap_or(false) }))
            }
            (None, None) => Ok(None),
        }
    }
}

/// The last hop that no trusted proxy is, or the first of all; and whether it came by TLS, where that was said.
fn client(hops: &[Hop], trusts: impl Fn(IpAddr) -> bool) -> Result<(IpAddr, Option<bool>), ()> {
    let mut client = None;
    for hop in hops.iter().rev() {
        let address = hop.node.as_deref().and_then(address).ok_or(())?;
        let is_secure = match hop.proto.as_deref() {
            None => None,
            Some(proto) if proto.eq_ignore_ascii_case("https") => Some(true),
            Some(proto) if proto.eq_ignore_ascii_case("http") => Some(false),
            Some(_) => return Err(()),
        };
        client = Some((address, is_secure));
        if !trusts(address) {
            break;
        }
    }
    client.ok_or(())
}

/// Those of `X-Forwarded-For`. The one protocol beside it is that of them all: the proxy that the client came to wrote it, and
/// each proxy behind that has kept it.
fn listed(headers: &HeaderMap) -> Result<Option<Vec<Hop>>, &'static str> {
    let mut protos = headers.get_all(PROTO).iter();
    let proto = protos.next().map(|value| value.to_str().map(|text| text.trim().to_owned()));
    let proto = proto.transpose().map_err(|_| "X-Forwarded-Proto")?;
    if protos.next().is_some() {
        return Err("X-Forwarded-Proto");
    }
    let mut hops = Vec::new();
    for line in headers.get_all(FOR) {
        // A client may have written anything; what is not ASCII is no address, and refused only if it is asked for.
        let line = String::from_utf8_lossy(line.as_bytes());
        hops.extend(line.split(',').map(|node| Hop { node: Some(node.trim().to_owned()), proto: proto.clone() }));
    }
    Ok(Some(hops).filter(|hops| !hops.is_empty()))
}

fn standard(headers: &HeaderMap) -> Result<Option<Vec<Hop>>, &'static str> {
    let mut hops = Vec::new();
    for line in headers.get_all(header::FORWARDED) {
        elements(line, &mut hops).ok_or("Forwarded")?;
    }
    Ok(Some(hops).filter(|hops| !hops.is_empty()))
}

/// One line of `Forwarded`: elements between commas, of pairs between semicolons. Quotes are followed from the line's beginning,
/// so a quote that a client leaves open makes the whole line malformed, and hides nothing of what a proxy has put behind it.
fn elements(line: &HeaderValue, hops: &mut Vec<Hop>) -> Option<()> {
    let mut rest = line.to_str().ok()?.trim_ascii();
    let mut hop = Hop::default();
    loop {
        let name_bytes = rest.bytes().take_while(|byte| is_token(*byte)).count();
        let (name, behind) = rest.split_at(name_bytes);
        let (value, behind) = value(behind.strip_prefix('=').filter(|_| !name.is_empty())?)?;
        let place = match name {
            _ if name.eq_ignore_ascii_case("for") => Some(&mut hop.node),
            _ if name.eq_ignore_ascii_case("proto") => Some(&mut hop.proto),
            _ => None,
        };
        if place.is_some_and(|place| place.replace(value).is_some()) {
            return None;
        }
        let behind = behind.trim_ascii_start();
        rest = match behind.as_bytes().first() {
            None => {
                hops.push(hop);
                return Some(());
            }
            Some(b';') => behind[1..].trim_ascii_start(),
            Some(b',') => {
                hops.push(std::mem::take(&mut hop));
                behind[1..].trim_ascii_start()
            }
            Some(_) => return None,
        };
    }
}

/// A token or a quoted string, and what is behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some proxies forget the quotes around an address with a port.
        let bytes = text.bytes().take_while(|byte| is_token(*byte) || b":[]".contains(byte)).count();
        let (token, rest) = text.split_at(bytes);
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An address, of IPv6 also in brackets, and with or without a port.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse().ok().filter(IpAddr::is_ipv6),
        None => node.parse().or_else(|_| node.parse::<SocketAddr>().map(|it| it.ip())).ok(),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told where 10/8 is trusted: `ADDRESS` or `ADDRESS secure`, `-` for nothing, `error`.
    fn told(headers: &[(&str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        match Told::of(&map, |address| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)) {
            Ok(None) => "-".to_owned(),
            Ok(Some(told)) => format!("{}{}", told.address, if told.is_secure { " secure" } else { "" }),
            Err(_) => "error".to_owned(),
        }
    }

    fn listed(value: &str) -> String {
        told(&[("x-forwarded-for", value)])
    }

    fn forwarded(value: &str) -> String {
        told(&[("forwarded", value)])
    }

    #[test]
    fn the_last_that_is_not_trusted_is_the_client() {
        assert_eq!(listed("1.1.1.1"), "1.1.1.1");
        assert_eq!(listed("6.6.6.6, 1.1.1.1"), "1.1.1.1");
        assert_eq!(listed("6.6.6.6,1.1.1.1 , 10.0.0.1,10.0.0.2"), "1.1.1.1");
        assert_eq!(told(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1")]), "1.1.1.1");
        assert_eq!(listed("10.0.0.1, 10.0.0.2"), "10.0.0.1", "the first where all are trusted");
        assert_eq!(listed("1.1.1.1:4711"), "1.1.1.1");
        assert_eq!(listed("2001:db8::1"), "2001:db8::1");
        assert_eq!(listed("[2001:db8::1]:80"), "2001:db8::1");
        assert_eq!(listed("::ffff:1.1.1.1"), "1.1.1.1");
        assert_eq!(told(&[]), "-");
    }

    #[test]
    fn what_the_client_wrote_is_not_read() {
        assert_eq!(listed("\", unknown, <script>, ü, 1.1.1.1"), "1.1.1.1");
        assert_eq!(listed(", 1.1.1.1"), "1.1.1.1");
        assert_eq!(forwarded("for=unknown;by=x, for=1.1.1.1"), "1.1.1.1");
    }

    #[test]
    fn a_word_that_is_no_address_is_refused() {
        for wrong in
            ["", "unknown", "1.1.1.1,", "1.1.1.1, 10.0.0", "1.1.1.1 10.0.0.1", "a.example", "[1.1.1.1]", "256.1.1.1"]
        {
            assert_eq!(listed(wrong), "error", "{wrong:?}");
        }
        for wrong in [
            "",
            "for",
            "for=",
            "for=unknown",
            "for=_hidden",
            "proto=https",
            "for=1.1.1.1;for=2.2.2.2",
            "for=1.1.1.1;",
            "=1.1.1.1",
            "for =1.1.1.1",
            "for=1.1.1.1 for=2.2.2.2",
            "for=1.1.1.1;proto=gopher",
            "for=1.1.1.1,",
            "for=\"1.1.1.1",
            "for=\"1.1.1.1\\",
        ] {
            assert_eq!(forwarded(wrong), "error", "{wrong:?}");
        }
    }

    #[test]
    fn an_open_quote_hides_nothing() {
        for written in ["for=\"", "for=6.6.6.6;x=\"", "for=\"6.6.6.6", "for=\"6.6.6.6\";x=\"\\"] {
            for put_behind in [", for=1.1.1.1", ", for=\"1.1.1.1\"", ", for=\"[::1]\";proto=https"] {
                assert_eq!(forwarded(&format!("{written}{put_behind}")), "error", "{written}{put_behind}");
            }
            assert_eq!(told(&[("forwarded", written), ("forwarded", "for=1.1.1.1")]), "error");
        }
    }

    #[test]
    fn the_standard_header_has_its_own_grammar() {
        assert_eq!(forwarded("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(forwarded("for=1.1.1.1; proto=https ;by=203.0.113.43, for=10.0.0.1;proto=http"), "1.1.1.1 secure");
        assert_eq!(forwarded("proto=http;host=\"a, for=b\";for=1.1.1.1"), "1.1.1.1");
        assert_eq!(forwarded("for=1.1.1.1:80"), "1.1.1.1");
        assert_eq!(forwarded("for=\"1.1.1.\\1\""), "1.1.1.1");
    }

    #[test]
    fn the_protocol_is_that_of_the_client() {
        let with = |proto: &[&str]| {
            let lines = proto.iter().map(|proto| ("x-forwarded-proto", *proto));
            told(&[("x-forwarded-for", "1.1.1.1")].into_iter().chain(lines).collect::<Vec<_>>())
        };
        assert_eq!(with(&["https"]), "1.1.1.1 secure");
        assert_eq!(with(&["HTTP"]), "1.1.1.1");
        assert_eq!(with(&[]), "1.1.1.1", "nobody has said that it was encrypted");
        for wrong in [&["https", "https"][..], &["https,http"], &["wss"], &[""]] {
            assert_eq!(with(wrong), "error", "{wrong:?}");
        }
        assert_eq!(told(&[("x-forwarded-proto", "https")]), "-", "without a client it is about nobody");
    }

    #[test]
    fn two_headers_have_to_agree() {
        let both = |list: &str, standard: &str| told(&[("x-forwarded-for", list), ("forwarded", standard)]);
        assert_eq!(both("1.1.1.1", "for=1.1.1.1;proto=https"), "1.1.1.1 secure");
        assert_eq!(both("1.1.1.1", "for=6.6.6.6"), "error");
        let protos =
            [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "http"), ("forwarded", "for=1.1.1.1;proto=https")];
        assert_eq!(told(&protos), "error");
    }
}
