//! Moving a replica from one log directory to another (KIP-113), while it is led, written to and read.
//!
//! ```text
//!   A/t-0                   A/t-0                A/t-0                           A/t-0.<id>-delete
//!                B/t-0.<id>-future    copied     B/t-0, with ottla-moved in it   B/t-0
//!      begin ------------------> copy ... ------> nobody writes: rename --------> rename, forget the mark
//! ```
//!
//! A crash leaves the log in A, and what was copied, which goes on at the next start; or, between the renames, two whole logs,
//! one with a mark: the longer one counts, which is the one that was written to last. Whoever reads from the old files may
//! finish.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_base::{Offset, Timestamp, Uuid};
use ottla_metadata::controller::{AssignDirectories, Command, PlacedReplica};
use ottla_protocol::records::batch::Batches;
use ottla_storage::{
    Error as StorageError, FolderKind, Left, Log, OpenLog, PartitionFolder, os, rename_folder, replace_file,
    write_partition_metadata,
};
use tracing::{error, info};

use super::Partitions;
use super::directories::Directory;
use super::partition::Partition;
use crate::config::Newest;
use crate::controller::Controller;
use crate::node::{PublishedImage, clock, entropy};

/// In a folder that took another one's place: that one may still be there.
pub const MOVED: &str = "ottla-moved";
/// So much is copied at once.
const COPIED_BYTES: u32 = 1 << 20;
/// How long a move rests that cannot go on: its disk may have room again.
const RESTS: Duration = Duration::from_secs(1);
/// How often a move that was begun is looked for, should nobody wake the thread.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A copy that is moved on without a flush until it lacks no more than this ...
const UNFLUSHED_BYTES_MAX: usize = 1 << 20;
/// ... but is flushed so often at most, where producers are faster than the disk.
const FLUSHES_MAX: usize = 8;

/// A copy on its way to another directory.
pub struct Future {
    home: Arc<Directory>,
    /// The name of its folder.
    folder: String,
    /// Once it is opened.
    copy: Option<Box<Copy>>,
}

/// What was copied so far.
struct Copy {
    log: Log,
    unflushed_bytes: usize,
    flushes: usize,
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
    /// It goes there already, into another folder.
    Before,
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

/// The partitions that are being moved, in turn.
#[derive(Default)]
pub struct Moves {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    partitions: VecDeque<Arc<Partition>>,
    is_stopping: bool,
}

impl Partition {
    /// Begins to move it to `home`, into the folder called `folder`, which may hold what an earlier life has copied. A move that
    /// goes elsewhere ends.
    pub fn begin_move(&self, home: &Arc<Directory>, folder: String) -> Begun {
        let mut future = self.future();
        if future.as_ref().is_some_and(|future| future.home.path() == home.path()) {
            return Begun::Before;
        }
        let ended = end(&mut future, &self.name);
        *future = Some(Future { home: home.clone(), folder, copy: None });
        Begun::Anew(ended)
    }

    /// Ends a move, if there is one, and gives back the folder to be removed.
    pub fn cancel_move(&self) -> Option<PathBuf> {
        end(&mut self.future(), &self.name)
    }

    /// Where it is being moved to, and how far that is; `None` where it stays.
    pub fn moving(&self) -> Option<Moving> {
        let future = self.future();
        let Future { home, copy, .. } = future.as_ref()?;
        let positions = self.positions();
        let (size_bytes, end) = match copy {
            Some(copy) => (copy.log.size_bytes(), copy.log.end_offset()),
            None => (0, positions.log_start),
        };
        Some(Moving { home: home.clone(), size_bytes, lag: (positions.log_end.0 - end.0).max(0) })
    }

    /// Copies some more.
    ///
    /// # Errors
    /// The disk that it is copied to, or from; the move may go on later.
    pub fn copy_some(&self, now_ms: Timestamp) -> ottla_storage::Result<Copied> {
        let mut future = self.future();
        let Some(Future { home, folder, copy }) = future.as_mut() else { return Ok(Copied::Nothing) };
        let copied = match copy {
            Some(copy) => self.copy_into(copy, now_ms),
            None => self.open_copy(&home.path().join(folder), now_ms).map(|log| {
                *copy = Some(Box::new(Copy { log, unflushed_bytes: 0, flushes: 0 }));
                Copied::Some(0)
            }),
        };
        copied.inspect_err(|error| home.on_error(error))
    }

