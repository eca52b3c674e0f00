//! Moving a replica from one log directory to another (KIP-113), while it is led, written to and read.
//!
//! ```text
//!   A/t-0                   A/t-0                A/t-0                           A/t-0.<id>-delete
//!                B/t-0.<id>-future    copied     B/t-0, with ottla-moved in it   B/t-0
//!      begin ------------------> copy ... ------> nobody writes: rename --------> rename, forget the mark
//! ```
//!
//! A crash leaves the log in A, and what was copied, which goes on at the next start; or, between the renames, two whole logs,
//! one with a mark: the longer one counts, which is the one that was written to last (see `twice.rs`). Whoever reads from the
//! old files may finish.
//!
//! A log is not compacted while it is copied: a record in the copy could lose the tombstone that was to take it away. When the
//! pieces are copied is not decided here but in `mover.rs`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ottla_base::{Offset, Timestamp, TopicPartition, Uuid};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::records::batch::Batches;
use ottla_storage::{
    Error as StorageError, FolderKind, Left, Log, OpenLog, PartitionFolder, ProducerCount, os, rename_folder,
    replace_file, write_partition_metadata,
};
use tracing::error;

use super::directories::Directory;
use super::partition::Partition;
use crate::node::entropy;

/// In a folder that was to take another one's place, which may still be there. It says nothing of which one has more records: it is
/// written before the exchange, and may be left long after it.
pub const MOVED: &str = "ottla-moved";
/// So much is copied at once.
const COPIED_BYTES: u32 = 1 << 20;
/// A copy that is moved on without a flush until it lacks no more than this ...
const UNFLUSHED_BYTES_MAX: usize = 1 << 20;
/// ... but is flushed so often at most, where producers are faster than the disk.
const FLUSHES_MAX: usize = 8;

/// A copy is flushed after so many segments, however short they are.
const ROLLS_UNFLUSHED: usize = 64;

/// The move of a partition, while there is one. Nobody holds `future` while a file is read or written.
#[derive(Default)]
pub struct Move {
    /// The copy that is to take the log's place, in another directory; locked behind the log, whose disk may let others wait.
    future: Mutex<Option<Future>>,
    /// Held while the copy takes the log's place: the move cannot be ended then. Locked before `future`.
    finishing: Mutex<()>,
    /// Held from before that until the old folder has its other name: a topic that is deleted meanwhile is not gone before, or the
    /// folder of the next one of its name would be taken for it. Locked before all others.
    leaving: Mutex<()>,
    is_going_on: AtomicBool,
}

/// A copy on its way to another directory.
struct Future {
    home: Arc<Directory>,
    /// The name of its folder, which no other move has.
    folder: String,
    /// Once it is opened; who works on it has taken it.
    copy: Option<Box<Copy>>,
    /// How large it was when it was put back last, and where it ended.
    size_bytes: u64,
    end: Option<Offset>,
    /// It is about to take the log's place.
    is_arriving: bool,
}

/// A copy that is worked on.
struct Taken {
    home: Arc<Directory>,
    folder: String,
    copy: Option<Box<Copy>>,
}

/// What was copied so far.
struct Copy {
    log: Log,
    unflushed_bytes: usize,
    /// The segments that were begun.
    rolls: usize,
    flushes: usize,
}

/// What was read from the log: whole batches, or nothing where all was read.
struct Piece {
    log_start: Offset,
    first_offset: Offset,
    /// A segment begins with it.
    begins_segment: bool,
    bytes: Vec<u8>,
}

impl Piece {
    /// There is nothing more.
    fn none(log_start: Offset) -> Self {
        Self { log_start, first_offset: log_start, begins_segment: false, bytes: Vec::new() }
    }
}

/// What others may know of it.
#[derive(Clone, Debug)]
pub struct Moving {
    /// Where it goes to.
    pub home: Arc<Directory>,
    /// How many bytes were copied.
    pub size_bytes: u64,
    /// How many offsets are still to be copied.
    pub lag: i64,
}

/// Whether a move has begun.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// Now; the folder of one that went elsewhere is to be removed.
    Anew(Option<PathBuf>),
    /// It goes there already, into another folder, or is there.
    Before,
}

