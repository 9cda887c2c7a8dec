//! What lines say. A client's own words go into them escaped and cut, so that a line is one line and never long.

use crate::By;
use serde::Serialize;
use std::borrow::Cow;
use time::OffsetDateTime;

/// Bytes of a resource: a bucket and a key have 1100, and what is longer was refused.
const RESOURCE_BYTES_MAX: usize = 2048;
const USER_AGENT_BYTES_MAX: usize = 512;
/// Of ids and names that come from a client.
const WORD_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was allowed, whatever came of it.
    Allow,
    /// The credential or a policy refused it.
    Deny,
    /// It was never decided: the request was broken, or about nothing.
    None,
}

/// One request, or one key of a request for many.
#[derive(Debug, Clone, Serialize)]
pub struct Decision<'d> {
    pub kind: &'static str,
    /// When the request came.
    pub time: String,
    pub request_id: Cow<'d, str>,
    /// `data` or `admin`.
    pub listener: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<&'d str>,
    /// The ARN of who proved who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    pub auth_type: &'static str,
    /// Of a web identity: its issuer, and its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'d, str>>,
    /// As the request claims it, where nothing proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<Cow<'d, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Cow<'d, str>>,
    /// `control`, `write` or `read`.
    pub class: &'static str,
    pub operation: Cow<'d, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Cow<'d, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Cow<'d, str>>,
    /// What a copy or a rename reads, as the request names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'d, str>>,
    /// The id of an access key that was made, or given out for a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_key: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<Cow<'d, str>>,
    pub decision: Outcome,
    /// What kind of thing decided: `statement`, `root`, `administrator`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deciding_policy: Option<&'d str>,
    /// Its Sid, or its place from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deciding_statement: Option<&'d str>,
    /// Why it was denied, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_class: Option<Cow<'d, str>>,
    /// 0 where the client was gone before its answer.
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<Cow<'d, str>>,
    /// Of the body, as the request declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    pub bytes_out: u64,
    pub duration_us: u64,
    /// This line stands for so many reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<u32>,
}

impl<'d> Decision<'d> {
    pub const KIND: &'static str = "decision";

    /// What decided, in the words of an explanation.
    pub fn by(mut self, kind: &'static str, by: &'d By) -> Self {
        self.decided_by = Some(kind);
        (self.deciding_policy, self.deciding_statement) = match by {
            By::Statement { policy, statement } => (Some(policy.as_str()), Some(statement.as_str())),
            By::Beyond(policy) => (Some(policy.as_str()), None),
            _ => (None, None),
        };
        self
    }

    /// Appends it as a JSON object, without a line end.
    pub fn write(mut self, out: &mut Vec<u8>) {
        let fields = [
            (&mut self.access_key, WORD_BYTES_MAX),
            (&mut self.user_agent, USER_AGENT_BYTES_MAX),
            (&mut self.action, WORD_BYTES_MAX),
            (&mut self.resource, RESOURCE_BYTES_MAX),
            (&mut self.source, RESOURCE_BYTES_MAX),
            (&mut self.subject, USER_AGENT_BYTES_MAX),
            (&mut self.version_id, WORD_BYTES_MAX),
            (&mut self.error_code, WORD_BYTES_MAX),
        ];
        for (field, bytes_max) in fields {
            if let Some(text) = field {
                cut(text, bytes_max);
            }
        }
        cut(&mut self.operation, WORD_BYTES_MAX);
        write(&self, out);
    }
}

/// Where requests found no room in the queue of the log, in place of their lines.
#[derive(Debug, Clone, Serialize)]
pub struct Dropped {
    pub kind: &'static str,
    pub time: String,
    pub dropped: u64,
}

impl Dropped {
    pub const KIND: &'static str = "dropped";

    pub fn new(now_ms: u64, dropped: u64) -> Self {
        Self { kind: Self::KIND, time: time(now_ms), dropped }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        write(self, out);
    }
}

/// The kinds of sinks.
pub const FILE: &str = "file";
pub const STDOUT: &str = "stdout";

/// Why there is a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The server began to write.
    Start,
    /// It was time.
    Time,
    /// The last line of a file.
    Rotation,
    /// The first line of the next one.
    File,
    /// The server has ended.
    End,
}

