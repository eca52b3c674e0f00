//! OffsetCommit (key 8, versions 2-10): a group, or somebody without one, notes how far it has got.
//!
//! v2-4 retention time. v3 throttle time. v6 leader epoch. v7 static members (KIP-345). v8 flexible. v9 member epochs
//! (KIP-848). v10 topic ids (KIP-848).
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_base::{PartitionIndex, Uuid};
use ottla_coordinator::group::{self, Answer, OffsetToCommit};
use ottla_metadata::image::Image;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::offset_commit_request::{OffsetCommitRequest, Topic as AskedTopic};
use ottla_protocol::messages::offset_commit_response::{OffsetCommitResponse, Partition, Topic};
use ottla_protocol::{ApiKey, Str};

use super::Api;
use super::topic_results::{TopicResult, TopicResults};
use crate::access::{Operation, Resource};
use crate::coordinators::reply;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// OffsetCommit.
pub const API: Api = Api { key: ApiKey::OffsetCommit, versions: 2..=10, handle };

/// The last version in which a client says how long its offsets are kept.
const RETENTION_UNTIL: i16 = 4;
const LEADER_EPOCH_FROM: i16 = 6;
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 10;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: OffsetCommitRequest<'_> = request.decode()?;
    let version = request.version();
    let may_read_group = request.may(Operation::Read, Resource::Group(&asked.group_id));
    let image = request.node.image();
    let mut results = TopicResults::default();
    let mut offsets = Vec::new();
    for topic in &asked.topics {
        let key = (&*topic.name, topic.topic_id);
        let found = match may_read_group {
            false => Err(ErrorCode::GroupAuthorizationFailed),
            true => find(request, &image, topic),
        };
        let (name, topic_id) = match found {
            Ok(found) => found,
            Err(code) => {
                results.refuse(key, topic.partitions.iter().map(|partition| partition.partition_index), code);
                continue;
            }
        };
        let mut to_store = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            if !has_partition(&image, &name, partition.partition_index) {
                results.refuse(key, [partition.partition_index], ErrorCode::UnknownTopicOrPartition);
                continue;
            }
            to_store.push(partition.partition_index);
            offsets.push(OffsetToCommit {
                topic: Arc::clone(&name),
                topic_id,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: if version >= LEADER_EPOCH_FROM { partition.committed_leader_epoch } else { -1 },
                metadata: partition.committed_metadata.as_deref().map(Into::into),
                is_topic_gone: false,
            });
        }
        results.ask(key, to_store);
    }
    let results = results.finish();
    if offsets.is_empty() {
        return request.reply(to_wire(results.with(&[])));
    }
    let question = group::Request::OffsetCommit(group::OffsetCommit {
        group_id: (*asked.group_id).into(),
        generation: asked.generation_id_or_member_epoch,
        member_id: (*asked.member_id).into(),
        instance_id: asked.group_instance_id.as_deref().map(Into::into),
        retention_time_ms: if version <= RETENTION_UNTIL { asked.retention_time_ms } else { -1 },
        knows_group_id_not_found: version >= GROUP_ID_NOT_FOUND_FROM,
        offsets,
        metadata_room: request.node.groups.metadata_room(),
    });
    reply::ask(request, &asked.group_id, question, move |answer| match answer {
        Ok(Answer::OffsetCommit(mut codes)) => {
            codes.iter_mut().for_each(|code| *code = of_version(*code, version));
            to_wire(results.with(&codes))
        }
        Err(code) => {
            let codes = vec![code; results.asked()];
            to_wire(results.with(&codes))
        }
        Ok(other) => unreachable!("an OffsetCommit is answered as one, not by {other:?}"),
    })
}

/// The topic's name and id, if there is one that may be read.
fn find(request: &Request<'_>, image: &Image, topic: &AskedTopic<'_>) -> Result<(Arc<str>, Uuid), ErrorCode> {
    let by_id = request.version() >= TOPIC_IDS_FROM;
    let found = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
    let unknown = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let name: Str<'_> = match found {
        Some(found) => Cow::Borrowed(&found.name),
        None if by_id => return Err(unknown),
        None => Cow::Borrowed(&topic.name),
    };
    if !request.may(Operation::Read, Resource::Topic(&name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let found = found.ok_or(unknown)?;
    Ok((Arc::clone(&found.name), found.id))
}

/// Of a topic that went meanwhile, the group says that it is unknown; here it may have been named by its id.
fn of_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition if version >= TOPIC_IDS_FROM => ErrorCode::UnknownTopicId,
        code => code,
    }
}

fn has_partition(image: &Image, topic: &str, partition: i32) -> bool {
    image.topic(topic).is_some_and(|topic| topic.partitions.get(&PartitionIndex(partition)).is_some())
}

fn to_wire(results: Vec<TopicResult>) -> OffsetCommitResponse<'static> {
    let partition = |(partition_index, code): (i32, ErrorCode)| Partition { partition_index, error_code: code.code() };
    let topics = results.into_iter().map(|topic| Topic {
        name: Cow::Owned(topic.name),
        topic_id: topic.id,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_goes_while_it_is_committed_to_is_unknown_as_it_was_named() {
        let (unknown, by_id) = (ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId);
        assert_eq!([9, 10].map(|version| of_version(unknown, version)), [unknown, by_id]);
        assert_eq!(of_version(ErrorCode::None, 10), ErrorCode::None);
    }
}
