//! DescribeTopicPartitions (key 75, version 0): topics in pages (KIP-966).
//!
//! Topics come sorted by name, at most `response_partition_limit` partitions an answer; a cursor says where to go on.
//! Differs from Kafka: nothing known.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_base::BrokerId;
use ottla_metadata::image::{Image, Topic as ImageTopic};
use ottla_metadata::names;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use ottla_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponse, NextCursor, Partition, Topic,
};

use super::{Api, is_offline, is_reached};
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DescribeTopicPartitions.
pub const API: Api = Api { key: ApiKey::DescribeTopicPartitions, versions: 0..=0, handle };

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeTopicPartitionsRequest<'_> = request.decode()?;
    let image = request.node.image();
    let may_describe = |name: &str| request.may(Operation::Describe, Resource::Topic(name));
    let all = asked.topics.is_empty();
    let mut names: BTreeSet<&str> = match all {
        true => image.topics().iter().map(|topic| &*topic.name).filter(|name| may_describe(name)).collect(),
        false => asked.topics.iter().map(|topic| topic.name.as_ref()).collect(),
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    let (mut first_topic, mut first_partition) = ("", 0);
    if let Some(cursor) = &asked.cursor {
        if !all && !names.contains(cursor.topic_name.as_ref()) || cursor.partition_index < 0 {
            return request.reply(refused(&asked, ErrorCode::InvalidRequest));
        }
        (first_topic, first_partition) = (cursor.topic_name.as_ref(), cursor.partition_index);
        names = names.split_off(first_topic);
    }
    // Those that must not be seen cost nothing and come first, as Kafka sends them.
    if !all {
        let hidden = names.iter().filter(|name| !may_describe(name));
        response.topics.extend(hidden.map(|name| failed(name, ErrorCode::TopicAuthorizationFailed)));
    }
    let limit = request.node.config.max_request_partition_size_limit;
    let mut left = usize::try_from(asked.response_partition_limit).unwrap_or(0).clamp(1, limit);
    for name in names.into_iter().filter(|name| may_describe(name)) {
        let from = if name == first_topic { first_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(cursor(name, from));
            break;
        }
        let Some(topic) = image.topic(name) else {
            let code = match names::validate(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            let topic_authorized_operations = operations(request, name);
            response.topics.push(Topic { topic_authorized_operations, ..failed(name, code) });
            continue;
        };
        let (described, cut_at) = describe(request, &image, topic, from, left);
        left -= described.partitions.len();
        response.topics.push(described);
        if let Some(next) = cut_at {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    request.reply(response)
}

fn cursor(topic: &str, partition_index: i32) -> NextCursor<'_> {
    NextCursor { topic_name: Cow::Borrowed(topic), partition_index }
}

fn failed(name: &str, code: ErrorCode) -> Topic<'static> {
    Topic {
        error_code: code.code(),
        name: Some(Cow::Owned(name.to_owned())),
        is_internal: names::is_internal(name),
        topic_authorized_operations: access::NOT_ASKED,
        ..Default::default()
    }
}

fn refused(asked: &DescribeTopicPartitionsRequest<'_>, code: ErrorCode) -> DescribeTopicPartitionsResponse<'static> {
    let topics = asked.topics.iter().map(|topic| failed(&topic.name, code)).collect();
    DescribeTopicPartitionsResponse { topics, ..Default::default() }
}

fn operations(request: &Request<'_>, topic: &str) -> i32 {
    let (authorizer, asker) = (&*request.node.authorizer, &request.client.asker);
    access::authorized_operations(authorizer, asker, Resource::Topic(topic), &Resource::TOPIC_OPERATIONS)
}

/// Describes `topic` from partition `from` on, at most `limit` partitions; and where to go on if there are more.
fn describe(
    request: &Request<'_>,
    image: &Image,
    topic: &ImageTopic,
    from: i32,
    limit: usize,
) -> (Topic<'static>, Option<i32>) {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect::<Vec<_>>();
    let listener = &*request.client.asker.listener;
    let mut left = topic.partitions.iter().filter(|(index, _)| index.0 >= from);
    let partitions = left.by_ref().take(limit).map(|(index, partition)| {
        let offline = partition.replicas.iter().filter(|&&replica| is_offline(image, partition, replica, listener));
        let leader = partition.leader.filter(|&leader| is_reached(image, leader, listener));
        Partition {
            error_code: ErrorCode::None.code(),
            partition_index: index.0,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: ids(&partition.replicas),
            isr_nodes: ids(&partition.isr),
            eligible_leader_replicas: Some(ids(&partition.eligible_leader_replicas)),
            last_known_elr: Some(ids(&partition.last_known_eligible_leader_replicas)),
            offline_replicas: offline.map(|replica| replica.0).collect(),
        }
    });
    let partitions = partitions.collect();
    let described = Topic {
        error_code: ErrorCode::None.code(),
        name: Some(Cow::Owned(topic.name.to_string())),
        topic_id: topic.id,
        is_internal: names::is_internal(&topic.name),
        partitions,
        topic_authorized_operations: operations(request, &topic.name),
    };
    (described, left.next().map(|(index, _)| index.0))
}
