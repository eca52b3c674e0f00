//! Compaction of the hosted partitions (Kafka's log cleaner): which is next, how fast, and what came of it.
//!
//! ```text
//!   supervisor --as many as log.cleaner.threads--> worker: look at all compacted partitions --> the dirtiest that is due
//!                                                     ^                                              |
//!                                                     +--- none is: log.cleaner.backoff.ms ---- clean it, without its lock
//! ```
//!
//! How a log is cleaned is the storage's matter (`ottla_storage::cleaner`). A partition that cannot be cleaned is left alone
//! until the next start, and counted; the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_base::{Offset, TopicPartition, Uuid};
use ottla_metadata::settings::topic::TopicSettings;
use ottla_storage::cleaner::{
    Cleaned, CleanerCheckpoint, CompactionSettings, Dirt, Limits, NotCleaned, Owner, Request, Throttle, clean,
};
use ottla_storage::{Error as StorageError, Log, os};
use tracing::{debug, error, info, warn};

use super::Partitions;
use super::directories::{Directory, is_for_the_last};
use super::partition::Partition;
use crate::config::{CleanerSettings, Config, Newest};
use crate::node::clock;

/// How soon changed settings act.
const TICK: Duration = Duration::from_secs(1);
/// No part of the buffers is smaller, however many threads share them.
const IO_BUFFER_BYTES_MIN: usize = 4 * 1024;
/// A log for whose cleaning there was no room is left alone so long.
const RESTS: Duration = Duration::from_secs(60);

/// What the threads that compact have in common.
#[derive(Debug, Default)]
pub struct Cleaner {
    /// Of each log directory that was looked at.
    checkpoints: Mutex<BTreeMap<PathBuf, Arc<Mutex<CleanerCheckpoint>>>>,
    state: Mutex<State>,
    throttle: Mutex<Throttle>,
    is_stopping: AtomicBool,
    /// Wakes the threads that wait, when they are to stop.
    stop_lock: Mutex<()>,
    stop: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Being cleaned.
    busy: BTreeSet<TopicPartition>,
    /// Those for whose cleaning there was no room, until when.
    resting: BTreeMap<TopicPartition, Instant>,
    /// Those that cannot be cleaned, with the ids of their topics.
    uncleanable: BTreeMap<TopicPartition, Uuid>,
    looked: Option<Looked>,
    /// What each thread did last.
    runs: BTreeMap<usize, Run>,
}

/// What the last look at all partitions found.
#[derive(Clone, Copy, Debug)]
struct Looked {
    at: Instant,
    max_ratio: f64,
    max_delay_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    cleaned: Cleaned,
    took: Duration,
}

/// What people look at, in Kafka's units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// The dirty part of the dirtiest log.
    pub max_dirty_percent: f64,
    /// What was left of the logs that were cleaned last.
    pub recopy_percent: f64,
    /// The longest of the last cleanings.
    pub max_clean_time_s: u64,
    /// The fullest memory for keys among them.
    pub max_buffer_utilization_percent: f64,
    /// How late the latest log is by `max.compaction.lag.ms`.
    pub max_compaction_delay_s: i64,
    /// Since the partitions were looked at.
    pub since_last_run_ms: u128,
    /// Partitions that cannot be cleaned, and their bytes, by log directory.
    pub uncleanable: BTreeMap<PathBuf, (usize, u64)>,
}

/// A partition whose turn it is.
struct Job {
    partition: Arc<Partition>,
    /// Where it lay when it was looked at.
    home: Arc<Directory>,
    dirt: Dirt,
    checkpoint: Arc<Mutex<CleanerCheckpoint>>,
    delete_retention_ms: i64,
}

/// A partition that is being cleaned.
struct Busy<'a> {
    partition: &'a Partition,
    cleaner: &'a Cleaner,
    running: &'a Newest,
}

/// A partition that nobody else takes until this is dropped.
struct WorkedOn<'a> {
    partition: &'a Partition,
    cleaner: &'a Cleaner,
}

impl Drop for WorkedOn<'_> {
    fn drop(&mut self) {
        // The housekeeping flushes what is new, and unlinks what was replaced.
        self.partition.touch();
        let name = &self.partition.name;
        let mut state = self.cleaner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy.remove(name);
        if std::thread::panicking() {
            error!(partition = %name, "a bug: compacting this log has panicked; it is left alone until the next start");
            state.uncleanable.insert(name.clone(), self.partition.topic_id);
        }
    }
}

