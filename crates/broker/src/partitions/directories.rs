//! A log directory while the broker runs: whether it is online, whether there is room in it, and who flushes what lies there.
//!
//! ```text
//!   online --a call fails that the disk is to blame for--> offline, until the broker is started again
//!     ^ \---less free than the reserve, or no room-------> full, and from there
//!     +----------------------------- room again -----------+
//! ```
//!
//! What follows from a change is done by the thread of [`super::disks`], which is woken here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use ottla_base::Uuid;
use ottla_storage::{Error as StorageError, LogDirectory};

use super::checkpoints::{Named, StartsMoved};
use super::flusher::Flusher;
use crate::node::clock;
use crate::seldom::Seldom;

/// Where the operator did not say: so much room is kept free ...
const RESERVE_BYTES: u64 = 256 << 20;
/// ... or this part of the volume, where that is more ...
const RESERVE_ONE_IN: u64 = 100;
/// ... but never more than this part: a small volume is there to be used.
const RESERVE_AT_MOST_ONE_IN: u64 = 4;
/// A directory that was found full is so until so much more is free than the reserve, as a part of it: so that it does not become
/// full again at once.
const AGAIN_ONE_IN: u64 = 8;

/// Compaction, which gives room back but takes some first, leaves this part of the reserve to others.
const LAST_ONE_IN: u64 = 4;

/// A log directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    id: Option<Uuid>,
    /// Flushes what lies in it.
    pub flusher: Flusher,
    /// Has it on the disk where its logs start.
    pub starts_moved: StartsMoved,
    /// It takes no new replicas (KIP-1066).
    is_cordoned: AtomicBool,
    is_full: AtomicBool,
    /// That was found by a look, or by a write that found no room; and not only by counting what was written since.
    was_found_full: AtomicBool,
    /// What may still be written before the reserve is reached, as of the last look.
    room_bytes: AtomicI64,
    /// What failed in it because the process has too much open.
    lacked_files: Seldom,
    /// What failed in it because a file may not grow.
    limited: Seldom,
    failure: OnceLock<String>,
    /// The last checkpoints are written, or just being written.
    is_left: AtomicBool,
    watch: Arc<Watch>,
    held: Mutex<Option<LogDirectory>>,
    named: Mutex<Named>,
}

/// What wakes the threads that look after the directories.
#[derive(Debug, Default)]
pub struct Watch {
    state: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    is_changed: bool,
    is_stopping: bool,
}

impl Directory {
    /// A directory that this process holds.
    pub fn online(held: LogDirectory, id: Uuid, watch: Arc<Watch>) -> Self {
        let path = held.path().to_owned();
        Self { held: Mutex::new(Some(held)), ..Self::unheld(path, Some(id), watch) }
    }

    /// A directory that could not be read when the broker was started, because of `failure`.
    pub fn offline(path: PathBuf, failure: String, watch: Arc<Watch>) -> Self {
        let directory = Self::unheld(path, None, watch);
        directory.failure.set(failure).expect("it is new");
        directory
    }

    /// A directory that nobody locks: for tests of what lies in it.
    pub fn unheld(path: PathBuf, id: Option<Uuid>, watch: Arc<Watch>) -> Self {
        Self {
            path,
            id,
            flusher: Flusher::default(),
            starts_moved: StartsMoved::default(),
            is_cordoned: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            was_found_full: AtomicBool::new(false),
            room_bytes: AtomicI64::new(i64::MAX),
            lacked_files: Seldom::default(),
            limited: Seldom::default(),
            failure: OnceLock::new(),
            is_left: AtomicBool::new(false),
            watch,
            held: Mutex::new(None),
            named: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id; not known of one that could not be read.
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }

    /// The names in its checkpoints, which nobody else writes meanwhile.
    pub fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().expect("nobody panics while holding this lock")
    }

