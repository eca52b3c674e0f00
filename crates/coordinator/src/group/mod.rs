//! The groups of one partition of `__consumer_offsets`. One file an operation.
//!
//! ```text
//!   Input --decide--> records --append--> replay, each          what a restart finds again
//!                     notes   ----------> note, each, after     what a restart forgets: timers, parked requests
//!                     effects ----------> answers
//! ```
//!
//! The host carries an outcome out before it asks for the next decision: it appends the records, replays them, gives
//! the notes, and sends the answers once the records are committed. Records that could not be written are as if they
//! had never been decided: the host drops the whole outcome and decides `Input::WriteFailed` instead, which answers.
//! Where they need not be one unit, the first of them may have been written and replayed.
//!
//! JoinGroup and SyncGroup may be answered much later than they are asked. Every ticket is answered exactly once.
//!
//! ```
//! use ottla_base::{Now, Offset, Shard};
//! use ottla_coordinator::group::{Effect, GroupCoordinator, Input, Record, Settings};
//! use ottla_protocol::ErrorCode;
//!
//! /// One step of a host. `append` gives the offset of the first record.
//! fn step(
//!     groups: &mut GroupCoordinator,
//!     now: Now,
//!     input: Input,
//!     append: impl FnOnce(&[Record]) -> Result<Offset, ErrorCode>,
//! ) -> Vec<Effect> {
//!     let failure = input.failure();
//!     let mut outcome = groups.decide(now, input);
//!     if !outcome.records.is_empty() {
//!         match append(&outcome.records) {
//!             Ok(first) => {
//!                 for (at, record) in (first.0..).zip(&outcome.records) {
//!                     groups.replay(Offset(at), record);
//!                 }
//!             }
//!             Err(error) => outcome = groups.decide(now, Input::WriteFailed { failure, error, written: Vec::new() }),
//!         }
//!     }
//!     outcome.notes.into_iter().for_each(|note| groups.note(note));
//!     outcome.effects
//! }
//!
//! let mut groups = GroupCoordinator::new(Settings::default());
//! step(&mut groups, Now::at_ms(0), Input::Loaded, |_| Ok(Offset(0)));
//! let deadline = groups.next_deadline().expect("offsets are searched for expired ones");
//! step(&mut groups, deadline, Input::Time, |_| Ok(Offset(0)));
//! ```

mod check;
pub mod classic;
mod delete_groups;
mod describe_groups;
mod list_groups;
mod measure;
pub mod offsets;
mod partition;
mod records;
mod replay;
mod settings;
#[cfg(test)]
mod tests;
mod time;
mod write_failed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_base::{Now, Offset, Outcome, Shard, Uuid};
use ottla_protocol::error::ErrorCode;

pub use classic::heartbeat::Heartbeat;
pub use classic::join_group::{JoinGroup, JoinGroupAnswer, JoinedMember, MAX_GROUP_BYTES, Protocol};
pub use classic::leave_group::{LeaveGroup, LeavingMember, LeftMember};
pub use classic::state::GroupState;
pub use classic::sync_group::{SyncGroup, SyncGroupAnswer};
pub use delete_groups::{DeleteGroups, DeletedGroup};
pub use describe_groups::{DescribedGroup, DescribedMember};
pub use list_groups::{GroupFilter, GroupType, LISTED_GROUP_BYTES, ListedGroup};
pub use measure::MeasuredGroup;
pub use offsets::commit::{MetadataRoom, OffsetCommit, OffsetToCommit};
pub use offsets::delete::OffsetDelete;
pub use offsets::{CommittedOffset, DeletedTopic, Offsets, PartitionOffsets};
pub use partition::partition_of;
pub use records::{GROUP_METADATA_VERSION, Record, RecordedGroup, RecordedMember, value_without_tags};
pub use settings::Settings;
pub use write_failed::{Failure, write_error};

use classic::Draft;
use classic::state::ClassicGroup;

