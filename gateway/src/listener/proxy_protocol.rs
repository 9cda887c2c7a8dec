//! What a proxy of TCP says of its client before the client's bytes: the PROXY protocol, versions 1 and 2
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). Whoever is to say it says it on every connection: where it
//! might be left out, a client behind such a proxy could say it itself.

use crate::limits;
use crate::metrics::Metrics;
use crate::peer::{Client, Proxies};
use prometheus_client::metrics::counter::Counter;
use proxy_header::{ParseConfig, ProxyHeader};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};

const VERSION_1: &[u8] = b"PROXY ";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// A line of version 1, and of what version 2 says in how many bytes it is.
const LINE_BYTES_MAX: usize = 107;
const LINE_BYTES_MIN: usize = b"PROXY UNKNOWN\r\n".len();
const FIXED_BYTES: usize = 16;

/// The proxies that speak it, and what is counted of them. Clones share it.
#[derive(Clone)]
pub struct ProxyProtocol {
    proxies: Proxies,
    refused: Counter,
    has_warned: Arc<AtomicBool>,
}

impl ProxyProtocol {
    pub fn new(proxies: Proxies, metrics: &Metrics) -> Self {
        let refused = Counter::default();
        let help = "Connections of proxies that did not say whose they are";
        metrics.registry().register("proxy_protocol_refused", help, refused.clone());
        Self { proxies, refused, has_warned: Arc::default() }
    }

    pub fn is_spoken_by(&self, address: IpAddr) -> bool {
        self.proxies.trusts(address)
    }

    /// Whose connection of a proxy this is, of which nothing was read yet. `None` if the proxy does not say it.
    pub async fn client_of(&self, stream: &mut (impl AsyncRead + Unpin), proxy: IpAddr) -> Option<Client> {
        let told = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, read(stream, proxy)).await;
        match told.unwrap_or(Err("it did not come in time")) {
            Ok(told) => Some(told),
            Err(why) => {
                self.refused.inc();
                if self.has_warned.swap(true, Ordering::Relaxed) {
                    tracing::debug!(%proxy, why, "a connection of a proxy has no PROXY header");
                } else {
                    tracing::warn!(
                        %proxy, why,
                        "a connection of a proxy has no PROXY header, and is closed: let the proxy send one, or take its \
                         address out of --proxy-protocol. Others are counted, and not told again"
                    );
                }
                None
            }
        }
    }
}

/// Reads the header and no byte behind it.
async fn read(stream: &mut (impl AsyncRead + Unpin), proxy: IpAddr) -> Result<Client, &'static str> {
    let mut header = Vec::with_capacity(LINE_BYTES_MAX);
    loop {
        let missing = missing(&header)?;
        if missing == 0 {
            return parse(&header, proxy);
        }
        let at = header.len();
        header.resize(at + missing, 0);
        let count = stream.read(&mut header[at..]).await.map_err(|_| "the connection failed")?;
        header.truncate(at + count);
        if count == 0 {
            return Err("the connection ended");
        }
    }
}

/// How many bytes belong to a header for certain, of which these have come. 0: it is complete.
pub fn missing(header: &[u8]) -> Result<usize, &'static str> {
    let begins = |signature: &[u8]| header.iter().zip(signature).all(|(byte, expected)| byte == expected);
    if begins(VERSION_1) {
        // Nobody knows the end of a line before it has come. Of version 2, which may begin here as well, there is more.
        return match header.iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 == header.len() => Ok(0),
            None if header.len() < LINE_BYTES_MAX => Ok(LINE_BYTES_MIN.saturating_sub(header.len()).max(1)),
            _ => Err("its line does not end"),
        };
    }
    if !begins(VERSION_2) {
        return Err("it begins with something else");
    }
    let Some(length) = header.get(FIXED_BYTES - 2..FIXED_BYTES) else { return Ok(FIXED_BYTES - header.len()) };
    let total = FIXED_BYTES + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if total > limits::PROXY_HEADER_BYTES_MAX {
        return Err("it is too long");
    }
    Ok(total.saturating_sub(header.len()))
}

