//! What comes of time and of facts that no client told: sessions that end, offsets that expire, a log that was loaded or
//! is given up.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use ottla_base::{Now, Outcome};
use ottla_protocol::error::ErrorCode;

use super::classic::Draft;
use super::offsets::expire::Expired;
use super::records::Record;
use super::{Expiry, GroupCoordinator, GroupId, Note, NoteKind, from_ms};

/// So long after a failed write what only time asks for is tried again. Kafka waits as long.
const TIMER_RETRY: Duration = Duration::from_millis(500);

/// What time asks for.
enum Due<'a> {
    /// The first timer of a group has run out.
    Group(&'a GroupId),
    /// A step of the search for expired offsets.
    Expiry,
}

impl GroupCoordinator {
    /// The first timer of all.
    pub(super) fn next_time(&self) -> Option<Duration> {
        let group = self.deadlines.first().map(|(deadline, _)| *deadline);
        group.into_iter().chain(self.expiry.next).min()
    }

    /// What is done first.
    fn due(&self, now: Now) -> Option<Due<'_>> {
        let is_due = |deadline: &Duration| *deadline <= now.monotonic;
        let group = self.deadlines.first().filter(|(deadline, _)| is_due(deadline)).map(|(_, id)| Due::Group(id));
        group.or_else(|| self.expiry.next.as_ref().is_some_and(is_due).then_some(Due::Expiry))
    }

    /// Does what is due for the group whose timer ran out first, or goes on searching for expired offsets.
    pub(super) fn decide_time(&self, now: Now) -> Outcome<Self> {
        let id = match self.due(now) {
            None => return Outcome::default(),
            Some(Due::Expiry) => return self.decide_expiry(now),
            Some(Due::Group(id)) => id,
        };
        let group = &self.groups[id].classic;
        if group.deadline().is_none_or(|deadline| deadline > now.monotonic) {
            // A heartbeat has moved the timer since it was noted.
            return Outcome { notes: vec![Note(NoteKind::Reindex { id: Arc::clone(id) })], ..Outcome::default() };
        }
        let mut draft = Draft::new(&self.settings, now, id, group.clone());
        draft.expire_due();
        draft.into_outcome()
    }

    /// What was due is not written. It is tried again later, and nobody else waits for that: it may be for this group's record
    /// alone that there is no room. Offsets that were forgotten before one could not be are gone, and count.
    pub(super) fn decide_time_not_written(&self, now: Now, written: &[Record]) -> Outcome<Self> {
        let until = now.monotonic + TIMER_RETRY;
        let notes = match self.due(now) {
            None => return Outcome::default(),
            Some(Due::Group(id)) => vec![Note(NoteKind::Hold { id: Arc::clone(id), until })],
            Some(Due::Expiry) => notes_of_expiry(self.expiry_past_failure(now), written),
        };
        Outcome { notes, ..Outcome::default() }
    }

    /// The search for expired offsets goes on after the group whose turn it was, which has its next with the next search.
    fn expiry_past_failure(&self, now: Now) -> Expiry {
        // What was written is replayed: the first record that is left is the one that failed.
        let failed = self.expire_offsets(now.wall_ms).records.into_iter().next();
        let after = failed.and_then(|record| {
            let (Record::Group { group, .. } | Record::Offset { group, .. }) = record;
            self.groups.range((Bound::Excluded(group), Bound::Unbounded)).next()
        });
        match after {
            Some((id, _)) => Expiry { next: Some(now.monotonic + TIMER_RETRY), from: Some(Arc::clone(id)) },
            None => Expiry { next: Some(now.monotonic + self.expiry_interval()), from: None },
        }
    }

    fn expiry_interval(&self) -> Duration {
        from_ms(self.settings.offsets_retention_check_interval_ms.max(1))
    }

    fn decide_expiry(&self, now: Now) -> Outcome<Self> {
        let Expired { records, from } = self.expire_offsets(now.wall_ms);
        // What was left over goes on at once, and lets requests in between.
        let next = if from.is_some() { now.monotonic } else { now.monotonic + self.expiry_interval() };
        let notes = notes_of_expiry(Expiry { next: Some(next), from }, &records);
        Outcome { records, notes, effects: Vec::new() }
    }

    /// Begins all sessions. A group that is larger than it may be by now rebalances, so that some are left out.
    pub(super) fn decide_loaded(&self, now: Now) -> Outcome<Self> {
        let at = now.monotonic;
        let expiry = Expiry { next: Some(at + self.expiry_interval()), from: None };
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

/// The search has got so far, and forgot what `tombstones` are of.
fn notes_of_expiry(expiry: Expiry, tombstones: &[Record]) -> Vec<Note> {
    let offsets = tombstones.iter().filter(|record| matches!(record, Record::Offset { .. })).count() as u64;
    let counted = (offsets > 0).then_some(Note(NoteKind::ExpiredOffsets(offsets)));
    [Note(NoteKind::Expiry(expiry))].into_iter().chain(counted).collect()
}
