//! CreatePartitions: more partitions for topics that exist. Written: a PartitionRecord for each.

use ottla_base::{BrokerId, PartitionIndex, Random};
use ottla_protocol::error::ErrorCode;
use ottla_protocol::internal::metadata::MetadataRecord;

use super::{Draft, MAX_PARTITIONS_PER_REQUEST, Refusal, repeated, replica_lists};
use crate::image::{Image, Partition, Topic, partition_record};
use crate::records::OwnedRecord;

/// Asks for more partitions.
#[derive(Clone, Debug)]
pub struct CreatePartitions {
    /// For which topics.
    pub topics: Vec<MorePartitions>,
    /// Whether to answer only what would happen.
    pub validate_only: bool,
    /// For placement.
    pub seed: u64,
}

/// A topic that is to grow.
#[derive(Clone, Debug)]
pub struct MorePartitions {
    /// Its name.
    pub name: String,
    /// How many partitions it shall have then.
    pub count: i32,
    /// The replicas of each additional partition, where the user chose them.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatePartitionsResult {
    /// Its name.
    pub name: String,
    /// Whether it has them, or why not.
    pub result: Result<(), Refusal>,
}

impl CreatePartitions {
    pub(super) fn decide(self, draft: &mut Draft) -> Vec<CreatePartitionsResult> {
        let repeated = repeated(self.topics.iter().map(|topic| &topic.name));
        let refusal = Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
        let refuse = |name: &String| CreatePartitionsResult { name: name.clone(), result: Err(refusal.clone()) };
        let mut results: Vec<_> = repeated.iter().map(refuse).collect();
        let distinct: Vec<_> = self.topics.iter().filter(|topic| !repeated.contains(&topic.name)).collect();

        let added: usize = distinct.iter().map(|topic| added_partitions(topic, draft.image())).sum();
        let too_many =
            Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of additional partitions per request.");
        let bounded = if added > MAX_PARTITIONS_PER_REQUEST { Err(too_many) } else { Ok(()) };
        let mut random = Random::new(self.seed);
        for topic in distinct {
            let planned = bounded.clone().and_then(|()| plan(topic, draft.image(), &mut random));
            let result = planned.map(|records| draft.extend(records));
            results.push(CreatePartitionsResult { name: topic.name.clone(), result });
        }
        if self.validate_only {
            draft.discard();
        }
        results
    }
}

fn added_partitions(topic: &MorePartitions, image: &Image) -> usize {
    let present = image.topic(&topic.name).map(|topic| topic.partitions.len());
    present.map_or(0, |present| (topic.count.max(0) as usize).saturating_sub(present))
}

fn plan(asked: &MorePartitions, image: &Image, random: &mut Random) -> Result<Vec<OwnedRecord>, Refusal> {
    let unknown = || Refusal::without_words(ErrorCode::UnknownTopicOrPartition);
    let topic = image.topic(&asked.name).ok_or_else(unknown)?;
    let present = i32::try_from(topic.partitions.len()).expect("partitions are counted in 32 bits");
    let refuse = |message| Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    if asked.count == present {
        return refuse(format!("Topic already has {present} partition(s)."));
    }
    if asked.count < present {
        return refuse(format!(
            "The topic {} currently has {present} partition(s); {} would not be an increase.",
            topic.name, asked.count
        ));
    }
    let partitions = match &asked.assignments {
        Some(lists) => given_partitions(topic, present..asked.count, lists, image)?,
        None => placed_partitions(topic, present..asked.count, image, random)?,
    };
    let records = (present..).zip(partitions).map(|(index, partition)| {
        MetadataRecord::Partition(partition_record(topic.id, PartitionIndex(index), &partition))
    });
    Ok(records.collect())
}

fn given_partitions(
    topic: &Topic,
    indices: std::ops::Range<i32>,
    lists: &[Vec<BrokerId>],
    image: &Image,
) -> Result<Vec<Partition>, Refusal> {
    if indices.len() != lists.len() {
        let message = format!(
            "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
            indices.len(),
            lists.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let replication_factor = usize::try_from(topic.replication_factor()).expect("it is a length");
    let partition = |(index, replicas): (i32, &Vec<BrokerId>)| {
        replica_lists::check_given(image, replicas, Some(replication_factor))?;
        replica_lists::given_partition(image, PartitionIndex(index), replicas.clone())
    };
    indices.zip(lists).map(partition).collect()
}

fn placed_partitions(
    topic: &Topic,
    indices: std::ops::Range<i32>,
    image: &Image,
    random: &mut Random,
) -> Result<Vec<Partition>, Refusal> {
    let replication_factor = usize::try_from(topic.replication_factor()).expect("it is a length");
    let lists = replica_lists::place(image, indices.len(), replication_factor, random)?;
    let placed = lists.into_iter().map(|replicas| replica_lists::new_partition(image, replicas));
    Ok(placed.map(|partition| partition.expect("placement puts an active broker first")).collect())
}