/// The name of a group. Cheap to copy.
pub type GroupId = Arc<str>;
/// The name of a member: given by the coordinator. Cheap to copy.
pub type MemberId = Arc<str>;
/// Bytes that only the clients understand. Cheap to copy.
pub type Opaque = Arc<[u8]>;

/// Decides over the groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct GroupCoordinator {
    settings: Settings,
    groups: BTreeMap<GroupId, Group>,
    /// For each group with a timer, a time at which or before which the first of them ends.
    deadlines: BTreeSet<(Duration, GroupId)>,
    expiry: Expiry,
    /// The memory that the members of all groups take, about.
    members_bytes: usize,
    /// What all groups wrote to themselves with their offsets.
    metadata_bytes: usize,
    /// What a list of all groups takes, about.
    listed_bytes: usize,
    happened: Happened,
}

/// What has happened since the log was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Offsets that were committed.
    pub committed_offsets: u64,
    /// Generations that have got their assignment.
    pub completed_rebalances: u64,
    /// Offsets that nobody wanted any more.
    pub expired_offsets: u64,
    /// Offsets that were deleted by OffsetDelete. As in Kafka, those that went with their group or topic are not among them.
    pub deleted_offsets: u64,
}

/// A group: its members and its offsets.
#[derive(Debug)]
struct Group {
    /// Whether the log holds a GroupMetadata record of it. A group without one has offsets alone, or had some.
    is_recorded: bool,
    classic: ClassicGroup,
    offsets: Offsets,
    /// After a failed write of what only time asked for, its timers wait until then.
    held_until: Duration,
    /// Its entry in the deadlines.
    indexed: Option<Duration>,
    /// Its part of the memory of all groups.
    members_bytes: usize,
    /// What it takes in a list.
    listed_bytes: usize,
}

/// How far the search for expired offsets has got.
#[derive(Clone, Debug, Default)]
struct Expiry {
    /// When it begins or goes on; nothing before the log was loaded.
    next: Option<Duration>,
    /// The group with which it goes on.
    from: Option<GroupId>,
}

/// Names a request to the host that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What can happen to the groups.
#[derive(Clone, Debug)]
pub enum Input {
    /// Someone asks for something.
    Request {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What is asked.
        request: Request,
    },
    /// The log was replayed to its end: sessions begin anew.
    Loaded,
    /// Time has passed. Handles one group: to be decided again while [`Shard::next_deadline`] is not in the future.
    Time,
    /// Topics are gone. Its records need not be one unit.
    TopicsDeleted(Vec<DeletedTopic>),
    /// The topics that there are, as far as [`GroupCoordinator::committed_topics`] names them, with their ids: for offsets
    /// whose topic was deleted while nobody could hear of it. Its records need not be one unit.
    TopicsKnown(BTreeMap<Arc<str>, Uuid>),
    /// The records that were decided could not be written, or not all; nothing of that outcome was noted or answered, and
    /// nothing replayed but what was written.
    WriteFailed {
        /// What [`Input::failure`] gave for the input.
        failure: Failure,
        /// Why.
        error: ErrorCode,
        /// Those of the records that were written before one failed, where they need not be one unit.
        written: Vec<Record>,
    },
    /// Another broker coordinates these groups from now on: all who wait are told. The last input.
    Unloaded,
}

/// What can be asked of the groups and may change them. What only reads is a method of [`GroupCoordinator`].
#[derive(Clone, Debug)]
pub enum Request {
    /// Become a member, or come back for a new generation.
    JoinGroup(JoinGroup),
    /// Fetch the assignment of a generation; the leader brings it.
    SyncGroup(SyncGroup),
    /// Stay a member.
    Heartbeat(Heartbeat),
    /// Stop being a member.
    LeaveGroup(LeaveGroup),
    /// Store offsets.
    OffsetCommit(OffsetCommit),
    /// Forget offsets.
    OffsetDelete(OffsetDelete),
    /// Forget groups. Its records need not be one unit: a group goes last, after its offsets.
    DeleteGroups(DeleteGroups),
}

