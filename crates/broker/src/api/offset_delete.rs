//! OffsetDelete (key 47, version 0): forget offsets of topics that a group does not read (KIP-496).
//!
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_base::{PartitionIndex, Uuid};
use ottla_coordinator::group::{self, Answer};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_response::{OffsetDeleteResponse, Partition, Topic};

use super::Api;
use super::topic_results::{TopicResult, TopicResults};
use crate::access::{Operation, Resource};
use crate::coordinators::reply;
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// OffsetDelete.
pub const API: Api = Api { key: ApiKey::OffsetDelete, versions: 0..=0, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: OffsetDeleteRequest<'_> = request.decode()?;
    if !request.may(Operation::Delete, Resource::Group(&asked.group_id)) {
        return request.reply(refused(ErrorCode::GroupAuthorizationFailed));
    }
    let image = request.node.image();
    let (mut results, mut partitions) = (TopicResults::default(), Vec::new());
    for topic in &asked.topics {
        let key = (&*topic.name, Uuid::ZERO);
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        if !request.may(Operation::Read, Resource::Topic(&topic.name)) {
            results.refuse(key, indexes, ErrorCode::TopicAuthorizationFailed);
            continue;
        }
        let Some(found) = image.topic(&topic.name) else {
            results.refuse(key, indexes, ErrorCode::UnknownTopicOrPartition);
            continue;
        };
        let is_there = |index: &i32| found.partitions.get(&PartitionIndex(*index)).is_some();
        let (known, unknown): (Vec<i32>, Vec<i32>) = indexes.partition(is_there);
        if !unknown.is_empty() {
            results.refuse(key, unknown, ErrorCode::UnknownTopicOrPartition);
        }
        let name: Arc<str> = (*topic.name).into();
        partitions.extend(known.iter().map(|index| (Arc::clone(&name), *index)));
        results.ask(key, known);
    }
    let results = results.finish();
    // A group that cannot be asked is an error even where nothing is left to be deleted.
    let question = group::Request::OffsetDelete(group::OffsetDelete { group_id: (*asked.group_id).into(), partitions });
    reply::ask(request, &asked.group_id, question, move |answer| match answer {
        Ok(Answer::OffsetDelete(Ok(codes))) => {
            let topics = results.with(&codes).into_iter().map(to_wire).collect();
            OffsetDeleteResponse { topics, ..Default::default() }
        }
        Ok(Answer::OffsetDelete(Err(code))) | Err(code) => refused(code),
        Ok(other) => unreachable!("an OffsetDelete is answered as one, not by {other:?}"),
    })
}

fn to_wire(topic: TopicResult) -> Topic<'static> {
    let partition = |(partition_index, code): (i32, ErrorCode)| Partition { partition_index, error_code: code.code() };
    Topic { name: Cow::Owned(topic.name), partitions: topic.partitions.into_iter().map(partition).collect() }
}

fn refused(code: ErrorCode) -> OffsetDeleteResponse<'static> {
    OffsetDeleteResponse { error_code: code.code(), ..Default::default() }
}
