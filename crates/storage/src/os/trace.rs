//! What storage asks the operating system to change, written down for the tests of this crate, which can also make a call
//! fail. A call is an operation and the last name of the path it is about: `sync 00000000000000000000.log`.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Call;

thread_local! {
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static FAILING: RefCell<Vec<(String, Errno)>> = const { RefCell::new(Vec::new()) };
}

/// The next call of this thread that is named so fails, by fault of the disk; the one after it goes through again, as on a real
/// one.
pub fn fail_once(call: &str) {
    fail_once_with(call, Errno::IO);
}

/// The same, for another reason.
pub fn fail_once_with(call: &str, errno: Errno) {
    FAILING.with_borrow_mut(|failing| failing.push((call.to_owned(), errno)));
}

/// The calls of this thread while `work` runs, in order.
pub fn calls_of<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    CALLS.with_borrow_mut(Vec::clear);
    let done = work();
    (done, CALLS.with_borrow_mut(std::mem::take))
}

/// Notes a call that changes something, and fails if it was to fail.
pub(super) fn note(call: Call<'_>) -> io::Result<()> {
    match call {
        Call::Create(path) => note_named("create", path),
        Call::SetLength(file, _) => note_named("set-length", &path_of(file)?),
        Call::Sync(file) => note_named("sync", &path_of(file)?),
        Call::SyncFolder(path) => note_named("sync-folder", path),
        Call::Rename(path, _) => note_named("rename", path),
        Call::Remove(path) => note_named("remove", path),
        _ => Ok(()),
    }
}

fn note_named(operation: &str, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let call = format!("{operation} {name}");
    let failing = FAILING.with_borrow_mut(|failing| {
        let place = failing.iter().position(|(next, _)| *next == call);
        place.map(|place| failing.remove(place).1)
    });
    CALLS.with_borrow_mut(|calls| calls.push(call));
    failing.map_or(Ok(()), |errno| Err(errno.into()))
}

fn path_of(file: &File) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
