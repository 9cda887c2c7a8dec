//! What goes to the disk below a folder. A process's own count in `/proc` is no good for it: it takes a large folio for
//! written whole when 4 KiB of it were, and showed ten times of what arrived.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

const SECTOR_BYTES: u64 = 512;

/// Bytes written to the block device since the machine started, by everybody; zero where there is no such device.
pub fn written_bytes(folder: &Path) -> u64 {
    let Ok(metadata) = std::fs::metadata(folder) else { return 0 };
    let device = metadata.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap_or_default();
    parse_sectors(&stat).unwrap_or_default() * SECTOR_BYTES
}

/// The seventh field: sectors written.
fn parse_sectors(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_written_are_the_seventh_field() {
        assert_eq!(parse_sectors("  1 2 3 4 5 6 700 8 9 10 11\n"), Some(700));
        assert_eq!(parse_sectors(""), None);
    }
}
