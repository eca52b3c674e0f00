//! The replicas of new partitions: chosen, or given and checked. Shared by CreateTopics and CreatePartitions.

use ottla_base::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, Random, Uuid};
use ottla_protocol::error::ErrorCode;

use super::Refusal;
use crate::image::{Image, LeaderRecoveryState, Partition};
use crate::placement::{self, UsableBroker};

/// Chooses replicas for `partitions` new partitions.
pub(super) fn place(
    image: &Image,
    partitions: usize,
    replication_factor: usize,
    random: &mut Random,
) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let usable = image.brokers().filter(|broker| broker.accepts_replicas()).map(|broker| UsableBroker {
        id: broker.id,
        rack: broker.rack.clone(),
        fenced: !broker.is_active(),
    });
    let usable: Vec<_> = usable.collect();
    let placed = placement::place(&usable, partitions, replication_factor, random);
    placed.map_err(|why| Refusal::new(ErrorCode::InvalidReplicationFactor, why))
}

/// Checks a list that a user gave. `replication_factor` is that of the partitions before it.
pub(super) fn check_given(
    image: &Image,
    replicas: &[BrokerId],
    replication_factor: Option<usize>,
) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (place, id) in sorted.iter().enumerate() {
        let Some(broker) = image.broker(*id) else {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        };
        if !broker.accepts_replicas() {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but all its log directories are cordoned."
            ));
        }
        if place > 0 && sorted[place - 1] == *id {
            return refuse(format!("The manual partition assignment includes the broker {id} more than once."));
        }
    }
    match replication_factor {
        Some(expected) if expected != replicas.len() => refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// A new partition on these brokers: in sync are those that are active, and the first of them leads. Absent where none is.
pub(super) fn new_partition(image: &Image, replicas: Vec<BrokerId>) -> Option<Partition> {
    let isr: Vec<_> = replicas.iter().copied().filter(|broker| image.is_active(*broker)).collect();
    let directory = |broker: &BrokerId| image.broker(*broker).map_or(Uuid::ONE, |broker| broker.default_directory());
    Some(Partition {
        leader: Some(*isr.first()?),
        directories: replicas.iter().map(directory).collect(),
        replicas,
        isr,
        eligible_leader_replicas: Vec::new(),
        last_known_eligible_leader_replicas: Vec::new(),
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader_recovery_state: LeaderRecoveryState::Recovered,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
    })
}

/// [`new_partition`] for a list that a user gave.
pub(super) fn given_partition(
    image: &Image,
    index: PartitionIndex,
    replicas: Vec<BrokerId>,
) -> Result<Partition, Refusal> {
    new_partition(image, replicas).ok_or_else(|| {
        let message = format!(
            "All brokers specified in the manual partition assignment for partition {index} are fenced or in controlled \
             shutdown."
        );
        Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
    })
}
