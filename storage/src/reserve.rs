//! Space that is held back for what must go on when the disk is full: the index, compaction, names of committed files
//! (engine rule A18). It is one file of reserved blocks in the disk's root; whoever meets the end of the space among these
//! gives it back to the file system and tries again. From then on the disk takes no ordinary write, until the file is
//! whole again.
//!
//! A real file, and not a figure that is compared with the free space, because other programs may share the file system.

use crate::disk::{Disk, SyncPoint, is_out_of_space};
use crate::log::spares;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub const PATH: &str = "reserve";

pub struct Reserve {
    disk: Arc<dyn Disk>,
    bytes: u64,
    is_whole: AtomicBool,
    /// One change of the file at a time.
    changing: Mutex<()>,
    /// Whom to tell that there is something to restore. Set when the disk has started; until then prepared segments may be
    /// given up as well, because nothing counts on them yet.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Reserve {
    /// Takes stock of what an earlier run left and tries to make it whole. Never fails: a full disk must start too.
    pub fn open(disk: Arc<dyn Disk>, bytes: u64) -> Self {
        let is_whole = AtomicBool::new(false);
        let reserve = Self { disk, bytes, is_whole, changing: Mutex::new(()), wake: OnceLock::new() };
        if let Err(error) = reserve.restore() {
            tracing::warn!(%error, "the reserve is not whole: only reads and deletes until it is");
        }
        reserve
    }

    /// The prepared segments belong to the log from here on; `wake` is called when space was given away.
    pub fn started(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.wake.set(Box::new(wake)).ok();
    }

    /// Whether ordinary writes may go on.
    pub fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Acquire)
    }

    /// Gives space back to the file system. Gives whether there was any: then what failed may be tried again.
    pub fn release(&self) -> bool {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_whole.store(false, Ordering::Release);
        let given = self.disk.unlink(PATH).is_ok();
        if given {
            tracing::warn!("the disk is full and its reserve is in use: only reads and deletes go on");
        }
        match self.wake.get() {
            Some(wake) => wake(),
            None if !given => return spares::give_up_one(self.disk.as_ref()).unwrap_or(false),
            None => {}
        }
        given
    }

    /// Runs a step again as long as it ends for want of space and there is some to give.
    pub fn with_space<T>(&self, mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match step() {
                Err(error) if is_out_of_space(&error) && self.release() => {}
                result => return result,
            }
        }
    }

    /// Makes the file whole, if there is room for it.
    pub fn restore(&self) -> io::Result<()> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_whole() {
            return Ok(());
        }
        let made = self.make();
        if made.is_err() {
            // What it could take is better free than half a reserve.
            self.disk.unlink(PATH).ok();
        } else if self.wake.get().is_some() {
            tracing::info!("the disk has space again");
        }
        self.is_whole.store(made.is_ok(), Ordering::Release);
        made
    }

    fn make(&self) -> io::Result<()> {
        let file = if self.disk.exists(PATH)? { self.disk.open(PATH)? } else { self.disk.create(PATH)? };
        // Also when the length is right: a copy of a disk may be sparse here.
        file.allocate(0, self.bytes)?;
        if file.length()? != self.bytes {
            file.set_len(self.bytes)?;
            file.sync_data(SyncPoint::Spare)?;
        }
        Ok(())
    }
}
