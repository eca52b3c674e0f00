//! What time alone does to a group: sessions end, given ids lapse, barriers open.

use std::sync::Arc;
use std::time::Duration;

use super::draft::Draft;
use super::state::{Phase, Waiting};
use crate::group::MemberId;

/// A timer that has run out.
enum Due {
    Join,
    Sync,
    PendingJoin(MemberId),
    Session(MemberId),
}

impl Draft<'_> {
    /// Does all that is due. Each step ends a timer or sets it to later than now.
    pub(in crate::group) fn expire_due(&mut self) {
        while let Some(due) = self.next_due() {
            match due {
                Due::Join => self.expire_join(),
                Due::Sync => {
                    if let Phase::CompletingRebalance(syncing) | Phase::Stable(syncing) = &self.group.phase {
                        let pending = syncing.pending.clone();
                        self.expire_syncs(&pending);
                    }
                }
                Due::PendingJoin(member_id) => {
                    self.remove(&member_id);
                    if self.is_preparing() {
                        self.after_loss();
                    }
                }
                Due::Session(member_id) => self.expire_session(&member_id),
            }
        }
    }

    /// The timer that ran out first.
    fn next_due(&self) -> Option<Due> {
        let mut first: Option<(Duration, Due)> = None;
        let mut consider = |deadline: Duration, due: &dyn Fn() -> Due| {
            if self.is_due(deadline) && first.as_ref().is_none_or(|(earliest, _)| deadline < *earliest) {
                first = Some((deadline, due()));
            }
        };
        for (member_id, member) in &self.group.members {
            if let Some(deadline) = member.session_deadline {
                consider(deadline, &|| Due::Session(Arc::clone(member_id)));
            }
        }
        for (member_id, deadline) in &self.group.pending_joins {
            consider(*deadline, &|| Due::PendingJoin(Arc::clone(member_id)));
        }
        match &self.group.phase {
            Phase::PreparingRebalance(joining) => consider(joining.deadline, &|| Due::Join),
            Phase::CompletingRebalance(syncing) | Phase::Stable(syncing) if !syncing.pending.is_empty() => {
                consider(syncing.deadline, &|| Due::Sync);
            }
            Phase::Empty | Phase::CompletingRebalance(_) | Phase::Stable(_) => {}
        }
        first.map(|(_, due)| due)
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
        let member = self.member_mut(member_id);
        if member.waiting != Waiting::Nothing && !member.is_new {
            member.session_deadline = None;
        } else {
            self.remove(member_id);
            self.after_loss();
        }
    }
}