/// What a complete header says. Where it names nobody, because the proxy speaks for itself or does not know its client, the address
/// is the proxy's, as the specification wants it.
pub fn parse(header: &[u8], proxy: IpAddr) -> Result<Client, &'static str> {
    let Ok((said, length)) = ProxyHeader::parse(header, ParseConfig::default()) else { return Err("it is malformed") };
    if length != header.len() {
        return Err("it is malformed");
    }
    Ok(match said.proxied_address() {
        Some(addresses) => Client {
            address: addresses.source.ip().to_canonical(),
            is_secure: said.ssl().is_some_and(|ssl| ssl.client_ssl()),
            is_named: true,
        },
        None => Client { address: proxy, is_secure: false, is_named: false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const BEHIND: &[u8] = b"GET / HTTP/1.1\r\n";

    /// Gives at most so many bytes at once.
    struct Slow<'b> {
        bytes: &'b [u8],
        step: usize,
    }

    impl AsyncRead for Slow<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            let (now, later) = self.bytes.split_at(self.step.min(buffer.remaining()).min(self.bytes.len()));
            buffer.put_slice(now);
            self.bytes = later;
            Poll::Ready(Ok(()))
        }
    }

    /// What is told, whatever pieces it comes in, and that nothing behind it is touched.
    async fn told(header: &[u8]) -> Result<(String, bool), &'static str> {
        let bytes = [header, BEHIND].concat();
        let mut answers = Vec::new();
        for step in [1, 2, 7, 100_000] {
            let mut stream = Slow { bytes: &bytes, step };
            let told = read(&mut stream, PROXY).await.map(|told| (told.address.to_string(), told.is_secure));
            if told.is_ok() {
                assert_eq!(stream.bytes, BEHIND);
            }
            answers.push(told);
        }
        // Why it is refused depends on how much of it is seen at once.
        assert!(answers.windows(2).all(|two| two[0].as_ref().ok() == two[1].as_ref().ok()), "{answers:?}");
        answers.swap_remove(0)
    }

    fn version_2(command: u8, family: u8, addresses: &[u8], fields: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len() + fields.len()).expect("short").to_be_bytes();
        [VERSION_2, &[command, family], &length, addresses, fields].concat()
    }

    const TO: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 2, 0x30, 0x39, 1, 187];

    #[tokio::test]
    async fn both_versions_name_the_client() {
        let client = |address: &str, is_secure| Ok((address.to_owned(), is_secure));
        assert_eq!(told(b"PROXY TCP4 192.0.2.7 10.0.0.2 12345 443\r\n").await, client("192.0.2.7", false));
        assert_eq!(told(b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n").await, client("2001:db8::7", false));
        assert_eq!(told(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n").await, client("192.0.2.7", false));
        assert_eq!(told(&version_2(0x21, 0x11, &TO, &[])).await, client("192.0.2.7", false));
        let mut to_6 = [0; 36];
        to_6[0] = 0xfd;
        assert_eq!(told(&version_2(0x21, 0x21, &to_6, &[])).await, client("fd00::", false));
        // Fields: a name, a checksum, and TLS between client and proxy or not.
        let name = [2, 0, 1, b'a', 3, 0, 4, 1, 2, 3, 4];
        let tls = |flags| [&name[..], &[0x20, 0, 5, flags, 0, 0, 0, 0]].concat();
        assert_eq!(told(&version_2(0x21, 0x11, &TO, &tls(1))).await, client("192.0.2.7", true));
        assert_eq!(told(&version_2(0x21, 0x11, &TO, &tls(0))).await, client("192.0.2.7", false));
    }

    #[tokio::test]
    async fn a_proxy_may_name_nobody() {
        let itself = Ok(("10.0.0.1".to_owned(), false));
        let mut unknown = Slow { bytes: b"PROXY UNKNOWN\r\n", step: 100 };
        assert!(read(&mut unknown, PROXY).await.is_ok_and(|client| !client.is_named));
        assert_eq!(told(b"PROXY UNKNOWN\r\n").await, itself);
        assert_eq!(told(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").await, itself);
        assert_eq!(told(&version_2(0x20, 0, &[], &[])).await, itself);
        assert_eq!(told(&version_2(0x20, 0x11, &TO, &[])).await, itself);
        assert_eq!(told(&version_2(0x21, 0x31, &[b'/'; 216], &[])).await, itself, "a path is no address");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_not_waited_for() {
        let proxies = Proxies::parse(&["10.0.0.0/8".to_owned()]).expect("a network");
        let protocol = ProxyProtocol::new(proxies, &Metrics::default());
        let (mut stream, mut other) = tokio::io::duplex(100);
        tokio::io::AsyncWriteExt::write_all(&mut other, b"PROXY TCP4 ").await.expect("room");
        assert!(protocol.client_of(&mut stream, PROXY).await.is_none());
        assert_eq!(protocol.refused.get(), 1);
    }

    #[tokio::test]
    async fn whatever_else_comes_is_refused() {
        for wrong in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01",
            b"PROXY TCP4 192.0.2.7 10.0.0.2 12345\r\n",
            b"PROXY TCP4 192.0.2 10.0.0.2 12345 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.2 12345 443\n",
            b"PROXY TCP5 192.0.2.7 10.0.0.2 12345 443\r\n",
            b"PROXY UNKNOWN\n",
            b"\r\n\r\n\0\r\nQUIT\r",
        ] {
            assert!(told(wrong).await.is_err(), "{}", wrong.escape_ascii());
        }
        assert_eq!(told(&[&b"PROXY UNKNOWN "[..], &[b'a'; 100]].concat()).await, Err("its line does not end"));
        for (command, family, addresses) in
            [(0x11, 0x11, &TO[..]), (0x22, 0x11, &TO), (0x21, 0x41, &TO), (0x21, 0x11, &TO[..11])]
        {
            assert_eq!(told(&version_2(command, family, addresses, &[])).await, Err("it is malformed"));
        }
        let long = version_2(0x21, 0x11, &TO, &[4; limits::PROXY_HEADER_BYTES_MAX]);
        assert_eq!(told(&long).await, Err("it is too long"));
        let mut ends = Slow { bytes: b"PROXY TCP4 19", step: 100 };
        assert_eq!(read(&mut ends, PROXY).await, Err("the connection ended"));
    }
}
