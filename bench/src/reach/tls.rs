//! What TLS costs: bodies over HTTPS against the same over HTTP, and handshakes against nginx with the same certificate.

use super::{Line, Wanted};
use crate::answer::AnswerReader;
use crate::limits;
use crate::peers::{Peer, Programs, Server, nginx, weir};
use crate::scenario::{MIB, fill};
use crate::statistics::median;
use anyhow::{Context, Result, bail, ensure};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Tls<'a> {
    pub programs: &'a Programs,
    pub directory: &'a Path,
    pub payload: &'a [u8],
    pub round: Duration,
    pub rounds: u32,
}

const CLIENTS: usize = 4;
const OBJECTS: u64 = 16;
const NAME: &str = "localhost";

/// What clients do over and over.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// On a connection that stays.
    Get,
    /// A connection each, with a request that costs next to nothing.
    Full,
    Resumed,
}

/// A server with a certificate.
struct Secured {
    server: Server,
    https: SocketAddr,
    /// Requests for the work, in turn.
    gets: Vec<Vec<u8>>,
    small: Vec<u8>,
}

impl Tls<'_> {
    pub fn run(&self, report: &mut dyn FnMut(Line)) -> Result<()> {
        let directory = self.directory.join("tls");
        let pair = directory.join("pair");
        std::fs::create_dir_all(&pair)?;
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned(), "127.0.0.1".to_owned()])?;
        std::fs::write(pair.join("server.crt"), made.cert.pem())?;
        std::fs::write(pair.join("server.key"), made.signing_key.serialize_pem())?;
        let client = client(made.cert.pem().as_bytes())?;

        let weir = self.weir(&directory, &pair)?;
        let cost = |https: Option<&Arc<ClientConfig>>| self.cost(&weir, Work::Get, https);
        let rounds: Vec<_> =
            (0..self.rounds).map(|_| Ok((cost(None)?, cost(Some(&client))?))).collect::<Result<_>>()?;
        let (plain, tls) = medians(&rounds);
        report(Line::new(
            "cpu get1m over HTTPS",
            format!("{tls:.0} us"),
            format!("{plain:.0} us over HTTP"),
            tls / plain.max(1e-9),
            Wanted::AtMost(2.0),
        ));
        if !self.programs.has(Peer::Nginx) {
            println!("tls: no nginx, no handshakes beside it");
            return Ok(());
        }
        let nginx = self.nginx(&directory, &pair)?;
        for (name, work) in [("full", Work::Full), ("resumed", Work::Resumed)] {
            let cost = |of: &Secured| self.cost(of, work, Some(&client));
            let rounds: Vec<_> = (0..self.rounds).map(|_| Ok((cost(&weir)?, cost(&nginx)?))).collect::<Result<_>>()?;
            let (ours, theirs) = medians(&rounds);
            report(Line::new(
                format!("{name} handshakes for a second of CPU"),
                format!("{:.0}", 1e6 / ours.max(1e-9)),
                format!("{:.0} of nginx", 1e6 / theirs.max(1e-9)),
                theirs / ours.max(1e-9),
                Wanted::AtLeast(0.8),
            ));
        }
        Ok(())
    }

    fn weir(&self, directory: &Path, pair: &Path) -> Result<Secured> {
        let [port] = crate::peers::free_ports()?;
        let https = format!("127.0.0.1:{port}");
        let folder = pair.display().to_string();
        let directory = directory.join("weir");
        std::fs::create_dir_all(&directory)?;
        let flags = ["--tls-dir", &folder, "--https-listen", &https];
        let server = weir::start_with(&self.programs.weir, &directory, &flags)?;
        server.create_bucket("tls")?;
        let path = |number: u64, path: &mut String| path.push_str(&format!("/tls/{number:06}"));
        fill(&server, self.payload, &path, 0..OBJECTS, MIB)?;
        let mut signer = server.signer();
        let gets = (0..OBJECTS).map(|number| signer.new_head("GET", &format!("/tls/{number:06}"), "", None)).collect();
        let small = b"GET /-/live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
        Ok(Secured { server, https: https.parse()?, gets, small })
    }

    fn nginx(&self, directory: &Path, pair: &Path) -> Result<Secured> {
        let binary = self.programs.nginx.as_deref().context("no nginx")?;
        let directory = directory.join("nginx");
        std::fs::create_dir_all(&directory)?;
        let (server, https) = nginx::start_with_tls(binary, self.programs.nginx_workers, &directory, pair)?;
        let files = server.files.as_ref().context("it serves files")?;
        std::fs::write(files.join("live"), "live\n")?;
        let small = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
        Ok(Secured { server, https, gets: Vec::new(), small })
    }

    /// Microseconds of the server's CPU for one of them.
    fn cost(&self, of: &Secured, work: Work, https: Option<&Arc<ClientConfig>>) -> Result<f64> {
        let before = of.server.process.usage();
        let until = Instant::now() + self.round;
        let done: u64 = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| scope.spawn(move || works(of, work, https.map(|config| for_work(config, work)), until)))
                .collect();
            let ended =
                clients.into_iter().map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
            ended.sum::<Result<u64>>()
        })?;
        ensure!(done > 0, "nothing was done");
        Ok(of.server.process.usage().since(before).cpu.as_secs_f64() * 1e6 / done as f64)
    }
}

