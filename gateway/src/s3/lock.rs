//! Object lock: what a write asks for or its bucket gives it, and what an object's own documents say. Whether a lock may be
//! changed and what it forbids is decided by storage, together with the write.
//!
//! Source: "Locking objects with Object Lock", Amazon S3 User Guide.

use crate::access::admitted;
use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{dates, document};
use cluster::Bucket;
use http::{Extensions, HeaderMap};
use s3s::dto::{self, ObjectLockConfiguration, Timestamp, TimestampFormat};
use storage::{Lock, Mode, Retention};
use time::{Duration, OffsetDateTime};

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";
const BYPASS: &str = "x-amz-bypass-governance-retention";

/// The lock of a new version: what the request asks for, else the retention that its bucket gives every new version.
pub fn of_write(headers: &HeaderMap, bucket: &Bucket, now_ms: u64) -> Result<Lock> {
    let asked = Asked::parse(headers, now_ms)?;
    if !documents::can_lock(bucket) {
        return if asked == Asked::default() { Ok(Lock::default()) } else { Err(missing_configuration()) };
    }
    let retention = match asked.retention {
        Some(retention) => Some(retention),
        None => default_retention(bucket, now_ms)?,
    };
    Ok(Lock { retention, legal_hold: asked.legal_hold })
}

/// Whether the request itself locks what it writes. Its body then has to come with a checksum.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    [MODE, UNTIL, LEGAL_HOLD].iter().any(|name| headers.contains_key(*name))
}

/// A request on a lock in a bucket that has none.
pub fn expect_locks(bucket: &Bucket) -> Result<()> {
    if documents::can_lock(bucket) { Ok(()) } else { Err(missing_configuration()) }
}

fn missing_configuration() -> Error {
    Error::InvalidRequest("Bucket is missing Object Lock Configuration".to_owned())
}

/// Whether the caller wants to go past governance retention.
pub fn wants_bypass(headers: &HeaderMap) -> bool {
    headers.get(BYPASS).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Whether the caller goes past governance retention: the header of who may not is as good as none.
pub fn bypasses(headers: &HeaderMap, extensions: &Extensions) -> bool {
    wants_bypass(headers) && admitted(extensions).is_some_and(|admitted| admitted.bypasses_governance)
}

/// The headers of GET and HEAD.
pub fn write_headers(lock: &Lock, headers: &mut HeaderMap) {
    let mut write = |name: &'static str, text: &str| {
        if let Ok(value) = text.parse() {
            headers.insert(name, value);
        }
    };
    if let Some(Retention { mode, until_ms }) = lock.retention {
        write(MODE, mode_name(mode));
        write(UNTIL, &dates::iso_date(&dates::instant(until_ms)));
    }
    if lock.legal_hold {
        write(LEGAL_HOLD, dto::ObjectLockLegalHoldStatus::ON);
    }
}

/// PutObjectRetention's document. An empty one takes the retention away.
pub fn retention_of(document: Option<dto::ObjectLockRetention>, now_ms: u64) -> Result<Option<Retention>> {
    let document = document.ok_or(Error::MalformedXml("There is no document"))?;
    match (document.mode, document.retain_until_date) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let mode = parse_mode(mode.as_str()).ok_or(Error::MalformedXml("The Mode is none"))?;
            Ok(Some(Retention { mode, until_ms: in_future(&until, now_ms)? }))
        }
        (None, Some(_)) | (Some(_), None) => Err(Error::MalformedXml("A retention has a Mode and a RetainUntilDate")),
    }
}

pub fn to_document(retention: Retention) -> dto::ObjectLockRetention {
    dto::ObjectLockRetention {
        mode: Some(dto::ObjectLockRetentionMode::from_static(mode_name(retention.mode))),
        retain_until_date: Some(dates::instant(retention.until_ms)),
    }
}

