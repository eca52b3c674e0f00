//! A broker says in which of its log directories replicas lie (KIP-858): it has several, and has chosen one, or moved them.
//!
//! Written: a PartitionChangeRecord for each partition whose directory is another than was known. One that has lost its leader with
//! the directory that was known gets it back: it had moved away before that failed, and the news of the failure came first. Nothing is
//! written below metadata.version 3.7-IV2, which knows of no directories.

use ottla_base::{BrokerEpoch, BrokerId, PartitionIndex, Uuid};
use ottla_protocol::internal::metadata::{MetadataRecord, PartitionChangeRecord};

use super::elections::replace;
use super::{Draft, Refusal};
use crate::records::OwnedRecord;

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
        if !draft.image().metadata_version().has_directories() {
            return Ok(());
        }
        for replica in &self.replicas {
            let record = change(draft, self.id, replica);
            draft.extend(record);
        }
        Ok(())
    }
}

fn change(draft: &Draft, id: BrokerId, placed: &PlacedReplica) -> Option<OwnedRecord> {
    let image = draft.image();
    let topic = image.topic_by_id(placed.topic_id)?;
    let before = topic.partitions.get(&placed.partition)?;
    let place = before.replicas.iter().position(|replica| *replica == id)?;
    let mut after = (**before).clone();
    let known = after.directories.get_mut(place)?;
    if *known == placed.directory {
        return None;
    }
    *known = placed.directory;
    if before.leader.is_none() {
        return replace(image, topic, placed.partition, before, after);
    }
    Some(MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id: placed.partition.0,
        topic_id: placed.topic_id,
        directories: Some(after.directories),
        ..PartitionChangeRecord::default()
    }))
}
