//! The block log: every write, flush and discard that a disk was asked for, in order, as QEMU's blklogwrites filter writes
//! it (the layout of Linux's dm-log-writes). From it follows what a power cut at any moment may leave on the disk.

use anyhow::{Context, Result, ensure};
use common::Random;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// The smallest unit that a disk writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;
/// Zeros for a discard are written in steps of this length.
const STEP_BYTES: u64 = 1024 * 1024;

/// One request to the disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Where it stands in the log: what was acknowledged while the log was not longer than this, was acknowledged before.
    pub at: u64,
    /// Where its bytes stand in the log.
    data: u64,
    /// On the disk.
    offset: u64,
    bytes: u64,
    flags: u64,
}

impl Entry {
    /// Everything before it is durable when it is done.
    pub fn is_flush(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// It is durable itself when it is done.
    fn is_fua(&self) -> bool {
        self.flags & FUA != 0
    }

    pub fn is_write(&self) -> bool {
        self.bytes > 0
    }
}

pub struct BlockLog {
    file: File,
    pub entries: Vec<Entry>,
}

impl BlockLog {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; 28];
        file.read_exact_at(&mut head, 0).context("the log has no head")?;
        ensure!(number(&head, 0) == MAGIC && number(&head, 8) == VERSION, "not a block log");
        ensure!(
            u64::from(head[24]) | u64::from(head[25]) << 8 == SECTOR_BYTES,
            "the log's sectors have another length"
        );
        let mut entries = Vec::new();
        let mut at = SECTOR_BYTES;
        // The head's count is written now and then only: the log's end is where its file ends.
        while at + SECTOR_BYTES <= length {
            let mut fields = [0; 32];
            file.read_exact_at(&mut fields, at)?;
            let entry = Entry {
                at,
                data: at + SECTOR_BYTES,
                offset: number(&fields, 0) * SECTOR_BYTES,
                bytes: number(&fields, 8) * SECTOR_BYTES,
                flags: number(&fields, 16),
            };
            ensure!(entry.flags < 32, "entry {} at {at} is not one", entries.len());
            at = entry.data + if entry.flags & DISCARD == 0 { entry.bytes } else { 0 };
            if at > length {
                break;
            }
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// Where the log stood before this entry was written.
    pub fn position(&self, entry: usize) -> u64 {
        self.entries.get(entry).map_or(u64::MAX, |entry| entry.at)
    }

    /// Repeats an entry, or those of its sectors that `keep` names.
    fn apply(&self, entry: &Entry, image: &File, keep: impl Fn(u64) -> bool) -> Result<()> {
        if entry.flags & DISCARD != 0 {
            // What is discarded reads as anything; zeros are what the file gives.
            let zeros = vec![0; STEP_BYTES.min(entry.bytes) as usize];
            let mut done = 0;
            while done < entry.bytes {
                let step = STEP_BYTES.min(entry.bytes - done);
                image.write_all_at(&zeros[..step as usize], entry.offset + done)?;
                done += step;
            }
            return Ok(());
        }
        let mut data = vec![0; entry.bytes as usize];
        self.file.read_exact_at(&mut data, entry.data)?;
        let sectors = entry.bytes / SECTOR_BYTES;
        let mut from = 0;
        while from < sectors {
            let kept = keep(from);
            let until = (from + 1..sectors).find(|&sector| keep(sector) != kept).unwrap_or(sectors);
            if kept {
                let bytes = (from * SECTOR_BYTES) as usize..(until * SECTOR_BYTES) as usize;
                image.write_all_at(&data[bytes], entry.offset + from * SECTOR_BYTES)?;
            }
            from = until;
        }
        Ok(())
    }

    /// Repeats whole entries on an image that has all before them.
    pub fn replay(&self, entries: std::ops::Range<usize>, image: &File) -> Result<()> {
        for entry in &self.entries[entries] {
            self.apply(entry, image, |_| true)?;
        }
        Ok(())
    }

    /// Repeats what the cut lets through of the entries behind the last flush.
    pub fn replay_unflushed(&self, cut: &Cut, image: &File, random: &dyn Random) -> Result<Survived> {
        let mut survived = Survived::default();
        for (number, entry) in self.entries.iter().enumerate().take(cut.at).skip(cut.flushed) {
            if !entry.is_write() {
                continue;
            }
            survived.of += 1;
            let fate = match number {
                _ if entry.is_fua() => Fate::Whole,
                _ if cut.tears_last && number + 1 == cut.at => Fate::torn(entry, random),
                _ => Fate::of(cut.survival_percent, entry, random),
            };
            match fate {
                Fate::Lost => {}
                Fate::Whole => {
                    survived.whole += 1;
                    self.apply(entry, image, |_| true)?;
                }
                Fate::Prefix(sectors) => {
                    survived.torn += 1;
                    self.apply(entry, image, |sector| sector < sectors)?;
                }
                Fate::Sectors(seed, unit) => {
                    survived.torn += 1;
                    self.apply(entry, image, |sector| mix(seed ^ (sector / unit)) & 1 == 0)?;
                }
            }
        }
        Ok(survived)
    }
}

/// How many of the writes that no flush had made durable are on the disk all the same.
#[derive(Debug, Default, Clone, Copy)]
pub struct Survived {
    pub of: u64,
    pub whole: u64,
    pub torn: u64,
}

enum Fate {
    Lost,
    Whole,
    /// The first so many sectors.
    Prefix(u64),
    /// Any of its units of so many sectors.
    Sectors(u64, u64),
}

impl Fate {
    fn of(survival_percent: u64, entry: &Entry, random: &dyn Random) -> Self {
        let (draw, tear) = (random.u64() % 100, random.u64());
        if draw >= survival_percent {
            Self::Lost
        } else if tear.is_multiple_of(8) {
            Self::torn(entry, random)
        } else {
            Self::Whole
        }
    }