fn medians(rounds: &[(f64, f64)]) -> (f64, f64) {
    (median(rounds.iter().map(|(first, _)| *first)), median(rounds.iter().map(|(_, second)| *second)))
}

/// One key exchange, so that no two servers choose different ones.
fn client(certificate: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate)?)?;
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519];
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// With tickets of its own, where they are wanted.
fn for_work(config: &Arc<ClientConfig>, work: Work) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.resumption = if work == Work::Full { Resumption::disabled() } else { Resumption::in_memory_sessions(64) };
    Arc::new(config)
}

/// What one client does until then, and how often.
fn works(of: &Secured, work: Work, https: Option<Arc<ClientConfig>>, until: Instant) -> Result<u64> {
    let mut buffer = vec![0; limits::READ_BYTES];
    let mut done = 0;
    match (work, https) {
        (Work::Get, None) => {
            let mut stream = connect(of.server.address)?;
            while Instant::now() < until {
                ask(&mut stream, &of.gets[done as usize % of.gets.len()], Some(MIB), &mut buffer)?;
                done += 1;
            }
        }
        (Work::Get, Some(config)) => {
            let mut stream = secure(of.https, &config)?;
            while Instant::now() < until {
                ask(&mut stream, &of.gets[done as usize % of.gets.len()], Some(MIB), &mut buffer)?;
                done += 1;
            }
        }
        (_, None) => bail!("a handshake needs TLS"),
        (_, Some(config)) => {
            let mut of_the_kind = 0;
            while Instant::now() < until {
                let mut stream = secure(of.https, &config)?;
                ask(&mut stream, &of.small, None, &mut buffer)?;
                let wanted = if work == Work::Full { HandshakeKind::Full } else { HandshakeKind::Resumed };
                of_the_kind += u64::from(stream.conn.handshake_kind() == Some(wanted));
                stream.conn.send_close_notify();
                let _ = stream.flush();
                done += 1;
            }
            // The first of a client has no ticket.
            ensure!(
                of_the_kind + 1 >= done,
                "only {of_the_kind} of {done} handshakes were of the kind that is measured"
            );
        }
    }
    Ok(done)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, limits::ANSWER_WITHIN)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limits::ANSWER_WITHIN))?;
    Ok(stream)
}

fn secure(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(NAME)?;
    Ok(StreamOwned::new(ClientConnection::new(config.clone(), name)?, connect(address)?))
}

fn ask(stream: &mut (impl Read + Write), head: &[u8], bytes: Option<u64>, buffer: &mut [u8]) -> Result<()> {
    stream.write_all(head)?;
    stream.flush()?;
    let mut reader = AnswerReader::new();
    reader.expect(false, false);
    loop {
        let count = stream.read(buffer).context("reading an answer")?;
        ensure!(count > 0, "the server closed the connection");
        let answer = reader.take(&buffer[..count]).map_err(|error| anyhow::anyhow!("{error}"))?;
        if let Some(answer) = answer {
            let is_right = answer.status == 200 && bytes.is_none_or(|bytes| bytes == answer.body_bytes);
            ensure!(is_right, "status {} with {} bytes", answer.status, answer.body_bytes);
            return Ok(());
        }
    }
}
