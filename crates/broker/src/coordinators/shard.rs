//! The groups of one partition of `__consumer_offsets`: the pure coordinator, its log, and who waits for its answers.
//!
//! Answers are made as soon as the records they rest on are written, and go out once these are committed: at once with a single
//! replica, unless the topic's settings ask for a flush. The coordinator is locked before the partition's log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_base::{Offset, ProducerEpoch, ProducerId, Shard as _, Uuid};
use ottla_coordinator::group::{
    Answer, DeletedTopic, Effect, GroupCoordinator, Happened, Input, Limit, OffsetToCommit, Record, Request, Ticket,
    write_error,
};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::records::{Batch, BatchBuilder, Compression};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;
use tracing::{error, warn};

use super::refusals::Refusals;
use super::timers::Timers;
use super::{LISTED_BYTES_MAX, LONG_NAME_BYTES};
use crate::config::Config;
use crate::node::{PublishedImage, clock};
use crate::partitions::append::Placed;
use crate::partitions::leader::Acks;
use crate::partitions::partition::Partition;
use crate::seldom::Seldom;

/// So many steps are taken at once of what only time asks for; requests may come between.
const STEPS_AT_ONCE: usize = 100;

/// What all shards share.
#[derive(Default)]
pub struct Shared {
    pub timers: Timers,
    /// The image that the partitions are led by, which handlers may not see yet.
    pub newest: PublishedImage,
    /// The memory that the members of all groups take, about.
    pub members_bytes: AtomicUsize,
    /// What all groups wrote to themselves with their offsets.
    pub metadata_bytes: AtomicUsize,
    /// What a list of all groups takes, about.
    pub listed_bytes: AtomicUsize,
    /// What found no room.
    pub refusals: Refusals,
    /// How many generations have got their assignment, also in groups that are another broker's by now.
    pub completed_rebalances: AtomicU64,
    /// How many offsets were committed.
    pub committed_offsets: AtomicU64,
    /// How many offsets nobody wanted any more.
    pub expired_offsets: AtomicU64,
    /// How many offsets were deleted by OffsetDelete.
    pub deleted_offsets: AtomicU64,
}

/// The groups of one partition.
pub struct Shard {
    partition: Arc<Partition>,
    compression: Compression,
    /// How long answers wait for what was written.
    commit_timeout: Duration,
    shared: Arc<Shared>,
    /// Records that could not be written.
    unwritten: Seldom,
    state: Mutex<State>,
}

enum State {
    Loading(Box<GroupCoordinator>),
    Active(Box<Active>),
    /// For good: of another broker, or of a log that cannot be read.
    Inactive,
}

struct Active {
    machine: GroupCoordinator,
    /// Whoever asks waits here.
    waiting: BTreeMap<Ticket, oneshot::Sender<Made>>,
    /// After the last record that was written.
    written: Offset,
    next_ticket: u64,
    /// What the timers know.
    deadline: Option<Duration>,
    /// What of the shared memory is of these groups.
    members_bytes: usize,
    metadata_bytes: usize,
    listed_bytes: usize,
    /// What of what has happened was counted.
    happened: Happened,
    /// Whether topics may have been deleted whose offsets are here still.
    may_have_lost_topics: bool,
}

/// An answer that was made.
struct Made {
    answer: Answer,
    /// Up to where the records are that it may rest on.
    until: Offset,
    /// Since when it waits for them.
    at: Instant,
}

/// Where an answer will come.
pub struct Answering {
    answer: oneshot::Receiver<Made>,
    /// Whose records it may rest on, and how long it waits for them; `None` where it rests on none.
    written_to: Option<(Arc<Partition>, Duration)>,
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.written_to.as_ref().map(|(partition, _)| &partition.name);
        f.debug_struct("Answering").field("partition", &name).finish_non_exhaustive()
    }
}

impl Answering {
    /// One that rests on nothing.
    pub fn at_once(answer: Answer) -> Self {
        let (answers, answered) = oneshot::channel();
        // The other end is here.
        let _ = answers.send(Made { answer, until: Offset(0), at: Instant::now() });
        Self { answer: answered, written_to: None }
    }

