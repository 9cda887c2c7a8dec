//! Request heads for a server that wants signatures, and for one that does not.

use crate::presign::Presigner;
use std::io::Write as _;

pub enum Signer {
    Aws(Box<Presigner>),
    /// nginx: the same path, nobody to convince.
    None {
        host: String,
    },
}

impl Signer {
    pub fn aws(host: &str, access_key: &str, secret_key: &str, now_ms: u64) -> Self {
        Self::Aws(Box::new(Presigner::new(host, access_key, secret_key, now_ms)))
    }

    pub fn none(host: &str) -> Self {
        Self::None { host: host.to_owned() }
    }

    /// Appends a request line and all headers. `path` and `query` are encoded, the query's names ascending.
    pub fn head(&mut self, out: &mut Vec<u8>, method: &str, path: &str, query: &str, body_bytes: Option<u64>) {
        match self {
            Self::Aws(presigner) => presigner.head(out, method, path, query, body_bytes),
            Self::None { host } => {
                let mark = if query.is_empty() { "" } else { "?" };
                write!(out, "{method} {path}{mark}{query} HTTP/1.1\r\nHost: {host}\r\n")
                    .expect("memory takes all bytes");
                if let Some(bytes) = body_bytes {
                    write!(out, "Content-Length: {bytes}\r\n").expect("memory takes all bytes");
                }
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    pub fn new_head(&mut self, method: &str, path: &str, query: &str, body_bytes: Option<u64>) -> Vec<u8> {
        let mut head = Vec::with_capacity(512);
        self.head(&mut head, method, path, query, body_bytes);
        head
    }
}
