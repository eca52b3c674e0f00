//! A decision about one group in the making: a copy of the group that is worked on, and what is to be written and
//! answered. Members are shared with the original until they change.

use std::sync::Arc;
use std::time::Duration;

use ottla_base::{Now, Outcome};
use ottla_protocol::error::ErrorCode;

use super::join_group::JoinGroupAnswer;
use super::state::{ClassicGroup, Member, Phase, Waiting};
use super::sync_group::SyncGroupAnswer;
use crate::group::records::Record;
use crate::group::{
    Answer, Effect, GroupCoordinator, GroupId, Limit, MemberId, Note, NoteKind, Settings, Ticket, from_ms,
};

/// A copy of a group, and what was decided about it so far.
pub(in crate::group) struct Draft<'a> {
    pub(super) settings: &'a Settings,
    pub(super) now: Now,
    pub(super) id: GroupId,
    pub(super) group: ClassicGroup,
    pub(super) records: Vec<Record>,
    pub(super) effects: Vec<Effect>,
    /// Whether a generation has got its assignment.
    pub(super) completes_rebalance: bool,
}

impl<'a> Draft<'a> {
    pub(in crate::group) fn new(settings: &'a Settings, now: Now, id: &GroupId, group: ClassicGroup) -> Self {
        let (records, effects) = (Vec::new(), Vec::new());
        Self { settings, now, id: Arc::clone(id), group, records, effects, completes_rebalance: false }
    }

    pub(in crate::group) fn into_outcome(self) -> Outcome<GroupCoordinator> {
        let mut notes = vec![Note(NoteKind::Group { id: self.id, classic: Box::new(self.group) })];
        notes.extend(self.completes_rebalance.then_some(Note(NoteKind::CompletedRebalance)));
        Outcome { records: self.records, notes, effects: self.effects }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.effects.push(Effect::Answer { ticket, answer });
    }

    /// Something of the group finds no room.
    pub(super) fn tell_of(&mut self, limit: Limit) {
        self.effects.push(Effect::Refused { group: Arc::clone(&self.id), limit });
    }

    pub(super) fn answer_join(&mut self, ticket: Ticket, answer: JoinGroupAnswer) {
        self.answer(ticket, Answer::JoinGroup(answer));
    }

    pub(super) fn answer_sync(&mut self, ticket: Ticket, answer: SyncGroupAnswer) {
        self.answer(ticket, Answer::SyncGroup(answer));
    }

    /// The time `ms` from now.
    pub(super) fn after_ms(&self, ms: i64) -> Duration {
        self.now.monotonic + from_ms(ms)
    }

    pub(super) fn is_preparing(&self) -> bool {
        matches!(self.group.phase, Phase::PreparingRebalance(_))
    }

    /// Changes a member, but for its instance and its protocols.
    ///
    /// # Panics
    /// Where there is no such member.
    pub(super) fn change_member<T>(&mut self, member_id: &str, change: impl FnOnce(&mut Member) -> T) -> T {
        self.group.members.change(member_id, change)
    }

    pub(super) fn member_ids(&self) -> Vec<MemberId> {
        self.group.member_ids()
    }

    /// What a member waits for, which it does no longer.
    pub(super) fn take_waiting(&mut self, member_id: &str) -> Waiting {
        self.change_member(member_id, |member| std::mem::replace(&mut member.waiting, Waiting::Nothing))
    }

    /// Begins a member's session anew.
    pub(super) fn renew_session(&mut self, member_id: &str) {
        let at = self.now.monotonic;
        self.change_member(member_id, |member| member.session_deadline = Some(member.session_until(at)));
    }

    /// Refuses what a member waits for, whichever it is.
    pub(super) fn refuse_waiting(&mut self, member_id: &MemberId, answered_id: &MemberId, error: ErrorCode) {
        match self.take_waiting(member_id) {
            Waiting::Nothing => {}
            Waiting::Join(ticket) => self.answer_join(ticket, JoinGroupAnswer::refused(error, answered_id)),
            Waiting::Sync(ticket) => self.answer_sync(ticket, SyncGroupAnswer::refused(error)),
        }
    }

    /// Refuses all that wait. Says whether anybody did.
    pub(in crate::group) fn refuse_all_waiting(&mut self, error: ErrorCode) -> bool {
        for member_id in self.member_ids() {
            self.refuse_waiting(&member_id, &member_id, error);
        }
        !self.effects.is_empty()
    }

    /// Lets a request wait. One that waits already is answered: its client has asked again, on another connection.
    ///
    /// Differs from Kafka: there the first request is never answered.
    pub(super) fn park(&mut self, member_id: &MemberId, waiting: Waiting) {
        self.refuse_waiting(member_id, member_id, ErrorCode::RebalanceInProgress);
        self.change_member(member_id, |member| member.waiting = waiting);
    }

    /// Takes a member or a given id out of the group, as if it had never been there; another member leads. What it
    /// waits for is refused.
    pub(super) fn remove(&mut self, member_id: &MemberId) {
        if self.group.members.contains_key(member_id) {
            self.refuse_waiting(member_id, &MemberId::default(), ErrorCode::UnknownMemberId);
        }
        let group = &mut self.group;
        group.members.remove(member_id);
        group.pending_joins.remove(member_id);
        if let Phase::CompletingRebalance(syncing) | Phase::Stable(syncing) = &mut group.phase {
            syncing.pending.remove(member_id);
        }
        if group.is_leader(member_id) {
            group.leader = group.members.keys().next().cloned();
        }
    }
}
