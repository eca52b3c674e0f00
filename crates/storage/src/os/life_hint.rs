//! A number that the system keeps with a file in memory alone: how long what is written there is likely to live (F_SET_RW_HINT).
//!
//! It is gone when the file system was unmounted, or the system has forgotten the file: so it tells whether the page cache can
//! still hold what was written. A mount is no such sign: a container has a new one at each start, with the same page cache.
//!
//! `rustix` does not have these calls, hence `unsafe`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The commands of fcntl, which count on from those that only Linux has.
const GET: libc::c_int = 1024 + 11;
const SET: libc::c_int = 1024 + 12;

/// The number of `file`; 0 where none was set.
///
/// # Errors
/// The system has no such numbers.
pub fn get(file: &File) -> io::Result<u64> {
    let mut hint = 0_u64;
    // SAFETY: the descriptor is open as long as `file` is, and the call writes eight bytes to where eight bytes are.
    #[expect(unsafe_code, reason = "there is no safe function for it")]
    let done = unsafe { libc::fcntl(file.as_raw_fd(), GET, &raw mut hint) };
    if done == 0 { Ok(hint) } else { Err(io::Error::last_os_error()) }
}

/// Sets it, to one of 0 to 5.
///
/// # Errors
/// The system has no such numbers, or the file is somebody else's.
pub fn set(file: &File, hint: u64) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` is, and the call reads eight bytes from where eight bytes are.
    #[expect(unsafe_code, reason = "there is no safe function for it")]
    let done = unsafe { libc::fcntl(file.as_raw_fd(), SET, &raw const hint) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
