//! Runs the controller: one thread that decides, writes the metadata log, replays, and lets the node take over what changed.
//!
//! ```text
//!   handler --Command--> [channel] --> decide --> append + fsync --> replay --> publish --> answer
//! ```
//!
//! Commands wait in the channel, and what waits is bounded: before a handler makes a command it asks for a [`Place`].
//!
//! A command is answered after the node has taken it over: whoever sees the answer also sees the new image.

mod intact;
mod metadata_log;
mod publish;
mod reserve;
mod snapshot;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Instant;

use ottla_base::{BrokerEpoch, Shard};
use ottla_metadata::controller::{
    Answer, AssignDirectories, Command, Controller as Machine, Effect, Input, PlacedReplica, Ticket,
};
use ottla_metadata::image::Image;
use ottla_protocol::error::ErrorCode;
use tokio::sync::oneshot;
use tracing::{error, info};

pub use self::metadata_log::MetadataLog;
pub use self::publish::{Publisher, broker_configs, configs};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::net::memory::{FrameMemory, Share};
use crate::node::clock;

/// What all commands that wait may take, with their answers.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// About what a command takes, for itself, for each topic in it, and for each byte of the request.
const COMMAND_BYTES: usize = 1024;
const ENTRY_BYTES: usize = 512;
const BYTES_PER_BYTE: usize = 8;
/// So many replicas are assigned to their directories in one batch of records.
const ASSIGNED_AT_ONCE: usize = 1000;

/// What is on its way to the controller.
enum Asked {
    Command(Box<Command>, oneshot::Sender<std::result::Result<Answer, Unanswered>>),
    /// To host once more what could not be.
    HostAgain,
}

/// Why a command has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The controller has stopped.
    Stopped,
    /// What was decided could not be written, and nothing of it is there.
    NotWritten,
}

/// The way to the controller.
#[derive(Clone, Debug)]
pub struct Controller {
    commands: Sender<Asked>,
    waiting: Arc<FrameMemory>,
}

/// Room for a command that waits.
#[derive(Debug)]
pub struct Place {
    commands: Sender<Asked>,
    _share: Share,
}

/// The running controller.
pub struct Running {
    thread: JoinHandle<Result<()>>,
    /// Why the thread has ended, if nobody stopped it.
    ended: oneshot::Receiver<String>,
}

/// What the thread works on.
pub struct Host {
    log: MetadataLog,
    machine: Machine,
    publisher: Publisher,
    config: Arc<Config>,
    last_snapshot: Instant,
}

impl Controller {
    fn new(commands: Sender<Asked>) -> Self {
        Self { commands, waiting: FrameMemory::new(WAITING_BYTES_MAX) }
    }

    /// Room for a command with so many entries, of a request of so many bytes; `None` where too much waits already: then the
    /// client is told to try again.
    pub fn place(&self, entries: usize, request_bytes: usize) -> Option<Place> {
        let of_entries = entries.saturating_mul(ENTRY_BYTES);
        let bytes =
            request_bytes.saturating_mul(BYTES_PER_BYTE).saturating_add(of_entries).saturating_add(COMMAND_BYTES);
        let share = self.waiting.try_share(bytes)?;
        Some(Place { commands: self.commands.clone(), _share: share })
    }

    /// Has a command of the broker's own carried out, whatever is answered.
    pub fn tell(&self, command: Command) {
        let (answer, _) = oneshot::channel();
        // Without a controller the broker stops.
        let _ = self.commands.send(Asked::Command(Box::new(command), answer));
    }

    /// Has those partitions hosted whose logs could not be opened before.
    pub fn host_again(&self) {
        let _ = self.commands.send(Asked::HostAgain);
    }
}

impl Place {
    /// Asks, and waits for the answer. The place may be kept until that has been used up.
    pub async fn ask(&self, command: Command) -> std::result::Result<Answer, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Asked::Command(Box::new(command), answer)).map_err(|_| Unanswered::Stopped)?;
        answered.await.unwrap_or(Err(Unanswered::Stopped))
    }
}

impl Host {
    /// Opens the metadata log. Nothing is published yet.
    ///
    /// # Errors
    /// `LostMetadata` where there is none, though there are partitions: they would be taken for strays.
    pub fn open(config: Arc<Config>, cluster_id: &str, publisher: Publisher) -> Result<Self> {
        let (log, image, is_new) = MetadataLog::open(&config, cluster_id, clock::now_ms())?;
        if let (true, Some(partition)) = (is_new, publisher.partitions.any_found()) {
            return Err(Error::LostMetadata { path: log.folder().to_owned(), partition: partition.to_string() });
        }
        let machine = Machine::new(image, crate::config::table::settings());
        Ok(Self { log, machine, publisher, config, last_snapshot: Instant::now() })
    }

    /// What the metadata log says.
    pub fn image(&self) -> &Image {
        self.machine.image()
    }

    /// Decides one command and carries it out; then notes where the broker has put its new replicas.
    pub fn handle(&mut self, command: Command) -> Result<Answer> {
        let answer = self.carry_out(command)?;
        let mut misplaced = self.publisher.partitions.take_misplaced();
        while !misplaced.is_empty() {
            let rest = misplaced.split_off(misplaced.len().min(ASSIGNED_AT_ONCE));
            self.assign(misplaced)?;
            misplaced = rest;
        }
        Ok(answer)
    }

