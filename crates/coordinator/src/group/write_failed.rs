//! Records that could not be written: whoever asked for them is told, and the groups are as they were.

use std::sync::Arc;

use ottla_base::{Now, Outcome};
use ottla_protocol::error::ErrorCode;

use super::classic::Draft;
use super::records::Record;
use super::{
    Answer, DeletedGroup, GroupCoordinator, GroupId, Input, JoinGroupAnswer, LeftMember, MemberId, Request,
    SyncGroupAnswer, Ticket, answered,
};

/// Enough of an input to answer it should its records not be written. Taken before it is decided.
#[derive(Clone, Debug)]
pub struct Failure(Kind);

#[derive(Clone, Debug)]
enum Kind {
    JoinGroup {
        ticket: Ticket,
        member_id: MemberId,
    },
    SyncGroup {
        ticket: Ticket,
        group_id: GroupId,
        generation: i32,
    },
    Heartbeat {
        ticket: Ticket,
    },
    LeaveGroup {
        ticket: Ticket,
    },
    OffsetCommit {
        ticket: Ticket,
        count: usize,
    },
    OffsetDelete {
        ticket: Ticket,
    },
    DeleteGroups {
        ticket: Ticket,
        group_ids: Vec<GroupId>,
    },
    Time,
    /// Nobody waits: the host decides the input again.
    Nobody,
}

impl Input {
    /// What to decide as `Input::WriteFailed` should the records of this input not be written.
    pub fn failure(&self) -> Failure {
        let Self::Request { ticket, request } = self else {
            return Failure(if matches!(self, Self::Time) { Kind::Time } else { Kind::Nobody });
        };
        let ticket = *ticket;
        Failure(match request {
            Request::JoinGroup(request) => Kind::JoinGroup { ticket, member_id: Arc::clone(&request.member_id) },
            Request::SyncGroup(request) => {
                let group_id = Arc::clone(&request.group_id);
                Kind::SyncGroup { ticket, group_id, generation: request.generation }
            }
            Request::Heartbeat(_) => Kind::Heartbeat { ticket },
            Request::LeaveGroup(_) => Kind::LeaveGroup { ticket },
            Request::OffsetCommit(request) => Kind::OffsetCommit { ticket, count: request.offsets.len() },
            Request::OffsetDelete(_) => Kind::OffsetDelete { ticket },
            Request::DeleteGroups(request) => Kind::DeleteGroups { ticket, group_ids: request.group_ids.clone() },
        })
    }
}

/// What a client is told of a write that failed: none of the log's errors means to it what it means to a producer.
pub fn write_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}

impl GroupCoordinator {
    pub(super) fn decide_write_failed(
        &self,
        now: Now,
        failure: Failure,
        error: ErrorCode,
        written: &[Record],
    ) -> Outcome<Self> {
        let error = write_error(error);
        match failure.0 {
            Kind::JoinGroup { ticket, member_id } => {
                answered(ticket, Answer::JoinGroup(JoinGroupAnswer::refused(error, &member_id)))
            }
            Kind::SyncGroup { ticket, group_id, generation } => {
                self.decide_assignment_not_written(now, ticket, &group_id, generation, error)
            }
            Kind::Heartbeat { ticket } => answered(ticket, Answer::Heartbeat(error)),
            Kind::LeaveGroup { ticket } => answered(ticket, Answer::LeaveGroup(Err::<Vec<LeftMember>, _>(error))),
            Kind::OffsetCommit { ticket, count } => answered(ticket, Answer::OffsetCommit(vec![error; count])),
            Kind::OffsetDelete { ticket } => answered(ticket, Answer::OffsetDelete(Err(error))),
            Kind::DeleteGroups { ticket, group_ids } => {
                let results = group_ids.into_iter().map(|group_id| DeletedGroup { group_id, error });
                answered(ticket, Answer::DeleteGroups(results.collect()))
            }
            Kind::Time => self.decide_time_not_written(now, written),
            Kind::Nobody => Outcome::default(),
        }
    }

    /// All who wait for the assignment are told, and have to meet again.
    fn decide_assignment_not_written(
        &self,
        now: Now,
        ticket: Ticket,
        group_id: &GroupId,
        generation: i32,
        error: ErrorCode,
    ) -> Outcome<Self> {
        let mut outcome = answered(ticket, Answer::SyncGroup(SyncGroupAnswer::refused(error)));
        if let Some(group) = self.classic(group_id).filter(|group| group.generation() == generation) {
            let mut draft = Draft::new(&self.settings, now, group_id, group.clone());
            draft.refuse_assignment(error);
            let refused = draft.into_outcome();
            outcome.notes.extend(refused.notes);
            outcome.effects.extend(refused.effects);
        }
        outcome
    }
}