/// How a move ended.
pub enum Finished {
    /// The log lies in the other directory now.
    Moved(Box<Moved>),
    /// Somebody has ended the move, or deleted the topic; the folder of the copy, if there is one, is to be removed.
    Ended(Option<PathBuf>),
}

/// What is still to be done after a move.
pub struct Moved {
    /// Where the log lies now.
    pub to: Arc<Directory>,
    from: Arc<Directory>,
    old: Log,
    folder: PathBuf,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// So many bytes were copied, and there may be more.
    Some(usize),
    /// There was nothing left.
    All,
    /// Nothing is to be moved any more.
    Nothing,
}

/// What failed, and so which of the two directories of a move is to blame.
enum Fault {
    /// What is copied cannot be read.
    Source(StorageError),
    /// It cannot be written.
    Target(StorageError),
}

impl Move {
    /// Whether there is one.
    pub fn is_going_on(&self) -> bool {
        self.is_going_on.load(Ordering::Relaxed)
    }

    /// The directory in which its copy is about to take the log's place.
    pub fn arriving_in(&self) -> Option<Arc<Directory>> {
        self.future().as_ref().filter(|future| future.is_arriving).map(|future| future.home.clone())
    }

    fn future(&self) -> MutexGuard<'_, Option<Future>> {
        self.future.lock().expect("nobody panics while holding this lock")
    }

    fn finishing(&self) -> MutexGuard<'_, ()> {
        self.finishing.lock().expect("nobody panics while holding this lock")
    }

    pub(super) fn leaving(&self) -> MutexGuard<'_, ()> {
        self.leaving.lock().expect("nobody panics while holding this lock")
    }

    fn forget(&self, future: &mut Option<Future>) -> Option<Future> {
        self.is_going_on.store(false, Ordering::Relaxed);
        future.take()
    }

    fn take(&self) -> Option<Taken> {
        let mut future = self.future();
        let Future { home, folder, copy, .. } = future.as_mut()?;
        Some(Taken { home: home.clone(), folder: folder.clone(), copy: copy.take() })
    }

    /// Puts back a copy that was taken; says whether the move has not ended meanwhile.
    fn put_back(&self, folder: &str, copy: Option<Box<Copy>>) -> bool {
        let mut future = self.future();
        let Some(future) = future.as_mut().filter(|future| future.folder == folder) else { return false };
        if let Some(copy) = &copy {
            (future.size_bytes, future.end) = (copy.log.size_bytes(), Some(copy.log.end_offset()));
        }
        (future.copy, future.is_arriving) = (copy, false);
        true
    }

    /// Says whether the move has not ended meanwhile.
    fn begin_arriving(&self, folder: &str) -> bool {
        let mut future = self.future();
        let current = future.as_mut().filter(|future| future.folder == folder);
        current.map(|future| future.is_arriving = true).is_some()
    }
}

impl Partition {
    /// Begins to move it to `home`, into the folder called `folder`, which may hold what an earlier life has copied. A move that
    /// goes elsewhere ends.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION if its topic was deleted.
    pub fn begin_move(&self, home: &Arc<Directory>, folder: String) -> Result<Begun, ErrorCode> {
        let _finishing = self.move_state.finishing();
        // Who deletes the topic says so first, and ends its move then.
        if self.is_gone() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let mut future = self.move_state.future();
        let goes_there = future.as_ref().is_some_and(|future| future.home.path() == home.path());
        if goes_there || self.home().path() == home.path() {
            return Ok(Begun::Before);
        }
        let ended = self.move_state.forget(&mut future);
        *future = Some(Future { home: home.clone(), folder, copy: None, size_bytes: 0, end: None, is_arriving: false });
        self.move_state.is_going_on.store(true, Ordering::Relaxed);
        drop(future);
        Ok(Begun::Anew(ended.and_then(|future| end(future, &self.name))))
    }

    /// Ends a move, if there is one, and gives back the folder to be removed.
    pub fn cancel_move(&self) -> Option<PathBuf> {
        let _finishing = self.move_state.finishing();
        let ended = self.move_state.forget(&mut self.move_state.future());
        ended.and_then(|future| end(future, &self.name))
    }

