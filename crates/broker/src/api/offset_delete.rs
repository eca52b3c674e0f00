//! OffsetDelete (key 47, version 0): forget offsets of topics that a group does not read (KIP-496).

use std::borrow::Cow;

use ottla_base::PartitionIndex;
use ottla_coordinator::group::{self, Answer};
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_response::{OffsetDeleteResponse, Partition, Topic};

use super::Api;
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
    let (mut topics, mut places, mut partitions) = (Vec::new(), Vec::new(), Vec::new());
    for topic in &asked.topics {
        let may_read = request.may(Operation::Read, Resource::Topic(&topic.name));
        let found = image.topic(&topic.name);
        let mut results = Vec::with_capacity(topic.partitions.len());
        for &ottla_protocol::messages::offset_delete_request::Partition { partition_index } in &topic.partitions {
            let is_there = found.is_some_and(|topic| topic.partitions.get(&PartitionIndex(partition_index)).is_some());
            let code = match (may_read, is_there) {
                (false, _) => ErrorCode::TopicAuthorizationFailed,
                (true, false) => ErrorCode::UnknownTopicOrPartition,
                (true, true) => {
                    places.push((topics.len(), results.len()));
                    partitions.push(((*topic.name).into(), partition_index));
                    ErrorCode::None
                }
            };
            results.push(Partition { partition_index, error_code: code.code() });
        }
        topics.push(Topic { name: Cow::Owned(topic.name.to_string()), partitions: results });
    }
    // A group that cannot be asked is an error even where nothing is left to be deleted.
    let question = group::Request::OffsetDelete(group::OffsetDelete { group_id: (*asked.group_id).into(), partitions });
    reply::ask(request, &asked.group_id, question, move |answer| match answer {
        Ok(Answer::OffsetDelete(Ok(codes))) => {
            for ((topic, partition), code) in places.into_iter().zip(codes) {
                topics[topic].partitions[partition].error_code = code.code();
            }
            OffsetDeleteResponse { topics, ..Default::default() }
        }
        Ok(Answer::OffsetDelete(Err(code))) | Err(code) => refused(code),
        Ok(other) => unreachable!("an OffsetDelete is answered as one, not by {other:?}"),
    })
}

fn refused(code: ErrorCode) -> OffsetDeleteResponse<'static> {
    OffsetDeleteResponse { error_code: code.code(), ..Default::default() }
}
