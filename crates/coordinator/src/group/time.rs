//! What comes of time and of facts that no client told: sessions that end, offsets that expire, a log that was loaded or
//! is given up.

use std::sync::Arc;
use std::time::Duration;

use ottla_base::{Now, Outcome};
use ottla_protocol::error::ErrorCode;

use super::classic::Draft;
use super::offsets::expire::Expired;
use super::{Expiry, GroupCoordinator, Note, NoteKind, from_ms};

impl GroupCoordinator {
    /// The first timer of all. Not before a failed write may be tried again.
    pub(super) fn next_time(&self) -> Option<Duration> {
        let group = self.deadlines.first().map(|(deadline, _)| *deadline);
        let first = group.into_iter().chain(self.expiry.next).min()?;
        Some(first.max(self.held_until))
    }

    /// Does what is due for the group whose timer ran out first, or goes on searching for expired offsets.
    pub(super) fn decide_time(&self, now: Now) -> Outcome<Self> {
        if now.monotonic < self.held_until {
            return Outcome::default();
        }
        let is_due = |deadline: &Duration| *deadline <= now.monotonic;
        let due_group = self.deadlines.first().filter(|(deadline, _)| is_due(deadline));
        if let Some((_, id)) = due_group {
            let group = &self.groups[id].classic;
            if group.deadline().is_none_or(|deadline| deadline > now.monotonic) {
                // A heartbeat has moved the timer since it was noted.
                return Outcome { notes: vec![Note(NoteKind::Reindex { id: Arc::clone(id) })], ..Outcome::default() };
            }
            let mut draft = Draft::new(&self.settings, now, id, group.clone());
            draft.expire_due();
            return draft.into_outcome();
        }
        if self.expiry.next.as_ref().is_some_and(is_due) { self.decide_expiry(now) } else { Outcome::default() }
    }

    fn decide_expiry(&self, now: Now) -> Outcome<Self> {
        let Expired { records, from } = self.expire_offsets(now.wall_ms);
        let interval_ms = self.settings.offsets_retention_check_interval_ms.max(1);
        // What was left over goes on at once, and lets requests in between.
        let next = if from.is_some() { now.monotonic } else { now.monotonic + from_ms(interval_ms) };
        let notes = vec![Note(NoteKind::Expiry(Expiry { next: Some(next), from }))];
        Outcome { records, notes, effects: Vec::new() }
    }

    /// Begins all sessions. A group that is larger than it may be by now rebalances, so that some are left out.
    pub(super) fn decide_loaded(&self, now: Now) -> Outcome<Self> {
        let at = now.monotonic;
        let interval_ms = self.settings.offsets_retention_check_interval_ms.max(1);
        let expiry = Expiry { next: Some(at + from_ms(interval_ms)), from: None };
        let mut outcome = Outcome { notes: vec![Note(NoteKind::Loaded { at })], ..Outcome::default() };
        outcome.notes.push(Note(NoteKind::Expiry(expiry)));
        for (id, group) in &self.groups {
            if group.classic.members().len() > self.settings.group_max_size {
                let mut classic = group.classic.clone();
                classic.begin(at);
                let mut draft = Draft::new(&self.settings, now, id, classic);
                draft.prepare_rebalance_or_complete_join();
                outcome.notes.extend(draft.into_outcome().notes);
            }
        }
        outcome
    }

    /// Tells all who wait that another broker coordinates their group.
    pub(super) fn decide_unloaded(&self, now: Now) -> Outcome<Self> {
        let mut outcome = Outcome::default();
        for (id, group) in &self.groups {
            let mut draft = Draft::new(&self.settings, now, id, group.classic.clone());
            if draft.refuse_all_waiting(ErrorCode::NotCoordinator) {
                outcome.effects.extend(draft.into_outcome().effects);
            }
        }
        outcome
    }
}
