//! SyncGroup (key 14): the leader brings the assignment of its generation, the others wait for it.
//!
//! Differs from Kafka: assignments count to what the members of a group, and of all groups, may take. There all that fits into
//! a record is kept, of as many groups as there are.
//!
//! v3 static members. v5 protocol type and name, which must be the group's (KIP-559).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_base::Outcome;
use ottla_protocol::error::ErrorCode;

use super::draft::Draft;
use super::join_group::MAX_GROUP_BYTES;
use super::state::{ClassicGroup, Phase, Syncing, Waiting};
use crate::group::{Answer, Asked, GroupCoordinator, GroupId, Limit, MemberId, Opaque, Ticket};

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub struct SyncGroup {
    /// The group.
    pub group_id: GroupId,
    /// The generation that the member knows.
    pub generation: i32,
    /// The member.
    pub member_id: MemberId,
    /// The name that outlives its restarts.
    pub instance_id: Option<Arc<str>>,
    /// Since v5: the protocol type that the member knows.
    pub protocol_type: Option<Arc<str>>,
    /// Since v5: the protocol that the member knows.
    pub protocol: Option<Arc<str>>,
    /// Since v5: both must be there.
    pub requires_protocol: bool,
    /// Who gets what; from the leader alone.
    pub assignments: Vec<(MemberId, Opaque)>,
    /// How much more the members of all groups may take, those of other partitions too.
    pub room_bytes: usize,
}

/// The answer to a SyncGroup.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncGroupAnswer {
    /// Whether there is an assignment.
    pub error: ErrorCode,
    /// As the members have it.
    pub protocol_type: Option<Arc<str>>,
    /// What the members have agreed on.
    pub protocol: Option<Arc<str>>,
    /// The member's own.
    pub assignment: Opaque,
}

impl SyncGroup {
    pub(in crate::group) fn decide(self, asked: Asked<'_>) -> Outcome<GroupCoordinator> {
        let refuse = |error| asked.answered(Answer::SyncGroup(SyncGroupAnswer::refused(error)));
        let Some(group) = asked.coordinator.classic(&self.group_id).filter(|group| !group.is_empty()) else {
            return refuse(ErrorCode::UnknownMemberId);
        };
        if let Err(error) = self.validate(group) {
            return refuse(error);
        }
        let mut draft = asked.draft(&self.group_id, group.clone());
        draft.sync(&self, asked.ticket);
        draft.into_outcome()
    }

    /// What is wrong with it whatever the group is.
    pub(in crate::group) fn wrong(&self) -> Option<ErrorCode> {
        if self.requires_protocol && (self.protocol_type.is_none() || self.protocol.is_none()) {
            return Some(ErrorCode::InconsistentGroupProtocol);
        }
        self.group_id.is_empty().then_some(ErrorCode::InvalidGroupId)
    }

    fn validate(&self, group: &ClassicGroup) -> Result<(), ErrorCode> {
        group.validate_member(&self.member_id, self.instance_id.as_deref())?;
        if self.generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&self.protocol_type, &group.protocol_type) || differs(&self.protocol, &group.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match group.phase {
            Phase::PreparingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            Phase::Empty | Phase::CompletingRebalance(_) | Phase::Stable(_) => Ok(()),
        }
    }
}

fn differs(theirs: &Option<Arc<str>>, ours: &Option<Arc<str>>) -> bool {
    theirs.is_some() && ours.is_some() && theirs != ours
}

impl SyncGroupAnswer {
    /// The answer to one who gets nothing.
    pub fn refused(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Opaque::default() }
    }
}

impl Draft<'_> {
    fn sync(&mut self, request: &SyncGroup, ticket: Ticket) {
        let member_id = &request.member_id;
        if let Phase::CompletingRebalance(syncing) | Phase::Stable(syncing) = &mut self.group.phase {
            syncing.pending.remove(member_id);
        }
        match self.group.phase {
            Phase::CompletingRebalance(_) => {
                self.park(member_id, Waiting::Sync(ticket));
                if self.group.is_leader(member_id) {
                    match self.check_memory_for(request) {
                        Ok(()) => self.assign(&request.assignments),
                        Err(limit) => {
                            self.tell_of(limit);
                            self.refuse_assignment(match limit {
                                // As if its record were too large.
                                Limit::Group => ErrorCode::UnknownServerError,
                                // Other groups may end, so it may try again.
                                _ => ErrorCode::CoordinatorNotAvailable,
                            });
                        }
                    }
                }
            }
            Phase::Stable(_) => {
                self.renew_session(member_id);
                let answer = self.assignment_of(member_id);
                self.answer_sync(ticket, answer);
            }
            Phase::Empty | Phase::PreparingRebalance(_) => unreachable!("validated"),
        }
    }

    /// Whether there is room for the assignment of a leader, in the place of the one before.
    fn check_memory_for(&self, request: &SyncGroup) -> Result<(), Limit> {
        let assigned: BTreeMap<&MemberId, usize> =
            request.assignments.iter().map(|(member_id, assignment)| (member_id, assignment.len())).collect();
        let members = &self.group.members;
        let new_bytes: usize = members.keys().filter_map(|member_id| assigned.get(member_id)).sum();
        let old_bytes: usize = members.values().map(|member| member.assignment.len()).sum();
        let growth_bytes = new_bytes.saturating_sub(old_bytes);
        if growth_bytes > 0 && self.group.size_bytes() + growth_bytes > MAX_GROUP_BYTES {
            return Err(Limit::Group);
        }
        if growth_bytes > request.room_bytes { Err(Limit::Members) } else { Ok(()) }
    }

    /// Writes the leader's assignment, gives it to all who wait, and lets the others fetch it.
    fn assign(&mut self, assignments: &[(MemberId, Opaque)]) {
        let mut assignments: BTreeMap<MemberId, Opaque> = assignments.iter().cloned().collect();
        let Phase::CompletingRebalance(syncing) = &mut self.group.phase else {
            unreachable!("the leader brings the assignment of a generation that waits for it")
        };
        let syncing: Syncing = std::mem::take(syncing);
        self.group.phase = Phase::Stable(syncing);
        for member_id in self.member_ids() {
            let assignment = assignments.remove(&member_id).unwrap_or_default();
            self.change_member(&member_id, |member| member.assignment = assignment);
            if let Waiting::Sync(ticket) = self.take_waiting(&member_id) {
                self.renew_session(&member_id);
                let answer = self.assignment_of(&member_id);
                self.answer_sync(ticket, answer);
            }
        }
        self.records.push(self.group.to_record(&self.id));
        self.group.state_timestamp_ms = Some(self.now.wall_ms);
        self.completes_rebalance = true;
    }

    fn assignment_of(&self, member_id: &MemberId) -> SyncGroupAnswer {
        SyncGroupAnswer {
            error: ErrorCode::None,
            protocol_type: self.group.protocol_type.clone(),
            protocol: self.group.protocol.clone(),
            assignment: Arc::clone(&self.group.members[member_id].assignment),
        }
    }
}
