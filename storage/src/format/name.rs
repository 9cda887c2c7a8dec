//! Names of files below a disk's root.

use common::Term;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a segment in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentNumber(pub u32);

/// One file of the log: the segments that it stands for and how often they were compacted. Of two files that begin with
/// the same segment the greater generation is the newer one, so (first, generation) names one file for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    pub first: SegmentNumber,
    pub last: SegmentNumber,
    pub generation: u16,
}

impl SegmentName {
    pub fn fresh(number: SegmentNumber) -> Self {
        Self { first: number, last: number, generation: 0 }
    }

    pub fn parse(file_name: &str) -> Option<Self> {
        let (range, generation) = file_name.strip_suffix(".tar")?.split_once('.')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| (text.len() == 10).then(|| text.parse().ok()).flatten();
        let name = Self {
            first: SegmentNumber(number(first)?),
            last: SegmentNumber(number(last)?),
            generation: generation.parse().ok()?,
        };
        (name.first <= name.last && name.to_string() == file_name).then_some(name)
    }

    /// Whether compaction made this file out of that one (and perhaps others).
    pub fn replaces(&self, other: &Self) -> bool {
        self.generation > other.generation && self.first <= other.first && other.last <= self.last
    }

    pub fn path(&self) -> String {
        format!("log/{self}")
    }
}

/// Ten digits each, so that the order of names is the order of the log.
impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:010}.{:04}.tar", self.first.0, self.last.0, self.generation)
    }
}

/// The identity of a data file: unique per write and never reused (engine rule A1). Term and counter make it unique,
/// random bits keep it so if a control store was restored from an older copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub [u8; 16]);

impl FileId {
    pub fn new(term: Term, counter: u64, random: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&term.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&counter.to_be_bytes());
        bytes[12..].copy_from_slice(&random.to_be_bytes());
        Self(bytes)
    }

    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        let digits = u128::from_str_radix(text, 16).ok()?;
        let id = Self(digits.to_be_bytes());
        (id.to_string() == text).then_some(id)
    }

    /// Spread over 256 directories by the last byte, which is random.
    pub fn directory(&self) -> String {
        format!("objects/{:02x}", self.0[15])
    }

    pub fn path(&self) -> String {
        format!("{}/{self}", self.directory())
    }

    pub fn staging_path(&self) -> String {
        format!("staging/{self}")
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Whether a key can be a path below a directory, so that tar and the view may use it as one (engine rule A20).
pub fn is_plain_path(key: &str) -> bool {
    !key.contains('\0')
        && !key.starts_with(".weir/")
        && key != ".weir"
        && key.split('/').all(|component| !matches!(component, "" | "." | "..") && component.len() < 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_survive_their_text_and_sort() {
        let fresh = SegmentName::fresh(SegmentNumber(7));
        assert_eq!(fresh.to_string(), "0000000007-0000000007.0000.tar");
        assert_eq!(SegmentName::parse(&fresh.to_string()), Some(fresh));
        let compacted = SegmentName { first: SegmentNumber(1), last: SegmentNumber(7), generation: 1 };
        assert!(compacted.replaces(&fresh) && !fresh.replaces(&compacted));
        assert!(compacted.to_string() < fresh.to_string());
        for bad in ["", "x.tar", "0000000007-0000000006.0000.tar", "7-7.0.tar", "0000000007-0000000007.0000.tar.new"] {
            assert_eq!(SegmentName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn file_ids_survive_their_text() {
        let id = FileId::new(Term(3), 4, 0xdead_beef);
        assert_eq!(FileId::parse(&id.to_string()), Some(id));
        assert_eq!(id.path(), "objects/ef/000000030000000000000004deadbeef");
        assert_eq!(FileId::parse("+00000030000000000000004deadbeef"), None);
    }

    #[test]
    fn plain_paths_are_those_of_rule_a20() {
        for plain in ["a", "a/b", "a b/ü", "..a", ".weirs/x", &"x".repeat(255)] {
            assert!(is_plain_path(plain), "{plain}");
        }
        for odd in ["/a", "a/", "a//b", "a/../b", ".", "a/./b", "a\0b", ".weir/x", ".weir", &"x".repeat(256)] {
            assert!(!is_plain_path(odd), "{odd}");
        }
    }
}
