//! The offsets that groups have committed: read, written and deleted from outside the group.

use std::collections::BTreeMap;

use ottla_base::TopicPartition;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, Partition as CommittedPartition, Topic as CommittedTopic,
};
use ottla_protocol::messages::offset_commit_response::OffsetCommitResponse;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, Partition as DeletedPartition, Topic as DeletedTopic,
};
use ottla_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use ottla_protocol::messages::offset_fetch_request::{Group as WantedGroup, GroupTopic, OffsetFetchRequest, Topic};
use ottla_protocol::messages::offset_fetch_response::{Group, OffsetFetchResponse};
use ottla_protocol::{ApiKey, Str};

use super::by_topic::{by_topic, indexes_by_topic};
use super::groups::{ByGroup, on_coordinators};
use super::{Cluster, Connection, Error};

/// The last versions that name topics; later ones have their ids.
const LAST_BY_NAME: i16 = 9;
/// The first OffsetFetch version that takes many groups.
const FIRST_WITH_GROUPS: i16 = 8;
/// "No retention of its own."
const DEFAULT_RETENTION_TIME_MS: i64 = -1;

/// A committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record.
    pub offset: i64,
    /// The leader epoch of the record before it.
    pub leader_epoch: Option<i32>,
}

impl Committed {
    /// Whether it is an offset. Anything may be committed; as in Kafka, what is below 0 is as good as nothing.
    pub fn is_offset(&self) -> bool {
        self.offset >= 0
    }
}

/// The offsets of a group, by partition.
pub type Offsets = BTreeMap<TopicPartition, Committed>;

/// Who commits: nobody of the group, or a member of it.
#[derive(Clone, Copy, Debug)]
pub struct Committer<'a> {
    /// The member's id, empty for nobody.
    pub member_id: &'a str,
    /// The generation it knows, -1 for nobody.
    pub generation: i32,
    /// Its static id.
    pub instance_id: Option<&'a str>,
}

impl Committer<'_> {
    /// A tool, from outside the group.
    pub const NOBODY: Self = Self { member_id: "", generation: -1, instance_id: None };
}

/// All that groups have committed, also what is no offset.
pub fn fetch_all(cluster: &mut Cluster, groups: &[String]) -> Result<ByGroup<Offsets>, Error> {
    on_coordinators(cluster, groups, |connection, _, groups| fetch(connection, groups, None))
}

/// What groups have committed, of these partitions or of all.
pub fn fetch(
    connection: &mut Connection,
    groups: &[String],
    partitions: Option<&[TopicPartition]>,
) -> Result<ByGroup<Offsets>, Error> {
    if connection.version_of(ApiKey::OffsetFetch).is_some_and(|version| version >= FIRST_WITH_GROUPS) {
        let topics = partitions.map(|partitions| {
            let topic = |(name, partition_indexes)| GroupTopic {
                name: Str::Borrowed(name),
                partition_indexes,
                ..GroupTopic::default()
            };
            indexes_by_topic(partitions).into_iter().map(topic).collect()
        });
        let wanted = groups.iter().map(|group| WantedGroup {
            group_id: Str::Borrowed(group),
            topics: Option::clone(&topics),
            ..WantedGroup::default()
        });
        let request = OffsetFetchRequest { groups: wanted.collect(), ..OffsetFetchRequest::default() };
        connection.send(ApiKey::OffsetFetch, LAST_BY_NAME, &request)?;
        let answer = connection.receive()?;
        let response: OffsetFetchResponse<'_> = answer.read()?;
        let wants_all = partitions.is_none();
        return Ok(response.groups.iter().map(|group| (group.group_id.to_string(), read(group, wants_all))).collect());
    }
    let mut found = BTreeMap::new();
    for group in groups {
        let topics = partitions.map(|partitions| {
            let topic = |(name, partition_indexes)| Topic { name: Str::Borrowed(name), partition_indexes };
            indexes_by_topic(partitions).into_iter().map(topic).collect()
        });
        let request = OffsetFetchRequest { group_id: Str::Borrowed(group), topics, ..OffsetFetchRequest::default() };
        let answer = connection.ask(ApiKey::OffsetFetch, &request)?;
        let response: OffsetFetchResponse<'_> = answer.read()?;
        found.insert(group.clone(), read_old(&response, partitions.is_none()));
    }
    Ok(found)
}

