//! Runs the controller: one thread that decides, writes the metadata log, replays, and lets the node take over what changed.
//!
//! ```text
//!   handler --Command--> [channel] --> decide --> append + fsync --> replay --> publish ---------------------> answer
//!                            ^                                                    \-> logs are made (makers.rs) -\
//!                            \-------------------------------- made: coordinators, directories <-----------------/
//! ```
//!
//! Commands wait in the channel, and what waits is bounded: before a handler makes a command it asks for a [`Place`], which it
//! keeps until the answer.
//!
//! A command is answered after the node has taken it over: whoever sees the answer also sees the new image, and finds the logs of
//! the topics that it has created. Other commands go on meanwhile.

pub mod bootstrap;
mod intact;
pub mod metadata_log;
mod publish;
mod reserve;
mod snapshot;
mod snapshot_times;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_base::{BrokerEpoch, Shard, Uuid};
use ottla_metadata::controller::{
    Answer, AssignDirectories, Command, Controller as Machine, CordonDirectories, Effect, Input, PlacedReplica, Ticket,
    may_cordon,
};
use ottla_metadata::image::Image;
use ottla_protocol::error::ErrorCode;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

pub use self::metadata_log::{LogExtent, MetadataLog};
pub use self::publish::{Publisher, broker_configs, configs};

use self::snapshot_times::SnapshotTimes;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::net::memory::{FrameMemory, Share};
use crate::node::clock;
use crate::partitions::makers::{Changes, Makers};
use crate::threads;

/// What all commands that wait may take, with their answers.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// About what a command takes, for itself, for each topic in it, and for each byte of the request.
const COMMAND_BYTES: usize = 1024;
const ENTRY_BYTES: usize = 512;
const BYTES_PER_BYTE: usize = 8;
/// So many replicas are assigned to their directories in one batch of records.
const ASSIGNED_AT_ONCE: usize = 1000;
/// How long the end waits for logs that are being made.
const MAKERS_END_WITHIN: Duration = Duration::from_secs(2);

/// What the controller says.
type Answered = std::result::Result<Answer, Unanswered>;
/// Where that goes. Where nobody answers any more, it is dropped.
type Answering = Box<dyn FnOnce(Answered) + Send>;

/// What is on its way to the controller.
enum Asked {
    Command(Box<Command>, Answering),
    /// The logs are made, or removed, that a command has asked for, if it was one.
    Made(Option<(Answer, Answering)>),
    /// To host once more what could not be; true until it begins.
    HostAgain(Arc<AtomicBool>),
    /// Nobody asks any more.
    End,
}

/// Why a command has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The controller has stopped.
    Stopped,
    /// What was decided could not be written: nothing of it is there.
    NotWritten,
}

/// The way to the controller.
#[derive(Clone, Debug)]
pub struct Controller {
    way: Arc<Way>,
    waiting: Arc<FrameMemory>,
    /// It was asked to host once more what could not be, and has not begun.
    hosts_again: Arc<AtomicBool>,
    log_extent: Arc<Mutex<LogExtent>>,
}

/// Room for a command that waits.
#[derive(Debug)]
pub struct Place {
    way: Arc<Way>,
    _share: Share,
}

/// The channel to the controller's thread, which ends when nobody else has it any more.
#[derive(Debug)]
struct Way(Sender<Asked>);

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
    makers: Makers,
    /// What follows from commands of its own.
    unasked: Changes,
    config: Arc<Config>,
    snapshot_times: SnapshotTimes,
    /// What others may know of the log.
    log_extent: Arc<Mutex<LogExtent>>,
}

impl Controller {
    fn new(commands: Sender<Asked>, log_extent: Arc<Mutex<LogExtent>>) -> Self {
        let waiting = FrameMemory::new(WAITING_BYTES_MAX);
        Self { way: Arc::new(Way(commands)), waiting, hosts_again: Arc::default(), log_extent }
    }

