//! The scenarios: what is asked, of how many objects, over how many connections.

use crate::baselines::Baseline;
use crate::generator::Run;
use crate::loads::{Fill, Multipart, Prepared};
use crate::outcome::Outcome;
use crate::peers::{Peer, Server};
use crate::request::{Expected, Requests};
use crate::signer::Signer;
use anyhow::{Result, ensure};
use std::path::Path;

pub const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Get,
    Head,
    /// Over the same keys again and again.
    Put,
    /// Pages of 1,000 keys, from ten places.
    List,
    /// All common prefixes in one page.
    ListPrefixes {
        keys_each: u64,
    },
    /// Of objects that are there, each once.
    Delete,
    Multipart {
        parts: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    pub name: &'static str,
    pub kind: Kind,
    /// Of an object, or of a part.
    pub bytes: u64,
    pub objects: u64,
    pub connections: usize,
    /// At half the rate of the closed loop, measured just before, and with latency from the intended time.
    pub open: bool,
    /// The bucket encrypts by SSE-S3.
    pub encrypted: bool,
    /// Statements of the bucket's policy, each of which is about the request but for its condition.
    pub statements: u32,
    pub beside: &'static [Baseline],
}

const fn scenario(name: &'static str, kind: Kind, bytes: u64, objects: u64, connections: usize) -> Scenario {
    Scenario { name, kind, bytes, objects, connections, open: false, encrypted: false, statements: 0, beside: &[] }
}

/// Sizes, counts and connections of the first ones are those of the outside witness, a script around wrk.
pub const SCENARIOS: [Scenario; 21] = [
    scenario("get1k", Kind::Get, KIB, 500, 32),
    scenario("get64k", Kind::Get, 64 * KIB, 300, 16),
    scenario("get1m", Kind::Get, MIB, 64, 8),
    scenario("get64m", Kind::Get, 64 * MIB, 3, 4),
    scenario("head", Kind::Head, KIB, 500, 32),
    scenario("put4k", Kind::Put, 4 * KIB, 20_000, 32),
    scenario("put64k", Kind::Put, 64 * KIB, 8_000, 16),
    scenario("put1m", Kind::Put, MIB, 1_000, 8),
    scenario("put16m", Kind::Put, 16 * MIB, 60, 4),
    Scenario { beside: &[Baseline::Md5, Baseline::Disk], ..scenario("put64m", Kind::Put, 64 * MIB, 8, 1) },
    scenario("put64m8", Kind::Put, 64 * MIB, 16, 8),
    Scenario { beside: &[Baseline::FilePerObject], ..scenario("put4k64", Kind::Put, 4 * KIB, 20_000, 64) },
    scenario("list", Kind::List, 0, 10_000, 4),
    scenario("prefixes", Kind::ListPrefixes { keys_each: 10 }, 0, 10_000, 4),
    scenario("delete", Kind::Delete, KIB, 20_000, 32),
    scenario("multipart", Kind::Multipart { parts: 3 }, 5 * MIB, 32, 4),
    Scenario { open: true, ..scenario("get1k-open", Kind::Get, KIB, 500, 32) },
    Scenario { encrypted: true, ..scenario("get1m-sse", Kind::Get, MIB, 64, 8) },
    Scenario { encrypted: true, ..scenario("put1m-sse", Kind::Put, MIB, 1_000, 8) },
    Scenario { statements: 1, ..scenario("get1k-policy1", Kind::Get, KIB, 500, 32) },
    Scenario { statements: 100, ..scenario("get1k-policy100", Kind::Get, KIB, 500, 32) },
];

pub const LIST_PAGE_KEYS: u64 = 1_000;

impl Scenario {
    pub fn is_for(&self, peer: Peer) -> bool {
        match peer {
            // Weir is held against itself.
            Peer::Nginx | Peer::Seaweedfs if self.encrypted || self.statements > 0 => false,
            Peer::Weir | Peer::Seaweedfs => true,
            Peer::Nginx => matches!(self.kind, Kind::Get | Kind::Head),
        }
    }

    /// Where an object is, from the server's root.
    pub fn path(&self, number: u64, path: &mut String) {
        use std::fmt::Write as _;
        let bucket = self.bucket();
        let written = match self.kind {
            Kind::ListPrefixes { keys_each } => {
                write!(path, "/{bucket}/p{:04}/{:06}", number / keys_each, number % keys_each)
            }
            _ => write!(path, "/{bucket}/k/{number:06}"),
        };
        written.expect("a string takes all text");
    }

