//! OffsetDelete (key 47, KIP-496): forget offsets of topics that a group does not read; and what becomes of the offsets
//! of topics that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_base::{Outcome, Uuid};
use ottla_protocol::error::ErrorCode;

use super::{CommittedOffset, DeletedTopic};
use crate::group::records::Record;
use crate::group::{Answer, Asked, GroupCoordinator, GroupId, Note, NoteKind};

/// An OffsetDelete request.
#[derive(Clone, Debug)]
pub struct OffsetDelete {
    /// The group.
    pub group_id: GroupId,
    /// Topics and partitions.
    pub partitions: Vec<(Arc<str>, i32)>,
}

impl OffsetDelete {
    pub(in crate::group) fn decide(self, asked: Asked<'_>) -> Outcome<GroupCoordinator> {
        let refuse = |error| asked.answered(Answer::OffsetDelete(Err(error)));
        let Some(group) = asked.coordinator.group(&self.group_id) else { return refuse(ErrorCode::GroupIdNotFound) };
        if !group.classic.is_empty() && !group.classic.uses_consumer_protocol() {
            return refuse(ErrorCode::NonEmptyGroup);
        }
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(self.partitions.len());
        for (topic, partition) in self.partitions {
            if group.classic.is_subscribed_to(&topic) {
                results.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            results.push(ErrorCode::None);
            if group.offsets.get(&topic, partition).is_some() {
                records.push(Record::Offset { group: Arc::clone(&self.group_id), topic, partition, value: None });
            }
        }
        let notes = vec![Note(NoteKind::DeletedOffsets(records.len() as u64))];
        Outcome { records, notes, ..asked.answered(Answer::OffsetDelete(Ok(results))) }
    }
}

impl GroupCoordinator {
    /// Forgets the offsets of topics that are gone, but not those that were committed for a newer topic of the name.
    pub(in crate::group) fn decide_topics_deleted(&self, topics: &[DeletedTopic]) -> Outcome<Self> {
        let mut ids: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
        topics.iter().for_each(|topic| ids.entry(&topic.name).or_default().push(topic.id));
        let is_of =
            |offset: &CommittedOffset, id: &Uuid| id.is_zero() || offset.topic_id.is_zero() || offset.topic_id == *id;
        let names = ids.keys().copied().collect();
        self.forget_offsets(&names, |topic, offset| ids[topic].iter().any(|id| is_of(offset, id)))
    }

    /// Forgets the offsets of topics that are not among those that there are.
    pub(in crate::group) fn decide_topics_known(&self, topics: &BTreeMap<Arc<str>, Uuid>) -> Outcome<Self> {
        let names = self.committed_topics();
        let names = names.iter().map(|name| &**name).collect();
        self.forget_offsets(&names, |topic, offset| match topics.get(topic) {
            None => true,
            Some(id) => !id.is_zero() && !offset.topic_id.is_zero() && offset.topic_id != *id,
        })
    }

    /// The topics that some group has an offset of.
    pub fn committed_topics(&self) -> BTreeSet<Arc<str>> {
        self.groups.values().flat_map(|group| group.offsets.topics()).map(|(topic, _)| Arc::clone(topic)).collect()
    }

    /// Looks at so many topics as each group has or as are named, whichever are fewer.
    fn forget_offsets(
        &self,
        names: &BTreeSet<&str>,
        is_forgotten: impl Fn(&str, &CommittedOffset) -> bool,
    ) -> Outcome<Self> {
        let mut outcome = Outcome::default();
        for (id, group) in &self.groups {
            let mut forget = |topic: &Arc<str>, partition: i32, offset: &CommittedOffset| {
                if is_forgotten(topic, offset) {
                    let (group, topic) = (Arc::clone(id), Arc::clone(topic));
                    outcome.records.push(Record::Offset { group, topic, partition, value: None });
                }
            };
            group.offsets.for_each_of(names, &mut forget);
        }
        outcome
    }
}
