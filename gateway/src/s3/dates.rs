//! Times as S3 writes them. Stored times have milliseconds; clients see whole seconds, as a `Last-Modified` header cannot
//! say more and a client that sends it back in `If-Modified-Since` must not be told "changed".

use s3s::dto::{Timestamp, TimestampFormat};
use std::fmt;
use time::OffsetDateTime;

/// For XML: milliseconds are written, and are zero.
pub fn timestamp(ms: u64) -> Timestamp {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

/// For headers: IMF-fixdate (RFC 9110 section 5.6.7).
pub fn http_date(ms: u64) -> String {
    let mut text = Vec::with_capacity(29);
    let written = timestamp(ms).format(TimestampFormat::HttpDate, &mut text);
    if written.is_err() {
        return String::new();
    }
    String::from_utf8(text).unwrap_or_default()
}

/// The time to the millisecond: a lock must not seem to end before it does.
pub fn instant(ms: u64) -> Timestamp {
    let nanoseconds = i128::from(ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

/// For XML that is written here, and for headers that hold no HTTP date.
pub fn iso_date(timestamp: &Timestamp) -> String {
    let mut text = Vec::with_capacity(24);
    let written = timestamp.format(TimestampFormat::DateTime, &mut text);
    if written.is_err() {
        return String::new();
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Writes milliseconds since 1970 as `iso_date` does, to the second, and without its allocations: a page has a thousand dates.
pub struct Iso(pub u64);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        let when = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let year = u32::try_from(when.year()).unwrap_or(0);
        let fields = [
            (0, year / 100),
            (2, year % 100),
            (5, u32::from(u8::from(when.month()))),
            (8, u32::from(when.day())),
            (11, u32::from(when.hour())),
            (14, u32::from(when.minute())),
            (17, u32::from(when.second())),
        ];
        for (at, value) in fields {
            text[at] += u8::try_from(value / 10 % 10).unwrap_or(0);
            text[at + 1] += u8::try_from(value % 10).unwrap_or(0);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Whole seconds since 1970 of a date that a client sent.
pub fn seconds(timestamp: &Timestamp) -> i64 {
    OffsetDateTime::from(timestamp.clone()).unix_timestamp()
}

/// Whether a date that a client sent has no fraction of a second.
pub fn is_whole_second(timestamp: &Timestamp) -> bool {
    OffsetDateTime::from(timestamp.clone()).nanosecond() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lose_their_milliseconds() {
        assert_eq!(http_date(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(iso_date(&timestamp(784_111_777_999)), "1994-11-06T08:49:37.000Z");
        assert_eq!(iso_date(&instant(784_111_777_999)), "1994-11-06T08:49:37.999Z");
        for ms in [0, 784_111_777_999, 951_826_271_001, 253_402_300_799_999, u64::MAX] {
            assert_eq!(Iso(ms).to_string(), iso_date(&timestamp(ms)), "{ms}");
        }
        assert_eq!(seconds(&timestamp(784_111_777_999)), 784_111_777);
        assert_eq!(seconds(&timestamp(u64::MAX)), 0);
    }
}
