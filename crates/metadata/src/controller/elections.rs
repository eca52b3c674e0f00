//! Who leads a partition, and who may: what changes when a broker leaves or comes back.
//!
//! The leader is the first in the order of the replicas that is active and in the ISR. Where the ISR is empty it is an
//! eligible replica (KIP-966), then the last leader that is known, then, if the topic allows losing records, any replica; the
//! last two elections are unclean, and the leader begins in recovery (KIP-704).

use ottla_base::{BrokerId, PartitionIndex, Uuid};
use ottla_protocol::internal::metadata::{MetadataRecord, PartitionChangeRecord};

use super::{Draft, Election};
use crate::image::{
    ConfigResource, ELIGIBLE_LEADER_REPLICAS_VERSION, Image, LEADER_UNCHANGED, LeaderRecoveryState, Partition, Topic,
    numbers,
};
use crate::records::OwnedRecord;

/// What happens to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It stops leading and following, with its log whole.
    Leaves,
    /// It was found to have stopped without a clean end: what it had acknowledged may be lost.
    LostItsTail,
    /// It may lead again.
    Returns,
}

/// Writes the changes of all partitions that `event` of `broker` touches.
pub(super) fn change_partitions(draft: &mut Draft, broker: BrokerId, event: Event) {
    change_those(draft, broker, event, |partition| partition.is_replica(broker));
}

/// Writes the changes of all partitions whose replica on `broker` lies in one of `directories`, which it has lost.
pub(super) fn leave_directories(draft: &mut Draft, broker: BrokerId, directories: &[Uuid]) {
    let lies_there =
        |partition: &Partition| partition.directory(broker).is_some_and(|directory| directories.contains(&directory));
    change_those(draft, broker, Event::Leaves, lies_there);
}

fn change_those(draft: &mut Draft, broker: BrokerId, event: Event, touched: impl Fn(&Partition) -> bool) {
    let image = draft.image();
    let topics = image.topics().iter();
    let partitions = topics.flat_map(|topic| topic.partitions.iter().map(move |entry| (topic, entry)));
    let records: Vec<_> = partitions
        .filter(|(_, (_, partition))| touched(partition))
        .filter_map(|(topic, (index, partition))| change(image, topic, *index, partition, broker, event))
        .collect();
    draft.extend(records);
}

fn change(
    image: &Image,
    topic: &Topic,
    index: PartitionIndex,
    before: &Partition,
    broker: BrokerId,
    event: Event,
) -> Option<OwnedRecord> {
    let rules = Rules::of(image, topic, before);
    let is_left = |replica: BrokerId| replica == broker && event != Event::Returns;
    let usable = |replica: BrokerId| !is_left(replica) && image.may_lead(replica, before);
    let mut after = before.clone();
    if event != Event::Returns {
        after.isr.retain(|replica| *replica != broker);
    }
    if event == Event::LostItsTail {
        after.eligible_leader_replicas.retain(|replica| *replica != broker);
    }
    rules.elect(&mut after, usable);
    if after.leader.is_none() && after.isr.is_empty() && !rules.eligible_replicas {
        // Without eligible replicas the last of the ISR stays in it, so that it is known who may lead again.
        after.isr.clone_from(&before.isr);
    }
    let lost = (event == Event::LostItsTail).then_some(broker);
    rules.keep_eligible(before, &mut after, lost);
    record(image, topic, index, before, &after)
}

/// An election that a user asks for; absent where nobody can be elected.
pub(super) fn elect(
    image: &Image,
    topic: &Topic,
    index: PartitionIndex,
    before: &Partition,
    election: Election,
) -> Option<OwnedRecord> {
    let mut after = before.clone();
    match election {
        Election::Preferred => {
            let may_lead = |replica: &&BrokerId| before.isr.contains(replica) && image.may_lead(**replica, before);
            after.leader = before.replicas.first().filter(may_lead).copied();
            after.leader?;
        }
        Election::Unclean => {
            let rules = Rules { unclean: true, ..Rules::of(image, topic, before) };
            rules.elect(&mut after, |replica| image.may_lead(replica, before));
            rules.keep_eligible(before, &mut after, None);
            after.leader?;
        }
    }
    record(image, topic, index, before, &after)
}

/// The change of a partition to what a user asked for, whose leader is among the replicas that stay.
pub(super) fn replace(
    image: &Image,
    topic: &Topic,
    index: PartitionIndex,
    before: &Partition,
    mut after: Partition,
) -> Option<OwnedRecord> {
    let rules = Rules::of(image, topic, &after);
    after.eligible_leader_replicas.retain(|id| after.replicas.contains(id));
    if after.leader.is_some_and(|leader| !after.isr.contains(&leader)) {
        after.leader = None;
    }
    let replaced = after.clone();
    rules.elect(&mut after, |replica| image.may_lead(replica, &replaced));
    rules.keep_eligible(before, &mut after, None);
    record(image, topic, index, before, &after)
}