fn read(group: &Group<'_>, wants_all: bool) -> Result<Offsets, Error> {
    let partitions = group.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |of| {
            let partition = TopicPartition::new(&*topic.name, of.partition_index);
            (partition, of.error_code, of.committed_offset, of.committed_leader_epoch)
        })
    });
    gather(group.error_code, partitions, wants_all)
}

fn read_old(response: &OffsetFetchResponse<'_>, wants_all: bool) -> Result<Offsets, Error> {
    let partitions = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |of| {
            let partition = TopicPartition::new(&*topic.name, of.partition_index);
            (partition, of.error_code, of.committed_offset, of.committed_leader_epoch)
        })
    });
    gather(response.error_code, partitions, wants_all)
}

/// A negative offset says that nothing was committed, unless all was asked for that was.
fn gather(
    error_code: i16,
    partitions: impl Iterator<Item = (TopicPartition, i16, i64, i32)>,
    wants_all: bool,
) -> Result<Offsets, Error> {
    if error_code != 0 {
        return Err(Error::of_code(error_code, None));
    }
    let mut offsets = Offsets::new();
    for (partition, error_code, offset, leader_epoch) in partitions {
        if error_code != 0 {
            return Err(Error::of_code(error_code, None));
        }
        if wants_all || offset >= 0 {
            offsets.insert(partition, Committed { offset, leader_epoch: (leader_epoch >= 0).then_some(leader_epoch) });
        }
    }
    Ok(offsets)
}

/// Commits offsets. Gives the partitions that the coordinator refuses, with its error.
pub fn commit(
    connection: &mut Connection,
    group: &str,
    committer: Committer<'_>,
    offsets: &Offsets,
) -> Result<BTreeMap<TopicPartition, Error>, Error> {
    let partition = |(of, committed): (&TopicPartition, &Committed)| CommittedPartition {
        partition_index: of.partition.0,
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
        committed_metadata: Some(Str::Borrowed("")),
        ..CommittedPartition::default()
    };
    let topics = by_topic(offsets.iter().map(|asked| (asked.0.topic.as_str(), partition(asked))));
    let topic =
        |(name, partitions)| CommittedTopic { name: Str::Borrowed(name), partitions, ..CommittedTopic::default() };
    let topics = topics.into_iter().map(topic).collect();
    let request = OffsetCommitRequest {
        group_id: Str::Borrowed(group),
        generation_id_or_member_epoch: committer.generation,
        member_id: Str::Borrowed(committer.member_id),
        group_instance_id: committer.instance_id.map(Str::Borrowed),
        retention_time_ms: DEFAULT_RETENTION_TIME_MS,
        topics,
    };
    connection.send(ApiKey::OffsetCommit, LAST_BY_NAME, &request)?;
    let answer = connection.receive()?;
    let response: OffsetCommitResponse<'_> = answer.read()?;
    let mut refused = BTreeMap::new();
    for topic in &response.topics {
        for partition in topic.partitions.iter().filter(|partition| partition.error_code != 0) {
            let error = Error::of_code(partition.error_code, None);
            refused.insert(TopicPartition::new(&*topic.name, partition.partition_index), error);
        }
    }
    Ok(refused)
}

/// Deletes the offsets of partitions. Gives the answer for each, or the one for the group.
pub fn delete(
    connection: &mut Connection,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Result<(), Error>>, Error> {
    let topics = indexes_by_topic(partitions).into_iter().map(|(name, indexes)| DeletedTopic {
        name: Str::Borrowed(name),
        partitions: indexes.into_iter().map(|partition_index| DeletedPartition { partition_index }).collect(),
    });
    let request = OffsetDeleteRequest { group_id: Str::Borrowed(group), topics: topics.collect() };
    let answer = connection.ask(ApiKey::OffsetDelete, &request)?;
    let response: OffsetDeleteResponse<'_> = answer.read()?;
    if response.error_code != 0 {
        return Err(Error::of_code(response.error_code, None));
    }
    let mut deleted = BTreeMap::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let of = TopicPartition::new(&*topic.name, partition.partition_index);
            let done = if partition.error_code == 0 { Ok(()) } else { Err(Error::of_code(partition.error_code, None)) };
            deleted.insert(of, done);
        }
    }
    Ok(deleted)
}
