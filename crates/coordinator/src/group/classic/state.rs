//! What a classic group and its members are. What becomes of them is for the other files to say.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_base::{SharedMap, Timestamp};
use ottla_protocol::error::ErrorCode;

use super::join_group::Protocol;
use super::members::Members;
use super::pending_joins::PendingJoins;
use crate::group::records::{Record, RecordedGroup, RecordedMember};
use crate::group::{GroupId, MemberId, Opaque, Ticket, from_ms};

/// The protocol type of groups of consumers.
pub(in crate::group) const CONSUMER: &str = "consumer";

/// What a member takes beside its texts, about: itself, its place in the maps, and the counts of its texts.
const MEMBER_BYTES: usize = 400;
/// What a protocol takes beside its texts, about.
const PROTOCOL_BYTES: usize = 64;

/// The name of a group's state, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Members are awaited.
    PreparingRebalance,
    /// The leader's assignment is awaited.
    CompletingRebalance,
    /// Members have their assignments.
    Stable,
    /// There is no such group.
    Dead,
}

/// A classic group as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::group) struct ClassicGroup {
    pub(super) phase: Phase,
    /// Since when it is in its state. The record of a generation is made before it is stable, and has the time before.
    pub(super) state_timestamp_ms: Option<Timestamp>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: Members,
    pub(super) pending_joins: PendingJoins,
    /// What consumers read; nothing where that is not known.
    pub(super) subscribed_topics: Option<Arc<BTreeSet<String>>>,
}

/// A state with what is valid in it alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Empty,
    PreparingRebalance(Joining),
    CompletingRebalance(Syncing),
    Stable(Syncing),
}

/// Members are awaited.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Joining {
    pub(super) deadline: Duration,
    /// Set where the group was empty before.
    pub(super) initial: Option<InitialDelay>,
}

/// The wait of a group that was empty, which each new member makes longer (KIP-134).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct InitialDelay {
    pub(super) delay_ms: i64,
    pub(super) remaining_ms: i64,
    pub(super) is_new_member_added: bool,
}

/// The members that have not synced yet, and until when they may.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Syncing {
    pub(super) deadline: Duration,
    pub(super) pending: SharedMap<MemberId, ()>,
}

/// A member.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::group) struct Member {
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Arc<[Protocol]>,
    pub(super) assignment: Opaque,
    pub(super) waiting: Waiting,
    /// Whether its first join still waits: it cannot send heartbeats, so it expires all the same.
    pub(super) is_new: bool,
    /// When it is lost; a member whose time came while it waited has none.
    pub(super) session_deadline: Option<Duration>,
}

/// The request of a member that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Nothing,
    Join(Ticket),
    Sync(Ticket),
}

impl GroupState {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl ClassicGroup {
    /// A group without members.
    pub(in crate::group) fn new(state_timestamp_ms: Option<Timestamp>) -> Self {
        Self {
            phase: Phase::Empty,
            state_timestamp_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Members::default(),
            pending_joins: PendingJoins::default(),
            subscribed_topics: None,
        }
    }

    /// The group that a record tells of. Its sessions have not begun, and what it reads is not known: a note brings both, or
    /// [`ClassicGroup::begin`] once the log was loaded.
    pub(in crate::group) fn from_record(recorded: &RecordedGroup) -> Self {
        let member = |recorded_member: &RecordedMember| {
            let name = recorded.protocol.clone().unwrap_or_default();
            let member = Member {
                instance_id: recorded_member.instance_id.clone(),
                client_id: Arc::clone(&recorded_member.client_id),
                client_host: Arc::clone(&recorded_member.client_host),
                session_timeout_ms: recorded_member.session_timeout_ms,
                rebalance_timeout_ms: recorded_member.rebalance_timeout_ms,
                protocols: Arc::new([Protocol { name, metadata: Arc::clone(&recorded_member.subscription) }]),
                assignment: Arc::clone(&recorded_member.assignment),
                waiting: Waiting::Nothing,
                is_new: false,
                session_deadline: None,
            };
            (Arc::clone(&recorded_member.member_id), Arc::new(member))
        };
        let members: Members = recorded.members.iter().map(member).collect();
        let is_known = |leader: &MemberId| members.contains_key(leader);
        Self {
            phase: if members.is_empty() { Phase::Empty } else { Phase::Stable(Syncing::default()) },
            state_timestamp_ms: (recorded.state_timestamp_ms != -1).then_some(recorded.state_timestamp_ms),
            generation: recorded.generation,
            protocol_type: (!recorded.protocol_type.is_empty()).then(|| Arc::clone(&recorded.protocol_type)),
            // Members, and only they, have agreed on something, be it a name that an odd log left out.
            protocol: (!members.is_empty()).then(|| recorded.protocol.clone().unwrap_or_default()),
            leader: recorded.leader.clone().filter(is_known).or_else(|| members.keys().next().cloned()),
            members,
            ..Self::new(None)
        }
    }

    /// The record that tells of this group.
    pub(in crate::group) fn to_record(&self, id: &GroupId) -> Record {
        let metadata = |member: &Member| match &self.protocol {
            Some(protocol) => member.metadata(protocol),
            None => Opaque::default(),
        };
        let members = self.members.iter().map(|(member_id, member)| RecordedMember {
            member_id: Arc::clone(member_id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: metadata(member),
            assignment: Arc::clone(&member.assignment),
        });
        let value = RecordedGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
            members: members.collect(),
        };
        Record::Group { group: Arc::clone(id), value: Some(value) }
    }