    /// One that answers so, in a thread of its own until nobody asks any more.
    #[cfg(test)]
    pub fn answered_by(mut answer: impl FnMut(&Command) -> Answer + Send + 'static) -> Self {
        let (commands, asked) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(Asked::Command(command, answering)) = asked.recv() {
                answering(Ok(answer(&command)));
            }
        });
        Self::new(commands, Arc::default())
    }

    /// How large the metadata log is.
    pub fn log_extent(&self) -> LogExtent {
        *self.log_extent.lock().expect("nobody panics while holding this lock")
    }

    /// Room for a command with so many entries, of a request of so many bytes; `None` where too much waits already: then the
    /// client is told to try again.
    pub fn place(&self, entries: usize, request_bytes: usize) -> Option<Place> {
        let share = self.waiting.try_share(command_bytes(entries, request_bytes))?;
        Some(Place { way: self.way.clone(), _share: share })
    }

    /// Has a command of the broker's own carried out, whatever is answered.
    pub fn tell(&self, command: Command) {
        self.ask_then(command, |_| ());
    }

    /// Has a command of the broker's own carried out, and the answer used on the controller's thread, whoever waits for what
    /// follows from it.
    pub fn ask_then(&self, command: Command, then: impl FnOnce(Answered) + Send + 'static) {
        // Without a controller the broker stops.
        let _ = self.way.0.send(Asked::Command(Box::new(command), Box::new(then)));
    }

    /// Ends it after what was asked for so far, though others may have a way to it.
    pub fn end(&self) {
        let _ = self.way.0.send(Asked::End);
    }

    /// Has those partitions hosted whose logs could not be opened before: once for all who ask until it begins.
    pub fn host_again(&self) {
        if !self.hosts_again.swap(true, Ordering::AcqRel) {
            let _ = self.way.0.send(Asked::HostAgain(Arc::clone(&self.hosts_again)));
        }
    }
}

/// About what a command with so many entries takes, of a request of so many bytes.
pub fn command_bytes(entries: usize, request_bytes: usize) -> usize {
    let of_entries = entries.saturating_mul(ENTRY_BYTES);
    request_bytes.saturating_mul(BYTES_PER_BYTE).saturating_add(of_entries).saturating_add(COMMAND_BYTES)
}

impl Place {
    /// Asks, and waits for the answer. The place may be kept until that has been used up.
    pub async fn ask(&self, command: Command) -> Answered {
        let (tell, answered) = oneshot::channel();
        // Whoever asked may have gone away.
        let answer = Box::new(move |answer| drop(tell.send(answer)));
        self.way.0.send(Asked::Command(Box::new(command), answer)).map_err(|_| Unanswered::Stopped)?;
        answered.await.unwrap_or(Err(Unanswered::Stopped))
    }
}

impl Host {
    /// Opens the metadata log. Nothing is published yet.
    ///
    /// # Errors
    /// `LostMetadata` where there is none, though there are partitions: they would be taken for strays; `UnreadBesideBlank` where
    /// there may be some.
    pub fn open(config: Arc<Config>, cluster_id: &str, publisher: Publisher) -> Result<Self> {
        let found = publisher.partitions.any_found();
        let (log, image) = MetadataLog::open(&config, cluster_id, found.as_ref(), clock::now_ms())?;
        let machine = Machine::new(image, crate::config::table::settings());
        let makers = Makers::start(publisher.partitions.clone())
            .map_err(|source| Error::Io { what: "start a thread".to_owned(), source })?;
        let unasked = Changes::default();
        let snapshot_times = SnapshotTimes::new(Instant::now());
        let log_extent = Arc::new(Mutex::new(log.extent()));
        Ok(Self { log, machine, publisher, makers, unasked, config, snapshot_times, log_extent })
    }

    /// What the metadata log says.
    pub fn image(&self) -> &Image {
        self.machine.image()
    }

    /// Decides one command, carries it out, and waits until the logs are made that follow from it.
    pub fn handle(&mut self, command: Command) -> Result<Answer> {
        let (answer, changes) = self.carry_out(command)?;
        let (made, all_made) = mpsc::channel();
        // Nobody else waits for the answer.
        self.makers.begin(changes, move || _ = made.send(()));
        all_made.recv().expect("whoever makes logs tells when they are made");
        self.on_made()?;
        Ok(answer)
    }

