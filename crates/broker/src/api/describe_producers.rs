//! DescribeProducers (key 61, version 0): the producers that a partition remembers (KIP-664).
//!
//! Differs from Kafka: what takes too much memory is not answered at all.

use std::borrow::Cow;

use ottla_metadata::names;
use ottla_protocol::ApiKey;
use ottla_protocol::error::ErrorCode;
use ottla_protocol::messages::describe_producers_request::DescribeProducersRequest;
use ottla_protocol::messages::describe_producers_response::{
    ActiveProducer, DescribeProducersResponse, Partition, Topic,
};
use ottla_storage::producer_snapshot::SnapshotEntry;

use super::Api;
use crate::access::{self, Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// DescribeProducers.
pub const API: Api = Api { key: ApiKey::DescribeProducers, versions: 0..=0, handle };

/// What an answer may take, in bytes of memory: more than of the encoded answer, so that its limit would come too late. A
/// partition is described as often as it is named.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

fn handle(request: &mut Request<'_>) -> Result<Reply, Refused> {
    let asked: DescribeProducersRequest<'_> = request.decode()?;
    // A partition may remember many producers, however short the request is.
    request.is_large()?;
    let mut room = ANSWER_BYTES_MAX;
    let mut response = DescribeProducersResponse::default();
    for topic in &asked.topics {
        let mut partitions = Vec::new();
        for &index in &topic.partition_indexes {
            let partition = describe(request, &topic.name, index);
            room = room.checked_sub(size_of(&partition)).ok_or_else(|| request.responder().too_large())?;
            partitions.push(partition);
        }
        response.topics.push(Topic { name: Cow::Borrowed(&*topic.name), partitions });
    }
    request.reply(response)
}

fn size_of(partition: &Partition<'_>) -> usize {
    let message = partition.error_message.as_ref().map_or(0, |message| message.len());
    std::mem::size_of_val(partition) + std::mem::size_of_val(&*partition.active_producers) + message
}

fn describe(request: &Request<'_>, topic: &str, partition_index: i32) -> Partition<'static> {
    let found = match names::validate(topic) {
        _ if !request.may(Operation::Read, Resource::Topic(topic)) => {
            Err((ErrorCode::TopicAuthorizationFailed, Some(access::TOPIC_DENIED.to_owned())))
        }
        Err(message) => Err((ErrorCode::InvalidTopicException, Some(message))),
        Ok(()) => request
            .node
            .partitions
            .find(topic, partition_index)
            .and_then(|partition| partition.producers())
            .map_err(|code| (code, reason(request, topic, code).map(str::to_owned))),
    };
    match found {
        Ok(producers) => Partition {
            partition_index,
            error_message: None,
            active_producers: producers.into_iter().map(to_wire).collect(),
            ..Default::default()
        },
        Err((code, message)) => Partition {
            partition_index,
            error_code: code.code(),
            error_message: message.map(Cow::Owned),
            ..Default::default()
        },
    }
}

/// As in Kafka, of a partition that a topic does not have the code says all.
fn reason(request: &Request<'_>, topic: &str, code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::UnknownTopicOrPartition if request.node.image().topic(topic).is_some() => None,
        ErrorCode::UnknownTopicOrPartition => Some("This server does not host this topic-partition."),
        code => Some(code.name()),
    }
}

fn to_wire(producer: SnapshotEntry) -> ActiveProducer {
    ActiveProducer {
        producer_id: producer.producer_id.0,
        producer_epoch: producer.producer_epoch.0.into(),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_first_offset.map_or(-1, |offset| offset.0),
    }
}