/// PutObjectLegalHold's document.
pub fn legal_hold_of(document: Option<dto::ObjectLockLegalHold>) -> Result<bool> {
    let status = document.and_then(|document| document.status);
    match status.as_ref().map(dto::ObjectLockLegalHoldStatus::as_str) {
        Some(dto::ObjectLockLegalHoldStatus::ON) => Ok(true),
        Some(dto::ObjectLockLegalHoldStatus::OFF) => Ok(false),
        Some(_) | None => Err(Error::MalformedXml("The Status of a legal hold is ON or OFF")),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    retention: Option<Retention>,
    legal_hold: bool,
}

impl Asked {
    fn parse(headers: &HeaderMap, now_ms: u64) -> Result<Self> {
        let wrong = |text: &str| Err(Error::InvalidArgument(text.to_owned()));
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let retention = match (text(MODE), text(UNTIL)) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let Some(mode) = parse_mode(mode) else { return wrong("Unknown wormMode directive.") };
                let Ok(until) = Timestamp::parse(TimestampFormat::DateTime, until) else {
                    return wrong("The retain until date must be provided in ISO 8601 format");
                };
                Some(Retention { mode, until_ms: in_future(&until, now_ms)? })
            }
            (None, Some(_)) | (Some(_), None) => {
                return wrong("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied");
            }
        };
        let legal_hold = match text(LEGAL_HOLD) {
            Some(dto::ObjectLockLegalHoldStatus::ON) => true,
            None | Some(dto::ObjectLockLegalHoldStatus::OFF) => false,
            Some(_) => return wrong("Legal Hold must be either of 'ON' or 'OFF'"),
        };
        Ok(Self { retention, legal_hold })
    }
}