    /// The answer, or the rest of the waiting for it.
    ///
    /// # Errors
    /// NOT_COORDINATOR, where the groups went to another broker, or what was written cannot be committed.
    pub fn now(mut self) -> Result<Result<Answer, Self>, ErrorCode> {
        match self.answer.try_recv() {
            Ok(made) => match self.is_committed(made.until) {
                Ok(true) => Ok(Ok(made.answer)),
                Ok(false) => {
                    let (again, answered) = oneshot::channel();
                    // The other end is here.
                    let _ = again.send(made);
                    Ok(Err(Self { answer: answered, ..self }))
                }
                Err(_) => Err(ErrorCode::NotCoordinator),
            },
            Err(TryRecvError::Closed) => Err(ErrorCode::NotCoordinator),
            Err(TryRecvError::Empty) => Ok(Err(self)),
        }
    }

    fn is_committed(&self, until: Offset) -> Result<bool, ErrorCode> {
        let written_to = self.written_to.as_ref();
        written_to.map_or(Ok(true), |(partition, _)| partition.is_acknowledged(Acks::All, until))
    }

    /// Waits for the answer, and until the records it rests on are committed.
    ///
    /// # Errors
    /// As for [`Answering::now`]; and COORDINATOR_NOT_AVAILABLE, where that takes too long. What was written stays.
    pub async fn answer(self) -> Result<Answer, ErrorCode> {
        let Made { answer, until, at } = self.answer.await.map_err(|_| ErrorCode::NotCoordinator)?;
        if let Some((partition, timeout)) = &self.written_to {
            // Where both are so, it is committed: whoever asks may look late.
            let acknowledged = tokio::time::timeout_at(at + *timeout, partition.acknowledged(Acks::All, until)).await;
            let timed_out = |_| write_error(ErrorCode::RequestTimedOut);
            acknowledged.map_err(timed_out)?.map_err(|_| ErrorCode::NotCoordinator)?;
        }
        Ok(answer)
    }
}

impl Shard {
    /// Groups that have to be loaded.
    pub fn new(partition: Arc<Partition>, config: &Config, shared: Arc<Shared>) -> Self {
        let machine = Box::new(GroupCoordinator::new(config.groups.clone()));
        Self {
            partition,
            compression: config.offsets_topic.compression,
            commit_timeout: config.offsets_commit_timeout,
            shared,
            unwritten: Seldom::default(),
            state: Mutex::new(State::Loading(machine)),
        }
    }

