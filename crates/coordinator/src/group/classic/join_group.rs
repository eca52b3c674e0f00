//! JoinGroup (key 11): become a member of the next generation. Waits until the generation begins.
//!
//! v1 rebalance timeout. v4 a member without an id is given one and has to come again (KIP-394). v5 static members
//! (KIP-345). v9 a static leader that comes back may skip the assignment (KIP-814).

use std::sync::Arc;
use std::time::Duration;

use ottla_base::{Outcome, Uuid};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::wire::MAX_STRING_LENGTH;

use super::draft::Draft;
use super::state::{ClassicGroup, Member, Phase, Waiting, size_of_member, size_of_protocols};
use crate::group::{Answer, Asked, GroupCoordinator, GroupId, Limit, MemberId, Opaque, Settings, Ticket, java_uuid};

/// How long the first JoinGroup of a member may wait. It cannot send heartbeats meanwhile.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);
/// Ids that a group has given out and that have not come back. Kafka has no such limit.
const MAX_PENDING_JOINS: usize = 10_000;
/// Protocols of one member. Kafka has no such limit; to compare more of them takes long.
const MAX_PROTOCOLS: usize = 100;
/// What a member may say in one of its protocols. A group's record, which holds what is said in the one that is chosen, could
/// not be written with the default `max.message.bytes`; Kafka finds out later.
const MAX_METADATA_BYTES: usize = 1024 * 1024;
/// What all members of a group may take, with their assignments, so that the answer to its leader, which repeats what they
/// say, is no longer than answers may be. A group's record with the default `max.message.bytes` holds an eighth of it.
pub const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;
/// A dash and a UUID end each member id.
const UUID_LENGTH: usize = 37;

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub struct JoinGroup {
    /// The group.
    pub group_id: GroupId,
    /// Empty for one who has no id yet.
    pub member_id: MemberId,
    /// The name that outlives its restarts.
    pub instance_id: Option<Arc<str>>,
    /// The client's own name.
    pub client_id: Arc<str>,
    /// Where it is, as Java prints an address: with a slash in front.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it; nothing before v1: as long as it may be silent.
    pub rebalance_timeout_ms: Option<i32>,
    /// `consumer`, `connect`.
    pub protocol_type: Arc<str>,
    /// What it can do, the best first.
    pub protocols: Vec<Protocol>,
    /// Since v4: one without an id is only given one.
    pub requires_member_id: bool,
    /// Since v9: it understands `skip_assignment`.
    pub may_skip_assignment: bool,
    /// Random: ends the member's id if it needs one.
    pub fresh_id: Uuid,
    /// How much more the members of all groups may take, those of other partitions too.
    pub room_bytes: usize,
}

/// A protocol, and what a member says in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// `range`, `cooperative-sticky`.
    pub name: Arc<str>,
    /// For the leader.
    pub metadata: Opaque,
}

/// The answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinGroupAnswer {
    /// Whether it is a member.
    pub error: ErrorCode,
    /// The generation, or -1.
    pub generation: i32,
    /// As the members have it.
    pub protocol_type: Option<Arc<str>>,
    /// What the members have agreed on.
    pub protocol: Option<Arc<str>>,
    /// Who assigns, or empty.
    pub leader: MemberId,
    /// The leader is to leave the assignment as it is.
    pub skip_assignment: bool,
    /// Its id.
    pub member_id: MemberId,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: MemberId,
    /// The name that outlives its restarts.
    pub instance_id: Option<Arc<str>>,
    /// What it says in the protocol that was chosen.
    pub metadata: Opaque,
}

impl JoinGroup {
    pub(in crate::group) fn decide(self, asked: Asked<'_>) -> Outcome<GroupCoordinator> {
        let refuse = |error| asked.answered(Answer::JoinGroup(JoinGroupAnswer::refused(error, &self.member_id)));
        if self.protocols.len() > MAX_PROTOCOLS {
            return refuse(ErrorCode::InconsistentGroupProtocol);
        }
        if self.protocols.iter().any(|protocol| protocol.metadata.len() > MAX_METADATA_BYTES) {
            return refuse(ErrorCode::UnknownServerError);
        }
        let existing = asked.coordinator.classic(&self.group_id);
        if existing.is_none() && !self.member_id.is_empty() {
            return refuse(ErrorCode::UnknownMemberId);
        }
        let new_group = || ClassicGroup::new(Some(asked.now.wall_ms));
        let is_new_group = existing.is_none();
        let group_id = Arc::clone(&self.group_id);
        let mut draft = asked.draft(&group_id, existing.cloned().unwrap_or_else(new_group));
        let created = is_new_group.then(|| draft.group.to_record(&group_id));
        draft.join(self, asked.ticket);
        // A group exists from its first request on, even where that was refused.
        if let Some(created) = created
            && draft.records.is_empty()
        {
            draft.records.push(created);
        }
        draft.into_outcome()
    }