/// What is answered, each to the request of its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The generation that the member is in, or why it is in none.
    JoinGroup(JoinGroupAnswer),
    /// The member's assignment, or why it has none.
    SyncGroup(SyncGroupAnswer),
    /// Whether the member may go on.
    Heartbeat(ErrorCode),
    /// One result a member, in the order of the request; or an error for all.
    LeaveGroup(Result<Vec<LeftMember>, ErrorCode>),
    /// One result an offset, in the order of the request.
    OffsetCommit(Vec<ErrorCode>),
    /// One result a partition, in the order of the request; or an error for all.
    OffsetDelete(Result<Vec<ErrorCode>, ErrorCode>),
    /// One result a group, in the order of the request.
    DeleteGroups(Vec<DeletedGroup>),
}

/// What the host does once the records are committed.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send the answer to whom the ticket names.
    Answer {
        /// That of the request, which may have come long ago.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
    /// Let the operator know that something was refused for want of room: the answer does not say so.
    Refused {
        /// Whose it was.
        group: GroupId,
        /// What there was no room in.
        limit: Limit,
    },
}

/// What groups may take of a broker's memory. Kafka has no such limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The members of one group: [`MAX_GROUP_BYTES`].
    Group,
    /// The members of all groups. The host says how much they may take.
    Members,
    /// The metadata of offsets, of a group or of all.
    Metadata,
    /// A list of all groups. The host keeps to it.
    List,
}

/// A change of soft state. Made by deciding and taken back by [`Shard::note`]; nobody else looks into it.
#[derive(Clone, Debug)]
pub struct Note(NoteKind);

#[derive(Clone, Debug)]
enum NoteKind {
    /// The group is now so. Its records, if any, are replayed before.
    Group { id: GroupId, classic: Box<ClassicGroup> },
    /// A generation has got its assignment.
    CompletedRebalance,
    /// So many offsets nobody wanted any more.
    ExpiredOffsets(u64),
    /// So many offsets were deleted on request.
    DeletedOffsets(u64),
    /// So many offsets were committed.
    CommittedOffsets(u64),
    /// A member was heard of.
    Heard { id: GroupId, member: MemberId, until: Duration },
    /// Nothing of the group was due yet.
    Reindex { id: GroupId },
    /// The log was loaded: all sessions begin.
    Loaded { at: Duration },
    /// The search for expired offsets got so far.
    Expiry(Expiry),
    /// The timers of the group are to wait.
    Hold { id: GroupId, until: Duration },
}

impl Request {
    /// The group that it is about; none where it is about several.
    pub fn group_id(&self) -> Option<&GroupId> {
        match self {
            Self::JoinGroup(request) => Some(&request.group_id),
            Self::SyncGroup(request) => Some(&request.group_id),
            Self::Heartbeat(request) => Some(&request.group_id),
            Self::LeaveGroup(request) => Some(&request.group_id),
            Self::OffsetCommit(request) => Some(&request.group_id),
            Self::OffsetDelete(request) => Some(&request.group_id),
            Self::DeleteGroups(_) => None,
        }
    }

    /// The answer where something is wrong with it whatever the groups are: it is that of any coordinator, and of a broker that
    /// is none.
    pub fn wrong(&self, settings: &Settings) -> Option<Answer> {
        let of_group = |group_id: &GroupId| group_id.is_empty().then_some(ErrorCode::InvalidGroupId);
        match self {
            Self::JoinGroup(request) => request
                .wrong(settings)
                .map(|error| Answer::JoinGroup(JoinGroupAnswer::refused(error, &request.member_id))),
            Self::SyncGroup(request) => request.wrong().map(SyncGroupAnswer::refused).map(Answer::SyncGroup),
            Self::Heartbeat(request) => of_group(&request.group_id).map(Answer::Heartbeat),
            Self::LeaveGroup(request) => of_group(&request.group_id).map(|error| Answer::LeaveGroup(Err(error))),
            Self::OffsetDelete(request) => of_group(&request.group_id).map(|error| Answer::OffsetDelete(Err(error))),
            Self::OffsetCommit(_) | Self::DeleteGroups(_) => None,
        }
    }
}

