//! ListOffsets (key 2, versions 0-11): the offset at a time, at the start, at the end.
//!
//! v2 isolation level. v4 leader epochs. v6 flexible. v7 max timestamp (KIP-734). v8 earliest local (KIP-405). v9 latest
//! tiered (KIP-1005). v10 timeout. v11 earliest pending upload (KIP-1023).
//! Differs from Kafka: version 0 is still served, because lag monitors ask in it (KIP-896 dropped it).

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_base::{LeaderEpoch, Offset};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::list_offsets_request::{self, ListOffsetsRequest};
use ottla_protocol::messages::list_offsets_response::{ListOffsetsResponse, Partition, Topic};
use ottla_storage::UnpackBudget;

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::partitions::leader::Reader;
use crate::partitions::partition::{OffsetAt, TimeQuery};
use crate::request::Request;

/// ListOffsets.
pub const API: Api = Api { key: ApiKey::ListOffsets, versions: 0..=11, handle };

/// What the first version answered: a list of offsets and no time.
const OLD_STYLE: i16 = 0;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: ListOffsetsRequest<'_> = request.decode()?;
    let reader = match (asked.replica_id, asked.isolation_level) {
        (-2, _) => Reader::Debug,
        (_, 1) => Reader::Committed,
        _ => Reader::Uncommitted,
    };
    if !(0..=1).contains(&asked.isolation_level) {
        return request.reply(failed(&asked, request.version()));
    }
    let duplicates = duplicates(&asked);
    let mut budget = UnpackBudget::for_request();
    let mut response = ListOffsetsResponse::default();
    for topic in &asked.topics {
        let mut answered = BTreeSet::new();
        let answer = |partition: &list_offsets_request::Partition| {
            let found = match duplicates.contains(&(topic.name.as_ref(), partition.partition_index)) {
                true => Err(ErrorCode::InvalidRequest),
                false => look_up(request, &topic.name, partition, reader, &mut budget),
            };
            to_wire(request.version(), partition, found)
        };
        // One that was asked for twice is refused once.
        let once = topic.partitions.iter().filter(|partition| answered.insert(partition.partition_index));
        let partitions: Vec<_> = once.map(answer).collect();
        if !partitions.is_empty() {
            response.topics.push(Topic { name: Cow::Borrowed(&topic.name), partitions });
        }
    }
    request.reply(response)
}

/// What Kafka answers where it fails, as it does over an isolation level that does not exist: that, for each partition.
fn failed<'a>(asked: &'a ListOffsetsRequest<'_>, version: i16) -> ListOffsetsResponse<'a> {
    let topics = asked.topics.iter().map(|topic| {
        let failed = |partition| to_wire(version, partition, Err(ErrorCode::UnknownServerError));
        Topic { name: Cow::Borrowed(&*topic.name), partitions: topic.partitions.iter().map(failed).collect() }
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn duplicates<'a>(asked: &'a ListOffsetsRequest<'_>) -> BTreeSet<(&'a str, i32)> {
    let mut seen = BTreeSet::new();
    let all = asked
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.as_ref(), partition.partition_index)));
    all.filter(|key| !seen.insert(*key)).collect()
}

fn look_up(
    request: &Request<'_>,
    topic: &str,
    asked: &list_offsets_request::Partition,
    reader: Reader,
    budget: &mut UnpackBudget,
) -> Result<OffsetAt, ErrorCode> {
    if !request.may(Operation::Describe, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let query = TimeQuery::from_wire(asked.timestamp, request.version()).ok_or(ErrorCode::UnsupportedVersion)?;
    let partition = request.node.partitions.find(topic, asked.partition_index)?;
    partition.offset_at(query, reader, LeaderEpoch(asked.current_leader_epoch), budget)
}

fn to_wire(version: i16, asked: &list_offsets_request::Partition, found: Result<OffsetAt, ErrorCode>) -> Partition {
    let (code, found) = match found {
        Ok(found) => (ErrorCode::None, found),
        Err(code) => (code, OffsetAt { offset: Offset(-1), timestamp: -1, leader_epoch: LeaderEpoch::NONE }),
    };
    let old_style = version == OLD_STYLE && code == ErrorCode::None && found.offset.0 >= 0 && asked.max_num_offsets > 0;
    Partition {
        partition_index: asked.partition_index,
        error_code: code.code(),
        timestamp: found.timestamp,
        offset: found.offset.0,
        leader_epoch: found.leader_epoch.0,
        old_style_offsets: if old_style { vec![found.offset.0] } else { Vec::new() },
    }
}