fn in_future(until: &Timestamp, now_ms: u64) -> Result<u64> {
    let until_ms = u64::try_from(OffsetDateTime::from(until.clone()).unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    if until_ms > now_ms {
        return Ok(until_ms);
    }
    Err(Error::InvalidArgument("The retain until date must be in the future!".to_owned()))
}

/// The retention of a new version whose write asks for none.
fn default_retention(bucket: &Bucket, now_ms: u64) -> Result<Option<Retention>> {
    let configuration: Option<ObjectLockConfiguration> = document::read(bucket, documents::OBJECT_LOCK)?;
    let rule = configuration.and_then(|configuration| configuration.rule);
    let Some(default) = rule.and_then(|rule| rule.default_retention) else { return Ok(None) };
    let mode = default.mode.as_ref().and_then(|mode| parse_mode(mode.as_str()));
    let mode = mode.ok_or(Error::Internal("a bucket's default retention has no mode"))?;
    let until_ms = after(now_ms, default.days.unwrap_or(0), default.years.unwrap_or(0));
    Ok(Some(Retention { mode, until_ms }))
}

/// Days and calendar years from now. A year from 29 February ends on 1 March: never sooner than promised.
fn after(now_ms: u64, days: i32, years: i32) -> u64 {
    let seconds = i64::try_from(now_ms / 1000).unwrap_or(0);
    let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let later = match now.replace_year(now.year().saturating_add(years)) {
        Ok(later) => later,
        // Of the next day there is one in every year.
        Err(_) => (now + Duration::DAY).replace_year(now.year().saturating_add(years)).unwrap_or(now),
    };
    let later = later.checked_add(Duration::days(i64::from(days))).unwrap_or(later);
    u64::try_from(later.unix_timestamp()).unwrap_or(0) * 1000 + now_ms % 1000
}

fn parse_mode(text: &str) -> Option<Mode> {
    match text {
        dto::ObjectLockRetentionMode::GOVERNANCE => Some(Mode::Governance),
        dto::ObjectLockRetentionMode::COMPLIANCE => Some(Mode::Compliance),
        _ => None,
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Governance => dto::ObjectLockRetentionMode::GOVERNANCE,
        Mode::Compliance => dto::ObjectLockRetentionMode::COMPLIANCE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{BucketId, BucketName, OwnerId};

    const NOW_MS: u64 = 1_000_000_000_000;
    const LATER: &str = "2030-01-01T00:00:00.000Z";
    const LATER_MS: u64 = 1_893_456_000_000;

    fn bucket(document: Option<&str>) -> Bucket {
        let documents = document.map(|text| (documents::OBJECT_LOCK.to_owned(), text.as_bytes().to_vec()));
        Bucket {
            id: BucketId(1),
            name: BucketName::parse("locked").expect("a name"),
            owner: OwnerId("o".to_owned()),
            documents: documents.into_iter().collect(),
            created_ms: 0,
            version: 1,
            state: cluster::BucketState::Active,
            region: String::new(),
        }
    }

    fn of(pairs: &[(&'static str, &str)], bucket: &Bucket) -> Result<Lock> {
        let pair = |&(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().expect("a value"))
        };
        of_write(&pairs.iter().map(pair).collect(), bucket, NOW_MS)
    }

    #[test]
    fn writes_ask_for_whole_locks_only() {
        let open = bucket(Some(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
        ));
        let lock = of(&[(MODE, "COMPLIANCE"), (UNTIL, LATER), (LEGAL_HOLD, "ON")], &open).expect("valid");
        let retention = Some(Retention { mode: Mode::Compliance, until_ms: LATER_MS });
        assert_eq!(lock, Lock { retention, legal_hold: true });
        assert_eq!(of(&[], &open).expect("none"), Lock::default());
        for bad in [
            &[(MODE, "COMPLIANCE")][..],
            &[(UNTIL, LATER)],
            &[(MODE, "compliance"), (UNTIL, LATER)],
            &[(MODE, "GOVERNANCE"), (UNTIL, "tomorrow")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "2001-01-01T00:00:00Z")],
            &[(LEGAL_HOLD, "abc")],
        ] {
            assert_eq!(of(bad, &open).expect_err("refused").answer().code, "InvalidArgument", "{bad:?}");
        }
        let without = bucket(None);
        assert_eq!(of(&[(LEGAL_HOLD, "ON")], &without).expect_err("refused").answer().code, "InvalidRequest");
        assert_eq!(of(&[], &without).expect("none"), Lock::default());
    }

    #[test]
    fn buckets_give_a_retention() {
        let rule = |period: &str| {
            bucket(Some(&format!(
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                 <Mode>GOVERNANCE</Mode>{period}</DefaultRetention></Rule></ObjectLockConfiguration>"
            )))
        };
        let until = |period: &str| of(&[], &rule(period)).expect("valid").retention.expect("some").until_ms;
        assert_eq!(until("<Days>2</Days>"), NOW_MS + 2 * 86_400_000);
        // 2001-09-09 to 2005-09-09 has one leap day.
        assert_eq!(until("<Years>4</Years>"), NOW_MS + (4 * 365 + 1) * 86_400_000);
        let asked = of(&[(MODE, "COMPLIANCE"), (UNTIL, LATER)], &rule("<Days>2</Days>")).expect("valid");
        assert_eq!(asked.retention, Some(Retention { mode: Mode::Compliance, until_ms: LATER_MS }));
        let leap_day_ms = 951_782_400_000;
        assert_eq!(dates::iso_date(&dates::instant(after(leap_day_ms, 0, 1))), "2001-03-01T00:00:00.000Z");
    }

    #[test]
    fn documents_are_strict() {
        let retention = |mode: Option<&'static str>, until: Option<&str>| {
            let until = until.map(|text| Timestamp::parse(TimestampFormat::DateTime, text).expect("a date"));
            let mode = mode.map(dto::ObjectLockRetentionMode::from_static);
            retention_of(Some(dto::ObjectLockRetention { mode, retain_until_date: until }), NOW_MS)
        };
        let code = |result: Result<Option<Retention>>| result.expect_err("refused").answer().code;
        assert_eq!(retention(None, None).expect("empty"), None);
        let wanted = Retention { mode: Mode::Governance, until_ms: LATER_MS };
        assert_eq!(retention(Some("GOVERNANCE"), Some(LATER)).expect("valid"), Some(wanted));
        assert_eq!(code(retention(Some("governance"), Some(LATER))), "MalformedXML");
        assert_eq!(code(retention(Some("GOVERNANCE"), None)), "MalformedXML");
        assert_eq!(code(retention(None, Some(LATER))), "MalformedXML");
        assert_eq!(code(retention(Some("GOVERNANCE"), Some("2001-01-01T00:00:00Z"))), "InvalidArgument");
        assert_eq!(code(retention_of(None, NOW_MS)), "MalformedXML");
        let hold = |status| {
            let status = Some(dto::ObjectLockLegalHoldStatus::from_static(status));
            legal_hold_of(Some(dto::ObjectLockLegalHold { status }))
        };
        assert!(hold("ON").expect("on"));
        assert!(!hold("OFF").expect("off"));
        assert_eq!(hold("on").expect_err("refused").answer().code, "MalformedXML");
    }

    #[test]
    fn headers_say_what_holds() {
        let mut headers = HeaderMap::new();
        write_headers(&Lock::default(), &mut headers);
        assert!(headers.is_empty());
        let retention = Some(Retention { mode: Mode::Governance, until_ms: LATER_MS });
        write_headers(&Lock { retention, legal_hold: true }, &mut headers);
        assert_eq!(
            (&headers[MODE], &headers[UNTIL], &headers[LEGAL_HOLD]),
            (
                &"GOVERNANCE".parse().expect("a value"),
                &LATER.parse().expect("a value"),
                &"ON".parse().expect("a value"),
            )
        );
    }
}
