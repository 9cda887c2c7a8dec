//! Buffers for the bytes of large objects. A fresh one costs more than what is read into it: the kernel maps and zeroes its
//! pages one by one. So they are used again, the one that came back last first, as it is still in the processor's cache.

use bytes::Bytes;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers of one length. Whoever wants one gets one; only so many are kept while nobody uses them.
pub struct Buffers {
    free: Mutex<Vec<Box<[u8]>>>,
    length: usize,
    kept_max: usize,
}

impl Buffers {
    pub fn new(length: usize, kept_max: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), length, kept_max })
    }

    /// What is in it was somebody else's.
    pub fn take(self: &Arc<Self>) -> Buffer {
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = used.unwrap_or_else(|| vec![0; self.length].into_boxed_slice());
        Buffer { bytes, home: Arc::clone(self) }
    }
}

/// Goes back when it is dropped.
pub struct Buffer {
    bytes: Box<[u8]>,
    home: Arc<Buffers>,
}

impl Buffer {
    /// A part of it as bytes that go on without a copy. The buffer comes back when the last of them is dropped.
    pub fn freeze(self, range: Range<usize>) -> Bytes {
        assert!(range.end <= self.bytes.len(), "the range is in the buffer");
        Bytes::from_owner(Frozen { buffer: self, range })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.home.kept_max {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

struct Frozen {
    buffer: Buffer,
    range: Range<usize>,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(buffers: &Buffers) -> usize {
        buffers.free.lock().unwrap().len()
    }

    #[test]
    fn buffers_come_back_up_to_a_number() {
        let buffers = Buffers::new(8, 2);
        let three = [buffers.take(), buffers.take(), buffers.take()];
        assert_eq!(free(&buffers), 0);
        drop(three);
        assert_eq!(free(&buffers), 2);
    }

    #[test]
    fn a_frozen_buffer_comes_back_with_the_last_of_its_bytes() {
        let buffers = Buffers::new(8, 2);
        let mut buffer = buffers.take();
        buffer[..5].copy_from_slice(b"hello");
        let bytes = buffer.freeze(1..5);
        let rest = bytes.slice(2..);
        drop(bytes);
        assert_eq!((rest.as_ref(), free(&buffers)), (b"lo".as_ref(), 0));
        drop(rest);
        assert_eq!(free(&buffers), 1);
        assert_eq!(buffers.take().len(), 8);
    }
}
