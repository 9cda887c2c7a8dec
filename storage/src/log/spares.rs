//! Segments made before they are needed: `log/spare-<n>`, of full length, written with zeros so that a sync of a batch
//! has no change of size or extents to journal. The last two are for deletes, aborts and housekeeping only (A18).

use super::DIRECTORY;
use crate::disk::{Disk, SyncPoint, is_out_of_space};
use crate::limits::RESERVED_SEGMENTS;
use crate::reserve::Reserve;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub const PREFIX: &str = "spare-";
/// One that ordinary writes may take beside the reserve.
const WANTED: usize = RESERVED_SEGMENTS + 1;

pub struct Spares {
    disk: Arc<dyn Disk>,
    reserve: Arc<Reserve>,
    segment_bytes: u64,
    prewrite: bool,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    ready: VecDeque<String>,
    next: u64,
    /// The last attempt to make one failed for want of space.
    out_of_space: bool,
    /// Or for another reason: the disk does not do what it must.
    failed: Option<String>,
    stopping: bool,
}

/// Who asks for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    Ordinary,
    /// Deletes, aborts, compaction: may use the reserve.
    Privileged,
}

impl Spares {
    /// Takes stock of what earlier runs left.
    pub fn open(disk: Arc<dyn Disk>, reserve: Arc<Reserve>, segment_bytes: u64, prewrite: bool) -> io::Result<Self> {
        let mut inner = Inner::default();
        for entry in disk.list(DIRECTORY)? {
            let Some(number) = entry.name.strip_prefix(PREFIX).and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            inner.next = inner.next.max(number + 1);
            let path = format!("{DIRECTORY}/{}", entry.name);
            if entry.length == segment_bytes { inner.ready.push_back(path) } else { disk.unlink(&path)? }
        }
        Ok(Self { disk, reserve, segment_bytes, prewrite, inner: Mutex::new(inner), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an ordinary write would find a segment, and everything that is held back is there.
    pub fn has_ordinary(&self) -> bool {
        let inner = self.lock();
        self.reserve.is_whole() && (inner.ready.len() > RESERVED_SEGMENTS || !inner.out_of_space)
    }

    /// Whether something is missing of what ought to be ready: it is time to win space back.
    pub fn is_short(&self) -> bool {
        self.lacks(&self.lock())
    }

    fn lacks(&self, inner: &Inner) -> bool {
        !self.reserve.is_whole() || inner.out_of_space
    }

    /// The pause of who wins space back: `when_short` if something is missing already, otherwise until something is or
    /// `usual` has passed. `false` when the disk stops.
    pub fn pause(&self, usual: Duration, when_short: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), when_short, |inner| !inner.stopping);
        let inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        let idle = |inner: &mut Inner| !inner.stopping && !self.lacks(inner);
        let waited = self.changed.wait_timeout_while(inner, usual, idle);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    /// The path of a spare segment, waiting while one is being made. An error when none can be, or the disk stops.
    pub fn take(&self, claim: Claim) -> Result<String> {
        let floor = match claim {
            Claim::Ordinary => RESERVED_SEGMENTS,
            Claim::Privileged => 0,
        };
        let mut inner = self.lock();
        loop {
            if inner.ready.len() > floor
                && let Some(taken) = inner.ready.pop_front()
            {
                self.changed.notify_all();
                return Ok(taken);
            }
            let why = match &inner.failed {
                _ if inner.stopping => Some(Error::Stopping),
                _ if inner.out_of_space => Some(Error::OutOfSpace),
                Some(reason) => Some(Error::DiskFailed(format!("no segment can be prepared: {reason}"))),
                None => None,
            };
            if let Some(error) = why {
                self.changed.notify_all();
                return Err(error);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A segment that was taken and not used after all.
    pub fn give_back(&self, path: String) {
        self.lock().ready.push_front(path);
        self.changed.notify_all();
    }

    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Something changed that the thread below should look at: space was given away, or won back.
    pub fn wake(&self) {
        // Under the lock, so that the thread is either waiting or has yet to look.
        let _inner = self.lock();
        self.changed.notify_all();
    }

    /// The body of the thread that keeps ready what is held back: the reserve first, then segments. Retries a full disk once
    /// a second, or when it is woken.
    pub fn run(&self) {
        loop {
            let (number, is_wanted) = {
                let mut inner = self.lock();
                loop {
                    if inner.stopping {
                        return;
                    }
                    if !self.reserve.is_whole() || inner.ready.len() < WANTED {
                        break;
                    }
                    inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
                inner.next += 1;
                (inner.next - 1, inner.ready.len() < WANTED)
            };
            let restored = self.reserve.restore();
            let made = restored.and_then(|()| is_wanted.then(|| self.make(number)).transpose());
            let mut inner = self.lock();
            let out_of_space = made.as_ref().is_err_and(is_out_of_space);
            if out_of_space && !inner.out_of_space {
                tracing::warn!("the disk is full: no segment can be prepared");
            }
            inner.out_of_space = out_of_space;
            inner.failed = made.as_ref().err().filter(|_| !out_of_space).map(io::Error::to_string);
            match made {
                Ok(path) => inner.ready.extend(path),
                Err(error) => {
                    tracing::debug!(%error, "cannot prepare a segment");
                    self.changed.notify_all();
                    if inner.stopping {
                        return;
                    }
                    let second = Duration::from_secs(1);
                    drop(self.changed.wait_timeout(inner, second).unwrap_or_else(PoisonError::into_inner));
                    continue;
                }
            }
            self.changed.notify_all();
        }
    }

    fn make(&self, number: u64) -> io::Result<String> {
        let path = format!("{DIRECTORY}/{PREFIX}{number}");
        let file = self.disk.create(&path)?;
        let written = (|| {
            file.set_len(self.segment_bytes)?;
            file.allocate(0, self.segment_bytes)?;
            if self.prewrite {
                let zeros = vec![0; 1024 * 1024];
                let mut offset = 0;
                while offset < self.segment_bytes {
                    let step = (self.segment_bytes - offset).min(zeros.len() as u64);
                    file.write_at(&[IoSlice::new(&zeros[..step as usize])], offset)?;
                    offset += step;
                }
                file.sync_data(SyncPoint::Spare)?;
            }
            Ok(())
        })();
        if written.is_err() {
            // Whatever it could take is better free than half a segment.
            self.disk.unlink(&path).ok();
        }
        written.map(|()| path)
    }
}

/// Removes a prepared segment of a disk that has not started. Gives whether there was one.
pub fn give_up_one(disk: &dyn Disk) -> io::Result<bool> {
    let spare = disk.list(DIRECTORY)?.into_iter().find(|entry| entry.name.starts_with(PREFIX));
    let Some(spare) = spare else { return Ok(false) };
    disk.unlink(&format!("{DIRECTORY}/{}", spare.name))?;
    Ok(true)
}
