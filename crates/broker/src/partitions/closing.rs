//! The end of a broker's life in its log directories: logs closed, the last checkpoints, the mark of a clean stop.
//!
//! ```text
//!   a thread each   /data/a   close its logs, several at a time --> checkpoints --> mark
//!                   /data/b   close its logs ... (the disk does not answer)          given up, and left as after a kill
//!                   /data/c   (has failed)                                           nothing is written there
//! ```
//!
//! One that fails, or does not answer, keeps no other from its mark.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_base::{Offset, Timestamp, TopicPartition};
use ottla_storage::checkpoint::{self, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use ottla_storage::{Error as StorageError, Left, Log, LogDirectory, OpenLog, os};
use tracing::{error, warn};

use super::Partitions;
use super::directories::Directory;
use super::partition::{Partition, Positions};
use crate::error::{Error, Result};
use crate::threads;

/// How many logs of a directory are closed at a time: each waits for the disk again and again, which waits for several as long as
/// for one.
const CLOSING_THREADS: usize = 16;
/// A directory in which not one log is closed for so long is given up.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What is told of a directory.
enum Told {
    /// A log in it was closed.
    GoesOn,
    Ended(Result<()>),
}

/// What closes one directory, and tells how that goes.
struct Closing {
    partitions: Arc<Partitions>,
    directory: Arc<Directory>,
    all: Vec<Arc<Partition>>,
    now_ms: Timestamp,
}

impl Partitions {
    /// Closes every log and writes the last checkpoints, in each directory `of_those` by itself; `leave` is given those where all
    /// went well. It waits no longer than `patience` for one in which nothing gets done. Those that have failed are left as they
    /// are.
    ///
    /// # Errors
    /// The first failure: that directory is not left cleanly, and its checkpoints stay as they were.
    pub fn close(
        self: &Arc<Self>,
        now_ms: Timestamp,
        patience: Duration,
        of_those: impl Fn(&Path) -> bool,
        leave: impl Fn(LogDirectory) -> Result<()> + Clone + Send + 'static,
    ) -> Result<()> {
        let (tell, told) = mpsc::channel();
        let (mut closing, mut done) = (BTreeMap::new(), Ok(()));
        // Nothing is written any more where the disk has failed.
        let is_left = |directory: &&Arc<Directory>| directory.is_online() && of_those(directory.path());
        for directory in self.directories.iter().filter(is_left) {
            let path = directory.path().to_owned();
            let all = self.all().into_iter().filter(|partition| partition.lies_in(directory)).collect();
            let one = Closing { partitions: Arc::clone(self), directory: Arc::clone(directory), all, now_ms };
            let (tell, leave) = (tell.clone(), leave.clone());
            let work = move || {
                let path = one.directory.path().to_owned();
                let tell = |what| _ = tell.send((path.clone(), what));
                let closed = one.close(&|| tell(Told::GoesOn));
                tell(Told::Ended(closed.and_then(|held| held.map_or(Ok(()), &leave))));
            };
            match std::thread::Builder::new().name("ottla-closing".to_owned()).spawn(work) {
                Ok(thread) => _ = closing.insert(path, (thread, Instant::now() + patience)),
                Err(source) => done = done.and(Err(cannot_close(&path, source))),
            }
        }
        drop(tell);
        done.and(wait_for(closing, &told, patience))
    }
}

/// Waits until all directories are closed, but for those that let one wait for longer than `patience`.
fn wait_for(
    mut closing: BTreeMap<PathBuf, (JoinHandle<()>, Instant)>,
    told: &Receiver<(PathBuf, Told)>,
    patience: Duration,
) -> Result<()> {
    let mut done = Ok(());
    while let Some(soonest) = closing.values().map(|(_, deadline)| *deadline).min() {
        match told.recv_timeout(soonest.saturating_duration_since(Instant::now())) {
            Ok((path, Told::GoesOn)) => {
                closing.entry(path).and_modify(|(_, deadline)| *deadline = Instant::now() + patience);
            }
            Ok((path, Told::Ended(ended))) => {
                closing.remove(&path).into_iter().for_each(|(thread, _)| threads::join(thread));
                done = done.and(ended);
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = Instant::now();
                for (path, _) in closing.extract_if(.., |_, (_, deadline)| *deadline <= now) {
                    error!(
                        directory = %path.display(), waited = ?patience,
                        "the log directory is not closed: its disk does not answer. It is left as after a kill"
                    );
                    done = done.and(Err(cannot_close(&path, io::ErrorKind::TimedOut.into())));
                }
            }
            // They have panicked.
            Err(RecvTimeoutError::Disconnected) => {
                std::mem::take(&mut closing).into_values().for_each(|(thread, _)| threads::join(thread));
            }
        }
    }
    done
}

fn cannot_close(directory: &Path, source: io::Error) -> Error {
    Error::Io { what: format!("close the log directory {}", directory.display()), source }
}

impl Closing {
    /// Gives back what holds the directory, if all went well; nothing where it has failed meanwhile.
    fn close(self, goes_on: &(dyn Fn() + Sync)) -> Result<Option<LogDirectory>> {
        let (mut positions, mut failed) = (Vec::with_capacity(self.all.len()), None);
        for (partition, closed) in self.close_all(goes_on) {
            match closed {
                Ok(Some(last)) => positions.push((partition.name.clone(), last)),
                Ok(None) => {}
                Err(error) => _ = failed.get_or_insert(self.failed(&partition.name, error)),
            }
        }
        // Logs that nobody led keep their beginning too.
        for (name, log) in self.take_found() {
            let (log_start, log_end) = (log.start_offset(), log.end_offset());
            if !self.directory.is_online() {
                break;
            }
            match log.close(self.now_ms) {
                Ok(()) => {
                    let high_watermark = self.partitions.high_watermarks.get(&name).copied().unwrap_or_default();
                    let last = Positions { log_start, log_end, high_watermark, last_stable: high_watermark };
                    positions.push((name, last));
                }
                Err(error) => _ = failed.get_or_insert(self.failed(&name, error)),
            }
            goes_on();
        }
        if failed.is_none() && self.directory.is_online() && !self.is_all_closed() {
            error!(
                directory = %self.directory.path().display(),
                "the log directory is left as after a kill: logs are still being made in it, or moved"
            );
            return Ok(None);
        }
        let done = match failed {
            None if self.directory.is_online() => self.write_last_checkpoints(&positions).inspect_err(|error| {
                error!(directory = %self.directory.path().display(), %error, "cannot write the checkpoints");
                self.directory.on_error(error);
            }),
            failed => failed.map_or(Ok(()), Err),
        };
        // Of what the disk is to blame for, its directory has told.
        match done {
            _ if !self.directory.is_online() => Ok(None),
            Ok(()) if self.is_unchecked()? => Ok(None),
            Ok(()) => Ok(self.directory.take_held()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nothing lies here, or is about to, that others may still be at work with.
    fn is_all_closed(&self) -> bool {
        let closed: BTreeSet<&TopicPartition> = self.all.iter().map(|partition| &partition.name).collect();
        let is_left = |partition: &Arc<Partition>| {
            let arrives = partition.move_state.arriving_in().is_some_and(|to| to.path() == self.directory.path());
            (arrives || partition.lies_in(&self.directory)) && !closed.contains(&partition.name)
        };
        !self.partitions.all().iter().any(is_left) && !self.partitions.is_making_in(&self.directory)
    }

    /// Whether a log lies here that this life could not open and the one before did not close: who believed the mark would not
    /// look for what it lacks.
    fn is_unchecked(&self) -> ottla_storage::Result<bool> {
        for (name, options) in &*self.partitions.unopened() {
            let folder = self.directory.path().join(name.to_string());
            let is_here = || os::exists(&folder).map_err(StorageError::io("look for", &folder));
            if options.left != Left::Cleanly && is_here()? {
                warn!(partition = %name, "the log could not be opened: its directory is left as after a kill");
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn failed(&self, name: &TopicPartition, error: StorageError) -> StorageError {
        error!(partition = %name, %error, "cannot close the log");
        self.directory.on_error(&error);
        error
    }

    fn close_all(&self, goes_on: &(dyn Fn() + Sync)) -> Vec<(&Partition, ottla_storage::Result<Option<Positions>>)> {
        let (next, closed) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(self.all.len())));
        std::thread::scope(|scope| {
            for _ in 0..CLOSING_THREADS.min(self.all.len()) {
                scope.spawn(|| {
                    while let Some(partition) = self.all.get(next.fetch_add(1, Ordering::Relaxed))
                        && self.directory.is_online()
                    {
                        let done = (&**partition, partition.close(self.now_ms));
                        closed.lock().expect("nobody panics while holding this lock").push(done);
                        goes_on();
                    }
                });
            }
        });
        closed.into_inner().expect("nobody panics while holding this lock")
    }

    fn take_found(&self) -> Vec<(TopicPartition, Log)> {
        let is_here = |_: &TopicPartition, log: &mut Log| self.directory.holds(log.folder());
        self.partitions.found().extract_if(.., is_here).collect()
    }

    /// Writes the checkpoints of the directory, in which the logs with these positions were closed. What could not be opened keeps
    /// its offsets.
    fn write_last_checkpoints(&self, positions: &[(TopicPartition, Positions)]) -> ottla_storage::Result<()> {
        let directory = &self.directory;
        // Whoever did not end in time writes none over them.
        let _named = directory.named();
        directory.has_left();
        let unopened = self.partitions.unopened().clone();
        let write = |file, offset: fn(&Positions) -> Offset, known: fn(&OpenLog) -> Offset| {
            let closed = positions.iter().map(|(name, positions)| (name.clone(), offset(positions)));
            let mut offsets: BTreeMap<_, _> = closed.collect();
            for (name, options) in &unopened {
                let folder = directory.path().join(name.to_string());
                if os::exists(&folder).map_err(StorageError::io("look for", &folder))? {
                    offsets.insert(name.clone(), known(options));
                }
            }
            checkpoint::write_offsets(&directory.path().join(file), &offsets)
        };
        write(RECOVERY_POINT_CHECKPOINT, |positions| positions.log_end, |options| options.recovery_point)?;
        write(LOG_START_CHECKPOINT, |positions| positions.log_start, |options| options.log_start_offset)?;
        write(HIGH_WATERMARK_CHECKPOINT, |positions| positions.high_watermark, |_| Offset(0))
    }
}
