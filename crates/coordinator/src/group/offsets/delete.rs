//! OffsetDelete (key 47, KIP-496): forget offsets of topics that a group does not read; and what becomes of the offsets
//! of topics that are gone.

use std::sync::Arc;

use ottla_base::Outcome;
use ottla_protocol::error::ErrorCode;

use super::DeletedTopic;
use crate::group::records::Record;
use crate::group::{Answer, GroupCoordinator, GroupId, Ticket, answered};

/// An OffsetDelete request.
#[derive(Clone, Debug)]
pub struct OffsetDelete {
    /// The group.
    pub group_id: GroupId,
    /// Topics and partitions.
    pub partitions: Vec<(Arc<str>, i32)>,
}

impl OffsetDelete {
    pub(in crate::group) fn decide(self, coordinator: &GroupCoordinator, ticket: Ticket) -> Outcome<GroupCoordinator> {
        let refuse = |error| answered(ticket, Answer::OffsetDelete(Err(error)));
        if self.group_id.is_empty() {
            return refuse(ErrorCode::InvalidGroupId);
        }
        let Some(group) = coordinator.group(&self.group_id) else { return refuse(ErrorCode::GroupIdNotFound) };
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
        Outcome { records, ..answered(ticket, Answer::OffsetDelete(Ok(results))) }
    }
}

impl GroupCoordinator {
    /// Forgets the offsets of topics that are gone, but not those that were committed for a newer topic of the name.
    pub(in crate::group) fn decide_topics_deleted(&self, topics: &[DeletedTopic]) -> Outcome<Self> {
        let mut outcome = Outcome::default();
        for (id, group) in &self.groups {
            for topic in topics {
                let name: Arc<str> = topic.name.as_str().into();
                for (partition, offset) in group.offsets.of_topic(&name) {
                    if topic.id.is_zero() || offset.topic_id.is_zero() || offset.topic_id == topic.id {
                        let (group, topic) = (Arc::clone(id), Arc::clone(&name));
                        outcome.records.push(Record::Offset { group, topic, partition, value: None });
                    }
                }
            }
        }
        outcome
    }
}
