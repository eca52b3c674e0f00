//! What happens to logs without any request asking for it: flushing, checkpoints, retention, and removing what was deleted.
//!
//! Each log directory has a thread for it, on the timers of Kafka's own settings; it stops within [`TICK`]. A disk that does not
//! answer holds up its own logs alone: nothing is asked of the logs of another directory but what needs no disk.
//!
//! Differs from Kafka: retention by time does not wait for `log.retention.check.interval.ms` where `retention.ms` is short; what is
//! too much goes when a segment was rolled. After records were deleted on request, their files go, and where the log starts is
//! written down, at the next [`TICK`].

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_base::Offset;
use ottla_storage::{Deleted, Log, os};
use tracing::{error, info};

use super::directories::Directory;
use super::partition::Partition;
use super::{Partitions, checkpoints};
use crate::config::{Config, NEVER};
use crate::node::clock;
use crate::threads;

/// How often the timers are looked at, and how soon time-based flushes follow their `flush.ms`, where
/// `log.flush.scheduler.interval.ms` does not say so.
const TICK: Duration = Duration::from_millis(250);
/// Where a disk is full, what may be deleted is looked for so often.
const RETENTION_WHEN_FULL: Duration = Duration::from_secs(5);

/// When which work is due.
struct Timer {
    every: Duration,
    next: Instant,
}