    /// Ends a move that cannot go on in this life of the broker, since one of its disks is gone, and says whether it is one: by now
    /// the partition may be on its way elsewhere. What was copied stays for the next start.
    pub fn give_up_move(&self) -> bool {
        let _finishing = self.move_state.finishing();
        let mut future = self.move_state.future();
        let is_lost = !self.is_online() || future.as_ref().is_some_and(|future| !future.home.is_online());
        if is_lost {
            drop(self.move_state.forget(&mut future));
        }
        is_lost
    }

    /// Where it is being moved to, and how far that is; `None` where it stays.
    pub fn moving(&self) -> Option<Moving> {
        let future = self.move_state.future();
        let Future { home, size_bytes, end, .. } = future.as_ref()?;
        let positions = self.positions();
        let lag = positions.log_end.0 - end.unwrap_or(positions.log_start).0;
        Some(Moving { home: home.clone(), size_bytes: *size_bytes, lag: lag.max(0) })
    }

    /// Copies some more.
    ///
    /// # Errors
    /// The disk that it is copied to, or from; the move may go on later. A copy that takes no more is opened anew then.
    pub fn copy_some(&self, now_ms: Timestamp) -> ottla_storage::Result<Copied> {
        let Some(Taken { home, folder, mut copy }) = self.move_state.take() else { return Ok(Copied::Nothing) };
        let done = match &mut copy {
            Some(copy) => self.copy_into(copy, now_ms),
            None => self.open_copy(&home, &folder, now_ms).map_err(Fault::Target).map(|log| {
                copy = Some(Box::new(Copy { log, unflushed_bytes: 0, rolls: 0, flushes: 0 }));
                Copied::Some(0)
            }),
        };
        self.worked(&home, &folder, copy, done).map(|done| done.unwrap_or(Copied::Nothing))
    }

