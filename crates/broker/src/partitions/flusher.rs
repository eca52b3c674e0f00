//! Forces logs to the disk for all who wait for that: the threads of one log directory, which many partitions share.
//!
//! ```text
//!   append --owes a flush--> queue --> a thread: fsync, without any lock --> recovery point, high watermark, answers
//!     appends that come meanwhile ----------------------------> queue again: the next fsync covers them all
//! ```
//!
//! A partition is in the queue once at most, and one thread at a time flushes it: so the longer an fsync takes, the more
//! records share the next one (group commit).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::directories::Directory;
use super::partition::Partition;
use crate::node::clock;
use crate::threads;

/// So many partitions of one directory are flushed at once: file systems commit the changes of several files together.
const THREADS: usize = 4;
/// When what could not be flushed for want of files is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What waits to be flushed in one directory. It is bounded by the number of its partitions.
#[derive(Debug, Default)]
pub struct Flusher {
    queue: Mutex<Queue>,
    wanted: Condvar,
}

#[derive(Default)]
struct Queue {
    partitions: VecDeque<Arc<Partition>>,
    is_stopping: bool,
}

/// Where a partition is on its way through the queue.
#[derive(Debug, Default)]
pub struct Flushing(AtomicU8);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// It is being flushed, and somebody wants that again.
const AGAIN: u8 = 3;

/// The threads that flush. Dropped, it stops them once they have flushed what waits.
pub struct Flushers {
    directories: Vec<Arc<Directory>>,
    threads: Vec<JoinHandle<()>>,
}

impl Flusher {
    /// Has `partition` flushed soon, with all that is in it by now.
    pub fn want(&self, partition: &Arc<Partition>) {
        if partition.flushing.want() {
            self.push(partition.clone());
        }
    }

    /// Flushes one partition that waits, and says whether there was one.
    #[cfg(test)]
    pub fn run_one(&self) -> bool {
        let partition = self.queue.lock().expect("no panic").partitions.pop_front();
        partition.as_ref().inspect(|partition| self.flush(partition)).is_some()
    }

    fn push(&self, partition: Arc<Partition>) {
        self.queue.lock().expect("nobody panics while holding this lock").partitions.push_back(partition);
        self.wanted.notify_one();
    }

    fn work(&self) {
        while let Some(partition) = self.next() {
            self.flush(&partition);
        }
    }

    fn flush(&self, partition: &Arc<Partition>) {
        partition.flushing.begin();
        if partition.flush(clock::now_ms()) && !self.is_stopping() {
            // Who waits for it goes on waiting, as long as their requests allow.
            std::thread::sleep(AGAIN_AFTER);
            partition.flushing.want();
        }
        if partition.flushing.end() {
            self.push(partition.clone());
        }
    }

    fn next(&self) -> Option<Arc<Partition>> {
        let mut queue = self.queue.lock().expect("nobody panics while holding this lock");
        loop {
            match queue.partitions.pop_front() {
                None if queue.is_stopping => return None,
                None => queue = self.wanted.wait(queue).expect("nobody panics while holding this lock"),
                partition => return partition,
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.queue.lock().expect("nobody panics while holding this lock").is_stopping
    }

    fn stop(&self) {
        self.queue.lock().expect("nobody panics while holding this lock").is_stopping = true;
        self.wanted.notify_all();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("partitions", &self.partitions.len()).finish_non_exhaustive()
    }
}

impl Flushing {
    /// Says whether it is to be put into the queue.
    fn want(&self) -> bool {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(AGAIN),
            _ => None,
        };
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(IDLE)
    }

    fn begin(&self) {
        let before = self.0.swap(RUNNING, Ordering::SeqCst);
        assert_eq!(before, QUEUED, "who is flushed was in the queue, and nobody else flushes it");
    }

    /// Says whether it is to be put into the queue again.
    fn end(&self) -> bool {
        let next = |state| Some(if state == AGAIN { QUEUED } else { IDLE });
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(AGAIN)
    }
}

impl Flushers {
    /// Starts the threads of these directories.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(directories: &[Arc<Directory>]) -> std::io::Result<Self> {
        let online = directories.iter().filter(|directory| directory.is_online()).cloned();
        let mut flushers = Self { directories: online.collect(), threads: Vec::new() };
        for directory in flushers.directories.clone() {
            for _ in 0..THREADS {
                let directory = directory.clone();
                let thread = std::thread::Builder::new().name("ottla-flusher".to_owned());
                flushers.threads.push(thread.spawn(move || directory.flusher.work())?);
            }
        }
        Ok(flushers)
    }
}

impl Flushers {
    /// Tells them to end once they have flushed what waits, and does not wait for it.
    pub fn stop_soon(&self) {
        self.directories.iter().for_each(|directory| directory.flusher.stop());
    }
}

impl Drop for Flushers {
    fn drop(&mut self) {
        self.stop_soon();
        self.threads.drain(..).for_each(threads::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_queued_once_and_flushed_again_if_somebody_came_meanwhile() {
        let flushing = Flushing::default();
        assert_eq!([flushing.want(), flushing.want()], [true, false]);
        flushing.begin();
        assert!(!flushing.want() && !flushing.want(), "whoever flushes it sees to that");
        assert!(flushing.end());
        flushing.begin();
        assert!(!flushing.end());
        assert!(flushing.want());
    }
}