    /// Each scenario has one, so that servers may be kept for several.
    pub fn bucket(&self) -> &'static str {
        self.name
    }

    fn target(&self, number: u64) -> String {
        let mut path = String::new();
        self.path(number, &mut path);
        path
    }

    /// As much of everything as shows that it works.
    pub fn shortened(&self) -> Self {
        let bytes = self.bytes.min(8 * MIB);
        let objects = match self.kind {
            Kind::List | Kind::ListPrefixes { .. } => 1_500,
            Kind::Delete => 400,
            _ => self.objects.min(100),
        };
        Self { bytes, objects, ..*self }
    }

    fn is_filled_before(&self) -> bool {
        matches!(self.kind, Kind::Get | Kind::Head | Kind::List | Kind::ListPrefixes { .. })
    }

    /// The bucket, and the objects that the load reads.
    pub fn prepare(&self, server: &Server, payload: &[u8]) -> Result<()> {
        server.create_bucket(self.bucket())?;
        if self.encrypted {
            server.encrypt_bucket(self.bucket())?;
        }
        if self.statements > 0 {
            server.guard_bucket(self.bucket(), self.statements)?;
        }
        if self.is_filled_before() {
            fill(server, payload, &|number, path| self.path(number, path), 0..self.objects, self.bytes)?;
        }
        Ok(())
    }

    /// What a round needs anew.
    pub fn prepare_round(&self, server: &Server, payload: &[u8], objects: u64) -> Result<()> {
        if self.kind == Kind::Delete {
            fill(server, payload, &|number, path| self.path(number, path), 0..objects, self.bytes)?;
        }
        Ok(())
    }

    /// The load, and how many objects a round of it may use up.
    pub fn requests<'a>(&self, signer: &'a mut Signer, objects: u64) -> Box<dyn Requests + 'a> {
        let any = Expected::default();
        let sized = Expected { body_bytes: Some(self.bytes), ..any };
        let mut all = |method: &str, body: Option<u64>| -> Vec<Vec<u8>> {
            (0..objects).map(|number| signer.new_head(method, &self.target(number), "", body)).collect()
        };
        match self.kind {
            Kind::Get => Box::new(Prepared::new(all("GET", None), sized)),
            Kind::Head => Box::new(Prepared::new(all("HEAD", None), Expected { without_body: true, ..any })),
            Kind::Put => Box::new(Prepared::new(all("PUT", Some(self.bytes)), any).with_body(self.bytes)),
            Kind::Delete => Box::new(Prepared::new(all("DELETE", None), Expected { status: 204, ..any }).once()),
            Kind::List => {
                let starts = (0..10).map(|tenth| tenth * (self.objects.saturating_sub(LIST_PAGE_KEYS)) / 10);
                let queries =
                    starts.map(|start| format!("list-type=2&max-keys={LIST_PAGE_KEYS}&start-after=k%2F{start:06}"));
                let path = format!("/{}", self.bucket());
                Box::new(Prepared::new(queries.map(|query| signer.new_head("GET", &path, &query, None)).collect(), any))
            }
            Kind::ListPrefixes { .. } => {
                let query = format!("delimiter=%2F&list-type=2&max-keys={LIST_PAGE_KEYS}");
                let head = signer.new_head("GET", &format!("/{}", self.bucket()), &query, None);
                Box::new(Prepared::new(vec![head], any))
            }
            Kind::Multipart { parts } => {
                Box::new(Multipart::new(signer, self.bucket(), self.connections, parts, self.bytes))
            }
        }
    }
}

/// Connections that fill a server, and how many per object size: few large bodies are on the way at once.
const FILL_CONNECTIONS: usize = 64;

/// Puts objects as fast as the server takes them; for nginx it writes the files.
pub fn fill(
    server: &Server,
    payload: &[u8],
    path: &(dyn Fn(u64, &mut String) + Sync),
    numbers: std::ops::Range<u64>,
    bytes: u64,
) -> Result<Outcome> {
    if let Some(files) = &server.files {
        write_files(files, payload, path, numbers, bytes)?;
        return Ok(Outcome::new());
    }
    let mut signer = server.signer();
    let run =
        Run { connections: if bytes < MIB { FILL_CONNECTIONS } else { 2 }, ..Run::closed(server.address, payload) };
    let outcome = run.execute(&mut Fill::new(&mut signer, path, numbers, bytes))?;
    let errors = &outcome.errors;
    ensure!(
        errors.count == 0,
        "filling: {} errors, the first: {}",
        errors.count,
        errors.first.as_deref().unwrap_or("?")
    );
    Ok(outcome)
}

fn write_files(
    files: &Path,
    payload: &[u8],
    path: &(dyn Fn(u64, &mut String) + Sync),
    numbers: std::ops::Range<u64>,
    bytes: u64,
) -> Result<()> {
    let body: Vec<u8> = payload.iter().copied().cycle().take(bytes as usize).collect();
    for number in numbers {
        let mut name = String::new();
        path(number, &mut name);
        let file = files.join(name.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().unwrap_or(files))?;
        std::fs::write(file, &body)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_paths_need_no_encoding() {
        let names: std::collections::BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        for scenario in SCENARIOS {
            let path = scenario.target(1234);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-.".contains(&byte);
            assert!(path.bytes().all(plain), "{path}");
        }
    }

    #[test]
    fn prefixes_hold_keys_each() {
        let prefixes = SCENARIOS.iter().find(|scenario| scenario.name == "prefixes").unwrap();
        assert_eq!(prefixes.target(25), "/prefixes/p0002/000005");
        assert_eq!(prefixes.objects / 10, LIST_PAGE_KEYS);
    }
}