    pub(in crate::group) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::PreparingRebalance(_) => GroupState::PreparingRebalance,
            Phase::CompletingRebalance(_) => GroupState::CompletingRebalance,
            Phase::Stable(_) => GroupState::Stable,
        }
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    pub(in crate::group) fn generation(&self) -> i32 {
        self.generation
    }

    pub(in crate::group) fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    pub(in crate::group) fn protocol(&self) -> Option<&Arc<str>> {
        self.protocol.as_ref()
    }

    pub(in crate::group) fn members(&self) -> &Members {
        &self.members
    }

    pub(super) fn member_ids(&self) -> Vec<MemberId> {
        self.members.keys().cloned().collect()
    }

    pub(in crate::group) fn has_pending_joins(&self) -> bool {
        !self.pending_joins.is_empty()
    }

    pub(in crate::group) fn state_timestamp_ms(&self) -> Option<Timestamp> {
        self.state_timestamp_ms
    }

    pub(in crate::group) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether the topics that consumers read are known.
    pub(in crate::group) fn knows_subscribed_topics(&self) -> bool {
        self.subscribed_topics.is_some()
    }

    /// Whether consumers of the group read the topic. Where their metadata cannot be read, they may.
    pub(in crate::group) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Whether the ids name a member, and the instance is not another member's (KIP-345).
    pub(in crate::group) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let Some(instance_id) = instance_id else {
            return if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        if self.members.get(member_id).is_some_and(|member| member.instance_id.as_deref() == Some(instance_id)) {
            return Ok(());
        }
        match self.members.of_instance(instance_id) {
            Some(_) => Err(ErrorCode::FencedInstanceId),
            None => Err(ErrorCode::UnknownMemberId),
        }
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// The longest that any member may take to rejoin.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    pub(super) fn have_all_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members.joining_count() == self.members.len()
    }

    /// The memory that its members and those who are about to be take, about.
    pub(in crate::group) fn size_bytes(&self) -> usize {
        self.members.size_bytes() + self.pending_joins.size_bytes()
    }

    /// The earliest of its timers. Looks at all of them.
    pub(in crate::group) fn deadline(&self) -> Option<Duration> {
        let sessions = self.members.values().filter_map(|member| member.session_deadline);
        self.phase.deadline().into_iter().chain(sessions).chain(self.pending_joins.values().copied()).min()
    }

    /// A time at which or before which the earliest of its timers ends. Looks at none of them.
    pub(in crate::group) fn deadline_at_the_earliest(&self) -> Option<Duration> {
        [self.phase.deadline(), self.members.earliest(), self.pending_joins.earliest()].into_iter().flatten().min()
    }

    /// Lets that time be as late as it can be.
    pub(in crate::group) fn find_earliest(&mut self) {
        self.members.find_earliest();
        self.pending_joins.find_earliest();
    }

    /// Renews a session.
    pub(in crate::group) fn heard(&mut self, member_id: &str, until: Duration) {
        if self.members.contains_key(member_id) {
            self.members.change(member_id, |member| member.session_deadline = Some(until));
        }
    }

    /// Begins all sessions of a group that was loaded, and finds out what it reads.
    pub(in crate::group) fn begin(&mut self, at: Duration) {
        self.subscribed_topics = self.compute_subscribed_topics();
        for member_id in self.member_ids() {
            self.members.change(&member_id, |member| member.session_deadline = Some(member.session_until(at)));
        }
    }
}

impl Phase {
    /// When it ends though not all have come.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Empty => None,
            Self::PreparingRebalance(joining) => Some(joining.deadline),
            Self::CompletingRebalance(syncing) | Self::Stable(syncing) => {
                (!syncing.pending.is_empty()).then_some(syncing.deadline)
            }
        }
    }
}

impl Member {
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.waiting, Waiting::Join(_))
    }

    /// The memory that it takes beside its id, about.
    pub(super) fn size_bytes(&self) -> usize {
        let said = size_of_member(self.instance_id.as_ref(), &self.client_id, &self.client_host, &self.protocols);
        said + self.assignment.len()
    }

    /// Its metadata for a protocol; nothing where it does not have it.
    pub(in crate::group) fn metadata(&self, name: &str) -> Opaque {
        let protocol = self.protocols.iter().find(|protocol| &*protocol.name == name);
        protocol.map(|protocol| Arc::clone(&protocol.metadata)).unwrap_or_default()
    }

    /// Until when it may be silent that was heard of `at`.
    pub(in crate::group) fn session_until(&self, at: Duration) -> Duration {
        at + from_ms(self.session_timeout_ms.into())
    }

    pub(in crate::group) fn instance_id(&self) -> Option<&Arc<str>> {
        self.instance_id.as_ref()
    }

    pub(in crate::group) fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    pub(in crate::group) fn client_host(&self) -> &Arc<str> {
        &self.client_host
    }

    pub(in crate::group) fn assignment(&self) -> &Opaque {
        &self.assignment
    }
}

/// The memory that a member takes beside its id and its assignment, about.
pub(super) fn size_of_member(
    instance_id: Option<&Arc<str>>,
    client_id: &str,
    client_host: &str,
    protocols: &[Protocol],
) -> usize {
    let instance_bytes = instance_id.map_or(0, |instance_id| instance_id.len());
    MEMBER_BYTES + instance_bytes + client_id.len() + client_host.len() + size_of_protocols(protocols)
}

/// The memory that what a member says in its protocols takes, about.
pub(super) fn size_of_protocols(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| PROTOCOL_BYTES + protocol.name.len() + protocol.metadata.len()).sum()
}