    /// The partition that holds them.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Asks, and gives where the answer will come.
    pub fn ask(&self, mut request: Request) -> Result<Answering, ErrorCode> {
        let mut state = self.lock();
        if let (State::Loading(_), Request::Heartbeat(_)) = (&*state, &request) {
            // A member is not to leave its group because its coordinator has moved.
            return Ok(Answering::at_once(Answer::Heartbeat(ErrorCode::None)));
        }
        let active = state.active()?;
        if !has_room_in_list(
            self.shared.listed_bytes.load(Ordering::Relaxed),
            active.machine.listing_growth_bytes(&request),
        ) {
            self.shared.refusals.add(Limit::List, request.group_id().map_or("", |group| group), clock::now().monotonic);
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if let Request::OffsetCommit(commit) = &mut request {
            self.mark_gone(&mut commit.offsets);
        }
        let ticket = Ticket(active.next_ticket);
        active.next_ticket += 1;
        let (answer, answered) = oneshot::channel();
        active.waiting.insert(ticket, answer);
        // Whoever asks is told where it was not written.
        let _ = self.step(active, Input::Request { ticket, request });
        Ok(Answering { answer: answered, written_to: Some((self.partition.clone(), self.commit_timeout)) })
    }

    /// Marks offsets of topics that were deleted since they were found. Under the lock: those of a topic that is deleted from now
    /// on are forgotten after they were written.
    fn mark_gone(&self, offsets: &mut [OffsetToCommit]) {
        let image = self.shared.newest.get();
        for offset in offsets {
            let is_it = |id: Uuid| offset.topic_id.is_zero() || offset.topic_id == id;
            offset.is_topic_gone = !image.topic(&offset.topic).is_some_and(|topic| is_it(topic.id));
        }
    }

    /// Looks at the groups.
    pub fn read<T>(&self, look: impl FnOnce(&GroupCoordinator) -> T) -> Result<T, ErrorCode> {
        Ok(look(&self.lock().active()?.machine))
    }

    /// Forgets the offsets of topics that are gone, and of those of which it could not hear, or could not write it.
    pub fn forget_topics(&self, deleted: &[DeletedTopic]) {
        let mut state = self.lock();
        let Ok(active) = state.active() else { return };
        if active.may_have_lost_topics {
            self.forget_lost_topics(active);
        } else if !deleted.is_empty() {
            active.may_have_lost_topics = self.step(active, Input::TopicsDeleted(deleted.to_vec())).is_err();
        }
    }

    /// Compares all offsets with the topics that there are. Under the lock: a topic that is deleted from now on is told of.
    fn forget_lost_topics(&self, active: &mut Active) {
        let image = self.shared.newest.get();
        let committed = active.machine.committed_topics().into_iter();
        let known = committed.filter_map(|name| image.topic(&name).map(|topic| topic.id).map(|id| (name, id)));
        let known = Input::TopicsKnown(known.collect());
        active.may_have_lost_topics = self.step(active, known).is_err();
    }

    /// Takes over one record of the log while it is loaded. Says whether loading is still wanted.
    pub fn load(&self, at: Offset, record: &Record) -> bool {
        match &mut *self.lock() {
            State::Loading(machine) => {
                machine.replay(at, record);
                true
            }
            State::Active(_) | State::Inactive => false,
        }
    }

    /// The log was read to its end, or cannot be.
    pub fn loaded(&self, whole: bool) {
        let mut state = self.lock();
        let State::Loading(machine) = std::mem::replace(&mut *state, State::Inactive) else { return };
        if whole {
            let mut active = Box::new(Active {
                machine: *machine,
                waiting: BTreeMap::new(),
                written: Offset(0),
                next_ticket: 0,
                deadline: None,
                members_bytes: 0,
                metadata_bytes: 0,
                listed_bytes: 0,
                happened: Happened::default(),
                may_have_lost_topics: true,
            });
            // It writes nothing.
            let _ = self.step(&mut active, Input::Loaded);
            self.forget_lost_topics(&mut active);
            *state = State::Active(active);
        }
    }

    /// The groups are another broker's from now on. Whoever waits is told.
    pub fn unload(&self) {
        let mut state = self.lock();
        if let State::Active(active) = &mut *state {
            // It writes nothing.
            let _ = self.step(active, Input::Unloaded);
            self.shared.members_bytes.fetch_sub(active.members_bytes, Ordering::Relaxed);
            self.shared.metadata_bytes.fetch_sub(active.metadata_bytes, Ordering::Relaxed);
            self.shared.listed_bytes.fetch_sub(active.listed_bytes, Ordering::Relaxed);
        }
        *state = State::Inactive;
    }

    /// Does what is due by now, and says when there is more to do.
    pub fn run_due(&self) -> Option<Duration> {
        let mut state = self.lock();
        let active = state.active().ok()?;
        let now = clock::now().monotonic;
        for _ in 0..STEPS_AT_ONCE {
            if active.machine.next_deadline().is_none_or(|deadline| deadline.monotonic > now) {
                break;
            }
            // It is due again where it was not written.
            let _ = self.step(active, Input::Time);
        }
        active.deadline
    }

    /// One step of the machine: decided, written, replayed, answered. Says whether it was written.
    fn step(&self, active: &mut Active, input: Input) -> Result<(), ErrorCode> {
        let now = clock::now();
        let (failure, splits) = (input.failure(), may_be_split(&input));
        let mut outcome = active.machine.decide(now, input);
        let written = self.write(active, &outcome.records, splits, now.wall_ms);
        if let Err(Unwritten { error, written }) = written {
            outcome.records.truncate(written);
            let failed = Input::WriteFailed { failure, error, written: outcome.records };
            outcome = active.machine.decide(now, failed);
            assert!(outcome.records.is_empty(), "a failure is answered, not written");
        }
        outcome.notes.into_iter().for_each(|note| active.machine.note(note));
        for effect in outcome.effects {
            match effect {
                Effect::Answer { ticket, answer } => {
                    let waiting = active.waiting.remove(&ticket).expect("every ticket is answered once");
                    // Whoever asked may have gone away.
                    let _ = waiting.send(Made { answer, until: active.written, at: Instant::now() });
                }
                Effect::Refused { group, limit } => self.shared.refusals.add(limit, &group, now.monotonic),
            }
        }
        let deadline = active.machine.next_deadline().map(|deadline| deadline.monotonic);
        if let Some(next) = deadline
            && active.deadline.is_none_or(|known| next < known)
        {
            self.shared.timers.wake_at(next);
        }
        active.deadline = deadline;
        self.count(active);
        written.map_err(|unwritten| unwritten.error)
    }

    fn count(&self, active: &mut Active) {
        recount(&self.shared.members_bytes, &mut active.members_bytes, active.machine.members_bytes());
        recount(&self.shared.metadata_bytes, &mut active.metadata_bytes, active.machine.metadata_bytes());
        recount(&self.shared.listed_bytes, &mut active.listed_bytes, active.machine.listed_bytes());
        let now = active.machine.happened();
        let before = std::mem::replace(&mut active.happened, now);
        let add = |count: &AtomicU64, more| _ = count.fetch_add(more, Ordering::Relaxed);
        add(&self.shared.completed_rebalances, now.completed_rebalances - before.completed_rebalances);
        add(&self.shared.committed_offsets, now.committed_offsets - before.committed_offsets);
        add(&self.shared.expired_offsets, now.expired_offsets - before.expired_offsets);
        add(&self.shared.deleted_offsets, now.deleted_offsets - before.deleted_offsets);
    }

    /// Appends `records` in one batch, or in several where they need not be one unit, and replays each batch.
    fn write(&self, active: &mut Active, records: &[Record], splits: bool, now_ms: i64) -> Result<(), Unwritten> {
        let size_max = self.partition.settings().max_message_bytes as usize;
        let mut rest = records;
        while !rest.is_empty() {
            // Of no producer, and yet with a sequence: as in Kafka.
            let batch = BatchBuilder::new().producer(ProducerId::NONE, ProducerEpoch(-1), 0);
            let mut batch = batch.compression(self.compression, None);
            let mut count = 0;
            for record in rest {
                let (key, value) = record.encode();
                let value_bytes = value.as_ref().map_or(0, Vec::len);
                let size_bytes = batch.size_bytes() + key.len() + value_bytes + RECORD_OVERHEAD_BYTES;
                if splits && count > 0 && size_bytes > size_max {
                    break;
                }
                batch.push(now_ms, Some(&key), value.as_deref(), &[]);
                count += 1;
            }
            let placed = self
                .append(&batch, now_ms)
                .map_err(|error| Unwritten { error, written: records.len() - rest.len() })?;
            active.written = placed.next_offset;
            for (at, record) in (placed.base_offset.0..).zip(&rest[..count]) {
                active.machine.replay(Offset(at), record);
            }
            rest = &rest[count..];
        }
        Ok(())
    }

    fn append(&self, batch: &BatchBuilder, now_ms: i64) -> Result<Placed, ErrorCode> {
        let bytes = batch.build().map_err(|error| {
            error!(partition = %self.partition.name, %error, "cannot pack records of groups");
            ErrorCode::UnknownServerError
        })?;
        let (batch, _) = Batch::parse(&bytes).expect("it was built here");
        self.partition.append_own(&batch, now_ms).inspect_err(|error| {
            // Of the storage the partition tells, with what is wrong.
            if *error != ErrorCode::KafkaStorageError
                && let Some(failures_since_start) = self.unwritten.add(clock::now().monotonic)
            {
                let (partition, error) = (&self.partition.name, error.name());
                warn!(%partition, error, failures_since_start, "cannot write records of groups");
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding this lock")
    }
}

/// Lets the part of `all` that was `own` be as much as it is now.
fn recount(all: &AtomicUsize, own: &mut usize, now: usize) {
    let before = std::mem::replace(own, now);
    if now >= before {
        all.fetch_add(now - before, Ordering::Relaxed);
    } else {
        all.fetch_sub(before - now, Ordering::Relaxed);
    }
}

/// More than a record takes beside its key and its value.
const RECORD_OVERHEAD_BYTES: usize = 32;

impl State {
    fn active(&mut self) -> Result<&mut Active, ErrorCode> {
        match self {
            Self::Active(active) => Ok(active),
            Self::Loading(_) => Err(ErrorCode::CoordinatorLoadInProgress),
            Self::Inactive => Err(ErrorCode::NotCoordinator),
        }
    }
}

/// Why records were not all written.
struct Unwritten {
    error: ErrorCode,
    /// So many were.
    written: usize,
}

/// Whether its records need not be one unit.
fn may_be_split(input: &Input) -> bool {
    match input {
        Input::Time | Input::TopicsDeleted(_) | Input::TopicsKnown(_) => true,
        Input::Request { request, .. } => matches!(request, Request::DeleteGroups(_)),
        Input::Loaded | Input::WriteFailed { .. } | Input::Unloaded => false,
    }
}

/// Whether groups, of which a list takes so many bytes, may become so much more.
fn has_room_in_list(listed_bytes: usize, growth_bytes: usize) -> bool {
    let max_bytes = if growth_bytes > LONG_NAME_BYTES { LISTED_BYTES_MAX / 2 } else { LISTED_BYTES_MAX };
    growth_bytes == 0 || listed_bytes + growth_bytes <= max_bytes
}
