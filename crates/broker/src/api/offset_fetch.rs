//! OffsetFetch (key 9, versions 1-10): how far groups have got.
//!
//! v2 all topics of a group, an error for the group. v3 throttle time. v5 leader epoch. v6 flexible. v7 stable offsets
//! (KIP-447): without transactions all are. v8 several groups (KIP-709). v9 member epochs. v10 topic ids (KIP-848).
//! What a group never committed is -1, without an error.
//!
//! Differs from Kafka: groups that do not fit into one answer are said to be loading, so that clients ask for them once more,
//! without those that they have been told of.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_base::Uuid;
use ottla_coordinator::group::{CommittedOffset, FetchedTopic, TopicToFetch};
use ottla_metadata::image::Image;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::{
    Group as AskedGroup, GroupTopic as AskedTopic, OffsetFetchRequest,
};
use ottla_protocol::messages::offset_fetch_response::{
    Group, GroupPartition, GroupTopic, OffsetFetchResponse, Partition, Topic,
};
use ottla_protocol::{ApiKey, Str};

use super::Api;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::{ANSWER_MAX_BYTES, Request};

/// OffsetFetch.
pub const API: Api = Api { key: ApiKey::OffsetFetch, versions: 1..=10, handle };

const GROUP_ERROR_FROM: i16 = 2;
const MANY_FROM: i16 = 8;
const TOPIC_IDS_FROM: i16 = 10;
/// What was never committed.
const NOTHING: i64 = -1;
/// What the offsets in one answer may take, in bytes: a partition with much metadata, or a group, may be asked for many times.
const OFFSETS_BYTES_MAX: usize = ANSWER_MAX_BYTES;
/// What an offset takes of it beside its metadata.
const OFFSET_BYTES: usize = 20;
/// More offsets than this, of groups that are asked for all of theirs, take much memory until they are told.
const MANY_OFFSETS: usize = 5000;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: OffsetFetchRequest<'_> = request.decode()?;
    if has_many(request, &asked) {
        request.is_large()?;
    }
    let image = request.node.image();
    let mut room = OFFSETS_BYTES_MAX;
    let too_large = || request.responder().too_large();
    if request.version() >= MANY_FROM {
        let groups = fetch_many(request, &image, &asked.groups, &mut room).ok_or_else(too_large)?;
        return request.reply(OffsetFetchResponse { groups, ..Default::default() });
    }
    let topic = |topic: &ottla_protocol::messages::offset_fetch_request::Topic<'_>| AskedTopic {
        name: Cow::Owned(topic.name.to_string()),
        topic_id: Uuid::ZERO,
        partition_indexes: topic.partition_indexes.clone(),
    };
    let group = AskedGroup {
        group_id: Cow::Borrowed(&*asked.group_id),
        member_id: None,
        member_epoch: -1,
        topics: asked.topics.as_ref().map(|topics| topics.iter().map(topic).collect()),
    };
    let fetched = fetch(request, &image, &group, &mut room).ok_or_else(too_large)?;
    request.reply(single(fetched, &group, request.version()))
}

/// Whether groups that are asked for all their offsets have many.
fn has_many(request: &Request<'_>, asked: &OffsetFetchRequest<'_>) -> bool {
    let of_groups = asked.groups.iter().filter(|group| group.topics.is_none()).map(|group| &group.group_id);
    let of_one = (request.version() < MANY_FROM && asked.topics.is_none()).then_some(&asked.group_id);
    let count = |group_id: &Str<'_>| request.node.groups.read(group_id, |groups| groups.offset_count(group_id));
    of_groups.chain(of_one).map(|group_id| count(group_id).unwrap_or(0)).sum::<usize>() > MANY_OFFSETS
}

