//! A broker says in which of its log directories replicas lie (KIP-858): it has several, and has chosen one, or moved them.
//!
//! Written: a PartitionChangeRecord for each partition whose directory is another than was known.

use ottla_base::{BrokerEpoch, BrokerId, PartitionIndex, Uuid};
use ottla_protocol::internal::metadata::{MetadataRecord, PartitionChangeRecord};

use super::{Draft, Refusal};

/// Says where replicas of a broker lie.
#[derive(Clone, Debug)]
pub struct AssignDirectories {
    /// The broker.
    pub id: BrokerId,
    /// The epoch of its registration.
    pub epoch: BrokerEpoch,
    /// Its replicas, with their directories. Those of topics that are gone are passed over.
    pub replicas: Vec<PlacedReplica>,
}

/// Where one replica lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedReplica {
    /// The topic's id.
    pub topic_id: Uuid,
    /// Which of its partitions.
    pub partition: PartitionIndex,
    /// The id of the directory.
    pub directory: Uuid,
}

impl AssignDirectories {
    pub(super) fn decide(self, draft: &mut Draft) -> Result<(), Refusal> {
        draft.registered(self.id, self.epoch)?;
        for replica in &self.replicas {
            let record = change(draft, self.id, replica);
            draft.extend(record);
        }
        Ok(())
    }
}

fn change(draft: &Draft, id: BrokerId, placed: &PlacedReplica) -> Option<MetadataRecord<'static>> {
    let topic = draft.image().topic_by_id(placed.topic_id)?;
    let partition = topic.partitions.get(&placed.partition)?;
    let place = partition.replicas.iter().position(|replica| *replica == id)?;
    let mut directories = partition.directories.clone();
    let known = directories.get_mut(place)?;
    if *known == placed.directory {
        return None;
    }
    *known = placed.directory;
    Some(MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id: placed.partition.0,
        topic_id: placed.topic_id,
        directories: Some(directories),
        ..PartitionChangeRecord::default()
    }))
}