    fn open_copy(&self, folder: &Path, now_ms: Timestamp) -> ottla_storage::Result<Log> {
        let (config, log_start_offset, producers) =
            self.with_log(|log, _| (log.config().clone(), log.start_offset(), log.producer_count()));
        let options = OpenLog {
            topic_partition: self.name.clone(),
            left: Left::Unknown,
            recovery_point: Offset(0),
            log_start_offset,
            now_ms,
            producers,
        };
        let (mut log, _) = Log::open(folder, config, options)?;
        write_partition_metadata(folder, self.topic_id)?;
        self.cut_copy(&mut log, now_ms)?;
        Ok(log)
    }

    /// Has what was copied on the disk, without holding anything meanwhile; says whether that was much.
    pub fn flush_copy(&self, now_ms: Timestamp) -> ottla_storage::Result<bool> {
        let (home, flush, folder) = {
            let mut future = self.future();
            let Some(Future { home, copy: Some(copy), .. }) = future.as_mut() else { return Ok(false) };
            if copy.unflushed_bytes <= UNFLUSHED_BYTES_MAX || copy.flushes >= FLUSHES_MAX {
                return Ok(false);
            }
            (copy.unflushed_bytes, copy.flushes) = (0, copy.flushes + 1);
            (home.clone(), copy.log.begin_flush()?, copy.log.folder().to_owned())
        };
        let ran = flush.run();
        let mut future = self.future();
        let flushed = match future.as_mut() {
            // It may be another one by now.
            Some(Future { copy: Some(copy), .. }) if copy.log.folder() == folder => {
                copy.log.finish_flush(&flush, ran, now_ms)
            }
            _ => Ok(()),
        };
        flushed.inspect_err(|error| home.on_error(error)).map(|()| true)
    }

    fn copy_into(&self, copy: &mut Copy, now_ms: Timestamp) -> ottla_storage::Result<Copied> {
        let Copy { log: copy, unflushed_bytes, .. } = copy;
        let (log_start, slice, bytes_max) = {
            let state = self.lock();
            let (log_start, log_end) = (state.log.start_offset(), state.log.end_offset());
            let from = copy.end_offset().max(log_start);
            let bytes_max = COPIED_BYTES.min(state.log.config().segment_bytes);
            if from >= log_end {
                (log_start, None, bytes_max)
            } else {
                let slice = state.log.read(from, bytes_max, log_end, true);
                (log_start, Some(slice.inspect_err(|error| _ = self.broken(error))?), bytes_max)
            }
        };
        let slice = slice.filter(|slice| slice.length > 0);
        // The log may begin later by now, or inside of a batch.
        let first = slice.as_ref().map_or(log_start, |slice| slice.first_offset.min(log_start));
        let begins_inside = copy.size_bytes() == 0 && first < copy.end_offset();
        if copy.end_offset() < log_start || begins_inside {
            copy.restart_at(first, now_ms)?;
        }
        let Some(slice) = slice else {
            copy.advance_start_offset(log_start)?;
            return Ok(Copied::All);
        };
        let mut bytes = vec![0; slice.length as usize];
        os::read_exact_at(&slice.file, &mut bytes, slice.position)
            .map_err(StorageError::io("read", &self.home().path().join(self.name.to_string())))?;
        // The last batch may be cut off.
        let whole: usize = Batches::new(&bytes).map_while(Result::ok).map(|batch| batch.bytes().len()).sum();
        assert!(whole > 0, "a slice of at least one batch, at most {bytes_max} bytes, holds a whole one");
        copy.append_follower(&bytes[..whole], now_ms)?;
        copy.advance_start_offset(log_start.min(copy.end_offset()))?;
        *unflushed_bytes += whole;
        Ok(Copied::Some(whole))
    }

    /// Puts the copy into the place of the log: nobody writes meanwhile. Gives back the folder to be removed, and the directory
    /// that it lies in now.
    ///
    /// # Errors
    /// The log stays where it is; or, where the old folder could not be renamed, is left there for the next start to remove.
    pub fn finish_move(
        self: &Arc<Self>,
        now_ms: Timestamp,
    ) -> ottla_storage::Result<Option<(Option<PathBuf>, Arc<Directory>)>> {
        let turn = self.turns.enter(|| None).expect("who leaves nothing is let in");
        let finished = self.replace_with_copy(now_ms);
        let mut leaves_others = turn.leave();
        while leaves_others {
            leaves_others = self.append_left();
        }
        self.wake_all();
        finished
    }

