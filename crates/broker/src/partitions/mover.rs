//! The thread that moves partitions between log directories: one piece of each in turn.
//!
//! ```text
//!   queue --the first that is due--> copy a piece, or flush, or finish --> the end of the queue
//!     ^                                 |  the disk is full, or it fails
//!     +------ later: 1 s ... 1 min -----+                     the others go on meanwhile
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_base::Timestamp;
use ottla_metadata::controller::{AssignDirectories, Command, PlacedReplica};
use tracing::{error, info};

use super::directories::Directory;
use super::moving::{Copied, Finished};
use super::partition::Partition;
use super::{Partitions, checkpoints};
use crate::config::Newest;
use crate::controller::Controller;
use crate::node::{PublishedImage, clock};
use crate::threads;

/// How long a move rests that cannot go on: its disk may have room again.
const RESTS: Duration = Duration::from_secs(1);
/// One that has failed rests twice as long each time, up to this.
const RESTS_AT_MOST: Duration = Duration::from_secs(60);
/// How often the queue is looked at, should nobody wake the thread.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The partitions that are being moved, in turn.
#[derive(Default)]
pub struct Moves {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    turns: VecDeque<Turn>,
    is_stopping: bool,
}

/// A partition that waits to be moved on.
struct Turn {
    partition: Arc<Partition>,
    due: Instant,
    /// How often in a row it has failed, and why it did last.
    failures: u32,
    failure: String,
}

impl Turn {
    fn new(partition: &Arc<Partition>) -> Self {
        Self { partition: partition.clone(), due: Instant::now(), failures: 0, failure: String::new() }
    }

    /// It rests, the longer the more often it has failed; says whether it has failed like this before.
    fn has_failed(&mut self, failure: String, now: Instant) -> bool {
        self.due = now + RESTS.saturating_mul(1 << self.failures.min(16)).min(RESTS_AT_MOST);
        self.failures += 1;
        let is_known = self.failure == failure;
        self.failure = failure;
        is_known
    }

    fn went_well(&mut self) {
        (self.failures, self.failure) = (0, String::new());
    }
}

impl Waiting {
    /// The first that is due.
    fn take(&mut self, now: Instant) -> Option<Turn> {
        let place = self.turns.iter().position(|turn| turn.due <= now)?;
        self.turns.remove(place)
    }

    /// How long nothing is to be done.
    fn idle_for(&self, now: Instant) -> Duration {
        let soonest = self.turns.iter().map(|turn| turn.due.saturating_duration_since(now)).min();
        soonest.map_or(LOOK_EVERY, |soonest| soonest.min(LOOK_EVERY))
    }

    fn add(&mut self, turn: Turn) {
        if !self.turns.iter().any(|other| Arc::ptr_eq(&other.partition, &turn.partition)) {
            self.turns.push_back(turn);
        }
    }
}

