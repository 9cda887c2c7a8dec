//! Whether a log is the one that was written. A state machine that is fed files in order, line by line.
//!
//! What is found: a line that was changed, removed, put in or moved, and an end that was cut off, as far as the server remembers
//! (`Head`) or a later line says. What is not found is said in `docs/audit-log.md`: without the server's memory, a cut at the
//! end; and a change of the last lines, behind the last checkpoint.

use super::chain::{Chain, Head, SIGNATURE, SIGNED};
use super::record::{Checkpoint, Decision, Dropped, FILE};
use common::PublicKey;
use common::signing::SIGNATURE_BYTES;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("this is no line of an audit log: it was changed, or put in")]
    NotARecord,
    #[error("this is line {found} of the log, and {expected} was expected: {}", missing(*.expected, *.found))]
    Sequence { expected: u64, found: u64 },
    #[error("the line before this one is not the one that was written there: it was changed")]
    Broken,
    #[error("the first line of a log comes after nothing, and this one does not say so")]
    First,
    #[error("the signature is wrong: this checkpoint was changed, or not made by this server")]
    Signature,
    #[error("this checkpoint was signed by another key: {0}")]
    Key(String),
    #[error("a file begins with a checkpoint, and this one does not: its first lines are gone")]
    Unsigned,
    #[error("this checkpoint is of another log: {found}, not {expected}")]
    Sink { expected: String, found: String },
    #[error("this is not the line that the server remembers as its line {0}")]
    Replaced(u64),
    #[error("the server wrote lines up to {lost_to}, and found line {last} to be the last one when it started here")]
    Lost { last: u64, lost_to: u64 },
    #[error("the file ends within a line that is not the beginning of one of ours")]
    Torn,
    #[error("only the last file may end within a line")]
    TornInside,
    #[error(
        "lines {from} to {to} are missing before this file: give the older files too, or verify a part with --partial"
    )]
    Front { from: u64, to: u64 },
    #[error("the log ends with line {last}, and the server remembers line {head}: the end was cut off")]
    Cut { last: u64, head: u64 },
    #[error("there is no line")]
    Empty,
}

fn missing(expected: u64, found: u64) -> String {
    match found.checked_sub(expected) {
        Some(1) => format!("line {expected} is missing"),
        Some(_) => format!("lines {expected} to {} are missing", found.saturating_sub(1)),
        None => "it was put in, or moved here".to_owned(),
    }
}

/// What a log must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// From the oldest line that is kept to at least what the server remembers.
    Whole(Option<Head>),
    /// Whatever is there.
    Partial,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub first: u64,
    pub last: u64,
    /// Lines that tell of a decision.
    pub records: u64,
    pub checkpoints: u64,
    /// Requests whose lines found no room.
    pub dropped: u64,
    /// Lines behind the last checkpoint: nothing signed vouches for them yet.
    pub unsigned: u64,
    /// Bytes of a last line that a crash has torn, or that is just being written.
    pub torn_bytes: u64,
}

#[derive(Debug)]
pub struct Verifier<'v> {
    keys: &'v [PublicKey],
    ends: Ends,
    chain: Option<Chain>,
    begins_file: bool,
    oldest: u64,
    sink: Option<String>,
    summary: Summary,
}

#[derive(Deserialize)]
struct Line<'l> {
    seq: u64,
    #[serde(borrow)]
    prev: &'l str,
    #[serde(borrow)]
    kind: &'l str,
    dropped: Option<u64>,
    oldest: Option<u64>,
    lost_to: Option<u64>,
    #[serde(borrow)]
    sink: Option<&'l str>,
    #[serde(borrow)]
    key: Option<&'l str>,
}

impl<'l> Line<'l> {
    /// As `Chain::append` writes it, to the byte in its first two members.
    fn parse(line: &'l [u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let parsed: Self = serde_json::from_str(text).ok()?;
        let begins = format!("{{\"seq\":{},\"prev\":\"{}\",", parsed.seq, parsed.prev);
        let is_hash = parsed.prev.len() == 64 && parsed.prev.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        let is_ours = parsed.seq > 0 && is_hash && text.starts_with(&begins) && text.ends_with('}');
        is_ours.then_some(parsed)
    }
}

/// The number of a line, if it is one.
pub fn number_of(line: &[u8]) -> Option<u64> {
    Line::parse(line).map(|line| line.seq)
}

impl<'v> Verifier<'v> {
    /// `keys`: those that checkpoints may be signed with.
    pub fn new(keys: &'v [PublicKey], ends: Ends) -> Self {
        Self { keys, ends, chain: None, begins_file: true, oldest: 1, sink: None, summary: Summary::default() }
    }

    /// The lines from here on are of the next file.
    pub fn begin_file(&mut self) -> Result<(), Fault> {
        self.begins_file = true;
        if self.summary.torn_bytes > 0 { Err(Fault::TornInside) } else { Ok(()) }
    }

