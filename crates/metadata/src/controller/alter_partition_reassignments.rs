//! AlterPartitionReassignments (KIP-455): other replicas for a partition, or an end to what is under way. Written: a
//! PartitionChangeRecord for each partition that changes.
//!
//! ```text
//!   target [2,3] of [1,2]  ->  replicas [2,3,1]  adding [3]  removing [1]     until 3 is in sync
//!                          ->  replicas [2,3]                                 at once where nobody is to be added
//! ```
//!
//! Differs from Kafka: the end of one whose new replicas come into sync is written with the change of the ISR, which
//! brokers cannot ask for yet: a cluster has one.

use ottla_base::{BrokerId, PartitionIndex, Uuid};
use ottla_protocol::error::ErrorCode;

use super::{Draft, Refusal, elections, replica_lists};
use crate::image::{Image, Partition};
use crate::records::OwnedRecord;

/// Asks for other replicas.
#[derive(Clone, Debug)]
pub struct AlterPartitionReassignments {
    /// Of which topics.
    pub topics: Vec<TopicReassignment>,
    /// Whether there may be more or fewer replicas than before (KIP-860).
    pub allow_replication_factor_change: bool,
}

/// What is asked of one topic.
#[derive(Clone, Debug)]
pub struct TopicReassignment {
    /// Its name.
    pub name: String,
    /// The replicas that a partition shall have; absent to end what is under way.
    pub partitions: Vec<(PartitionIndex, Option<Vec<BrokerId>>)>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct ReassignedTopic {
    /// Its name.
    pub name: String,
    /// Of each partition, whether it is done or under way, or why not.
    pub partitions: Vec<(PartitionIndex, Result<(), Refusal>)>,
}

impl AlterPartitionReassignments {
    pub(super) fn decide(self, draft: &mut Draft) -> Vec<ReassignedTopic> {
        let mut results = Vec::with_capacity(self.topics.len());
        for topic in self.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, target) in topic.partitions {
                let may_change = self.allow_replication_factor_change;
                let planned = plan(draft.image(), &topic.name, index, target, may_change);
                partitions.push((index, planned.map(|record| draft.extend(record))));
            }
            results.push(ReassignedTopic { name: topic.name, partitions });
        }
        if let Err(refusal) = draft.bound() {
            for (_, result) in results.iter_mut().flat_map(|topic| &mut topic.partitions) {
                *result = Err(refusal.clone());
            }
        }
        results
    }
}

fn plan(
    image: &Image,
    name: &str,
    index: PartitionIndex,
    target: Option<Vec<BrokerId>>,
    may_change_factor: bool,
) -> Result<Option<OwnedRecord>, Refusal> {
    let unknown = |message: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
    let topic = image.topic(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition = topic.partitions.get(&index);
    let partition = partition.ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let after = match target {
        None => cancelled(partition)?,
        Some(target) => {
            replica_lists::check_given(image, &target, None)?;
            let present = partition.replicas.len() - partition.adding_replicas.len();
            if !may_change_factor && target.len() != present {
                let message = format!("The replication factor is changed from {present} to {}", target.len());
                return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
            }
            reassigned(partition, target)
        }
    };
    Ok(elections::replace(image, topic, index, partition, with_directories(image, partition, after)))
}

/// The partition on its way to `target`, or there.
fn reassigned(partition: &Partition, target: Vec<BrokerId>) -> Partition {
    let original = original(partition);
    let adding: Vec<_> = target.iter().copied().filter(|id| !original.contains(id)).collect();
    let removing: Vec<_> = original.iter().copied().filter(|id| !target.contains(id)).collect();
    let in_sync: Vec<_> = partition.isr.iter().copied().filter(|id| target.contains(id)).collect();
    let mut after = partition.clone();
    if adding.iter().all(|id| partition.isr.contains(id)) && !in_sync.is_empty() {
        (after.adding_replicas, after.removing_replicas) = (Vec::new(), Vec::new());
        (after.replicas, after.isr) = (target, in_sync);
    } else {
        after.replicas = target.iter().chain(&removing).copied().collect();
        after.isr.retain(|id| after.replicas.contains(id));
        (after.adding_replicas, after.removing_replicas) = (adding, removing);
    }
    after
}

/// The partition as it was before what is under way; the order of its replicas is lost.
fn cancelled(partition: &Partition) -> Result<Partition, Refusal> {
    if partition.adding_replicas.is_empty() && partition.removing_replicas.is_empty() {
        return Err(Refusal::without_words(ErrorCode::NoReassignmentInProgress));
    }
    let mut after = partition.clone();
    after.replicas = original(partition);
    after.isr.retain(|id| after.replicas.contains(id));
    let is_eligible = |id: &BrokerId| partition.eligible_leader_replicas.contains(id);
    if after.isr.is_empty() && !after.replicas.iter().any(is_eligible) {
        let message = "None of the replicas that the partition had before is in sync.";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    (after.adding_replicas, after.removing_replicas) = (Vec::new(), Vec::new());
    Ok(after)
}

/// The replicas without those that are only being added.
fn original(partition: &Partition) -> Vec<BrokerId> {
    partition.replicas.iter().copied().filter(|id| !partition.adding_replicas.contains(id)).collect()
}

/// Directories follow the replicas; new ones get the default of their broker.
fn with_directories(image: &Image, before: &Partition, mut after: Partition) -> Partition {
    let default = |id: &BrokerId| image.broker(*id).map_or(Uuid::ONE, |broker| broker.default_directory());
    let directory = |id: &BrokerId| before.directory(*id).unwrap_or_else(|| default(id));
    after.directories = after.replicas.iter().map(directory).collect();
    after
}
