//! How far groups have got: what they commit, fetch, delete and forget.

mod check;
pub mod commit;
pub mod delete;
pub mod expire;
pub mod fetch;

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_base::{SharedMap, Timestamp, Uuid};

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset that the group wants. Nobody checks it.
    pub offset: i64,
    /// Of the last record that it has read, or -1.
    pub leader_epoch: i32,
    /// What it wrote to itself.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_timestamp_ms: Timestamp,
    /// When it expires, where its client said so (before v5).
    pub expire_timestamp_ms: Option<Timestamp>,
    /// The topic's id, or zero.
    pub topic_id: Uuid,
}

/// A topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name, which another topic may have by now.
    pub name: String,
    /// Its id, or zero.
    pub id: Uuid,
}

/// The offsets of a topic's partitions.
pub type PartitionOffsets = SharedMap<i32, CommittedOffset>;

/// The offsets of one group. A copy costs nothing, and stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    topics: SharedMap<Arc<str>, PartitionOffsets>,
    metadata_bytes: usize,
}

impl Offsets {
    pub(super) fn put(&mut self, topic: &Arc<str>, partition: i32, offset: CommittedOffset) {
        self.metadata_bytes += offset.metadata.len();
        let former = match self.topics.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, offset),
            None => {
                self.topics.insert(Arc::clone(topic), [(partition, offset)].into_iter().collect());
                None
            }
        };
        self.metadata_bytes -= former.map_or(0, |former| former.metadata.len());
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            self.metadata_bytes -= partitions.remove(&partition).map_or(0, |former| former.metadata.len());
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// What was committed for a partition.
    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.of_topic(topic)?.get(&partition)
    }

    /// Those of a topic, if there are any.
    pub fn of_topic(&self, topic: &str) -> Option<&PartitionOffsets> {
        self.topics.get(topic)
    }

    /// Those of each topic, by name; none is empty.
    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &PartitionOffsets)> {
        self.topics.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// All of them, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        let of_topic = |(topic, partitions)| {
            let partitions: &PartitionOffsets = partitions;
            partitions.iter().map(move |(partition, offset)| (topic, *partition, offset))
        };
        self.topics.iter().flat_map(of_topic)
    }

    /// What the group wrote to itself.
    pub fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// Those of the topics that are named. There may be many more of these than are named, or many fewer.
    fn for_each_of(&self, names: &BTreeSet<&str>, look: &mut impl FnMut(&Arc<str>, i32, &CommittedOffset)) {
        let mut look_at = |topic: &Arc<str>, partitions: &PartitionOffsets| {
            partitions.iter().for_each(|(partition, offset)| look(topic, *partition, offset));
        };
        if names.len() < self.topics.len() {
            let from = |name: &&str| self.topics.iter_from(*name).next().filter(|(topic, _)| ***topic == **name);
            names.iter().filter_map(from).for_each(|(topic, partitions)| look_at(topic, partitions));
        } else {
            let named = self.topics().filter(|(topic, _)| names.contains(&***topic));
            named.for_each(|(topic, partitions)| look_at(topic, partitions));
        }
    }
}