/// What elections in a topic go by.
struct Rules {
    eligible_replicas: bool,
    min_in_sync: usize,
    unclean: bool,
}

impl Rules {
    fn of(image: &Image, topic: &Topic, partition: &Partition) -> Self {
        Self {
            eligible_replicas: image.feature(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0,
            min_in_sync: image.min_in_sync_replicas(&topic.name).min(partition.replicas.len()),
            unclean: allows_unclean_election(image, &topic.name),
        }
    }

    fn elect(&self, partition: &mut Partition, usable: impl Fn(BrokerId) -> bool) {
        let may_lead = |replica: &BrokerId| partition.isr.contains(replica) && usable(*replica);
        if partition.leader.as_ref().is_some_and(may_lead) {
            return;
        }
        if let Some(leader) = partition.replicas.iter().copied().find(may_lead) {
            partition.leader = Some(leader);
            return;
        }
        let isr_is_empty = partition.isr.is_empty();
        let eligible = |replica: &BrokerId| {
            isr_is_empty && partition.eligible_leader_replicas.contains(replica) && usable(*replica)
        };
        let last_known = match partition.last_known_eligible_leader_replicas[..] {
            [last] if isr_is_empty && partition.eligible_leader_replicas.is_empty() => Some(last),
            _ => None,
        };
        let clean = partition.replicas.iter().copied().find(eligible);
        let unclean = last_known
            .filter(|last| self.eligible_replicas && usable(*last))
            .or_else(|| partition.replicas.iter().copied().find(|replica| self.unclean && usable(*replica)));
        partition.leader = clean.or(unclean);
        if let Some(leader) = partition.leader {
            partition.isr = vec![leader];
            // A replica that is the only one has nobody to recover from. Differs from Kafka, where it says so itself with an
            // AlterPartition that follows.
            if clean.is_none() && partition.replicas.len() > 1 {
                partition.leader_recovery_state = LeaderRecoveryState::Recovering;
            }
        }
    }

    /// Replicas that leave an ISR that is too small stay eligible, unless they lost their tails.
    fn keep_eligible(&self, before: &Partition, after: &mut Partition, lost: Option<BrokerId>) {
        if !self.eligible_replicas {
            return;
        }
        if after.isr.len() >= self.min_in_sync {
            after.eligible_leader_replicas.clear();
            after.last_known_eligible_leader_replicas.clear();
            return;
        }
        let was_in =
            |replica: &BrokerId| before.eligible_leader_replicas.contains(replica) || before.isr.contains(replica);
        let eligible = |replica: &BrokerId| was_in(replica) && !after.isr.contains(replica) && Some(*replica) != lost;
        after.eligible_leader_replicas = after.replicas.iter().copied().filter(eligible).collect();
        if after.isr.is_empty() {
            after.last_known_eligible_leader_replicas = match before.leader {
                Some(last) => vec![last],
                None => before.last_known_eligible_leader_replicas.clone(),
            };
        }
    }
}

fn allows_unclean_election(image: &Image, topic: &str) -> bool {
    let configured = |resource| image.config(&resource)?.get("unclean.leader.election.enable")?.parse().ok();
    configured(ConfigResource::topic(topic)).or_else(|| configured(ConfigResource::all_brokers())).unwrap_or(false)
}

/// The record that makes `after` of `before`: it holds only what differs.
fn record(
    image: &Image,
    topic: &Topic,
    index: PartitionIndex,
    before: &Partition,
    after: &Partition,
) -> Option<OwnedRecord> {
    if before == after {
        return None;
    }
    let changed = |is: &Vec<BrokerId>, was: &Vec<BrokerId>| (is != was).then(|| numbers(is));
    let shrinks = before.isr.iter().any(|replica| !after.isr.contains(replica));
    // Older brokers count on the epoch to grow then; a record that names a leader makes it grow.
    let names_leader =
        before.leader != after.leader || (shrinks && image.metadata_version().bumps_leader_epoch_as_isr_shrinks());
    let (was, is) = (before.leader_recovery_state, after.leader_recovery_state);
    Some(MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id: index.0,
        topic_id: topic.id,
        replicas: changed(&after.replicas, &before.replicas),
        directories: (after.directories != before.directories).then(|| after.directories.clone()),
        adding_replicas: changed(&after.adding_replicas, &before.adding_replicas),
        removing_replicas: changed(&after.removing_replicas, &before.removing_replicas),
        isr: changed(&after.isr, &before.isr),
        leader: if names_leader { after.leader.map_or(-1, |id| id.0) } else { LEADER_UNCHANGED },
        leader_recovery_state: if was == is { -1 } else { is.as_i8() },
        eligible_leader_replicas: changed(&after.eligible_leader_replicas, &before.eligible_leader_replicas),
        last_known_elr: changed(
            &after.last_known_eligible_leader_replicas,
            &before.last_known_eligible_leader_replicas,
        ),
    }))
}
