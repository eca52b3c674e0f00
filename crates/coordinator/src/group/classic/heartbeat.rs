//! Heartbeat (key 12): a member says it is alive, and learns whether a rebalance has begun.
//!
//! v3 static members. The most frequent request of all: it copies nothing of the group.

use std::sync::Arc;

use ottla_base::{Now, Outcome};
use ottla_protocol::error::ErrorCode;

use super::state::{ClassicGroup, Phase};
use crate::group::{Answer, Asked, GroupCoordinator, GroupId, MemberId, Note, NoteKind};

/// A Heartbeat request.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group_id: GroupId,
    /// The generation that the member knows.
    pub generation: i32,
    /// The member.
    pub member_id: MemberId,
    /// The name that outlives its restarts.
    pub instance_id: Option<Arc<str>>,
}

impl Heartbeat {
    pub(in crate::group) fn decide(self, asked: Asked<'_>) -> Outcome<GroupCoordinator> {
        let refuse = |error| asked.answered(Answer::Heartbeat(error));
        let Some(group) = asked.coordinator.classic(&self.group_id) else { return refuse(ErrorCode::UnknownMemberId) };
        if let Err(error) = self.validate(group) {
            return refuse(error);
        }
        let error = match group.phase {
            Phase::PreparingRebalance(_) => ErrorCode::RebalanceInProgress,
            Phase::Empty | Phase::CompletingRebalance(_) | Phase::Stable(_) => ErrorCode::None,
        };
        let note = heard(&self.group_id, group, &self.member_id, asked.now);
        Outcome { notes: vec![note], ..asked.answered(Answer::Heartbeat(error)) }
    }

    fn validate(&self, group: &ClassicGroup) -> Result<(), ErrorCode> {
        group.validate_member(&self.member_id, self.instance_id.as_deref())?;
        if self.generation == group.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }
}

/// The note that a member was heard of.
///
/// # Panics
/// Where there is no such member.
pub(in crate::group) fn heard(id: &GroupId, group: &ClassicGroup, member_id: &MemberId, now: Now) -> Note {
    let until = group.members[member_id].session_until(now.monotonic);
    Note(NoteKind::Heard { id: Arc::clone(id), member: Arc::clone(member_id), until })
}