    /// What is wrong with it whatever the group is.
    pub(in crate::group) fn wrong(&self, settings: &Settings) -> Option<ErrorCode> {
        let session_timeouts_ms = settings.group_min_session_timeout_ms..=settings.group_max_session_timeout_ms;
        if self.group_id.is_empty() {
            return Some(ErrorCode::InvalidGroupId);
        }
        (!session_timeouts_ms.contains(&self.session_timeout_ms)).then_some(ErrorCode::InvalidSessionTimeout)
    }

    /// The memory that it takes as a member, about.
    fn size_bytes(&self) -> usize {
        let id_bytes =
            if self.member_id.is_empty() { self.id_prefix().len() + UUID_LENGTH } else { self.member_id.len() };
        id_bytes + size_of_member(self.instance_id.as_ref(), &self.client_id, &self.client_host, &self.protocols)
    }

    fn rebalance_timeout_ms(&self) -> i32 {
        self.rebalance_timeout_ms.filter(|timeout_ms| *timeout_ms != -1).unwrap_or(self.session_timeout_ms)
    }

    /// An id for a member that has none. Its length is that of what a record can hold.
    fn new_member_id(&self) -> MemberId {
        format!("{}-{}", self.id_prefix(), java_uuid(self.fresh_id)).into()
    }

    fn id_prefix(&self) -> &str {
        let name = self.instance_id.as_ref().unwrap_or(&self.client_id);
        &name[..name.floor_char_boundary(MAX_STRING_LENGTH - UUID_LENGTH)]
    }
}

impl JoinGroupAnswer {
    /// The answer to one who is not let in.
    pub fn refused(error: ErrorCode, member_id: &MemberId) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: MemberId::default(),
            skip_assignment: false,
            member_id: Arc::clone(member_id),
            members: Vec::new(),
        }
    }
}