impl Moves {
    /// Has a partition looked after whose move has begun.
    pub fn add(&self, partition: &Arc<Partition>) {
        self.lock().add(Turn::new(partition));
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Turn> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_stopping {
                return None;
            }
            let now = Instant::now();
            if let Some(turn) = waiting.take(now) {
                return Some(turn);
            }
            let idle_for = waiting.idle_for(now);
            let waited = self.changed.wait_timeout(waiting, idle_for);
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

impl Partitions {
    /// Ends a move, of which all was copied. `told` hears where the partition lies now, before anything is done to the old folder:
    /// should its disk fail then, the partition is no longer there.
    ///
    /// # Errors
    /// The partition stays where it is; the move may go on later.
    pub fn finish_move(
        &self,
        partition: &Arc<Partition>,
        now_ms: Timestamp,
        told: impl FnOnce(&Directory),
    ) -> ottla_storage::Result<()> {
        let _leaving = partition.move_state.leaving();
        let from = partition.home();
        let arrives = |to: &Directory| {
            self.cleaner.carry(&partition.name, from.path(), to.path())?;
            checkpoints::note_arrival(to, &partition.name, partition.positions().log_start)
        };
        let moved = match partition.finish_move(now_ms, arrives)? {
            Finished::Moved(moved) => moved,
            Finished::Ended(copy) => {
                copy.into_iter().for_each(|copy| self.doom(copy, now_ms));
                return Ok(());
            }
        };
        info!(partition = %partition.name, directory = %moved.to.path().display(), "moved");
        told(&moved.to);
        if let Some(folder) = moved.leave(&partition.name) {
            self.cleaner.forget(from.path(), &partition.name);
            self.doom(folder, now_ms.saturating_add(partition.settings().file_delete_delay_ms));
        }
        Ok(())
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
        while let Some(mut turn) = moves.next() {
            let begun = Instant::now();
            let partition = turn.partition.clone();
            if partition.moving().is_some_and(|moving| moving.home.is_full()) {
                turn.due = begun + RESTS;
                moves.lock().add(turn);
                continue;
            }
            let done = match partition.copy_some(clock::now_ms()) {
                Ok(Copied::All) => self.flush_or_finish(&partition),
                done => done,
            };
            let mut pause = Duration::ZERO;
            match done {
                Ok(Copied::Nothing) => continue,
                Ok(copied) => {
                    turn.went_well();
                    if let Copied::Some(bytes) = copied {
                        pause = self.pause(bytes).saturating_sub(begun.elapsed());
                    }
                }
                Err(error) => {
                    if !turn.has_failed(error.to_string(), Instant::now()) {
                        error!(partition = %partition.name, %error, "the partition cannot be moved on; it is tried again");
                    }
                    if partition.give_up_move() {
                        continue;
                    }
                }
            }
            moves.lock().add(turn);
            if !moves.rest(pause) {
                return;
            }
        }
    }

    /// All was copied just now. While producers wait, little is to be copied and to be flushed.
    fn flush_or_finish(&self, partition: &Arc<Partition>) -> ottla_storage::Result<Copied> {
        let now_ms = clock::now_ms();
        if partition.flush_copy(now_ms)? {
            return Ok(Copied::All);
        }
        self.partitions.finish_move(partition, now_ms, |home| self.tell(partition, home))?;
        Ok(Copied::Nothing)
    }

    /// Tells the controller where a partition lies now.
    fn tell(&self, partition: &Partition, home: &Directory) {
        let image = self.published.get();
        if let (Some(broker), Some(directory)) = (image.broker(self.node_id), home.id()) {
            let (topic_id, index) = (partition.topic_id, partition.name.partition);
            let replicas = vec![PlacedReplica { topic_id, partition: index, directory }];
            let command = AssignDirectories { id: broker.id, epoch: broker.epoch, replicas };
            self.controller.tell(Command::AssignDirectories(command));
        }
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

impl MoverThread {
    /// Tells it to end, and does not wait for it.
    pub fn stop_soon(&self) {
        self.partitions.moves.stop();
    }
}

impl Drop for MoverThread {
    fn drop(&mut self) {
        self.stop_soon();
        self.thread.take().into_iter().for_each(threads::join);
    }
}

#[cfg(test)]
mod tests {
    use ottla_storage::LogConfig;

    use super::super::tests::{lead, open_log};
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_move_that_cannot_go_on_rests_longer_each_time_and_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let [failing, other] = ["a", "b"].map(|name| {
            let folder = folder.path().join(name);
            lead(&folder, open_log(&folder, LogConfig::default()))
        });
        let begun = Instant::now() + LOOK_EVERY;
        let mut waiting = Waiting::default();
        for partition in [&failing, &other, &failing] {
            waiting.add(Turn::new(partition));
        }
        let mut turn = waiting.take(begun).unwrap();
        assert!(Arc::ptr_eq(&turn.partition, &failing));
        assert!(!turn.has_failed("no room".to_owned(), begun), "it is told");
        assert!(turn.has_failed("no room".to_owned(), begun), "once");
        assert!(!turn.has_failed("a bad sector".to_owned(), begun));
        waiting.add(turn);
        for _ in 0..3 {
            let turn = waiting.take(begun).unwrap();
            assert!(Arc::ptr_eq(&turn.partition, &other));
            waiting.add(turn);
        }
        _ = waiting.take(begun);
        assert!(waiting.take(begun + seconds(4) - Duration::from_millis(1)).is_none());
        assert_eq!(waiting.idle_for(begun + seconds(4) - Duration::from_millis(1)), Duration::from_millis(1));
        let mut turn = waiting.take(begun + seconds(4)).unwrap();
        for _ in 0..100 {
            turn.has_failed("no room".to_owned(), begun);
        }
        assert_eq!(turn.due, begun + RESTS_AT_MOST);
        turn.went_well();
        assert!(!turn.has_failed("no room".to_owned(), begun));
        assert_eq!(turn.due, begun + RESTS);
    }
}