/// Nothing, where not even the first that has offsets fits.
fn fetch_many(
    request: &Request<'_>,
    image: &Image,
    asked: &[AskedGroup<'_>],
    room: &mut usize,
) -> Option<Vec<Group<'static>>> {
    let names: usize = asked.iter().map(|group| size_of::<Group<'_>>() + group.group_id.len()).sum();
    *room = room.checked_sub(names)?;
    let mut groups: Vec<Group<'static>> = Vec::with_capacity(asked.len());
    let mut is_full = false;
    for group in asked {
        let fetched = if is_full { None } else { fetch(request, image, group, room) };
        is_full = fetched.is_none();
        if is_full && groups.iter().all(|group| group.topics.is_empty()) {
            return None;
        }
        groups.push(fetched.unwrap_or_else(|| Group {
            group_id: Cow::Owned(group.group_id.to_string()),
            topics: Vec::new(),
            error_code: ErrorCode::CoordinatorLoadInProgress.code(),
        }));
    }
    Some(groups)
}

/// The answer to somebody who knows only one group.
fn single(fetched: Group<'static>, asked: &AskedGroup<'_>, version: i16) -> OffsetFetchResponse<'static> {
    let error_code = fetched.error_code;
    let topics = match version < GROUP_ERROR_FROM && error_code != ErrorCode::None.code() {
        // Here an error has no other place than the partitions.
        true => asked.topics.iter().flatten().map(|topic| failed(topic, error_code)).collect(),
        false => fetched.topics,
    };
    let to_topic = |topic: GroupTopic<'static>| Topic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(to_partition).collect(),
    };
    OffsetFetchResponse { topics: topics.into_iter().map(to_topic).collect(), error_code, ..Default::default() }
}

fn to_partition(partition: GroupPartition<'static>) -> Partition<'static> {
    Partition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}

/// Nothing, where it does not fit into what is left of `room`.
fn fetch(request: &Request<'_>, image: &Image, asked: &AskedGroup<'_>, room: &mut usize) -> Option<Group<'static>> {
    let answer = |topics, code: ErrorCode| {
        let group_id = Cow::Owned(asked.group_id.to_string());
        Some(Group { group_id, topics, error_code: code.code() })
    };
    let named: usize = asked.topics.iter().flatten().map(|topic| topic.partition_indexes.len()).sum();
    *room = room.checked_sub(named.checked_mul(OFFSET_BYTES)?)?;
    if !request.may(Operation::Describe, Resource::Group(&asked.group_id)) {
        return answer(Vec::new(), ErrorCode::GroupAuthorizationFailed);
    }
    let fetched = match &asked.topics {
        None => fetch_all(request, image, &asked.group_id, room),
        Some(topics) => fetch_some(request, image, &asked.group_id, topics, room),
    };
    match fetched {
        Ok(topics) => answer(topics?, ErrorCode::None),
        Err(code) => answer(Vec::new(), code),
    }
}

/// The topics, or nothing where there is too little room for them.
type Fetched = Option<Vec<GroupTopic<'static>>>;

fn fetch_all(request: &Request<'_>, image: &Image, group_id: &str, room: &mut usize) -> Result<Fetched, ErrorCode> {
    let fetched = request.node.groups.read(group_id, |groups| groups.fetch_all_offsets(group_id))?;
    let mut topics = Vec::with_capacity(fetched.len());
    for mut topic in fetched {
        if !request.may(Operation::Describe, Resource::Topic(&topic.topic)) {
            continue;
        }
        let topic_id = image.topic(&topic.topic).map_or(Uuid::ZERO, |topic| topic.id);
        let is_of_it = |offset: &CommittedOffset| offset.topic_id.is_zero() || offset.topic_id == topic_id;
        topic.offsets.retain(|offset| offset.committed.as_ref().is_some_and(is_of_it));
        let is_known = request.version() < TOPIC_IDS_FROM || !topic_id.is_zero();
        if is_known && !topic.offsets.is_empty() {
            let Some(topic) = to_wire(topic, topic_id, OFFSET_BYTES, room) else { return Ok(None) };
            topics.push(topic);
        }
    }
    Ok(Some(topics))
}

