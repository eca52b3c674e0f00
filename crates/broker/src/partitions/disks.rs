//! Looks after the log directories: how much room is left in them, and what follows where one fails.
//!
//! ```text
//!   every second, or sooner near the reserve: is it still there? statvfs --> full, or room again
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
use super::directories::{Directory, reserve};
use crate::config::Newest;
use crate::controller::Controller;
use crate::node::PublishedImage;

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

/// The thread that does it. Dropped, it ends.
pub struct Watching {
    partitions: Arc<Partitions>,
    thread: Option<JoinHandle<()>>,
}

impl Disks {
    /// Goes on in a thread of its own. Says there why the broker has to stop, if it has to.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn run(self) -> std::io::Result<(Watching, oneshot::Receiver<String>)> {
        let (fatal, failed) = oneshot::channel();
        // Nobody is to write before it is known that there is room.
        self.look_at_room();
        let partitions = self.partitions.clone();
        let thread = std::thread::Builder::new().name("ottla-disks".to_owned());
        let thread = thread.spawn(move || self.work(fatal))?;
        Ok((Watching { partitions, thread: Some(thread) }, failed))
    }

    fn work(self, fatal: oneshot::Sender<String>) {
        let mut fatal = Some(fatal);
        let mut told = vec![false; self.partitions.directories().len()];
        // Those that were offline at the start never were registered.
        for (told, directory) in told.iter_mut().zip(self.partitions.directories()) {
            *told = directory.id().is_none();
        }
        loop {
            let is_near = self.look_at_room();
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
            if !self.partitions.watch().wait(if is_near { LOOK_OFTEN } else { LOOK_EVERY }) {
                return;
            }
        }
    }

    /// Compares the free room with what is to be kept, and says whether some directory is near that.
    fn look_at_room(&self) -> bool {
        let set_bytes = self.running.get().disk_reserve_bytes;
        let (mut is_near, mut has_room_again) = (false, false);
        // There may be files again.
        let lacked_files = self.partitions.take_lacks_files();
        for directory in self.partitions.directories().iter().filter(|directory| directory.is_online()) {
            let volume = || os::volume_bytes(directory.path()).map_err(StorageError::io("look at", directory.path()));
            match directory.check_there().and_then(|()| volume()) {
                Ok((total, free)) => {
                    has_room_again |= directory.on_room(total, free, set_bytes);
                    is_near |= free < reserve(total, set_bytes).saturating_add(NEAR_BYTES);
                }
                Err(error) => directory.on_error(&error),
            }
        }
        if (has_room_again || lacked_files) && !self.partitions.failed_topics().is_empty() {
            self.controller.host_again();
        }
        is_near
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
        let directories = self.partitions.directories();
        let of_metadata = directories.iter().find(|directory| directory.path() == self.metadata_path);
        if let Some(failure) = of_metadata.and_then(|directory| directory.failure()) {
            return Some(format!("the log directory of the metadata has failed: {failure}"));
        }
        let failures = directories.iter().map(|directory| directory.failure()).collect::<Option<Vec<_>>>()?;
        let last = failures.last().copied().unwrap_or_default();
        let reason = format!("no log directory is left: {last}");
        error!("{reason}");
        Some(reason)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.partitions.watch().stop();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
