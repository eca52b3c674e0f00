//! LeaveGroup (key 13): members go, by their own wish or an administrator's.
//!
//! v3 several members, each with a result of its own (KIP-345): an empty member id with an instance id removes whoever
//! that instance is now. v5 reasons.

use std::sync::Arc;

use ottla_base::Outcome;
use ottla_protocol::error::ErrorCode;

use super::draft::Draft;
use crate::group::{Answer, Asked, GroupCoordinator, GroupId, MemberId};

/// A LeaveGroup request.
#[derive(Clone, Debug)]
pub struct LeaveGroup {
    /// The group.
    pub group_id: GroupId,
    /// Who goes.
    pub members: Vec<LeavingMember>,
}

/// Who goes.
#[derive(Clone, Debug)]
pub struct LeavingMember {
    /// Its id; empty where the instance says it.
    pub member_id: MemberId,
    /// The name that outlives its restarts.
    pub instance_id: Option<Arc<str>>,
}

/// Whether it has gone.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftMember {
    /// As it was asked.
    pub member_id: MemberId,
    /// As it was asked.
    pub instance_id: Option<Arc<str>>,
    /// The result. Before v3 that of the only member is that of the request.
    pub error: ErrorCode,
}

impl LeaveGroup {
    pub(in crate::group) fn decide(self, asked: Asked<'_>) -> Outcome<GroupCoordinator> {
        let Some(group) = asked.coordinator.classic(&self.group_id) else {
            let unknown = self.members.into_iter().map(|member| member.result(ErrorCode::UnknownMemberId));
            return asked.answered(Answer::LeaveGroup(Ok(unknown.collect())));
        };
        let mut draft = asked.draft(&self.group_id, group.clone());
        let mut left = Vec::with_capacity(self.members.len());
        for member in self.members {
            let error = draft.leave(&member);
            left.push(member.result(error));
        }
        if left.iter().any(|member| member.error == ErrorCode::None) && !draft.group.is_empty() {
            draft.prepare_rebalance_or_complete_join();
        }
        draft.answer(asked.ticket, Answer::LeaveGroup(Ok(left)));
        draft.into_outcome()
    }
}

impl LeavingMember {
    fn result(self, error: ErrorCode) -> LeftMember {
        LeftMember { member_id: self.member_id, instance_id: self.instance_id, error }
    }
}

impl Draft<'_> {
    fn leave(&mut self, leaving: &LeavingMember) -> ErrorCode {
        let instance_id = leaving.instance_id.as_deref();
        if leaving.member_id.is_empty() {
            let member_id = instance_id.and_then(|instance_id| self.group.members.of_instance(instance_id)).cloned();
            let Some(member_id) = member_id else { return ErrorCode::UnknownMemberId };
            self.remove(&member_id);
        } else if self.group.pending_joins.contains_key(&leaving.member_id) {
            self.remove(&leaving.member_id);
        } else {
            if let Err(error) = self.group.validate_member(&leaving.member_id, instance_id) {
                return error;
            }
            self.remove(&leaving.member_id);
        }
        ErrorCode::None
    }
}
