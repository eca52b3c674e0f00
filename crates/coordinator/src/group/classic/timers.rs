//! What time alone does to a group: sessions end, given ids lapse, barriers open.

use std::sync::Arc;
use std::time::Duration;

use super::draft::Draft;
use super::state::{Phase, Waiting};
use crate::group::MemberId;

/// A timer.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Session(MemberId),
    PendingJoin(MemberId),
    Phase,
}

impl Draft<'_> {
    /// Does all that is due, the first to run out first, and finds out when there is more to do. Each step ends a timer or sets
    /// it to later than now, or to now: the round after sees to those.
    pub(in crate::group) fn expire_due(&mut self) {
        loop {
            let due = self.due();
            if due.is_empty() {
                return self.group.find_earliest();
            }
            for (deadline, timer) in due {
                // One that ran out before may have ended or moved it.
                if self.deadline_of(&timer) == Some(deadline) {
                    self.expire(timer);
                }
            }
        }
    }

    /// The timers that have run out, the first of them first.
    fn due(&self) -> Vec<(Duration, Timer)> {
        let group = &self.group;
        let sessions = group.members.iter().filter_map(|(member_id, member)| {
            Some((member.session_deadline?, member_id)).filter(|(deadline, _)| self.is_due(*deadline))
        });
        let pending_joins = group.pending_joins.iter().map(|(member_id, deadline)| (*deadline, member_id));
        let pending_joins = pending_joins.filter(|(deadline, _)| self.is_due(*deadline));
        let phase = group.phase.deadline().filter(|deadline| self.is_due(*deadline));
        let mut due: Vec<(Duration, Timer)> = sessions
            .map(|(deadline, member_id)| (deadline, Timer::Session(Arc::clone(member_id))))
            .chain(pending_joins.map(|(deadline, member_id)| (deadline, Timer::PendingJoin(Arc::clone(member_id)))))
            .chain(phase.map(|deadline| (deadline, Timer::Phase)))
            .collect();
        due.sort_unstable();
        due
    }

    fn deadline_of(&self, timer: &Timer) -> Option<Duration> {
        match timer {
            Timer::Session(member_id) => self.group.members.get(member_id)?.session_deadline,
            Timer::PendingJoin(member_id) => self.group.pending_joins.get(member_id).copied(),
            Timer::Phase => self.group.phase.deadline(),
        }
    }

    fn expire(&mut self, timer: Timer) {
        match timer {
            Timer::Session(member_id) => self.expire_session(&member_id),
            Timer::PendingJoin(member_id) => {
                self.remove(&member_id);
                if self.is_preparing() {
                    self.after_loss();
                }
            }
            Timer::Phase => match &self.group.phase {
                Phase::Empty => {}
                Phase::PreparingRebalance(_) => self.expire_join(),
                Phase::CompletingRebalance(syncing) | Phase::Stable(syncing) => {
                    let pending: Vec<MemberId> = syncing.pending.keys().cloned().collect();
                    self.expire_syncs(&pending);
                }
            },
        }
    }

    fn expire_join(&mut self) {
        let Phase::PreparingRebalance(joining) = &self.group.phase else { return };
        match joining.initial.clone() {
            Some(initial) => self.end_initial_delay(&initial),
            None => self.complete_join(),
        }
    }

    /// A member that waits is there: its session is renewed when it is answered. A new one may be long gone.
    fn expire_session(&mut self, member_id: &MemberId) {
        let member = &self.group.members[member_id];
        if member.waiting != Waiting::Nothing && !member.is_new {
            self.change_member(member_id, |member| member.session_deadline = None);
        } else {
            self.remove(member_id);
            self.after_loss();
        }
    }
}
