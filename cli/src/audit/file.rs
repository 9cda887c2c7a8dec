//! The file of the audit log, and those before it: `FILE`, and `FILE.N` with N the number of its first line. What was torn by a
//! crash is cut off before anything is written.

use crate::config;
use crate::credentials;
use crate::error::{Error, Result};
use authn::audit::{Head, LINE_BYTES_MAX, Resumed, number_of, resume};
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Of the number in the name of an older file, so that names are in the order of numbers.
const DIGITS: usize = 20;

pub struct LogFile {
    path: PathBuf,
    head_path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: usize,
    /// Of the first line of this file, if it has one.
    pub first: Option<u64>,
    /// Of the first line that is kept.
    pub oldest: u64,
    pub resumed: Resumed,
    /// What was torn, and is cut off.
    pub cut_bytes: u64,
}

impl LogFile {
    #[expect(clippy::disallowed_methods, reason = "the audit log is no data")]
    pub fn open(path: &Path, head_path: PathBuf, head: Option<Head>, settings: &config::Audit) -> Result<Self> {
        let name = path.display().to_string();
        let mut file = open(path).map_err(Error::io(name.clone()))?;
        if !file.metadata().map_err(Error::io(name.clone()))?.is_file() {
            return Err(Error::Usage(format!("{name} is no file, which the audit log goes on in after a start")));
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::Refused(format!("{name} is the audit log of another server that runs")))?;
        let found = End::of(&mut file).map_err(Error::io(name.clone()))?;
        let resumed = resume(found.last_line.as_deref(), head);
        let mut bytes = found.whole_bytes;
        if found.torn_bytes > 0 {
            tracing::warn!(file = name, bytes = found.torn_bytes, "the audit log ends within a line, which is cut off");
            file.set_len(bytes).map_err(Error::io(name.clone()))?;
        }
        if let Some(lost_to) = resumed.lost_to {
            let last = resumed.chain.seq;
            tracing::error!(file = name, last, lost_to, "the audit log lacks lines that this server has written");
        }
        if resumed.is_damaged {
            tracing::error!(file = name, "the audit log ends with a line that is none of it: the file is put aside");
            let aside = path.with_file_name(suffixed(path, &format!("damaged-{}", resumed.chain.seq)));
            fs::rename(path, aside).map_err(Error::io(name.clone()))?;
            file = open(path).map_err(Error::io(name.clone()))?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)
                .map_err(|error| Error::io(name.clone())(error.into()))?;
            bytes = 0;
        }
        file.seek(SeekFrom::Start(bytes)).map_err(Error::io(name.clone()))?;
        let first = found.first.filter(|_| bytes > 0);
        let (bytes_max, files_max) =
            (settings.file_bytes_max, usize::try_from(settings.files_max).unwrap_or(usize::MAX));
        let cut_bytes = found.torn_bytes;
        let mut log = Self {
            path: path.to_owned(),
            head_path,
            file,
            bytes,
            bytes_max,
            files_max,
            first,
            oldest: 1,
            resumed,
            cut_bytes,
        };
        log.oldest = log.oldest_kept().map_err(Error::io(name.clone()))?;
        // A checkpoint that is remembered must not outlive the name of the file that it is in.
        File::open(log.folder()).and_then(|folder| folder.sync_all()).map_err(Error::io(name))?;
        Ok(log)
    }

    /// Writes as much as the file takes, and says how much that was.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    /// Whether so many bytes more are for the next file.
    pub fn is_full(&self, more: usize) -> bool {
        self.first.is_some() && self.bytes + more as u64 >= self.bytes_max
    }

    /// What was written is durable, and this was its last checkpoint.
    pub fn sync(&mut self, head: Head) -> Result<()> {
        let name = || self.path.display().to_string();
        self.file.sync_data().map_err(|error| Error::io(name())(error))?;
        credentials::write_private(&self.head_path, head.text().as_bytes())
    }

    /// Begins the next file, and forgets the oldest ones. After an error everything goes on in the file that there is.
    #[expect(clippy::disallowed_methods, reason = "the audit log is no data")]
    pub fn rotate(&mut self) -> io::Result<()> {
        let next = self.path.with_file_name(suffixed(&self.path, "new"));
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = open(&next)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let older = self.path.with_file_name(suffixed(&self.path, &format!("{:0DIGITS$}", self.first.unwrap_or(0))));
        fs::rename(&self.path, &older)?;
        // From here on the next file is the one, whatever its name is.
        let renamed = fs::rename(&next, &self.path);
        (self.file, self.bytes, self.first) = (file, 0, None);
        if let Err(error) = renamed {
            tracing::error!(%error, file = %next.display(), "the next file of the audit log keeps this name");
        }
        let older = self.older()?;
        for (_, path) in older.iter().take((older.len() + 1).saturating_sub(self.files_max)) {
            fs::remove_file(path)?;
        }
        self.oldest = self.oldest_kept()?;
        File::open(self.folder())?.sync_all()
    }

    /// The line that comes first when this file has none yet is this one.
    pub fn begins_with(&mut self, seq: u64) {
        self.first.get_or_insert(seq);
        if self.older().is_ok_and(|older| older.is_empty()) {
            self.oldest = self.first.unwrap_or(seq);
        }
    }

    fn oldest_kept(&self) -> io::Result<u64> {
        let older = self.older()?;
        let here = self.first.unwrap_or(self.resumed.chain.seq + 1);
        Ok(older.first().map_or(here, |(first, _)| *first))
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The files before this one, the oldest first.
    #[expect(clippy::disallowed_methods, reason = "the audit log is no data")]
    fn older(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let prefix = suffixed(&self.path, "");
        let mut older = Vec::new();
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
            let number = name.strip_prefix(prefix.as_encoded_bytes()).filter(|digits| digits.len() == DIGITS);
            let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            older.extend(number.map(|number| (number, path)));
        }
        older.sort();
        Ok(older)
    }
}

