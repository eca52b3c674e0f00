//! Offsets that nobody wants any more (KIP-211).
//!
//! ```text
//!   group without a protocol type    each offset, so long after its commit
//!   Empty                            all offsets, so long after the group became empty
//!   Stable, of consumers             offsets of topics that nobody reads, so long after their commit
//!   otherwise                        none
//! ```
//!
//! An empty group whose offsets are all gone goes too.

use std::ops::Bound;
use std::sync::Arc;

use ottla_base::Timestamp;

use super::CommittedOffset;
use crate::group::classic::state::{ClassicGroup, GroupState};
use crate::group::records::Record;
use crate::group::{Group, GroupCoordinator, GroupId};

/// So many groups are looked at in one step of the search.
const MAX_GROUPS_PER_STEP: usize = 1000;
/// So many offsets are forgotten in one step of the search.
const MAX_TOMBSTONES_PER_STEP: usize = 1000;

/// What a step of the search has found.
pub(in crate::group) struct Expired {
    /// Tombstones.
    pub(in crate::group) records: Vec<Record>,
    /// The group with which the next step goes on; nothing where all were looked at.
    pub(in crate::group) from: Option<GroupId>,
}

/// Since when the offsets of a group count as unused.
#[derive(Clone, Copy)]
enum Unused {
    Never,
    SinceCommit,
    Since(Timestamp),
}

impl GroupCoordinator {
    /// Looks for expired offsets, from where the last step has stopped.
    pub(in crate::group) fn expire_offsets(&self, now_ms: Timestamp) -> Expired {
        let mut records = Vec::new();
        let from = match &self.expiry.from {
            Some(id) => Bound::Included(Arc::clone(id)),
            None => Bound::Unbounded,
        };
        for (count, (id, group)) in self.groups.range::<GroupId, _>((from, Bound::Unbounded)).enumerate() {
            let is_full = count == MAX_GROUPS_PER_STEP || !self.expire_group(id, group, now_ms, &mut records);
            if is_full {
                return Expired { records, from: Some(Arc::clone(id)) };
            }
        }
        Expired { records, from: None }
    }

    /// Says whether the group was done with before there were too many tombstones.
    fn expire_group(&self, id: &GroupId, group: &Group, now_ms: Timestamp, records: &mut Vec<Record>) -> bool {
        let unused = unused(&group.classic);
        let retention_ms = self.settings.offsets_retention_ms;
        let mut is_all_expired = true;
        for (topic, partition, offset) in group.offsets.iter() {
            if group.classic.is_subscribed_to(topic) || !is_expired(offset, unused, now_ms, retention_ms) {
                is_all_expired = false;
                continue;
            }
            if records.len() >= MAX_TOMBSTONES_PER_STEP {
                return false;
            }
            let (group, topic) = (Arc::clone(id), Arc::clone(topic));
            records.push(Record::Offset { group, topic, partition, value: None });
        }
        // Differs from Kafka: a group to which somebody is about to come, with an id that it was given, is kept.
        if is_all_expired && group.classic.is_empty() && !group.classic.has_pending_joins() {
            records.push(Record::Group { group: Arc::clone(id), value: None });
        }
        true
    }
}

fn unused(group: &ClassicGroup) -> Unused {
    match group.state() {
        _ if group.protocol_type().is_none() => Unused::SinceCommit,
        GroupState::Empty => group.state_timestamp_ms().map_or(Unused::SinceCommit, Unused::Since),
        GroupState::Stable if group.uses_consumer_protocol() && group.knows_subscribed_topics() => Unused::SinceCommit,
        _ => Unused::Never,
    }
}

fn is_expired(offset: &CommittedOffset, unused: Unused, now_ms: Timestamp, retention_ms: Timestamp) -> bool {
    let since_ms = match unused {
        Unused::Never => return false,
        Unused::SinceCommit => offset.commit_timestamp_ms,
        Unused::Since(since_ms) => since_ms,
    };
    match offset.expire_timestamp_ms {
        Some(expire_ms) => now_ms >= expire_ms,
        None => now_ms.saturating_sub(since_ms) >= retention_ms,
    }
}
