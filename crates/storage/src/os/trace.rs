//! What storage asks the operating system to change, or to drop from its page cache, written down for the tests of this crate,
//! which can also make a call fail. A call is an operation and the last name of the path it is about: `sync 00000000000000000000.log`.
//!
//! Both are of one thread. But two files can be made to fail together, whichever threads come to them.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::Call;

/// So long one of two calls waits for the other one.
const MEET_WITHIN: Duration = Duration::from_secs(30);

thread_local! {
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static FAILING: RefCell<Vec<(String, Errno)>> = const { RefCell::new(Vec::new()) };
}

static TOGETHER: Mutex<Vec<Arc<Together>>> = Mutex::new(Vec::new());

/// Two files of which a flush, or opening them, fails in any thread: each waits there for whoever comes to the other one.
#[derive(Debug)]
pub struct Together {
    files: [(PathBuf, Errno); 2],
    /// How many calls have come here.
    came: Mutex<usize>,
    next: Condvar,
}

/// They fail until this goes.
#[derive(Debug)]
#[must_use]
pub struct Failing(Arc<Together>);

impl Drop for Failing {
    fn drop(&mut self) {
        all_together().retain(|together| !Arc::ptr_eq(together, &self.0));
    }
}

/// Has the calls fail that flush or open these files.
pub fn fail_together(files: [(PathBuf, Errno); 2]) -> Failing {
    let together = Arc::new(Together { files, came: Mutex::default(), next: Condvar::new() });
    all_together().push(Arc::clone(&together));
    Failing(together)
}

fn all_together() -> std::sync::MutexGuard<'static, Vec<Arc<Together>>> {
    TOGETHER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails, together with another call, if the two were to.
fn meet(call: Call<'_>) -> io::Result<()> {
    let path = match call {
        Call::Open(path) => path.to_owned(),
        Call::Sync(file) => path_of(file)?,
        _ => return Ok(()),
    };
    let of_path = |together: &Arc<Together>| {
        let errno = together.files.iter().find(|(failing, _)| *failing == path)?.1;
        Some((Arc::clone(together), errno))
    };
    let found = all_together().iter().find_map(of_path);
    found.map_or(Ok(()), |(together, errno)| {
        together.wait();
        Err(errno.into())
    })
}

impl Together {
    /// Waits until as many have come for the one file as for the other.
    fn wait(&self) {
        let mut came = self.came.lock().expect("nobody panics while holding this lock");
        *came += 1;
        let with_me = came.next_multiple_of(2);
        self.next.notify_all();
        let waited = self.next.wait_timeout_while(came, MEET_WITHIN, |came| *came < with_me);
        let is_late = waited.expect("nobody panics while holding this lock").1.timed_out();
        assert!(!is_late, "nobody comes to the other one of {:?}", self.files);
    }
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

/// Notes a call that changes something, or drops what is cached, and fails if it was to fail.
pub(super) fn note(call: Call<'_>) -> io::Result<()> {
    meet(call)?;
    match call {
        Call::Create(path) => note_named("create", path),
        Call::SetLength(file, _) => note_named("set-length", &path_of(file)?),
        Call::Forget(file) => note_named("forget", &path_of(file)?),
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
