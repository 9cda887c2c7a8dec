//! The one call to the kernel that has no safe wrapper.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Lets the kernel begin to write a stretch of a file to the disk, so that a later sync finds less to do. Promises nothing:
/// an error shows in that sync.
pub fn start(file: &File, offset: u64, length: u64) {
    // SAFETY: the call takes numbers and a descriptor, which `file` keeps open, and touches no memory of this process.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset as i64, length as i64, libc::SYNC_FILE_RANGE_WRITE);
    }
}
