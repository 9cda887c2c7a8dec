//! ETags: the MD5 of a whole object, or the MD5 of its parts' MD5s with their count.

use crate::md5::Md5;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An ETag without its quotes. `parts` is 0 for an object that was put whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ETag {
    pub md5: [u8; 16],
    pub parts: u16,
}

impl ETag {
    pub fn of_md5(md5: [u8; 16]) -> Self {
        Self { md5, parts: 0 }
    }

    /// The ETag of a multipart object: MD5 over the binary MD5s of its parts, then `-` and their number.
    pub fn of_parts(parts: &[[u8; 16]]) -> Self {
        let mut hasher = Md5::default();
        for part in parts {
            hasher.update(part);
        }
        Self { md5: hasher.finish(), parts: parts.len().try_into().expect("an upload has at most 10,000 parts") }
    }

    /// Accepts what clients send: with or without quotes, upper or lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let (hexadecimal, parts) = match bare.split_once('-') {
            Some((hexadecimal, count)) => (hexadecimal, count.parse().ok().filter(|&n| n > 0)?),
            None => (bare, 0),
        };
        let mut md5 = [0; 16];
        hex::decode_to_slice(hexadecimal, &mut md5).ok()?;
        Some(Self { md5, parts })
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.md5, &mut digits).expect("two digits for each byte");
        f.write_str(std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII"))?;
        if self.parts > 0 { write!(f, "-{}", self.parts) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_survive_their_text() {
        let plain = ETag::of_md5([0xab; 16]);
        assert_eq!(plain.to_string(), "ab".repeat(16));
        assert_eq!(ETag::parse(&format!("\"{plain}\"")), Some(plain));
        let parts = ETag::of_parts(&[[1; 16], [2; 16]]);
        assert!(parts.to_string().ends_with("-2"));
        assert_eq!(ETag::parse(&parts.to_string()), Some(parts));
        for bad in ["", "\"\"", "xyz", "-1", &"a".repeat(31), &format!("{plain}-0"), &format!("{plain}-x")] {
            assert_eq!(ETag::parse(bad), None, "{bad}");
        }
    }
}
