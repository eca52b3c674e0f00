//! ElectLeaders (KIP-183, KIP-460): the preferred leader, or any where none may lead. Written: a PartitionChangeRecord
//! for each partition that gets another leader.

use ottla_base::PartitionIndex;
use ottla_protocol::error::ErrorCode;

use super::{Draft, Refusal, elections};
use crate::image::Image;
use crate::records::OwnedRecord;

/// Asks for elections.
#[derive(Clone, Debug)]
pub struct ElectLeaders {
    /// Of which kind.
    pub election: Election,
    /// In which topics and partitions; absent for all.
    pub topics: Option<Vec<(String, Vec<PartitionIndex>)>>,
}

/// What an election goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first of the replicas is to lead, if it is in sync.
    Preferred,
    /// Somebody is to lead, even if records are lost.
    Unclean,
}

/// What became of one topic's elections.
#[derive(Clone, Debug, PartialEq)]
pub struct ElectedLeaders {
    /// The topic.
    pub topic: String,
    /// Of each partition, whether it was elected; of all partitions, only those where something was to be done.
    pub partitions: Vec<(PartitionIndex, Result<(), Refusal>)>,
}

impl ElectLeaders {
    pub(super) fn decide(self, draft: &mut Draft) -> Vec<ElectedLeaders> {
        let of_all = self.topics.is_none();
        let topics = self.topics.unwrap_or_else(|| all(draft.image()));
        let mut results = Vec::with_capacity(topics.len());
        for (topic, indices) in topics {
            let mut partitions = Vec::with_capacity(indices.len());
            for index in indices {
                let result = plan(draft.image(), &topic, index, self.election).map(|record| draft.extend([record]));
                let is_needed = !matches!(&result, Err(refusal) if refusal.error == ErrorCode::ElectionNotNeeded);
                if is_needed || !of_all {
                    partitions.push((index, result));
                }
            }
            results.push(ElectedLeaders { topic, partitions });
        }
        if let Err(refusal) = draft.bound() {
            for (_, result) in results.iter_mut().flat_map(|topic| &mut topic.partitions) {
                *result = Err(refusal.clone());
            }
        }
        results
    }
}

fn all(image: &Image) -> Vec<(String, Vec<PartitionIndex>)> {
    let topics = image.topics().iter();
    topics.map(|topic| (topic.name.to_string(), topic.partitions.iter().map(|(index, _)| *index).collect())).collect()
}

fn plan(image: &Image, name: &str, index: PartitionIndex, election: Election) -> Result<OwnedRecord, Refusal> {
    let unknown = |message: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
    let topic = image.topic(name).ok_or_else(|| unknown(format!("No such topic as {name}")))?;
    let partition = topic.partitions.get(&index);
    let partition = partition.ok_or_else(|| unknown(format!("No such partition as {name}-{index}")))?;
    let is_needless = match election {
        Election::Preferred => partition.leader == partition.replicas.first().copied(),
        Election::Unclean => partition.leader.is_some(),
    };
    if is_needless {
        let message = "Leader election not needed for topic partition.";
        return Err(Refusal::new(ErrorCode::ElectionNotNeeded, message));
    }
    elections::elect(image, topic, index, partition, election).ok_or_else(|| match election {
        Election::Preferred => {
            Refusal::new(ErrorCode::PreferredLeaderNotAvailable, "The preferred leader was not available.")
        }
        Election::Unclean => {
            Refusal::new(ErrorCode::EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
        }
    })
}