    /// Notes where the logs lie that were found at the start.
    pub fn note_places(&mut self) -> Result<()> {
        let misplaced = self.publisher.partitions.misplaced_at_start(self.machine.image());
        misplaced.chunks(ASSIGNED_AT_ONCE).try_for_each(|replicas| self.assign(replicas.to_vec()))
    }

    /// Notes in the metadata in which directories replicas of this broker lie.
    fn assign(&mut self, replicas: Vec<PlacedReplica>) -> Result<()> {
        let id = self.config.node_id;
        let Some(epoch) = self.machine.image().broker(id).map(|broker| broker.epoch) else { return Ok(()) };
        if !replicas.is_empty() {
            self.carry_out(Command::AssignDirectories(AssignDirectories { id, epoch, replicas }))?;
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command) -> Result<Answer> {
        let now = clock::now();
        let outcome = self.machine.decide(now, Input { ticket: Ticket(0), command });
        if !outcome.records.is_empty() {
            let mut at = self.log.append(&outcome.records, now.wall_ms)?;
            for record in &outcome.records {
                self.machine.replay(at, record);
                at = at.plus(1);
            }
            self.machine.advance(self.log.end(), self.log.epoch());
            self.machine.check();
            self.publisher.publish(self.machine.image());
        }
        let mut effects = outcome.effects.into_iter();
        let Some(Effect::Answer { answer, .. }) = effects.next() else {
            unreachable!("every command is answered");
        };
        Ok(answer)
    }

    /// Goes on in a thread of its own until every [`Controller`] is gone.
    pub fn run(self) -> std::io::Result<(Controller, Running)> {
        let (commands, asked) = mpsc::channel();
        let (running, ended) = oneshot::channel();
        let work = move || {
            let done = self.work(&asked);
            if let Err(failure) = &done {
                // Whoever stops already does not listen.
                let _ = running.send(failure.to_string());
            }
            done
        };
        let thread = std::thread::Builder::new().name("ottla-controller".to_owned()).spawn(work)?;
        Ok((Controller::new(commands), Running { thread, ended }))
    }

    fn work(mut self, asked: &Receiver<Asked>) -> Result<()> {
        while let Ok(asked) = asked.recv() {
            let (command, answer) = match asked {
                Asked::Command(command, answer) => (*command, answer),
                Asked::HostAgain => {
                    self.publisher.host_again(self.machine.image());
                    continue;
                }
            };
            match self.handle(command) {
                // Whoever asked may have gone away.
                Ok(decided) => drop(answer.send(Ok(decided))),
                // As where the disk is full: what was begun was taken back, and there may be room for the next one.
                Err(failure) if self.log.is_usable() && !failure.is_of_disk() => {
                    error!(%failure, "the metadata log could not be written: a command was not carried out");
                    drop(answer.send(Err(Unanswered::NotWritten)));
                }
                Err(failure) => {
                    error!(%failure, "the metadata log cannot be written: the controller stops");
                    return Err(failure);
                }
            }
            self.take_snapshot_if_due();
        }
        self.log.close(clock::now_ms())
    }

    fn take_snapshot_if_due(&mut self) {
        let large = self.log.bytes_since_snapshot() >= self.config.metadata_log_max_record_bytes_between_snapshots;
        let old =
            self.config.metadata_log_max_snapshot_interval.is_some_and(|most| self.last_snapshot.elapsed() >= most);
        if !large && !old {
            return;
        }
        self.last_snapshot = Instant::now();
        match self.log.take_snapshot(self.machine.image(), clock::now_ms()) {
            Ok(()) => info!(end = %self.log.end(), "wrote a snapshot of the metadata"),
            Err(failure) => error!(%failure, "cannot write a snapshot of the metadata; the log is kept"),
        }
    }
}

impl Running {
    /// Waits until the thread has ended, although nobody stopped it, and says why.
    pub async fn ended(&mut self) -> String {
        (&mut self.ended).await.unwrap_or_else(|_| "its thread is gone".to_owned())
    }

    /// Waits for the end.
    pub fn join(self) -> Result<()> {
        self.thread.join().expect("the controller's thread does not panic")
    }
}

impl Unanswered {
    /// What clients are told.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Stopped => ErrorCode::NotController,
            // Not KAFKA_STORAGE_ERROR, after which clients go on trying for a minute.
            Self::NotWritten => ErrorCode::UnknownServerError,
        }
    }

    /// The sentence beside the code.
    pub fn message(self) -> Option<String> {
        (self == Self::NotWritten).then(|| self.to_string())
    }
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the controller has stopped",
            Self::NotWritten => {
                "the metadata log cannot be written: see the broker's log, and whether its disk is full"
            }
        })
    }
}

impl std::error::Error for Unanswered {}

/// The epoch of a broker that was registered.
pub fn epoch_of(answer: Answer) -> std::result::Result<BrokerEpoch, String> {
    match answer {
        Answer::RegisterBroker(Ok(epoch)) => Ok(epoch),
        Answer::RegisterBroker(Err(refused)) => Err(refused.message.unwrap_or_else(|| refused.error.name().to_owned())),
        other => unreachable!("a registration is answered as one, not by {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let (commands, _asked) = mpsc::channel();
        let controller = Controller::new(commands);
        assert!(controller.place(1, 100 << 20).is_none(), "a frame of 100 MiB");
        assert!(controller.place(10_000, 1 << 20).is_some(), "ten thousand topics");
        let places: Vec<_> = std::iter::from_fn(|| controller.place(1, 100)).collect();
        assert!((1000..20_000).contains(&places.len()), "{}", places.len());
        drop(places);
        assert!(controller.place(1, 100).is_some());
    }
}
