//! Documents from addresses that somebody named who need not be an administrator of the appliance: an issuer's discovery
//! document and its keys. So the address is judged behind its name, and it is that address that is connected to: loopback,
//! private and every other special network is out of reach, and nobody can use the server to look into its own network.
//! Issuers that are in there are named in the server's settings, by host and port.
//!
//! No redirects, no proxies, no credentials, no compression; a bounded body in a bounded time.

use super::{CONNECT_TIMEOUT, Endpoint, USER_AGENT, connect, resolve};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::time::timeout;

/// From the look-up of the name to the end of the document.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(Endpoint);

#[derive(Debug)]
pub struct Fetched {
    pub body: Bytes,
    /// What `Cache-Control` says.
    pub fresh_seconds: Option<u64>,
}

pub struct Fetcher {
    /// `HOST` or `HOST:PORT`, in lower case.
    local: Vec<String>,
}

impl Fetcher {
    pub fn new(local: &[String]) -> Self {
        Self { local: local.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// A URL that may be fetched as far as its text says: by TLS, unless its host is one of the local ones.
    pub fn url(&self, text: &str) -> Result<Url, String> {
        let endpoint = Endpoint::parse(text)?;
        if !endpoint.tls && !self.is_local(&endpoint) {
            return Err(format!("{text} does not begin with https://, and its host is none of --local-issuer"));
        }
        Ok(Url(endpoint))
    }

    fn is_local(&self, endpoint: &Endpoint) -> bool {
        let authority = endpoint.authority.as_str().to_ascii_lowercase();
        self.local.contains(&authority)
    }

    pub async fn get(&self, url: &Url, bytes_max: usize) -> Result<Fetched, String> {
        timeout(FETCH_TIMEOUT, self.ask(&url.0, bytes_max)).await.map_err(|_| "no answer in time".to_owned())?
    }

    async fn ask(&self, endpoint: &Endpoint, bytes_max: usize) -> Result<Fetched, String> {
        let addresses = resolve(endpoint).await?;
        let is_local = self.is_local(endpoint);
        let good = addresses.iter().filter(|address| may_be_asked(address.ip(), endpoint.tls, is_local));
        let good: Vec<_> = good.copied().collect();
        if good.is_empty() {
            return Err(format!(
                "{} is in a network that issuers are not looked for in: name it in --local-issuer to allow it",
                endpoint.authority
            ));
        }
        let connecting = timeout(CONNECT_TIMEOUT, connect(endpoint, &good)).await;
        let mut sender = connecting.map_err(|_| "connecting took too long".to_owned())??;
        let request = Request::get(endpoint.path.as_str())
            .header(header::HOST, endpoint.authority.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("the answer is {}", head.status.as_u16()));
        }
        if head.headers.contains_key(header::CONTENT_ENCODING) {
            return Err("the answer is compressed, which nobody asked for".to_owned());
        }
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|_| format!("the answer breaks off, or has more than {bytes_max} bytes"))?.to_bytes();
        Ok(Fetched { body, fresh_seconds: fresh_seconds(&head.headers) })
    }
}

/// `max-age`, or 0 where nothing may be kept.
fn fresh_seconds(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = text.split(',').map(str::trim);
    if directives.clone().any(|directive| directive == "no-store" || directive == "no-cache") {
        return Some(0);
    }
    directives.find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

/// Whether an address may be connected to. Without TLS only this machine's own, when its settings say so.
fn may_be_asked(address: IpAddr, tls: bool, is_local: bool) -> bool {
    let address = address.to_canonical();
    match (is_local, tls) {
        (true, true) => !is_link_local(address) && !address.is_multicast() && !address.is_unspecified(),
        (true, false) => address.is_loopback(),
        (false, true) => is_public(address),
        (false, false) => false,
    }
}

/// Where clouds have what their machines may know.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA_V6,
    }
}