    /// The broker ends: its last checkpoints are about to be written, by whoever holds [`Directory::named`].
    pub fn has_left(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// Why no checkpoint is to be written in it, if so; asked by whoever holds [`Directory::named`].
    pub fn check_takes_checkpoints(&self) -> ottla_storage::Result<()> {
        let closed = self.is_left.load(Ordering::Relaxed).then_some("it was closed");
        let detail = self.failure().or(closed);
        detail
            .map_or(Ok(()), |detail| Err(StorageError::Unusable { path: self.path.clone(), detail: detail.to_owned() }))
    }

    /// Whether a folder of a partition lies in it.
    pub fn holds(&self, folder: &Path) -> bool {
        folder.parent() == Some(&self.path)
    }

    /// Whether it has not failed.
    pub fn is_online(&self) -> bool {
        self.failure.get().is_none()
    }

    /// Why it is offline, if it is.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Whether it takes no new replicas, because its owner has said so; those that are there go on.
    pub fn is_cordoned(&self) -> bool {
        self.is_cordoned.load(Ordering::Relaxed)
    }

    /// Says so, or takes that back.
    pub fn cordon(&self, is_cordoned: bool) {
        if self.is_cordoned.swap(is_cordoned, Ordering::Relaxed) != is_cordoned {
            let directory = self.path.display();
            match is_cordoned {
                true => tracing::info!(%directory, "the log directory takes no new partitions (cordoned.log.dirs)"),
                false => tracing::info!(%directory, "the log directory takes new partitions again"),
            }
        }
    }

    /// Whether it takes no records of clients for want of room.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Looks at what failed in it: whether the whole directory cannot be trusted any more, or has no room.
    pub fn on_error(&self, error: &StorageError) {
        if error.is_full() {
            self.was_found_full.store(true, Ordering::Relaxed);
            self.set_full(true, &|| error.to_string());
        } else if error.is_of_disk() && self.failure.set(error.to_string()).is_ok() {
            tracing::error!(
                directory = %self.path.display(), %error,
                "the log directory is offline from now on, and its partitions with it, which answer KAFKA_STORAGE_ERROR. Look \
                 at the disk (is it mounted? what does the kernel say?), and start the broker again when it is well, or \
                 without this directory in log.dirs"
            );
            ottla_storage::distrust_page_cache(&self.path);
            self.watch.wake();
        }
    }

    /// Something failed in it for want of files; gives how often that was so, where it is to be told.
    pub fn on_lacking_files(&self) -> Option<u64> {
        self.lacked_files.add(clock::now().monotonic)
    }

    /// A file in it may not grow; gives how often that was so, where it is to be told.
    pub fn on_limited(&self) -> Option<u64> {
        self.limited.add(clock::now().monotonic)
    }

    /// Notes that so much was written, between two looks at the free room: a fast disk takes more than the reserve in between.
    pub fn on_written(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.room_bytes.fetch_sub(bytes, Ordering::Relaxed) < bytes {
            self.set_full(true, &|| "what was written has reached the reserve (ottla.disk.reserve.bytes)".to_owned());
        }
    }

    /// Compares the free room with the `reserve_bytes` that were set; says whether there is room again.
    pub fn on_room(&self, total_bytes: u64, free_bytes: u64, reserve_bytes: Option<u64>) -> bool {
        let reserve_bytes = reserve(total_bytes, reserve_bytes);
        let room_bytes = i64::try_from(free_bytes.saturating_sub(reserve_bytes)).unwrap_or(i64::MAX);
        self.room_bytes.store(room_bytes, Ordering::Relaxed);
        let (was_full, was_found_full) = (self.is_full(), self.was_found_full.load(Ordering::Relaxed));
        // Where the count alone said so, as much was deleted meanwhile, and there may never be more room than now.
        let needed_bytes = if was_found_full { reserve_bytes + reserve_bytes / AGAIN_ONE_IN } else { reserve_bytes };
        // Where nothing is kept free, a write that finds no room says when it is full.
        let is_full = free_bytes < needed_bytes || (was_found_full && free_bytes == 0);
        self.was_found_full.store(is_full, Ordering::Relaxed);
        self.set_full(is_full, &|| {
            format!("{free_bytes} bytes are free, and {reserve_bytes} are kept (ottla.disk.reserve.bytes)")
        });
        was_full && !is_full
    }

    /// Whether it is still the directory that was there at the start.
    ///
    /// # Errors
    /// Whatever is written there goes to files without names, or to another place.
    pub fn check_there(&self) -> ottla_storage::Result<()> {
        let held = self.held.lock().expect("nobody panics while holding this lock");
        held.as_ref().map_or(Ok(()), LogDirectory::check_there)
    }

    /// Gives back what holds it, which it can do once.
    pub fn take_held(&self) -> Option<LogDirectory> {
        self.held.lock().expect("nobody panics while holding this lock").take()
    }

    /// Has whoever looks at it wait, as for a disk that does not answer.
    #[cfg(test)]
    pub fn hang(&self) -> MutexGuard<'_, Option<LogDirectory>> {
        self.held.lock().expect("no panic")
    }

    fn set_full(&self, is_full: bool, because: &dyn Fn() -> String) {
        if self.is_full.swap(is_full, Ordering::Relaxed) == is_full {
            return;
        }
        let (directory, because) = (self.path.display(), because());
        if is_full {
            tracing::error!(
                %directory, because,
                "the disk is full: its partitions take no records until there is room. Delete topics or records, shorten \
                 retention, or give it more room; readers go on, and so do retention and compaction"
            );
        } else {
            tracing::info!(%directory, because, "there is room again: its partitions take records");
        }
    }
}

/// Whether so little is left of the reserve that compaction has to stop: commits and metadata need it.
pub fn is_for_the_last(total_bytes: u64, free_bytes: u64, set_bytes: Option<u64>) -> bool {
    free_bytes < reserve(total_bytes, set_bytes) / LAST_ONE_IN
}

/// How much is to be kept free of a volume of `total_bytes`, where `set_bytes` were set.
pub fn reserve(total_bytes: u64, set_bytes: Option<u64>) -> u64 {
    let usual = RESERVE_BYTES.max(total_bytes / RESERVE_ONE_IN).min(total_bytes / RESERVE_AT_MOST_ONE_IN);
    set_bytes.unwrap_or(usual)
}