impl GroupCoordinator {
    /// A coordinator without groups: replay the log into it, then decide `Input::Loaded`.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            expiry: Expiry::default(),
            members_bytes: 0,
            metadata_bytes: 0,
            listed_bytes: 0,
            happened: Happened::default(),
        }
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The memory that the members of all groups take, about; without offsets.
    pub fn members_bytes(&self) -> usize {
        self.members_bytes
    }

    /// What all groups wrote to themselves with their offsets.
    pub fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// What a list of all groups takes, about, and what it takes to keep them.
    pub fn listed_bytes(&self) -> usize {
        self.listed_bytes
    }

    /// What has happened since the log was loaded.
    pub fn happened(&self) -> Happened {
        self.happened
    }

    fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    fn classic(&self, id: &str) -> Option<&ClassicGroup> {
        self.groups.get(id).map(|group| &group.classic)
    }
}

impl Shard for GroupCoordinator {
    type Input = Input;
    type Record = Record;
    type Note = Note;
    type Effect = Effect;

    fn decide(&self, now: Now, input: Input) -> Outcome<Self> {
        match input {
            Input::Request { ticket, request } => {
                if let Some(answer) = request.wrong(&self.settings) {
                    return answered(ticket, answer);
                }
                let asked = Asked { coordinator: self, now, ticket };
                match request {
                    Request::JoinGroup(request) => request.decide(asked),
                    Request::SyncGroup(request) => request.decide(asked),
                    Request::Heartbeat(request) => request.decide(asked),
                    Request::LeaveGroup(request) => request.decide(asked),
                    Request::OffsetCommit(request) => request.decide(asked),
                    Request::OffsetDelete(request) => request.decide(asked),
                    Request::DeleteGroups(request) => request.decide(asked),
                }
            }
            Input::Loaded => self.decide_loaded(now),
            Input::Time => self.decide_time(now),
            Input::TopicsDeleted(topics) => self.decide_topics_deleted(&topics),
            Input::TopicsKnown(topics) => self.decide_topics_known(&topics),
            Input::WriteFailed { failure, error, written } => self.decide_write_failed(now, failure, error, &written),
            Input::Unloaded => self.decide_unloaded(now),
        }
    }

    fn replay(&mut self, _at: Offset, record: &Record) {
        self.replay_record(record);
    }

    fn note(&mut self, note: Note) {
        self.take_note(note.0);
    }

    /// By the monotonic clock; the other says nothing.
    fn next_deadline(&self) -> Option<Now> {
        self.next_time().map(|monotonic| Now { monotonic, wall_ms: -1 })
    }

    fn check(&self) {
        self.check_all();
    }
}

/// Whom a request is put to, when, and for whom the answer is.
#[derive(Clone, Copy)]
struct Asked<'a> {
    coordinator: &'a GroupCoordinator,
    now: Now,
    ticket: Ticket,
}

impl<'a> Asked<'a> {
    fn answered(self, answer: Answer) -> Outcome<GroupCoordinator> {
        answered(self.ticket, answer)
    }

    /// Begins to change a group.
    fn draft(self, id: &GroupId, group: ClassicGroup) -> Draft<'a> {
        Draft::new(&self.coordinator.settings, self.now, id, group)
    }
}

/// An outcome that only answers.
fn answered(ticket: Ticket, answer: Answer) -> Outcome<GroupCoordinator> {
    Outcome { effects: vec![Effect::Answer { ticket, answer }], ..Outcome::default() }
}

/// The text of a UUID as Java prints it, which ends the member ids.
fn java_uuid(id: Uuid) -> String {
    let hex = format!("{:032x}", id.0);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn from_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