const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Source: IANA's registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            // 2000::/3 is what is given out; in it are documentation, Teredo and the like (2001::/23, 2001:db8::/32), 6to4 and
            // 3fff::/20, all of which lead elsewhere or nowhere.
            let [first, second, ..] = address.segments();
            let special = (first == 0x2001 && (second < 0x200 || second == 0xdb8))
                || first == 0x2002
                || (first == 0x3fff && second < 0x1000);
            first & 0xe000 == 0x2000 && !special
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn only_public_addresses_are_asked() {
        let may = |text: &str, tls, is_local| may_be_asked(text.parse().expect("an address"), tls, is_local);
        for public in ["8.8.8.8", "172.32.0.1", "100.63.0.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(may(public, true, false), "{public}");
            assert!(!may(public, false, false) && !may(public, false, true), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!may(inside, true, false), "{inside}");
        }
        assert!(may("10.1.2.3", true, true) && !may("10.1.2.3", false, true));
        assert!(may("127.0.0.1", false, true) && may("::1", false, true) && may("::ffff:127.0.0.1", false, true));
        for never in ["169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::ffff:169.254.169.254"] {
            assert!(!may(never, true, true), "{never}");
        }
    }

    #[test]
    fn plain_http_is_for_named_hosts() {
        let fetcher = Fetcher::new(&["127.0.0.1:3000".to_owned(), "idp.Local:8443".to_owned()]);
        assert!(fetcher.url("http://127.0.0.1:3000/a").is_ok());
        assert!(fetcher.url("https://anywhere.example.com/a").is_ok());
        assert!(fetcher.is_local(&fetcher.url("https://IDP.local:8443/").expect("a good one").0));
        for bad in ["http://127.0.0.1:3001/", "http://127.0.0.1/", "http://localhost:3000/", "file:///etc/passwd", "x"]
        {
            assert!(fetcher.url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn freshness_is_what_the_answer_says() {
        let fresh = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(text));
            fresh_seconds(&headers)
        };
        assert_eq!(fresh("public, max-age=3600"), Some(3600));
        assert_eq!(fresh("Max-Age=\"60\", no-transform"), Some(60));
        assert_eq!(fresh("max-age=60, no-store"), Some(0));
        assert_eq!((fresh("public"), fresh("max-age=-1"), fresh("max-age=x")), (None, None, None));
        assert_eq!(fresh_seconds(&HeaderMap::new()), None);
    }

    /// Answers one connection with these bytes, over and over if there are more to send than the client wants.
    #[expect(clippy::disallowed_methods, reason = "the test is the issuer")]
    async fn serve(answer: &'static str, then: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let block = vec![b' '; 64 * 1024];
                for _ in 0..then / block.len() {
                    if stream.write_all(&block).await.is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn documents_are_bounded_and_redirects_not_followed() {
        let get = async |answer, then| {
            let address = serve(answer, then).await;
            let fetcher = Fetcher::new(&[address.to_string()]);
            let url = fetcher.url(&format!("http://{address}/x")).expect("local");
            fetcher.get(&url, 512 * 1024).await.map(|fetched| fetched.body.len())
        };
        assert_eq!(get("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 0).await, Ok(2));
        let large = get("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", 50 << 20).await.expect_err("50 MiB");
        assert!(large.contains("more than"), "{large}");
        let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(get(redirect, 0).await, Err("the answer is 302".to_owned()));
        let packed = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}";
        assert!(get(packed, 0).await.is_err());
    }

    #[tokio::test]
    async fn what_is_inside_is_not_reached_by_any_name() {
        let address = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 0).await;
        let fetcher = Fetcher::new(&[]);
        for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"] {
            let url = fetcher.url(&format!("https://{host}:{}/x", address.port())).expect("https");
            let refused = fetcher.get(&url, 1024).await.expect_err("inside");
            assert!(refused.contains("--local-issuer"), "{host}: {refused}");
        }
    }
}
