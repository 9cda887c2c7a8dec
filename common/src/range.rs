//! The single byte range of an HTTP request (RFC 9110 section 14.1.2), as S3 honours it.

use std::ops::Range;

/// One `bytes=` range as a client wrote it, before the object's size is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=first-last`, both inclusive.
    FromTo(u64, u64),
    /// `bytes=first-`
    From(u64),
    /// `bytes=-length`: the last `length` bytes.
    Last(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not one valid range: S3 ignores the header and answers with the whole object.
    #[error("not a single byte range")]
    Malformed,
    /// A valid range that names no byte of the object: 416.
    #[error("the range lies outside of the object")]
    Unsatisfiable,
}

impl ByteRange {
    /// Parses the value of a `Range` header. Several ranges are `Malformed`, as S3 answers one range only.
    pub fn parse(header: &str) -> Result<Self, RangeError> {
        let spec = header.strip_prefix("bytes=").ok_or(RangeError::Malformed)?;
        let (first, last) = spec.split_once('-').ok_or(RangeError::Malformed)?;
        match (first.is_empty(), last.is_empty()) {
            (true, true) => Err(RangeError::Malformed),
            (true, false) => Ok(Self::Last(number(last)?)),
            (false, true) => Ok(Self::From(number(first)?)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last { Err(RangeError::Malformed) } else { Ok(Self::FromTo(first, last)) }
            }
        }
    }

    /// The half-open range of offsets that this names in an object of `size` bytes; never empty.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, RangeError> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(length) => size.saturating_sub(length)..size,
        };
        if range.start < range.end { Ok(range) } else { Err(RangeError::Unsatisfiable) }
    }
}

/// Digits only: `u64::from_str` would also take a leading `+`. A number above 2^64 is as good as infinity.
fn number(text: &str) -> Result<u64, RangeError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RangeError::Malformed);
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_like_s3() {
        let resolve = |header: &str, size| ByteRange::parse(header).and_then(|range| range.resolve(size));
        assert_eq!(resolve("bytes=0-0", 10), Ok(0..1));
        assert_eq!(resolve("bytes=4-7", 10), Ok(4..8));
        assert_eq!(resolve("bytes=4-700", 10), Ok(4..10));
        assert_eq!(resolve("bytes=4-", 10), Ok(4..10));
        assert_eq!(resolve("bytes=-3", 10), Ok(7..10));
        assert_eq!(resolve("bytes=-30", 10), Ok(0..10));
        assert_eq!(resolve("bytes=0-99999999999999999999999", 10), Ok(0..10));
        for unsatisfiable in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(resolve(unsatisfiable, 10), Err(RangeError::Unsatisfiable), "{unsatisfiable}");
        }
        assert_eq!(resolve("bytes=-1", 0), Err(RangeError::Unsatisfiable));
        for malformed in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "bytes=+1-2", "lines=1-2"]
        {
            assert_eq!(resolve(malformed, 10), Err(RangeError::Malformed), "{malformed}");
        }
    }
}