fn fetch_some(
    request: &Request<'_>,
    image: &Image,
    group_id: &str,
    asked: &[AskedTopic<'_>],
    room: &mut usize,
) -> Result<Fetched, ErrorCode> {
    let by_id = request.version() >= TOPIC_IDS_FROM;
    let mut found = Vec::with_capacity(asked.len());
    let mut wanted = Vec::new();
    for topic in asked {
        let known = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
        let name: Arc<str> = match known {
            Some(known) => Arc::clone(&known.name),
            None => (*topic.name).into(),
        };
        found.push(if by_id && known.is_none() {
            Err(ErrorCode::UnknownTopicId)
        } else if !request.may(Operation::Describe, Resource::Topic(&name)) {
            Err(ErrorCode::TopicAuthorizationFailed)
        } else {
            let topic_id = known.map_or(Uuid::ZERO, |known| known.id);
            wanted.push(TopicToFetch { topic: name, topic_id, partitions: topic.partition_indexes.clone() });
            Ok(topic_id)
        });
    }
    let fetched = request.node.groups.read(group_id, |groups| groups.fetch_offsets(group_id, &wanted))?;
    let mut fetched = fetched.into_iter();
    let topics = asked.iter().zip(found).map(|(asked, found)| match found {
        // Each that was asked for by name has its room already.
        Ok(topic_id) => to_wire(fetched.next().expect("one for each that was wanted"), topic_id, 0, room),
        Err(code) => Some(failed(asked, code.code())),
    });
    Ok(topics.collect())
}

/// Each offset takes `bytes` and its metadata of the room, or there is nothing.
fn to_wire(topic: FetchedTopic, topic_id: Uuid, bytes: usize, room: &mut usize) -> Option<GroupTopic<'static>> {
    for offset in &topic.offsets {
        let metadata_bytes = offset.committed.as_ref().map_or(0, |committed| committed.metadata.len());
        *room = room.checked_sub(bytes + metadata_bytes)?;
    }
    let partitions = topic.offsets.into_iter().map(|offset| match offset.committed {
        Some(committed) => GroupPartition {
            partition_index: offset.partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(Cow::Owned(committed.metadata.to_string())),
            error_code: ErrorCode::None.code(),
        },
        None => nothing(offset.partition, ErrorCode::None.code()),
    });
    let name = Cow::Owned(topic.topic.to_string());
    Some(GroupTopic { name, topic_id, partitions: partitions.collect() })
}

fn failed(topic: &AskedTopic<'_>, code: i16) -> GroupTopic<'static> {
    GroupTopic {
        name: Cow::Owned(topic.name.to_string()),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|&partition| nothing(partition, code)).collect(),
    }
}

fn nothing(partition_index: i32, error_code: i16) -> GroupPartition<'static> {
    GroupPartition {
        partition_index,
        committed_offset: NOTHING,
        committed_leader_epoch: -1,
        metadata: Some(Cow::Borrowed("")),
        error_code,
    }
}

#[cfg(test)]
mod tests {
    use ottla_coordinator::group::FetchedOffset;
    use ottla_protocol::{Message, Writer};

    use super::*;

    #[test]
    fn all_offsets_of_a_group_that_reads_very_many_partitions_fit_into_an_answer() {
        let committed = CommittedOffset {
            offset: 7,
            leader_epoch: 1,
            metadata: "".into(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
        };
        let offset = |partition| FetchedOffset { partition, committed: Some(committed.clone()) };
        let fetched = || FetchedTopic { topic: "t".into(), offsets: (0..800_000).map(offset).collect() };
        let asked = AskedGroup { group_id: "g".into(), member_id: None, member_epoch: -1, topics: None };
        for version in [2, 7, 8, 10] {
            let mut room = OFFSETS_BYTES_MAX;
            let topic = to_wire(fetched(), Uuid::ZERO, OFFSET_BYTES, &mut room).expect("there is room");
            let group = Group { group_id: "g".into(), topics: vec![topic], error_code: 0 };
            let response = match version {
                MANY_FROM.. => OffsetFetchResponse { groups: vec![group], ..Default::default() },
                _ => single(group, &asked, version),
            };
            let mut writer = Writer::with_limit(ANSWER_MAX_BYTES);
            response.encode(&mut writer, version);
            assert!(!writer.is_over_limit() && writer.buffer.len() > 800_000 * 16, "version {version}");
        }
    }
}