impl Watch {
    /// Something has changed that is to be looked at.
    fn wake(&self) {
        self.state.lock().expect("nobody panics while holding this lock").is_changed = true;
        self.changed.notify_all();
    }

    /// The threads end.
    pub fn stop(&self) {
        self.state.lock().expect("nobody panics while holding this lock").is_stopping = true;
        self.changed.notify_all();
    }

    /// Sleeps for so long. False once the thread is to end.
    pub fn rest(&self, long: Duration) -> bool {
        let state = self.state.lock().expect("nobody panics while holding this lock");
        let waited = self.changed.wait_timeout_while(state, long, |state| !state.is_stopping);
        !waited.expect("nobody panics while holding this lock").0.is_stopping
    }

    /// Sleeps for `at_most`, or until something changes. False once the thread is to end.
    pub fn wait(&self, at_most: Duration) -> bool {
        let state = self.state.lock().expect("nobody panics while holding this lock");
        let is_idle = |state: &mut Watched| !state.is_changed && !state.is_stopping;
        let waited = self.changed.wait_timeout_while(state, at_most, is_idle);
        let mut state = waited.expect("nobody panics while holding this lock").0;
        state.is_changed = false;
        !state.is_stopping
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn directory() -> Directory {
        Directory::unheld("/data".into(), Some(Uuid(7)), Arc::default())
    }

    fn failed(errno: rustix::io::Errno) -> StorageError {
        StorageError::io("append to", Path::new("/data/t-0/0.log"))(io::Error::from(errno))
    }

    #[test]
    fn so_much_is_kept_free() {
        let (gib, tib) = (1 << 30, 1 << 40);
        assert_eq!(reserve(100 * gib, None), gib, "one percent");
        assert_eq!(reserve(tib, None), tib / 100);
        assert_eq!(reserve(10 * gib, None), 256 << 20);
        assert_eq!(reserve(64 << 20, None), 16 << 20, "a small volume is there to be used");
        assert_eq!((reserve(gib, Some(5)), reserve(gib, Some(0))), (5, 0));
        let is_for_the_last = |free_mib: u64| is_for_the_last(10 * gib, free_mib << 20, None);
        assert_eq!((is_for_the_last(64), is_for_the_last(63)), (false, true));
    }

    #[test]
    fn a_directory_is_full_until_there_is_some_more_room_than_is_kept() {
        let directory = directory();
        let on_room = |free| (directory.on_room(10_000, free, Some(800)), directory.is_full());
        assert_eq!(on_room(800), (false, false));
        assert_eq!(on_room(799), (false, true));
        assert_eq!(on_room(899), (false, true));
        assert_eq!(on_room(900), (true, false));
        assert!(directory.is_online());
    }

    #[test]
    fn what_is_written_between_two_looks_counts() {
        let directory = directory();
        directory.on_written(usize::MAX >> 1);
        assert!(!directory.is_full(), "nobody has looked yet");
        directory.on_room(10_000, 1000, Some(800));
        directory.on_written(150);
        assert!(!directory.is_full());
        directory.on_written(51);
        assert!(directory.is_full());
        // Less was taken than was thought: it was deleted, or packed.
        assert!(directory.on_room(10_000, 810, Some(800)));
        directory.on_written(11);
        assert!(directory.is_full());
        assert!(!directory.on_room(10_000, 799, Some(800)), "a look has found it so");
        assert!(!directory.on_room(10_000, 810, Some(800)) && directory.on_room(10_000, 900, Some(800)));
    }

    #[test]
    fn without_a_reserve_the_disk_itself_says_when_it_is_full() {
        let directory = directory();
        assert!(!directory.on_room(1000, 0, Some(0)) && !directory.is_full());
        directory.on_error(&failed(rustix::io::Errno::NOSPC));
        assert!(directory.is_full() && directory.is_online());
        assert!(!directory.on_room(1000, 0, Some(0)) && directory.is_full());
        assert!(directory.on_room(1000, 1, Some(0)) && !directory.is_full());
    }

    #[test]
    fn a_disk_that_failed_stays_offline_and_wakes_whoever_looks_after_it() {
        let directory = directory();
        directory.on_error(&failed(rustix::io::Errno::MFILE));
        assert!(directory.is_online(), "the process has no files left, which is no fault of the disk");
        directory.on_error(&failed(rustix::io::Errno::FBIG));
        assert!(directory.is_online() && !directory.is_full(), "the process may not write long files");
        directory.on_error(&failed(rustix::io::Errno::IO));
        directory.on_error(&failed(rustix::io::Errno::ROFS));
        let failure = directory.failure().expect("it failed");
        assert!(failure.contains("/data/t-0/0.log") && failure.contains("os error 5"), "{failure}");
        assert!(directory.watch.wait(Duration::MAX), "at once");
        directory.watch.stop();
        assert!(!directory.watch.wait(Duration::MAX));
    }
}