/// Cleans until `stop` says so or is dropped.
pub fn run(partitions: &Arc<Partitions>, config: &Arc<Config>, stop: &Receiver<()>) {
    let mut workers: Vec<Option<JoinHandle<()>>> = Vec::new();
    loop {
        let wanted = config.running.get().cleaner.threads;
        workers.resize_with(workers.len().max(wanted), || None);
        for (number, place) in workers.iter_mut().enumerate() {
            if let Some(ended) = place.take_if(|worker| worker.is_finished())
                && ended.join().is_err()
            {
                error!(thread = number, "a thread that compacts logs has died; another takes its place");
            }
            if number < wanted && place.is_none() {
                match start_worker(number, partitions.clone(), config.clone()) {
                    Ok(worker) => *place = Some(worker),
                    Err(error) => error!(%error, "cannot start a thread that compacts logs"),
                }
            }
        }
        if !matches!(stop.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
            break;
        }
    }
    partitions.cleaner.stop();
    for worker in workers.into_iter().flatten() {
        // One that has died has said so.
        let _ = worker.join();
    }
}

fn start_worker(number: usize, partitions: Arc<Partitions>, config: Arc<Config>) -> io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(format!("ottla-cleaner-{number}"));
    thread.spawn(move || {
        let cleaner = &partitions.cleaner;
        while !cleaner.is_stopping() {
            let settings = config.running.get().cleaner;
            if number >= settings.threads {
                break;
            }
            let went_well = cleaner.take_job(&partitions).map(|job| cleaner.work(number, &job, &config.running));
            if went_well != Some(true) {
                cleaner.wait(settings.backoff);
            }
        }
    })
}

impl Cleaner {
    /// Forgets partitions that are deleted.
    pub fn forget(&self, directory: &Path, name: &TopicPartition) {
        if let Err(error) = self.forget_predecessor(directory, name) {
            warn!(partition = %name, %error, "the cleaner's checkpoint names a partition that is deleted");
        }
    }

    /// Forgets the last log of this name before a new one takes it, which would count as clean up to where that one was.
    ///
    /// # Errors
    /// The checkpoint still names it.
    pub fn forget_predecessor(&self, directory: &Path, name: &TopicPartition) -> ottla_storage::Result<()> {
        let mut state = self.state();
        state.uncleanable.remove(name);
        state.resting.remove(name);
        drop(state);
        self.checkpoint(directory).and_then(|checkpoint| locked(&checkpoint).remove(name))
    }

    /// Whether a log was ever compacted, as far as is known.
    pub fn has_compacted(&self, directory: &Path, name: &TopicPartition) -> bool {
        self.checkpoint(directory).map_or(true, |checkpoint| locked(&checkpoint).get(name).is_some())
    }

    /// Notes in the directory `to` how far a log is compacted that moves there: it is not compacted from its beginning again, and a
    /// start knows why offsets are missing in it.
    pub fn carry(&self, name: &TopicPartition, from: &Path, to: &Path) -> ottla_storage::Result<()> {
        let (old, new) = (self.checkpoint(from)?, self.checkpoint(to)?);
        let cleaned = locked(&old).get(name);
        match cleaned {
            Some(offset) => locked(&new).set(name, offset),
            // Nothing is left of an earlier stay there.
            None => locked(&new).remove(name),
        }
    }

    /// What people look at; the bytes of partitions are asked for among `all`.
    pub fn figures(&self, all: &[Arc<Partition>]) -> Figures {
        let state = self.state();
        let runs = || state.runs.values();
        let (read, written) = runs()
            .fold((0, 0), |(read, written), run| (read + run.cleaned.before.bytes, written + run.cleaned.after.bytes));
        let max_utilization = runs().map(|run| run.cleaned.map_utilization).fold(0.0, f64::max);
        let mut figures = Figures {
            max_dirty_percent: state.looked.map_or(0.0, |looked| 100.0 * looked.max_ratio),
            recopy_percent: if read == 0 { 0.0 } else { 100.0 * written as f64 / read as f64 },
            max_clean_time_s: runs().map(|run| run.took.as_secs()).max().unwrap_or(0),
            max_buffer_utilization_percent: 100.0 * max_utilization,
            max_compaction_delay_s: state.looked.map_or(0, |looked| looked.max_delay_ms / 1000),
            since_last_run_ms: state.looked.map_or(0, |looked| looked.at.elapsed().as_millis()),
            uncleanable: BTreeMap::new(),
        };
        let uncleanable = state.uncleanable.clone();
        drop(state);
        for partition in all.iter().filter(|one| uncleanable.get(&one.name) == Some(&one.topic_id)) {
            let (directory, bytes) = partition.with_log(|log, _| (directory_of(log).to_owned(), log.size_bytes()));
            let counted = figures.uncleanable.entry(directory).or_default();
            *counted = (counted.0 + 1, counted.1 + bytes);
        }
        figures
    }