    fn replace_with_copy(&self, now_ms: Timestamp) -> ottla_storage::Result<Option<(Option<PathBuf>, Arc<Directory>)>> {
        let mut future = self.future();
        let Some(Future { home, copy: Some(copy), .. }) = future.as_mut() else { return Ok(None) };
        let home = home.clone();
        let fails = |error: &StorageError| home.on_error(error);
        self.prepare_copy(copy, now_ms).inspect_err(fails)?;
        // It may have been deleted meanwhile.
        let Ok(mut state) = self.serving() else { return Ok(None) };
        copy.log.advance_start_offset(state.log.start_offset())?;
        let folder = home.path().join(self.name.to_string());
        copy.log.rename_folder(&folder).inspect_err(fails)?;
        // From here on the copy counts: it is whole, and the other one gets nothing more.
        let mut copy = future.take().and_then(|future| future.copy).expect("it was there just now");
        copy.log.configure(state.log.config().clone());
        let mut old = std::mem::replace(&mut state.log, copy.log);
        let moved_from = std::mem::replace(&mut *self.home_mut(), home.clone());
        // Its new directory has yet to be told where it starts.
        self.start_moved.store(true, Ordering::Relaxed);
        self.leading().note(&mut state.log);
        drop(state);
        let name = PartitionFolder::name_of(&self.name, FolderKind::Deleted, Uuid::random(entropy));
        let to = old.folder().with_file_name(name);
        let removed = match old.rename_folder(&to) {
            Ok(()) => Some(to),
            Err(error) => {
                error!(partition = %self.name, %error, "cannot rename the folder that the partition was moved from");
                moved_from.on_error(&error);
                None
            }
        };
        if removed.is_some() {
            forget_mark(&folder);
        }
        Ok(Some((removed, home)))
    }

    /// Copies the rest, and has all of the copy on the disk, with its mark.
    fn prepare_copy(&self, copy: &mut Copy, now_ms: Timestamp) -> ottla_storage::Result<()> {
        while let Copied::Some(_) = self.copy_into(copy, now_ms)? {}
        copy.log.flush(now_ms)?;
        replace_file(&copy.log.folder().join(MOVED), self.home().path().to_string_lossy().as_bytes())
    }

    /// Cuts off what a copy holds that the log does not: it has lost its end since, in a crash.
    fn cut_copy(&self, copy: &mut Log, now_ms: Timestamp) -> ottla_storage::Result<()> {
        let epoch = copy.latest_epoch();
        let end = self.with_log(|log, _| {
            let of_epoch = epoch.and_then(|epoch| log.epoch_end(epoch)).map(|known| known.end_offset);
            of_epoch.unwrap_or(log.end_offset()).min(log.end_offset())
        });
        copy.truncate_to(end.max(copy.start_offset()), now_ms).map(drop)
    }
}

/// Ends a move; what was copied gets the name of what is to be removed.
fn end(future: &mut MutexGuard<'_, Option<Future>>, name: &ottla_base::TopicPartition) -> Option<PathBuf> {
    let Future { home, folder, .. } = future.take()?;
    let from = home.path().join(folder);
    let to = home.path().join(PartitionFolder::name_of(name, FolderKind::Deleted, Uuid::random(entropy)));
    // Whoever is told that a move has ended does not find it going on after a power cut.
    let renamed = match os::exists(&from).map_err(StorageError::io("look for", &from)) {
        Ok(false) => return None,
        Ok(true) => rename_folder(&from, &to),
        Err(error) => Err(error),
    };
    match renamed {
        Ok(()) => Some(to),
        Err(error) => {
            error!(partition = %name, %error, "cannot rename the folder of a move that has ended");
            home.on_error(&error);
            None
        }
    }
}

/// Takes the mark away, since the other folder is gone.
pub fn forget_mark(folder: &Path) {
    let mark = folder.join(MOVED);
    match os::remove(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            error!(mark = %mark.display(), %error, "cannot remove a mark, which does no harm");
        }
        _ => {}
    }
}

impl Moves {
    /// Has a partition looked after whose move has begun.
    pub fn add(&self, partition: &Arc<Partition>) {
        let mut waiting = self.lock();
        if !waiting.partitions.iter().any(|other| Arc::ptr_eq(other, partition)) {
            waiting.partitions.push_back(partition.clone());
        }
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Arc<Partition>> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_stopping {
                return None;
            }
            if let Some(partition) = waiting.partitions.pop_front() {
                return Some(partition);
            }
            let waited = self.changed.wait_timeout(waiting, LOOK_EVERY);
            waiting = waited.expect("nobody panics while holding this lock").0;
        }
    }

    /// Sleeps; false if the thread is to end.
    fn rest(&self, long: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), long, |waiting| !waiting.is_stopping);
        !waited.expect("nobody panics while holding this lock").0.is_stopping
    }

    fn stop(&self) {
        self.lock().is_stopping = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nobody panics while holding this lock")
    }
}

