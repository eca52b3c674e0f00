//! Ids that a group has given out and that have not come back (KIP-394).

use std::ops::Deref;
use std::time::Duration;

use crate::group::MemberId;
use ottla_base::SharedMap;

/// What an id that was given out takes beside its text, about.
const PENDING_JOIN_BYTES: usize = 64;

/// The ids, each with the time until when it may be used; read as a map and changed here alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::group) struct PendingJoins {
    deadlines: SharedMap<MemberId, Duration>,
    size_bytes: usize,
    /// None of them lapses before this time; the first of them may do so later.
    earliest: Option<Duration>,
}

impl PendingJoins {
    pub(super) fn insert(&mut self, member_id: MemberId, deadline: Duration) {
        self.remove(&member_id);
        self.size_bytes += size_of(&member_id);
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.deadlines.insert(member_id, deadline);
    }

    pub(super) fn remove(&mut self, member_id: &str) {
        if self.deadlines.remove(member_id).is_some() {
            self.size_bytes -= size_of(member_id);
        }
    }

    /// The memory that they take, about.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// What of that is of this id.
    pub(super) fn bytes_of(&self, member_id: &str) -> Option<usize> {
        self.contains_key(member_id).then(|| size_of(member_id))
    }

    pub(super) fn earliest(&self) -> Option<Duration> {
        self.earliest
    }

    /// Looks for the one that lapses first.
    pub(super) fn find_earliest(&mut self) {
        self.earliest = self.deadlines.values().min().copied();
    }

    /// Panics where what is counted is not what there is.
    pub(super) fn check(&self) {
        assert_eq!(self.size_bytes, self.keys().map(|member_id| size_of(member_id)).sum(), "what given ids take");
        assert!(
            self.values().all(|deadline| self.earliest <= Some(*deadline)),
            "no given id lapses before the earliest"
        );
        assert!(self.is_empty() || self.earliest.is_some(), "given ids lapse");
    }
}

fn size_of(member_id: &str) -> usize {
    PENDING_JOIN_BYTES + member_id.len()
}

impl Deref for PendingJoins {
    type Target = SharedMap<MemberId, Duration>;

    fn deref(&self) -> &Self::Target {
        &self.deadlines
    }
}