impl Draft<'_> {
    fn join(&mut self, request: JoinGroup, ticket: Ticket) {
        let nobody = MemberId::default();
        if !self.has_room_for(&request.member_id) {
            self.remove(&request.member_id);
            return self.answer_join(ticket, JoinGroupAnswer::refused(ErrorCode::GroupMaxSizeReached, &nobody));
        }
        // Those who find no room cost the least.
        if let Err(limit) = self.check_memory(&request) {
            self.tell_of(limit);
            let error = match limit {
                Limit::Group => ErrorCode::GroupMaxSizeReached,
                // Others may leave, so it may try again.
                _ => ErrorCode::CoordinatorNotAvailable,
            };
            return self.answer_join(ticket, JoinGroupAnswer::refused(error, &request.member_id));
        }
        if !self.group.supports(&request.protocol_type, &request.protocols) {
            let answer = JoinGroupAnswer::refused(ErrorCode::InconsistentGroupProtocol, &request.member_id);
            return self.answer_join(ticket, answer);
        }
        if request.member_id.is_empty() {
            self.join_without_id(request, ticket);
        } else if self.group.pending_joins.contains_key(&request.member_id) {
            self.join_with_given_id(request, ticket);
        } else {
            self.rejoin(request, ticket);
        }
    }

    /// During a rebalance those who have joined count, so that the last to rejoin are left out of a group that is too
    /// large (KIP-389).
    fn has_room_for(&self, member_id: &str) -> bool {
        let max_size = self.settings.group_max_size;
        let member = self.group.members.get(member_id);
        match self.group.phase {
            Phase::Empty => true,
            Phase::PreparingRebalance(_) => {
                member.is_some_and(|member| member.is_joining()) || self.group.members.joining_count() < max_size
            }
            Phase::CompletingRebalance(_) | Phase::Stable(_) => member.is_some() || self.group.members.len() < max_size,
        }
    }

    /// Whether there is room for what the request says. A member that is there already only has to fit in where it says more
    /// than before.
    ///
    /// Differs from Kafka: there the group grows until its record cannot be written, or memory is spent.
    fn check_memory(&self, request: &JoinGroup) -> Result<(), Limit> {
        let members = &self.group.members;
        let of_instance = request.instance_id.as_ref().and_then(|instance_id| members.of_instance(instance_id));
        let member_id = if request.member_id.is_empty() { of_instance } else { Some(&request.member_id) };
        let growth_bytes = match member_id.and_then(|member_id| members.get(member_id)) {
            // What else it says of itself is not taken over.
            Some(member) => size_of_protocols(&request.protocols).saturating_sub(size_of_protocols(&member.protocols)),
            None => {
                let given_bytes = self.group.pending_joins.bytes_of(&request.member_id).unwrap_or(0);
                request.size_bytes().saturating_sub(given_bytes)
            }
        };
        if growth_bytes > 0 && self.group.size_bytes() + growth_bytes > MAX_GROUP_BYTES {
            return Err(Limit::Group);
        }
        if growth_bytes > request.room_bytes { Err(Limit::Members) } else { Ok(()) }
    }

    fn join_without_id(&mut self, request: JoinGroup, ticket: Ticket) {
        let member_id = request.new_member_id();
        if let Some(instance_id) = &request.instance_id {
            match self.group.members.of_instance(instance_id).cloned() {
                Some(old_id) => self.replace_static_member(request, &old_id, &member_id, ticket),
                None => self.add_member(request, &member_id, ticket),
            }
        } else if !request.requires_member_id {
            self.add_member(request, &member_id, ticket);
        } else if self.group.pending_joins.len() >= MAX_PENDING_JOINS {
            let answer = JoinGroupAnswer::refused(ErrorCode::GroupMaxSizeReached, &MemberId::default());
            self.answer_join(ticket, answer);
        } else {
            let deadline = self.after_ms(request.session_timeout_ms.into());
            self.group.pending_joins.insert(Arc::clone(&member_id), deadline);
            self.answer_join(ticket, JoinGroupAnswer::refused(ErrorCode::MemberIdRequired, &member_id));
        }
    }

    fn join_with_given_id(&mut self, request: JoinGroup, ticket: Ticket) {
        let member_id = Arc::clone(&request.member_id);
        if request.instance_id.is_some() {
            // Static members never get an id in advance; Kafka says as much of this client.
            let answer = JoinGroupAnswer::refused(ErrorCode::UnknownServerError, &MemberId::default());
            return self.answer_join(ticket, answer);
        }
        self.add_member(request, &member_id, ticket);
    }

    fn rejoin(&mut self, request: JoinGroup, ticket: Ticket) {
        let member_id = Arc::clone(&request.member_id);
        if let Err(error) = self.group.validate_member(&member_id, request.instance_id.as_deref()) {
            return self.answer_join(ticket, JoinGroupAnswer::refused(error, &member_id));
        }
        let is_same = self.group.members[&member_id].protocols[..] == request.protocols[..];
        let is_leader = self.group.is_leader(&member_id);
        let is_answered_at_once = match self.group.phase {
            Phase::Empty | Phase::PreparingRebalance(_) => false,
            // Its answer was lost: it gets it again.
            Phase::CompletingRebalance(_) => is_same,
            // A leader asks for a rebalance this way, when the topics have changed.
            Phase::Stable(_) => is_same && !is_leader,
        };
        if is_answered_at_once {
            let answer = self.current_generation(&member_id);
            self.renew_session(&member_id);
            return self.answer_join(ticket, answer);
        }
        self.update_member(request, &member_id);
        self.park(&member_id, Waiting::Join(ticket));
        self.prepare_rebalance_or_complete_join();
    }

    /// Takes over what a member says of itself.
    pub(super) fn update_member(&mut self, request: JoinGroup, member_id: &MemberId) {
        let rebalance_timeout_ms = request.rebalance_timeout_ms();
        self.change_member(member_id, |member| {
            member.rebalance_timeout_ms = rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        });
        self.group.members.set_protocols(member_id, request.protocols.into());
    }

    fn add_member(&mut self, request: JoinGroup, member_id: &MemberId, ticket: Ticket) {
        if let Phase::PreparingRebalance(joining) = &mut self.group.phase
            && let Some(initial) = &mut joining.initial
        {
            initial.is_new_member_added = true;
        }
        if self.group.members.is_empty() {
            self.group.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        let rebalance_timeout_ms = request.rebalance_timeout_ms();
        let member = Member {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms,
            protocols: request.protocols.into(),
            assignment: Opaque::default(),
            waiting: Waiting::Join(ticket),
            is_new: true,
            session_deadline: Some(self.now.monotonic + NEW_MEMBER_JOIN_TIMEOUT),
        };
        self.group.pending_joins.remove(member_id);
        self.group.members.insert(Arc::clone(member_id), Arc::new(member));
        self.group.leader.get_or_insert_with(|| Arc::clone(member_id));
        self.prepare_rebalance_or_complete_join();
    }
}
