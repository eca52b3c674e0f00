//! From one generation to the next: the barrier of joins, and what begins and ends it.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::error::ErrorCode;

use super::draft::Draft;
use super::join_group::{JoinGroupAnswer, JoinedMember};
use super::state::{InitialDelay, Joining, Phase, Syncing, Waiting};
use crate::group::{MemberId, Opaque};

/// A barrier that nobody came to is not tried again sooner, even where members give less time to come: that would only
/// keep the host busy.
const REJOIN_TIMEOUT_MIN_MS: i64 = 100;

impl Draft<'_> {
    /// Begins a rebalance, or ends the one that is under way if all have joined.
    pub(in crate::group) fn prepare_rebalance_or_complete_join(&mut self) {
        if self.is_preparing() { self.maybe_complete_join() } else { self.prepare_rebalance() }
    }

    /// Begins a rebalance. A group that was empty waits for more members (KIP-134), another for all that it has.
    pub(in crate::group) fn prepare_rebalance(&mut self) {
        assert!(!self.is_preparing(), "a rebalance does not begin twice");
        if matches!(self.group.phase, Phase::CompletingRebalance(_)) {
            self.reset_assignment(ErrorCode::RebalanceInProgress);
        }
        self.group.state_timestamp_ms = Some(self.now.wall_ms);
        let rebalance_timeout_ms = self.group.rebalance_timeout_ms();
        if self.group.is_empty() {
            let delay_ms = self.settings.group_initial_rebalance_delay_ms;
            let remaining_ms = (rebalance_timeout_ms - delay_ms).max(0);
            let initial = InitialDelay { delay_ms, remaining_ms, is_new_member_added: false };
            let deadline = self.after_ms(delay_ms);
            self.group.phase = Phase::PreparingRebalance(Joining { deadline, initial: Some(initial) });
        } else {
            let deadline = self.after_ms(rebalance_timeout_ms);
            self.group.phase = Phase::PreparingRebalance(Joining { deadline, initial: None });
            if self.group.have_all_joined() {
                self.complete_join();
            }
        }
    }

    /// Ends the barrier if all have joined; but a group that was empty waits until its delay is over.
    pub(super) fn maybe_complete_join(&mut self) {
        if let Phase::PreparingRebalance(Joining { initial: None, .. }) = self.group.phase
            && self.group.have_all_joined()
        {
            self.complete_join();
        }
    }

    /// A member or a given id has gone for other reasons than its own wish.
    pub(super) fn after_loss(&mut self) {
        match self.group.phase {
            Phase::Empty => {}
            Phase::PreparingRebalance(_) if self.group.have_all_joined() => self.complete_join(),
            Phase::PreparingRebalance(_) => {}
            Phase::CompletingRebalance(_) | Phase::Stable(_) => self.prepare_rebalance(),
        }
    }

    /// The delay of a group that was empty is over: it is made longer if members came meanwhile and there is time left.
    pub(super) fn end_initial_delay(&mut self, initial: &InitialDelay) {
        if !initial.is_new_member_added || initial.remaining_ms == 0 {
            return self.complete_join();
        }
        let delay_ms = self.settings.group_initial_rebalance_delay_ms.min(initial.remaining_ms);
        let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
        let next = InitialDelay { delay_ms, remaining_ms, is_new_member_added: false };
        let deadline = self.after_ms(delay_ms);
        self.group.phase = Phase::PreparingRebalance(Joining { deadline, initial: Some(next) });
    }

    /// Ends the barrier: dynamic members that did not come are out, the others are the next generation.
    pub(super) fn complete_join(&mut self) {
        for member_id in self.member_ids() {
            let member = &self.group.members[&member_id];
            if !member.is_joining() && member.instance_id.is_none() {
                self.remove(&member_id);
            }
        }
        if !self.elect_joined_leader() && !self.group.members.is_empty() {
            // Only static members are left and none came: they are waited for until their sessions end.
            let timeout_ms = self.group.rebalance_timeout_ms().max(REJOIN_TIMEOUT_MIN_MS);
            let deadline = self.after_ms(timeout_ms);
            if let Phase::PreparingRebalance(joining) = &mut self.group.phase {
                joining.deadline = deadline;
                if let Some(initial) = &mut joining.initial {
                    initial.remaining_ms = 0;
                }
            }
            return;
        }
        self.begin_generation();
    }

    /// Lets the leader be one that has joined. Says whether there is one.
    fn elect_joined_leader(&mut self) -> bool {
        let group = &mut self.group;
        let Some(leader) = &group.leader else { return false };
        if group.members[leader].is_joining() {
            return true;
        }
        let joined =
            group.members.iter().find(|(_, member)| member.is_joining()).map(|(member_id, _)| Arc::clone(member_id));
        if let Some(joined) = &joined {
            group.leader = Some(Arc::clone(joined));
        }
        joined.is_some()
    }

    fn begin_generation(&mut self) {
        // Generations of ids that are still in use must differ; Java's counter wraps as well.
        self.group.generation = self.group.generation.wrapping_add(1);
        self.group.state_timestamp_ms = Some(self.now.wall_ms);
        if self.group.members.is_empty() {
            self.group.protocol = None;
            self.group.phase = Phase::Empty;
            self.group.subscribed_topics = self.group.compute_subscribed_topics();
            self.records.push(self.group.to_record(&self.id));
            return;
        }
        self.group.protocol = Some(self.group.select_protocol());
        self.group.subscribed_topics = self.group.compute_subscribed_topics();
        let pending = self.group.members.keys().map(|member_id| (Arc::clone(member_id), ())).collect();
        let deadline = self.after_ms(self.group.rebalance_timeout_ms());
        self.group.phase = Phase::CompletingRebalance(Syncing { deadline, pending });
        for member_id in self.member_ids() {
            let at = self.now.monotonic;
            let waiting = self.change_member(&member_id, |member| {
                member.session_deadline = Some(member.session_until(at));
                member.is_new = false;
                std::mem::replace(&mut member.waiting, Waiting::Nothing)
            });
            if let Waiting::Join(ticket) = waiting {
                let answer = self.current_generation(&member_id);
                self.answer_join(ticket, answer);
            }
        }
    }

    /// What a member is told of the generation that it is in. Only the leader learns of the others.
    pub(super) fn current_generation(&self, member_id: &MemberId) -> JoinGroupAnswer {
        let group = &self.group;
        JoinGroupAnswer {
            error: ErrorCode::None,
            generation: group.generation,
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            leader: group.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: Arc::clone(member_id),
            members: if group.is_leader(member_id) { self.joined_members() } else { Vec::new() },
        }
    }

    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.group.protocol.as_deref().unwrap_or_default();
        let joined = self.group.members.iter().map(|(member_id, member)| JoinedMember {
            member_id: Arc::clone(member_id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        joined.collect()
    }

    /// Takes all assignments back and refuses the syncs that wait.
    pub(super) fn reset_assignment(&mut self, error: ErrorCode) {
        for member_id in self.member_ids() {
            self.change_member(&member_id, |member| member.assignment = Opaque::default());
            if matches!(self.group.members[&member_id].waiting, Waiting::Sync(_)) {
                self.refuse_waiting(&member_id, &member_id, error);
                // While it waited its session may have run out without effect.
                self.renew_session(&member_id);
            }
        }
    }

    /// The leader's assignment could not be written.
    pub(in crate::group) fn refuse_assignment(&mut self, error: ErrorCode) {
        if matches!(self.group.phase, Phase::CompletingRebalance(_)) {
            self.reset_assignment(error);
            self.prepare_rebalance();
        }
    }

    /// The time to sync is over: those who did not are out.
    pub(super) fn expire_syncs(&mut self, pending: &[MemberId]) {
        for member_id in pending {
            self.remove(member_id);
        }
        self.prepare_rebalance();
    }

    /// Whether the time has come.
    pub(super) fn is_due(&self, deadline: Duration) -> bool {
        deadline <= self.now.monotonic
    }
}
