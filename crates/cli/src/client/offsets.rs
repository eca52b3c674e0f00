//! Where partitions begin and end, and what their offset was at a time: ListOffsets, one request to each leader.

use std::collections::BTreeMap;

use ottla_base::{PartitionIndex, TopicPartition};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsRequest, Partition, Topic};
use ottla_protocol::messages::list_offsets_response::ListOffsetsResponse;
use ottla_protocol::{ApiKey, ErrorCode};

use super::cluster::{Cluster, TopicDescription, Topics};
use super::{Error, retry};

/// The timestamps that stand for a place in the log.
pub const LATEST: i64 = -1;
/// The first offset.
pub const EARLIEST: i64 = -2;
/// The record with the largest timestamp.
pub const MAX_TIMESTAMP: i64 = -3;
/// The first offset on the broker's own disk.
pub const EARLIEST_LOCAL: i64 = -4;
/// The last offset in remote storage.
pub const LATEST_TIERED: i64 = -5;
/// The first offset that is not in remote storage yet.
pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// What a partition answers: an offset, or `None` where there is no such record.
pub type Found = Result<Option<i64>, Error>;

/// What a partition answered, and whether another answer may come if it is asked again.
struct Answered {
    partition: TopicPartition,
    found: Found,
    may_change: bool,
}

/// Asks the leaders of `partitions` for the offsets at `timestamp`, and again until the request timeout is over where they
/// cannot say now. What is not there, or has no leader, is not waited for.
pub fn list(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<BTreeMap<TopicPartition, Found>, Error> {
    let mut found = BTreeMap::new();
    let mut pending = partitions.to_vec();
    let mut patience = retry::Patience::new(cluster.request_timeout());
    while !pending.is_empty() {
        let mut again = Vec::new();
        for answered in list_once(cluster, &pending, timestamp)? {
            if answered.may_change && patience.is_left() {
                again.push(answered.partition);
            } else {
                found.insert(answered.partition, answered.found);
            }
        }
        pending = again;
        if !pending.is_empty() {
            patience.wait();
        }
    }
    Ok(found)
}

fn list_once(cluster: &mut Cluster, partitions: &[TopicPartition], timestamp: i64) -> Result<Vec<Answered>, Error> {
    let mut names: Vec<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let topics = cluster.topics(Topics::Named { names: &names, create: false })?;
    let mut answers = Vec::new();
    let mut by_leader: BTreeMap<i32, Vec<&TopicPartition>> = BTreeMap::new();
    for partition in partitions {
        match leader_of(&topics, partition) {
            Ok(leader) => by_leader.entry(leader).or_default().push(partition),
            Err(code) => answers.push(Answered {
                partition: partition.clone(),
                found: Err(Error::of_code(code.code(), None)),
                may_change: false,
            }),
        }
    }
    // All are asked before the first is waited for.
    let mut due = Vec::new();
    for (leader, asked) in by_leader {
        let request = ListOffsetsRequest {
            topics: by_topic(&asked, timestamp),
            timeout_ms: i32::try_from(cluster.request_timeout().as_millis()).unwrap_or(i32::MAX),
            ..ListOffsetsRequest::default()
        };
        let sent = cluster.broker(leader).and_then(|connection| {
            if connection.version_of(ApiKey::ListOffsets) < Some(first_version_with(timestamp)) {
                return Err(Error::of_code(ErrorCode::UnsupportedVersion.code(), None));
            }
            connection.send(ApiKey::ListOffsets, i16::MAX, &request)
        });
        due.push((leader, asked, sent));
    }
    for (leader, asked, sent) in due {
        match sent.and_then(|()| receive(cluster, leader)) {
            Ok(found) => answers.extend(found),
            Err(error) => {
                cluster.drop_broker(leader);
                answers.extend(asked.into_iter().map(|partition| Answered::failed(partition, &error)));
            }
        }
    }
    Ok(answers)
}

/// Older versions would take the special timestamp for a time.
fn first_version_with(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 0,
    }
}

fn leader_of(topics: &[TopicDescription], partition: &TopicPartition) -> Result<i32, ErrorCode> {
    let topic = topics.iter().find(|topic| topic.name == partition.topic);
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.error != ErrorCode::None {
        return Err(topic.error);
    }
    let known = topic.partitions.iter().find(|known| PartitionIndex(known.index) == partition.partition);
    known.ok_or(ErrorCode::UnknownTopicOrPartition)?.leader.ok_or(ErrorCode::LeaderNotAvailable)
}

fn by_topic<'a>(asked: &[&'a TopicPartition], timestamp: i64) -> Vec<Topic<'a>> {
    let mut topics: Vec<Topic<'a>> = Vec::new();
    for of in asked {
        let partition = Partition { partition_index: of.partition.0, timestamp, ..Partition::default() };
        match topics.iter_mut().find(|topic| topic.name == of.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(Topic { name: of.topic.as_str().into(), partitions: vec![partition] }),
        }
    }
    topics
}

fn receive(cluster: &mut Cluster, leader: i32) -> Result<Vec<Answered>, Error> {
    let answer = cluster.broker(leader)?.receive()?;
    let response: ListOffsetsResponse<'_> = answer.read()?;
    let mut found = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let offset = match partition.error_code {
                0 => Ok(Some(partition.offset).filter(|offset| *offset >= 0)),
                code => Err(Error::of_code(code, None)),
            };
            let may_change = offset.as_ref().is_err_and(Error::is_retriable);
            let partition = TopicPartition::new(&*topic.name, partition.partition_index);
            found.push(Answered { partition, found: offset, may_change });
        }
    }
    Ok(found)
}

impl Answered {
    /// The leader gave no answer.
    fn failed(partition: &TopicPartition, error: &Error) -> Self {
        let may_change = error.is_retriable();
        let passing = may_change.then_some(ErrorCode::NetworkException);
        let code = passing.or(error.code()).unwrap_or(ErrorCode::UnsupportedVersion);
        let found = Err(Error::Refused { code, message: error.to_string() });
        Self { partition: partition.clone(), found, may_change }
    }
}
