//! Looks after the log directories: how much room is left in them, and what follows where one fails.
//!
//! ```text
//!   of each, every second, or sooner near the reserve: is it still there? statvfs --> full, or room again
//!       room again, or files where the process had none left --> what could not be opened is tried again
//!   a failure: wake whoever waits for its partitions --> tell the controller --> stop, if it was the last, or the metadata's
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_base::BrokerId;
use ottla_metadata::controller::{Command, FailDirectories};
use ottla_storage::{Error as StorageError, os};
use tokio::sync::oneshot;
use tracing::error;

use super::Partitions;
use super::directories::{Directory, Watch, reserve};
use crate::config::Newest;
use crate::controller::Controller;
use crate::node::PublishedImage;
use crate::threads;

/// How often the free room is looked at ...
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// ... and how often where it is near the reserve: what a fast disk takes in a second.
const LOOK_OFTEN: Duration = Duration::from_millis(100);
const NEAR_BYTES: u64 = 4 << 30;

/// Looks after the directories of one broker.
pub struct Disks {
    pub partitions: Arc<Partitions>,
    pub running: Newest,
    pub controller: Controller,
    pub node_id: BrokerId,
    pub published: Arc<PublishedImage>,
    pub metadata_path: PathBuf,
}

/// Looks at the room in one directory.
pub struct Room {
    pub directory: Arc<Directory>,
    pub running: Newest,
}

/// What a look has found.
struct Look {
    /// The reserve is near.
    is_near: bool,
    is_room_again: bool,
}

/// The threads that do it. Dropped, they end.
pub struct Watching {
    partitions: Arc<Partitions>,
    threads: Vec<JoinHandle<()>>,
}

impl Disks {
    /// Goes on in threads of its own. Says there why the broker has to stop, if it has to.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn run(self) -> std::io::Result<(Watching, oneshot::Receiver<String>)> {
        let (fatal, failed) = oneshot::channel();
        let mut watching = Watching { partitions: self.partitions.clone(), threads: Vec::new() };
        let (partitions, controller) = (self.partitions.clone(), self.controller.clone());
        let host_again = move || {
            if !partitions.failed_topics().is_empty() {
                controller.host_again();
            }
        };
        for directory in self.partitions.directories().iter().filter(|directory| directory.is_online()) {
            let room = Room { directory: directory.clone(), running: self.running.clone() };
            watching.threads.push(room.look_after(self.partitions.watch(), host_again.clone())?);
        }
        let thread = std::thread::Builder::new().name("ottla-disks".to_owned());
        watching.threads.push(thread.spawn(move || self.work(fatal, host_again))?);
        Ok((watching, failed))
    }

    fn work(self, fatal: oneshot::Sender<String>, host_again: impl Fn()) {
        let mut fatal = Some(fatal);
        let mut told = vec![false; self.partitions.directories().len()];
        // Those that were offline at the start never were registered.
        for (told, directory) in told.iter_mut().zip(self.partitions.directories()) {
            *told = directory.id().is_none();
        }
        loop {
            for (told, directory) in told.iter_mut().zip(self.partitions.directories()) {
                if !directory.is_online() && !std::mem::replace(told, true) {
                    self.tell(directory);
                }
            }
            if let Some(reason) = self.reason_to_stop()
                && let Some(fatal) = fatal.take()
            {
                // Whoever stops already does not listen.
                let _ = fatal.send(reason);
            }
            if self.partitions.take_lacks_files() {
                // There may be files again.
                host_again();
            }
            if !self.partitions.watch().wait(LOOK_EVERY) {
                return;
            }
        }
    }

    fn tell(&self, directory: &Directory) {
        for partition in self.partitions.all() {
            if partition.home().path() == directory.path() {
                partition.wake_all();
            }
        }
        let image = self.published.get();
        if let (Some(broker), Some(directory)) = (image.broker(self.node_id), directory.id()) {
            let command = FailDirectories { id: broker.id, epoch: broker.epoch, directories: vec![directory] };
            self.controller.tell(Command::FailDirectories(command));
        }
    }

    /// Why the broker cannot go on, if it cannot.
    fn reason_to_stop(&self) -> Option<String> {
        // Each is looked at once: one that fails just now counts for both questions, or for neither.
        let directories = self.partitions.directories();
        let failures: Vec<_> = directories.iter().map(|directory| directory.failure()).collect();
        let of_metadata = directories.iter().position(|directory| directory.path() == self.metadata_path);
        if let Some(failure) = of_metadata.and_then(|index| failures[index]) {
            return Some(format!("the log directory of the metadata has failed: {failure}"));
        }
        let failures: Vec<_> = failures.into_iter().collect::<Option<_>>()?;
        let last = failures.last().copied().unwrap_or_default();
        let reason = format!("no log directory is left: {last}");
        error!("{reason}");
        Some(reason)
    }
}

impl Room {
    /// Looks at it now, since nobody is to write before it is known that there is room, and goes on in a thread of its own: a disk
    /// that does not answer holds up the looks at no other. Calls `has_room_again` where it was full before.
    pub fn look_after(
        self,
        watch: &Arc<Watch>,
        has_room_again: impl Fn() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let (watch, mut look) = (Arc::clone(watch), self.look());
        let work = move || {
            while let Some(Look { is_near, is_room_again }) = look {
                if is_room_again {
                    has_room_again();
                }
                if !watch.rest(if is_near { LOOK_OFTEN } else { LOOK_EVERY }) {
                    return;
                }
                look = self.look();
            }
        };
        std::thread::Builder::new().name("ottla-disk-room".to_owned()).spawn(work)
    }

    /// Compares the free room with what is to be kept; nothing is found where the directory is offline.
    fn look(&self) -> Option<Look> {
        let (directory, set_bytes) = (&self.directory, self.running.get().disk_reserve_bytes);
        let volume = || os::volume_bytes(directory.path()).map_err(StorageError::io("look at", directory.path()));
        match directory.check_there().and_then(|()| volume()) {
            Ok((total, free)) => {
                let is_room_again = directory.on_room(total, free, set_bytes);
                let is_near = free < reserve(total, set_bytes).saturating_add(NEAR_BYTES);
                directory.is_online().then_some(Look { is_near, is_room_again })
            }
            Err(error) => {
                directory.on_error(&error);
                directory.is_online().then_some(Look { is_near: false, is_room_again: false })
            }
        }
    }
}

impl Watching {
    /// Tells them to end, and does not wait for it.
    pub fn stop_soon(&self) {
        self.partitions.watch().stop();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop_soon();
        self.threads.drain(..).for_each(threads::join);
    }
}