    /// The dirtiest of the partitions whose time has come, which nobody else takes until it was worked on.
    fn take_job(&self, partitions: &Partitions) -> Option<Job> {
        let now_ms = clock::now_ms();
        let (mut jobs, mut looked) = (Vec::new(), Looked { at: Instant::now(), max_ratio: 0.0, max_delay_ms: 0 });
        for partition in partitions.all() {
            let settings = partition.settings();
            if !settings.compact || !partition.is_online() || !self.may_clean(&partition) {
                continue;
            }
            let settings = compaction_settings(&settings);
            let home = partition.home();
            match self.look_at(&partition, &settings, now_ms) {
                Ok((dirt, checkpoint)) => {
                    looked.max_ratio = looked.max_ratio.max(dirt.ratio());
                    looked.max_delay_ms = looked.max_delay_ms.max(dirt.overdue_ms);
                    if dirt.is_due(&settings) {
                        let delete_retention_ms = settings.delete_retention_ms;
                        jobs.push(Job { partition, home, dirt, checkpoint, delete_retention_ms });
                    }
                }
                Err(error) => self.cannot_clean(&partition, &home, &error),
            }
        }
        jobs.sort_by(|one, other| other.dirt.ratio().total_cmp(&one.dirt.ratio()));
        let mut state = self.state();
        state.looked = Some(looked);
        jobs.into_iter().find(|job| state.busy.insert(job.partition.name.clone()))
    }

    /// Not while it is copied to another directory: the copy would keep a record whose tombstone is gone before it gets there.
    pub(super) fn may_clean(&self, partition: &Partition) -> bool {
        let mut state = self.state();
        if state.resting.get(&partition.name).is_some_and(|until| Instant::now() < *until) {
            return false;
        }
        state.resting.remove(&partition.name);
        !partition.move_state.is_going_on()
            && !state.busy.contains(&partition.name)
            && state.uncleanable.get(&partition.name) != Some(&partition.topic_id)
    }

    fn look_at(
        &self,
        partition: &Partition,
        settings: &CompactionSettings,
        now_ms: i64,
    ) -> ottla_storage::Result<(Dirt, Arc<Mutex<CleanerCheckpoint>>)> {
        let checkpoint = self.checkpoint(&partition.with_log(|log, _| directory_of(log).to_owned()))?;
        let cleaned: Option<Offset> = locked(&checkpoint).get(&partition.name);
        let last_stable = partition.positions().last_stable;
        let dirt = partition.with_log(|log, _| log.dirt(cleaned, last_stable, settings, now_ms))?;
        if dirt.is_checkpoint_wrong {
            let (partition, from) = (&partition.name, dirt.first_dirty);
            debug!(%partition, %from, "the log does not hold the offset up to which it was compacted");
            locked(&checkpoint).set(partition, from)?;
        }
        Ok((dirt, checkpoint))
    }

    /// Cleans a partition; says whether that went well.
    fn work(&self, number: usize, job: &Job, running: &Newest) -> bool {
        let (begun, name) = (Instant::now(), &job.partition.name);
        let request = Request {
            dirt: job.dirt,
            delete_retention_ms: job.delete_retention_ms,
            limits: limits(&running.get().cleaner),
            now_ms: clock::now_ms(),
        };
        let busy = Busy { partition: &job.partition, cleaner: self, running };
        let worked_on = WorkedOn { partition: &job.partition, cleaner: self };
        let cleaned = clean(&busy, &job.checkpoint, &request);
        drop(worked_on);
        match cleaned {
            Ok(cleaned) => {
                let took = begun.elapsed();
                self.state().runs.insert(number, Run { cleaned, took });
                let Cleaned { end, before, after, .. } = cleaned;
                info!(
                    partition = %name, from = %job.dirt.first_dirty, %end, bytes_before = before.bytes,
                    bytes_after = after.bytes, records_before = before.records, records_after = after.records, ?took,
                    "compacted a log"
                );
                true
            }
            Err(NotCleaned::GivenUp) if busy.lacks_room() => {
                warn!(partition = %name, "gave a compaction up, for want of room; it is tried again");
                self.state().resting.insert(name.clone(), Instant::now() + RESTS);
                false
            }
            Err(NotCleaned::GivenUp) => {
                debug!(partition = %name, "gave a compaction up");
                false
            }
            Err(NotCleaned::Failed(error)) => {
                self.cannot_clean(&job.partition, &job.home, &error);
                false
            }
        }
    }

    /// A full disk may have room again later; all else stays as it is until somebody looks after it.
    fn cannot_clean(&self, partition: &Partition, home: &Directory, error: &StorageError) {
        let name = &partition.name;
        match error {
            // Its files went while they were looked at.
            _ if partition.is_gone() => debug!(partition = %name, %error, "not compacted: the topic was deleted"),
            error if error.is_full() || error.lacks_files() => {
                home.on_error(error);
                warn!(partition = %name, %error, "a log cannot be compacted for want of room, or files; it is tried again");
            }
            error => {
                home.on_error(error);
                error!(
                    partition = %name, %error,
                    "a log cannot be compacted, and is left alone until the next start: look after the file that is named"
                );
                self.state().uncleanable.insert(name.clone(), partition.topic_id);
            }
        }
    }