    /// Puts a copy back that was worked on, with what came of it; nothing did if the move has ended meanwhile, and its folder
    /// has another name.
    fn worked<T>(
        &self,
        home: &Directory,
        folder: &str,
        copy: Option<Box<Copy>>,
        done: Result<T, Fault>,
    ) -> ottla_storage::Result<Option<T>> {
        let path = copy.as_ref().map_or_else(|| home.path().join(folder), |copy| copy.log.folder().to_owned());
        let copy = copy.filter(|copy| copy.log.check_usable().is_ok());
        if self.move_state.put_back(folder, copy) {
            return done.map(Some).map_err(|fault| self.charge(fault, home));
        }
        // Who opened the copy may have made its folder again.
        match os::remove_folder(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                error!(folder = %path.display(), %error, "cannot remove what a move has left that has ended");
            }
            _ => {}
        }
        Ok(None)
    }

    /// The directory that is at fault is told: the other one is well, and goes on.
    fn charge(&self, fault: Fault, target: &Directory) -> StorageError {
        match fault {
            Fault::Source(error) => {
                self.broken(&error);
                error
            }
            Fault::Target(error) => {
                target.on_error(&error);
                error
            }
        }
    }

    fn open_copy(&self, home: &Directory, folder: &str, now_ms: Timestamp) -> ottla_storage::Result<Log> {
        let found = find_copy(home, folder, &self.name)?;
        let folder = &home.path().join(folder);
        if let Some(found) = found.filter(|found| found != folder) {
            rename_folder(&found, folder)?;
        }
        let (config, log_start_offset) = self.with_log(|log, _| (log.config().clone(), log.start_offset()));
        let options = OpenLog {
            topic_partition: self.name.clone(),
            left: Left::Unknown,
            recovery_point: Offset(0),
            log_start_offset,
            now_ms,
            // They are those of the log once more, and take no room from others.
            producers: ProducerCount::default(),
        };
        let (mut log, _) = Log::open(folder, config, options)?;
        write_partition_metadata(folder, self.topic_id)?;
        self.cut_copy(&mut log, now_ms)?;
        Ok(log)
    }

    /// Has what was copied on the disk; says whether that was much.
    pub fn flush_copy(&self, now_ms: Timestamp) -> ottla_storage::Result<bool> {
        let Some(Taken { home, folder, mut copy }) = self.move_state.take() else { return Ok(false) };
        let done = match &mut copy {
            Some(copy) if copy.unflushed_bytes > UNFLUSHED_BYTES_MAX && copy.flushes < FLUSHES_MAX => {
                (copy.unflushed_bytes, copy.flushes) = (0, copy.flushes + 1);
                copy.log.flush(now_ms).map(|()| true).map_err(Fault::Target)
            }
            _ => Ok(false),
        };
        self.worked(&home, &folder, copy, done).map(|done| done.unwrap_or(false))
    }

    fn copy_into(&self, copy: &mut Copy, now_ms: Timestamp) -> Result<Copied, Fault> {
        let piece = self.read_piece(copy.log.end_offset()).map_err(Fault::Source)?;
        copy.write(&piece, now_ms).map_err(Fault::Target)
    }

    /// What the log holds from `offset` on, or some of it.
    fn read_piece(&self, offset: Offset) -> ottla_storage::Result<Piece> {
        let (log_start, slice) = {
            let state = self.lock();
            let (log_start, log_end) = (state.log.start_offset(), state.log.end_offset());
            let from = offset.max(log_start);
            if from >= log_end {
                return Ok(Piece::none(log_start));
            }
            let bytes_max = COPIED_BYTES.min(state.log.config().segment_bytes);
            (log_start, state.log.read(from, bytes_max, log_end, true)?)
        };
        if slice.length == 0 {
            // The log ends with offsets that were compacted away.
            return Ok(Piece::none(log_start));
        }
        let path = self.home().path().join(self.name.to_string());
        let mut bytes = vec![0; slice.length as usize];
        os::read_exact_at(&slice.file, &mut bytes, slice.position).map_err(StorageError::io("read", &path))?;
        // The last batch may be cut off.
        let whole: usize = Batches::new(&bytes).map_while(Result::ok).map(|batch| batch.bytes().len()).sum();
        if whole == 0 {
            let detail = format!("no whole batch can be read at offset {}", slice.first_offset);
            return Err(StorageError::Corrupt { path, detail });
        }
        bytes.truncate(whole);
        Ok(Piece { log_start, first_offset: slice.first_offset, begins_segment: slice.position == 0, bytes })
    }

    /// Puts the copy into the place of the log: nobody writes meanwhile. `arrives` has written down before what a start has to know
    /// of the log in its new directory.
    ///
    /// # Errors
    /// The log stays where it is; the move may go on later.
    pub fn finish_move(
        self: &Arc<Self>,
        now_ms: Timestamp,
        arrives: impl FnOnce(&Directory) -> ottla_storage::Result<()>,
    ) -> ottla_storage::Result<Finished> {
        let Some(Taken { home, folder, mut copy }) = self.move_state.take() else { return Ok(Finished::Ended(None)) };
        let done = if copy.is_none() || !self.move_state.begin_arriving(&folder) {
            Ok(Finished::Ended(None))
        } else {
            arrives(&home).map_err(Fault::Target).and_then(|()| self.arrive(&home, &folder, &mut copy, now_ms))
        };
        match done {
            Ok(Finished::Moved(moved)) => Ok(Finished::Moved(moved)),
            // It is no longer the copy of a move.
            Ok(ended @ Finished::Ended(Some(_))) => Ok(ended),
            done => {
                // What was written down is not true.
                self.start_moves();
                self.worked(&home, &folder, copy, done).map(|done| done.unwrap_or(Finished::Ended(None)))
            }
        }
    }

    fn arrive(
        self: &Arc<Self>,
        home: &Arc<Directory>,
        folder: &str,
        copy: &mut Option<Box<Copy>>,
        now_ms: Timestamp,
    ) -> Result<Finished, Fault> {
        let turn = self.turns.enter(|| None).expect("who leaves nothing is let in");
        let prepared = self.prepare_copy(copy.as_mut().expect("it was opened"), now_ms);
        let arrived = prepared.and_then(|()| self.replace_with_copy(home, folder, copy));
        let mut leaves_others = turn.leave();
        while leaves_others {
            leaves_others = self.append_left();
        }
        self.wake_all();
        arrived
    }

    /// The log's lock is held for the exchange alone: readers and housekeeping go on while names are flushed.
    fn replace_with_copy(
        &self,
        home: &Arc<Directory>,
        folder: &str,
        copy: &mut Option<Box<Copy>>,
    ) -> Result<Finished, Fault> {
        let _finishing = self.move_state.finishing();
        if !self.move_state.begin_arriving(folder) {
            return Ok(Finished::Ended(None));
        }
        let path = home.path().join(self.name.to_string());
        if let Some(failure) = self.home().failure() {
            // Its partitions were told to be offline, and nobody knows how much of what is read there is true.
            return Err(Fault::Source(StorageError::Unusable { path, detail: failure.to_owned() }));
        }
        let of_copy = copy.as_mut().expect("it was opened");
        // Not the one that it has: an attempt that failed may have left it with the name of a log.
        let before = home.path().join(folder);
        // Where that fails, it keeps its name, or whatever it has is found by who ends the move.
        of_copy.log.rename_folder(&path).map_err(Fault::Target)?;
        let mut state = self.lock();
        if let Err(error) = state.log.check_usable() {
            // It was closed meanwhile, and is where a start looks for it.
            drop(state);
            let _ = of_copy.log.rename_folder(&before);
            return Err(Fault::Source(error));
        }
        let mut future = self.move_state.future();
        let mut log = copy.take().expect("it was opened").log;
        self.move_state.forget(&mut future);
        if state.is_gone() {
            drop(future);
            drop(state);
            return Ok(Finished::Ended(Some(set_aside(&mut log, &self.name, home).unwrap_or(path))));
        }
        // From here on the copy counts: it is whole, and the other one gets nothing more.
        let log_start = state.log.start_offset();
        log.advance_start_offset(log_start).expect("nobody writes: both logs end at the same offset");
        log.configure(state.log.config().clone());
        let mut old = std::mem::replace(&mut state.log, log);
        let producers = old.count_producers_with(ProducerCount::default());
        state.log.count_producers_with(producers);
        let from = std::mem::replace(&mut *self.home_mut(), home.clone());
        self.leading().note(&mut state.log);
        // It may have moved since it was written down in the new directory.
        self.start_moves();
        Ok(Finished::Moved(Box::new(Moved { to: home.clone(), from, old, folder: path })))
    }

    /// Copies the rest, and has all of the copy on the disk, with its mark.
    fn prepare_copy(&self, copy: &mut Copy, now_ms: Timestamp) -> Result<(), Fault> {
        while let Copied::Some(_) = self.copy_into(copy, now_ms)? {}
        let (end, log_end) = (copy.log.end_offset(), self.with_log(|log, _| log.end_offset()));
        let is_empty_from = |offset| {
            let last = self.with_log(|log, _| log.segments().last());
            last.is_some_and(|last| last.base_offset == offset && last.size_bytes == 0)
        };
        if end < log_end && is_empty_from(log_end) {
            // What lay before it was compacted away.
            copy.log.roll_to(log_end, now_ms).map_err(Fault::Target)?;
        } else if end != log_end {
            let detail = format!("it has no batches from {end} to its end at {log_end}");
            return Err(Fault::Source(StorageError::Corrupt {
                path: self.home().path().join(self.name.to_string()),
                detail,
            }));
        }
        let mark = copy.log.folder().join(MOVED);
        let written = copy.log.flush(now_ms);
        let source = self.home();
        written.and_then(|()| replace_file(&mark, source.path().to_string_lossy().as_bytes())).map_err(Fault::Target)
    }

    /// Brings what an earlier life has copied into line with the log. That has lost its end since, in a crash; or begins earlier
    /// again, where it was not written down yet that records were deleted.
    fn cut_copy(&self, copy: &mut Log, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let epoch = copy.latest_epoch();
        let (log_start, end) = self.with_log(|log, _| {
            let of_epoch = epoch.and_then(|epoch| log.epoch_end(epoch)).map(|known| known.end_offset);
            (log.start_offset(), of_epoch.unwrap_or(log.end_offset()).min(log.end_offset()))
        });
        if copy.segments().next().is_none_or(|first| first.base_offset > log_start) {
            return copy.restart_at(log_start, now_ms);
        }
        copy.truncate_to(end.max(copy.start_offset()), now_ms).map(drop)
    }
}