    fn torn(entry: &Entry, random: &dyn Random) -> Self {
        let sectors = (entry.bytes / SECTOR_BYTES).max(1);
        match random.u64() % 3 {
            0 => Self::Prefix(random.u64() % sectors),
            1 => Self::Sectors(random.u64(), 1),
            _ => Self::Sectors(random.u64(), 8),
        }
    }
}

/// A moment at which the power goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Entries before this one had reached the disk.
    pub at: usize,
    /// Entries before this one are durable: a flush behind them was done.
    pub flushed: usize,
    pub survival_percent: u64,
    /// The last write was on its way.
    pub tears_last: bool,
}

/// Moments in ascending order, spread over the flushes: right behind a flush, right before the next one, and between them.
pub fn choose_cuts(entries: &[Entry], count: usize, random: &dyn Random) -> Vec<Cut> {
    let flushes: Vec<usize> =
        entries.iter().enumerate().filter(|(_, entry)| entry.is_flush()).map(|(number, _)| number).collect();
    let windows = flushes.len().saturating_sub(1);
    let mut cuts: Vec<Cut> = Vec::with_capacity(count);
    for number in 0..count.min(windows) {
        let (from, until) = (number * windows / count, (number + 1) * windows / count);
        // Of several, the window in which most is at stake.
        let draws = (0..12).map(|_| from + (random.u64() % (until - from).max(1) as u64) as usize);
        let window = draws.max_by_key(|&window| flushes[window + 1] - flushes[window]).unwrap_or(from);
        let (flush, next) = (flushes[window], flushes[window + 1]);
        let between = flush + 1 + (random.u64() % (next - flush) as u64) as usize;
        let survival_percent = [10, 50, 90][(random.u64() % 3) as usize];
        let flushed = flush + usize::from(!entries[flush].is_write());
        cuts.push(match number % 4 {
            0 => Cut { at: flush + 1, flushed, survival_percent, tears_last: false },
            1 | 2 => Cut { at: between, flushed, survival_percent, tears_last: true },
            _ => Cut { at: next, flushed, survival_percent, tears_last: false },
        });
    }
    cuts.sort_by_key(|cut| cut.at);
    cuts
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// SplitMix64's last step: one bit for each sector from one seed.
fn mix(value: u64) -> u64 {
    let z = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;
    use std::io::Write;

    /// Writes of one byte value each, as (sector, sectors, flags, value).
    fn log_of(requests: &[(u64, u64, u64, u8)]) -> (tempfile::TempDir, BlockLog) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut bytes = Vec::new();
        for number in [MAGIC, VERSION, requests.len() as u64, SECTOR_BYTES] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(SECTOR_BYTES as usize, 0);
        for &(sector, sectors, flags, value) in requests {
            let start = bytes.len();
            for number in [sector, sectors, flags, 0] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.resize(start + SECTOR_BYTES as usize, 0);
            if flags & DISCARD == 0 {
                bytes.resize(bytes.len() + (sectors * SECTOR_BYTES) as usize, value);
            }
        }
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        let log = BlockLog::open(&path).unwrap();
        (directory, log)
    }

    fn image(directory: &tempfile::TempDir, sectors: u64) -> File {
        let path = directory.path().join("image");
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path).unwrap();
        file.set_len(sectors * SECTOR_BYTES).unwrap();
        file
    }

    /// The first byte of each sector.
    fn sectors(image: &File) -> Vec<u8> {
        let mut bytes = vec![0; image.metadata().unwrap().len() as usize];
        image.read_exact_at(&mut bytes, 0).unwrap();
        bytes.chunks(SECTOR_BYTES as usize).map(|sector| sector[0]).collect()
    }

    #[test]
    fn a_log_is_read_and_repeated_in_order() {
        let (directory, log) =
            log_of(&[(0, 2, 0, 1), (1, 2, 0, 2), (0, 0, FLUSH, 0), (0, 1, DISCARD, 0), (3, 1, FUA, 4)]);
        assert_eq!(log.entries.len(), 5);
        assert_eq!(log.position(0), SECTOR_BYTES);
        assert_eq!(log.position(1), 4 * SECTOR_BYTES);
        assert_eq!(log.position(5), u64::MAX);
        let image = image(&directory, 4);
        log.replay(0..2, &image).unwrap();
        assert_eq!(sectors(&image), [1, 2, 2, 0]);
        log.replay(2..5, &image).unwrap();
        assert_eq!(sectors(&image), [0, 2, 2, 4]);
    }

    #[test]
    fn an_entry_that_is_not_whole_is_the_end() {
        let (directory, log) = log_of(&[(0, 1, 0, 1), (1, 4, 0, 2)]);
        let path = directory.path().join("log");
        File::options().write(true).open(&path).unwrap().set_len(log.position(1) + 2 * SECTOR_BYTES).unwrap();
        assert_eq!(BlockLog::open(&path).unwrap().entries.len(), 1);
    }

    #[test]
    fn behind_the_flush_anything_may_be_lost_but_what_is_written_through() {
        let (directory, log) = log_of(&[(0, 1, 0, 1), (0, 0, FLUSH, 0), (1, 1, 0, 2), (2, 1, FUA, 3), (3, 1, 0, 4)]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let image = image(&directory, 4);
            let cut = Cut { at: 5, flushed: 2, survival_percent: 50, tears_last: false };
            log.replay(0..cut.flushed, &image).unwrap();
            log.replay_unflushed(&cut, &image, SeededRandom::new(seed).as_ref()).unwrap();
            let found = sectors(&image);
            assert_eq!((found[0], found[2]), (1, 3));
            seen.insert(found);
        }
        assert_eq!(seen.len(), 4, "each of the other two is there or not: {seen:?}");
    }

    #[test]
    fn the_last_write_of_a_cut_is_torn_at_a_sector() {
        let (directory, log) = log_of(&[(0, 0, FLUSH, 0), (0, 16, 0, 7)]);
        let mut torn = 0;
        for seed in 0..32 {
            let image = image(&directory, 16);
            let cut = Cut { at: 2, flushed: 1, survival_percent: 100, tears_last: true };
            let survived = log.replay_unflushed(&cut, &image, SeededRandom::new(seed).as_ref()).unwrap();
            assert_eq!((survived.of, survived.torn), (1, 1));
            let count = sectors(&image).iter().filter(|&&value| value == 7).count();
            torn += usize::from(count > 0 && count < 16);
        }
        assert!(torn > 16, "{torn} of 32 have some of its sectors and not all");
    }

    #[test]
    fn cuts_are_spread_over_the_flushes_and_repeat() {
        let requests: Vec<_> = (0..400).map(|n| if n % 4 == 3 { (0, 0, FLUSH, 0) } else { (n, 1, 0, 1) }).collect();
        let (_directory, log) = log_of(&requests);
        let cuts = choose_cuts(&log.entries, 40, SeededRandom::new(1).as_ref());
        assert_eq!(cuts.len(), 40);
        assert_eq!(cuts, choose_cuts(&log.entries, 40, SeededRandom::new(1).as_ref()));
        assert_ne!(cuts, choose_cuts(&log.entries, 40, SeededRandom::new(2).as_ref()));
        for cut in &cuts {
            assert!(cut.flushed <= cut.at && log.entries[cut.flushed - 1].is_flush(), "{cut:?}");
            assert!(log.entries[cut.flushed..cut.at].iter().all(|entry| !entry.is_flush()), "{cut:?}");
        }
        assert!(cuts.iter().any(|cut| cut.at == cut.flushed), "right behind a flush");
        assert!(cuts.iter().any(|cut| cut.at == cut.flushed + 3), "right before the next");
        assert!(choose_cuts(&log.entries[..3], 10, SeededRandom::new(1).as_ref()).is_empty());
    }
}