    /// Logs were made: notes where the broker has put its new replicas.
    fn on_made(&mut self) -> Result<()> {
        self.publisher.on_made();
        let mut misplaced = self.publisher.partitions.take_misplaced();
        while !misplaced.is_empty() {
            let noted = misplaced[..misplaced.len().min(ASSIGNED_AT_ONCE)].to_vec();
            let count = noted.len();
            if let Err(error) = self.assign(noted) {
                // They are told with the next that are made.
                self.publisher.partitions.add_misplaced(misplaced);
                return Err(error);
            }
            misplaced.drain(..count);
        }
        Ok(())
    }

    /// Notes where the logs lie that were found at the start.
    pub fn note_places(&mut self) -> Result<()> {
        let misplaced = self.publisher.partitions.misplaced_at_start(self.machine.image());
        misplaced.chunks(ASSIGNED_AT_ONCE).try_for_each(|replicas| self.assign(replicas.to_vec()))
    }

    /// Notes which of the directories of this broker take no new replicas, if its registration says otherwise.
    pub fn note_cordoned(&mut self) -> Result<()> {
        let id = self.config.node_id;
        let Some(broker) = self.machine.image().broker(id) else { return Ok(()) };
        let (epoch, directories) = (broker.epoch, self.publisher.partitions.cordoned_ids());
        let is_known = |known: &Vec<Uuid>| {
            known.len() == directories.len() && directories.iter().all(|directory| known.contains(directory))
        };
        if broker.cordoned_log_dirs.as_ref().is_some_and(is_known) || !may_cordon(self.machine.image()) {
            return Ok(());
        }
        let command = Command::CordonDirectories(CordonDirectories { id, epoch, directories });
        let (_, changes) = self.carry_out(command)?;
        self.unasked.append(changes);
        Ok(())
    }

    /// Notes in the metadata in which directories replicas of this broker lie.
    fn assign(&mut self, replicas: Vec<PlacedReplica>) -> Result<()> {
        let id = self.config.node_id;
        let Some(epoch) = self.machine.image().broker(id).map(|broker| broker.epoch) else { return Ok(()) };
        if !replicas.is_empty() {
            let (_, changes) = self.carry_out(Command::AssignDirectories(AssignDirectories { id, epoch, replicas }))?;
            self.unasked.append(changes);
        }
        Ok(())
    }

    /// Gives the answer, and what is still to be done in the log directories.
    fn carry_out(&mut self, command: Command) -> Result<(Answer, Changes)> {
        let now = clock::now();
        let mut changes = Changes::default();
        let outcome = self.machine.decide(now, Input { ticket: Ticket(0), command });
        if !outcome.records.is_empty() {
            let mut at = self.log.append(&outcome.records, self.machine.image().metadata_version(), now.wall_ms)?;
            for record in &outcome.records {
                self.machine.replay(at, record);
                at = at.plus(1);
            }
            self.machine.advance(self.log.end(), self.log.epoch());
            self.tell_extent();
            if cfg!(debug_assertions) {
                self.machine.check();
            }
            changes = self.publisher.publish(self.machine.image());
        }
        let mut effects = outcome.effects.into_iter();
        let Some(Effect::Answer { answer, .. }) = effects.next() else {
            unreachable!("every command is answered");
        };
        Ok((answer, changes))
    }

    /// Goes on in a thread of its own until every [`Controller`] is gone.
    pub fn run(self) -> std::io::Result<(Controller, Running)> {
        let (commands, asked) = mpsc::channel();
        let (running, ended) = oneshot::channel();
        let back = commands.clone();
        let log_extent = Arc::clone(&self.log_extent);
        let work = move || {
            let done = self.work(&asked, &back);
            if let Err(failure) = &done {
                // Whoever stops already does not listen.
                let _ = running.send(failure.to_string());
            }
            done
        };
        let thread = std::thread::Builder::new().name("ottla-controller".to_owned()).spawn(work)?;
        Ok((Controller::new(commands, log_extent), Running { thread, ended }))
    }

