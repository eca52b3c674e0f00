//! A static member that comes back without its id: it takes the place of its former self, which is fenced, and if it asks
//! for the same as before nobody else notices (KIP-345, KIP-814).

use std::sync::Arc;

use ottla_protocol::error::ErrorCode;

use super::draft::Draft;
use super::join_group::JoinGroup;
use super::state::{Phase, Waiting};
use crate::group::{MemberId, Ticket};

impl Draft<'_> {
    pub(super) fn replace_static_member(
        &mut self,
        request: JoinGroup,
        old_id: &MemberId,
        new_id: &MemberId,
        ticket: Ticket,
    ) {
        let old_leader = self.group.leader.clone();
        let may_skip_assignment = request.may_skip_assignment;
        self.rename_static_member(old_id, new_id);
        self.update_member(request, new_id);
        self.renew_session(new_id);
        let selected = matches!(self.group.phase, Phase::Stable(_)).then(|| self.group.select_protocol());
        match self.group.phase {
            Phase::Stable(_) if self.group.protocol == selected => {
                // Its metadata may be of other topics than before.
                self.group.subscribed_topics = self.group.compute_subscribed_topics();
                self.records.push(self.group.to_record(&self.id));
                let mut answer = self.current_generation(new_id);
                if may_skip_assignment {
                    answer.skip_assignment = self.group.is_leader(new_id);
                } else {
                    // It must not think that it leads: it would assign, and nobody waits for an assignment.
                    answer.leader = old_leader.unwrap_or_default();
                    answer.members = Vec::new();
                }
                self.answer_join(ticket, answer);
            }
            Phase::Empty => unreachable!("an empty group has no static members"),
            // The leader may have been told of the old id, so it has to assign anew.
            Phase::Stable(_) | Phase::CompletingRebalance(_) | Phase::PreparingRebalance(_) => {
                self.park(new_id, Waiting::Join(ticket));
                self.prepare_rebalance_or_complete_join();
            }
        }
    }

    /// Gives the member another id, which the old one is fenced by.
    fn rename_static_member(&mut self, old_id: &MemberId, new_id: &MemberId) {
        self.refuse_waiting(old_id, old_id, ErrorCode::FencedInstanceId);
        let mut member = self.group.members.remove(old_id).expect("the caller found the member");
        Arc::make_mut(&mut member).is_new = false;
        self.group.members.insert(Arc::clone(new_id), member);
        if self.group.is_leader(old_id) {
            self.group.leader = Some(Arc::clone(new_id));
        }
        // Differs from Kafka: there the old id remains among those that have to sync, which costs a rebalance once the
        // time for that is over.
        if let Phase::CompletingRebalance(syncing) | Phase::Stable(syncing) = &mut self.group.phase
            && syncing.pending.remove(old_id).is_some()
        {
            syncing.pending.insert(Arc::clone(new_id), ());
        }
    }
}