/// Moves the partitions of one broker, one piece of each in turn.
pub struct Mover {
    pub partitions: Arc<Partitions>,
    pub running: Newest,
    pub controller: Controller,
    pub published: Arc<PublishedImage>,
    pub node_id: ottla_base::BrokerId,
}

/// The thread that does it. Dropped, it ends.
pub struct MoverThread {
    partitions: Arc<Partitions>,
    thread: Option<JoinHandle<()>>,
}

impl Mover {
    /// Goes on in a thread of its own.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn run(self) -> std::io::Result<MoverThread> {
        let partitions = self.partitions.clone();
        let thread = std::thread::Builder::new().name("ottla-mover".to_owned());
        let thread = Some(thread.spawn(move || self.work())?);
        Ok(MoverThread { partitions, thread })
    }

    fn work(&self) {
        let moves = &self.partitions.moves;
        while let Some(partition) = moves.next() {
            let begun = Instant::now();
            let is_full = partition.moving().is_some_and(|moving| moving.home.is_full());
            let done = if is_full { Ok(Copied::Some(0)) } else { partition.copy_some(clock::now_ms()) };
            let done = match done {
                Ok(Copied::All) => self.flush_or_finish(&partition),
                done => done,
            };
            let rest = match done {
                Ok(Copied::Nothing) => continue,
                Ok(Copied::Some(_)) if is_full => RESTS,
                Ok(Copied::Some(bytes)) => self.pause(bytes).saturating_sub(begun.elapsed()),
                Ok(Copied::All) => Duration::ZERO,
                Err(error) => {
                    error!(partition = %partition.name, %error, "the partition cannot be moved on");
                    if self.gives_up(&partition) {
                        continue;
                    }
                    RESTS
                }
            };
            moves.add(&partition);
            if !moves.rest(rest) {
                return;
            }
        }
    }

    /// Whether a move cannot go on in this life of the broker: one of its disks is gone. What was copied stays for the next.
    fn gives_up(&self, partition: &Partition) -> bool {
        !partition.is_online() || partition.moving().is_none_or(|moving| !moving.home.is_online())
    }

    /// All was copied just now. While producers wait, little is to be copied and to be flushed.
    fn flush_or_finish(&self, partition: &Arc<Partition>) -> ottla_storage::Result<Copied> {
        let now_ms = clock::now_ms();
        if partition.flush_copy(now_ms)? {
            return Ok(Copied::All);
        }
        if let Some(moving) = partition.moving() {
            let (from, to) = (partition.home(), moving.home);
            let carried = self.partitions.cleaner.carry(&partition.name, from.path(), to.path());
            carried.inspect_err(|error| to.on_error(error))?;
        }
        let Some((removed, home)) = partition.finish_move(now_ms)? else { return Ok(Copied::Nothing) };
        info!(partition = %partition.name, directory = %home.path().display(), "moved");
        if let Some(folder) = removed {
            self.partitions.cleaner.forget(folder.parent().expect("it lies in a log directory"), &partition.name);
            let delay_ms = partition.settings().file_delete_delay_ms;
            self.partitions.doom(folder, now_ms.saturating_add(delay_ms));
        }
        let image = self.published.get();
        if let (Some(broker), Some(directory)) = (image.broker(self.node_id), home.id()) {
            let (topic_id, index) = (partition.topic_id, partition.name.partition);
            let replicas = vec![PlacedReplica { topic_id, partition: index, directory }];
            let command = AssignDirectories { id: broker.id, epoch: broker.epoch, replicas };
            self.controller.tell(Command::AssignDirectories(command));
        }
        Ok(Copied::Nothing)
    }

    /// How long copying so much may take at least.
    fn pause(&self, bytes: usize) -> Duration {
        match self.running.get().alter_log_dirs_bytes_per_s {
            Some(0) => RESTS,
            Some(per_s) => Duration::from_secs_f64(bytes as f64 / per_s as f64),
            None => Duration::ZERO,
        }
    }
}

impl Drop for MoverThread {
    fn drop(&mut self) {
        self.partitions.moves.stop();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
