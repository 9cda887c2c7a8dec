//! What is on the disk, to the byte: `docs/on-disk-format.md` says the same in prose.

pub mod batch;
pub mod footer;
pub mod identity;
pub mod member;
pub mod name;
pub mod record;
pub mod segment;
pub mod table;

/// The version of everything below a disk's root. A program refuses a disk of a newer one.
pub const FORMAT_VERSION: u32 = 1;

/// Why bytes from the disk were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("too short")]
    Short,
    #[error("wrong magic")]
    Magic,
    #[error("wrong checksum")]
    Checksum,
    #[error("unknown version")]
    Version,
    #[error("undecodable")]
    Undecodable,
    #[error("a number lies outside of its bounds")]
    Bounds,
}

/// Rounds up to the next multiple of `unit`, a power of two.
pub fn round_up(length: u64, unit: u64) -> u64 {
    length.next_multiple_of(unit)
}

/// Reads little-endian numbers and checks lengths as it goes.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn magic(&mut self, magic: &[u8; 8]) -> Result<(), Malformed> {
        if self.take(8)? == magic { Ok(()) } else { Err(Malformed::Magic) }
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes were taken")))
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }
}
