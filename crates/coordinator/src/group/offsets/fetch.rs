//! OffsetFetch (key 9): how far a group has got. Reads only, so it is no input.
//!
//! v2 all topics. v5 leader epoch. v7 stable offsets alone, of which all are while there are no transactions. v8 several
//! groups. v10 topic ids.

use std::sync::Arc;

use ottla_base::Uuid;

use super::CommittedOffset;
use crate::group::GroupCoordinator;

/// Partitions that are asked for.
#[derive(Clone, Debug)]
pub struct TopicToFetch {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Its id, or zero: an offset that was committed for another topic of the name is not given.
    pub topic_id: Uuid,
    /// Which ones.
    pub partitions: Vec<i32>,
}

/// The offsets of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub topic: Arc<str>,
    /// In the order in which they were asked for.
    pub offsets: Vec<FetchedOffset>,
}

/// The offset of a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: i32,
    /// What was committed; nothing is answered as offset -1, leader epoch -1, metadata "", without an error.
    pub committed: Option<CommittedOffset>,
}

impl GroupCoordinator {
    /// The offsets of a group in the partitions that are asked for. A group that there is not has none.
    pub fn fetch_offsets(&self, group_id: &str, topics: &[TopicToFetch]) -> Vec<FetchedTopic> {
        let offsets = self.group(group_id).map(|group| &group.offsets);
        let fetch = |topic: &TopicToFetch, partition: i32| {
            let committed = offsets.and_then(|offsets| offsets.get(&topic.topic, partition));
            let is_it = |offset: &&CommittedOffset| {
                topic.topic_id.is_zero() || offset.topic_id.is_zero() || offset.topic_id == topic.topic_id
            };
            FetchedOffset { partition, committed: committed.filter(is_it).cloned() }
        };
        let fetch_topic = |topic: &TopicToFetch| FetchedTopic {
            topic: Arc::clone(&topic.topic),
            offsets: topic.partitions.iter().map(|partition| fetch(topic, *partition)).collect(),
        };
        topics.iter().map(fetch_topic).collect()
    }

    /// How many offsets a group has.
    pub fn offset_count(&self, group_id: &str) -> usize {
        self.group(group_id).map_or(0, |group| group.offsets.len())
    }

    /// All offsets of a group. Whoever knows the topics' ids leaves out those that were committed for another topic.
    pub fn fetch_all_offsets(&self, group_id: &str) -> Vec<FetchedTopic> {
        let mut topics: Vec<FetchedTopic> = Vec::new();
        let Some(group) = self.group(group_id) else { return topics };
        for (topic, partition, offset) in group.offsets.iter() {
            let fetched = FetchedOffset { partition, committed: Some(offset.clone()) };
            match topics.last_mut() {
                Some(last) if last.topic == *topic => last.offsets.push(fetched),
                _ => topics.push(FetchedTopic { topic: Arc::clone(topic), offsets: vec![fetched] }),
            }
        }
        topics
    }
}
