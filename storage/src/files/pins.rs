//! Readers that go through an object's files one by one hold it by its stamp. When it is replaced meanwhile, its files
//! move to `staging/<id>.dying` and go when the last such reader is done; a restart removes them with the rest of staging.

use crate::disk::Disk;
use crate::disk::read::dying_path;
use crate::format::name::FileId;
use common::Stamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub struct Pins {
    disk: Arc<dyn Disk>,
    held: Mutex<HashMap<Stamp, Held>>,
}

#[derive(Default)]
struct Held {
    readers: usize,
    dying: Vec<FileId>,
}

impl Pins {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, held: Mutex::default() }
    }

    pub fn pin(self: &Arc<Self>, stamp: Stamp) -> Pin {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).entry(stamp).or_default().readers += 1;
        Pin { pins: Arc::clone(self), stamp }
    }

    /// Whether a reader holds this stamp; then the file is remembered as its.
    pub fn defer(&self, stamp: Stamp, id: FileId) -> bool {
        match self.held.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&stamp) {
            Some(held) => {
                held.dying.push(id);
                true
            }
            None => false,
        }
    }

    /// The file is at its dying path now. If the last reader left before it came there, it goes at once.
    pub fn moved(&self, stamp: Stamp, id: FileId) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.contains_key(&stamp) {
            self.disk.unlink(&dying_path(id)).ok();
        }
    }
}

pub struct Pin {
    pins: Arc<Pins>,
    stamp: Stamp,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut all = self.pins.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = all.get_mut(&self.stamp) else { return };
        held.readers -= 1;
        if held.readers > 0 {
            return;
        }
        for id in all.remove(&self.stamp).unwrap_or_default().dying {
            // What cannot be removed now is removed with the rest of staging at the next start.
            self.pins.disk.unlink(&dying_path(id)).ok();
        }
    }
}