fn suffixed(path: &Path, suffix: &str) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    name
}

#[expect(clippy::disallowed_methods, reason = "the audit log is no data")]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// What a file ends with.
struct End {
    first: Option<u64>,
    last_line: Option<Vec<u8>>,
    whole_bytes: u64,
    torn_bytes: u64,
}

impl End {
    fn of(file: &mut File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let mut start = vec![0; LINE_BYTES_MAX.min(usize::try_from(bytes).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut start, 0)?;
        let first = start.split(|byte| *byte == b'\n').next().and_then(number_of);
        // Where room was made that was never written to, the last line end may be far from the end.
        let mut end = bytes;
        let mut tail = Vec::new();
        loop {
            let from = end.saturating_sub(2 * LINE_BYTES_MAX as u64);
            let mut piece = vec![0; usize::try_from(end - from).unwrap_or(0)];
            file.read_exact_at(&mut piece, from)?;
            tail.splice(0..0, piece);
            end = from;
            let zeros = tail.iter().rev().take_while(|byte| **byte == 0).count();
            if end == 0 || tail.len() - zeros > 2 * LINE_BYTES_MAX {
                break;
            }
            // A hole that is larger than memory should hold is none of a crash's.
            if zeros > HOLE_BYTES_MAX {
                break;
            }
        }
        let Some(at) = tail.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Self { first, last_line: None, whole_bytes: end, torn_bytes: bytes - end });
        };
        let whole = &tail[..at];
        let line = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
        let whole_bytes = end + at as u64 + 1;
        Ok(Self { first, last_line: Some(line), whole_bytes, torn_bytes: bytes - whole_bytes })
    }
}

const HOLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads one line, without its end, and says whether it had one. `None` at the end of the file.
pub fn read_line(file: &mut impl io::BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let limit = (HOLE_BYTES_MAX + LINE_BYTES_MAX) as u64;
    let read = io::BufRead::read_until(&mut Read::take(file, limit), b'\n', line)?;
    if read == 0 {
        return Ok(None);
    }
    let is_whole = line.last() == Some(&b'\n');
    if is_whole {
        line.pop();
    }
    Ok(Some(is_whole))
}