impl Copy {
    fn write(&mut self, piece: &Piece, now_ms: Timestamp) -> ottla_storage::Result<Copied> {
        let (log, Piece { log_start, first_offset, begins_segment, bytes }) = (&mut self.log, piece);
        // The log may begin later by now, or inside of a batch.
        let first = *first_offset.min(log_start);
        let begins_inside = log.size_bytes() == 0 && first < log.end_offset();
        if log.end_offset() < *log_start || begins_inside {
            log.restart_at(first, now_ms)?;
        }
        if bytes.is_empty() {
            log.advance_start_offset(*log_start)?;
            return Ok(Copied::All);
        }
        if *begins_segment {
            // Copied in no time, all of it would be one segment, of which retention takes nothing before the newest record is due.
            log.roll(now_ms)?;
            self.rolls += 1;
            if self.rolls.is_multiple_of(ROLLS_UNFLUSHED) {
                // A flush has all files open that it is of.
                log.flush(now_ms)?;
            }
        }
        log.append_follower(bytes, now_ms)?;
        log.advance_start_offset((*log_start).min(log.end_offset()))?;
        self.unflushed_bytes += bytes.len();
        Ok(Copied::Some(bytes.len()))
    }
}

impl Moved {
    /// Gives the old folder the name of what is to be removed, and gives it back; `None` where it keeps its name, and is left for the
    /// next start to remove.
    pub fn leave(self, name: &TopicPartition) -> Option<PathBuf> {
        let Self { from, mut old, folder, .. } = self;
        if !from.is_online() {
            // Nothing is written there any more.
            return None;
        }
        let removed = set_aside(&mut old, name, &from);
        if removed.is_some() {
            forget_mark(&folder);
        }
        removed
    }
}