    /// One whole line, without its end.
    pub fn line(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let line = Line::parse(bytes).ok_or(Fault::NotARecord)?;
        match &self.chain {
            None if line.seq == 1 && line.prev.bytes().any(|digit| digit != b'0') => return Err(Fault::First),
            None => self.summary.first = line.seq,
            Some(chain) => {
                let expected = chain.seq.saturating_add(1);
                if line.seq != expected {
                    return Err(Fault::Sequence { expected, found: line.seq });
                }
                if line.prev != hex::encode(chain.hash) {
                    return Err(Fault::Broken);
                }
            }
        }
        let is_signed = line.kind == Checkpoint::KIND;
        if self.begins_file && !is_signed {
            return Err(Fault::Unsigned);
        }
        self.begins_file = false;
        let before = self.chain.unwrap_or(Chain { seq: line.seq - 1, hash: [0; 32] });
        let chain = before.after(bytes);
        self.chain = Some(chain);
        let summary = &mut self.summary;
        summary.last = line.seq;
        summary.unsigned += 1;
        match line.kind {
            Checkpoint::KIND => {
                self.checkpoint(&line, bytes)?;
                self.summary.checkpoints += 1;
                self.summary.unsigned = 0;
                if let Some(lost_to) = line.lost_to {
                    return Err(Fault::Lost { last: line.seq - 1, lost_to });
                }
            }
            Decision::KIND => summary.records += 1,
            Dropped::KIND => summary.dropped = summary.dropped.saturating_add(line.dropped.unwrap_or(0)),
            _ => return Err(Fault::NotARecord),
        }
        if let Some(head) = self.remembered().filter(|head| head.seq == chain.seq && *head != chain) {
            return Err(Fault::Replaced(head.seq));
        }
        Ok(())
    }

    /// What the server remembers: of its file, and of nothing else that it writes to.
    fn remembered(&self) -> Option<Chain> {
        match self.ends {
            Ends::Whole(Some(Head(head))) if self.sink.as_deref() == Some(FILE) => Some(head),
            _ => None,
        }
    }

    fn checkpoint(&mut self, line: &Line<'_>, bytes: &[u8]) -> Result<(), Fault> {
        let named = line.key.and_then(PublicKey::parse).ok_or(Fault::Signature)?;
        let key = self.keys.iter().find(|key| **key == named).ok_or_else(|| Fault::Key(named.to_string()))?;
        // It is the last member, and its text has one form.
        let digits = 2 * SIGNATURE_BYTES;
        let at = bytes.len().checked_sub(SIGNATURE.len() + digits + 2).ok_or(Fault::Signature)?;
        let (signed, member) = bytes.split_at(at);
        let signature = member.strip_prefix(SIGNATURE.as_bytes()).and_then(|rest| rest.strip_suffix(b"\"}"));
        let signature = signature.filter(|text| !text.iter().any(u8::is_ascii_uppercase)).ok_or(Fault::Signature)?;
        let signature = hex::decode(signature).map_err(|_| Fault::Signature)?;
        if !key.has_signed(&[SIGNED, signed].concat(), &signature) {
            return Err(Fault::Signature);
        }
        let sink = line.sink.unwrap_or("").to_owned();
        match &self.sink {
            Some(expected) if *expected != sink => {
                return Err(Fault::Sink { expected: expected.clone(), found: sink });
            }
            _ => self.sink = Some(sink),
        }
        self.oldest = line.oldest.unwrap_or(1);
        Ok(())
    }

    /// What the last file has behind its last line end. A crash leaves the beginning of a line; a file system may have made room
    /// for the rest of it that was never written.
    pub fn torn(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let text = &bytes[..written];
        let next = self.chain.unwrap_or(Chain::EMPTY).next();
        let common = text.len().min(next.len());
        let is_next = self.chain.is_none() || text[..common] == next.as_bytes()[..common];
        let is_beginning = match serde_json::from_slice::<IgnoredAny>(text) {
            Ok(_) => text.ends_with(b"}"),
            Err(error) => error.is_eof(),
        };
        if !is_next || !is_beginning {
            return Err(Fault::Torn);
        }
        self.summary.torn_bytes = bytes.len() as u64;
        Ok(())
    }

    /// Behind the last file.
    pub fn finish(self) -> Result<Summary, Fault> {
        let last = self.chain.ok_or(Fault::Empty)?.seq;
        if let Ends::Whole(_) = self.ends {
            if self.summary.first > self.oldest {
                return Err(Fault::Front { from: self.oldest, to: self.summary.first - 1 });
            }
            if let Some(head) = self.remembered().filter(|head| head.seq > last) {
                return Err(Fault::Cut { last, head: head.seq });
            }
        }
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests;