    fn work(mut self, asked: &Receiver<Asked>, back: &Sender<Asked>) -> Result<()> {
        loop {
            if !self.unasked.is_empty() {
                let changes = std::mem::take(&mut self.unasked);
                self.begin(changes, None, back);
            }
            let done = match asked.recv().expect("this thread has the other end too") {
                Asked::Command(command, answer) => self.answer(*command, answer, back),
                Asked::Made(answered) => self.answer_made(answered),
                Asked::HostAgain(is_waiting) => {
                    is_waiting.store(false, Ordering::Release);
                    let changes = self.publisher.host_again(self.machine.image());
                    self.begin(changes, None, back);
                    Ok(())
                }
                Asked::End => break,
            };
            if let Err(failure) = done {
                error!(%failure, "the metadata log cannot be written: the controller stops");
                return Err(failure);
            }
            self.take_snapshot_if_due();
        }
        // Whoever makes logs may be waiting for a disk of theirs.
        let closed = self.log.close(clock::now_ms());
        let makers = self.makers;
        if threads::within(MAKERS_END_WITHIN, move || drop(makers)).is_none() {
            warn!("stopping while logs are still being made: a disk does not answer");
        }
        closed
    }

    /// Carries a command out, and answers it, or has it answered when its logs are made.
    ///
    /// # Errors
    /// The metadata log takes no more.
    fn answer(&mut self, command: Command, answer: Answering, back: &Sender<Asked>) -> Result<()> {
        let carried_out = self.carry_out(command);
        // Before whoever has changed that is answered: what he asks for next goes by it.
        if carried_out.is_ok()
            && let Err(failure) = self.note_cordoned()
        {
            self.unless_fatal(failure)?;
        }
        match carried_out {
            Ok((decided, changes)) if changes.is_empty() => answer(Ok(decided)),
            Ok((decided, changes)) => self.begin(changes, Some((decided, answer)), back),
            Err(failure) => {
                self.unless_fatal(failure)?;
                answer(Err(Unanswered::NotWritten));
            }
        }
        Ok(())
    }

    fn begin(&self, changes: Changes, answered: Option<(Answer, Answering)>, back: &Sender<Asked>) {
        let back = back.clone();
        // A controller that has ended answers nobody.
        self.makers.begin(changes, move || _ = back.send(Asked::Made(answered)));
    }

    fn answer_made(&mut self, answered: Option<(Answer, Answering)>) -> Result<()> {
        let noted = self.on_made();
        if let Some((decided, answer)) = answered {
            answer(Ok(decided));
        }
        noted.or_else(|failure| self.unless_fatal(failure))
    }

    /// Goes on after a failure, as where the disk is full: what was begun was taken back, and there may be room for the next
    /// command.
    fn unless_fatal(&self, failure: Error) -> Result<()> {
        if !self.log.is_usable() || failure.is_of_disk() {
            return Err(failure);
        }
        error!(%failure, "the metadata log could not be written: what was asked for last, or where replicas lie, is not in it");
        Ok(())
    }

    fn tell_extent(&self) {
        *self.log_extent.lock().expect("nobody panics while holding this lock") = self.log.extent();
    }

    fn take_snapshot_if_due(&mut self) {
        if !self.snapshot_times.is_due(Instant::now(), self.log.bytes_since_snapshot(), &self.config) {
            return;
        }
        let taken = self.log.take_snapshot(self.machine.image(), clock::now_ms());
        self.snapshot_times.tried(Instant::now(), taken.is_err());
        self.tell_extent();
        match taken {
            Ok(()) => info!(end = %self.log.end(), "wrote a snapshot of the metadata"),
            Err(failure) => error!(%failure, "cannot write a snapshot of the metadata; the log is kept"),
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let _ = self.0.send(Asked::End);
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
    fn what_could_not_be_hosted_is_tried_once_for_all_who_ask() {
        let (commands, asked) = mpsc::channel();
        let controller = Controller::new(commands, Arc::default());
        for _ in 0..2 {
            controller.host_again();
            controller.clone().host_again();
            let Ok(Asked::HostAgain(is_waiting)) = asked.try_recv() else { panic!("nobody asked") };
            assert!(asked.try_recv().is_err());
            is_waiting.store(false, Ordering::Release);
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let (commands, _asked) = mpsc::channel();
        let controller = Controller::new(commands, Arc::default());
        assert!(controller.place(1, 100 << 20).is_none(), "a frame of 100 MiB");
        assert!(controller.place(10_000, 1 << 20).is_some(), "ten thousand topics");
        let places: Vec<_> = std::iter::from_fn(|| controller.place(1, 100)).collect();
        assert!((1000..20_000).contains(&places.len()), "{}", places.len());
        drop(places);
        assert!(controller.place(1, 100).is_some());
    }
}