/// Gives a log's folder the name of what is to be removed; `None` if it has to keep its own, or is gone.
fn set_aside(log: &mut Log, name: &TopicPartition, home: &Directory) -> Option<PathBuf> {
    let to = log.folder().with_file_name(PartitionFolder::name_of(name, FolderKind::Deleted, Uuid::random(entropy)));
    match log.rename_folder(&to) {
        Ok(()) => Some(to),
        Err(error) if is_gone(&error) => None,
        Err(error) => {
            error!(partition = %name, %error, "cannot rename the folder of a log that was moved");
            home.on_error(&error);
            None
        }
    }
}

/// Ends a move; what was copied gets the name of what is to be removed.
fn end(future: Future, name: &TopicPartition) -> Option<PathBuf> {
    let Future { home, folder, .. } = future;
    let to = home.path().join(PartitionFolder::name_of(name, FolderKind::Deleted, Uuid::random(entropy)));
    // Whoever is told that a move has ended does not find it going on after a power cut.
    let renamed = match find_copy(&home, &folder, name) {
        Ok(None) => return None,
        Ok(Some(from)) => rename_folder(&from, &to),
        Err(error) => Err(error),
    };
    match renamed {
        Ok(()) => Some(to),
        // Whoever was working on the copy has removed it.
        Err(error) if is_gone(&error) => None,
        Err(error) => {
            error!(partition = %name, %error, "cannot rename the folder of a move that has ended");
            home.on_error(&error);
            None
        }
    }
}

/// Where the copy of a move lies: under the name that no other move has; or under that of a log, with its mark, where that name could
/// neither be flushed nor be taken back.
fn find_copy(home: &Directory, folder: &str, name: &TopicPartition) -> ottla_storage::Result<Option<PathBuf>> {
    let exists = |path: &Path| os::exists(path).map_err(StorageError::io("look for", path));
    let (copy, arrived) = (home.path().join(folder), home.path().join(name.to_string()));
    if exists(&copy)? {
        return Ok(Some(copy));
    }
    Ok(exists(&arrived.join(MOVED))?.then_some(arrived))
}

/// Whether what was to be renamed is not there, which is no fault of its disk.
fn is_gone(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { operation: "rename", source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// Takes the mark away, since the other folder is gone.
pub fn forget_mark(folder: &Path) {
    let mark = folder.join(MOVED);
    match os::remove(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            error!(mark = %mark.display(), %error, "cannot remove the mark of a move, which says nothing without the other log");
        }
        _ => {}
    }
}