    fn checkpoint(&self, directory: &Path) -> ottla_storage::Result<Arc<Mutex<CleanerCheckpoint>>> {
        let mut checkpoints = locked(&self.checkpoints);
        if let Some(known) = checkpoints.get(directory) {
            return Ok(known.clone());
        }
        let opened = Arc::new(Mutex::new(CleanerCheckpoint::open(directory)?));
        checkpoints.insert(directory.to_owned(), opened.clone());
        Ok(opened)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        let guard = locked(&self.stop_lock);
        self.is_stopping.store(true, Ordering::Relaxed);
        drop(guard);
        self.stop.notify_all();
    }

    /// Waits, unless everything is to stop.
    fn wait(&self, time: Duration) {
        let guard = locked(&self.stop_lock);
        let waited = self.stop.wait_timeout_while(guard, time, |()| !self.is_stopping());
        drop(waited.expect("nobody panics while holding this lock"));
    }
}

impl Owner for Busy<'_> {
    fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        self.partition.with_log(|log, _| work(log))
    }

    fn goes_on(&self, bytes: u64) -> bool {
        let bytes_per_s = self.running.get().cleaner.io_max_bytes_per_s;
        let wait = locked(&self.cleaner.throttle).note(Instant::now(), bytes, bytes_per_s);
        if !wait.is_zero() {
            self.cleaner.wait(wait);
        }
        let is_wanted = !self.partition.is_gone() && !self.partition.move_state.is_going_on();
        is_wanted && !self.cleaner.is_stopping() && !self.lacks_room()
    }

    fn may_change(&self) -> bool {
        !self.partition.move_state.is_going_on()
    }
}

impl Busy<'_> {
    /// Whether what it writes would take the last of the disk, which is full for all others.
    fn lacks_room(&self) -> bool {
        let home = self.partition.home();
        let set_bytes = self.running.get().disk_reserve_bytes;
        home.is_full()
            && os::volume_bytes(home.path()).is_ok_and(|(total, free)| is_for_the_last(total, free, set_bytes))
    }
}

fn compaction_settings(settings: &TopicSettings) -> CompactionSettings {
    CompactionSettings {
        min_cleanable_dirty_ratio: settings.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: settings.min_compaction_lag_ms,
        max_compaction_lag_ms: settings.max_compaction_lag_ms,
        delete_retention_ms: settings.delete_retention_ms,
    }
}

/// What one of the threads may take of the memory of all.
fn limits(settings: &CleanerSettings) -> Limits {
    let threads = settings.threads.max(1);
    Limits {
        map_bytes: settings.dedupe_buffer_bytes / threads,
        load_factor: settings.load_factor,
        // One half is for reading, the other for writing.
        io_bytes: (settings.io_buffer_bytes / threads / 2).max(IO_BUFFER_BYTES_MIN),
    }
}

fn directory_of(log: &Log) -> &Path {
    log.folder().parent().expect("a log lies in a log directory")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding this lock")
}

#[cfg(test)]
mod tests {
    use ottla_storage::LogConfig;

    use super::super::tests::{config, lead, open_log};
    use super::*;

    #[test]
    fn a_log_that_begins_to_move_is_not_changed_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let partition = lead(folder.path(), open_log(folder.path(), LogConfig::default()));
        let (cleaner, running) = (Cleaner::default(), config(folder.path()).running);
        let busy = Busy { partition: &partition, cleaner: &cleaner, running: &running };
        assert!(busy.may_change());
        let to = Arc::new(Directory::unheld(folder.path().join("b"), None, Arc::default()));
        partition.begin_move(&to, format!("t-0.{:032x}-future", 1)).unwrap();
        assert!(!busy.may_change());
    }

    #[test]
    fn a_log_whose_cleaning_panics_is_left_alone_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let (cleaner, partition) =
            (Cleaner::default(), lead(folder.path(), open_log(folder.path(), LogConfig::default())));
        for panics in [false, true] {
            cleaner.state().busy.insert(partition.name.clone());
            assert!(!cleaner.may_clean(&partition));
            let worked_on = || {
                let _worked_on = WorkedOn { partition: &partition, cleaner: &cleaner };
                assert!(!panics, "a bug");
            };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(worked_on));
            assert_eq!((done.is_err(), cleaner.may_clean(&partition)), (panics, !panics));
            assert!(cleaner.state().busy.is_empty());
        }
        let uncleanable = cleaner.figures(&[partition]).uncleanable;
        assert_eq!(uncleanable.values().map(|(count, _)| *count).collect::<Vec<_>>(), [1]);
    }
}