/// A signed line. The signature is its last member (`Chain::append_signed`).
#[derive(Debug, Clone, Serialize)]
pub struct Checkpoint<'c> {
    pub kind: &'static str,
    pub time: String,
    pub reason: Reason,
    /// `FILE` or `STDOUT`.
    pub sink: &'c str,
    /// The oldest line that is kept.
    pub oldest: u64,
    /// What a start has cut off: a line that a crash has torn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_bytes: Option<u64>,
    /// What a start did not find: lines up to this one had been written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_to: Option<u64>,
    /// The public key.
    pub key: String,
}

impl Checkpoint<'_> {
    pub const KIND: &'static str = "checkpoint";

    pub fn write(&self, out: &mut Vec<u8>) {
        write(self, out);
    }
}

fn write(record: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, record).expect("these types have no maps, and memory takes all bytes");
}

fn cut(text: &mut Cow<'_, str>, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = text.floor_char_boundary(bytes_max);
        *text = Cow::Owned(format!("{}...", &text[..end]));
    }
}

/// RFC 3339 with milliseconds.
pub fn time(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let (hour, minute, second) = moment.to_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn decision(key: &str) -> Decision<'_> {
        Decision {
            kind: Decision::KIND,
            time: time(1_549_411_238_999),
            request_id: "3E57427F3EXAMPLE".into(),
            listener: "data",
            tenant: None,
            account: Some("123456789012"),
            principal: Some("arn:aws:iam::123456789012:root".into()),
            auth_type: "sigv4-header",
            subject: None,
            access_key: Some("AKIDEXAMPLE".into()),
            source_ip: Some("192.0.2.3".into()),
            user_agent: Some("boto3".into()),
            class: "write",
            operation: "PutObject".into(),
            action: Some("s3:PutObject".into()),
            resource: Some(format!("arn:aws:s3:::b/{key}").into()),
            source: None,
            issued_key: None,
            version_id: None,
            decision: Outcome::Allow,
            decided_by: None,
            deciding_policy: None,
            deciding_statement: None,
            reason_class: None,
            status: 200,
            error_code: None,
            bytes_in: Some(3),
            bytes_out: 0,
            duration_us: 1234,
            sampled: None,
        }
    }

    fn text(decision: Decision<'_>) -> String {
        let mut out = Vec::new();
        decision.write(&mut out);
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn lines_say_what_decided() {
        let by = By::Statement { policy: "readers".into(), statement: "Sid1".into() };
        let said: serde_json::Value =
            serde_json::from_str(&text(decision("k").by("statement", &by))).expect("one object");
        assert_eq!(said["time"], "2019-02-06T00:00:38.999Z");
        assert_eq!((&said["deciding_policy"], &said["deciding_statement"]), (&"readers".into(), &"Sid1".into()));
        assert_eq!((&said["decision"], &said["decided_by"]), (&"allow".into(), &"statement".into()));
        assert!(said.get("error_code").is_none() && said.get("tenant").is_none());
    }

    #[test]
    fn clients_cannot_forge_lines_or_make_them_long() {
        let forged = "x\"}\n{\"seq\":1,\"kind\":\"decision\"\r\u{2028}\0\\";
        let line = text(decision(forged));
        assert!(!line.contains('\n') && !line.contains('\r') && !line.contains('\0'));
        let said: serde_json::Value = serde_json::from_str(&line).expect("one object");
        assert_eq!(said["resource"], format!("arn:aws:s3:::b/{forged}"));
        let endless = "\u{1}".repeat(1_000_000);
        let long = Decision {
            user_agent: Some(endless.as_str().into()),
            version_id: Some(endless.as_str().into()),
            source: Some(endless.as_str().into()),
            subject: Some(endless.as_str().into()),
            access_key: Some(endless.as_str().into()),
            error_code: Some("ü".repeat(1_000_000).into()),
            operation: endless.as_str().into(),
            action: Some(endless.as_str().into()),
            ..decision(&endless)
        };
        // The chain adds a number, a digest and a signature.
        assert!(text(long).len() < super::super::LINE_BYTES_MAX - 1024);
    }
}