impl Timer {
    fn new(every: Duration, first: Duration) -> Self {
        Self { every: every.max(TICK), next: Instant::now() + first }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

/// The threads, one a log directory. Dropped, they end.
pub struct Housekeeping {
    /// Gone when they are to end.
    stop: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Housekeeping {
    /// Starts the threads of all directories that are online.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(partitions: &Arc<Partitions>, config: &Arc<Config>) -> io::Result<Self> {
        let (begun, mut this) = (Instant::now(), Self { stop: Vec::new(), threads: Vec::new() });
        for directory in partitions.directories().iter().filter(|directory| directory.is_online()) {
            let (stop, stopped) = mpsc::channel();
            let (partitions, config, directory) = (Arc::clone(partitions), Arc::clone(config), Arc::clone(directory));
            let thread = std::thread::Builder::new().name("ottla-housekeeping".to_owned());
            this.stop.push(stop);
            this.threads.push(thread.spawn(move || run(&partitions, &directory, &config, begun, &stopped))?);
        }
        Ok(this)
    }

    /// Tells them to end, and does not wait for it.
    pub fn stop_soon(&mut self) {
        self.stop.clear();
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.stop_soon();
        self.threads.drain(..).for_each(threads::join);
    }
}

/// Looks after the logs of one directory until it fails or somebody says stop. All directories count their time from `begun`,
/// since logs move between them.
fn run(partitions: &Partitions, directory: &Directory, config: &Config, begun: Instant, stop: &Receiver<()>) {
    let first = config.log_initial_task_delay;
    let most_ms = config.log_retention_check_interval.as_millis() as i64;
    let retention = Retention { first_ms: most_ms.min(first.as_millis() as i64), most_ms };
    let mut idle_files = Timer::new(config.log_retention_check_interval, config.log_retention_check_interval);
    let mut points = Timer::new(config.log_flush_offset_checkpoint_interval, first);
    let mut starts = Timer::new(config.log_flush_start_offset_checkpoint_interval, first);
    let mut high_watermarks = Timer::new(config.replica_high_watermark_checkpoint_interval, Duration::ZERO);
    let mut retention_when_full = Timer::new(RETENTION_WHEN_FULL, Duration::ZERO);
    let mut flushes = Timer::new(config.log_flush_scheduler_interval, Duration::ZERO);
    // Differs from Kafka, which obeys no flush.ms there.
    let flushes_anytime = config.log_flush_scheduler_interval >= NEVER;
    let mut producers = Timer::new(config.producer_id_expiration_check_interval, first);
    let mut shortage = Shortage { count: os::shortages(), next: begun };
    while matches!(stop.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) && directory.is_online() {
        let (now, now_ms) = (Instant::now(), clock::now_ms());
        let here: Vec<_> = partitions.all().into_iter().filter(|partition| partition.lies_in(directory)).collect();
        look_after_touched(&here, flushes_anytime || flushes.is_due(now), now_ms, &mut shortage);
        retention.enforce_due(&here, (now - begun).as_millis() as i64, now_ms);
        shortage.relieve(&here);
        if idle_files.is_due(now) {
            here.iter().for_each(|partition| partition.with_log(|log, _| log.close_idle_files()));
        }
        if delete_before_starts(&here, directory, now_ms) || starts.is_due(now) {
            // What failed was told.
            let _ = checkpoints::write_log_starts(partitions, directory);
        }
        if directory.is_full() && retention_when_full.is_due(now) {
            for partition in &here {
                delete(partition, |log, high_watermark| log.enforce_retention(now_ms, high_watermark));
            }
        }
        report("remove the folders of deleted partitions", partitions.purge_doomed_in(directory, now_ms));
        if producers.is_due(now) {
            for partition in &here {
                partition.with_log(|log, _| log.expire_producers(now_ms));
            }
        }
        if points.is_due(now) {
            checkpoints::write(partitions, directory);
        }
        if high_watermarks.is_due(now) && here.iter().any(|partition| partition.is_replicated()) {
            checkpoints::write_high_watermarks(partitions, directory);
        }
    }
}

/// Those who find no file may come again and again, and there may be none to close.
const RELIEVES_EVERY: Duration = Duration::from_secs(1);

/// Closes files for others who find none.
struct Shortage {
    /// How often that was so when it was looked at last.
    count: u64,
    /// When it is looked at again.
    next: Instant,
}

impl Shortage {
    /// Closes the files that these logs need not have open, if somebody found none.
    fn relieve(&mut self, all: &[Arc<Partition>]) {
        let now = Instant::now();
        if now < self.next || os::shortages() == self.count {
            return;
        }
        (self.count, self.next) = (os::shortages(), now + RELIEVES_EVERY);
        for partition in all {
            let has_to_be_flushed = partition.with_log(|log, _| {
                log.close_idle_files();
                log.close_idle_active()
            });
            if has_to_be_flushed {
                partition.want_flush();
            }
        }
    }
}

/// Flushes what is due, and unlinks what was deleted: of the partitions that something happened to, so that many idle ones
/// cost nothing. `flush.ms` is looked at where `may_flush` says so.
fn look_after_touched(all: &[Arc<Partition>], may_flush: bool, now_ms: i64, shortage: &mut Shortage) {
    for partition in all.iter().filter(|partition| partition.take_touched()) {
        // Not only afterwards: to flush thousands of segments, which closes their files too, may take minutes.
        shortage.relieve(all);
        // A topic that was deleted since may be gone with its folder.
        if let Err(error) = partition.with_log(|log, _| log.check_there())
            && !partition.is_gone()
        {
            partition.broken(&error);
            continue;
        }
        // Before flushing: what goes need not be on the disk.
        if partition.with_log(|log, _| log.has_rolled()) {
            delete(partition, |log, high_watermark| log.delete_excess(now_ms, high_watermark));
        }
        let (due, rolled) = partition.with_log(|log, _| {
            // What is owed is being flushed, unless that could not begin.
            let due = (may_flush && log.is_flush_due(now_ms)) || log.owes_flush();
            (due, log.has_unflushed_segments())
        });
        if due {
            partition.want_flush();
        } else if rolled {
            partition.flush_sealed(now_ms);
        }
        if let Err(error) = partition.purge_deleted(now_ms) {
            partition.broken(&error);
        }
        if partition.with_log(|log, _| log.has_work_ahead()) {
            partition.touch();
        }
    }
}

/// How long retention waits at most, by a clock that begins with the housekeeping.
///
/// Differs from Kafka: `log.initial.task.delay.ms` does not put it off longer than `log.retention.check.interval.ms`.
struct Retention {
    /// The first time after a start ...
    first_ms: i64,
    /// ... and from one time to the next.
    most_ms: i64,
}

impl Retention {
    /// Enforces it where that is due by now, and decides when it is next.
    fn enforce_due(&self, all: &[Arc<Partition>], elapsed_ms: i64, now_ms: i64) {
        for partition in all {
            match partition.retention_at_ms() {
                None if elapsed_ms < self.first_ms => partition.retain_again(elapsed_ms, self.first_ms),
                None => partition.retain_again(elapsed_ms, self.most_ms),
                Some(at_ms) if at_ms <= elapsed_ms => {
                    partition.retain_again(elapsed_ms, self.most_ms);
                    delete(partition, |log, high_watermark| log.enforce_retention(now_ms, high_watermark));
                }
                Some(_) => {}
            }
        }
    }
}

/// Deletes the files of what was deleted on request, and says whether that was anywhere.
fn delete_before_starts(all: &[Arc<Partition>], directory: &Directory, now_ms: i64) -> bool {
    let mut has_moved = false;
    for partition in all.iter().filter(|partition| partition.take_start_moved()) {
        if !partition.lies_in(directory) {
            // It was moved meanwhile, and where it starts is to be written down in its new directory.
            partition.start_moves();
            continue;
        }
        delete(partition, |log, high_watermark| log.delete_excess(now_ms, high_watermark));
        has_moved = true;
    }
    has_moved
}

fn delete(partition: &Partition, segments: impl FnOnce(&mut Log, Offset) -> ottla_storage::Result<Vec<Deleted>>) {
    let deleted = partition.with_log(|log, high_watermark| match log.check_usable() {
        Ok(()) => segments(log, high_watermark),
        // Whoever found that out has told it.
        Err(_) => Ok(Vec::new()),
    });
    match deleted {
        Ok(deleted) => {
            for segment in &deleted {
                info!(
                    partition = %partition.name, first = %segment.base_offset, end = %segment.end_offset,
                    bytes = segment.size_bytes, because = ?segment.because, "deleted a segment"
                );
            }
            if !deleted.is_empty() {
                partition.touch();
            }
        }
        Err(error) => _ = partition.broken(&error),
    }
}

fn report(what: &str, result: ottla_storage::Result<()>) {
    if let Err(error) = result {
        error!(%error, "cannot {what}");
    }
}

#[cfg(test)]
mod tests {
    use ottla_storage::LogConfig;

    use super::super::tests::{lead, open_log};
    use super::*;

    #[test]
    fn where_a_log_starts_that_was_moved_is_left_to_its_new_directory() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        let partition = lead(&new, open_log(&new, LogConfig::default()));
        let old = Directory::unheld(old, None, Arc::default());
        partition.start_moves();
        let all = [partition];
        assert!(!delete_before_starts(&all, &old, 0), "it lay there when it was looked for");
        let home = all[0].home();
        assert!(delete_before_starts(&all, &home, 0));
        assert!(!delete_before_starts(&all, &home, 0), "once");
    }
}
