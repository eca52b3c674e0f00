//! The threads that work beside those who serve connections, and how they end.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::Config;
use crate::controller::Controller;
use crate::coordinators::Threads as GroupThreads;
use crate::node::PublishedImage;
use crate::partitions::disks::{Disks, Watching};
use crate::partitions::flusher::Flushers;
use crate::partitions::housekeeping::Housekeeping;
use crate::partitions::mover::{Mover, MoverThread};
use crate::partitions::{Partitions, cleaner};

/// All of them. Dropped, they end in this order, and have ended; whoever drops it waits for that.
pub struct Threads {
    groups: GroupThreads,
    // These have a way to the controller.
    mover: MoverThread,
    disks: Watching,
    flushers: Flushers,
    housekeeping: Housekeeping,
    cleaner: Periodic,
}

/// A thread that works now and then, until it is told to stop. Dropped, it is, and has ended.
struct Periodic {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Threads {
    /// Begins those that are not yet there, and says whom the disks tell why the broker cannot go on.
    ///
    /// # Errors
    /// There can be no more threads; those that were there have ended.
    pub fn start(
        config: &Arc<Config>,
        partitions: &Arc<Partitions>,
        published: &Arc<PublishedImage>,
        controller: &Controller,
        (groups, flushers): (GroupThreads, Flushers),
    ) -> std::io::Result<(Self, oneshot::Receiver<String>)> {
        let disks = Disks {
            partitions: partitions.clone(),
            running: config.running.clone(),
            controller: controller.clone(),
            node_id: config.node_id,
            published: published.clone(),
            metadata_path: config.metadata_log_dir.clone(),
        };
        let (disks, failed) = disks.run()?;
        let mover = Mover {
            partitions: partitions.clone(),
            running: config.running.clone(),
            controller: controller.clone(),
            published: published.clone(),
            node_id: config.node_id,
        };
        let mover = mover.run()?;
        let housekeeping = Housekeeping::start(partitions, config)?;
        let (partitions, config) = (partitions.clone(), config.clone());
        let work = move |stop: &Receiver<()>| cleaner::run(&partitions, &config, stop);
        let cleaner = Periodic::start("ottla-cleaner", work)?;
        let threads = Self { groups, mover, disks, flushers, housekeeping, cleaner };
        Ok((threads, failed))
    }

    /// Tells all of them to stop, and waits for none: one that waits for its disk holds up no other.
    pub fn stop_soon(&mut self) {
        self.groups.stop_soon();
        self.mover.stop_soon();
        self.disks.stop_soon();
        self.flushers.stop_soon();
        self.housekeeping.stop_soon();
        self.cleaner.stop.take();
    }
}

impl Periodic {
    fn start(name: &str, work: impl FnOnce(&Receiver<()>) + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().into_iter().for_each(join);
    }
}

/// Waits until a thread that was told to end has ended. Where it has panicked, so does this one, unless it does already.
pub fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join()
        && !std::thread::panicking()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Does something in a thread of its own, and waits for it for `limit` at most. `None` where it goes on, or where there can be no
/// more threads.
pub fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    // Who does not wait any more does not listen.
    let thread =
        std::thread::Builder::new().name("ottla-ending".to_owned()).spawn(move || _ = tell.send(work())).ok()?;
    match told.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => None,
        done => {
            join(thread);
            done.ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_not_waited_for() {
        let (end, ended) = mpsc::channel::<()>();
        let work = move || _ = ended.recv();
        assert_eq!(within(Duration::from_millis(1), work), None);
        drop(end);
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let panicked = std::panic::catch_unwind(|| within(Duration::from_secs(60), || panic!("a bug")));
        assert!(panicked.is_err());
    }

    #[test]
    fn who_is_dropped_has_ended() {
        let (tell, told) = mpsc::channel();
        let work = move |stop: &Receiver<()>| {
            // It is the sender that goes.
            assert!(stop.recv().is_err());
            tell.send("ended").unwrap();
        };
        let periodic = Periodic::start("test", work).unwrap();
        assert!(told.try_recv().is_err(), "it goes on");
        drop(periodic);
        assert_eq!(told.try_recv(), Ok("ended"));
    }
}
